//! What a request, or a server, can do to the others on a connection that they share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use lb_proxy::Proxy;
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc::unbounded_channel, watch},
};

use super::{
    client::{self, Client, request},
    frames::*,
    peer, rig,
    server::{self, Connection, ask, response},
};

/// What a client of HTTP/1.1 is answered.
async fn get(client: &mut TcpStream, path: &str, fields: &str) -> String {
    ask(client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    response(client).await
}

/// A proxy whose requests are sent again only where that needs no retry.
fn without_retries(server: &rig::Scripted) -> Proxy {
    let mut config = server::config(&[server]);
    config.backends[0].retries = 0;
    client::start(config)
}

/// Answers each request with the number of its connection, from 1.
fn numbered(numbers: &Arc<AtomicUsize>) -> String {
    (numbers.fetch_add(1, SeqCst) + 1).to_string()
}

/// The second request of its connection is sent again: it may have crossed the end of that.
#[tokio::test]
async fn request_that_crosses_the_end_of_its_connection_is_sent_on_another() {
    let numbers = Arc::default();
    let server = server::serving(vec![], move |mut connection| {
        let number = numbered(&numbers);
        async move {
            let asked = connection.asked().await.unwrap();
            connection.answer(asked.stream, number.as_bytes()).await;
            // Without a word.
            connection.asked().await;
        }
    })
    .await;
    let proxy = without_retries(&server);
    let mut client = rig::connect(&proxy).await;
    for number in ["1", "2", "3"] {
        assert!(get(&mut client, "/", "").await.ends_with(&format!("\r\n{number}\r\n0\r\n\r\n")));
    }
    rig::counted(&proxy, "stale_retries_total", 2).await;
}

/// One that was made for a request alone, which may have ended the one before, is for all once that is answered.
#[tokio::test]
async fn connection_that_was_made_for_one_request_is_shared_once_that_is_answered() {
    let numbers = Arc::default();
    let server = server::serving(vec![], move |mut connection| {
        let number = numbered(&numbers);
        async move {
            let asked = connection.asked().await.unwrap();
            connection.answer(asked.stream, number.as_bytes()).await;
            let second = connection.asked().await;
            if number == "1" {
                return;
            }
            // Both are on one connection, or neither is answered.
            let (Some(second), Some(third)) = (second, connection.asked().await) else { return };
            for asked in [second, third] {
                connection.answer(asked.stream, number.as_bytes()).await;
            }
            connection.asked().await;
        }
    })
    .await;
    let proxy = without_retries(&server);
    let (mut one, mut two) = (rig::connect(&proxy).await, rig::connect(&proxy).await);
    assert!(get(&mut one, "/", "").await.ends_with("\r\n1\r\n0\r\n\r\n"));
    assert!(get(&mut one, "/", "").await.ends_with("\r\n2\r\n0\r\n\r\n"));
    for client in [&mut one, &mut two] {
        ask(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    }
    for client in [&mut one, &mut two] {
        assert!(response(client).await.ends_with("\r\n2\r\n0\r\n\r\n"));
    }
    assert_eq!(server.accepted(), 2);
}

/// A request that a server can't bear ends the connection that it comes on, and one that is made for it alone: not one after the
/// other, with all that is on them. So it is, too, where the server says that it has not looked at it, and that something is wrong: then
/// it is sent again as often as it may be, but alone.
#[tokio::test]
async fn request_that_ends_connections_takes_one_of_the_others_with_it() {
    for (last_words, times) in [(false, 2), (true, 4)] {
        poison(last_words, times).await;
    }
}

/// `last_words` are GOAWAY (INTERNAL_ERROR) before the request, which is sent so many `times`.
async fn poison(last_words: bool, times: usize) {
    let (poisoned, with_others) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (release, released) = watch::channel(0);
    let seen = [Arc::clone(&poisoned), Arc::clone(&with_others)];
    let server = server::serving(setting(3, 2), move |mut connection| {
        let ([seen, beside], mut released, mut held) = (seen.clone(), released.clone(), Vec::new());
        async move {
            loop {
                tokio::select! {
                    asked = connection.asked() => match asked {
                        Some(asked) if asked.path() == "/poison" => {
                            seen.fetch_add(1, SeqCst);
                            beside.fetch_add(usize::from(asked.stream > 1), SeqCst);
                            if last_words {
                                let last = asked.stream.saturating_sub(2).to_be_bytes();
                                connection.send(&frame(GOAWAY, 0, 0, &[last, [0, 0, 0, 2]].concat())).await;
                            }
                            return;
                        }
                        Some(asked) if asked.path() == "/" => connection.answer(asked.stream, b"fine").await,
                        Some(asked) => held.push((asked.path()[1..].parse::<u32>().unwrap(), asked.stream)),
                        None => return,
                    },
                    changed = released.changed() => if changed.is_err() { return },
                }
                let last = *released.borrow();
                for (_, stream) in held.extract_if(.., |(number, _)| *number <= last) {
                    connection.answer(stream, b"held").await;
                }
            }
        }
    })
    .await;
    let mut config = server::config(&[&server]);
    config.backends[0].retries = 3;
    config.backends[0].options.retry.budget = 100;
    let proxy = client::start(config);
    let mut first = rig::connect(&proxy).await;
    assert!(get(&mut first, "/", "").await.contains("fine"));
    let mut held = Vec::new();
    for n in 1..=3 {
        let mut client = rig::connect(&proxy).await;
        ask(&mut client, &format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        rig::eventually("it is at the server", || proxy.status().backends[0].servers[0].in_flight == n).await;
        held.push(client);
    }
    // What is at a server may still be on its way there.
    rig::eventually("both connections are there", || server.accepted() == 2).await;
    // One place is left on each of them.
    release.send(1).unwrap();
    assert!(response(&mut held[0]).await.contains("held"));
    let answer = get(&mut first, "/poison", "").await;
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert_eq!(poisoned.load(SeqCst), times, "times that it was sent");
    assert_eq!(with_others.load(SeqCst), 1, "times with others");
    // That on the other connection has seen nothing of it; the one beside it was sent again.
    rig::eventually("one has a connection for itself", || server.accepted() == 2 + times).await;
    release.send(3).unwrap();
    for client in &mut held[1..] {
        assert!(response(client).await.contains("held"));
    }
    assert_eq!(server.accepted(), 2 + times);
}

/// One that a server chokes on with an error is alone from then on, and those that came behind it share one connection again, however many.
/// Where that ends so as well it may be any of them: each is alone then, within the budget.
#[tokio::test]
async fn requests_beside_one_that_ends_their_connection_share_the_next() {
    // That of the one that was alone is for all once it is answered.
    for (times, budget, accepted) in [(1, 100, 2..=3), (2, 0, 4..=5), (2, 100, 13..=13)] {
        let choked = Arc::new(AtomicUsize::new(0));
        let server = server::serving(vec![], move |mut connection| {
            let choked = Arc::clone(&choked);
            async move {
                let Some(first) = connection.asked().await else { return };
                let so_far = choked.load(SeqCst);
                if so_far < times && (so_far == 0 || first.path() != "/poison") {
                    // No more come where some are on another connection, as the client's came in several reads.
                    for _ in so_far..10 {
                        if tokio::time::timeout(Duration::from_secs(2), connection.asked()).await.is_err() {
                            break;
                        }
                    }
                    choked.fetch_add(1, SeqCst);
                    connection.send(&frame(GOAWAY, 0, 0, &[[0; 4], [0, 0, 0, 2]].concat())).await;
                    return;
                }
                let mut next = Some(first);
                while let Some(asked) = next {
                    connection.answer(asked.stream, b"fine").await;
                    next = connection.asked().await;
                }
            }
        })
        .await;
        let mut config = server::config(&[&server]);
        config.backends[0].retries = 3;
        config.backends[0].options.retry.budget = budget;
        let proxy = client::start(config);
        let address = rig::address(&proxy);
        peer::apart(move || {
            let mut client = Client::begun(address);
            client.get(1, "/poison", &[]);
            (1..11).for_each(|n| client.get(2 * n + 1, "/", &[]));
            (0..11).for_each(|n| assert_eq!(client.answer(2 * n + 1).content, b"fine"));
        })
        .await;
        assert!(accepted.contains(&server.accepted()), "{times} {budget}: {}", server.accepted());
    }
}

/// A connection is not closed after each request because there are others, of which none has a place.
#[tokio::test]
async fn connection_beside_one_that_is_full_waits_for_the_next_request() {
    let (tell, mut told) = unbounded_channel();
    let server = server::serving(setting(3, 1), move |mut connection| {
        let tell = tell.clone();
        async move {
            while let Some(next) = connection.next().await {
                let path = if next.kind == HEADERS {
                    connection.read(&next).path().to_owned()
                } else {
                    "reset".to_owned()
                };
                tell.send(path).unwrap();
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let mut client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/held", &[]);
        client
    })
    .await;
    assert_eq!(told.recv().await.unwrap(), "/held");
    for stream in [3, 5, 7, 9] {
        client = peer::apart(move || {
            client.get(stream, "/given-up", &[]);
            client
        })
        .await;
        assert_eq!(told.recv().await.unwrap(), "/given-up");
        client = peer::apart(move || {
            client.send(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            client
        })
        .await;
        assert_eq!(told.recv().await.unwrap(), "reset");
    }
    assert_eq!(server.accepted(), 2);
}

/// As they are coded, and as they are once decoded.
#[tokio::test]
async fn fields_that_are_far_too_long_cost_their_stream_alone() {
    let server = server::serving(vec![], async |mut connection: Connection| {
        while let Some(asked) = connection.asked().await {
            let stream = asked.stream;
            let mut block = field(":status", "200");
            match asked.path() {
                "/coded" => (0..30).for_each(|_| block.extend(field("x", &"y".repeat(4000)))),
                // The first is kept in the table, the others are a byte each.
                "/decoded" => {
                    block.extend(
                        [&[0x40, 1, b'x', 127, 0xa1, 0x1e], &*"y".repeat(4000).into_bytes()].concat(),
                    );
                    block.extend([0xbe; 100]);
                }
                _ => {
                    connection.answer(stream, b"fine").await;
                    continue;
                }
            }
            let mut parts = block.chunks(16_384).peekable();
            let mut kind = HEADERS;
            while let Some(part) = parts.next() {
                let end = if parts.peek().is_none() { END_HEADERS } else { 0 };
                connection.send(&frame(kind, end, stream, part)).await;
                kind = CONTINUATION;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    for path in ["/coded", "/decoded"] {
        let mut client = rig::connect(&proxy).await;
        assert!(get(&mut client, path, "").await.starts_with("HTTP/1.1 502 "), "{path}");
        let mut client = rig::connect(&proxy).await;
        assert!(get(&mut client, "/fine", "").await.contains("fine"), "behind {path}");
    }
    assert_eq!(server.accepted(), 1);
}

/// Requests that come while a connection is made wait for that one.
#[tokio::test]
async fn burst_of_requests_makes_one_connection() {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let server = server::serving(setting(3, 0), move |mut connection| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            connection.send(&frame(SETTINGS, 0, 0, &setting(3, 100))).await;
            while let Some(asked) = connection.asked().await {
                connection.answer(asked.stream, asked.path().as_bytes()).await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        (0..20).for_each(|n| client.get(2 * n + 1, &format!("/{n}"), &[]));
        client
    })
    .await;
    rig::eventually("all wait", || proxy.status().backends[0].servers[0].in_flight == 20).await;
    go.notify_one();
    peer::apart(move || {
        let mut client = client;
        for n in 0..20 {
            assert_eq!(client.answer(2 * n + 1).content, format!("/{n}").as_bytes());
        }
    })
    .await;
    assert_eq!(server.accepted(), 1);
}

/// Whoever is next makes another one, when the first comes to nothing.
#[tokio::test]
async fn connection_that_was_waited_for_in_vain_is_made_again() {
    let numbers: Arc<AtomicUsize> = Arc::default();
    let server = server::serving(setting(3, 0), move |mut connection| {
        let number = numbered(&numbers);
        async move {
            if number == "1" {
                return;
            }
            connection.send(&frame(SETTINGS, 0, 0, &setting(3, 100))).await;
            while let Some(asked) = connection.asked().await {
                connection.answer(asked.stream, number.as_bytes()).await;
            }
        }
    })
    .await;
    let mut config = server::config(&[&server]);
    config.backends[0].retries = 1;
    let proxy = client::start(config);
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        (0..5).for_each(|n| client.get(2 * n + 1, "/", &[]));
        for n in 0..5 {
            assert_eq!(client.answer(2 * n + 1).content, b"2");
        }
    })
    .await;
    assert_eq!(server.accepted(), 2);
}

/// A server that does not answer a request, nor PING behind it, gets no further one there.
#[tokio::test]
async fn connection_that_does_not_say_a_word_is_left_to_itself() {
    let numbers: Arc<AtomicUsize> = Arc::default();
    let server = server::serving(vec![], move |mut connection| {
        let number = numbered(&numbers);
        async move {
            let asked = connection.asked().await.unwrap();
            connection.answer(asked.stream, number.as_bytes()).await;
            if number == "1" {
                while connection.frame().await.is_some() {}
            }
            while let Some(asked) = connection.asked().await {
                connection.answer(asked.stream, number.as_bytes()).await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    assert!(get(&mut client, "/", "").await.contains("\r\n1\r\n"));
    let address = rig::address(&proxy);
    let _client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/never", &[]);
        assert_eq!(client.so_far(), (vec![], true));
        client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
        assert_eq!(client.so_far(), (vec![], true));
        client
    })
    .await;
    rig::eventually("it was given up", || {
        let server = &proxy.status().backends[0].servers[0];
        server.in_flight == 0 && server.requests_total == 2
    })
    .await;
    for _ in 0..2 {
        let answer = get(&mut client, "/", "").await;
        assert!(answer.contains("\r\n2\r\n"), "{answer}");
    }
    assert_eq!(server.accepted(), 2);
}

/// What an upload leaves of the connection's window is for the others.
#[tokio::test]
async fn upload_that_is_not_read_leaves_room_for_others() {
    let server = server::serving(setting(4, 1 << 20), async |mut connection: Connection| {
        while let Some(next) = connection.frame().await {
            if next.kind == HEADERS {
                let asked = connection.read(&next);
                if asked.path() == "/read" {
                    // Frames of the other stream come before its content, perhaps.
                    while connection.frame().await.is_none_or(|frame| frame.stream != asked.stream) {}
                    connection.answer(asked.stream, b"read").await;
                }
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut slow = rig::connect(&proxy).await;
    let length = 300_000;
    let upload =
        format!("POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
    ask(&mut slow, &upload).await;
    // All that fits.
    let sent = || proxy.status().backends[0].servers[0].traffic.bytes_in;
    let mut before = u64::MAX;
    while std::mem::replace(&mut before, sent()) != sent() || sent() < 40_000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        let mut quick = rig::connect(&proxy).await;
        ask(&mut quick, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").await;
        let answer = response(&mut quick).await;
        assert!(answer.contains("read"), "{answer}");
    }
    assert_eq!(server.accepted(), 1);
}

/// A connection on which nothing fits any more is none for a request that may have content.
#[tokio::test]
async fn connection_whose_window_is_shut_gets_no_further_request() {
    let server = server::serving(setting(4, 1 << 20), async |mut connection: Connection| {
        while let Some(next) = connection.frame().await {
            if next.kind == HEADERS && connection.read(&next).path() == "/now" {
                connection.answer(next.stream, b"now").await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let address = rig::address(&proxy);
    let _client = peer::apart(move || {
        let mut client = Client::begun(address);
        // One alone can't do it: the last eighth is for those that have sent little.
        for stream in (1..43).step_by(2) {
            client.send(&request(stream, 0, "POST", "/never", &[]));
            let (frames, length) = if stream == 1 { (4, 16_000) } else { (1, 4000) };
            (0..frames).for_each(|_| client.send(&frame(DATA, 0, stream, &vec![b'x'; length])));
        }
        assert!(client.so_far().1);
        for stream in (43..83).step_by(2) {
            client.get(stream, "/now", &[]);
            assert_eq!(client.answer(stream).content, b"now");
        }
        client
    })
    .await;
    // The second one fills as well: what may be left of its window is less than a stream gets.
    assert!((2..=3).contains(&server.accepted()), "{}", server.accepted());
}

/// Of a server that never says that a stream has ended, though all of it is here.
#[tokio::test]
async fn connection_that_was_given_up_ends_in_time() {
    let (tell, mut told) = unbounded_channel();
    let server = server::serving(vec![], move |mut connection| {
        let tell = tell.clone();
        async move {
            while let Some(next) = connection.next().await {
                if next.kind == HEADERS {
                    connection.head(next.stream, 0, &[(":status", "200"), ("content-length", "2")]).await;
                    connection.send(&frame(DATA, 0, next.stream, b"ok")).await;
                }
            }
            tell.send(()).unwrap();
        }
    })
    .await;
    let mut config = server::config(&[&server]);
    config.backends[0].timeout.server = Duration::from_secs(2);
    config.backends[0].options.pool.max_requests = std::num::NonZeroU32::new(1);
    let proxy = client::start(config);
    let mut client = rig::connect(&proxy).await;
    for _ in 0..2 {
        assert!(get(&mut client, "/", "").await.ends_with("ok"));
    }
    told.recv().await.unwrap();
    assert_eq!(server.accepted(), 2);
}

/// Streams whose end comes late are not reset for that, as long as there are places; those whose end never comes give way.
#[tokio::test]
async fn streams_that_never_end_leave_places_for_others() {
    let resets: Arc<AtomicUsize> = Arc::default();
    let seen = Arc::clone(&resets);
    let server = server::serving(setting(3, 16), move |mut connection: Connection| {
        let seen = Arc::clone(&seen);
        async move {
            let mut open = std::collections::VecDeque::new();
            while let Some(next) = connection.next().await {
                if next.kind == RST_STREAM {
                    assert_eq!((next.code(), Some(next.stream)), (8, open.pop_front()), "the oldest");
                    seen.fetch_add(1, SeqCst);
                    continue;
                }
                let asked = connection.read(&next);
                open.push_back(asked.stream);
                assert!(open.len() <= 16, "more than it allows");
                if asked.path() == "/end" {
                    for stream in open.drain(..open.len() - 1) {
                        connection.send(&frame(DATA, END_STREAM, stream, b"")).await;
                    }
                }
                connection.head(asked.stream, 0, &[(":status", "200"), ("content-length", "2")]).await;
                connection.send(&frame(DATA, 0, asked.stream, b"ok")).await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let mut client = rig::connect(&proxy).await;
    let mut get = async |path: &str, times: usize| {
        for _ in 0..times {
            assert!(get(&mut client, path, "").await.ends_with("ok"));
        }
        resets.load(SeqCst)
    };
    for round in 0..3 {
        assert_eq!(get("/", 14).await, 0, "round {round}");
        assert_eq!(get("/end", 1).await, 0, "round {round}");
    }
    assert_eq!(get("/", 40).await, 1 + 40 - 16);
    assert_eq!(server.accepted(), 1);
}

/// Who is authenticated by the connection has it alone, as with a server of HTTP/1.1.
#[tokio::test]
async fn connection_that_is_authenticated_is_its_client_s_own() {
    let numbers: Arc<AtomicUsize> = Arc::default();
    let server = server::serving(vec![], move |mut connection| {
        let number = numbered(&numbers);
        async move {
            while let Some(asked) = connection.asked().await {
                let number: &[(&str, &str)] = &[(":status", "200"), ("x-connection", &number)];
                let fields = match (asked.path(), asked.field("authorization")) {
                    ("/private", None) => {
                        [&[(":status", "401"), number[1]], &[("www-authenticate", "NTLM")][..]].concat()
                    }
                    _ => number.to_vec(),
                };
                connection.head(asked.stream, END_STREAM, &fields).await;
            }
        }
    })
    .await;
    let proxy = client::start(server::config(&[&server]));
    let [mut one, mut two, mut three] =
        [rig::connect(&proxy).await, rig::connect(&proxy).await, rig::connect(&proxy).await];
    let on = |answer: String, number: &str| {
        assert!(answer.contains(&format!("x-connection: {number}\r\n")), "{answer}");
    };
    // Both share one, until it is one's.
    on(get(&mut one, "/", "").await, "1");
    on(get(&mut two, "/", "").await, "1");
    on(get(&mut one, "/private", "").await, "1");
    on(get(&mut two, "/", "").await, "2");
    on(get(&mut one, "/private", "Authorization: NTLM abc\r\n").await, "1");
    on(get(&mut one, "/", "").await, "1");
    on(get(&mut two, "/", "").await, "2");
    // Whoever authenticates at once gets another one for that.
    on(get(&mut three, "/private", "Authorization: Negotiate abc\r\n").await, "3");
    on(get(&mut two, "/", "").await, "2");
    on(get(&mut three, "/", "").await, "3");
    assert_eq!(server.accepted(), 3);
}
