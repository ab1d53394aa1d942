//! What can't be reached from outside: a worker that hangs, and what requests find in a map.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    num::NonZeroUsize,
    rc::Rc,
    sync::mpsc,
};

use super::*;
use crate::{
    config::{Bind, Frontend, MapFile, MapKind, Mode, Place},
    rules::{Action, Condition, Rule},
    worker::turns,
};

/// No frontend, no backend.
fn config(threads: usize) -> Config {
    Config {
        threads: NonZeroUsize::new(threads).unwrap(),
        maxconn: 10,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        ticket_secret: None,
        log: Vec::new(),
        resolver: Default::default(),
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        frontends: Vec::new(),
        backends: Vec::new(),
    }
}

#[tokio::test]
async fn worker_that_does_not_answer_for_a_second_is_reported_until_it_does() {
    let proxy = Proxy::start(config(2)).unwrap();
    let mut health = proxy.health();
    let limit = Duration::from_secs(10);
    let quiet =
        tokio::time::timeout(limit, health.wait_for(|health| health.stalled_workers.len() == 2)).await;
    assert_eq!(quiet.unwrap().unwrap().stalled_workers, [None, None]);

    let (release, held) = mpsc::channel::<()>();
    let start = Instant::now();
    // Hangs the thread of worker 1 until `release` is dropped.
    assert!(proxy.workers[1].try_run(move |_| {
        let _ = held.recv();
    }));
    let stalled =
        tokio::time::timeout(limit, health.wait_for(|health| health.stalled_workers[1].is_some())).await;
    let stalled = stalled.unwrap().unwrap().stalled_workers.clone();
    assert_eq!(stalled[0], None);
    assert!(stalled[1].unwrap() >= Duration::from_secs(1));
    assert!(start.elapsed() >= Duration::from_secs(1) && start.elapsed() < limit);

    drop(release);
    let answers =
        tokio::time::timeout(limit, health.wait_for(|health| health.stalled_workers[1].is_none())).await;
    assert!(answers.unwrap().is_ok());
}

/// Waits until one more round is over.
async fn round(proxy: &Proxy) {
    let before = proxy.rounds();
    while proxy.rounds() == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn rounds_end_while_all_workers_answer_and_no_more_once_one_hangs() {
    let proxy = Proxy::start(config(2)).unwrap();
    let limit = Duration::from_secs(10);
    for _ in 0..3 {
        tokio::time::timeout(limit, round(&proxy)).await.unwrap();
    }
    let (release, held) = mpsc::channel::<()>();
    let (hangs, hung) = mpsc::channel();
    assert!(proxy.workers[0].try_run(move |_| {
        let _ = hangs.send(());
        let _ = held.recv();
    }));
    hung.recv().unwrap();
    // It may have answered for this round already.
    let _ = tokio::time::timeout(Duration::from_secs(1), round(&proxy)).await;
    assert!(tokio::time::timeout(Duration::from_millis(1_500), round(&proxy)).await.is_err());
    drop(release);
    tokio::time::timeout(limit, round(&proxy)).await.unwrap();
}

/// What the look at idle connections to servers relies on.
#[tokio::test]
async fn turns_of_a_workers_loop_are_counted() {
    let proxy = Proxy::start(config(1)).unwrap();
    let so_far = async || proxy.workers()[0].run(|_| turns::so_far()).await.unwrap();
    // A question wakes the worker, which has then asked the kernel what woke it, but for one that comes before it sleeps again.
    let first = so_far().await;
    let counts = async { while so_far().await == first {} };
    tokio::time::timeout(Duration::from_secs(60), counts).await.unwrap();
    let is_known = proxy.workers()[0].run(|_| turns::was_asked_since(turns::so_far())).await;
    assert_eq!(is_known, Some(false), "not since this turn");
}

#[tokio::test]
async fn idle_worker_is_not_a_stalled_one() {
    let proxy = Proxy::start(config(1)).unwrap();
    let mut health = proxy.health();
    let stalled = health.wait_for(|health| health.stalled_workers.iter().any(Option::is_some));
    assert!(tokio::time::timeout(Duration::from_millis(1_500), stalled).await.is_err());
}

#[tokio::test]
async fn maps_are_read_anew_whole_or_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.map");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let map = MapFile {
        name: "hosts".into(),
        file: file.clone(),
        kind: MapKind::Exact,
        place: Place("lb.toml:1:8".into()),
    };
    let with_map = || Config { maps: vec![map.clone()], ..config(1) };
    let error = Proxy::start(with_map()).unwrap_err();
    assert_eq!(error.to_string(), format!("lb.toml:1:8: map `hosts`: {}: does not exist", file.display()));
    write("a one\n");
    let proxy = Proxy::start(with_map()).unwrap();
    // What a request that comes now would find.
    let value = || {
        let (answer, answered) = mpsc::channel();
        assert!(proxy.workers[0].try_run(move |worker| {
            let _ = answer.send(worker.node().maps.value(0, b"a").map(<[u8]>::to_vec));
        }));
        answered.recv().unwrap()
    };
    assert_eq!(value(), Some(b"one".to_vec()));
    write("a two\nb\n");
    let ReloadError::Maps(errors) = proxy.reload(with_map()).await.unwrap_err() else {
        panic!("not the maps")
    };
    assert_eq!((errors.len(), errors[0].line), (1, Some(2)));
    assert_eq!(value(), Some(b"one".to_vec()));
    write("a two\n");
    proxy.reload(with_map()).await.unwrap();
    assert_eq!(value(), Some(b"two".to_vec()));
    std::fs::remove_file(&file).unwrap();
    let error = proxy.reload(with_map()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("lb.toml:1:8: map `hosts`: {}: does not exist", file.display()));
    assert_eq!(value(), Some(b"two".to_vec()));
    assert_eq!(proxy.status().generation, 2);
}

#[tokio::test]
async fn worker_that_does_not_answer_keeps_a_reload_from_changing_anything() {
    let proxy = Proxy::start(config(1)).unwrap();
    let (release, held) = mpsc::channel::<()>();
    assert!(proxy.workers[0].try_run(move |_| {
        let _ = held.recv();
    }));
    let error = proxy.reload(config(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "worker 0 does not answer within 2 s");
    assert_eq!(proxy.status().generation, 1);
    drop(release);
    assert_eq!(
        proxy.reload(config(1)).await.unwrap(),
        Reloaded { generation: 2, late_workers: Vec::new(), maps: Vec::new() }
    );
}

/// It answered when it was asked whether it can, and hangs when it shall.
#[tokio::test]
async fn worker_that_hangs_while_the_others_go_over_follows_them() {
    let proxy = Proxy::start(config(2)).unwrap();
    let prepared = proxy.prepare(config(2)).await.unwrap();
    let (release, held) = mpsc::channel::<()>();
    assert!(proxy.workers[1].try_run(move |_| {
        let _ = held.recv();
    }));
    assert_eq!(prepared.commit().await, Reloaded { generation: 2, late_workers: vec![1], maps: Vec::new() });
    assert_eq!(proxy.status().old_generations, 1);
    drop(release);
    let generation = proxy.workers[1].run(|worker| worker.node().generation).await;
    assert_eq!(generation, Some(2));
    assert_eq!(proxy.status().old_generations, 0);
}

/// A neighbour that is ready whenever the worker has a moment sees how many requests were answered since its last one.
#[tokio::test]
async fn client_that_sends_many_requests_at_once_lets_the_others_in_between() {
    const MANY: usize = 300;
    let bind =
        Bind { label: "front:0".to_owned(), address: (Ipv4Addr::LOCALHOST, 0).into(), accept_proxy: None };
    let deny = Rule { when: Condition::ALWAYS, then: vec![Action::Deny(403)] };
    let front = Frontend { rules: vec![deny], ..Frontend::new("front", Mode::Http, vec![bind]) };
    let proxy = Proxy::start(Config { frontends: vec![front], ..config(1) }).unwrap();
    let (most, seen) = mpsc::channel();
    assert!(proxy.workers[0].try_run(move |worker| {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            let answered = || worker.counters().frontends[0].requests.value();
            let (mut before, mut at_once) = (0, 0);
            while before < MANY as u64 {
                tokio::task::yield_now().await;
                at_once = at_once.max(answered() - before);
                before = answered();
            }
            let _ = most.send(at_once);
        });
    }));
    let address = proxy.status().frontends[0].binds[0].address.unwrap();
    let answers = tokio::task::spawn_blocking(move || {
        let mut client = TcpStream::connect(address).unwrap();
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all((request.repeat(MANY - 1) + last).as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        (answers, seen.recv().unwrap())
    });
    let (answers, at_once) = answers.await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 403 Forbidden\r\n").count(), MANY);
    // Two where the buffer ended with the first of them.
    assert!(at_once <= 2, "{at_once} at once");
}

/// A listener that could not be bound before is handed to the workers, one of which hangs.
#[tokio::test]
async fn worker_that_does_not_take_a_listener_keeps_no_reload_waiting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let listening = || {
        let bind = Bind { label: "front".to_owned(), address, accept_proxy: None };
        Config { frontends: vec![Frontend::new("front", Mode::Tcp, vec![bind])], ..config(2) }
    };
    let proxy = Proxy::start(listening()).unwrap();
    let (release, held) = mpsc::channel::<()>();
    assert!(proxy.workers[1].try_run(move |_| {
        let _ = held.recv();
    }));
    drop(taken);
    while TcpStream::connect(address).is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let reload = tokio::time::timeout(Duration::from_secs(10), proxy.reload(listening()));
    let error = reload.await.expect("it waits for the worker").unwrap_err();
    assert_eq!(error.to_string(), "worker 1 does not answer within 2 s");
    drop(release);
    assert_eq!(proxy.reload(listening()).await.unwrap().generation, 2);
    let bound = |health: &Health| health.listeners[0].bound;
    tokio::time::timeout(Duration::from_secs(10), proxy.health().wait_for(bound)).await.unwrap().unwrap();
}

#[tokio::test]
async fn reload_does_not_wait_for_ever_for_one_that_is_never_over() {
    let proxy = Proxy::start(config(1)).unwrap();
    let never_over = proxy.prepare(config(1)).await.unwrap();
    tokio::time::pause();
    let error = proxy.reload(config(1)).await.unwrap_err();
    tokio::time::resume();
    assert_eq!(error.to_string(), "the reload before is not over within 10 s: try again");
    drop(never_over);
    assert_eq!(proxy.reload(config(1)).await.unwrap().generation, 2);
}
