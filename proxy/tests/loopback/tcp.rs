//! tcp mode: bytes, ends, timeouts.

use std::{
    io::ErrorKind,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use lb_proxy::{Proxy, config::Mode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{rig::*, said};

/// Bytes that differ at every position, by a seed.
fn pattern(seed: u64, n: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Sends `bytes` in pieces of changing sizes, then ends.
async fn send_in_pieces(stream: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8], seed: u64) {
    let mut rest = bytes;
    let mut size = seed as usize % 5_000 + 1;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        stream.write_all(piece).await.unwrap();
        rest = behind;
        size = (size * 7919 + 13) % 200_000 + 1;
    }
    stream.shutdown().await.unwrap();
}

#[tokio::test]
async fn both_directions_arrive_byte_for_byte_at_the_same_time() {
    const UP: usize = 5_000_003;
    const DOWN: usize = 7_000_001;
    let server = Scripted::start(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        let mut received = Vec::new();
        let down = pattern(2, DOWN);
        let (result, ()) =
            tokio::join!(read.read_to_end(&mut received), send_in_pieces(&mut write, &down, 2));
        result.unwrap();
        assert!(received == pattern(1, UP), "the server got other bytes");
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    let (mut read, mut write) = client.split();
    let mut received = Vec::new();
    let up = pattern(1, UP);
    let (result, ()) = tokio::join!(read.read_to_end(&mut received), send_in_pieces(&mut write, &up, 1));
    result.unwrap();
    assert!(received == pattern(2, DOWN), "the client got other bytes");
    eventually("counted", || proxy.status().frontends[0].connections == 0).await;
    let status = proxy.status();
    assert_eq!((status.frontends[0].bytes_in, status.frontends[0].bytes_out), (5_000_003, 7_000_001));
}

#[tokio::test]
async fn echoes_of_every_size_around_the_buffers_are_byte_exact() {
    let server = Scripted::named("").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    for (seed, n) in [1, 16_383, 16_384, 16_385, 65_536, 2, 300_000, 1, 1_100_000, 3].into_iter().enumerate()
    {
        let sent = pattern(seed as u64, n);
        let (mut read, mut write) = client.split();
        let mut echoed = vec![0; n];
        let (_, result) = tokio::join!(read.read_exact(&mut echoed), write.write_all(&sent));
        result.unwrap();
        assert!(echoed == sent, "{n} bytes came back changed");
    }
}

#[tokio::test]
async fn client_that_ends_first_still_gets_the_answer() {
    let server = Scripted::start(|mut stream| async move {
        let mut question = Vec::new();
        stream.read_to_end(&mut question).await.unwrap();
        question.reverse();
        stream.write_all(&question).await.unwrap();
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"abc").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"cba");
}

#[tokio::test]
async fn server_that_ends_first_still_gets_the_rest() {
    let (done, heard) = std::sync::mpsc::channel();
    let server = Scripted::start(move |mut stream| {
        let done = done.clone();
        async move {
            stream.write_all(b"bye").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            done.send(rest).unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(read_all(&mut client).await.unwrap(), b"bye");
    client.write_all(b"not yet").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = None;
    eventually("the server heard the rest", || {
        rest = heard.try_recv().ok();
        rest.is_some()
    })
    .await;
    assert_eq!(rest.unwrap(), b"not yet");
}

#[tokio::test]
async fn server_that_breaks_resets_the_client() {
    let server = Scripted::start(|mut stream| async move {
        stream.write_all(b"half an ans").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(read_n(&mut client, 11).await, b"half an ans");
    client.write_all(b"?").await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    counted(&proxy, "server_aborts_total", 1).await;
}

#[tokio::test]
async fn silent_client_is_closed_after_its_timeout() {
    let server = Scripted::named("hello").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].timeout.client = Duration::from_millis(200);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let start = std::time::Instant::now();
    assert_eq!(read_all(&mut client).await.unwrap(), b"hello");
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
    counted(&proxy, "client_timeouts_total", 1).await;
    assert_eq!(counter(&proxy, "server_timeouts_total"), 0);
}

#[tokio::test]
async fn server_is_not_blamed_for_a_client_that_does_not_read() {
    let first = AtomicBool::new(true);
    let server = Scripted::start(move |mut stream| {
        let talks = first.swap(false, Ordering::SeqCst);
        async move {
            if talks {
                let _ = stream.write_all(&vec![7; 30_000_000]).await;
            } else {
                let _ = read_all(&mut stream).await;
            }
        }
    })
    .await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].timeout.server = Duration::from_millis(600);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    read_n(&mut client, 1).await;
    // The clock: two connections, one after the other, whose server is to blame. So twice its timeout passes.
    for blamed in 1..=2 {
        let mut other = connect(&proxy).await;
        assert_eq!(read_all(&mut other).await.unwrap(), b"");
        counted(&proxy, "server_timeouts_total", blamed).await;
    }
    assert_eq!(read_all(&mut client).await.unwrap().len(), 29_999_999);
    counted(&proxy, "server_timeouts_total", 2).await;
}

#[tokio::test]
async fn frontend_without_a_backend_closes_and_counts() {
    let mut config = config(Mode::Tcp, &[]);
    config.frontends[0].default_backend = None;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    counted(&proxy, "no_server_total", 1).await;
}

#[tokio::test]
async fn tunnel_timeout_stands_in_for_those_of_both_sides() {
    let server = Scripted::named("hello").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].timeout.client = Duration::from_millis(100);
    config.backends[0].timeout.server = Duration::from_millis(100);
    // The clock: connections where these times run out, one after the other.
    let clock = Proxy::start(config.clone()).unwrap();
    config.backends[0].timeout.tunnel = Some(LONG);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    read_n(&mut client, 5).await;
    for _ in 0..3 {
        assert_eq!(read_all(&mut connect(&clock).await).await.unwrap(), b"hello");
    }
    client.write_all(b"still here").await.unwrap();
    assert_eq!(read_n(&mut client, 10).await, b"still here");
}

/// A server that hears the end of its client and does not end itself, and the other way round.
#[tokio::test]
async fn half_closed_connection_has_timeouts_of_its_own() {
    let server = Scripted::start(|mut stream| async move {
        let mut byte = [0];
        stream.write_all(b"a").await.unwrap();
        match stream.read(&mut byte).await.unwrap() {
            0 => {}
            _ => stream.shutdown().await.unwrap(),
        }
        std::future::pending().await
    })
    .await;
    for (client_ends, of_client, of_server, counted) in [
        (true, Some(Duration::from_millis(200)), None, "client_timeouts_total"),
        (true, None, Some(Duration::from_millis(200)), "server_timeouts_total"),
        (false, Some(Duration::from_millis(200)), None, "client_timeouts_total"),
        (false, None, Some(Duration::from_millis(200)), "server_timeouts_total"),
    ] {
        let mut config = config(Mode::Tcp, &[server.address]);
        config.backends[0].timeout.tunnel = Some(LONG);
        config.frontends[0].timeout.client_fin = of_client;
        config.backends[0].timeout.server_fin = of_server;
        let proxy = Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        read_n(&mut client, 1).await;
        if client_ends {
            client.shutdown().await.unwrap();
        } else {
            client.write_all(b"x").await.unwrap();
        }
        eventually("it is cut off", || proxy.status().connections == 0).await;
        let what = format!("counted: {client_ends} {of_client:?} {of_server:?}");
        eventually(&what, || counter(&proxy, counted) == 1).await;
    }
}

#[tokio::test]
async fn client_that_says_nothing_and_ends_its_side_is_greeted() {
    let server = Scripted::named("220 hello").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"220 hello");
}

/// A full server, and a client in line that has sent `bytes`.
async fn in_line(bytes: &[u8], abortonclose: Option<bool>) -> (Proxy, TcpStream, TcpStream) {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.threads = std::num::NonZeroUsize::MIN;
    config.backends[0].servers[0].maxconn = Some(1);
    config.backends[0].options.abortonclose = abortonclose;
    let proxy = Proxy::start(config).unwrap();
    let mut first = connect(&proxy).await;
    read_n(&mut first, 1).await;
    let mut second = connect(&proxy).await;
    second.write_all(bytes).await.unwrap();
    eventually("in line", || proxy.status().backends[0].queued == 1).await;
    // It has its end when the first client has.
    std::mem::forget(server);
    (proxy, first, second)
}

#[tokio::test]
async fn h43_client_that_leaves_the_line_is_noticed_at_once() {
    for (bytes, abortonclose, resets) in [
        (&b""[..], None, false),
        (b"", Some(true), false),
        (b"hello", Some(true), false),
        (b"", None, true),
        (b"hello", None, true),
    ] {
        let (proxy, _first, second) = in_line(bytes, abortonclose).await;
        if resets {
            second.set_zero_linger().unwrap();
        }
        drop(second);
        eventually("the line is empty", || proxy.status().backends[0].queued == 0).await;
        eventually("it is counted", || counter(&proxy, "client_aborts_total") == 1).await;
    }
}

#[tokio::test]
async fn h43_client_that_has_said_all_and_waits_in_line_is_served() {
    let (proxy, first, mut second) = in_line(b"hello", None).await;
    second.shutdown().await.unwrap();
    // Who comes later and leaves by a reset is noticed: the one worker has seen the end of who came before.
    let queued = || proxy.status().backends[0].queued;
    for aborts in 1..=3 {
        let third = connect(&proxy).await;
        eventually("a third waits", || queued() == 2).await;
        third.set_zero_linger().unwrap();
        drop(third);
        eventually("it has left", || counter(&proxy, "client_aborts_total") == aborts).await;
        assert_eq!(queued(), 1);
    }
    drop(first);
    assert_eq!(read_all(&mut second).await.unwrap(), b"ahello");
}

#[tokio::test]
async fn refused_connections_are_told_once_a_second_with_the_reason() {
    said::listen();
    let refusing = Refusing::new();
    for (name, backend, reason) in [
        ("told-unreachable", true, "no server could be connected to, at last s1 at 127.0.0.1:"),
        ("told-nowhere", false, "no rule has chosen a backend, and the frontend has no default_backend"),
    ] {
        let mut config = config(Mode::Tcp, &[refusing.address]);
        config.frontends[0].name = name.to_owned();
        config.frontends[0].default_backend = config.frontends[0].default_backend.filter(|_| backend);
        let proxy = Proxy::start(config).unwrap();
        let start = std::time::Instant::now();
        for _ in 0..50 {
            assert_eq!(read_all(&mut connect(&proxy).await).await.unwrap(), b"");
        }
        let most = start.elapsed().as_secs() + 1;
        let lines = said::lines_with(&format!("frontend={name} "));
        let lines: Vec<_> = lines.iter().filter(|line| line.contains("refused")).collect();
        assert!(!lines.is_empty() && lines.len() as u64 <= most, "{name}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains(&format!("reason={reason}"))), "{lines:?}");
    }
}
