//! A process hands over to another one: both halves, in one process.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the other loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

#[allow(dead_code, reason = "shared with the tests of HTTP")]
#[path = "http/peers.rs"]
mod peers;

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use lb_proxy::{
    Config, Grown, Handover, Proxy,
    config::{CheckKind, LogDestination, LogTarget, Mode, Stick, UnixAddress, UnixBind},
    status::ServerState,
    table::Capacity,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream, UnixStream},
};

use crate::{peers::*, rig::*};

/// What arrives in the other process.
async fn handed_over(proxy: &Proxy) -> Handover {
    let Handover { listeners, known } = proxy.hand_over().await.unwrap();
    let words = serde_json::to_string(&known).unwrap();
    Handover { listeners, known: serde_json::from_str(&words).unwrap() }
}

async fn next_of(proxy: &Proxy, config: &Config) -> Proxy {
    Proxy::start_from(config.clone(), handed_over(proxy).await).unwrap()
}

/// Returns how many connections were cut.
async fn retire(proxy: Proxy, limit: Duration) -> u32 {
    proxy.retire(limit).await;
    proxy.finish().await
}

#[tokio::test]
async fn idle_clients_get_one_more_answer_and_come_back_to_the_next_process() {
    let upstream = Recording::answering(OK).await;
    let config = http_config(&[upstream.server.address]);
    let old = Proxy::start(config.clone()).unwrap();
    let at = address(&old);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = connect(&old).await;
        assert_eq!(ask(&mut client, GET).await, OK);
        clients.push(client);
    }
    // It has connected, and said nothing yet.
    let mut silent = connect(&old).await;
    eventually("all are accepted", || old.status().frontends[0].connections_total == 9).await;
    let new = next_of(&old, &config).await;
    assert_eq!(address(&new), at);
    let retired = tokio::spawn(retire(old, LONG));
    // Whoever accepts them: they are served.
    for _ in 0..20 {
        let mut client = TcpStream::connect(at).await.unwrap();
        assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 200 OK"));
    }
    for client in clients.iter_mut().chain([&mut silent]) {
        let answer = ask(client, GET).await;
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert_eq!(read_all(client).await.unwrap(), b"", "no reset");
    }
    assert_eq!(retired.await.unwrap(), 0);
    let mut client = TcpStream::connect(at).await.unwrap();
    assert_eq!(ask(&mut client, GET).await, OK, "keep-alive");
    assert!(counter_of_requests(&new) > 8);
}

fn counter_of_requests(proxy: &Proxy) -> u64 {
    proxy.status().frontends[0].requests_total
}

#[tokio::test]
async fn connections_in_the_queue_of_a_worker_that_is_gone_are_accepted_by_the_next_process() {
    let upstream = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[upstream.address]);
    // At its limit it leaves them in the queue.
    config.frontends[0].maxconn = 1;
    let old = Proxy::start(config.clone()).unwrap();
    let at = address(&old);
    let mut first = connect(&old).await;
    assert_eq!(read_n(&mut first, 1).await, b"a");
    let mut queued = Vec::new();
    for _ in 0..10 {
        queued.push(connect(&old).await);
    }
    config.frontends[0].maxconn = 100;
    config.threads = NonZeroUsize::new(1).unwrap();
    let new = next_of(&old, &config).await;
    assert_eq!(address(&new), at);
    let retired = tokio::spawn(retire(old, Duration::from_millis(50)));
    for client in &mut queued {
        assert_eq!(read_n(client, 1).await, b"a");
    }
    assert_eq!(retired.await.unwrap(), 1, "who is still there at the end of the time is cut");
    // More workers than sockets: some are bound beside them.
    config.threads = NonZeroUsize::new(4).unwrap();
    let newest = next_of(&new, &config).await;
    drop(new);
    assert_eq!(address(&newest), at);
    for _ in 0..20 {
        assert_eq!(read_n(&mut TcpStream::connect(at).await.unwrap(), 1).await, b"a");
    }
}

#[tokio::test]
async fn what_is_known_of_servers_and_clients_and_was_counted_goes_on() {
    let (a, b, down) = (Scripted::named("a").await, Scripted::named("b").await, Refusing::new());
    let mut config = config(Mode::Tcp, &[a.address, b.address, down.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    let capacity = Capacity { size: 100.try_into().unwrap(), expire: LONG };
    config.backends[0].stick = Some(Stick { capacity, ipv6_prefix: 64 });
    let old = Proxy::start(config.clone()).unwrap();
    healthy(&old, "first round", |health| health.first_round_done).await;
    let from = async |host: u8, at| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
        read_n(&mut socket.connect(at).await.unwrap(), 1).await
    };
    let at = address(&old);
    let (first, second) = (from(2, at).await, from(3, at).await);
    assert_ne!(first, second);
    eventually("both are over", || old.status().connections == 0).await;
    let before = old.status();
    config.backends[0].servers.reverse();
    let new = next_of(&old, &config).await;
    let health = new.health().borrow().clone();
    assert!(health.first_round_done, "the node is as ready as it was");
    assert_eq!(health.backends[0].usable, 2);
    let status = new.status();
    assert_eq!(status.generation, before.generation + 1, "its file is another one");
    let server = &status.backends[0].servers[0];
    assert_eq!((server.state, server.since), (ServerState::Down, before.backends[0].servers[2].since));
    assert_eq!(status.frontends[0].connections_total, 2);
    assert_eq!(status.frontends[0].bytes_out, before.frontends[0].bytes_out);
    assert_eq!(status.backends[0].traffic.sessions_total, before.backends[0].traffic.sessions_total);
    drop(old);
    assert_eq!((from(2, at).await, from(3, at).await), (first, second));
    // One more failure leaves it what it is, and the checks go on.
    eventually("checked again", || {
        let status = new.status();
        let check = status.backends[0].servers[0].last_check.clone();
        check.is_some_and(|check| check.at > before.backends[0].servers[2].last_check.as_ref().unwrap().at)
    })
    .await;
    assert_eq!(new.status().backends[0].servers[0].state, ServerState::Down);
}

#[tokio::test]
async fn what_ends_in_the_process_before_is_counted_by_the_next_one() {
    let upstream = Recording::answering(OK).await;
    let config = http_config(&[upstream.server.address]);
    let old = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&old).await;
    assert_eq!(ask(&mut client, GET).await, OK);
    let handover = handed_over(&old).await;
    let mut tally = old.tally(&handover.known);
    let new = Proxy::start_from(config, handover).unwrap();
    let retired = tokio::spawn(retire(old, LONG));
    let answer = ask(&mut client, GET).await;
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    assert_eq!(retired.await.unwrap(), 0);
    assert_eq!(new.status().frontends[0].requests_total, 1, "nobody has told it");
    tally.tell(|_| false);
    let mut told = Vec::new();
    let mut tell = |piece: &[Grown]| {
        told.push(serde_json::to_string(piece).unwrap());
        true
    };
    tally.tell(&mut tell);
    tally.tell(&mut tell);
    assert_eq!(told.len(), 1, "once");
    new.count(serde_json::from_str(&told[0]).unwrap()).await;
    let status = new.status();
    let (frontend, server) = (&status.frontends[0], &status.backends[0].servers[0]);
    assert_eq!((frontend.requests_total, frontend.responses[2], frontend.connections_total), (2, 2, 1));
    assert_eq!(frontend.bytes_out, (OK.len() + answer.len()) as u64);
    assert_eq!((server.requests_total, server.traffic.bytes_out), (2, frontend.bytes_out));
    assert_eq!(status.backends[0].traffic.bytes_out, frontend.bytes_out);
}

#[tokio::test]
async fn server_that_is_elsewhere_is_another_one() {
    let (a, down) = (Scripted::named("a").await, Refusing::new());
    let mut config = config(Mode::Tcp, &[down.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    let old = Proxy::start(config.clone()).unwrap();
    healthy(&old, "first round", |health| health.first_round_done).await;
    config.backends[0].servers[0].address = a.address.into();
    let new = next_of(&old, &config).await;
    assert_ne!(new.status().backends[0].servers[0].state, ServerState::Down);
    healthy(&new, "up", |health| health.backends[0].usable == 1).await;
}

#[tokio::test]
async fn unix_socket_stays_under_its_name() {
    let upstream = Recording::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let mut config = http_config(&[upstream.server.address]);
    config.frontends[0].unix = vec![UnixBind {
        address: UnixAddress::new(path.to_str().unwrap()).unwrap(),
        mode: Some(0o600),
        user: None,
        group: None,
        accept_proxy: None,
    }];
    let old = Proxy::start(config.clone()).unwrap();
    drop(next_of(&old, &config).await);
    assert!(path.exists(), "one that does not come into charge leaves it");
    let new = next_of(&old, &config).await;
    new.take_charge();
    assert_eq!(retire(old, LONG).await, 0);
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(GET.as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 200 OK"));
    drop(client);
    assert_eq!(new.stop(LONG).await, 0);
    assert!(!path.exists(), "the last one removes it");
}

#[tokio::test]
async fn next_process_goes_on_with_what_was_ordered() {
    use lb_proxy::health::orders::{Duty, ServerOrder, Weight};
    let upstream = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[upstream.address, upstream.address]);
    let old = Proxy::start(config.clone()).unwrap();
    old.order("back", "s1", ServerOrder::Duty(Duty::Drain), "root").unwrap();
    old.order("back", "s2", ServerOrder::Weight(Weight::Absolute(7)), "ada").unwrap();
    let ordered = |proxy: &Proxy| {
        let status = proxy.status();
        status.backends[0].servers.iter().map(|one| (one.weight, one.orders.clone())).collect::<Vec<_>>()
    };
    let before = ordered(&old);
    assert_eq!(before.iter().map(|(weight, _)| *weight).collect::<Vec<_>>(), [0, 7]);
    // One of them is elsewhere by then: the order is for its name.
    config.backends[0].servers[0].address = Scripted::named("b").await.address.into();
    let new = next_of(&old, &config).await;
    assert_eq!(ordered(&new), before);
}

#[tokio::test]
async fn frontend_that_is_paused_stays_so_in_the_next_process_and_can_be_resumed_there() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    config.threads = NonZeroUsize::new(2).unwrap();
    let old = Proxy::start(config.clone()).unwrap();
    let at = address(&old);
    old.pause("front", "root").await.unwrap();
    let paused = old.status().frontends[0].paused.clone();
    // More workers than sockets.
    config.threads = NonZeroUsize::new(3).unwrap();
    let new = next_of(&old, &config).await;
    assert_eq!(retire(old, LONG).await, 0);
    assert_eq!(new.status().frontends[0].paused, paused);
    for _ in 0..8 {
        let refused = TcpStream::connect(at).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    new.resume("front", "root").await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&mut TcpStream::connect(at).await.unwrap(), GET).await, OK);
    }
}

#[tokio::test]
async fn logs_that_get_nothing_do_so_since_the_process_before_found_it_and_losses_are_counted_on() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    config.frontends[0].log.targets =
        [LogDestination::Udp(nobody), LogDestination::File("/nonexistent/folder/access.log".into())]
            .map(LogTarget::new)
            .into();
    let old = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&old).await;
    while old.status().logs.iter().any(|log| log.problem.is_none()) {
        ask(&mut client, GET).await;
    }
    let before = old.status().logs;
    assert_eq!([before[0].lost_total, before[1].lost_total], [1, 0]);
    drop(client);
    let new = next_of(&old, &config).await;
    retire(old, Duration::ZERO).await;
    assert_eq!(new.status().logs, before);
    // Nobody listens there yet: its lines wait.
    let mut client = connect(&new).await;
    ask(&mut client, GET).await;
    let there = std::net::UdpSocket::bind(nobody).unwrap();
    let mut line = [0; 1024];
    let length = there.recv(&mut line).unwrap();
    assert!(String::from_utf8_lossy(&line[..length]).contains("\"GET / "));
    eventually("it is well", || new.status().logs[0].problem.is_none()).await;
    let logs = new.status().logs;
    assert_eq!((logs[0].lost_total, &logs[1].problem), (1, &before[1].problem));
}
