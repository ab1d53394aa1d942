//! WebSocket: a tunnel only after the server agreed, and what looks like one and is none.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    rules::{Action, Condition, Rule},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    peers::*,
    rig::{LONG, Scripted, connect, counter, eventually, read_all, read_n},
    witness::Witness,
};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

#[tokio::test]
async fn h33_bytes_flow_both_ways_after_the_101_with_those_that_came_early() {
    let server = Scripted::start(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.ends_with("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), "{head}");
        let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello";
        stream.write_all(response.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    client.write_all(format!("{HANDSHAKE}early").as_bytes()).await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert_eq!(
        head,
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    assert_eq!(read_n(&mut client, 10).await, b"helloearly");
    for n in 0..100_u8 {
        client.write_all(&[n, 0, b'\r', b'\n']).await.unwrap();
        assert_eq!(read_n(&mut client, 4).await, [n, 0, b'\r', b'\n']);
    }
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    let status = proxy.status();
    assert_eq!(status.frontends[0].responses[1], 1);
    // What came behind the heads is counted as what came later.
    let (to_server, to_client) = (status.backends[0].traffic.bytes_in, status.backends[0].traffic.bytes_out);
    assert_eq!((to_server, to_client), (status.frontends[0].bytes_in, status.frontends[0].bytes_out));
    assert_eq!(to_server, HANDSHAKE.len() as u64 + 405);
    assert_eq!(to_client, head.len() as u64 + 410);
}

/// Agrees to every WebSocket and says everything again.
async fn echoing() -> Scripted {
    Scripted::start(|mut stream| async move {
        read_head(&mut stream).await.unwrap();
        let response =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(response.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

/// The clock is another connection, whose time for a request runs out long after those of client and server.
#[tokio::test]
async fn tunnel_timeout_stands_in_for_those_of_client_and_server_after_a_switch() {
    let server = echoing().await;
    let mut config = http_config(&[server.address]);
    config.frontends[0].timeout.client = Duration::from_millis(100);
    config.frontends[0].timeout.http_request = Duration::from_millis(900);
    config.backends[0].timeout.server = Duration::from_millis(100);
    config.backends[0].timeout.tunnel = Some(LONG);
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    read_head(&mut client).await.unwrap();
    assert_eq!(read_all(&mut connect(&proxy).await).await.unwrap(), b"");
    client.write_all(b"still here").await.unwrap();
    assert_eq!(read_n(&mut client, 10).await, b"still here");
}

#[tokio::test]
async fn tunnel_that_is_silent_for_longer_than_its_timeout_ends() {
    let server = echoing().await;
    let mut config = http_config(&[server.address]);
    config.backends[0].timeout.tunnel = Some(Duration::from_millis(200));
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    read_head(&mut client).await.unwrap();
    // The others are far longer.
    eventually("it is cut off", || proxy.status().connections == 0).await;
    let timeouts = || counter(&proxy, "client_timeouts_total") + counter(&proxy, "server_timeouts_total");
    eventually("it is counted", || timeouts() == 1).await;
}

#[tokio::test]
async fn h33_what_follows_a_refused_upgrade_is_parsed_as_the_next_request() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    // The payload of CVE-2026-2833: a tunnel opened by the request alone would pass the second one unseen.
    let evil = "GET /admin HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: y\r\n\r\n";
    client.write_all(format!("{HANDSHAKE}{evil}{GET}").as_bytes()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(answer(&mut client).await, OK);
    }
    assert_eq!(upstream.requests()[1..], ["GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", GET]);
    assert_eq!(proxy.status().frontends[0].requests_total, 3);
}

#[tokio::test]
async fn h33_switch_to_something_else_than_was_asked_for_is_502() {
    let upstream = Recording::answering(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    )
    .await;
    let mut config = http_config(&[upstream.server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, HANDSHAKE).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(witness.says().await, "502 PH--");
    assert_eq!(counter(&proxy, "bad_responses_total"), 1);
}

#[tokio::test]
async fn rules_on_responses_see_a_switch_and_can_refuse_it() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            read_head(&mut stream).await;
            let response =
                "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nServer: secret\r\n\r\n";
            stream.write_all(response.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            let _ = ended.send(rest);
        }
    })
    .await;
    let start = |action: Action| {
        let mut config = http_config(&[server.address]);
        let rule = Rule { when: Condition::Status(vec![101..=101]), then: vec![action] };
        config.frontends[0].response_rules = vec![rule];
        Proxy::start(config).unwrap()
    };
    let proxy = start(Action::DeleteHeader("Server".into()));
    let mut client = connect(&proxy).await;
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert_eq!(head, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.write_all(b"through").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(has_ended.recv().await.unwrap(), b"through");

    let proxy = start(Action::Deny(502));
    let mut client = connect(&proxy).await;
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let answer = answer(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(has_ended.recv().await.unwrap(), b"", "no tunnel");
    assert_eq!(counter(&proxy, "denied_responses_total"), 1);
}

#[tokio::test]
async fn tunnel_of_a_client_that_goes_away_ends_the_servers_side() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            read_head(&mut stream).await;
            let response = "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
            stream.write_all(response.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            ended.send(rest).unwrap();
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    read_head(&mut client).await.unwrap();
    client.write_all(b"bye").await.unwrap();
    drop(client);
    assert_eq!(tokio::time::timeout(LONG, has_ended.recv()).await.unwrap().unwrap(), b"bye");
}
