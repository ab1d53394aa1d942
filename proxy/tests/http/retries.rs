//! Requests that are sent again, and requests that must not be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{ANY, Refusing, Scripted, connect, counter, eventually},
    witness::Witness,
};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

/// Its first connection answers one request and dies, without a byte, when the second has arrived; the others answer
/// everything.
async fn dies_at_the_second_request() -> Scripted {
    let connections = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut served = 0;
            while read_message(&mut stream).await.is_some() {
                if number == 0 && served == 1 {
                    return;
                }
                served += 1;
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn r2_idempotent_request_on_a_connection_that_died_is_sent_again_on_a_fresh_one() {
    for request in [GET, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"] {
        let server = dies_at_the_second_request().await;
        let proxy = proxy_for(&server);
        let mut client = connect(&proxy).await;
        assert_eq!(ask(&mut client, GET).await, OK);
        assert_eq!(ask(&mut client, request).await, OK);
        assert_eq!(server.accepted(), 2);
        assert_eq!(counter(&proxy, "stale_retries_total"), 1);
    }
}

#[tokio::test]
async fn r2_other_request_on_a_connection_that_died_is_502_and_the_client_stays() {
    let server = dies_at_the_second_request().await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, OK);
    assert!(ask(&mut client, POST).await.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    assert_eq!((server.accepted(), counter(&proxy, "stale_retries_total")), (1, 0));
    assert_eq!(counter(&proxy, "server_aborts_total"), 1);
    assert_eq!(ask(&mut client, POST).await, OK);
}

#[tokio::test]
async fn r2_fresh_connection_that_dies_is_502() {
    let server = Scripted::start(|mut stream| async move {
        read_message(&mut stream).await;
    })
    .await;
    let mut config = http_config(&[server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    assert_eq!(witness.says().await, "502 SH--");
    assert_eq!((server.accepted(), counter(&proxy, "server_aborts_total")), (1, 1));
}

#[tokio::test]
async fn r5_request_is_never_sent_again_after_a_byte_of_the_response() {
    let connections = Arc::new(AtomicUsize::new(0));
    let server = Scripted::start(move |mut stream| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            read_message(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            if first && read_message(&mut stream).await.is_some() {
                stream.write_all(b"H").await.unwrap();
            }
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, OK);
    assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 502 "));
    assert_eq!((server.accepted(), counter(&proxy, "stale_retries_total")), (1, 0));
}

#[tokio::test]
async fn connection_that_its_server_closed_while_idle_is_not_used() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let server = Scripted::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            read_message(&mut stream).await;
            stream.write_all(OK.as_bytes()).await.unwrap();
            drop(stream);
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    for number in 1..=5 {
        assert_eq!(ask(&mut client, POST).await, OK);
        // On loopback it arrives while it is sent.
        eventually("its server has ended it", || ended.load(Ordering::SeqCst) == number).await;
    }
    assert_eq!(server.accepted(), 5);
}

#[tokio::test]
async fn r1_request_with_content_moves_to_another_server_when_the_first_refuses() {
    let (dead, alive) = (Refusing::new(), Recording::answering(OK).await);
    let mut config = http_config(&[dead.address, alive.server.address]);
    config.backends[0].retries = 2;
    config.backends[0].redispatch = true;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..4 {
        assert_eq!(ask(&mut client, POST).await, OK);
    }
    assert_eq!(alive.requests(), [POST; 4]);
    assert!(counter(&proxy, "redispatches_total") >= 2);
}

#[tokio::test]
async fn d8_single_refusing_server_is_tried_retries_plus_one_times_then_503() {
    let dead = Refusing::new();
    let mut config = http_config(&[dead.address]);
    config.backends[0].retries = 2;
    config.backends[0].timeout.connect = Duration::from_millis(100);
    let witness = Witness::of(&mut config).await;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let start = std::time::Instant::now();
    let answer = ask(&mut connect(&proxy).await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert_eq!(witness.says().await, "503 SC--");
    assert_eq!(counter(&proxy, "connect_failures_total"), 1);
    assert_eq!(proxy.status().backends[0].servers[0].connect_errors, 3);
}

/// With a longer time to connect the pause would be no longer: HAProxy's 503 comes after 2,002 ms with two retries.
#[tokio::test]
async fn d8_pause_before_the_same_server_is_tried_again_is_a_second_at_most() {
    let dead = Refusing::new();
    let mut config = http_config(&[dead.address]);
    config.backends[0].retries = 1;
    config.backends[0].timeout.connect = Duration::from_secs(86_400);
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let start = std::time::Instant::now();
    // Within the time that any answer has here.
    let answer = ask(&mut connect(&proxy).await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(proxy.status().backends[0].servers[0].connect_errors, 2);
}

#[tokio::test]
async fn d12_server_that_does_not_answer_to_connect_costs_its_time_for_each_attempt_then_503() {
    // A full backlog that nobody empties: further SYNs are dropped.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind(ANY).unwrap();
    let silent = silent.listen(0).unwrap();
    let address = silent.local_addr().unwrap();
    let _filling = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut config = http_config(&[address]);
    config.backends[0].retries = 2;
    config.backends[0].timeout.connect = Duration::from_millis(150);
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let start = std::time::Instant::now();
    let answer = ask(&mut connect(&proxy).await, GET).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    // Three attempts, and a pause of the same length before the second and the third.
    assert!(start.elapsed() >= Duration::from_millis(5 * 150), "{:?}", start.elapsed());
    assert_eq!(proxy.status().backends[0].servers[0].connect_errors, 3);
    assert_eq!((counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total")), (2, 0));
}

#[tokio::test]
async fn h43_client_that_leaves_the_queue_is_not_sent_to_a_server() {
    let (release, released) = tokio::sync::watch::channel(false);
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    let server = Scripted::start(move |mut stream| {
        let (mut released, count) = (released.clone(), Arc::clone(&count));
        async move {
            while read_message(&mut stream).await.is_some() {
                count.fetch_add(1, Ordering::SeqCst);
                released.wait_for(|released| *released).await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let mut config = http_config(&[server.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut first = connect(&proxy).await;
    first.write_all(GET.as_bytes()).await.unwrap();
    eventually("the first is served", || requests.load(Ordering::SeqCst) == 1).await;
    let mut leaving = connect(&proxy).await;
    leaving.write_all(GET.as_bytes()).await.unwrap();
    eventually("the second waits", || proxy.status().backends[0].queued == 1).await;
    drop(leaving);
    eventually("the line is empty", || proxy.status().backends[0].queued == 0).await;
    eventually("it is counted", || counter(&proxy, "client_aborts_total") == 1).await;
    release.send(true).unwrap();
    assert_eq!(answer(&mut first).await, OK);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}
