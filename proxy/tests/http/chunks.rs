//! Chunks of responses, as they come to a client: copied, or moved by the kernel where many of them wait.

use std::sync::Arc;

use lb_proxy::{Proxy, config::Splice};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Notify,
};

use crate::{
    peers::*,
    rig::{Scripted, connect, counter, eventually, read_all},
};

pub(crate) const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A chunk that is worth moving by itself, whatever else the socket has when it comes.
pub(crate) const LARGE: usize = 200_000;

/// What a server sends: its chunks, and the payload of them.
#[derive(Clone, Default)]
pub(crate) struct Content {
    pub(crate) wire: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Content {
    /// With a size in these words, and bytes that can be told from their neighbours.
    pub(crate) fn chunk(mut self, line: &str, size: usize) -> Self {
        let at = self.payload.len();
        self.payload.extend((at..at + size).map(|at| (at % 251) as u8));
        self.wire.extend(line.as_bytes());
        self.wire.extend(b"\r\n");
        self.wire.extend(&self.payload[at..]);
        self.wire.extend(b"\r\n");
        self
    }

    pub(crate) fn chunks(self, sizes: impl IntoIterator<Item = usize>) -> Self {
        sizes.into_iter().fold(self, |content, size| content.chunk(&format!("{size:x}"), size))
    }

    /// What is moved, and many chunks behind it.
    pub(crate) fn large() -> Self {
        Self::default().chunks([LARGE]).chunks([16 * 1024; 64]).chunks([LARGE])
    }

    pub(crate) fn then(mut self, text: &str) -> Self {
        self.wire.extend(text.as_bytes());
        self
    }

    pub(crate) async fn server(&self) -> Scripted {
        let wire = self.wire.clone();
        Scripted::start(move |mut stream| {
            let wire = wire.clone();
            async move {
                while read_head(&mut stream).await.is_some() {
                    stream.write_all(HEAD.as_bytes()).await.unwrap();
                    // Whoever resets the connection has seen enough.
                    if stream.write_all(&wire).await.is_err() {
                        break;
                    }
                }
            }
        })
        .await
    }
}

/// The payload of chunks and their trailers; `None` for what is missing when they end too early.
pub(crate) fn read_chunks(mut wire: &[u8]) -> (Vec<u8>, Option<String>) {
    let mut payload = Vec::new();
    loop {
        let Some(end) = wire.windows(2).position(|two| two == b"\r\n") else { return (payload, None) };
        let line = str::from_utf8(&wire[..end]).unwrap();
        assert!(line.len() <= 16 && !line.is_empty(), "{line:?}");
        let size = usize::from_str_radix(line, 16).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        wire = &wire[end + 2..];
        if size == 0 {
            let all = str::from_utf8(wire).unwrap();
            return (payload, all.strip_suffix("\r\n").map(str::to_owned));
        }
        assert!(!line.starts_with('0'), "{line:?}");
        if wire.len() < size + 2 {
            payload.extend(&wire[..wire.len().min(size)]);
            return (payload, None);
        }
        assert_eq!(&wire[size..size + 2], b"\r\n");
        payload.extend(&wire[..size]);
        wire = &wire[size + 2..];
    }
}

/// All that a client gets that asks with `fields` and ends the connection.
pub(crate) async fn ask_once(proxy: &Proxy, fields: &str) -> (String, Vec<u8>) {
    let mut client = connect(proxy).await;
    client
        .write_all(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n").as_bytes())
        .await
        .unwrap();
    let head = read_head(&mut client).await.unwrap();
    (head, read_all(&mut client).await.unwrap())
}

/// Any sizes, from one to the next.
fn sizes(seed: u64, most: usize) -> impl Iterator<Item = usize> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(1 + (state >> 33) as usize % most)
    })
}

#[tokio::test]
async fn chunks_of_any_sizes_reach_the_client_whole() {
    for (most, is_moved) in [(300_000, Some(true)), (40_000, None), (2_000, Some(false))] {
        for seed in 0..4 {
            let count = (20 << 20) / most;
            let content = Content::default().chunks(sizes(seed, most).take(count)).then("0\r\n\r\n");
            let server = content.server().await;
            let proxy = proxy_for(&server);
            let (_, wire) = ask_once(&proxy, "").await;
            let (payload, trailers) = read_chunks(&wire);
            assert!(payload == content.payload, "{most} {seed}");
            assert_eq!(trailers.as_deref(), Some(""), "{most} {seed}");
            eventually("all is counted", || proxy.status().frontends[0].bytes_out > wire.len() as u64).await;
            let spliced = counter(&proxy, "spliced_bytes_total");
            assert!(is_moved.is_none_or(|is_moved| (spliced > 0) == is_moved), "{most} {seed}: {spliced}");
        }
    }
}

#[tokio::test]
async fn what_is_no_plain_chunk_among_them_is_written_anew_or_dropped() {
    let wide = [LARGE, 16_384, 16_384, 70_000];
    let content = Content::large()
        .chunk("4000;a=\"b\"", 16_384)
        .chunks(wide)
        .chunk("0000000000010000", 65_536)
        .chunks(wide)
        .chunks([1, 2, 3])
        .chunks(wide)
        .chunk("FFFF", 65_535)
        .chunks(wide)
        .then("000;last\r\nX-Sum: 1\r\nContent-Length: 5\r\n\r\n");
    let server = content.server().await;
    let proxy = proxy_for(&server);
    let mut before = 0;
    for (fields, expected) in [("", ""), ("TE: trailers\r\n", "X-Sum: 1\r\n"), ("", "")] {
        let (_, wire) = ask_once(&proxy, fields).await;
        let (payload, trailers) = read_chunks(&wire);
        assert!(payload == content.payload);
        assert_eq!(trailers.as_deref(), Some(expected));
        let spliced = counter(&proxy, "spliced_bytes_total");
        assert!(spliced > before, "{spliced}");
        before = spliced;
    }
    // Each response was read to its end, and a look at the idle connection sees that nothing is on it.
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn what_follows_the_last_chunk_is_nobodys_response() {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    let content = Content::large().then("0\r\n\r\n").then(stray);
    let server = content.server().await;
    let proxy = proxy_for(&server);
    for _ in 0..2 {
        let (_, wire) = ask_once(&proxy, "").await;
        let (payload, trailers) = read_chunks(&wire);
        assert!(payload == content.payload);
        assert_eq!(trailers.as_deref(), Some(""));
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn wrong_chunks_end_the_response_before_them_and_never_look_complete() {
    for wrong in [
        "10000000000000000\r\nx",
        "4000\n",
        "4000 \r\n",
        "0x4000\r\n",
        "-4000\r\n",
        "\r\n",
        "4000\rx",
        "0\r\nno field\r\n\r\n",
        "0\r\n\n",
    ] {
        let content = Content::large().then(wrong);
        let server = content.server().await;
        let proxy = proxy_for(&server);
        let mut client = connect(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut client).await.unwrap(), HEAD);
        let mut wire = Vec::new();
        let _ = client.read_to_end(&mut wire).await;
        let (payload, trailers) = read_chunks(&wire);
        assert!(content.payload.starts_with(&payload), "{wrong:?}");
        assert_eq!(trailers, None, "{wrong:?}");
        let errors = || proxy.status().backends[0].servers[0].traffic.response_errors;
        eventually("it is counted", || errors() == 1).await;
        assert!(counter(&proxy, "spliced_bytes_total") > 0, "{wrong:?}");
    }
}

#[tokio::test]
async fn end_in_the_middle_of_what_is_moved_never_looks_complete() {
    let content = Content::large().then("100000\r\nabc");
    let wire = content.wire.clone();
    let server = Scripted::start(move |mut stream| {
        let wire = wire.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(HEAD.as_bytes()).await.unwrap();
            stream.write_all(&wire).await.unwrap();
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let (_, wire) = ask_once(&proxy, "").await;
    let (payload, trailers) = read_chunks(&wire);
    assert!(payload == [&content.payload[..], b"abc"].concat());
    assert_eq!(trailers, None);
    assert_eq!(counter(&proxy, "server_aborts_total"), 1);
}

#[tokio::test]
async fn clients_that_get_no_chunks_get_the_same_content() {
    let content = Content::large().chunks([LARGE]).then("0\r\n\r\n");
    let server = content.server().await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert!(read_all(&mut client).await.unwrap() == content.payload);
    assert_eq!(counter(&proxy, "spliced_bytes_total"), 0);
}

#[tokio::test]
async fn chunks_are_copied_where_the_file_says_so() {
    let content = Content::large().chunks([LARGE]).then("0\r\n\r\n");
    let server = content.server().await;
    let mut config = http_config(&[server.address]);
    config.frontends[0].options.splice = Splice::Request;
    let proxy = Proxy::start(config).unwrap();
    let (_, wire) = ask_once(&proxy, "").await;
    assert!(read_chunks(&wire).0 == content.payload);
    assert_eq!(counter(&proxy, "spliced_bytes_total"), 0);
}

/// Between a chunk that is moved whatever is behind it and one that is found: everything up to the cut has reached the client before
/// the rest is sent.
#[tokio::test]
async fn sizes_that_come_in_two_parts_are_found() {
    let content = Content::default().chunks([LARGE, 0x4000, LARGE]).then("0\r\n\r\n");
    let at = format!("{LARGE:x}\r\n").len() + LARGE;
    assert_eq!(&content.wire[at..at + 8], b"\r\n4000\r\n");
    for cut in at..=at + 8 {
        let (wire, has_come) = (content.wire.clone(), Arc::new(Notify::new()));
        let goes_on = Arc::clone(&has_come);
        let server = Scripted::start(move |mut stream| {
            let (wire, goes_on) = (wire.clone(), Arc::clone(&goes_on));
            async move {
                read_head(&mut stream).await;
                stream.set_nodelay(true).unwrap();
                stream.write_all(&[HEAD.as_bytes(), &wire[..cut]].concat()).await.unwrap();
                goes_on.notified().await;
                stream.write_all(&wire[cut..]).await.unwrap();
                let _ = read_head(&mut stream).await;
            }
        })
        .await;
        let proxy = proxy_for(&server);
        let mut client = connect(&proxy).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        read_head(&mut client).await.unwrap();
        // However it is framed: all of the first chunk's data.
        let mut wire = vec![0; LARGE];
        client.read_exact(&mut wire).await.unwrap();
        has_come.notify_one();
        client.read_to_end(&mut wire).await.unwrap();
        let (payload, trailers) = read_chunks(&wire);
        assert!(payload == content.payload, "{cut}");
        assert_eq!(trailers.as_deref(), Some(""), "{cut}");
        assert!(counter(&proxy, "spliced_bytes_total") > 0, "{cut}");
    }
}

/// A server whose chunk says that it is longer than can be: with what is here its size would begin anew at 0, and what the server sends would
/// frame itself. A reader of 32 bits would find the same in the second.
#[tokio::test]
async fn size_of_a_chunk_beyond_what_clients_count_never_reaches_one() {
    let behind = "\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npoisoned!";
    for size in ["FFFFFFFFFFFFFFFF", "100000005", "10000000"] {
        let wire = format!("{HEAD}1\r\n0\r\n{size}\r\n{behind}{}", "x".repeat(64 * 1024));
        let server = Scripted::start(move |mut stream| {
            let wire = wire.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(wire.as_bytes()).await;
            }
        })
        .await;
        let proxy = proxy_for(&server);
        let (_, got) = ask_once(&proxy, "").await;
        let (payload, trailers) = read_chunks(&got);
        assert_eq!(trailers, None, "{size}: it looks whole");
        assert!(payload.starts_with(format!("0{behind}").as_bytes()), "{size}");
        let longest = got.split(|&byte| byte == b'\n').next().unwrap();
        assert!(longest.len() <= "10000000\r".len(), "{size}: {}", longest.escape_ascii());
    }
}
