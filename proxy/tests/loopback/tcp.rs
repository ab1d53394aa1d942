//! tcp mode: bytes, ends, timeouts.

use std::{io::ErrorKind, time::Duration};

use lb_proxy::{Proxy, config::Mode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::*;

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
    assert_eq!(counter(&proxy, "server_aborts_total"), 1);
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
    assert_eq!(counter(&proxy, "client_timeouts_total"), 1);
    assert_eq!(counter(&proxy, "server_timeouts_total"), 0);
}

#[tokio::test]
async fn server_is_not_blamed_for_a_client_that_does_not_read() {
    let server = Scripted::start(|mut stream| async move {
        let _ = stream.write_all(&vec![7; 30_000_000]).await;
    })
    .await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].timeout.server = Duration::from_millis(600);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    read_n(&mut client, 1).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(read_all(&mut client).await.unwrap().len(), 29_999_999);
    assert_eq!(counter(&proxy, "server_timeouts_total"), 0);
}

#[tokio::test]
async fn frontend_without_a_backend_closes_and_counts() {
    let mut config = config(Mode::Tcp, &[]);
    config.frontends[0].default_backend = None;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    assert_eq!(counter(&proxy, "no_server_total"), 1);
}
