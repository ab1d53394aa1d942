//! What is remembered of clients.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use lb_proxy::{
    Proxy,
    config::{Cookie, Mode, Stick},
    rules::{Action, Condition, LimitedBy, RateLimit, Rule},
    table::{Capacity, Rate},
};
use tokio::net::TcpSocket;

use crate::{peers::*, rig::*};

/// The server that greets a client from 127.0.0.`host`.
async fn server_of(proxy: &Proxy, host: u8) -> char {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    let mut client = socket.connect(address(proxy)).await.unwrap();
    char::from(read_n(&mut client, 1).await[0])
}

#[tokio::test]
async fn clients_of_a_table_stay_with_their_servers_whatever_the_order_in_the_file() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    let capacity = Capacity { size: 100.try_into().unwrap(), expire: LONG };
    config.backends[0].stick = Some(Stick { capacity, ipv6_prefix: 64 });
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut known = Vec::new();
    for host in 2..8 {
        known.push(server_of(&proxy, host).await);
    }
    assert_eq!(known.iter().collect::<String>(), "ababab");
    let c = Scripted::named("c").await;
    config.backends[0].servers.insert(0, lb_proxy::config::Server::new("s0", c.address));
    config.backends[0].servers.swap(1, 2);
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(proxy.status().tables[0].entries, 6);
    for host in 2..8 {
        assert_eq!(server_of(&proxy, host).await, known[usize::from(host) - 2]);
    }
    // A server that is gone has nobody any more; a smaller table forgets whoever was away longest.
    config.backends[0].servers.retain(|server| server.name != "s1");
    config.backends[0].stick =
        Some(Stick { capacity: Capacity { size: 2.try_into().unwrap(), ..capacity }, ipv6_prefix: 64 });
    proxy.reload(config).await.unwrap();
    assert_eq!(proxy.status().tables[0].entries, 2);
    assert_ne!(server_of(&proxy, 6).await, 'a');
    assert_eq!(server_of(&proxy, 7).await, 'b');
}

#[tokio::test]
async fn cookie_of_a_client_names_its_server_whatever_the_order_in_the_file() {
    let (a, b) = (Recording::answering(OK).await, Recording::answering(OK).await);
    let mut config = http_config(&[a.server.address, b.server.address]);
    config.backends[0].cookie = Some(Cookie::new("SRV"));
    for (server, value) in config.backends[0].servers.iter_mut().zip(["one", "two"]) {
        server.cookie = Some(value.to_owned());
    }
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    let answer = ask(&mut client, GET).await;
    assert!(answer.contains("Set-Cookie: SRV=one"), "{answer}");
    config.backends[0].servers.reverse();
    proxy.reload(config).await.unwrap();
    for _ in 0..3 {
        ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=one\r\n\r\n").await;
    }
    assert_eq!((a.requests().len(), b.requests().len()), (4, 0));
}

#[tokio::test]
async fn requests_of_a_source_count_on_under_another_rate() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    let of_rate = |count: u32| {
        let rate = Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(43_200) };
        let limit = RateLimit::new(LimitedBy::Source, rate, NonZeroU32::new(10).unwrap(), 64, 429);
        vec![Rule { when: Condition::ALWAYS, then: vec![Action::RateLimit(limit)] }]
    };
    config.frontends[0].rules = of_rate(2);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    let mut served = async |requests: usize| {
        let mut served = 0;
        for _ in 0..requests {
            served += usize::from(ask(&mut client, GET).await == OK);
        }
        served
    };
    assert_eq!(served(3).await, 2);
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(served(3).await, 0, "a reload forgives nothing");
    config.frontends[0].rules = of_rate(4);
    proxy.reload(config).await.unwrap();
    assert_eq!(served(4).await, 2, "of four in twelve hours two are left");
}
