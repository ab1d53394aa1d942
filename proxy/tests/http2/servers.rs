//! Servers that are spoken to in HTTP/2: what they receive, and what clients of either version get of them.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc::unbounded_channel,
};

use super::{
    client::{self, Client, request},
    frames::*,
    peer, rig,
    server::{self, Connection, ask, response},
};

/// Answers all with the path that was asked for.
async fn echo(mut connection: Connection) {
    while let Some(asked) = connection.asked().await {
        if asked.is_all {
            connection.answer(asked.stream, asked.path().as_bytes()).await;
        } else {
            let content = connection.content(asked.stream).await;
            connection.answer(asked.stream, &content).await;
        }
    }
}

#[tokio::test]
async fn requests_of_http_1_1_reach_a_server_as_fields_and_data() {
    let (tell, mut told) = unbounded_channel();
    let server = server::serving(vec![], move |mut connection| {
        let tell = tell.clone();
        async move {
            while let Some(asked) = connection.asked().await {
                let content = match asked.is_all {
                    true => None,
                    false => Some(connection.content(asked.stream).await),
                };
                let stream = asked.stream;
                tell.send((asked, content)).unwrap();
                connection.head(stream, 0, &[(":status", "200"), ("x-a", "b"), ("set-cookie", "c=d")]).await;
                connection.send(&frame(DATA, PADDED, stream, b"\x02hello\0\0")).await;
                connection.send(&frame(DATA, 0, stream, b" you")).await;
                connection.head(stream, END_STREAM, &[("grpc-status", "0")]).await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    ask(
        &mut client,
        "GET /one?x HTTP/1.1\r\nHost: a.example\r\nX-Hop: 1\r\nConnection: x-hop\r\nCookie: a=b\r\n\r\n",
    )
    .await;
    let (asked, content) = told.recv().await.unwrap();
    let fields: Vec<_> = asked.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let expected = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/one?x"),
        (":authority", "a.example"),
        ("cookie", "a=b"),
    ];
    assert_eq!((&*fields, content), (&expected[..], None));
    let answer = response(&mut client).await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nx-a: b\r\nset-cookie: c=d\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n4\r\n you\r\n0\r\n\r\n"
            .replace(
                "5\r\nhello\r\n4\r\n you",
                answer.split("\r\n\r\n").nth(1).unwrap().trim_end_matches("\r\n0")
            )
    );
    assert!(answer.contains("hello"), "{answer}");
    // On the same connection, with content and for somebody who takes trailers.
    ask(
        &mut client,
        "PUT /two HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    )
    .await;
    let (asked, content) = told.recv().await.unwrap();
    assert_eq!((asked.stream, asked.field(":method"), asked.field("te")), (3, Some("PUT"), Some("trailers")));
    assert_eq!((asked.field("transfer-encoding"), content.as_deref()), (None, Some(&b"abcde"[..])));
    let answer = response(&mut client).await;
    assert!(answer.ends_with("\r\n0\r\ngrpc-status: 0\r\n\r\n"), "{answer}");
    ask(&mut client, "POST /three HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nxyz").await;
    let (asked, content) = told.recv().await.unwrap();
    assert_eq!((asked.field("content-length"), content.as_deref()), (Some("3"), Some(&b"xyz"[..])));
    response(&mut client).await;
    assert_eq!(server.accepted(), 1);
    rig::eventually("nothing is in flight", || proxy.status().backends[0].servers[0].in_flight == 0).await;
}

#[tokio::test]
async fn streams_of_clients_share_one_connection_and_don_t_wait_for_each_other() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        let mut streams = Vec::new();
        while let Some(asked) = connection.asked().await {
            streams.push((asked.stream, asked.path().to_owned()));
            if streams.len() == 90 {
                // The last is first.
                for (stream, path) in streams.drain(..).rev() {
                    connection.answer(stream, path.as_bytes()).await;
                }
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut clients = [Client::begun(address), Client::begun(address)];
        for round in 0..3_u32 {
            let streams: Vec<u32> = (0..45).map(|n| 1 + 2 * (45 * round + n)).collect();
            for client in &mut clients {
                for stream in &streams {
                    client.get(*stream, &format!("/{stream}"), &[]);
                }
            }
            for client in &mut clients {
                for stream in &streams {
                    assert_eq!(client.answer(*stream).content, format!("/{stream}").as_bytes());
                }
            }
        }
    })
    .await;
    assert_eq!(server.accepted(), 1);
    assert_eq!(proxy.status().frontends[0].requests_total, 270);
}

/// RFC 9113 §5.1.2: what is beyond them gets another connection.
#[tokio::test]
async fn server_has_no_more_streams_than_it_allows() {
    let server = server::serving(setting(3, 2), async |mut connection: Connection| {
        let mut open = Vec::new();
        while let Some(asked) = connection.asked().await {
            open.push(asked.stream);
            assert!(open.len() <= 2);
            if asked.path() == "/go" {
                for stream in open.drain(..) {
                    connection.answer(stream, b"ok").await;
                }
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let accepted = std::sync::Arc::clone(&server.accepted);
    peer::apart(move || {
        let mut client = Client::begun(address);
        for stream in [1, 3, 5, 7, 9] {
            client.get(stream, "/", &[]);
        }
        while accepted.load(std::sync::atomic::Ordering::SeqCst) < 3 {
            std::thread::yield_now();
        }
        client.get(11, "/go", &[]);
        assert_eq!(client.answer(11).content, b"ok");
    })
    .await;
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn request_that_a_server_has_not_looked_at_is_sent_again() {
    for is_going in [false, true] {
        let server = server::serving(vec![], move |mut connection| async move {
            let first = connection.asked().await.unwrap();
            if first.path() == "/first" {
                connection.answer(first.stream, b"first").await;
                let second = connection.asked().await.unwrap();
                match is_going {
                    // The first was the last.
                    true => connection.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await,
                    false => connection.reset(second.stream, 7).await,
                }
            } else {
                connection.answer(first.stream, b"on another").await;
            }
            while let Some(asked) = connection.asked().await {
                connection.answer(asked.stream, b"again").await;
            }
        })
        .await;
        let mut config = server::config(&[&server]);
        config.backends[0].retries = 2;
        // It is no load to the server.
        config.backends[0].options.retry.budget = 0;
        let proxy = client::start(config);
        let mut client = rig::connect(&proxy).await;
        ask(&mut client, "GET /first HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(response(&mut client).await.contains("first"));
        // Not one that could be sent twice.
        ask(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        let answer = response(&mut client).await;
        let expected = if is_going { "on another" } else { "again" };
        assert!(answer.contains(expected), "{answer}");
        assert_eq!(server.accepted(), if is_going { 2 } else { 1 });
        assert_eq!(proxy.status().backends[0].servers[0].traffic.retries, 1);
    }
}

#[tokio::test]
async fn server_that_goes_away_serves_what_it_has() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        let asked = connection.asked().await.unwrap();
        connection.send(&frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).await;
        connection.answer(asked.stream, asked.path().as_bytes()).await;
        // Its client ends the connection, behind a GOAWAY or without.
        while connection.next().await.is_some() {}
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    for path in ["/one", "/two", "/three"] {
        ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(response(&mut client).await.contains(path));
    }
    assert_eq!(server.accepted(), 3);
}

/// RFC 9113 §6.5.2: none is a number like others, and another may follow.
#[tokio::test]
async fn server_that_allows_no_request_yet_gets_it_once_it_does() {
    let server = server::serving(setting(3, 0), async |mut connection: Connection| {
        connection.send(&frame(PING, 0, 0, b"is known")).await;
        while connection.frame().await.is_some_and(|frame| frame.kind != PING) {}
        connection.send(&frame(SETTINGS, 0, 0, &setting(3, 1))).await;
        while let Some(asked) = connection.asked().await {
            connection.answer(asked.stream, b"at last").await;
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(response(&mut client).await.contains("at last"));
    assert_eq!(server.accepted(), 1);
}

/// As with a server of HTTP/1.1.
#[tokio::test]
async fn what_breaks_is_told_as_of_any_server() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        while let Some(asked) = connection.asked().await {
            let stream = asked.stream;
            match asked.path() {
                "/reset" => connection.reset(stream, 2).await,
                "/late" => {
                    connection.head(stream, 0, &[(":status", "200")]).await;
                    connection.send(&frame(DATA, 0, stream, b"abc")).await;
                    connection.reset(stream, 2).await;
                }
                "/length" => {
                    connection.head(stream, 0, &[(":status", "200"), ("content-length", "2")]).await;
                    connection.send(&frame(DATA, END_STREAM, stream, b"abc")).await;
                }
                "/field" => connection.head(stream, END_STREAM, &[(":status", "200"), ("Upper", "x")]).await,
                "/hop" => {
                    connection.head(stream, END_STREAM, &[(":status", "200"), ("connection", "x")]).await;
                }
                "/line" => {
                    connection.head(stream, END_STREAM, &[(":status", "200"), ("x", "a\r\nb: c")]).await;
                }
                "/101" => connection.head(stream, 0, &[(":status", "101")]).await,
                "/status" => connection.head(stream, END_STREAM, &[("x", "y")]).await,
                _ => connection.answer(stream, b"fine").await,
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    for path in ["/reset", "/field", "/hop", "/line", "/101", "/status"] {
        let mut client = rig::connect(&proxy).await;
        ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        let answer = rig::read_head(&mut client).await.unwrap_or_default();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{path}: {answer}");
    }
    for path in ["/late", "/length"] {
        let mut client = rig::connect(&proxy).await;
        ask(&mut client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
        let answer = String::from_utf8(rig::read_all(&mut client).await.unwrap()).unwrap();
        assert!(!answer.starts_with("HTTP/1.1 200 ") || !answer.ends_with("0\r\n\r\n"), "{answer}");
        assert!(!answer.contains("ab") || path == "/late", "{answer}");
    }
    // Others on the same connection are as they were.
    let mut client = rig::connect(&proxy).await;
    ask(&mut client, "GET /fine HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(response(&mut client).await.contains("fine"));
    assert_eq!(server.accepted(), 1);
}

/// Neither our memory nor the other streams pay for it.
#[tokio::test]
async fn client_that_reads_nothing_holds_its_own_stream_up_alone() {
    let (tell, mut told) = unbounded_channel();
    let server = server::serving(vec![], move |mut connection| {
        let tell = tell.clone();
        async move {
            let (mut window, mut big) = (65_535_usize, 0);
            loop {
                let Some(next) = connection.frame().await else { return };
                match next.kind {
                    HEADERS => {
                        let asked = connection.read(&next);
                        if asked.path() == "/big" {
                            big = asked.stream;
                            connection.head(big, 0, &[(":status", "200")]).await;
                        } else {
                            connection.answer(asked.stream, b"small").await;
                        }
                    }
                    WINDOW_UPDATE if next.stream != 0 && next.stream == big => {
                        window += u32::from_be_bytes(*next.payload.first_chunk().unwrap()) as usize;
                    }
                    _ => {}
                }
                while big != 0 && window > 0 {
                    let n = window.min(16_384);
                    window -= n;
                    connection.send(&frame(DATA, 0, big, &vec![b'x'; n])).await;
                    tell.send(n).unwrap();
                }
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let _slow = peer::apart(move || {
        let mut slow = Client::begun(address);
        slow.get(1, "/big", &[]);
        // Its own window lets 65535 bytes through; so many more may be here.
        let mut quick = Client::begun(address);
        for stream in (1..200).step_by(2) {
            quick.get(stream, "/small", &[]);
            assert_eq!(quick.answer(stream).content, b"small");
        }
        slow
    })
    .await;
    let mut sent = 0;
    while let Ok(n) = told.try_recv() {
        sent += n;
    }
    assert!((65_535..=4 * 65_535).contains(&sent), "{sent}");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn content_flows_both_ways_at_once() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        while let Some(frame_of_client) = connection.next().await {
            let stream = frame_of_client.stream;
            match frame_of_client.kind {
                HEADERS => connection.head(stream, 0, &[(":status", "200")]).await,
                DATA if frame_of_client.flags & END_STREAM != 0 => {
                    connection.head(stream, END_STREAM, &[("grpc-status", "0")]).await;
                }
                DATA => connection.send(&frame(DATA, 0, stream, &frame_of_client.payload)).await,
                _ => return,
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, 0, "POST", "/", &[("te", "trailers")]));
        let head = client.next(HEADERS);
        let fields = client.decode(&head.payload);
        assert_eq!(fields[0], (":status".to_owned(), "200".to_owned()));
        for word in ["one", "two", "three"] {
            client.send(&frame(DATA, 0, 1, word.as_bytes()));
            assert_eq!(client.next(DATA).payload, word.as_bytes());
        }
        client.send(&frame(DATA, END_STREAM, 1, b""));
        let last = client.next(HEADERS);
        assert_eq!(last.flags, END_STREAM | END_HEADERS);
        assert_eq!(client.decode(&last.payload), [("grpc-status".to_owned(), "0".to_owned())]);
    })
    .await;
}

#[tokio::test]
async fn response_without_content_ends_with_its_head() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        while let Some(asked) = connection.asked().await {
            let fields = [(":status", "200"), ("grpc-status", "12")];
            connection.head(asked.stream, END_STREAM, &fields).await;
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.send(&request(1, END_STREAM, "POST", "/", &[("te", "trailers")]));
        let head = client.next(HEADERS);
        assert_eq!(head.flags, END_STREAM | END_HEADERS);
        let answer = client.decode(&head.payload);
        assert!(answer.contains(&("grpc-status".to_owned(), "12".to_owned())), "{answer:?}");
    })
    .await;
}

/// A client that gives up is no reason to end a connection that others use.
#[tokio::test]
async fn stream_that_is_given_up_is_reset_at_its_server() {
    let (tell, mut told) = unbounded_channel();
    let server = server::serving(vec![], move |mut connection| {
        let tell = tell.clone();
        async move {
            while let Some(next) = connection.next().await {
                match next.kind {
                    RST_STREAM => tell.send((next.stream, next.code())).unwrap(),
                    HEADERS if connection.read(&next).path() == "/fine" => {
                        connection.answer(next.stream, b"fine").await;
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let _client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/fine", &[]);
        assert_eq!(client.answer(1).content, b"fine");
        client.get(3, "/never", &[]);
        let (frames, _) = client.so_far();
        assert!(frames.is_empty());
        client.send(&frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes()));
        client.get(5, "/fine", &[]);
        assert_eq!(client.answer(5).content, b"fine");
        client
    })
    .await;
    assert_eq!(told.recv().await.unwrap().1, 8);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn server_that_does_not_speak_it_is_not_connected_to() {
    let server = rig::Scripted::start(async |mut stream| {
        let _ = stream.read_u8().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(response(&mut client).await.starts_with("HTTP/1.1 503 "));
    let reason = proxy.status().backends[0].refused.clone();
    assert!(format!("{reason:?}").contains("HTTP/1 is spoken, not HTTP/2"), "{reason:?}");
}

#[tokio::test]
async fn content_of_any_size_arrives_in_both_directions() {
    let server = server::serving(vec![], echo_all).await;
    let proxy = client::start(server::config(&[&server]));
    let content: String = (0..300_000_u32).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let mut client = rig::connect(&proxy).await;
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{content}", content.len());
    ask(&mut client, &request).await;
    let answer = response(&mut client).await;
    assert!(answer.ends_with(&content), "{} bytes", answer.len());
}

/// With windows as small as the protocol has them by default.
async fn echo_all(mut connection: Connection) {
    let asked = connection.asked().await.unwrap();
    let (stream, mut content, mut window) = (asked.stream, Vec::new(), 65_535_usize);
    loop {
        let next = connection.frame().await.unwrap();
        if next.kind == DATA {
            content.extend_from_slice(&next.payload);
            if next.flags & END_STREAM != 0 {
                break;
            }
            let more = u32::try_from(next.payload.len()).unwrap().to_be_bytes();
            connection.send(&frame(WINDOW_UPDATE, 0, 0, &more)).await;
            connection.send(&frame(WINDOW_UPDATE, 0, stream, &more)).await;
        }
    }
    let length = content.len().to_string();
    connection.head(stream, 0, &[(":status", "200"), ("content-length", &length)]).await;
    let mut rest = &content[..];
    while !rest.is_empty() {
        let n = rest.len().min(window).min(10_000);
        if n == 0 {
            let next = connection.frame().await.unwrap();
            if next.kind == WINDOW_UPDATE && next.stream == stream {
                window += u32::from_be_bytes(*next.payload.first_chunk().unwrap()) as usize;
            }
            continue;
        }
        window -= n;
        let flags = if n == rest.len() { END_STREAM } else { 0 };
        connection.send(&frame(DATA, flags, stream, &rest[..n])).await;
        rest = &rest[n..];
    }
    while connection.next().await.is_some() {}
}

/// As a server that has nothing more to say for a moment: the end comes in a frame of its own.
#[tokio::test]
async fn end_that_comes_late_costs_no_reset() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        let mut last = None;
        while let Some(next) = connection.next().await {
            assert_eq!(next.kind, HEADERS, "{next:?}");
            if let Some(before) = last.replace(next.stream) {
                connection.send(&frame(DATA, END_STREAM, before, b"")).await;
            }
            connection.head(next.stream, 0, &[(":status", "200"), ("content-length", "2")]).await;
            connection.send(&frame(DATA, 0, next.stream, b"ok")).await;
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    for _ in 0..5 {
        ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(response(&mut client).await.ends_with("ok"));
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn interim_responses_and_answers_to_head_are_passed_on() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        while let Some(asked) = connection.asked().await {
            let stream = asked.stream;
            if asked.field(":method") == Some("HEAD") {
                connection.head(stream, END_STREAM, &[(":status", "200"), ("content-length", "5")]).await;
            } else {
                connection.head(stream, 0, &[(":status", "103"), ("link", "</x>")]).await;
                connection.answer(stream, b"ok").await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    ask(&mut client, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = rig::read_head(&mut client).await.unwrap();
    assert_eq!(head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(rig::read_head(&mut client).await.unwrap(), "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n");
    assert!(response(&mut client).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn requests_one_after_the_other_are_served_by_an_echo() {
    let server = server::serving(vec![], echo).await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    for n in 0..200 {
        ask(&mut client, &format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(response(&mut client).await.contains(&format!("/{n}")));
    }
    assert_eq!(server.accepted(), 1);
}
