//! Limits of the process, of a frontend and of a server; the line in front of full servers.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lb_proxy::{
    Proxy,
    config::{AgentCheck, Mode},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::rig::*;

/// Connects, and tells whether a server greets within a moment.
async fn is_served(client: &mut TcpStream) -> bool {
    let mut byte = [0];
    timeout(Duration::from_millis(150), client.peek(&mut byte)).await.is_ok_and(|result| result.unwrap() == 1)
}

async fn excess_waits_until_one_ends(proxy: &Proxy, limit: usize, hit: &str) {
    let mut served = Vec::new();
    for _ in 0..limit {
        let mut client = connect(proxy).await;
        read_n(&mut client, 1).await;
        served.push(client);
    }
    // The handshake is the kernel's: they are connected, not refused, and not served.
    let mut waiting = [connect(proxy).await, connect(proxy).await];
    for client in &mut waiting {
        assert!(!is_served(client).await);
    }
    eventually("the limit is hit", || counter(proxy, hit) > 0).await;
    assert_eq!(proxy.status().connections, limit as u64);
    served.truncate(limit - 2);
    for client in &mut waiting {
        assert_eq!(read_n(client, 1).await, b"a");
    }
    assert_eq!(proxy.status().connections, limit as u64);
}

#[tokio::test]
async fn connections_beyond_the_maxconn_of_the_process_wait_in_the_kernel() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.maxconn = 3;
    let proxy = Proxy::start(config).unwrap();
    excess_waits_until_one_ends(&proxy, 3, "process_full_total").await;
}

#[tokio::test]
async fn connections_beyond_the_maxconn_of_the_frontend_wait_in_the_kernel() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].maxconn = 3;
    let proxy = Proxy::start(config).unwrap();
    excess_waits_until_one_ends(&proxy, 3, "frontend_full_total").await;
}

#[tokio::test]
async fn full_server_serves_those_in_line_oldest_first_over_all_workers() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.threads = 4.try_into().unwrap();
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = Proxy::start(config).unwrap();
    let mut current = connect(&proxy).await;
    read_n(&mut current, 1).await;
    let mut line = Vec::new();
    for n in 1..=8 {
        line.push(connect(&proxy).await);
        eventually("one more in line", || proxy.status().backends[0].queued == n).await;
    }
    assert_eq!(server.accepted(), 1);
    for mut next in line {
        drop(current);
        assert_eq!(read_n(&mut next, 1).await, b"a");
        assert_eq!(proxy.status().backends[0].servers[0].in_flight, 1);
        current = next;
    }
    assert_eq!(server.accepted(), 9);
    counted(&proxy, "queued_total", 8).await;
}

#[tokio::test]
async fn full_server_is_passed_over_while_another_has_room() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = Proxy::start(config).unwrap();
    let mut open = Vec::new();
    let mut names = Vec::new();
    for _ in 0..5 {
        let mut client = connect(&proxy).await;
        names.extend(read_n(&mut client, 1).await);
        open.push(client);
    }
    assert_eq!(names, b"abbbb");
    assert_eq!(counter(&proxy, "queued_total"), 0);
}

#[tokio::test]
async fn slot_freed_by_any_server_goes_to_the_oldest_in_line() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    for server in &mut config.backends[0].servers {
        server.maxconn = Some(1);
    }
    let proxy = Proxy::start(config).unwrap();
    let (mut first, mut second) = (connect(&proxy).await, connect(&proxy).await);
    let greetings = [read_n(&mut first, 1).await, read_n(&mut second, 1).await].concat();
    let mut waiting = connect(&proxy).await;
    eventually("in line", || proxy.status().backends[0].queued == 1).await;
    let backend = &proxy.status().backends[0];
    assert_eq!(backend.traffic.queued, 1);
    assert!(backend.servers.iter().all(|server| server.traffic.queued == 0), "it waits for any");
    drop(second);
    assert_eq!(read_n(&mut waiting, 1).await, greetings[1..]);
    drop(first);
}

#[tokio::test]
async fn who_waits_in_line_for_too_long_is_sent_away_and_counted() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    config.backends[0].timeout.queue = Duration::from_millis(200);
    let proxy = Proxy::start(config).unwrap();
    let mut first = connect(&proxy).await;
    read_n(&mut first, 1).await;
    let mut second = connect(&proxy).await;
    let start = Instant::now();
    assert_eq!(read_all(&mut second).await.unwrap(), b"");
    assert!(start.elapsed() >= Duration::from_millis(190), "{:?}", start.elapsed());
    counted(&proxy, "queue_timeouts_total", 1).await;
    assert_eq!(proxy.status().backends[0].queued, 0);
    // Who left the line does not get the slot.
    drop(first);
    let mut third = connect(&proxy).await;
    assert_eq!(read_n(&mut third, 1).await, b"a");
}

/// An agent that answers with what it is told to say.
async fn agent_saying(line: &Arc<Mutex<&'static str>>) -> Scripted {
    let line = Arc::clone(line);
    Scripted::start(move |mut stream| {
        let line = Arc::clone(&line);
        async move {
            let line = *line.lock().unwrap();
            let _ = stream.write_all(line.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn agent_sets_the_limit_of_its_server_and_a_higher_one_is_used_at_once() {
    let line = Arc::new(Mutex::new("maxconn:1\n"));
    let (server, agent) = (Scripted::named("a").await, agent_saying(&line).await);
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].servers[0].maxconn = Some(3);
    config.backends[0].agent = Some(AgentCheck {
        address: None,
        port: agent.address.port(),
        interval: Duration::from_millis(20),
        timeout: LONG,
        send: Vec::new(),
    });
    let proxy = Proxy::start(config).unwrap();
    let server = || proxy.status().backends[0].servers[0].clone();
    let queued = || proxy.status().backends[0].queued;
    eventually("the agent's limit", || server().maxconn == Some(1)).await;
    let mut clients = vec![connect(&proxy).await, connect(&proxy).await, connect(&proxy).await];
    eventually("two wait", || (server().in_flight, queued()) == (1, 2)).await;
    *line.lock().unwrap() = "maxconn:2\n";
    eventually("one is served, though nobody has left", || (server().in_flight, queued()) == (2, 1)).await;
    *line.lock().unwrap() = "maxconn:0\n";
    eventually("no limit", || (server().maxconn, server().in_flight) == (None, 3)).await;
    for client in &mut clients {
        assert_eq!(read_n(client, 1).await, b"a");
    }
}

#[tokio::test]
async fn server_is_allowed_its_minconn_and_more_as_the_backend_fills() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].servers[0].maxconn = Some(4);
    config.backends[0].servers[0].minconn = Some(1);
    config.backends[0].options.fullconn = Some(8);
    let proxy = Proxy::start(config).unwrap();
    let in_flight = || proxy.status().backends[0].servers[0].in_flight;
    // HAProxy: max(minconn, connections x maxconn / fullconn), of all that are there and in line.
    let mut clients = Vec::new();
    for (connections, allowed) in (1_u64..).zip([1, 1, 1, 2, 2, 3, 3, 4, 4, 4]) {
        clients.push(connect(&proxy).await);
        eventually("the connection is there", || {
            let backend = &proxy.status().backends[0];
            let in_flight = backend.servers[0].in_flight;
            in_flight + backend.queued == connections && in_flight == allowed
        })
        .await;
    }
    drop(clients);
    eventually("all are gone", || in_flight() == 0).await;
}
