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

/// One whose beginning comes first.
fn behind(first: Vec<u8>, mut next: impl FnMut(u32) -> Vec<u8> + Send + 'static) -> Flood {
    Box::new(move |n| if n == 0 { first.clone() } else { next(n) })
}

fn malformed(stream: u32) -> Vec<u8> {
    request(stream, END_STREAM, "GET", "no path", &[])
}

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
        ("malformed requests", Box::new(|n| malformed(2 * n + 1))),
        // CVE-2025-8671: it makes us reset each.
        (
            "requests that have to be reset",
            Box::new(|n| [get(2 * n + 1), frame(WINDOW_UPDATE, 0, 2 * n + 1, &[0; 4])].concat()),
        ),
        ("DATA without content", behind(post(1), |_| frame(DATA, 0, 1, b""))),
        ("padding alone", behind(post(1), |_| frame(DATA, PADDED, 1, &[0]))),
        // It has to have something to wait for, else the connection ends with the first.
        ("GOAWAY", behind(post(1), |_| frame(GOAWAY, 0, 0, &[0; 8]))),
        ("answers to SETTINGS", Box::new(|_| frame(SETTINGS, ACK, 0, b""))),
        ("answers to PING", Box::new(|_| frame(PING, ACK, 0, b"12345678"))),
        (
            "RST_STREAM of a closed stream",
            behind([get(1), frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])].concat(), |_| {
                frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])
            }),
        ),
        ("DATA on a stream that we have reset", behind(malformed(1), |_| frame(DATA, 0, 1, b"x"))),
        ("HEADERS on a stream that we have reset", behind(malformed(1), |_| get(1))),
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
            client.send(&malformed(stream));
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

/// Opens a window by one byte and takes that byte, over and over, until the connection ends; with what code.
fn drop_by_drop(client: &mut Client, stream: u32) -> u32 {
    for _ in 0..3000 {
        client.send(&frame(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 1]));
        loop {
            let frame = client.frame().expect("it ended without a word");
            match frame.kind {
                DATA => break,
                GOAWAY => return frame.code(),
                _ => {}
            }
        }
    }
    panic!("it is still there");
}

/// CVE-2019-9511: each byte of content would be a frame of its own, for a frame of the client's.
#[tokio::test]
async fn window_that_is_opened_byte_by_byte_ends_in_enhance_your_calm() {
    let (server, _sent) = endless().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        for (what, window, stream, first) in
            [("of a stream", 0, 1, 0), ("of the connection", (1 << 31) - 1, 0, 65_535)]
        {
            let mut client = Client::begun(address);
            client.send(&[frame(SETTINGS, 0, 0, &setting(4, window)), get(1)].concat());
            let mut received = 0;
            while received < first {
                received += client.next(DATA).payload.len();
            }
            assert_eq!(drop_by_drop(&mut client, stream), ENHANCE_YOUR_CALM, "{what}");
        }
        // One that has little room, and says so once it has read that, is none.
        let mut client = Client::begun(address);
        client.send(&[frame(SETTINGS, 0, 0, &setting(4, 256)), get(1)].concat());
        for _ in 0..2000 {
            let length = client.next(DATA).payload.len();
            assert!((1..=256).contains(&length), "{length}");
            let read = u32::try_from(length).unwrap().to_be_bytes();
            client.send(&[frame(WINDOW_UPDATE, 0, 1, &read), frame(WINDOW_UPDATE, 0, 0, &read)].concat());
        }
        assert!(client.so_far().1);
    })
    .await;
    rig::counted(&proxy, "http2_floods_total", 2).await;
}

/// A client that asks and opens no window holds servers up for `client` and no longer, however alive it is.
#[tokio::test]
async fn client_that_opens_no_window_loses_its_streams_whatever_it_pings() {
    let (server, _sent) = endless().await;
    let mut config = client::config(&[server.address]);
    config.frontends[0].timeout.client = Duration::from_millis(300);
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&[frame(SETTINGS, 0, 0, &setting(4, 0)), get(1), get(3), get(5)].concat());
        let mut ended = Vec::new();
        while ended.len() < 3 {
            let (frames, is_there) = client.so_far();
            assert!(is_there);
            ended.extend(frames.iter().filter(|frame| frame.kind == RST_STREAM).map(|frame| frame.stream));
            std::thread::sleep(Duration::from_millis(20));
        }
        ended.sort_unstable();
        assert_eq!(ended, [1, 3, 5]);
        client
    })
    .await;
    let servers = || proxy.status().backends[0].servers[0].in_flight;
    rig::eventually("its servers are free", || servers() == 0).await;
    drop(client);
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
