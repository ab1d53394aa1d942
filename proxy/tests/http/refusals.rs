//! What is answered without a server.

use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Refusing, connect, counter, read_all},
    witness::Witness,
};

const PAGE_503: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 107\r\nCache-Control: no-cache\r\n\
                        Content-Type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
                        No server is available to handle this request.\n</body></html>\n";

#[tokio::test]
async fn l5_no_usable_server_is_503_at_once_and_the_client_stays() {
    let mut config = http_config(&[]);
    config.frontends[0].default_backend = None;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client, GET).await, PAGE_503);
    }
    assert_eq!(counter(&proxy, "no_server_total"), 3);
    assert_eq!(proxy.status().frontends[0].responses[5], 3);
}

#[tokio::test]
async fn backend_without_servers_is_503() {
    let mut config = http_config(&[]);
    let witness = Witness::of(&mut config).await;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    assert_eq!(ask(&mut connect(&proxy).await, GET).await, PAGE_503);
    assert_eq!(witness.says().await, "503 SC--");
    assert_eq!(counter(&proxy, "no_server_total"), 1);
}

#[tokio::test]
async fn l5_server_that_refuses_connections_is_503_and_head_gets_no_page() {
    let dead = Refusing::new();
    let proxy = lb_proxy::Proxy::start(http_config(&[dead.address])).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, PAGE_503);
    client.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert_eq!(head, PAGE_503.split_inclusive("\r\n\r\n").next().unwrap());
    // Nothing follows the head: the next response begins at once.
    assert_eq!(ask(&mut client, GET).await, PAGE_503);
    assert_eq!(counter(&proxy, "connect_failures_total"), 3);
}

#[tokio::test]
async fn refused_requests_are_answered_with_their_status_closed_and_never_forwarded() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let long = "x".repeat(9000);
    let table: &[(&str, String, &str)] = &[
        ("H10", "GET / HTTP/1.1\nHost: a\n\n".into(), "400"),
        ("H17", "GET / HTTP/1.1\r\n\r\n".into(), "400"),
        ("H4", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".into(), "501"),
        ("H23", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), "505"),
        ("H25", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        ("H25", format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"), "431"),
        ("H25", format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(200)), "431"),
        ("H31", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n".into(), "417"),
        ("H34", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), "405"),
        ("TLS", "\u{16}\u{3}\u{1}".into(), "400"),
    ];
    for (row, request, status) in table {
        let mut client = connect(&proxy).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{row}: {all}");
        assert!(all.contains("\r\nConnection: close\r\n"), "{row}");
        assert_eq!(witness.says().await, format!("{status} PR--"), "{row}");
    }
    assert_eq!(upstream.server.accepted(), 0);
    assert_eq!(counter(&proxy, "bad_requests_total"), table.len() as u64);
}

#[tokio::test]
async fn h25_large_head_within_the_limits_is_forwarded_whole() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    let value = "x".repeat(8000);
    let request =
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: {value}\r\nB: {value}\r\nC: {value}\r\nD: {value}\r\n\r\n");
    for _ in 0..2 {
        assert_eq!(ask(&mut client, &request).await, OK);
    }
    assert_eq!(upstream.requests(), [request.clone(), request]);
}

#[tokio::test]
async fn bad_responses_are_502_and_the_client_stays() {
    for (row, response) in [
        ("H1", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("H9", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"),
        ("H13", "HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("H23", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        ("H33", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ] {
        let upstream = Recording::answering(response).await;
        let mut config = http_config(&[upstream.server.address]);
        let witness = Witness::of(&mut config).await;
        let proxy = lb_proxy::Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        for _ in 0..2 {
            let answer = ask(&mut client, GET).await;
            assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{row}: {answer}");
            assert!(!answer.contains("Connection: close"), "{row}");
            assert_eq!(witness.says().await, "502 PH--", "{row}");
        }
        assert_eq!(counter(&proxy, "bad_responses_total"), 2, "{row}");
        assert_eq!(upstream.server.accepted(), 2, "{row}: such a connection is not used again");
    }
}

#[tokio::test]
async fn h25_response_head_that_is_too_large_is_502() {
    let lines: String = (0..5).map(|n| format!("A{n}: {}\r\n", "x".repeat(8000))).collect();
    let response: &'static str = Box::leak(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").into_boxed_str());
    let upstream = Recording::answering(response).await;
    let mut config = http_config(&[upstream.server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let answer = ask(&mut connect(&proxy).await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(witness.says().await, "502 PH--");
    assert_eq!(counter(&proxy, "bad_responses_total"), 1);
}
