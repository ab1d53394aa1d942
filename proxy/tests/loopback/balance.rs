//! Who gets which connection, over several workers.

use lb_proxy::{
    Proxy,
    config::{Balance, Mode},
};
use tokio::net::TcpStream;

use crate::rig::*;

async fn three() -> [Scripted; 3] {
    [Scripted::named("a").await, Scripted::named("b").await, Scripted::named("c").await]
}

/// Opens a connection and tells which server greets; the connection stays open.
async fn greeted(proxy: &Proxy) -> (TcpStream, char) {
    let mut client = connect(proxy).await;
    let greeting = read_n(&mut client, 1).await;
    (client, char::from(greeting[0]))
}

async fn greetings(proxy: &Proxy, n: usize) -> String {
    let mut greetings = String::new();
    for _ in 0..n {
        greetings.push(greeted(proxy).await.1);
    }
    greetings
}

#[tokio::test]
async fn round_robin_alternates_strictly_over_all_workers() {
    let [a, b, c] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address, c.address]);
    config.threads = 4.try_into().unwrap();
    let proxy = Proxy::start(config).unwrap();
    // The kernel spreads these over the four workers' sockets by their ports.
    assert_eq!(greetings(&proxy, 30).await, "abc".repeat(10));
}

#[tokio::test]
async fn weights_are_kept_exactly_over_a_round() {
    let [a, b, c] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address, c.address]);
    for (server, weight) in config.backends[0].servers.iter_mut().zip([5, 1, 0]) {
        server.weight = weight;
    }
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(greetings(&proxy, 12).await, "aaabaaaaabaa");
}

#[tokio::test]
async fn leastconn_fills_the_emptiest_server_over_all_workers() {
    let [a, b, c] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address, c.address]);
    config.backends[0].balance = Balance::LeastConn;
    let proxy = Proxy::start(config).unwrap();
    let mut open = Vec::new();
    for _ in 0..9 {
        open.push(greeted(&proxy).await);
    }
    let in_flight = |proxy: &Proxy| -> Vec<u64> {
        proxy.status().backends[0].servers.iter().map(|server| server.in_flight).collect()
    };
    assert_eq!(in_flight(&proxy), [3, 3, 3]);
    open.retain(|(_, name)| *name != 'b');
    eventually("b is empty", || in_flight(&proxy) == [3, 0, 3]).await;
    for _ in 0..3 {
        let next = greeted(&proxy).await;
        assert_eq!(next.1, 'b');
        open.push(next);
    }
}
