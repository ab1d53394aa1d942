//! Limits hold over all configurations together, and nobody who waits is forgotten.

use std::{io::ErrorKind, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{Mode, Server},
    table::SourceLimits,
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::rig::*;

async fn is_silent(client: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(150), client.peek(&mut [0])).await.is_err()
}

/// Opens connections that are greeted.
async fn greeted<const N: usize>(proxy: &Proxy) -> [TcpStream; N] {
    let mut clients = Vec::new();
    for _ in 0..N {
        let mut client = connect(proxy).await;
        read_n(&mut client, 1).await;
        clients.push(client);
    }
    clients.try_into().unwrap()
}

fn queued(proxy: &Proxy) -> u64 {
    proxy.status().backends[0].queued
}

/// A reload doubles no limit, and another limit counts for those who are there already.
async fn holds(mut config: Config, set: impl Fn(&mut Config, u32)) {
    set(&mut config, 2);
    let proxy = Proxy::start(config.clone()).unwrap();
    let [first, second] = greeted(&proxy).await;
    proxy.reload(config.clone()).await.unwrap();
    let mut third = connect(&proxy).await;
    assert!(is_silent(&mut third).await);
    set(&mut config, 3);
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(read_n(&mut third, 1).await, b"a");
    set(&mut config, 1);
    proxy.reload(config.clone()).await.unwrap();
    let mut fourth = connect(&proxy).await;
    drop((first, second));
    assert!(is_silent(&mut fourth).await, "the third one is still there");
    drop(third);
    assert_eq!(read_n(&mut fourth, 1).await, b"a");
}

#[tokio::test]
async fn maxconn_of_the_process_counts_the_connections_of_all_configurations() {
    let server = Scripted::named("a").await;
    holds(config(Mode::Tcp, &[server.address]), |config, max| config.maxconn = max).await;
}

#[tokio::test]
async fn maxconn_of_a_frontend_counts_the_connections_of_all_configurations() {
    let server = Scripted::named("a").await;
    holds(config(Mode::Tcp, &[server.address]), |config, max| config.frontends[0].maxconn = max).await;
}

#[tokio::test]
async fn maxconn_of_a_server_counts_the_connections_of_all_configurations() {
    let server = Scripted::named("a").await;
    holds(config(Mode::Tcp, &[server.address]), |config, max| {
        config.backends[0].servers[0].maxconn = Some(max);
    })
    .await;
}

#[tokio::test]
async fn those_in_line_keep_their_places_over_a_reload() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = Proxy::start(config.clone()).unwrap();
    let [mut current] = greeted(&proxy).await;
    let mut line = Vec::new();
    for n in 1..=6 {
        line.push(connect(&proxy).await);
        eventually("one more in line", || queued(&proxy) == n).await;
        proxy.reload(config.clone()).await.unwrap();
        assert_eq!(queued(&proxy), n);
    }
    for mut next in line {
        drop(current);
        assert_eq!(read_n(&mut next, 1).await, b"a");
        assert_eq!(proxy.status().backends[0].servers[0].in_flight, 1);
        current = next;
    }
    assert_eq!(counter(&proxy, "queued_total"), 6);
    drop(current);
    eventually("nobody uses them", || proxy.status().old_generations == 0).await;
}

#[tokio::test]
async fn those_in_line_move_on_when_their_server_goes() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    config.backends[0].servers[1].maxconn = Some(1);
    let proxy = Proxy::start(config.clone()).unwrap();
    let [_a, at_b] = greeted(&proxy).await;
    let mut waits = connect(&proxy).await;
    eventually("in line", || queued(&proxy) == 1).await;
    // The first server is gone; its connection goes on, and frees no slot of anybody who waits.
    config.backends[0].servers.remove(0);
    proxy.reload(config).await.unwrap();
    assert_eq!(queued(&proxy), 1);
    drop(at_b);
    assert_eq!(read_n(&mut waits, 1).await, b"b");
}

#[tokio::test]
async fn those_in_line_of_a_backend_whose_servers_are_all_gone_are_served_by_them() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = Proxy::start(config.clone()).unwrap();
    let [first] = greeted(&proxy).await;
    let mut waits = connect(&proxy).await;
    eventually("in line", || queued(&proxy) == 1).await;
    config.backends[0].servers = vec![Server::new("s2", b.address)];
    proxy.reload(config).await.unwrap();
    let [_second] = greeted(&proxy).await;
    drop(first);
    assert_eq!(read_n(&mut waits, 1).await, b"a");
}

#[tokio::test]
async fn connections_of_a_source_count_over_all_configurations() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    let limits = |connections: u32| SourceLimits {
        connections: connections.try_into().ok(),
        connection_rate: None,
        size: 10.try_into().unwrap(),
        ipv6_prefix: 64,
    };
    config.frontends[0].per_source = Some(limits(2));
    let proxy = Proxy::start(config.clone()).unwrap();
    let [first, _second] = greeted(&proxy).await;
    proxy.reload(config.clone()).await.unwrap();
    let third = async { TcpStream::connect(address(&proxy)).await?.read(&mut [0]).await };
    assert_eq!(third.await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(first);
    eventually("one has ended", || proxy.status().connections == 1).await;
    let [_third] = greeted(&proxy).await;
    config.frontends[0].per_source = Some(limits(3));
    proxy.reload(config.clone()).await.unwrap();
    let [_fourth] = greeted(&proxy).await;
    // Others have limits of their own.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    assert_eq!(read_n(&mut socket.connect(address(&proxy)).await.unwrap(), 1).await, b"a");
}
