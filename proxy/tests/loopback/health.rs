//! Checks against scripted servers, and what follows from them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{Check, CheckKind, Elsewhere, HttpCheck, Mode},
    status::ServerState,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::*;

fn head() -> CheckKind {
    CheckKind::Http(Box::new(HttpCheck::new("HEAD", "/check.txt")))
}

/// A web server whose answer to everything is the status in the cell; 0 closes without a word.
async fn web(status: &Arc<AtomicU16>) -> Scripted {
    let status = Arc::clone(status);
    Scripted::start(move |mut stream| {
        let status = Arc::clone(&status);
        async move {
            let mut request = [0; 1024];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let status = status.load(Ordering::SeqCst);
            if n > 0 && status > 0 {
                assert!(request.starts_with(b"HEAD /check.txt HTTP/1.1\r\nHost: 127.0.0.1:"));
                let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\n\r\n").as_bytes()).await;
            }
        }
    })
    .await
}

fn state(proxy: &Proxy, server: usize) -> (ServerState, String) {
    let status = &proxy.status().backends[0].servers[server];
    (status.state, status.last_check.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[tokio::test]
async fn server_follows_its_http_checks_down_and_up() {
    let status = Arc::new(AtomicU16::new(200));
    let server = web(&status).await;
    let mut config = config(Mode::Http, &[server.address]);
    config.backends[0].check = Some(quick_check(head()));
    let proxy = Proxy::start(config).unwrap();
    let health = healthy(&proxy, "up", |health| health.backends[0].usable == 1).await;
    assert!(health.first_round_done);
    assert_eq!(state(&proxy, 0), (ServerState::Up, "L7OK 200".to_owned()));

    status.store(404, Ordering::SeqCst);
    let health = healthy(&proxy, "down", |health| health.backends[0].usable == 0).await;
    assert_eq!(health.backends[0].reason.as_deref(), Some("s1: L7STS 404 on HEAD /check.txt"));
    let status_of = proxy.status().backends[0].servers[0].clone();
    assert_eq!(status_of.state, ServerState::Down);
    assert!(status_of.last_check.unwrap().in_a_row >= 3);

    // It stays down, for another reason.
    status.store(500, Ordering::SeqCst);
    healthy(&proxy, "the reason", |health| {
        health.backends[0].reason.as_deref() == Some("s1: L7STS 500 on HEAD /check.txt")
    })
    .await;

    status.store(302, Ordering::SeqCst);
    let health = healthy(&proxy, "up again", |health| health.backends[0].usable == 1).await;
    assert_eq!(health.backends[0].reason, None);

    status.store(0, Ordering::SeqCst);
    let health = healthy(&proxy, "down again", |health| health.backends[0].usable == 0).await;
    assert_eq!(health.backends[0].reason.as_deref(), Some("s1: L7RSP connection closed without an answer"));
}

#[tokio::test]
async fn failed_checks_say_why_in_words() {
    let refusing = Refusing::new();
    let silent = Scripted::start(|stream| async move {
        tokio::time::sleep(LONG).await;
        drop(stream);
    })
    .await;
    let mail = Scripted::named("220 mail ESMTP\r\n").await;
    let mut config = config(Mode::Http, &[refusing.address, silent.address, mail.address]);
    let check = Check { timeout: Duration::from_millis(150), ..quick_check(head()) };
    config.backends[0].check = Some(check);
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "first round", |health| health.first_round_done).await;
    for (server, reason) in [
        (0, "L4CON connection refused"),
        (1, "L7TOUT no answer within 150 ms"),
        // Its answer may come too late once or twice.
        (2, "L7RSP the answer is not HTTP"),
    ] {
        eventually(reason, || state(&proxy, server) == (ServerState::Down, reason.to_owned())).await;
    }
}

#[tokio::test]
async fn server_that_is_down_gets_nothing_and_no_server_left_is_counted() {
    let (a, b) = (Scripted::named_at(apart(), "a").await, Scripted::named_at(apart(), "b").await);
    let (address_a, address_b) = (a.address, b.address);
    let mut config = config(Mode::Tcp, &[address_a, address_b]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "both up", |health| health.backends[0].usable == 2).await;
    drop(a);
    healthy(&proxy, "one down", |health| health.backends[0].usable == 1).await;
    for _ in 0..4 {
        assert_eq!(read_n(&mut connect(&proxy).await, 1).await, b"b");
    }
    drop(b);
    let health = healthy(&proxy, "none left", |health| health.backends[0].usable == 0).await;
    assert_eq!(health.backends[0].reason.as_deref(), Some("s2: L4CON connection refused"));
    assert_eq!(read_all(&mut connect(&proxy).await).await.unwrap(), b"");
    counted(&proxy, "no_server_total", 1).await;
    let _back = Scripted::start_at(address_a, |mut stream| async move {
        let _ = stream.write_all(b"A").await;
    })
    .await;
    healthy(&proxy, "back", |health| health.backends[0].usable == 1).await;
    assert_eq!(read_n(&mut connect(&proxy).await, 1).await, b"A");
}

#[tokio::test]
async fn unchecked_server_is_used_only_where_nothing_else_is_left() {
    // One server never answers its check; the other one does so after a while.
    let answers = Arc::new(AtomicUsize::new(0));
    let slow = Scripted::start(|mut stream| async move {
        let _ = stream.write_all(b"H").await;
        tokio::time::sleep(LONG).await;
    })
    .await;
    let gate = Arc::clone(&answers);
    let checked = Scripted::start(move |mut stream| {
        let gate = Arc::clone(&gate);
        async move {
            let mut request = [0; 512];
            while gate.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            let _ = stream.read(&mut request).await;
        }
    })
    .await;
    let mut config = config(Mode::Tcp, &[slow.address, checked.address]);
    // "H" may be the beginning of an answer, and its connection stays open: its first check never ends.
    config.backends[0].check = Some(Check { timeout: Duration::from_secs(60), ..quick_check(head()) });
    let proxy = Proxy::start(config).unwrap();
    assert!(!proxy.health().borrow().first_round_done);
    let mut first = connect(&proxy).await;
    assert_eq!(read_n(&mut first, 1).await, b"H");
    answers.store(1, Ordering::SeqCst);
    healthy(&proxy, "the second is up", |health| health.backends[0].usable == 1).await;
    for _ in 0..4 {
        assert_eq!(read_n(&mut connect(&proxy).await, 4).await, b"HTTP");
    }
}

#[tokio::test]
async fn those_in_line_get_a_server_that_comes_up_and_leave_when_the_last_goes_down() {
    let a = Scripted::named("a").await;
    let refusing = Refusing::at(apart());
    let mut config = config(Mode::Tcp, &[a.address, refusing.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config.backends[0].servers[0].maxconn = Some(1);
    config.backends[0].servers[1].maxconn = Some(1);
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "first round", |health| health.first_round_done && health.backends[0].usable == 1).await;
    let mut first = connect(&proxy).await;
    read_n(&mut first, 1).await;
    let (mut second, mut third) = (connect(&proxy).await, None);
    let queued = |proxy: &Proxy| -> u64 { proxy.status().backends[0].queued };
    eventually("one in line", || queued(&proxy) == 1).await;
    let address = refusing.address;
    drop(refusing);
    let b = Scripted::start_at(address, |mut stream| async move {
        let _ = stream.write_all(b"b").await;
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    assert_eq!(read_n(&mut second, 1).await, b"b");
    third.replace(connect(&proxy).await);
    eventually("one in line again", || queued(&proxy) == 1).await;
    drop((a, b));
    assert_eq!(read_all(&mut third.unwrap()).await.unwrap(), b"");
}

#[tokio::test]
async fn checks_go_where_the_server_says_or_else_its_backend() {
    let (first, second) = (Scripted::named_at(apart(), "1").await, Scripted::named_at(apart(), "2").await);
    let (own, common) = (Scripted::named_at(apart(), "o").await, Scripted::named_at(apart(), "c").await);
    let at =
        |place: &Scripted| Elsewhere { address: Some(place.address.ip()), port: Some(place.address.port()) };
    let mut config = config(Mode::Tcp, &[first.address, second.address]);
    config.backends[0].check =
        Some(Check { at: at(&common), rise: 1, fall: 1, ..quick_check(CheckKind::Tcp) });
    config.backends[0].servers[0].check_at = at(&own);
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "both are up", |health| health.backends[0].usable == 2).await;
    eventually("both places are asked", || own.accepted() > 0 && common.accepted() > 0).await;
    assert_eq!((first.accepted(), second.accepted()), (0, 0), "where clients go nobody asks");
    drop(own);
    eventually("its own place decides", || state(&proxy, 0).0 == ServerState::Down).await;
    assert_eq!(state(&proxy, 1).0, ServerState::Up);
    drop(common);
    eventually("the backend's place decides", || state(&proxy, 1).0 == ServerState::Down).await;
    assert_eq!((first.accepted(), second.accepted()), (0, 0));
}
