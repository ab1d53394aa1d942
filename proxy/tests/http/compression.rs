//! Compressed responses: what a client reads is what the server sent, whatever its form and pace.

use std::process::Stdio;

use lb_proxy::{
    Config, Proxy,
    config::{Algorithm, BackendCompression, Compression},
    status::Compressed,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::mpsc,
    time::timeout,
};
use zlib_rs::{Inflate, InflateFlush};

use crate::{
    peers::*,
    rig::{LONG, Scripted, connect, counter, eventually, read_all},
};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n";

fn compressed(proxy: &Proxy) -> Compressed {
    proxy.status().frontends[0].compressed
}

fn start(server: &Scripted, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.address]);
    config.frontends[0].compression = Some(Compression { minimum_size: 0, ..Compression::default() });
    change(&mut config);
    Proxy::start(config).unwrap()
}

/// Answers every request with the same bytes, `pieces` of them at a time, and ends its side if there is no length.
async fn serving(response: Vec<u8>, piece: usize) -> Scripted {
    let is_framed = response.windows(5).any(|part| part == b"ength" || part == b"chunk");
    Scripted::start(move |mut stream| {
        let response = response.clone();
        async move {
            stream.set_nodelay(true).unwrap();
            while read_head(&mut stream).await.is_some() {
                for piece in response.chunks(piece) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                if !is_framed {
                    return;
                }
            }
        }
    })
    .await
}

/// The payload of a chunked content, whole.
async fn read_chunks(client: &mut TcpStream) -> Vec<u8> {
    let read = async {
        let mut payload = Vec::new();
        loop {
            let chunk = read_chunk(client).await;
            if chunk.is_empty() {
                return payload;
            }
            payload.extend(chunk);
        }
    };
    timeout(LONG * 3, read).await.expect("no whole response in time")
}

/// Of one chunk; empty for the last, with the end of the content.
async fn read_chunk(client: &mut TcpStream) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(client.read_u8().await.unwrap());
    }
    let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim_end(), 16).unwrap();
    let mut chunk = vec![0; size + 2];
    client.read_exact(&mut chunk).await.unwrap();
    assert!(chunk.ends_with(b"\r\n"));
    chunk.truncate(size);
    chunk
}

/// As the system's gzip reads it, with the check of its sum and length.
async fn gunzip(coded: Vec<u8>) -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the package gzip is missing");
    let mut stdin = gzip.stdin.take().unwrap();
    let (output, _) = tokio::join!(gzip.wait_with_output(), async move {
        stdin.write_all(&coded).await.unwrap();
        drop(stdin);
    });
    let output = output.unwrap();
    assert!(output.status.success());
    output.stdout
}

fn page(length: usize) -> Vec<u8> {
    let line = |n: usize| format!("<li>{n}: {}</li>\n", n.wrapping_mul(2_654_435_761) % 1_000_003);
    (0..).flat_map(|n| line(n).into_bytes()).take(length).collect()
}

fn chunked(content: &[u8], chunk: usize) -> Vec<u8> {
    let mut out =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in content.chunks(chunk) {
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nContent-Digest: x\r\nX-T: 1\r\n\r\n");
    out
}

fn with_length(content: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", content.len());
    [head.as_bytes(), content].concat()
}

#[tokio::test]
async fn content_is_read_back_whatever_its_framing_chunks_and_pace() {
    let until_close =
        |content: &[u8]| [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", content].concat();
    let (small, large) = (page(700), page(1 << 20));
    for (what, content, response, piece) in [
        ("at once", &small, with_length(&small), 1 << 20),
        ("byte by byte", &small, with_length(&small), 1),
        ("chunks byte by byte", &small, chunked(&small, 7), 1),
        ("chunks of one byte", &small, chunked(&small, 1), 100),
        ("no content in chunks", &Vec::new(), chunked(b"", 1), 1000),
        ("until close", &small, until_close(&small), 13),
        ("large", &large, with_length(&large), 1 << 20),
        ("large in buffers", &large, with_length(&large), 16 * 1024),
        ("large in chunks", &large, chunked(&large, 5000), 70_001),
        ("large until close", &large, until_close(&large), 4096),
    ] {
        let server = serving(response, piece).await;
        let proxy = start(&server, |_| {});
        let mut client = connect(&proxy).await;
        for _ in 0..2 {
            // Trailers are not passed on: they may be about the content that was.
            let ask = ASK.replace("\r\n\r\n", "\r\nTE: trailers\r\nConnection: te\r\n\r\n");
            client.write_all(ask.as_bytes()).await.unwrap();
            let head = read_head(&mut client).await.unwrap();
            assert_eq!(
                head,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nVary: Accept-Encoding\r\nContent-Encoding: gzip\r\n\
                 Transfer-Encoding: chunked\r\n\r\n",
                "{what}"
            );
            let coded = read_chunks(&mut client).await;
            let of_large = coded.len() < content.len() / 2;
            assert!(of_large || content.len() < 1 << 20, "{what}: {} bytes", coded.len());
            assert!(gunzip(coded).await == *content, "{what}");
        }
    }
}

#[tokio::test]
async fn other_coding_and_level_are_those_of_the_file() {
    let content = page(100_000);
    let server = serving(with_length(&content), 1 << 20).await;
    let mut lengths = Vec::new();
    for level in [1, 9] {
        let proxy = start(&server, |config| {
            let algorithms = vec![Algorithm::Deflate, Algorithm::Gzip];
            config.frontends[0].compression =
                Some(Compression { algorithms, level, ..Compression::default() });
        });
        let mut client = connect(&proxy).await;
        client.write_all(ASK.replace("gzip", "gzip, deflate").as_bytes()).await.unwrap();
        let head = read_head(&mut client).await.unwrap();
        assert!(head.contains("\r\nContent-Encoding: deflate\r\n"), "{head}");
        let coded = read_chunks(&mut client).await;
        let (mut inflate, mut read) = (Inflate::new(true, 15), vec![0; content.len()]);
        let end = inflate.decompress(&coded, &mut read, InflateFlush::Finish);
        assert_eq!(end, Ok(zlib_rs::Status::StreamEnd));
        assert!(read == content);
        lengths.push(coded.len());
    }
    assert!(lengths[1] < lengths[0], "{lengths:?}");
}

/// Events of a stream: each has to be readable before the server sends the next one.
#[tokio::test]
async fn nothing_is_held_back_while_the_server_pauses() {
    let (next, pauses) = mpsc::unbounded_channel::<()>();
    let pauses = std::sync::Arc::new(tokio::sync::Mutex::new(pauses));
    let event = |n: usize| format!("data: {n} {}\n\n", "x".repeat(n * 1000));
    let server = Scripted::start(move |mut stream| {
        let pauses = std::sync::Arc::clone(&pauses);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await.unwrap();
            for n in 0..30 {
                pauses.lock().await.recv().await.unwrap();
                stream.write_all(event(n).as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let proxy = start(&server, |_| {});
    let mut client = connect(&proxy).await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    // The head comes before there is any content.
    assert!(read_head(&mut client).await.unwrap().contains("gzip"));
    let mut inflate = Inflate::new(true, 16 + 15);
    for n in 0..30 {
        next.send(()).unwrap();
        let (mut read, expected) = (Vec::new(), event(n));
        while read.len() < expected.len() {
            let coded = timeout(LONG, read_chunk(&mut client)).await.expect("it is held back");
            let (before, mut room) = (inflate.total_out(), vec![0; 64 * 1024]);
            inflate.decompress(&coded, &mut room, InflateFlush::NoFlush).unwrap();
            read.extend_from_slice(&room[..usize::try_from(inflate.total_out() - before).unwrap()]);
        }
        assert!(read == expected.as_bytes(), "{n}");
    }
}

#[tokio::test]
async fn where_compression_has_had_its_share_of_time_content_is_stored_and_read_back() {
    let content = page(8 << 20);
    let server = serving(with_length(&content), 1 << 20).await;
    let ask = async |percent| {
        let proxy = start(&server, |config| config.compression_cpu = percent);
        let mut client = connect(&proxy).await;
        client.write_all(ASK.as_bytes()).await.unwrap();
        let head = read_head(&mut client).await.unwrap();
        (proxy, client, head)
    };
    // Eight megabytes take far more than a hundredth of the time in which they are compressed.
    for (percent, is_bounded) in [(1, true), (100, false)] {
        let (proxy, mut client, head) = ask(percent).await;
        assert!(head.contains("\r\nContent-Encoding: gzip\r\n"), "{head}");
        let coded = read_chunks(&mut client).await;
        let (length, found) = (coded.len(), compressed(&proxy));
        assert!(gunzip(coded).await == content);
        assert_eq!(found.bytes_in, content.len() as u64);
        assert_eq!(found.bytes_bypassed > content.len() as u64 / 2, is_bounded, "{found:?}");
        assert_eq!(length > content.len() / 2, is_bounded, "{length}");
    }
    let (proxy, mut client, head) = ask(0).await;
    let length = content.len();
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nVary: Accept-Encoding\r\nContent-Length: {length}\r\n\r\n"
        )
    );
    let mut plain = vec![0; length];
    timeout(LONG * 3, client.read_exact(&mut plain)).await.unwrap().unwrap();
    assert!(plain == content);
    assert_eq!(compressed(&proxy).bytes_in, 0);
}

#[tokio::test]
async fn other_connections_have_their_turn_while_much_is_compressed() {
    let server = Scripted::start(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        if head.starts_with("GET /small") {
            stream.write_all(OK.as_bytes()).await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 1 << 16]).await.is_ok() {}
    })
    .await;
    let proxy = start(&server, |_| {});
    let mut endless = connect(&proxy).await;
    endless.write_all(ASK.as_bytes()).await.unwrap();
    let reading = tokio::spawn(async move {
        let mut block = vec![0; 1 << 16];
        while endless.read(&mut block).await.is_ok_and(|n| n > 0) {}
    });
    eventually("it flows", || compressed(&proxy).bytes_in > 1 << 20).await;
    for _ in 0..10 {
        let mut client = connect(&proxy).await;
        assert_eq!(ask(&mut client, "GET /small HTTP/1.1\r\nHost: a\r\n\r\n").await, OK);
    }
    reading.abort();
}

#[tokio::test]
async fn content_that_breaks_never_looks_complete() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n";
    for (content, count) in [
        ("Content-Length: 9\r\n\r\nhello", "server_aborts_total"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "server_aborts_total"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX", "bad_responses_total"),
    ] {
        let response = format!("{head}{content}");
        let server = Scripted::start(move |mut stream| {
            let response = response.clone();
            async move {
                read_head(&mut stream).await;
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        })
        .await;
        let proxy = start(&server, |_| {});
        let mut client = connect(&proxy).await;
        client.write_all(ASK.as_bytes()).await.unwrap();
        if content.ends_with("XX") {
            // What is wrong already behind the head is no response.
            let head = read_head(&mut client).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
        } else {
            let all = read_all(&mut client).await.unwrap();
            assert!(!all.ends_with(b"0\r\n\r\n") && !all.starts_with(b"HTTP/1.1 502"), "{all:x?}");
        }
        eventually("it is counted", || counter(&proxy, count) == 1).await;
    }
}

#[tokio::test]
async fn head_announces_nothing_that_get_would_not() {
    let server = Recording::answering(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n",
    )
    .await;
    let proxy = start(&server.server, |_| {});
    let mut client = connect(&proxy).await;
    let coded = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: W/\"a\"\r\nVary: Accept-Encoding\r\n\
                 Content-Encoding: gzip\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"a\"\r\nVary: Accept-Encoding\r\n\
                 Content-Length: 5000\r\n\r\n";
    // The connection goes on: nobody waits for content.
    for (takes, expected) in [("gzip", coded), ("br", plain), ("gzip", coded)] {
        let ask = format!("HEAD / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {takes}\r\n\r\n");
        client.write_all(ask.as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut client).await.unwrap(), expected);
    }
    assert_eq!(compressed(&proxy), Compressed::default());
}

#[tokio::test]
async fn what_is_not_compressed_arrives_as_it_is_and_by_the_way_of_large_content() {
    let content = page(1 << 20);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1048576\r\n\r\n";
    let server = serving([head.as_bytes(), &content].concat(), 1 << 20).await;
    let proxy = start(&server, |_| {});
    let mut client = connect(&proxy).await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), head);
    let mut read = vec![0; content.len()];
    timeout(LONG, client.read_exact(&mut read)).await.unwrap().unwrap();
    assert!(read == content);
    eventually("it was spliced", || counter(&proxy, "spliced_bytes_total") > 1 << 19).await;
    assert_eq!(compressed(&proxy), Compressed::default());
}

#[tokio::test]
async fn backend_has_the_first_say_and_may_hide_from_servers_what_is_done_here() {
    let own = Compression { offload: true, minimum_size: 0, ..Compression::default() };
    let request = |field: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
    let (gzip, brotli) = (request("Accept-Encoding: gzip, br\r\n"), request("Accept-Encoding: br\r\n"));
    for (of_frontend, of_backend, asked, seen, is_coded) in [
        (Some(Compression::default()), BackendCompression::Off, &gzip, &gzip, false),
        (None, BackendCompression::AsFrontend, &gzip, &gzip, false),
        (None, BackendCompression::Own(own.clone()), &gzip, &request(""), true),
        // Servers may do better than we.
        (None, BackendCompression::Own(own.clone()), &brotli, &brotli, false),
        (Some(own.clone()), BackendCompression::AsFrontend, &gzip, &request(""), true),
        (
            Some(own.clone()),
            BackendCompression::Own(Compression { offload: false, ..own.clone() }),
            &gzip,
            &gzip,
            true,
        ),
    ] {
        let response = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc";
        let upstream = Recording::answering(response).await;
        let proxy = start(&upstream.server, |config| {
            config.frontends[0].compression = of_frontend;
            config.backends[0].compression = of_backend;
        });
        let mut client = connect(&proxy).await;
        client.write_all(asked.as_bytes()).await.unwrap();
        let head = read_head(&mut client).await.unwrap();
        assert_eq!(head.contains("\r\nContent-Encoding: gzip\r\n"), is_coded, "{head}");
        if is_coded {
            assert_eq!(gunzip(read_chunks(&mut client).await).await, b"abc");
        } else {
            let mut content = [0; 3];
            client.read_exact(&mut content).await.unwrap();
        }
        assert_eq!(upstream.requests(), std::slice::from_ref(seen));
    }
}

#[tokio::test]
async fn what_went_in_and_came_out_is_counted() {
    let content = page(10_000);
    let server = serving(with_length(&content), 1 << 20).await;
    let proxy = start(&server, |_| {});
    let mut client = connect(&proxy).await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    let head = read_head(&mut client).await.unwrap();
    let coded = read_chunks(&mut client).await;
    let framing = format!("{:x}\r\n\r\n0\r\n\r\n", coded.len()).len();
    let out = (head.len() + coded.len() + framing) as u64;
    eventually("all is counted", || proxy.status().frontends[0].bytes_out == out).await;
    let (bytes_in, bytes_out) = (10_000, coded.len() as u64);
    let expected = Compressed { responses: 1, bytes_in, bytes_out, bytes_bypassed: 0 };
    assert_eq!(compressed(&proxy), expected);
    assert_eq!(proxy.status().backends[0].compressed, expected);
}
