//! Clients that cost more than they are worth, and those that only seem to.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::io::AsyncWriteExt;

use super::{
    client::{self, Client, request},
    frames::*,
    peer, rig,
    rules::ENHANCE_YOUR_CALM,
};

/// What is sent the n-th time.
type Flood = Box<dyn FnMut(u32) -> Vec<u8> + Send>;

/// Sends this over and over, until the connection ends; with what code.
fn flood(client: &mut Client, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    for n in 0..20_000 {
        client.send(&next(n));
        if n % 100 == 99 {
            let (frames, is_there) = client.so_far();
            if !is_there {
                return frames
                    .iter()
                    .find(|frame| frame.kind == GOAWAY)
                    .expect("it ended without a word")
                    .code();
            }
        }
    }
    panic!("it is still there");
}

#[tokio::test]
async fn floods_end_in_enhance_your_calm() {
    let (server, _told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let floods: Vec<(&str, Flood)> = vec![
        ("PING", Box::new(|_| frame(PING, 0, 0, b"12345678"))),
        ("SETTINGS", Box::new(|_| frame(SETTINGS, 0, 0, b""))),
        ("PRIORITY", Box::new(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 7]))),
        ("WINDOW_UPDATE", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))),
        ("unknown frames", Box::new(|_| frame(0xfe, 0, 0, b""))),
        // CVE-2023-44487
        (
            "requests that are given up",
            Box::new(|n| [get(2 * n + 1), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat()),
        ),
        ("malformed requests", Box::new(|n| request(2 * n + 1, END_STREAM, "GET", "no path", &[]))),
        // CVE-2025-8671: it makes us reset each.
        (
            "requests that have to be reset",
            Box::new(|n| [get(2 * n + 1), frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4])].concat()),
        ),
        ("DATA without content", Box::new(|n| if n == 0 { post(1) } else { frame(DATA, 0, 1, b"") })),
        ("padding alone", Box::new(|n| if n == 0 { post(1) } else { frame(DATA, PADDED, 1, &[0]) })),
        (
            "CONTINUATION",
            Box::new(|n| {
                let first = frame(HEADERS, END_STREAM, 2 * n + 1, b"");
                [
                    first,
                    frame(CONTINUATION, 0, 2 * n + 1, b""),
                    frame(CONTINUATION, END_HEADERS, 2 * n + 1, GET),
                    frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
    ];
    let count = floods.len() as u64;
    peer::apart(move || {
        for (what, next) in floods {
            let mut client = Client::begun(address);
            assert_eq!(flood(&mut client, next), ENHANCE_YOUR_CALM, "{what}");
        }
        // Everybody else is served.
        let mut client = Client::begun(address);
        client.get(1, "/now", &[]);
        assert_eq!(client.answer(1).status(), "200");
    })
    .await;
    rig::counted(&proxy, "http2_floods_total", count).await;
}

#[tokio::test]
async fn what_ends_a_stream_alone_is_counted() {
    let (server, _told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        for stream in [1, 3] {
            client.send(&request(stream, END_STREAM, "GET", "no path", &[]));
            assert_eq!(client.answer(stream).reset, Some(super::rules::PROTOCOL_ERROR));
        }
        client.get(5, "/now", &[]);
        assert_eq!(client.answer(5).status(), "200");
    })
    .await;
    rig::counted(&proxy, "http2_stream_errors_total", 2).await;
    rig::counted(&proxy, "http2_errors_total", 0).await;
}

/// A browser that leaves a page gives up all that it has asked for, again and again.
#[tokio::test]
async fn client_that_gives_up_a_page_is_no_flood() {
    let (server, _told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        for page in 0..2_u32 {
            let streams: Vec<u32> = (0..100).map(|n| 2 * (100 * page + n) + 1).collect();
            for stream in &streams {
                client.get(*stream, "/never", &[]);
            }
            assert_eq!(client.so_far(), (vec![], true));
            for stream in streams {
                client.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
        }
        client.get(401, "/now", &[]);
        assert_eq!(client.answer(401).status(), "200");
    })
    .await;
}

/// A server whose answer has no end, and how many bytes of it were taken.
async fn endless() -> (rig::Scripted, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let server = rig::Scripted::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            rig::read_head(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await;
            while stream.write_all(&[7; 10_000]).await.is_ok() {
                count.fetch_add(10_000, Ordering::SeqCst);
            }
        }
    })
    .await;
    (server, sent)
}

/// A client that asks for something, takes whatever comes, and reads nothing.
async fn that_reads_nothing(address: SocketAddr) -> Client {
    peer::apart(move || {
        let mut client = Client::silent(address);
        let windows = frame(SETTINGS, 0, 0, &setting(4, (1 << 31) - 1));
        client.send(&[PREFACE, &windows, &frame(WINDOW_UPDATE, 0, 0, &[0x70, 0, 0, 0]), &get(1)].concat());
        client
    })
    .await
}

/// Its streams end, and so does the connection: what waits to be sent is not kept for it.
#[tokio::test]
async fn client_that_reads_nothing_is_closed_in_the_end() {
    let (server, _sent) = endless().await;
    let mut config = client::config(&[server.address]);
    let timeout = &mut config.frontends[0].timeout;
    (timeout.client, timeout.http_keep_alive) = (Duration::from_millis(300), Duration::from_millis(300));
    let proxy = client::start(config);
    let client = that_reads_nothing(rig::address(&proxy)).await;
    rig::eventually("it is there", || proxy.status().connections == 1).await;
    rig::eventually("it is gone", || proxy.status().connections == 0).await;
    drop(client);
}

/// A client that reads nothing holds its server up, and nothing piles up here.
#[tokio::test]
async fn client_that_reads_nothing_holds_its_server_up() {
    let (server, sent) = endless().await;
    let proxy = client::start(client::config(&[server.address]));
    let client = that_reads_nothing(rig::address(&proxy)).await;
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = sent.load(Ordering::SeqCst);
        if now > 0 && now == before {
            break;
        }
        assert!(now < 500_000_000, "{now} bytes were taken for a client that reads none");
        before = now;
    }
    drop(client);
}
