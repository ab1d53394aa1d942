//! What can't be reached from outside: a worker that hangs.

use std::{num::NonZeroUsize, sync::mpsc};

use super::*;

#[tokio::test]
async fn worker_that_does_not_answer_for_a_second_is_reported_until_it_does() {
    let config = Config {
        threads: NonZeroUsize::new(2).unwrap(),
        maxconn: 10,
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
        frontends: Vec::new(),
        backends: Vec::new(),
    };
    let proxy = Proxy::start(config).unwrap();
    let mut health = proxy.health();
    let stalled = health.wait_for(|health| health.stalled_workers.iter().any(Option::is_some));
    assert!(tokio::time::timeout(Duration::from_millis(1_500), stalled).await.is_err());
}
