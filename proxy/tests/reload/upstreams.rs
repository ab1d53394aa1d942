//! Connections to servers: those at rest, and the order in which servers have their turn.

use lb_proxy::{
    Proxy,
    config::{Mode, PoolOptions, ReuseMode, Server},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{peers::*, rig::*};

#[tokio::test]
async fn idle_connection_serves_on_while_its_server_is_where_it_was() {
    let (a, b) = (Recording::answering(OK).await, Recording::answering(OK).await);
    let mut config = http_config(&[a.server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    // Another place in the file, another weight: the same server.
    config.backends[0].servers.insert(0, Server { weight: 0, ..Server::new("s0", b.server.address) });
    config.backends[0].servers[1].weight = 7;
    proxy.reload(config.clone()).await.unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!((a.server.accepted(), counter(&proxy, "upstream_reuses_total")), (1, 1));
    // Another address under its name.
    config.backends[0].servers[1].address = b.server.address.into();
    proxy.reload(config.clone()).await.unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!((a.server.accepted(), b.server.accepted()), (1, 1));
    // And back: nothing of the first time is left.
    config.backends[0].servers[1].address = a.server.address.into();
    proxy.reload(config).await.unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    assert_eq!((a.server.accepted(), b.server.accepted()), (2, 1));
}

#[tokio::test]
async fn idle_connections_of_a_server_that_is_gone_are_closed_at_once() {
    let (closed, mut closings) = mpsc::channel(1);
    let a = Scripted::start(move |mut stream| {
        let closed = closed.clone();
        async move {
            while read_message(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let b = Recording::answering(OK).await;
    let mut config = http_config(&[a.address]);
    let hour = std::time::Duration::from_secs(3600);
    config.backends[0].options.pool = PoolOptions { idle: hour, ..PoolOptions::default() };
    let proxy = Proxy::start(config.clone()).unwrap();
    ask(&mut connect(&proxy).await, GET).await;
    config.backends[0].servers = vec![Server::new("s2", b.server.address)];
    proxy.reload(config).await.unwrap();
    tokio::time::timeout(LONG, closings.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn connection_of_one_client_stays_its_own() {
    let a = Recording::answering(OK).await;
    let mut config = http_config(&[a.server.address]);
    config.backends[0].options.pool.reuse = ReuseMode::Never;
    let proxy = Proxy::start(config.clone()).unwrap();
    let (mut one, mut two) = (connect(&proxy).await, connect(&proxy).await);
    ask(&mut one, GET).await;
    ask(&mut two, GET).await;
    let refusing = Refusing::new();
    config.backends[0].servers.insert(0, Server { weight: 0, ..Server::new("s0", refusing.address) });
    proxy.reload(config.clone()).await.unwrap();
    ask(&mut two, GET).await;
    ask(&mut one, GET).await;
    assert_eq!(a.server.accepted(), 2);
    let b = Recording::answering(OK).await;
    config.backends[0].servers[1].address = b.server.address.into();
    proxy.reload(config).await.unwrap();
    ask(&mut one, GET).await;
    assert_eq!((a.server.accepted(), b.server.accepted()), (2, 1));
}

#[tokio::test]
async fn turn_goes_on_where_it_was() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let config = config(Mode::Tcp, &[a.address, b.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut names = Vec::new();
    for _ in 0..9 {
        names.extend(read_n(&mut connect(&proxy).await, 1).await);
        proxy.reload(config.clone()).await.unwrap();
    }
    assert_eq!(String::from_utf8(names).unwrap(), "ababababa");
}

#[tokio::test]
async fn server_that_is_gone_finishes_what_it_has_and_gets_nothing_new() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].cut_when_down = true;
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut at_a = connect(&proxy).await;
    assert_eq!(read_n(&mut at_a, 1).await, b"a");
    config.backends[0].servers.remove(0);
    proxy.reload(config.clone()).await.unwrap();
    for _ in 0..4 {
        assert_eq!(read_n(&mut connect(&proxy).await, 1).await, b"b");
    }
    at_a.write_all(b"still here").await.unwrap();
    assert_eq!(read_n(&mut at_a, 10).await, b"still here");
    // It comes back while that is still in flight, which counts for its limit.
    config.backends[0].servers = vec![Server { maxconn: Some(1), ..Server::new("s1", a.address) }];
    proxy.reload(config).await.unwrap();
    assert_eq!(proxy.status().backends[0].servers[0].in_flight, 1);
    let mut waits = connect(&proxy).await;
    eventually("in line", || proxy.status().backends[0].queued == 1).await;
    at_a.shutdown().await.unwrap();
    assert_eq!(at_a.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(read_n(&mut waits, 1).await, b"a");
}
