//! Payloads that two readers could split differently: what a server gets, byte for byte.

use lb_proxy::config::Frontend;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    peers::*,
    rig::{Scripted, connect, read_all},
    witness::Witness,
};

/// What reaches the server when a client sends `bytes` and ends, what the client gets, and the first line of the log.
async fn pass(bytes: &str) -> (Vec<String>, String, String) {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(bytes.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let got = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    (upstream.requests(), got, witness.says().await)
}

#[tokio::test]
async fn ambiguous_requests_and_what_follows_them_never_reach_a_server() {
    let evil = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    for (row, bytes) in [
        ("H1", format!("{post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}")),
        ("H2", format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}")),
        ("H5", format!("{post}Transfer-Encoding: xchunked\r\n\r\n{evil}")),
        ("H5", format!("{post}Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n{evil}")),
        ("H7", format!("{post}Content-Length: \r\n\r\n{evil}")),
        ("H7", format!("{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{evil}", evil.len())),
        ("H7", format!("{post}Content-Length: +{}\r\n\r\n{evil}", evil.len())),
        ("H9", format!("{post}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}")),
        ("H10", format!("{post}X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}")),
        ("H11", format!("{post}X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{evil}")),
        ("H12", format!("{post}X: y\0\r\n\r\n{evil}")),
        ("H13", format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{evil}")),
        ("H28", format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{evil}")),
        ("H26", format!("{post}Transfer-Encoding: chunked\r\n\r\n00000000000000000\r\n\r\n{evil}")),
        ("H27", format!("{post}Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n{evil}")),
    ] {
        let (requests, got, line) = pass(&bytes).await;
        assert_eq!(requests, [""; 0], "{row}: {bytes:?}");
        assert!(got.starts_with("HTTP/1.1 400 "), "{row}: {got}");
        assert_eq!(line, "400 PR--", "{row}: {bytes:?}");
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{row}: one answer and no more");
    }
}

#[tokio::test]
async fn what_reaches_a_server_is_written_anew() {
    let table: &[(&str, &str, &[&str])] = &[
        (
            "H8",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
            &["POST / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"],
        ),
        (
            "H20",
            "GET HTTP://A/x HTTP/1.1\r\nhost:\ta\t\r\nConnection: Keep-Alive , x-y\r\nX-Y: 1\r\nB:\r\n\r\n",
            &["GET /x HTTP/1.1\r\nhost: A\r\nB: \r\n\r\n"],
        ),
        (
            "H30",
            "GET / HTTP/1.1\r\nConnection: close, Cookie, Host\r\nHost: a\r\nCookie: b\r\nKeep-Alive: 1\r\n\r\n",
            &["GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\n\r\n"],
        ),
        (
            "H27",
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n1;\"\r\na\r\n2\r\nbc\r\n000\r\nX: y\r\n\r\n",
            &["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
        ),
        (
            "H33",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
            &[GET],
        ),
        (
            "H41",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n\
             GET /c HTTP/1.1\r\nHost: a\r\n\r\n",
            &[
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /c HTTP/1.1\r\nHost: a\r\n\r\n",
            ],
        ),
    ];
    for (row, bytes, expected) in table {
        let (requests, got, line) = pass(bytes).await;
        assert_eq!(requests, *expected, "{row}: {got}");
        assert_eq!(line, "200 ----", "{row}");
    }
}

#[tokio::test]
async fn content_of_a_request_that_failed_is_never_taken_for_the_next_request() {
    let mut config = http_config(&[]);
    config.frontends[0].default_backend = None;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let evil = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 66000\r\n\r\n").await.unwrap();
    client.write_all(evil.repeat(2000).as_bytes()).await.unwrap();
    let got = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    assert!(got.starts_with("HTTP/1.1 503 ") && got.contains("\r\nConnection: close\r\n"), "{got}");
    assert_eq!(got.matches("HTTP/1.1 ").count(), 1);
    assert_eq!(proxy.status().frontends[0].requests_total, 1);
}

/// A server whose buffers are full has part of the content at most: whatever the client is told then, the rest of its
/// content is no request. The size at which only the last piece is stuck is searched for: a larger one is read
/// in part (and the connection closes), a smaller one is taken whole.
#[tokio::test]
async fn content_that_no_server_took_is_never_read_as_a_request() {
    let (answer, wanted) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut wanted = wanted.clone();
        async move {
            let _ = read_head(&mut stream).await;
            let _ = wanted.wait_for(|wanted| *wanted).await;
            let _ = stream.write_all(b"nonsense\r\n\r\n").await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    })
    .await;
    let mut config = http_config(&[server.address]);
    config.threads = std::num::NonZeroUsize::MIN;
    let clock = config.frontends[0].clone();
    config.frontends.push(Frontend { name: "clock".to_owned(), default_backend: None, ..clock });
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut clock = TcpStream::connect(proxy.status().frontends[1].binds[0].address.unwrap()).await.unwrap();
    let evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    let (mut low, mut high) = (0, 16 << 20);
    while high - low > 2048 {
        let size = usize::midpoint(low, high);
        answer.send_replace(false);
        let mut client = connect(&proxy).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        let content = evil.repeat(size / evil.len() + 1);
        let chunk = format!("{:x}\r\n{content}\r\n0\r\n\r\n", content.len());
        let (mut read, mut write) = client.into_split();
        let sent = tokio::spawn(async move {
            let _ = write.write_all(chunk.as_bytes()).await;
            write
        });
        // The server has all that it takes once nothing moves any more, however often the one worker answers others.
        let mut before = u64::MAX;
        while before != proxy.status().frontends[0].bytes_in {
            before = proxy.status().frontends[0].bytes_in;
            for _ in 0..10 {
                assert!(ask(&mut clock, GET).await.starts_with("HTTP/1.1 503 "));
            }
        }
        answer.send_replace(true);
        let got = read_head(&mut read).await.unwrap();
        assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
        if got.contains("Connection: close") {
            high = size;
        } else {
            low = size;
            let mut write = sent.await.unwrap();
            write.shutdown().await.unwrap();
            let mut rest = String::new();
            read.read_to_string(&mut rest).await.unwrap();
            assert!(!rest.contains("HTTP/1.1"), "{size} bytes of content: {rest}");
        }
    }
}
