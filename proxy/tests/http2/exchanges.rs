//! Exchanges: what clients get, side by side, and how much at a time.

use super::{
    client::{self, Client, request},
    frames::*,
    peer, rig,
};

async fn answer_to(
    response: impl Into<Vec<u8>>,
    method: &'static str,
    fields: &'static [(&str, &str)],
) -> client::Answer {
    let (server, _told) = client::scripted(response).await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, END_STREAM, method, "/", fields));
        client.answer(1)
    })
    .await
}

fn fields(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn responses_reach_a_client_as_fields_and_data() {
    let head = "HTTP/1.1 200 OK\r\nServer: x\r\nConnection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n";
    let own = |more: &[(&str, &str)]| fields(&[&[(":status", "200"), ("server", "x")], more].concat());
    let answer = answer_to(format!("{head}Content-Length: 3\r\n\r\nabc"), "GET", &[]).await;
    assert_eq!((answer.fields, &*answer.content), (own(&[("content-length", "3")]), &b"abc"[..]));

    let chunks =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n");
    let answer = answer_to(chunks.clone(), "GET", &[]).await;
    assert_eq!((answer.fields, &*answer.content, answer.trailers), (own(&[]), &b"abcdefg"[..], vec![]));
    let answer = answer_to(chunks, "GET", &[("te", "trailers")]).await;
    assert_eq!((&*answer.content, answer.trailers), (&b"abcdefg"[..], fields(&[("x-sum", "7")])));

    let answer = answer_to(format!("{head}Content-Length: 300\r\n\r\n"), "HEAD", &[]).await;
    assert_eq!((answer.fields, &*answer.content), (own(&[("content-length", "300")]), &b""[..]));

    let answer = answer_to("HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "GET", &[]).await;
    assert_eq!((answer.fields, answer.content), (fields(&[(":status", "204"), ("x", "y")]), vec![]));

    let hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n";
    let answer = answer_to(hints, "GET", &[]).await;
    assert_eq!(answer.interim, [fields(&[(":status", "103"), ("link", "</a>")])]);
    assert_eq!(answer.fields, fields(&[(":status", "304"), ("etag", "\"x\"")]));

    let long = format!(
        "HTTP/1.1 200 OK\r\nX-A: {0}\r\nX-B: {0}\r\nX-C: {0}\r\nContent-Length: 0\r\n\r\n",
        "v".repeat(7000)
    );
    let answer = answer_to(long, "GET", &[]).await;
    assert_eq!((answer.field("x-c").map(str::len), answer.status()), (Some(7000), "200"));
}

/// A head is never in lines on its way to a stream: 63 bytes would be counted of this one.
#[tokio::test]
async fn bytes_to_clients_are_those_of_compressed_fields() {
    let response = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nabc";
    let (server, _told) = client::scripted(response).await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let answer = peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, END_STREAM, "GET", "/", &[]));
        client.answer(1)
    });
    assert_eq!(answer.await.content, b"abc");
    // The status, two fields, and what says what they mean.
    let head = 1 + (3 + 9) + (3 + 1) + 15;
    rig::eventually("it is counted", || proxy.status().frontends[0].bytes_out == head + 3).await;
}

/// A response that breaks never looks complete.
#[tokio::test]
async fn response_that_breaks_ends_in_a_reset() {
    let server = rig::Scripted::start(async |mut stream| {
        rig::read_head(&mut stream).await;
        let _ = tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        )
        .await;
    })
    .await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let answer = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/", &[]);
        let answer = client.answer(1);
        // The connection goes on.
        client.get(3, "/", &[]);
        assert_eq!(client.answer(3).status(), "200");
        answer
    })
    .await;
    assert_eq!((answer.status(), &*answer.content, answer.reset), ("200", &b"abc"[..], Some(2)));
}

#[tokio::test]
async fn streams_are_served_side_by_side_and_lanes_again() {
    let (server, _told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        // One that nobody answers is in nobody's way.
        client.get(1, "/never", &[]);
        for round in 0..3_u32 {
            let streams: Vec<u32> = (0..90).map(|n| 3 + 2 * (90 * round + n)).collect();
            for stream in &streams {
                client.get(*stream, "/now", &[]);
            }
            for stream in streams {
                assert_eq!(client.answer(stream).content, b"ok", "{stream}");
            }
        }
        client
    })
    .await;
    let status = proxy.status();
    assert_eq!((status.frontends[0].connections, status.frontends[0].requests_total), (1, 271));
    drop(client);
}

/// RFC 9113 §6.9: what a client takes is up to it, to the byte; the end needs no window.
#[tokio::test]
async fn no_more_is_sent_than_the_windows_allow() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    for is_chunked in [false, true] {
        let response = if is_chunked {
            let chunks: Vec<u8> = content
                .chunks(50_000)
                .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
                .collect();
            [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &chunks, b"0\r\n\r\n"].concat()
        } else {
            [&b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n"[..], &content].concat()
        };
        let (server, _told) = client::scripted(response).await;
        let proxy = client::start(client::config(&[server.address]));
        let address = rig::address(&proxy);
        let content = content.clone();
        peer::apart(move || {
            let mut client = Client::silent(address);
            client.send(&[PREFACE, &frame(SETTINGS, 0, 0, &setting(4, 10))].concat());
            client.get(1, "/", &[]);
            let mut received = Vec::new();
            let read = |client: &mut Client, received: &mut Vec<u8>, end: usize| {
                while received.len() < end {
                    let frame = client.next(DATA);
                    received.extend_from_slice(&frame.payload);
                    if frame.flags & END_STREAM != 0 {
                        return true;
                    }
                }
                false
            };
            assert_eq!(client.next(HEADERS).flags, END_HEADERS);
            assert!(!read(&mut client, &mut received, 10));
            assert_eq!(client.so_far(), (vec![], true), "more than the window of the stream");
            client.send(&frame(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes()));
            read(&mut client, &mut received, 65_535);
            assert_eq!(received.len(), 65_535);
            assert_eq!(client.so_far(), (vec![], true), "more than the window of the connection");
            // To the last byte: then the end comes without any.
            client.send(&frame(WINDOW_UPDATE, 0, 0, &(200_000_u32 - 65_535).to_be_bytes()));
            if !read(&mut client, &mut received, 200_000) {
                let end = client.next(DATA);
                assert_eq!((end.flags, end.payload.len()), (END_STREAM, 0));
            }
            assert_eq!(received, content);
        })
        .await;
    }
}

/// A client on a slow line takes long for a frame: what is here of it is passed on, and none of the stream's window waits for the
/// rest.
#[tokio::test]
async fn content_of_a_frame_that_is_not_whole_is_passed_on() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = rig::Scripted::start(move |mut stream| {
        let tell = tell.clone();
        async move {
            let _ = rig::read_head(&mut stream).await;
            let mut room = [0; 100];
            while let Ok(n @ 1..) = tokio::io::AsyncReadExt::read(&mut stream, &mut room).await {
                let _ = tell.send(room[..n].to_vec());
            }
        }
    })
    .await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let content = frame(DATA, END_STREAM, 1, b"abcdefghij");
    let (begin, end) = (content[..9 + 4].to_vec(), content[9 + 4..].to_vec());
    let mut client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, 0, "POST", "/", &[("content-length", "10")]));
        client.send(&begin);
        client
    })
    .await;
    assert_eq!(told.recv().await.unwrap(), b"abcd");
    let _client = peer::apart(move || {
        client.send(&end);
        client
    })
    .await;
    let mut rest = Vec::new();
    while rest.len() < 6 {
        rest.extend(told.recv().await.unwrap());
    }
    assert_eq!(rest, b"efghij");
}

/// A server that does not read holds its client up, and nobody else: a stream's content is held as far as its window goes.
#[tokio::test]
async fn content_is_taken_as_fast_as_a_server_takes_it() {
    let server = rig::Scripted::start(async |mut stream| {
        let head = rig::read_head(&mut stream).await.unwrap();
        if head.contains(" /now") {
            let _ = tokio::io::AsyncWriteExt::write_all(
                &mut stream,
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            )
            .await;
        }
        std::future::pending().await
    })
    .await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, 0, "POST", "/stuck", &[]));
        // As much as the stream's window and updates of it allow.
        let (mut window, mut sent) = (65_535_usize, 0);
        loop {
            while window >= 16_384 {
                client.send(&frame(DATA, 0, 1, &[7; 16_384]));
                window -= 16_384;
                sent += 16_384;
            }
            client.send(&frame(PING, 0, 0, b"anymore?"));
            let before = window;
            loop {
                let frame = client.frame().unwrap();
                match frame.kind {
                    WINDOW_UPDATE if frame.stream == 1 => window += frame.code() as usize,
                    PING => break,
                    _ => {}
                }
            }
            if window == before && sent > 65_535 {
                // Nothing came for a moment: the kernel's buffers and ours are full.
                std::thread::sleep(std::time::Duration::from_millis(50));
                client.get(3, "/now", &[]);
                assert_eq!(client.answer(3).content, b"ok");
                break;
            }
            assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken for a server that reads none");
        }
    })
    .await;
}

/// A client that gives a stream up frees its server.
#[tokio::test]
async fn stream_that_is_given_up_ends_at_its_server() {
    let (server, mut told) = client::scripted("").await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/", &[]);
        client
    })
    .await;
    rig::eventually("the server has it", || server.accepted() == 1).await;
    let client = peer::apart(move || {
        let mut client = client;
        client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
        assert_eq!(client.so_far(), (vec![], true));
        client
    })
    .await;
    told.recv().await.unwrap();
    rig::counted(&proxy, "client_aborts_total", 1).await;
    drop(client);
}
