//! The end of a client's connection, in stages (RFC 9112 §9.6).

use std::time::Duration;

use lb_proxy::{Config, Proxy, config::ConnectionMode};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};

use crate::{
    peers::*,
    rig::{LONG, Scripted, address, connect, counter, eventually, read_all},
    witness::Witness,
};

const CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A response that does not fit what the client's kernel takes before the client reads: the rest of it is still on our
/// side when its last byte is written.
const LARGE: usize = 200_000;

/// Answers with [`LARGE`] bytes as soon as a head is there.
async fn large() -> Scripted {
    Scripted::start(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n{}", "x".repeat(LARGE));
            if stream.write_all(response.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await
}

fn start(server: &Scripted, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.address]);
    change(&mut config);
    Proxy::start(config).unwrap()
}

/// Whose clients have not said themselves that they send nothing more.
fn closing(config: &mut Config) {
    config.frontends[0].options.connection = ConnectionMode::Close;
}

/// A client whose kernel takes little that it has not read.
async fn narrow(proxy: &Proxy) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(address(proxy)).await.unwrap()
}

#[tokio::test]
async fn client_that_sends_on_behind_its_last_request_reads_the_whole_response() {
    let server = large().await;
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nsome";
    for (what, mode, request) in [
        ("the client closes", ConnectionMode::KeepAlive, CLOSE),
        ("the frontend closes", ConnectionMode::Close, GET),
        ("early response", ConnectionMode::KeepAlive, upload),
        ("HTTP/1.0", ConnectionMode::KeepAlive, "GET / HTTP/1.0\r\n\r\n"),
    ] {
        let proxy = start(&server, |config| config.frontends[0].options.connection = mode);
        let mut client = narrow(&proxy).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\nConnection: close\r\n\r\n");
        let whole = (head.len() + LARGE) as u64;
        eventually("all of it is written", || proxy.status().frontends[0].bytes_out == whole).await;
        // From here on a connection that is closed is reset.
        client.write_all(&vec![b'G'; 1 << 20]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let all = read_all(&mut client).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(all.starts_with(head.as_bytes()) && all.len() as u64 == whole, "{what}: {}", all.len());
    }
}

#[tokio::test]
async fn client_that_sends_on_behind_a_refused_request_reads_the_whole_answer() {
    let upstream = Recording::answering(OK).await;
    let short = Duration::from_millis(200);
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "x".repeat(9000));
    let broken = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nX";
    for (status, request, letters) in [
        ("400", "GET /\r\n\r\n", "PR--"),
        ("400", broken, "PR--"),
        ("408", "GET / HTTP/1.1\r\n", "cR--"),
        ("431", &long, "PR--"),
    ] {
        let mut config = http_config(&[upstream.server.address]);
        config.frontends[0].timeout.http_request = short;
        let witness = Witness::of(&mut config).await;
        let proxy = Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = answer(&mut client).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{request:?}: {answer}");
        client.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"", "{request:?}");
        assert_eq!(witness.says().await, format!("{status} {letters}"), "{request:?}");
        let counted = ["bad_requests_total", "request_timeouts_total"].map(|name| counter(&proxy, name));
        assert_eq!(counted, if letters == "cR--" { [0, 1] } else { [1, 0] }, "{request:?}");
    }
    assert_eq!(upstream.server.accepted(), 0);
}

#[tokio::test]
async fn client_that_does_not_end_its_side_holds_its_place_for_a_bounded_time_and_number_of_bytes() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream.server, closing);
    let connections = || proxy.status().frontends[0].connections;
    let (mut silent, mut flooding) = (connect(&proxy).await, connect(&proxy).await);
    for client in [&mut silent, &mut flooding] {
        client.write_all(GET.as_bytes()).await.unwrap();
        assert!(String::from_utf8(read_all(client).await.unwrap()).unwrap().ends_with("\r\n\r\nok"));
    }
    assert!(connections() > 0);
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while flooding.write_all(&block).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "megabytes are read for ever");
    }
    eventually("both are closed", || connections() == 0).await;
}

#[tokio::test]
async fn what_a_client_still_sends_holds_up_no_drain_and_is_cut_short_by_one() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream.server, closing);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    assert!(String::from_utf8(read_all(&mut client).await.unwrap()).unwrap().ends_with("\r\n\r\nok"));
    assert_eq!(proxy.status().frontends[0].connections, 1);
    let trickling = tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_eq!(proxy.drain(LONG / 5).await, 0);
    eventually("it is closed", || proxy.status().frontends[0].connections == 0).await;
    assert_eq!(counter(&proxy, "client_aborts_total"), 0);
    trickling.await.unwrap();
}

#[tokio::test]
async fn process_that_stays_after_a_drain_serves_as_before() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    proxy.drain(Duration::ZERO).await;
    proxy.hold_off(Duration::ZERO).await;
    proxy.stay().await;
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client, GET).await, OK, "keep-alive");
    }
}

/// It must not send anything behind that (RFC 9112 §9.6), and costs no second look: what it sends all the same meets a socket
/// that is gone.
#[tokio::test]
async fn client_that_has_said_close_and_got_little_is_closed_at_once() {
    let upstream = Recording::answering(OK).await;
    for (change, request, is_at_once) in [
        ((|_| {}) as fn(&mut Config), CLOSE, true),
        (|_| {}, "GET / HTTP/1.0\r\n\r\n", true),
        (|_| {}, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false),
        (closing, GET, false),
        (|_| {}, &format!("{CLOSE}{GET}"), false),
    ] {
        let proxy = start(&upstream.server, change);
        let mut client = connect(&proxy).await;
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(String::from_utf8(read_all(&mut client).await.unwrap()).unwrap().ends_with("\r\n\r\nok"));
        // Each is a moment later than the one before; whoever is still read reads them all.
        let mut taken = 0;
        while taken < 20 && client.write_all(b"x").await.is_ok() {
            taken += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(taken < 20, is_at_once, "{request:?}: {taken} bytes were taken");
    }
}
