//! What a connection and its streams count for: `maxconn` of the process and of the frontend, and `per_source`.

use std::{
    io::{Read, Write},
    num::NonZeroU32,
    time::Duration,
};

use lb_proxy::{Config, table::SourceLimits};

use super::{
    client::{self, Client},
    frames::*,
    peer, rig, server,
};

/// The stream is given up.
fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// So many streams at a time are served of one connection; others wait and are served in the end, and other connections come.
async fn assert_waits(change: impl FnOnce(&mut Config), served: usize) {
    let (server, mut told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    change(&mut config);
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    let mut client = peer::apart(move || {
        let mut client = Client::begun(address);
        for n in 0..12_u32 {
            client.get(2 * n + 1, "/never", &[]);
        }
        client.get(25, "/now", &[]);
        assert_eq!(client.so_far(), (vec![], true));
        client
    })
    .await;
    for _ in 0..served {
        assert!(told.recv().await.unwrap().contains(" /never"));
    }
    rig::counted(&proxy, "http2_stream_waits_total", 1).await;
    peer::apart(move || {
        let mut other = Client::begun(address);
        other.get(1, "/index.html", &[]);
        assert_eq!(other.answer(1).status(), "200");
    })
    .await;
    assert!(told.recv().await.unwrap().contains(" /index.html"));
    // Each that goes makes room for the next in line.
    let client = peer::apart(move || {
        (0..12_u32).for_each(|n| client.send(&reset(2 * n + 1)));
        assert_eq!(client.answer(25).status(), "200");
        client
    })
    .await;
    drop(client);
    rig::eventually("all places are free", || proxy.status().connections == 0).await;
}

#[tokio::test]
async fn streams_wait_while_three_quarters_of_maxconn_are_taken() {
    assert_waits(|config| config.maxconn = 10, 8).await;
}

#[tokio::test]
async fn streams_wait_while_three_quarters_of_the_frontend_s_maxconn_are_taken() {
    assert_waits(|config| config.frontends[0].maxconn = 4, 3).await;
}

/// A place that another connection gives back is found, though nobody says so.
#[tokio::test]
async fn stream_that_waits_gets_the_place_of_another_connection() {
    let (server, _told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    config.maxconn = 4;
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    peer::apart(move || {
        let [mut first, mut second] = [Client::begun(address), Client::begun(address)];
        for stream in [1, 3] {
            first.get(stream, "/never", &[]);
        }
        assert_eq!(first.so_far(), (vec![], true));
        second.get(1, "/never", &[]);
        second.get(3, "/now", &[]);
        assert_eq!(second.so_far(), (vec![], true));
        drop(first);
        assert_eq!(second.answer(3).status(), "200");
    })
    .await;
}

/// As its request would be where its server has no place, and as late.
#[tokio::test]
async fn stream_that_finds_no_place_in_time_is_answered_503() {
    let (server, _told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    config.maxconn = 4;
    config.backends[0].timeout.queue = Duration::from_secs(1);
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        for stream in [1, 3, 5] {
            client.get(stream, "/never", &[]);
        }
        for stream in [7, 9] {
            client.get(stream, "/now", &[]);
        }
        for stream in [7, 9] {
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.field("retry-after")), ("503", Some("1")));
        }
        client.send(&reset(1));
        client.get(11, "/now", &[]);
        assert_eq!(client.answer(11).status(), "200");
    })
    .await;
    rig::counted(&proxy, "queue_timeouts_total", 2).await;
    let refused = &proxy.status().frontends[0].refused[0];
    assert_eq!(refused.count, 2);
    assert!(
        refused.reason.starts_with("no place for another stream became free within 1 s (timeout.queue)"),
        "{refused:?}"
    );
}

fn limited(connections: u32) -> SourceLimits {
    let size = NonZeroU32::MIN;
    SourceLimits { connections: NonZeroU32::new(connections), connection_rate: None, ipv6_prefix: 64, size }
}

/// As many as one connection may have are told to the client; those of several are counted together.
#[tokio::test]
async fn streams_of_a_source_count_as_its_connections_do() {
    let (server, _told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    config.frontends[0].per_source = Some(limited(4));
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    let mut second = peer::apart(move || {
        let mut first = Client::begun(address);
        let settings = first.next(SETTINGS).payload;
        assert_eq!(settings[..6], [0, 3, 0, 0, 0, 4], "SETTINGS_MAX_CONCURRENT_STREAMS");
        for stream in [1, 3, 5] {
            first.get(stream, "/never", &[]);
        }
        assert_eq!(first.so_far(), (vec![], true));
        let mut second = Client::begun(address);
        second.get(1, "/never", &[]);
        for stream in [3, 5] {
            second.get(stream, "/now", &[]);
            let answer = second.answer(stream);
            assert_eq!((answer.status(), answer.field("retry-after")), ("429", Some("1")));
        }
        second
    })
    .await;
    rig::eventually("all of the first have ended", || proxy.status().backends[0].servers[0].in_flight == 1)
        .await;
    peer::apart(move || {
        second.get(7, "/now", &[]);
        assert_eq!(second.answer(7).status(), "200");
    })
    .await;
    rig::counted(&proxy, "source_connection_refusals_total", 2).await;
    assert_eq!(proxy.status().frontends[0].refused[0].count, 2);
}

/// Those that were here before count, and are told what they may have from now on.
#[tokio::test]
async fn reload_binds_connections_that_are_open() {
    let (server, _told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    let proxy = client::start(config.clone());
    let address = rig::address(&proxy);
    let mut old = rig::connect(&proxy).await;
    server::ask(&mut old, "GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(server::response(&mut old).await.starts_with("HTTP/1.1 200 "));
    let first = peer::apart(move || {
        let mut first = Client::begun(address);
        assert_eq!(first.next(SETTINGS).payload[..6], [0, 3, 0, 0, 0, 100]);
        first.get(1, "/never", &[]);
        assert_eq!(first.so_far(), (vec![], true));
        first
    })
    .await;
    config.frontends[0].per_source = Some(limited(3));
    proxy.reload(config).await.unwrap();
    let first = peer::apart(move || {
        let mut first = first;
        let settings = std::iter::repeat_with(|| first.next(SETTINGS)).find(|frame| frame.flags & ACK == 0);
        assert_eq!(settings.unwrap().payload[..6], [0, 3, 0, 0, 0, 3]);
        first
    })
    .await;
    // One of HTTP/1.1, one of HTTP/2: one more may come.
    rig::eventually("both are counted", || proxy.status().tables[0].entries == 1).await;
    peer::apart(move || {
        let [mut first, mut second] = [first, Client::begun(address)];
        second.get(1, "/now", &[]);
        assert_eq!(second.answer(1).status(), "200");
        let mut third = Client::begun(address);
        third.get(1, "/now", &[]);
        assert_eq!(third.answer(1).status(), "429");
        first.get(3, "/now", &[]);
        assert_eq!(first.answer(3).status(), "429");
        drop(second);
    })
    .await;
}

#[tokio::test]
async fn client_with_too_many_connections_is_told_429_in_the_version_that_it_speaks() {
    let (server, _told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    config.frontends[0].per_source = Some(limited(1));
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut first = Client::begun(address);
        first.get(1, "/index.html", &[]);
        assert_eq!(first.answer(1).status(), "200");
        let mut second = Client::begun(address);
        second.get(1, "/index.html", &[]);
        let answer = second.answer(1);
        assert_eq!((answer.status(), answer.field("retry-after")), ("429", Some("1")));
        assert!(answer.content.starts_with(b"<html><body><h1>429 "), "{answer:?}");
        let farewell = second.next(GOAWAY);
        assert_eq!((farewell.code(), &farewell.payload[..4]), (0, &[0, 0, 0, 1][..]));
        second.get(3, "/index.html", &[]);
        let (frames, is_there) = second.so_far();
        assert!(frames.is_empty() && !is_there, "the connection ends: {frames:?}");
        let mut third = std::net::TcpStream::connect(address).unwrap();
        third.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        third.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{answer}");
    })
    .await;
    assert_eq!(proxy.status().frontends[0].responses[4], 2);
    assert_eq!(proxy.status().frontends[0].refused[0].count, 2);
}
