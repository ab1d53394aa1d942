use std::{net::SocketAddr, num::NonZeroUsize};

use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::config::{Backend, Mode, Server};

const BACKEND: BackendId = BackendId(0);

fn config(servers: usize) -> Config {
    let server = |index| Server::new(format!("s{index}"), SocketAddr::from(([127, 0, 0, 1], 1)));
    Config {
        threads: NonZeroUsize::MIN,
        maxconn: 1,
        maps: Vec::new(),
        frontends: Vec::new(),
        backends: vec![Backend::new("back", Mode::Http, (0..servers).map(server).collect())],
    }
}

/// Our end and the server's.
async fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours, listener.accept().await.unwrap().0)
}

async fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    socket.listen(128).unwrap()
}

fn port(stream: &TcpStream) -> u16 {
    stream.local_addr().unwrap().port()
}

#[tokio::test]
async fn youngest_quiet_connection_is_reused_first() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(2)), Cell::new(0));
    let (old, _old_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let (ports, now) = ([port(&young), port(&old)], 10);
    idle.put(BACKEND, 0, 5, old);
    idle.put(BACKEND, 0, 7, young);
    assert!(idle.take(BACKEND, 1, now, || stale.set(stale.get() + 1)).is_none());
    for expected in ports {
        assert_eq!(port(&idle.take(BACKEND, 0, now, || stale.set(stale.get() + 1)).unwrap()), expected);
    }
    assert!(idle.take(BACKEND, 0, now, || stale.set(stale.get() + 1)).is_none());
    assert_eq!(stale.get(), 0);
}

#[tokio::test]
async fn connection_that_ended_or_spoke_or_grew_old_is_not_reused() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let (ended, peer) = pair(&listener).await;
    drop(peer);
    let (spoke, talkative) = pair(&listener).await;
    talkative.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    let (aged, _aged_peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 0, aged);
    idle.put(BACKEND, 0, 30, ended);
    idle.put(BACKEND, 0, 30, spoke);
    // 4 s after the first, 1 s after the others.
    assert!(idle.take(BACKEND, 0, 40, || stale.set(stale.get() + 1)).is_none());
    assert_eq!(stale.get(), 3);
    assert_eq!(idle.count.get(), 0);
}

#[tokio::test]
async fn oldest_connection_gives_way_when_there_are_too_many() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let mut peers = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..66 {
        let (ours, peer) = pair(&listener).await;
        ports.push(port(&ours));
        idle.put(BACKEND, 0, 0, ours);
        peers.push(peer);
    }
    assert_eq!(idle.count.get(), 64);
    let mut left = Vec::new();
    while let Some(stream) = idle.take(BACKEND, 0, 0, || stale.set(stale.get() + 1)) {
        left.push(port(&stream));
    }
    left.reverse();
    assert_eq!(left, ports[2..]);
}

#[tokio::test]
async fn sweep_closes_what_is_too_old() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let (old, _old_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let expected = port(&young);
    idle.put(BACKEND, 0, 0, old);
    idle.put(BACKEND, 0, 20, young);
    idle.sweep(45);
    assert_eq!(idle.count.get(), 1);
    assert_eq!(port(&idle.take(BACKEND, 0, 45, || stale.set(stale.get() + 1)).unwrap()), expected);
}
