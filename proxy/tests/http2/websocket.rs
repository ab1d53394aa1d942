//! WebSocket over HTTP/2 (RFC 8441): a stream that is a tunnel, to a server of HTTP/1.1.

use std::time::Duration;

use lb_proxy::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    client::{self, Client, config, start},
    frames::*,
    peer, rig,
    rig::Scripted,
    rules::PROTOCOL_ERROR,
};

pub(crate) const CANCEL: u32 = 8;

/// Extended CONNECT on this stream.
pub(crate) fn connect(stream: u32, flags: u8, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let first = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "a.example"),
        ("sec-websocket-version", "13"),
    ];
    let block: Vec<u8> = first.iter().chain(fields).flat_map(|(name, value)| field(name, value)).collect();
    frame(HEADERS, flags | END_HEADERS, stream, &block)
}

/// What a server answers to the key in this head.
pub(crate) fn accepted(head: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    assert_eq!(key.len(), 24, "{head}");
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let sha1 = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let mut accept = Vec::new();
    lb_proxy::sample::base64::encode(sha1.as_ref(), &mut accept);
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        String::from_utf8(accept).unwrap()
    )
}

/// Agrees to every WebSocket, says `hello` and then everything again; tells of the heads.
pub(crate) async fn echoing() -> (Scripted, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            let Some(head) = rig::read_head(&mut stream).await else { return };
            stream.write_all(format!("{}hello", accepted(&head)).as_bytes()).await.unwrap();
            tell.send(head).unwrap();
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        }
    })
    .await;
    (server, told)
}

/// Content on this stream until so many bytes of it are there; windows are opened for it.
pub(crate) fn content(client: &mut Client, stream: u32, length: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < length {
        let next = client.next(DATA);
        assert_eq!(next.stream, stream);
        let more = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
        client.send(&[frame(WINDOW_UPDATE, 0, 0, &more), frame(WINDOW_UPDATE, 0, stream, &more)].concat());
        content.extend(next.payload);
    }
    content
}

/// Opens a tunnel on this stream to a server that says hello.
pub(crate) fn open(client: &mut Client, stream: u32, path: &str) {
    client.send(&connect(stream, 0, path, &[]));
    status(client);
    assert_eq!(content(client, stream, 5), b"hello");
}

/// Says something there, and gets it back.
pub(crate) fn echo(client: &mut Client, stream: u32, flags: u8, text: &[u8]) {
    client.send(&frame(DATA, flags, stream, text));
    assert!(content(client, stream, text.len()) == text);
}

pub(crate) fn status(client: &mut Client) -> Vec<(String, String)> {
    let head = client.next(HEADERS);
    assert_eq!(head.flags & END_STREAM, 0);
    client.decode(&head.payload)
}

/// With TLS and without; as much as windows hold goes both ways, and each side ends for itself.
#[tokio::test]
async fn stream_is_a_tunnel_once_the_server_has_agreed() {
    for is_secure in [false, true] {
        let (server, mut told) = echoing().await;
        let configure = if is_secure { client::config_over_tls } else { config };
        let proxy = start(configure(&[server.address]));
        let address = rig::address(&proxy);
        peer::apart(move || {
            let mut client =
                if is_secure { Client::silent_over_tls(address) } else { Client::silent(address) };
            client.begin();
            let settings = client.next(SETTINGS).payload;
            assert!(settings.chunks(6).any(|entry| entry == [0, 8, 0, 0, 0, 1]), "{settings:?}");
            // What comes early waits; the key is none of the client's.
            client.send(&connect(1, 0, "/chat?a=b", &[("sec-websocket-key", "mine"), ("origin", "x")]));
            client.send(&frame(DATA, 0, 1, b"early"));
            let fields = status(&mut client);
            let expected = [(":status", "200"), ("sec-websocket-protocol", "chat")];
            assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
            assert_eq!(content(&mut client, 1, 10), b"helloearly");
            for round in 0..20_u8 {
                echo(&mut client, 1, 0, &[round; 16_000]);
            }
            // Others go on beside it.
            open(&mut client, 3, "/other");
            echo(&mut client, 1, END_STREAM, b"bye");
            let end = client.next(DATA);
            assert_eq!((end.stream, end.flags & END_STREAM, &*end.payload), (1, END_STREAM, &b""[..]));
            echo(&mut client, 3, 0, b"still");
        })
        .await;
        let head = told.recv().await.unwrap();
        assert!(head.starts_with("GET /chat?a=b HTTP/1.1\r\nhost: a.example\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-version: 13\r\norigin: x\r\n"), "{head}");
        assert!(head.ends_with("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), "{head}");
        assert_eq!(head.matches("sec-websocket-key").count(), 1, "{head}");
        let status = proxy.status();
        assert_eq!(status.frontends[0].responses[1], 2, "as of any server that switches");
    }
}

/// Whatever stands for no: the status is the client's, and what it has sent early is nobody's request.
#[tokio::test]
async fn what_is_no_agreement_is_no_tunnel() {
    let no_key = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let other_key = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (answer, expected) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "403"),
        ("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", "426"),
        // 2xx would be a tunnel to the client.
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "502"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "502"),
        (no_key, "502"),
        (other_key, "502"),
    ] {
        let (server, mut told) = client::scripted(answer).await;
        let proxy = start(config(&[server.address]));
        let address = rig::address(&proxy);
        peer::apart(move || {
            let mut client = Client::begun(address);
            client.send(&connect(1, 0, "/chat", &[]));
            client.send(&frame(DATA, 0, 1, b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"));
            let said = client.answer(1);
            assert_eq!(said.status(), expected, "{answer}");
            // The rest of the tunnel that is none is not waited for.
            assert_eq!(client.next(RST_STREAM).code(), 0, "{answer}");
            client.send(&frame(DATA, 0, 1, b"late"));
            assert_eq!(client.so_far(), (vec![], true), "{answer}");
        })
        .await;
        let status = proxy.status();
        assert_eq!(status.frontends[0].requests_total, 1, "{answer}");
        // Anybody may ask any page for a WebSocket: that it is none is not the server's fault.
        let errors = status.backends[0].servers[0].traffic.response_errors;
        assert_eq!(errors, u64::from(answer.starts_with("HTTP/1.1 101")), "{answer}");
        drop(proxy);
        let received = tokio::time::timeout(rig::LONG, told.recv()).await.unwrap().unwrap();
        assert!(received.ends_with(b"\r\nUpgrade: websocket\r\n\r\n"), "{answer}: {received:?}");
    }
}

/// Nobody has to ask a server for that, and what lbctl says itself is no tunnel either.
#[tokio::test]
async fn answers_of_ours_are_no_tunnel() {
    let mut asked = config(&[]);
    asked.frontends[0].monitor =
        Some(lb_proxy::config::Monitor { uri: "/alive".to_owned(), fail_if: Vec::new() });
    asked.frontends[0].default_backend = None;
    asked.backends.clear();
    let proxy = start(asked);
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        for (stream, path, expected) in [(1, "/alive", "502"), (3, "/nowhere", "503"), (5, "/alive", "502")] {
            client.send(&connect(stream, 0, path, &[]));
            client.send(&frame(DATA, END_STREAM, stream, b"early"));
            assert_eq!(client.answer(stream).status(), expected, "{path}");
        }
        client.get(7, "/alive", &[]);
        assert_eq!(client.answer(7).status(), "200");
    })
    .await;
}

/// RFC 8441 §3: who was not told of it may not ask, and asks in the way of HTTP/1.1.
#[tokio::test]
async fn listener_without_websockets_does_not_offer_them() {
    let (server, _told) = echoing().await;
    let mut config = config(&[server.address]);
    config.frontends[0].without_websocket = [0].into();
    let mut also = config.clone();
    also.frontends[0].without_websocket.clear();
    let proxy = start(config);
    let address = rig::address(&proxy);
    let mut client = peer::apart(move || {
        let mut client = Client::begun(address);
        let settings = client.next(SETTINGS).payload;
        assert!(!settings.chunks(6).any(|entry| entry == [0, 8, 0, 0, 0, 1]), "{settings:?}");
        client.send(&connect(1, 0, "/chat", &[]));
        assert_eq!(client.next(RST_STREAM).code(), PROTOCOL_ERROR);
        assert!(client.so_far().1);
        client
    })
    .await;
    // Connections that a reload finds go on as they have begun; later ones are told.
    proxy.reload(also).await.unwrap();
    peer::apart(move || {
        client.send(&connect(3, 0, "/chat", &[]));
        assert_eq!(client.next(RST_STREAM).code(), PROTOCOL_ERROR);
        open(&mut Client::begun(address), 1, "/chat");
    })
    .await;
}

/// RFC 8441 §4, RFC 9113 §8.1.1, §8.5.
#[tokio::test]
async fn what_is_no_extended_connect_is_refused() {
    let (server, _told) = echoing().await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        let (method, protocol) = ((":method", "CONNECT"), (":protocol", "websocket"));
        let (scheme, path, authority) = ((":scheme", "https"), (":path", "/"), (":authority", "a"));
        let malformed: [&[(&str, &str)]; 8] = [
            &[(":method", "GET"), protocol, scheme, path, authority],
            &[method, protocol, path, authority],
            &[method, protocol, scheme, authority],
            &[method, protocol, scheme, path],
            &[method, protocol, protocol, scheme, path, authority],
            &[method, protocol, scheme, path, authority, ("content-length", "0")],
            &[method, protocol, scheme, path, authority, ("upgrade", "websocket")],
            &[method, scheme, path, authority],
        ];
        for (stream, fields) in (1..).step_by(2).zip(malformed) {
            let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
            client.send(&frame(HEADERS, END_HEADERS, stream, &block));
            let reset = client.next(RST_STREAM);
            assert_eq!((reset.stream, reset.code()), (stream, PROTOCOL_ERROR), "{fields:?}");
        }
        // Another protocol is not malformed, and not spoken.
        let other = [method, (":protocol", "connect-udp"), scheme, path, authority];
        let block: Vec<u8> = other.iter().flat_map(|(name, value)| field(name, value)).collect();
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 101, &block));
        assert_eq!(client.answer(101).status(), "405");
        // Fields behind content.
        client.send(&connect(103, 0, "/", &[]));
        status(&mut client);
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 103, &field("x", "y")));
        assert_eq!(client.next(RST_STREAM).code(), PROTOCOL_ERROR);
        assert!(client.so_far().1);
    })
    .await;
}

/// RFC 8441 §5: as a connection that is reset.
#[tokio::test]
async fn reset_of_one_side_is_one_of_the_other() {
    // Of the server, without a word.
    let server = Scripted::start(|mut stream: TcpStream| async move {
        let Some(head) = rig::read_head(&mut stream).await else { return };
        stream.write_all(accepted(&head).as_bytes()).await.unwrap();
        let _ = stream.read_u8().await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&connect(1, 0, "/", &[]));
        status(&mut client);
        client.send(&frame(DATA, 0, 1, b"x"));
        assert_eq!(client.next(RST_STREAM).code(), CANCEL);
        assert!(client.so_far().1);
    })
    .await;
    // Of the client.
    let (server, mut told) = client::scripted("HTTP/1.1 103 Early Hints\r\n\r\n").await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&connect(1, 0, "/", &[]));
        let hints = client.next(HEADERS);
        assert_eq!(client.decode(&hints.payload), [(":status".to_owned(), "103".to_owned())]);
        client.send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()));
        assert!(client.so_far().1);
        client
    })
    .await;
    tokio::time::timeout(rig::LONG, told.recv()).await.unwrap().unwrap();
    drop(client);
}

/// The server says nothing any more: neither does a stream that is there keep it.
#[tokio::test]
async fn tunnel_that_is_silent_ends_by_its_timeout() {
    let (server, _told) = echoing().await;
    let mut config = config(&[server.address]);
    config.backends[0].timeout.tunnel = Some(Duration::from_millis(200));
    let proxy: Proxy = start(config);
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        open(&mut client, 1, "/");
        assert_eq!(client.next(RST_STREAM).code(), CANCEL);
        assert!(client.so_far().1);
    })
    .await;
}
