//! Waits that end.

use std::{
    io::{Read, Write},
    time::Duration,
};

use lb_proxy::{Config, Proxy};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Scripted, address, connect, counted, counter, eventually, quick_once, read_all},
};

/// Shorter than anything else is long.
const SHORT: Duration = Duration::from_millis(500);

fn start(server: &Scripted, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.address]);
    change(&mut config);
    Proxy::start(config).unwrap()
}

async fn silent() -> Scripted {
    Scripted::start(|mut stream| async move {
        let _ = read_all(&mut stream).await;
    })
    .await
}

async fn rest(client: &mut tokio::net::TcpStream) -> String {
    String::from_utf8(read_all(client).await.unwrap()).unwrap()
}

#[tokio::test]
async fn h44_head_that_trickles_is_408_after_http_request_in_total() {
    let server = silent().await;
    let proxy = start(&server, |config| config.frontends[0].timeout.http_request = SHORT);
    let (mut read, mut write) = connect(&proxy).await.into_split();
    write.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"A: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let head = read_head(&mut read).await.unwrap();
    assert!(
        head.starts_with("HTTP/1.1 408 Request Timeout\r\n") && head.contains("\r\nConnection: close\r\n"),
        "{head}"
    );
    trickle.abort();
    counted(&proxy, "request_timeouts_total", 1).await;
}

/// A connection gives back the room of an exchange a second after one. The clock is another connection, whose time for a
/// request runs out after that.
#[tokio::test]
async fn connection_that_was_idle_for_more_than_a_second_serves_its_next_request() {
    let recording = Recording::answering(OK).await;
    let proxy = start(&recording.server, |config| {
        config.frontends[0].timeout.http_request = Duration::from_millis(1_400);
    });
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, GET).await.ends_with("ok"));
    assert_eq!(rest(&mut connect(&proxy).await).await, "");
    assert!(ask(&mut client, GET).await.ends_with("ok"));
    assert_eq!(recording.requests().len(), 2);
}

/// In all, whatever part of it the connection was warm.
#[tokio::test]
async fn keep_alive_of_more_than_a_second_ends_in_time() {
    let recording = Recording::answering(OK).await;
    let keep_alive = Duration::from_millis(1_600);
    let proxy = start(&recording.server, |config| config.frontends[0].timeout.http_keep_alive = keep_alive);
    quick_once(keep_alive + Duration::from_millis(950), async || {
        let mut client = connect(&proxy).await;
        let asked = std::time::Instant::now();
        ask(&mut client, GET).await;
        assert_eq!(rest(&mut client).await, "");
        let idle = asked.elapsed();
        assert!(idle >= keep_alive, "{idle:?}");
        idle
    })
    .await;
}

#[tokio::test]
async fn connection_without_a_byte_is_closed_without_a_word() {
    let server = silent().await;
    let proxy = start(&server, |config| config.frontends[0].timeout.http_request = SHORT);
    assert_eq!(rest(&mut connect(&proxy).await).await, "");
    let mut empty_lines = connect(&proxy).await;
    empty_lines.write_all(b"\r\n\r\n").await.unwrap();
    assert_eq!(rest(&mut empty_lines).await, "");
    assert_eq!(counter(&proxy, "request_timeouts_total"), 0);
    assert_eq!(proxy.status().frontends[0].requests_total, 0);
}

#[tokio::test]
async fn h45_idle_connection_is_closed_without_a_word_after_http_keep_alive() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream.server, |config| config.frontends[0].timeout.http_keep_alive = SHORT);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, OK);
    assert_eq!(rest(&mut client).await, "");
}

#[tokio::test]
async fn d13_server_that_says_nothing_is_504_and_the_client_stays() {
    let server = silent().await;
    let proxy = start(&server, |config| config.backends[0].timeout.server = SHORT);
    let mut client = connect(&proxy).await;
    for n in 1..=2 {
        assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"));
        counted(&proxy, "server_timeouts_total", n).await;
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn h44_content_that_trickles_is_408_whatever_the_inactivity() {
    let server = silent().await;
    let proxy = start(&server, |config| {
        config.frontends[0].timeout.http_request = SHORT;
        config.frontends[0].options.min_body_rate = std::num::NonZeroU32::new(1000);
    });
    let (mut read, mut write) = connect(&proxy).await.into_split();
    write.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
    let trickle = tokio::spawn(async move {
        // About 200 bytes per second.
        while write.write_all(b"0123456789").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let head = read_head(&mut read).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("\r\nConnection: close\r\n"), "{head}");
    trickle.abort();
    counted(&proxy, "client_timeouts_total", 1).await;
}

#[tokio::test]
async fn server_whose_head_trickles_is_504_after_its_timeout_in_total() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        while stream.write_all(b"A: b\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let proxy = start(&server, |config| config.backends[0].timeout.server = SHORT);
    let started = std::time::Instant::now();
    let answer = ask(&mut connect(&proxy).await, GET).await;
    // 100 fields would be refused after 5 s, with 502.
    assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
    assert!(started.elapsed() >= SHORT, "{:?}", started.elapsed());
    counted(&proxy, "server_timeouts_total", 1).await;
}

#[tokio::test]
async fn h43_client_that_ends_its_side_in_line_is_served_without_abortonclose() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut released = released.clone();
        async move {
            while read_message(&mut stream).await.is_some() {
                released.wait_for(|released| *released).await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let queued = |proxy: &Proxy| proxy.status().backends[0].queued;
    let in_line = async |abortonclose| {
        let proxy = start(&server, |config| {
            config.backends[0].servers[0].maxconn = Some(1);
            config.backends[0].options.abortonclose = Some(abortonclose);
        });
        let mut first = connect(&proxy).await;
        first.write_all(GET.as_bytes()).await.unwrap();
        eventually("the slot is taken", || proxy.status().backends[0].servers[0].in_flight == 1).await;
        let mut second = connect(&proxy).await;
        second.write_all(GET.as_bytes()).await.unwrap();
        second.shutdown().await.unwrap();
        eventually("the second has come", || proxy.status().frontends[0].requests_total == 2).await;
        (proxy, first, second)
    };
    let (proxy, _first, mut second) = in_line(false).await;
    // The clock: where abortonclose is, the same client is sent away, after the grace that it gives.
    let (clock, _occupies, mut other) = in_line(true).await;
    rest(&mut other).await;
    eventually("it has left", || (queued(&clock), counter(&clock, "client_aborts_total")) == (0, 1)).await;
    assert_eq!(queued(&proxy), 1);
    release.send(true).unwrap();
    assert_eq!(rest(&mut second).await, OK);
}

#[tokio::test]
async fn d13_server_that_stops_in_its_content_ends_the_response() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello").await.unwrap();
        let _ = read_all(&mut stream).await;
    })
    .await;
    let proxy = start(&server, |config| config.backends[0].timeout.server = SHORT);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(rest(&mut client).await, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    counted(&proxy, "server_timeouts_total", 1).await;
}

#[tokio::test]
async fn d13_client_that_stops_in_its_content_is_408() {
    let server = silent().await;
    let proxy = start(&server, |config| {
        config.frontends[0].timeout.client = SHORT;
        // Shorter still: but it is not the server's turn.
        config.backends[0].timeout.server = Duration::from_millis(100);
    });
    let mut client = connect(&proxy).await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello").await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 408 "));
    counted(&proxy, "client_timeouts_total", 1).await;
}

#[tokio::test]
async fn client_that_does_not_take_its_response_is_closed() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[7; 65536]).await.is_ok() {}
    })
    .await;
    let proxy = start(&server, |config| config.frontends[0].timeout.client = SHORT);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    eventually("the client times out", || counter(&proxy, "client_timeouts_total") == 1).await;
    eventually("its connection is closed", || proxy.status().connections == 0).await;
}

#[tokio::test]
async fn request_that_waits_in_line_for_too_long_is_503() {
    let server = silent().await;
    let proxy = start(&server, |config| {
        config.backends[0].servers[0].maxconn = Some(1);
        config.backends[0].timeout.queue = SHORT;
    });
    let mut first = connect(&proxy).await;
    first.write_all(GET.as_bytes()).await.unwrap();
    eventually("the slot is taken", || server.accepted() == 1).await;
    let answer = ask(&mut connect(&proxy).await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    counted(&proxy, "queue_timeouts_total", 1).await;
}

#[tokio::test]
async fn client_that_ends_within_a_head_is_400() {
    let server = silent().await;
    let proxy = start(&server, |_| {});
    let mut client = connect(&proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(rest(&mut client).await.starts_with("HTTP/1.1 400 "));
    counted(&proxy, "client_aborts_total", 1).await;
}

/// Requests that are answered here need no wait, so a client that sends many at once could keep a worker to itself.
#[tokio::test]
async fn a_client_that_pipelines_without_end_does_not_hold_up_the_others() {
    let mut config = http_config(&[]);
    config.frontends[0].default_backend = None;
    let proxy = Proxy::start(config).unwrap();
    let flood = std::net::TcpStream::connect(address(&proxy)).unwrap();
    let (mut write, mut read) = (flood.try_clone().unwrap(), flood.try_clone().unwrap());
    let request = "G / HTTP/1.1\r\nHost:a\r\n\r\n";
    let writer = std::thread::spawn(move || {
        let requests = request.repeat(40_000);
        while write.write_all(requests.as_bytes()).is_ok() {}
    });
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; 1 << 20];
        while read.read(&mut bytes).is_ok_and(|n| n > 0) {}
    });
    let mut client = connect(&proxy).await;
    let mut served_first = Vec::new();
    for _ in 0..25 {
        let before = proxy.status().frontends[0].bytes_in;
        ask(&mut client, GET).await;
        served_first.push((proxy.status().frontends[0].bytes_in - before) / request.len() as u64);
    }
    let _ = flood.shutdown(std::net::Shutdown::Both);
    writer.join().unwrap();
    reader.join().unwrap();
    // Not the most: this test itself may be held up.
    served_first.sort_unstable();
    assert!(served_first[12] < 1_500, "{served_first:?} other requests were served first");
}
