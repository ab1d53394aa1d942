//! Attempts to connect: how many, to whom, after which pause.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lb_proxy::{Config, Proxy, config::Mode};

use crate::rig::*;

fn retrying(servers: &[SocketAddr], retries: u32, redispatch: bool) -> Config {
    let mut config = config(Mode::Tcp, servers);
    config.backends[0].retries = retries;
    config.backends[0].redispatch = redispatch;
    // The pause before the same server is tried again: min(1 s, this).
    config.backends[0].timeout.connect = Duration::from_millis(100);
    config
}

fn connect_errors(proxy: &Proxy) -> Vec<u64> {
    proxy.status().backends[0].servers.iter().map(|server| server.connect_errors).collect()
}

/// What a client gets, and after how long.
async fn outcome(proxy: &Proxy) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let client = connect(proxy).await;
    let mut byte = [0];
    let n = tokio::time::timeout(LONG, client.peek(&mut byte)).await.unwrap().unwrap();
    (byte[..n].to_vec(), start.elapsed())
}

#[tokio::test]
async fn refused_request_moves_to_another_server_at_the_first_retry_without_delay() {
    let (dead, alive) = (Refusing::new(), Scripted::named("b").await);
    let mut config = retrying(&[dead.address, alive.address], 2, true);
    config.backends[0].timeout.connect = Duration::from_secs(5);
    // A pause would be one of a second.
    quick_once(Duration::from_millis(900), async || {
        let proxy = Proxy::start(config.clone()).unwrap();
        let (greeting, after) = outcome(&proxy).await;
        assert_eq!(greeting, b"b");
        assert_eq!(connect_errors(&proxy), [1, 0]);
        assert_eq!((counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total")), (1, 1));
        after
    })
    .await;
}

#[tokio::test]
async fn single_refusing_server_is_tried_retries_plus_one_times_with_a_pause_between() {
    let dead = Refusing::new();
    // As HAProxy: 2 retries, each after min(1 s, timeout connect).
    quick_once(Duration::from_millis(1_500), async || {
        let proxy = Proxy::start(retrying(&[dead.address], 2, true)).unwrap();
        let (greeting, after) = outcome(&proxy).await;
        assert_eq!(greeting, b"");
        assert!(after >= Duration::from_millis(200), "{after:?}");
        assert_eq!(connect_errors(&proxy), [3]);
        assert_eq!((counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total")), (2, 0));
        counted(&proxy, "connect_failures_total", 1).await;
        after
    })
    .await;
}

#[tokio::test]
async fn without_redispatch_a_request_stays_with_its_server() {
    let (dead, alive) = (Refusing::new(), Scripted::named("b").await);
    let proxy = Proxy::start(retrying(&[dead.address, alive.address], 1, false)).unwrap();
    let (greeting, after) = outcome(&proxy).await;
    assert_eq!(greeting, b"");
    assert!(after >= Duration::from_millis(100), "{after:?}");
    assert_eq!(connect_errors(&proxy), [2, 0]);
    assert_eq!(outcome(&proxy).await.0, b"b");
}

#[tokio::test]
async fn without_retries_the_first_failure_is_the_end() {
    let (dead, alive) = (Refusing::new(), Scripted::named("b").await);
    let proxy = Proxy::start(retrying(&[dead.address, alive.address], 0, true)).unwrap();
    assert_eq!(outcome(&proxy).await.0, b"");
    assert_eq!(connect_errors(&proxy), [1, 0]);
}

#[tokio::test]
async fn every_other_server_is_tried_before_one_that_failed() {
    let dead = [Refusing::new(), Refusing::new(), Refusing::new()];
    let mut servers: Vec<_> = dead.iter().map(|server| server.address).collect();
    let alive = Scripted::named("d").await;
    servers.push(alive.address);
    let proxy = Proxy::start(retrying(&servers, 3, true)).unwrap();
    assert_eq!(outcome(&proxy).await.0, b"d");
    let errors = connect_errors(&proxy);
    assert!(errors.iter().all(|&errors| errors <= 1), "{errors:?}");
    // Four attempts find the one that is alive, wherever they begin.
    for _ in 0..8 {
        assert_eq!(outcome(&proxy).await.0, b"d");
    }
}

#[tokio::test]
async fn server_that_does_not_answer_costs_the_connect_timeout_for_each_attempt() {
    // A full backlog that nobody empties: further SYNs are dropped.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind(ANY).unwrap();
    let silent = silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap();
    let _filling = [tokio::net::TcpStream::connect(address).await.unwrap()];
    let alive = Scripted::named("b").await;
    let mut config = retrying(&[address, alive.address], 1, true);
    config.backends[0].timeout.connect = Duration::from_millis(200);
    quick_once(Duration::from_millis(1_500), async || {
        let proxy = Proxy::start(config.clone()).unwrap();
        let (greeting, after) = outcome(&proxy).await;
        assert_eq!(greeting, b"b");
        assert!(after >= Duration::from_millis(200), "{after:?}");
        assert_eq!(connect_errors(&proxy), [1, 0]);
        after
    })
    .await;
}

#[tokio::test]
async fn r6_retries_after_the_first_are_in_the_budget() {
    let dead = Refusing::new();
    let mut config = retrying(&[dead.address], 3, true);
    config.backends[0].options.retry.budget = 0;
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(outcome(&proxy).await.0, b"");
    assert_eq!(connect_errors(&proxy), [2]);
    counted(&proxy, "retries_refused_total", 1).await;
}

#[tokio::test]
async fn connect_failure_that_is_not_in_retry_on_is_the_end() {
    let (dead, alive) = (Refusing::new(), Scripted::named("b").await);
    let mut config = retrying(&[dead.address, alive.address], 3, true);
    config.backends[0].options.retry.connect_failure = false;
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(outcome(&proxy).await.0, b"");
    assert_eq!(connect_errors(&proxy), [1, 0]);
}
