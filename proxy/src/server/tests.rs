//! What can't be reached from outside: a worker that hangs.

use std::{num::NonZeroUsize, sync::mpsc};

use super::*;
use crate::config::{MapFile, MapKind};

#[tokio::test]
async fn worker_that_does_not_answer_for_a_second_is_reported_until_it_does() {
    let config = Config {
        threads: NonZeroUsize::new(2).unwrap(),
        maxconn: 10,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        resolver: Default::default(),
        frontends: Vec::new(),
        backends: Vec::new(),
    };
    let proxy = Proxy::start(config).unwrap();
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

#[tokio::test]
async fn idle_worker_is_not_a_stalled_one() {
    let config = Config {
        threads: NonZeroUsize::new(1).unwrap(),
        maxconn: 10,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        resolver: Default::default(),
        frontends: Vec::new(),
        backends: Vec::new(),
    };
    let proxy = Proxy::start(config).unwrap();
    let mut health = proxy.health();
    let stalled = health.wait_for(|health| health.stalled_workers.iter().any(Option::is_some));
    assert!(tokio::time::timeout(Duration::from_millis(1_500), stalled).await.is_err());
}

#[tokio::test]
async fn maps_are_read_anew_whole_or_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.map");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let map = MapFile { name: "hosts".into(), file: file.clone(), kind: MapKind::Exact };
    let config = || Config {
        threads: NonZeroUsize::MIN,
        maxconn: 10,
        node: String::new(),
        maps: vec![map.clone()],
        users: Vec::new(),
        resolver: Default::default(),
        frontends: Vec::new(),
        backends: Vec::new(),
    };
    let error = Proxy::start(config()).unwrap_err();
    assert_eq!(error.to_string(), format!("map `hosts`: {}: no such file", file.display()));
    write("a one\n");
    let proxy = Proxy::start(config()).unwrap();
    // What a request that comes now would find.
    let value = || {
        let (answer, answered) = mpsc::channel();
        assert!(proxy.workers[0].try_run(move |worker| {
            let _ = answer.send(worker.maps().value(0, b"a").map(<[u8]>::to_vec));
        }));
        answered.recv().unwrap()
    };
    assert_eq!(value(), Some(b"one".to_vec()));
    write("a two\nb\n");
    let errors = proxy.reload_maps().unwrap_err();
    assert_eq!((errors.len(), errors[0].line), (1, Some(2)));
    assert_eq!(value(), Some(b"one".to_vec()));
    write("a two\n");
    proxy.reload_maps().unwrap();
    assert_eq!(value(), Some(b"two".to_vec()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(proxy.reload_maps().unwrap_err()[0].why, "no such file");
    assert_eq!(value(), Some(b"two".to_vec()));
}
