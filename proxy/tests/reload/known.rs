//! What is known of servers, and what was counted.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{AgentCheck, Check, CheckKind, Layer, Mode, Observe, OnError, Pace, Server},
    status::{ServerState, ServerStatus},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{peers::*, rig::*};

fn server(proxy: &Proxy, name: &str) -> ServerStatus {
    let status = proxy.status();
    status.backends[0].servers.iter().find(|server| server.name == name).unwrap().clone()
}

/// Checks that are made once and never again.
fn once() -> Check {
    let hour = Duration::from_secs(3600);
    Check { pace: Pace::steady(hour), timeout: LONG, ..Check::new(CheckKind::Tcp) }
}

#[tokio::test]
async fn no_server_is_unknown_after_a_reload_but_those_that_are_new_or_elsewhere() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let (down, silent) = (Refusing::new(), Arc::new(AtomicBool::new(true)));
    let mut config = config(Mode::Tcp, &[a.address, down.address]);
    config.backends[0].check = Some(once());
    let proxy = Proxy::start(config.clone()).unwrap();
    healthy(&proxy, "first round", |health| health.first_round_done).await;
    let before = [server(&proxy, "s1"), server(&proxy, "s2")];
    assert_eq!(before.each_ref().map(|one| one.state), [ServerState::Up, ServerState::Down]);

    config.backends[0].servers.reverse();
    config.backends[0].servers[1].weight = 9;
    proxy.reload(config.clone()).await.unwrap();
    for known in before {
        let now = server(&proxy, &known.name);
        assert_eq!((now.state, now.since), (known.state, known.since));
        assert_eq!(now.last_check, known.last_check, "no check was made");
    }
    assert_eq!(read_n(&mut connect(&proxy).await, 1).await, b"a");
    assert_eq!(read_n(&mut connect(&proxy).await, 1).await, b"a", "the other one is still down");

    // A server whose check is not answered before the test wants so: unknown until then, and the old one serves.
    let answers = Arc::clone(&silent);
    let slow = Scripted::start(move |mut stream| {
        let answers = Arc::clone(&answers);
        async move {
            while answers.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        }
    })
    .await;
    let http = CheckKind::Http(Box::new(lb_proxy::config::HttpCheck::new("GET", "/")));
    config.backends[0].check = Some(Check { kind: http, ..once() });
    config.backends[0].servers.push(Server::new("s3", slow.address));
    // `s2` is where `b` listens now, which does not speak HTTP.
    config.backends[0].servers[0].address = b.address.into();
    proxy.reload(config).await.unwrap();
    assert_eq!(server(&proxy, "s1").state, ServerState::Up);
    assert_eq!(server(&proxy, "s3").state, ServerState::Unchecked);
    eventually("the one that moved is checked anew", || {
        server(&proxy, "s2").last_check.is_some_and(|check| check.to_string().starts_with("L7RSP"))
    })
    .await;
    let health = proxy.health().borrow().clone();
    assert!(health.first_round_done, "that is over for good");
    assert_eq!((health.backends[0].usable, health.backends[0].pending), (1, false));
    silent.store(false, Ordering::SeqCst);
    eventually("up", || server(&proxy, "s3").state == ServerState::Up).await;
}

#[tokio::test]
async fn backend_whose_servers_are_all_new_says_so_until_they_are_checked() {
    let silent = Scripted::start(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let a = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[a.address]);
    config.backends[0].check = Some(once());
    let proxy = Proxy::start(config.clone()).unwrap();
    healthy(&proxy, "up", |health| health.backends[0].usable == 1).await;
    let http = CheckKind::Http(Box::new(lb_proxy::config::HttpCheck::new("GET", "/")));
    config.backends[0].check = Some(Check { kind: http, timeout: Duration::from_millis(300), ..once() });
    config.backends[0].servers = vec![Server::new("new", silent.address)];
    proxy.reload(config).await.unwrap();
    let health = proxy.health().borrow().backends[0].clone();
    assert_eq!((health.usable, health.pending), (0, true));
    healthy(&proxy, "known to be down", |health| !health.backends[0].pending).await;
}

#[tokio::test]
async fn other_check_settings_count_at_once_and_begin_with_what_is_known() {
    let a = Scripted::named_at(apart(), "a").await;
    let mut config = config(Mode::Tcp, &[a.address]);
    config.backends[0].check = Some(once());
    let proxy = Proxy::start(config.clone()).unwrap();
    healthy(&proxy, "up", |health| health.backends[0].usable == 1).await;
    let checks = a.accepted();
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(server(&proxy, "s1").state, ServerState::Up);
    eventually("checked often", || a.accepted() > checks + 3).await;

    // Nobody checks it, and then somebody does again: it is up all the time.
    config.backends[0].check = None;
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(server(&proxy, "s1").state, ServerState::NoCheck);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    proxy.reload(config).await.unwrap();
    assert_eq!(server(&proxy, "s1").state, ServerState::Up);
    let address = a.address;
    drop(a);
    eventually("down", || server(&proxy, "s1").state == ServerState::Down).await;
    let _back = Scripted::named_at(address, "a").await;
    eventually("up again", || server(&proxy, "s1").state == ServerState::Up).await;
}

#[tokio::test]
async fn counters_and_rates_go_on_by_name() {
    let a = Recording::answering(OK).await;
    let mut config = http_config(&[a.server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..5 {
        ask(&mut client, GET).await;
    }
    let other = lb_proxy::config::Frontend::new("other", Mode::Http, Vec::new());
    config.frontends.insert(0, other);
    config.backends[0].servers.insert(0, Server { weight: 0, ..Server::new("s0", a.server.address) });
    proxy.reload(config).await.unwrap();
    ask(&mut client, GET).await;
    let status = proxy.status();
    let front = &status.frontends[1];
    assert_eq!((&*front.name, front.connections_total, front.requests_total), ("front", 1, 6));
    assert_eq!((front.responses[2], front.connections), (6, 1));
    assert_eq!(front.bytes_in, 6 * GET.len() as u64);
    assert_eq!(server(&proxy, "s1").requests_total, 6);
    assert_eq!((status.frontends[0].requests_total, server(&proxy, "s0").requests_total), (0, 0));
    // Sampled once a second: a configuration of a moment ago has no part in it.
    eventually("a rate", || proxy.status().frontends[1].requests_per_second > 0.0).await;
}

#[tokio::test]
async fn slow_start_goes_on() {
    let a = Scripted::named_at(apart(), "a").await;
    let (address, b) = (a.address, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config.backends[0].slowstart = Duration::from_secs(600);
    let proxy = Proxy::start(config.clone()).unwrap();
    healthy(&proxy, "both up", |health| health.backends[0].usable == 2).await;
    drop(a);
    eventually("down", || server(&proxy, "s1").state == ServerState::Down).await;
    let _a = Scripted::named_at(address, "a").await;
    eventually("back", || server(&proxy, "s1").state == ServerState::Up).await;
    proxy.reload(config.clone()).await.unwrap();
    let now = server(&proxy, "s1");
    assert!(now.share < 100, "{}", now.share);
    assert_eq!(server(&proxy, "s2").share, 100);
    config.backends[0].slowstart = Duration::ZERO;
    proxy.reload(config).await.unwrap();
    assert_eq!(server(&proxy, "s1").share, 100);
    let mut names: Vec<_> = Vec::new();
    for _ in 0..4 {
        names.extend(read_n(&mut connect(&proxy).await, 1).await);
    }
    names.sort_unstable();
    assert_eq!(names, b"aabb");
}

#[tokio::test]
async fn what_an_agent_has_said_holds_while_the_file_has_the_agent() {
    let says = Arc::new(Mutex::new("drain\n"));
    let said = Arc::clone(&says);
    let agent = Scripted::start(move |mut stream| {
        let line = *said.lock().unwrap();
        async move {
            let _ = stream.write_all(line.as_bytes()).await;
        }
    })
    .await;
    let a = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[a.address]);
    let check = AgentCheck {
        port: agent.address.port(),
        address: None,
        interval: Duration::from_millis(20),
        timeout: LONG,
        send: Vec::new(),
    };
    config.backends[0].agent = Some(check.clone());
    let proxy = Proxy::start(config.clone()).unwrap();
    eventually("drains", || server(&proxy, "s1").state == ServerState::Drain).await;
    // An agent that is asked once an hour from now on: what it has said still holds.
    config.backends[0].agent = Some(AgentCheck { interval: Duration::from_secs(3600), ..check.clone() });
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(server(&proxy, "s1").state, ServerState::Drain);
    *says.lock().unwrap() = "ready weight:7\n";
    config.backends[0].agent = Some(check);
    proxy.reload(config.clone()).await.unwrap();
    eventually("ready", || server(&proxy, "s1").weight == 7).await;
    config.backends[0].agent = None;
    proxy.reload(config).await.unwrap();
    assert_eq!((server(&proxy, "s1").weight, server(&proxy, "s1").state), (1, ServerState::NoCheck));
}

#[tokio::test]
async fn errors_of_traffic_count_over_all_configurations() {
    let served = Arc::new(AtomicUsize::new(0));
    let answers = Arc::clone(&served);
    // Passes its checks, which are connections without a byte, and fails every request.
    let web = Scripted::start(move |mut stream| {
        let answers = Arc::clone(&answers);
        async move {
            if stream.read(&mut [0; 512]).await.is_ok_and(|n| n > 0) {
                answers.fetch_add(1, Ordering::SeqCst);
                let _ = stream
                    .write_all(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await;
            }
        }
    })
    .await;
    let mut config = http_config(&[web.address]);
    config.backends[0].check = Some(once());
    config.backends[0].observe =
        Some(Observe { layer: Layer::Layer7, error_limit: 4, on_error: OnError::MarkDown });
    let proxy = Proxy::start(config.clone()).unwrap();
    eventually("up", || server(&proxy, "s1").state == ServerState::Up).await;
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 500 "));
        assert_eq!(server(&proxy, "s1").state, ServerState::Up);
        proxy.reload(config.clone()).await.unwrap();
    }
    ask(&mut client, GET).await;
    eventually("down", || server(&proxy, "s1").state == ServerState::Down).await;
    assert_eq!(served.load(Ordering::SeqCst), 4);
}
