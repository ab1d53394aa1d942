//! Agents, errors of real traffic, 404 that takes a server out of the balance, and what a server that goes down does to
//! those who use it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{AgentCheck, Check, CheckKind, HttpCheck, Layer, Mode, Observe, OnError, Pattern, SequenceStep},
    status::ServerState,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::*;

/// Answers each connection's first request with the status in the cell, and goes.
async fn web(status: &Arc<AtomicU16>) -> Scripted {
    let status = Arc::clone(status);
    Scripted::start(move |mut stream| {
        let status = Arc::clone(&status);
        async move {
            if stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {
                let status = status.load(Ordering::SeqCst);
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
            }
        }
    })
    .await
}

fn state(proxy: &Proxy) -> ServerState {
    proxy.status().backends[0].servers[0].state
}

fn reason(proxy: &Proxy) -> String {
    let status = proxy.status().backends[0].servers[0].clone();
    status.last_check.map(|check| check.to_string()).unwrap_or_default()
}

async fn get(proxy: &Proxy) -> String {
    let mut client = connect(proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    String::from_utf8(read_all(&mut client).await.unwrap()).unwrap()
}

#[tokio::test]
async fn not_found_takes_a_server_out_of_the_balance_and_not_down() {
    let status = Arc::new(AtomicU16::new(200));
    let server = web(&status).await;
    let mut config = config(Mode::Http, &[server.address]);
    let check = quick_check(CheckKind::Http(Box::new(HttpCheck::new("GET", "/"))));
    config.backends[0].check = Some(Check { disable_on_404: true, ..check });
    let proxy = Proxy::start(config).unwrap();
    eventually("up", || state(&proxy) == ServerState::Up).await;
    status.store(404, Ordering::SeqCst);
    eventually("out of the balance", || state(&proxy) == ServerState::NoBalance).await;
    assert_eq!(reason(&proxy), "L7OKC 404 on GET /");
    assert!(get(&proxy).await.starts_with("HTTP/1.1 503 "));
    // An operator's wish, not an outage: it never counts for readiness.
    assert_eq!(proxy.health().borrow().backends[0].usable, 1);
    status.store(200, Ordering::SeqCst);
    eventually("back at once", || state(&proxy) == ServerState::Up).await;
    assert!(get(&proxy).await.starts_with("HTTP/1.1 200 "));
    status.store(500, Ordering::SeqCst);
    eventually("down", || state(&proxy) == ServerState::Down).await;
    status.store(404, Ordering::SeqCst);
    eventually("404 is a failure of a server that is down", || reason(&proxy) == "L7STS 404 on GET /").await;
    assert_eq!(state(&proxy), ServerState::Down);
}

#[tokio::test]
async fn agent_changes_weight_and_state_and_never_readiness() {
    let line = Arc::new(Mutex::new(String::new()));
    let said = Arc::clone(&line);
    let agent = Scripted::start(move |mut stream| {
        let said = Arc::clone(&said);
        async move {
            let mut question = [0; 6];
            if stream.read_exact(&mut question).await.is_ok() && &question == b"state\n" {
                let line = said.lock().unwrap().clone();
                let _ = stream.write_all(line.as_bytes()).await;
            }
        }
    })
    .await;
    let status = Arc::new(AtomicU16::new(200));
    let server = web(&status).await;
    let mut config = config(Mode::Http, &[server.address]);
    config.backends[0].servers[0].weight = 20;
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config.backends[0].agent = Some(AgentCheck {
        address: None,
        port: agent.address.port(),
        interval: Duration::from_millis(20),
        timeout: LONG,
        send: b"state\n".to_vec(),
    });
    // The clock: another agent that is asked as often.
    let clock = Scripted::named("ready\n").await;
    let mut other = config.backends[0].clone();
    other.name = "clock".to_owned();
    other.agent.as_mut().unwrap().port = clock.address.port();
    config.backends.push(other);
    let proxy = Proxy::start(config).unwrap();
    let server = || proxy.status().backends[0].servers[0].clone();
    let says = |text: &str| text.clone_into(&mut line.lock().unwrap());
    eventually("up", || state(&proxy) == ServerState::Up).await;
    for (text, expected, weight) in [
        ("50%\n", ServerState::Up, 10),
        ("down #disk full\r\nignored", ServerState::AgentDown, 10),
        ("up maint\n", ServerState::Maintenance, 10),
        ("ready 100%\n", ServerState::Up, 20),
        ("drain\n", ServerState::Drain, 0),
        ("nonsense 25%\n", ServerState::Drain, 0),
        ("ready\n", ServerState::Up, 5),
        // What has no end may be a part of something else.
        ("drain", ServerState::Up, 5),
    ] {
        says(text);
        let asked = agent.accepted();
        eventually("asked on", || agent.accepted() > asked + 1).await;
        eventually(text, || (server().state, server().weight) == (expected, weight)).await;
        let serves = get(&proxy).await.starts_with("HTTP/1.1 200 ");
        assert_eq!(serves, expected == ServerState::Up, "{text}");
        assert_eq!(proxy.health().borrow().backends[0].usable, 1, "{text}");
    }
    // An agent that is gone says nothing.
    let asked = agent.accepted();
    says("");
    eventually("asked on", || agent.accepted() > asked + 2).await;
    drop(agent);
    let asked = clock.accepted();
    eventually("time for some questions", || clock.accepted() > asked + 4).await;
    assert_eq!((server().state, server().weight), (ServerState::Up, 5));
}

#[tokio::test]
async fn errors_of_traffic_take_a_server_down_and_checks_bring_it_back() {
    let status = Arc::new(AtomicU16::new(200));
    let server = web(&status).await;
    let mut config = config(Mode::Http, &[server.address]);
    // The check sees nothing wrong: it only connects.
    config.backends[0].check = Some(Check { rise: 20, ..quick_check(CheckKind::Tcp) });
    config.backends[0].observe =
        Some(Observe { layer: Layer::Layer7, error_limit: 3, on_error: OnError::MarkDown });
    let proxy = Proxy::start(config).unwrap();
    eventually("up", || state(&proxy) == ServerState::Up).await;
    status.store(502, Ordering::SeqCst);
    for _ in 0..2 {
        assert!(get(&proxy).await.starts_with("HTTP/1.1 502 "));
    }
    status.store(404, Ordering::SeqCst);
    assert!(get(&proxy).await.starts_with("HTTP/1.1 404 "));
    status.store(502, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(state(&proxy), ServerState::Up);
        assert!(get(&proxy).await.starts_with("HTTP/1.1 502 "));
    }
    eventually("down", || state(&proxy) == ServerState::Down).await;
    assert!(get(&proxy).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(proxy.health().borrow().backends[0].usable, 1, "a standby has no traffic to watch");
    eventually("back after its good checks", || state(&proxy) == ServerState::Up).await;
}

#[tokio::test]
async fn a_server_that_goes_down_takes_its_connections_along_if_the_file_says_so() {
    for cut in [false, true] {
        let is_well = Arc::new(AtomicBool::new(true));
        let well = Arc::clone(&is_well);
        let server = Scripted::start(move |mut stream| {
            let well = Arc::clone(&well);
            async move {
                if well.load(Ordering::SeqCst) {
                    let _ = stream.write_all(b"hello").await;
                }
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        })
        .await;
        let mut config = config(Mode::Tcp, &[server.address]);
        let steps = vec![SequenceStep::Expect(Pattern::Bytes(b"hello".to_vec()))];
        let check = quick_check(CheckKind::Sequence(steps));
        config.backends[0].check = Some(Check { timeout: Duration::from_millis(100), ..check });
        config.backends[0].cut_when_down = cut;
        let proxy = Proxy::start(config).unwrap();
        eventually("up", || state(&proxy) == ServerState::Up).await;
        let mut client = connect(&proxy).await;
        assert_eq!(read_n(&mut client, 5).await, b"hello");
        is_well.store(false, Ordering::SeqCst);
        eventually("down", || state(&proxy) == ServerState::Down).await;
        if cut {
            let error = read_all(&mut client).await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            counted(&proxy, "cut_when_down_total", 1).await;
        } else {
            client.write_all(b"still there").await.unwrap();
            assert_eq!(read_n(&mut client, 11).await, b"still there");
        }
    }
}

#[tokio::test]
async fn servers_that_are_silent_or_never_stop_talking_are_bounded_in_time_memory_and_descriptors() {
    // Checks whose socket is open.
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let silent = Scripted::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
            count.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let endless =
        Scripted::start(|mut stream| async move { while stream.write_all(&[b'x'; 8192]).await.is_ok() {} })
            .await;
    let mut config = config(Mode::Tcp, &[silent.address, endless.address]);
    let steps = vec![SequenceStep::Expect(Pattern::Bytes(b"never said".to_vec()))];
    let check = quick_check(CheckKind::Sequence(steps));
    config.backends[0].check = Some(Check { timeout: Duration::from_millis(60), ..check });
    let proxy = Proxy::start(config).unwrap();
    eventually("many checks", || silent.accepted() > 20 && endless.accepted() > 20).await;
    let last =
        |server: usize| proxy.status().backends[0].servers[server].last_check.clone().unwrap().to_string();
    assert_eq!(last(0), "L7TOUT no answer within 60 ms");
    assert_eq!(last(1), "L7RSP the answer does not match at step 1");
    eventually("one at a time", || open.load(Ordering::SeqCst) <= 1).await;
    drop(proxy);
    eventually("no check is left open", || open.load(Ordering::SeqCst) == 0).await;
}
