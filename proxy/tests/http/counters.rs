//! What is counted of servers and backends. That the numbers are HAProxy's is shown by `differential/counters.rs`.

use lb_proxy::{Proxy, config::CheckKind, status::ServerState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    peers::{http_config, read_message},
    rig::*,
};

#[tokio::test]
async fn bytes_of_a_server_are_those_of_its_clients_however_they_were_moved() {
    const LARGE: usize = 3 << 20;
    let server = Scripted::start(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let mut content = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut content).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&content).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start(http_config(&[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    let (mut sent, mut received) = (0, 0);
    for size in [0, 10, 20_000, LARGE] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = client.split();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").len() + size;
        let mut answered = vec![0; answer];
        let content = vec![b'x'; size];
        let both = tokio::join!(write.write_all(&content), read.read_exact(&mut answered));
        assert!(both.0.is_ok() && both.1.is_ok());
        sent += (head.len() + size) as u64;
        received += answer as u64;
        eventually("the bytes are counted", || {
            let status = proxy.status();
            let (front, back) = (&status.frontends[0], &status.backends[0]);
            let of = [&back.traffic, &back.servers[0].traffic].map(|one| (one.bytes_in, one.bytes_out));
            of == [(sent, received); 2] && (front.bytes_in, front.bytes_out) == (sent, received)
        })
        .await;
    }
    let status = proxy.status();
    let traffic = &status.backends[0].servers[0].traffic;
    assert_eq!((traffic.sessions_total, traffic.responses), (4, [0, 0, 4, 0, 0, 0]));
    assert!(traffic.idle.unwrap() < LONG, "{traffic:?}");
    eventually("a sample is taken", || proxy.status().backends[0].traffic.rate.max > 0).await;
}

async fn read_head(stream: &mut tokio::net::TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

#[tokio::test]
async fn what_is_answered_without_a_server_is_counted_at_the_backend_alone() {
    let server = Refusing::new();
    let proxy = Proxy::start(http_config(&[server.address])).unwrap();
    let mut client = connect(&proxy).await;
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.write_all(request).await.unwrap();
    let answer = read_message(&mut client).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    eventually("the bytes are counted", || {
        proxy.status().backends[0].traffic.bytes_out == answer.len() as u64
    })
    .await;
    let back = &proxy.status().backends[0];
    assert_eq!((back.traffic.bytes_in, back.traffic.responses[5]), (request.len() as u64, 1));
    let at_the_server = &back.servers[0].traffic;
    assert_eq!((at_the_server.bytes_in, at_the_server.bytes_out, at_the_server.responses), (0, 0, [0; 6]));
    assert_eq!((at_the_server.connect_failures, at_the_server.sessions_total), (1, 1));
    assert_eq!(at_the_server.idle, None);
}

#[tokio::test]
async fn outages_of_a_server_and_of_a_backend_are_counted_apart() {
    let [stays, goes] = [Scripted::named("a").await, Scripted::named_at(apart(), "b").await];
    let mut config = http_config(&[stays.address, goes.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    let fall = config.backends[0].check.as_ref().unwrap().fall;
    let proxy = Proxy::start(config).unwrap();
    let back = || proxy.status().backends.remove(0);
    let state = |server: usize| proxy.status().backends[0].servers[server].state;
    eventually("both are up", || back().servers.iter().all(|server| server.state == ServerState::Up)).await;
    let address = goes.address;
    drop(goes);
    eventually("one is down", || state(1) == ServerState::Down).await;
    let found = back();
    let history = &found.servers[1].history;
    assert_eq!((history.failed_checks, history.outage.count, history.outage.is_down), (fall.into(), 1, true));
    assert_eq!(found.servers[1].level.map(|level| level.now), Some(0));
    assert_eq!((found.outage.count, found.outage.is_down), (0, false));
    assert!(found.servers[0].is_in_use && !found.servers[1].is_in_use);
    drop(stays);
    eventually("the other one too", || state(0) == ServerState::Down).await;
    assert_eq!((back().outage.count, back().outage.is_down), (1, true));
    let _again = Scripted::named_at(address, "b").await;
    eventually("one is back", || state(1) == ServerState::Up).await;
    let found = back();
    assert_eq!((found.servers[1].history.outage.count, found.servers[1].history.outage.is_down), (1, false));
    assert_eq!((found.outage.count, found.outage.is_down), (1, false));
}
