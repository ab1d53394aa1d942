//! Who gets which connection, over several workers.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::{Balance, CheckKind, HashKey, HashKind, Mode},
    status::ServerState,
};
use tokio::net::TcpStream;

use crate::rig::*;

async fn three() -> [Scripted; 3] {
    [
        Scripted::named_at(apart(), "a").await,
        Scripted::named_at(apart(), "b").await,
        Scripted::named_at(apart(), "c").await,
    ]
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

#[tokio::test]
async fn random_goes_in_no_order_and_keeps_the_loads_of_all_workers_together() {
    let [a, b, c] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address, c.address]);
    config.backends[0].balance = Balance::Random;
    config.threads = 4.try_into().unwrap();
    let proxy = Proxy::start(config).unwrap();
    let (mut open, mut order) = (Vec::new(), String::new());
    for _ in 0..60 {
        let (client, name) = greeted(&proxy).await;
        order.push(name);
        open.push(client);
    }
    // By chance alone one of a million such runs has so many of one server; each draws two and takes the emptier.
    let counts = ["a", "b", "c"].map(|name| order.matches(name).count());
    assert!(counts.iter().all(|count| (12..=28).contains(count)), "{counts:?}: {order}");
    let in_turn = ["abc", "bca", "cab"].map(|turn| turn.repeat(20));
    assert!(!in_turn.contains(&order), "{order}");
}

#[tokio::test]
async fn connections_of_one_address_go_to_one_server_and_those_of_many_to_all() {
    let [a, b, c] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address, c.address]);
    config.backends[0].balance = Balance::Hash { key: HashKey::Source, kind: HashKind::Consistent };
    let proxy = Proxy::start(config).unwrap();
    let mut met = std::collections::BTreeSet::new();
    for host in 1..=30 {
        let mut greetings = Vec::new();
        for _ in 0..2 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(([127, 0, 1, host], 0).into()).unwrap();
            let mut client = socket.connect(address(&proxy)).await.unwrap();
            greetings.push(read_n(&mut client, 1).await);
        }
        assert_eq!(greetings[0], greetings[1], "127.0.1.{host}");
        met.insert(greetings.remove(0));
    }
    assert_eq!(met.len(), 3, "30 addresses found all three servers");
}

#[tokio::test]
async fn one_of_two_servers_refuses_and_every_second_connection_meets_it() {
    let (dead, alive) = (Refusing::new(), Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[dead.address, alive.address]);
    config.backends[0].retries = 2;
    config.backends[0].redispatch = true;
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(greetings(&proxy, 20).await, "b".repeat(20));
    // Each one needed a retry when retries moved the turn on: the turn of the next was the dead server's again.
    counted(&proxy, "retries_total", 10).await;
}

#[tokio::test]
async fn two_good_of_three_servers_share_what_the_third_refuses() {
    let (dead, b, c) = (Refusing::new(), Scripted::named("b").await, Scripted::named("c").await);
    let mut config = config(Mode::Tcp, &[dead.address, b.address, c.address]);
    config.backends[0].retries = 2;
    config.backends[0].redispatch = true;
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(greetings(&proxy, 12).await, "bbccbcbbccbc");
    counted(&proxy, "retries_total", 4).await;
}

fn state(proxy: &Proxy) -> ServerState {
    proxy.status().backends[0].servers[0].state
}

/// Two checked servers of which the first has been lost and has come back once `lost` is over.
async fn first_is_lost_and_back(proxy: &Proxy, a: Scripted, lost: impl AsyncFnOnce()) -> Scripted {
    let address = a.address;
    eventually("a is up", || state(proxy) == ServerState::Up).await;
    drop(a);
    eventually("a is down", || state(proxy) == ServerState::Down).await;
    lost().await;
    let back = Scripted::named_at(address, "a").await;
    eventually("a is back", || state(proxy) == ServerState::Up).await;
    back
}

#[tokio::test]
async fn backup_server_serves_while_the_others_are_down() {
    let [a, b, c] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address, c.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config.backends[0].servers[1].backup = true;
    config.backends[0].servers[2].backup = true;
    let proxy = Proxy::start(config).unwrap();
    eventually("all are up", || proxy.health().borrow().backends[0].usable == 3).await;
    assert_eq!(greetings(&proxy, 3).await, "aaa");
    let _a = first_is_lost_and_back(&proxy, a, async || {
        assert_eq!(greetings(&proxy, 3).await, "bbb", "the first backup alone");
    })
    .await;
    assert_eq!(greetings(&proxy, 3).await, "aaa");
}

#[tokio::test]
async fn server_that_comes_back_starts_slowly_and_one_that_was_there_does_not() {
    let [a, b, _] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    // Far longer than the test, so that its first step is all that is ever seen.
    config.backends[0].slowstart = Duration::from_secs(3600);
    let proxy = Proxy::start(config).unwrap();
    let shares = || proxy.status().backends[0].servers.iter().map(|server| server.share).collect::<Vec<_>>();
    eventually("both are up", || proxy.health().borrow().backends[0].usable == 2).await;
    assert_eq!(shares(), [100, 100]);
    let _a = first_is_lost_and_back(&proxy, a, async || {}).await;
    assert_eq!(shares(), [5, 100]);
    // The workers see what the status says: 1 of 21.
    assert_eq!(greetings(&proxy, 21).await.matches('a').count(), 1);
}

#[tokio::test]
async fn slow_start_grows_to_the_whole_share() {
    let [a, b, _] = three().await;
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config.backends[0].slowstart = Duration::from_millis(200);
    let proxy = Proxy::start(config).unwrap();
    let share = || proxy.status().backends[0].servers[0].share;
    eventually("both are up", || proxy.health().borrow().backends[0].usable == 2).await;
    let _a = first_is_lost_and_back(&proxy, a, async || {}).await;
    let mut seen = vec![share()];
    eventually("the whole share", || {
        seen.push(share());
        seen.last() == Some(&100)
    })
    .await;
    assert!(seen.is_sorted(), "{seen:?}");
    // The workers' last step comes a moment after the status.
    let end = tokio::time::Instant::now() + LONG;
    while greetings(&proxy, 10).await.matches('a').count() != 5 {
        assert!(tokio::time::Instant::now() < end, "not the half of it");
    }
}
