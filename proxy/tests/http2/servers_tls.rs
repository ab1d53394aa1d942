//! Servers with which HTTP/2 is agreed on in the handshake of TLS, and checks in HTTP/2.

use std::{
    io::{Read, Write},
    num::NonZeroUsize,
    sync::Arc,
};

use lb_proxy::{
    Config,
    config::{CheckKind, HttpCheck, HttpExpect, Mode, ServerTls, ServerVerify},
};
use rustls::version::TLS13;
use tokio::io::AsyncWriteExt;

use super::{
    client,
    frames::*,
    rig,
    secured::{Issuer, Peer, Secured, read_request},
    server::{self, Connection},
};

const NOTHING_VERIFIED: ServerVerify = ServerVerify::Nothing;

/// Answers in what was agreed on.
fn answer(peer: &mut Peer) {
    if peer.conn.alpn_protocol() != Some(b"h2") {
        while read_request(peer).is_some() {
            peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhttp/1.1").unwrap();
        }
        return;
    }
    let mut preface = [0; PREFACE.len()];
    peer.read_exact(&mut preface).unwrap();
    peer.write_all(&frame(SETTINGS, 0, 0, b"")).unwrap();
    let mut bytes = Vec::new();
    loop {
        while let Some((next, length)) = Frame::read(&bytes) {
            bytes.drain(..length);
            if next.kind == HEADERS {
                // `:scheme https` stands behind the method.
                assert_eq!(next.payload[1], 0x87);
                let head = [field(":status", "200"), field("content-length", "2")].concat();
                let answer = [
                    frame(HEADERS, END_HEADERS, next.stream, &head),
                    frame(DATA, END_STREAM, next.stream, b"h2"),
                ];
                peer.write_all(&answer.concat()).unwrap();
            }
        }
        let mut room = [0; 4096];
        match peer.read(&mut room) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&room[..n]),
            _ => return,
        }
    }
}

/// A server that agrees on these, and a configuration for it.
fn secured(protocols: &[&str]) -> (Secured, Config) {
    let mut own = Issuer::new().issues(&["a.example"]).config(&[&TLS13]);
    own.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let server = Secured::start(own, answer);
    let mut config = rig::config(Mode::Http, &[server.address]);
    config.threads = NonZeroUsize::MIN;
    let alpn = vec!["h2".into(), "http/1.1".into()];
    let tls = Arc::new(ServerTls { verify: NOTHING_VERIFIED, alpn, ..ServerTls::default() });
    let of_backend = &mut config.backends[0].servers[0];
    (of_backend.tls, of_backend.check_tls) = (Some(Arc::clone(&tls)), Some(tls));
    (server, config)
}

#[tokio::test]
async fn what_is_agreed_on_is_spoken() {
    for (protocols, expected) in
        [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1"), (&[], "http/1.1")]
    {
        let (server, config) = secured(protocols);
        let proxy = client::start(config);
        let mut clients = [rig::connect(&proxy).await, rig::connect(&proxy).await];
        for _ in 0..3 {
            for client in &mut clients {
                client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
                assert!(rig::read_head(client).await.unwrap().starts_with("HTTP/1.1 200 "));
                assert_eq!(rig::read_n(client, expected.len()).await, expected.as_bytes());
            }
        }
        let connections = server.seen().len();
        assert_eq!(connections, 1, "{protocols:?}");
    }
}

fn wants(status: u16) -> CheckKind {
    let expect = HttpExpect { status: vec![status..=status], ..HttpExpect::default() };
    CheckKind::Http(Box::new(HttpCheck { expect, ..HttpCheck::new("GET", "/check") }))
}

#[tokio::test]
async fn check_of_such_a_server_is_a_request_in_http_2() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        let asked = connection.asked().await.unwrap();
        connection.answer(asked.stream, b"fine").await;
        while connection.next().await.is_some() {}
    })
    .await;
    for (status, is_up) in [(200, true), (204, false)] {
        let mut configs = vec![server::config(&[&server])];
        let (_secured, over_tls) = secured(&["h2"]);
        configs.push(over_tls);
        for mut config in configs {
            config.backends[0].check = Some(rig::quick_check(wants(status)));
            let proxy = client::start(config);
            let expected = if is_up { "200" } else { "200 instead of 204" };
            let mut seen = String::new();
            rig::eventually(expected, || {
                let server = &proxy.status().backends[0].servers[0];
                seen = format!("{server:?}");
                seen.contains("200")
            })
            .await;
            assert_eq!(seen.contains("L7Ok"), is_up, "{seen}");
        }
    }
}

#[tokio::test]
async fn check_says_what_is_wrong_with_a_server_that_does_not_speak_it() {
    let server = rig::Scripted::start(async |mut stream| {
        let _ = tokio::io::AsyncReadExt::read_u8(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let mut config = server::config(&[&server]);
    config.backends[0].check = Some(rig::quick_check(wants(200)));
    let proxy = client::start(config);
    rig::eventually("the check says it", || {
        format!("{:?}", proxy.status().backends[0].servers[0]).contains("HTTP/1 is spoken, not HTTP/2")
    })
    .await;
}
