//! WebSocket: a tunnel only after the server agreed, and what looks like one and is none.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    peers::*,
    rig::{Scripted, connect, read_all, read_n},
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
    assert_eq!(
        read_head(&mut client).await.unwrap(),
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
    assert_eq!(proxy.status().frontends[0].responses[1], 1);
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
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, HANDSHAKE).await.starts_with("HTTP/1.1 502 "));
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
    assert_eq!(tokio::time::timeout(crate::rig::LONG, has_ended.recv()).await.unwrap().unwrap(), b"bye");
}
