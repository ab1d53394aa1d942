//! What is carried: every byte, in both directions, with every version, to its end.

use std::{
    io::{Read, Write},
    time::Duration,
};

use lb_proxy::{Proxy, config::Mode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    certificates::{certificate, config, set, tls},
    peer::{VERSIONS, apart, ask, client, connect},
    rig::{Scripted, address, counter, eventually, read_head},
};

/// Bytes that differ at every position.
fn pattern(n: usize) -> Vec<u8> {
    let step = |state: u32, _| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let states = std::iter::successors(Some(1_u32), |state| step(*state, ()));
    states.take(n).map(|state| (state >> 24) as u8).collect()
}

/// Answers each request with `ok` and closes nothing.
async fn web(mut stream: TcpStream) {
    while let Some(head) = read_head(&mut stream).await {
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0");
        let mut content = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut content).await.unwrap();
        let said = head.lines().find(|line| line.starts_with("X-Forwarded-Proto: ")).unwrap_or("-");
        let answer =
            format!("HTTP/1.1 200 OK\r\nX-Said: {said}\r\nContent-Length: {}\r\n\r\n", content.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.write_all(&content).await.unwrap();
    }
}

#[tokio::test]
async fn tunnel_carries_every_byte_both_ways_and_ends_each_way_on_its_own() {
    const UP: usize = 3_000_001;
    const DOWN: usize = 5_000_003;
    let server = Scripted::start(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let mut received = Vec::new();
        let down = pattern(DOWN);
        let sending = async {
            write.write_all(&down).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let (result, ()) = tokio::join!(read.read_to_end(&mut received), sending);
        result.unwrap();
        assert!(received == pattern(UP), "the server got other bytes");
    })
    .await;
    for version in VERSIONS {
        let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
        let front = address(&proxy);
        apart(move || {
            let mut peer = connect(front, &client(version), "a.example");
            let mut received = vec![0; 100];
            // The server's first bytes come while nothing was sent: then all of ours, before anything more is read.
            peer.read_exact(&mut received).unwrap();
            peer.write_all(&pattern(UP)).unwrap();
            peer.conn.send_close_notify();
            peer.flush().unwrap();
            // The end is said and not only reached: without that this is an error.
            peer.read_to_end(&mut received).unwrap();
            assert!(received == pattern(DOWN), "the client got other bytes");
        })
        .await;
        eventually("counted", || proxy.status().frontends[0].connections == 0).await;
        let status = proxy.status();
        assert_eq!((status.frontends[0].bytes_in, status.frontends[0].bytes_out), (UP as u64, DOWN as u64));
    }
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection_with_content_of_every_size() {
    let server = Scripted::start(web).await;
    for version in VERSIONS {
        let proxy = Proxy::start(config(Mode::Http, &[server.address])).unwrap();
        let front = address(&proxy);
        apart(move || {
            let mut peer = connect(front, &client(version), "a.example");
            for size in [0, 1, 16_383, 16_384, 16_385, 40_000, 400_000] {
                let content = "x".repeat(size);
                let request =
                    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{content}");
                let answer = ask(&mut peer, &request, size);
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&content), "{size}");
            }
            // Several at once, in one record.
            let two =
                "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            peer.write_all(two.as_bytes()).unwrap();
            let mut answers = String::new();
            peer.read_to_string(&mut answers).unwrap();
            assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
        })
        .await;
        assert_eq!(
            (counter(&proxy, "tls_handshakes_total"), proxy.status().frontends[0].connections_total),
            (1, 1)
        );
        assert_eq!(server.accepted.swap(0, std::sync::atomic::Ordering::SeqCst), 1);
    }
}

/// Its socket takes a part of a record at times, and nothing for a while.
#[tokio::test]
async fn client_that_reads_slowly_gets_every_byte_once() {
    const DOWN: usize = 8_000_000;
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {DOWN}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&pattern(DOWN)).await.unwrap();
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    for version in VERSIONS {
        let proxy = Proxy::start(config(Mode::Http, &[server.address])).unwrap();
        let front = address(&proxy);
        apart(move || {
            let mut peer = connect(front, &client(version), "a.example");
            ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
            let (mut received, mut piece) = (Vec::new(), vec![0; 1]);
            while received.len() < DOWN {
                let n = peer.read(&mut piece).unwrap();
                received.extend_from_slice(&piece[..n]);
                piece.resize((piece.len() * 3) % 30_011 + 1, 0);
                if received.len() % 64 == 0 {
                    std::thread::yield_now();
                }
            }
            assert!(received == pattern(DOWN));
        })
        .await;
    }
}

#[tokio::test]
async fn keys_that_a_client_changes_are_followed() {
    let server = Scripted::start(web).await;
    let proxy = Proxy::start(config(Mode::Http, &[server.address])).unwrap();
    let front = address(&proxy);
    apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        for _ in 0..5 {
            let answer = ask(&mut peer, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 2);
            assert!(answer.ends_with("hi"));
            peer.conn.refresh_traffic_keys().unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn connection_that_waits_is_closed_with_a_word() {
    let server = Scripted::start(web).await;
    let mut config = config(Mode::Http, &[server.address]);
    config.frontends[0].timeout.http_keep_alive = Duration::from_millis(50);
    let proxy = Proxy::start(config).unwrap();
    let front = address(&proxy);
    apart(move || {
        for version in VERSIONS {
            let mut peer = connect(front, &client(version), "a.example");
            ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
            assert_eq!(peer.read(&mut [0; 10]).unwrap(), 0);
        }
    })
    .await;
}

/// A reload reads certificates anew.
#[tokio::test]
async fn other_certificate_is_shown_after_a_reload_and_open_connections_stay() {
    let server = Scripted::start(web).await;
    let mut config = config(Mode::Http, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let front = address(&proxy);
    let shown = |peer: &crate::peer::Peer| peer.conn.peer_certificates().unwrap()[0].to_vec();
    let (mut old, first) = apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
        let certificate = shown(&peer);
        (peer, certificate)
    })
    .await;
    set(&mut config, tls(certificate("b.example")));
    proxy.reload(config).await.unwrap();
    let second = apart(move || {
        let mut peer = connect(front, &client(&rustls::version::TLS13), "a.example");
        ask(&mut peer, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
        ask(&mut old, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
        shown(&peer)
    })
    .await;
    assert_ne!(first, second);
    assert_eq!(proxy.status().frontends[0].connections_total, 2);
}
