use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
};

use super::*;
use crate::config::{Backend, Mode, PoolOptions, Server};

const BACKEND: BackendId = BackendId(0);

fn config(servers: usize) -> Config {
    let server = |index| Server::new(format!("s{index}"), SocketAddr::from(([127, 0, 0, 1], 1)));
    Config {
        threads: NonZeroUsize::MIN,
        maxconn: 1,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        log: Vec::new(),
        resolver: Default::default(),
        compression_cpu: 100,
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

/// Opened at `now`, has served one request.
fn used(stream: TcpStream, now: u64) -> Link {
    let mut link = Link::new(stream, now, 0);
    link.serve();
    link
}

#[tokio::test]
async fn youngest_quiet_connection_is_reused_first() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(2)), Cell::new(0));
    let (old, _old_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let (ports, now) = ([port(&young), port(&old)], 10);
    idle.put(BACKEND, 0, 5, used(old, 5));
    idle.put(BACKEND, 0, 7, used(young, 7));
    assert!(idle.take(BACKEND, 1, Reuse::Allowed, now, || stale.set(stale.get() + 1)).is_none());
    for expected in ports {
        assert_eq!(
            port(&idle.take(BACKEND, 0, Reuse::Allowed, now, || stale.set(stale.get() + 1)).unwrap().stream),
            expected
        );
    }
    assert!(idle.take(BACKEND, 0, Reuse::Allowed, now, || stale.set(stale.get() + 1)).is_none());
    assert_eq!(stale.get(), 0);
}

#[tokio::test]
async fn connection_that_ended_or_spoke_or_grew_old_is_not_reused() {
    let listener = listener().await;
    let (idle, stale) = (IdleConnections::new(&config(1)), Cell::new(0));
    let (ended, peer) = pair(&listener).await;
    drop(peer);
    let (spoke, mut talkative) = pair(&listener).await;
    talkative.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
    let (aged, _aged_peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 0, used(aged, 0));
    idle.put(BACKEND, 0, 30, used(ended, 30));
    idle.put(BACKEND, 0, 30, used(spoke, 30));
    // 4 s after the first, 1 s after the others.
    assert!(idle.take(BACKEND, 0, Reuse::Allowed, 40, || stale.set(stale.get() + 1)).is_none());
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
        idle.put(BACKEND, 0, 0, used(ours, 0));
        peers.push(peer);
    }
    assert_eq!(idle.count.get(), 64);
    let mut left = Vec::new();
    while let Some(link) = idle.take(BACKEND, 0, Reuse::Allowed, 0, || stale.set(stale.get() + 1)) {
        left.push(port(&link.stream));
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
    idle.put(BACKEND, 0, 0, used(old, 0));
    idle.put(BACKEND, 0, 20, used(young, 20));
    idle.sweep(45);
    assert_eq!(idle.count.get(), 1);
    assert_eq!(
        port(&idle.take(BACKEND, 0, Reuse::Allowed, 45, || stale.set(stale.get() + 1)).unwrap().stream),
        expected
    );
}

#[tokio::test]
async fn r4_connection_that_is_too_old_or_has_served_enough_is_not_kept() {
    let listener = listener().await;
    let mut config = config(1);
    config.backends[0].options.pool = PoolOptions {
        max_age: Duration::from_secs(10),
        max_requests: NonZeroU32::new(2),
        ..PoolOptions::default()
    };
    let idle = IdleConnections::new(&config);
    let (stream, _peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 0, used(stream, 0));
    let mut link = idle.take(BACKEND, 0, Reuse::Allowed, 1, || {}).unwrap();
    link.serve();
    idle.put(BACKEND, 0, 2, link);
    assert_eq!(idle.count.get(), 0, "it has served two requests");
    let (stream, _peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 99, used(stream, 0));
    assert_eq!(idle.count.get(), 1);
    assert!(idle.take(BACKEND, 0, Reuse::Allowed, 100, || {}).is_none(), "it is 10 s old");
    let (stream, _peer) = pair(&listener).await;
    idle.put(BACKEND, 0, 100, used(stream, 0));
    assert_eq!(idle.count.get(), 0, "it is 10 s old");
}

#[tokio::test]
async fn proven_connection_is_one_that_was_used_again() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let (proven, _proven_peer) = pair(&listener).await;
    let (young, _young_peer) = pair(&listener).await;
    let ports = [port(&proven), port(&young)];
    let mut proven = used(proven, 0);
    proven.serve();
    idle.put(BACKEND, 0, 0, proven);
    idle.put(BACKEND, 0, 1, used(young, 0));
    assert!(idle.take(BACKEND, 0, Reuse::Forbidden, 1, || {}).is_none());
    assert_eq!(port(&idle.take(BACKEND, 0, Reuse::Proven, 1, || {}).unwrap().stream), ports[0]);
    assert!(idle.take(BACKEND, 0, Reuse::Proven, 1, || {}).is_none());
    assert_eq!(port(&idle.take(BACKEND, 0, Reuse::Allowed, 1, || {}).unwrap().stream), ports[1]);
}

/// Bytes that a server sends unasked right after a response would be taken for the answer to the next request.
#[tokio::test]
async fn youngest_connection_is_looked_at_even_if_the_runtime_has_seen_nothing() {
    let listener = listener().await;
    let idle = IdleConnections::new(&config(1));
    let (ours, peer) = pair(&listener).await;
    // No event of this socket was taken from the reactor since: nothing is awaited from here on.
    peer.writable().await.unwrap();
    idle.put(BACKEND, 0, 5, used(ours, 5));
    peer.try_write(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    assert!(idle.take(BACKEND, 0, Reuse::Allowed, 5, || {}).is_none());
}

#[tokio::test]
async fn next_generation_keeps_the_connections_of_servers_that_stay_and_closes_the_others() {
    let listener = listener().await;
    let before = IdleConnections::new(&config(2));
    let (stays, _peer) = pair(&listener).await;
    let (goes, mut gone) = pair(&listener).await;
    let expected = port(&stays);
    before.put(BACKEND, 0, 0, used(stays, 0));
    before.put(BACKEND, 1, 0, used(goes, 0));
    // The first server has become the third one, the second one is gone.
    let after = before.next(&config(3), |backend, server| (server == 2).then_some((backend, 0)));
    assert_eq!(gone.read(&mut [0]).await.unwrap(), 0);
    assert_eq!((before.count.get(), after.count.get()), (1, 1));
    assert_eq!(port(&after.take(BACKEND, 2, Reuse::Allowed, 1, || {}).unwrap().stream), expected);
    // An exchange of the generation before ends: its connection to the server that is gone is not kept.
    let (late, _late_peer) = pair(&listener).await;
    before.put(BACKEND, 1, 1, used(late, 0));
    let (late, _late_peer) = pair(&listener).await;
    let expected = port(&late);
    before.put(BACKEND, 0, 1, used(late, 0));
    assert_eq!(after.count.get(), 1);
    assert_eq!(port(&after.take(BACKEND, 2, Reuse::Allowed, 1, || {}).unwrap().stream), expected);
}

#[tokio::test]
async fn own_connection_of_a_client_is_bound_as_others_are_unless_it_was_authenticated() {
    let listener = listener().await;
    let mut config = config(1);
    config.backends[0].options.pool = PoolOptions {
        idle: 3 * TICK,
        max_age: 10 * TICK,
        max_requests: NonZeroU32::new(2),
        ..config.backends[0].options.pool
    };
    let idle = IdleConnections::new(&config);
    let mut link = used(pair(&listener).await.0, 0);
    let allows = |link: &Link, since, now| idle.allows_own(BACKEND, link, since, now);
    assert!(allows(&link, 1, 3) && allows(&link, 9, 9));
    assert!(!allows(&link, 1, 4), "idle for too long");
    assert!(!allows(&link, 9, 10), "too old");
    link.serve();
    assert!(!allows(&link, 1, 1), "it has served enough");
    link.make_private();
    assert!(allows(&link, 1, 1000));
}
