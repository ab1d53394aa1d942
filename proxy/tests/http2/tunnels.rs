//! Tunnels (RFC 8441) at their edges: what comes before one is open and when a side ends it, and what the node does meanwhile.

use std::{io::ErrorKind, time::Duration};

use lb_proxy::Proxy;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc::unbounded_channel, watch},
};

use super::{
    client::{self, Client, config, start},
    frames::*,
    peer, rig,
    rig::Scripted,
    websocket::{CANCEL, accepted, connect, content, echo, echoing, open, status},
};

/// A client with a tunnel to an echo.
async fn opened(proxy: &Proxy) -> Client {
    let address = rig::address(proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        open(&mut client, 1, "/");
        client
    })
    .await
}

/// Says something, and gets it back.
async fn echoes(mut client: Client, text: &'static [u8]) -> Client {
    peer::apart(move || {
        echo(&mut client, 1, 0, text);
        client
    })
    .await
}

#[tokio::test]
async fn tunnel_goes_on_under_another_configuration() {
    let (old, _told) = echoing().await;
    let (new, mut told_new) = echoing().await;
    let proxy = start(config(&[old.address]));
    let client = echoes(opened(&proxy).await, b"before").await;
    proxy.reload(config(&[new.address])).await.unwrap();
    let client = echoes(client, b"behind").await;
    // Another one of the same connection is the new server's.
    let mut client = peer::apart(move || {
        let mut client = client;
        open(&mut client, 3, "/new");
        client
    })
    .await;
    assert!(told_new.recv().await.unwrap().starts_with("GET /new "));
    peer::apart(move || {
        echo(&mut client, 1, END_STREAM, b"bye");
        assert_eq!(client.next(DATA).flags & END_STREAM, END_STREAM);
    })
    .await;
}

/// Like any exchange in flight: until it ends, or the time for that is over.
#[tokio::test]
async fn tunnel_is_served_while_the_node_drains_and_cut_at_the_end_of_that() {
    for is_ended in [true, false] {
        let (server, _told) = echoing().await;
        let proxy = std::sync::Arc::new(start(config(&[server.address])));
        let client = opened(&proxy).await;
        let drained = tokio::spawn({
            let proxy = std::sync::Arc::clone(&proxy);
            let time = if is_ended { rig::LONG } else { Duration::from_millis(500) };
            async move { proxy.drain(time).await }
        });
        let client = peer::apart(move || {
            let mut client = client;
            assert_eq!(client.next(GOAWAY).code(), 0);
            let ping = client.next(PING);
            client.send(&frame(PING, ACK, 0, &ping.payload));
            assert_eq!(client.next(GOAWAY).payload[..4], [0, 0, 0, 1]);
            client
        })
        .await;
        let mut client = echoes(client, b"still").await;
        if is_ended {
            client = peer::apart(move || {
                echo(&mut client, 1, END_STREAM, b"bye");
                client
            })
            .await;
        }
        tokio::time::timeout(rig::LONG, drained).await.unwrap().unwrap();
        drop(proxy);
        peer::apart(move || while client.frame().is_some() {}).await;
    }
}

/// It waits, as far as the window goes; what is more is an error of the stream.
#[tokio::test]
async fn what_comes_before_a_tunnel_waits_for_it() {
    for excess in [0, 1] {
        let (agree, agreed) = watch::channel(false);
        let server = Scripted::start(move |mut stream: TcpStream| {
            let mut agreed = agreed.clone();
            async move {
                let Some(head) = rig::read_head(&mut stream).await else { return };
                if agreed.wait_for(|agreed| *agreed).await.is_err() {
                    return;
                }
                stream.write_all(accepted(&head).as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        })
        .await;
        let proxy = start(config(&[server.address]));
        let address = rig::address(&proxy);
        let early: Vec<u8> = (0..65_535_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let sent = early.clone();
        let client = peer::apart(move || {
            let mut client = Client::begun(address);
            client.send(&connect(1, 0, "/", &[]));
            sent.chunks(16_384).for_each(|part| client.send(&frame(DATA, 0, 1, part)));
            if excess > 0 {
                client.send(&frame(DATA, 0, 1, b"x"));
                assert_eq!(client.next(RST_STREAM).code(), 3, "FLOW_CONTROL_ERROR");
            }
            assert_eq!(client.so_far(), (vec![], true));
            client
        })
        .await;
        agree.send(true).unwrap();
        peer::apart(move || {
            let mut client = client;
            if excess > 0 {
                // Others are as well off as before.
                client.send(&connect(3, 0, "/", &[]));
                status(&mut client);
                return;
            }
            status(&mut client);
            assert!(content(&mut client, 1, early.len()) == early);
            // And the window is open again.
            (0..8).for_each(|_| echo(&mut client, 1, 0, &early[..16_000]));
        })
        .await;
    }
}

/// A client that has nothing to say from the start.
#[tokio::test]
async fn request_that_ends_its_stream_is_a_tunnel_of_one_side() {
    let (server, _told) = echoing().await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&connect(1, END_STREAM, "/", &[]));
        status(&mut client);
        assert_eq!(content(&mut client, 1, 5), b"hello");
        let end = client.next(DATA);
        assert_eq!((end.flags & END_STREAM, &*end.payload), (END_STREAM, &b""[..]));
        client.get(3, "/", &[]);
        assert!(client.so_far().1);
    })
    .await;
}

/// RFC 9113 §6.9.1: padding counts, also of what nobody gets.
#[tokio::test]
async fn padded_content_of_a_refused_tunnel_costs_others_no_window() {
    let (release, released) = watch::channel(false);
    let server = Scripted::start(move |mut stream: TcpStream| {
        let mut released = released.clone();
        async move {
            let Some(head) = rig::read_head(&mut stream).await else { return };
            let status = if head.starts_with("POST") { "200 OK" } else { "403 Forbidden" };
            stream
                .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n").as_bytes())
                .await
                .unwrap();
            if !head.starts_with("POST") {
                let _ = released.wait_for(|released| *released).await;
            }
            let _ = stream.write_all(b"no").await;
            while stream.read(&mut [0; 4096]).await.unwrap_or(0) > 0 {}
        }
    })
    .await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        // A byte with the length of the padding, 100 of content, 155 of padding.
        let padded = [&[155][..], &[b'x'; 100], &[0; 155]].concat();
        for stream in (1..=23).step_by(2) {
            client.send(&connect(stream, 0, "/", &[]));
            assert_eq!(status(&mut client)[0].1, "403");
            (0..250).for_each(|_| client.send(&frame(DATA, PADDED, stream, &padded)));
            assert!(client.so_far().1, "twelve of them are three windows of the connection");
        }
        client
    })
    .await;
    peer::apart(move || {
        let mut client = client;
        client.send(&client::request(25, 0, "POST", "/", &[]));
        client.send(&frame(DATA, END_STREAM, 25, &[b'x'; 16_000]));
        assert_eq!(client.answer(25).content, b"no");
    })
    .await;
    drop(release);
}

/// Each side ends for itself, whichever is first.
#[tokio::test]
async fn server_that_ends_first_is_still_told() {
    let (tell, mut told) = unbounded_channel();
    let server = Scripted::start(move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            let Some(head) = rig::read_head(&mut stream).await else { return };
            stream.write_all(format!("{}last words", accepted(&head)).as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = tell.send(rig::read_all(&mut stream).await.unwrap());
        }
    })
    .await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&connect(1, 0, "/", &[]));
        status(&mut client);
        assert_eq!(content(&mut client, 1, 10), b"last words");
        assert_eq!(client.next(DATA).flags & END_STREAM, END_STREAM);
        for part in [&b"and "[..], b"an answer"] {
            client.send(&frame(DATA, 0, 1, part));
        }
        client.send(&frame(DATA, END_STREAM, 1, b""));
        assert_eq!(client.so_far(), (vec![], true));
        client
    })
    .await;
    assert_eq!(tokio::time::timeout(rig::LONG, told.recv()).await.unwrap().unwrap(), b"and an answer");
    drop(client);
}

/// RFC 8441 §5: RST_STREAM is a reset of TCP, and the other way round; others on the connection go on.
#[tokio::test]
async fn reset_of_an_open_tunnel_reaches_the_other_side() {
    let (tell, mut told) = unbounded_channel();
    let server = Scripted::start(move |mut stream: TcpStream| {
        let tell = tell.clone();
        async move {
            let Some(head) = rig::read_head(&mut stream).await else { return };
            stream.write_all(format!("{}hello", accepted(&head)).as_bytes()).await.unwrap();
            if head.starts_with("GET /of-server ") {
                let _ = stream.read_u8().await;
                socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            } else {
                let _ = tell.send(rig::read_all(&mut stream).await.map_err(|error| error.kind()));
            }
        }
    })
    .await;
    let proxy = start(config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        for (stream, path) in [(1, "/of-client"), (3, "/of-server")] {
            open(&mut client, stream, path);
        }
        client.send(&frame(DATA, 0, 3, b"x"));
        let reset = client.next(RST_STREAM);
        assert_eq!((reset.stream, reset.code()), (3, CANCEL));
        client.send(&frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()));
        assert_eq!(client.so_far(), (vec![], true));
        client
    })
    .await;
    let ended = tokio::time::timeout(rig::LONG, told.recv()).await.unwrap().unwrap();
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    drop(client);
}
