//! Configurations come and go: what is not used any more is gone, and nobody notices the change.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lb_proxy::{Proxy, config::Mode};
use tokio::io::AsyncWriteExt;

use crate::{peers::*, rig::*};

#[tokio::test]
async fn configuration_is_gone_with_the_last_connection_that_uses_it() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut held = Vec::new();
    for generation in 1..=3 {
        let mut client = connect(&proxy).await;
        read_n(&mut client, 1).await;
        held.push(client);
        assert_eq!(proxy.reload(config.clone()).await.unwrap().generation, generation + 1);
        eventually("those before are in use", || proxy.status().old_generations == generation).await;
    }
    held.remove(1);
    eventually("the second one is gone", || proxy.status().old_generations == 2).await;
    held[0].write_all(b"still here").await.unwrap();
    assert_eq!(read_n(&mut held[0], 10).await, b"still here");
    held.clear();
    eventually("all are gone", || proxy.status().old_generations == 0).await;
}

#[tokio::test]
async fn idle_connections_hold_no_configuration() {
    let upstream = Recording::answering(OK).await;
    let config = http_config(&[upstream.server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut client = connect(&proxy).await;
        ask(&mut client, GET).await;
        idle.push(client);
    }
    for _ in 0..3 {
        proxy.reload(config.clone()).await.unwrap();
        eventually("nobody uses the old one", || proxy.status().old_generations == 0).await;
    }
    for client in &mut idle {
        assert_eq!(ask(client, GET).await, OK);
    }
    assert_eq!(proxy.status().frontends[0].connections_total, 20);
}

/// Requests over kept connections and over one connection each, until told to stop. Returns how many there were.
async fn load(address: std::net::SocketAddr, stop: Arc<AtomicBool>, keep: bool) -> usize {
    let mut requests = 0;
    let mut kept = None;
    while !stop.load(Ordering::SeqCst) {
        let mut client = match kept.take() {
            Some(client) => client,
            None => tokio::net::TcpStream::connect(address).await.unwrap(),
        };
        let request = if keep { GET } else { "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" };
        let answer = ask(&mut client, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
        requests += 1;
        if keep {
            assert!(!answer.contains("Connection: close"), "{answer}");
            kept = Some(client);
        }
    }
    requests
}

#[tokio::test]
async fn fifty_reloads_under_load_fail_no_request_and_leave_no_generation_behind() {
    let (a, b) = (Recording::answering(OK).await, Recording::answering(OK).await);
    let mut config = config(Mode::Http, &[a.server.address, b.server.address]);
    config.backends[0].check = Some(quick_check(lb_proxy::config::CheckKind::Tcp));
    let proxy = Arc::new(Proxy::start(config.clone()).unwrap());
    healthy(&proxy, "both up", |health| health.backends[0].usable == 2).await;
    let (stop, address) = (Arc::new(AtomicBool::new(false)), address(&proxy));
    let clients: Vec<_> =
        (0..16).map(|n| tokio::spawn(load(address, Arc::clone(&stop), n % 2 == 0))).collect();
    let mut most = 0;
    for n in 0..50 {
        // Another order, weight, limit and name each time.
        config.backends[0].servers.swap(0, 1);
        config.backends[0].servers[0].weight = 1 + n % 7;
        config.frontends[0].maxconn = 500 + u32::from(n);
        config.backends[0].name = format!("back{}", n % 3);
        let reloaded = proxy.reload(config.clone()).await.unwrap();
        assert_eq!(reloaded.late_workers, [0; 0]);
        most = most.max(proxy.status().old_generations);
    }
    stop.store(true, Ordering::SeqCst);
    let mut requests = 0;
    for client in clients {
        requests += client.await.unwrap();
    }
    assert!(requests > 100, "{requests}");
    eventually("nobody uses the old ones", || proxy.status().old_generations == 0).await;
    let front = &proxy.status().frontends[0];
    let errors: Vec<_> = ["no_server_total", "connect_failures_total", "server_aborts_total", "resets_total"]
        .iter()
        .map(|name| front.counters.iter().find(|(counter, _)| counter == name).unwrap())
        .filter(|(_, count)| *count > 0)
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(most <= 10, "{most} configurations at a time");
}
