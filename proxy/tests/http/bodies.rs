//! Content, both ways, in every framing.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::Frontend,
    rules::{Action, Condition, Rule, ValuePattern},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    peers::*,
    rig::{LONG, Scripted, connect, counter, eventually, read_all},
    witness::Witness,
};

/// A megabyte in which every place can be told from its neighbours.
fn pattern() -> Vec<u8> {
    (0..=250).cycle().take(1 << 20).collect()
}

/// Each byte sent by itself.
async fn trickle(stream: &mut tokio::net::TcpStream, bytes: &str) {
    stream.set_nodelay(true).unwrap();
    for byte in bytes.bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn request_and_response_may_come_byte_by_byte() {
    let server = Scripted::start(|mut stream| async move {
        while let Some(request) = read_message(&mut stream).await {
            assert!(request.ends_with("\r\n0\r\n\r\n"), "{request}");
            trickle(
                &mut stream,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
            )
            .await;
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    for _ in 0..2 {
        trickle(
            &mut client,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: x\r\n\r\n",
        )
        .await;
        let answer = answer(&mut client).await;
        let (head, chunks) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked");
        let payload: String = chunks.split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(payload, "hello");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn h27_h29_chunks_are_framed_anew_without_extensions_and_trailers() {
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n0003\r\nllo\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
    let server = Scripted::start(move |mut stream| async move {
        while let Some(request) = read_message(&mut stream).await {
            assert!(request.ends_with("\r\n\r\n6\r\nabcdef\r\n0\r\n\r\n"), "{request}");
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let content = "\r\n1;z\r\na\r\n05\r\nbcdef\r\n0\r\nX: y\r\n\r\n";
    let plain = ask(&mut client, &format!("{head}{content}")).await;
    assert_eq!(plain, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");

    client.write_all(format!("{head}TE: trailers\r\n{content}").as_bytes()).await.unwrap();
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).await.unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn h29_trailers_do_not_get_round_the_rules_of_responses() {
    let response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\
        X-Internal: 1\r\nX-Sum: 1\r\nx-secret: 2\r\nX-INTERNAL: 3\r\nX-Last: 4\r\n\r\n";
    let upstream = Recording::answering(response).await;
    let mut config = http_config(&[upstream.server.address]);
    config.frontends[0].response_rules =
        vec![Rule { when: Condition::ALWAYS, then: vec![Action::DeleteHeader("X-Internal".into())] }];
    config.backends[0].response_rules = vec![Rule {
        when: Condition::Header("X-Secret".into(), vec![ValuePattern::Present]),
        then: vec![Action::Deny(502)],
    }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    let (_, content) = all.split_once("\r\n\r\n").unwrap();
    assert_eq!(content, "1\r\na\r\n0\r\nX-Sum: 1\r\nX-Last: 4\r\n\r\n", "{all}");
}

#[tokio::test]
async fn h38_response_until_close_reaches_a_1_1_client_in_chunks_and_the_client_stays() {
    let server = Scripted::start(|mut stream| async move {
        read_message(&mut stream).await;
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nhello").await.unwrap();
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    for _ in 0..2 {
        let answer = ask(&mut client, GET).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            "{answer}"
        );
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn h38_r5_response_that_breaks_never_looks_complete() {
    for (response, request) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", GET),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", GET),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX", GET),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "GET / HTTP/1.0\r\n\r\n"),
    ] {
        let server = Scripted::start(move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(response.as_bytes()).await.unwrap();
        })
        .await;
        let proxy = proxy_for(&server);
        let mut client = connect(&proxy).await;
        client.write_all(request.as_bytes()).await.unwrap();
        if response.ends_with("XX") {
            // What is wrong already behind the head is no response.
            let head = read_head(&mut client).await.unwrap();
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
            continue;
        }
        match read_all(&mut client).await {
            Ok(all) => {
                let all = String::from_utf8(all).unwrap();
                assert!(request == GET && !all.ends_with("0\r\n\r\n") && !all.contains("502"), "{all}");
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
        assert_eq!(server.accepted(), 1, "never retried");
    }
}

#[tokio::test]
async fn h38_r5_response_until_close_never_looks_complete_when_it_is_the_client_that_fails() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.unwrap();
        let _ = read_all(&mut stream).await;
    })
    .await;
    let short = Duration::from_millis(300);
    let start = |change: &dyn Fn(&mut Frontend)| {
        let mut config = http_config(&[server.address]);
        change(&mut config.frontends[0]);
        Proxy::start(config).unwrap()
    };
    for (what, proxy, leaves) in [
        ("stalls", start(&|frontend| frontend.timeout.client = short), false),
        (
            "is slow",
            start(&|frontend| {
                frontend.timeout.http_request = short;
                frontend.options.min_body_rate = std::num::NonZeroU32::new(1000);
            }),
            false,
        ),
        ("leaves", start(&|_| {}), true),
    ] {
        let mut client = connect(&proxy).await;
        client.write_all(b"POST / HTTP/1.0\r\nContent-Length: 1000\r\n\r\nhello").await.unwrap();
        let head = read_head(&mut client).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{what}: {head}");
        if leaves {
            client.shutdown().await.unwrap();
        }
        let end = read_all(&mut client).await.expect_err(what);
        assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset, "{what}");
    }
}

#[tokio::test]
async fn hundred_megabytes_travel_both_ways_at_once() {
    const SIZE: usize = 100 << 20;
    let server = Scripted::start(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("Content-Length: 104857600\r\n"));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n").await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut (&mut read).take(SIZE as u64), &mut write).await.unwrap();
    })
    .await;
    let proxy = proxy_for(&server);
    let (mut read, mut write) = connect(&proxy).await.into_split();
    let sent = tokio::spawn(async move {
        let block = pattern();
        write.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n").await.unwrap();
        for _ in 0..100 {
            write.write_all(&block).await.unwrap();
        }
        write
    });
    assert!(read_head(&mut read).await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));
    let (mut block, expected) = (vec![0; 1 << 20], pattern());
    for _ in 0..100 {
        read.read_exact(&mut block).await.unwrap();
        assert!(block == expected);
    }
    sent.await.unwrap();
    let counted =
        |front: &lb_proxy::status::FrontendStatus| front.bytes_in.min(front.bytes_out) > SIZE as u64;
    eventually("all bytes are counted", || counted(&proxy.status().frontends[0])).await;
}

#[tokio::test]
async fn large_content_that_ends_too_early_never_looks_complete_in_either_direction() {
    const HALF: usize = 1 << 20;
    let (heard, mut hears) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let heard = heard.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap();
            if head.starts_with("GET") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n").await.unwrap();
                stream.write_all(&[7; HALF]).await.unwrap();
            } else {
                heard.send(read_all(&mut stream).await.unwrap_or_default().len()).unwrap();
            }
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 2097152\r\n\r\n");
    assert_eq!(read_all(&mut client).await.unwrap(), [7; HALF]);
    assert_eq!(counter(&proxy, "server_aborts_total"), 1);

    let mut client = connect(&proxy).await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2097152\r\n\r\n").await.unwrap();
    client.write_all(&[7; HALF]).await.unwrap();
    drop(client);
    assert_eq!(tokio::time::timeout(LONG, hears.recv()).await.unwrap().unwrap(), HALF);
    eventually("the abort is counted", || counter(&proxy, "client_aborts_total") == 1).await;
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn client_that_does_not_read_stops_the_server_after_bounded_bytes() {
    let (sent, mut progress) = tokio::sync::watch::channel(0_usize);
    let server = Scripted::start(move |mut stream| {
        let sent = sent.clone();
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            loop {
                let n = stream.write(&[7; 65536]).await.unwrap_or(0);
                if n == 0 {
                    return;
                }
                sent.send_modify(|sent| *sent += n);
            }
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    // It stands still once the kernel's buffers on the way are full.
    let mut last = 0;
    while tokio::time::timeout(Duration::from_millis(500), progress.wait_for(|sent| *sent > last))
        .await
        .is_ok()
    {
        last = *progress.borrow();
    }
    assert!((1..100 << 20).contains(&last), "{last}");
}

#[tokio::test]
async fn h31_continue_is_relayed_and_the_content_follows() {
    let server = Scripted::start(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut content = [0; 5];
        stream.read_exact(&mut content).await.unwrap();
        assert_eq!(&content, b"hello");
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(ask(&mut client, "hello").await, OK);
}

#[tokio::test]
async fn h31_connection_of_a_server_that_answers_without_a_100_is_not_used_again() {
    // It reads heads alone, as one does that has refused a request and takes no content for sent.
    let answering = |go_on: &'static str| {
        Scripted::start(move |mut stream| async move {
            while let Some(head) = read_head(&mut stream).await {
                if head.starts_with("POST ") && !go_on.is_empty() {
                    stream.write_all(go_on.as_bytes()).await.unwrap();
                    stream.read_exact(&mut [0; 37]).await.unwrap();
                }
                let target = head.split(' ').nth(1).unwrap();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
    };
    let post = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 37\r\nExpect: 100-continue\r\n\r\n";
    for (go_on, connections) in [("", 2), ("HTTP/1.1 100 Continue\r\n\r\n", 1)] {
        let server = answering(go_on).await;
        let proxy = proxy_for(&server);
        let mut client = connect(&proxy).await;
        client
            .write_all(format!("{post}GET /evil HTTP/1.1\r\nHost: a\r\nX-Rest: ").as_bytes())
            .await
            .unwrap();
        if !go_on.is_empty() {
            assert_eq!(read_head(&mut client).await.unwrap(), go_on);
        }
        assert!(answer(&mut client).await.ends_with("\r\n\r\n/p"));
        // Whoever comes next.
        for target in ["/one", "/two"] {
            let got =
                ask(&mut connect(&proxy).await, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            assert!(got.ends_with(&format!("\r\n\r\n{target}")), "{got}");
        }
        assert_eq!(server.accepted(), connections);
    }
}

#[tokio::test]
async fn h32_interim_responses_are_forwarded_up_to_a_limit_and_never_to_1_0() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let response: &'static str = Box::leak(format!("{hints}{hints}{OK}").into_boxed_str());
    let upstream = Recording::answering(response).await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), hints);
    assert_eq!(read_head(&mut client).await.unwrap(), hints);
    assert_eq!(answer(&mut client).await, OK);
    let mut old = connect(&proxy).await;
    old.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert!(read_all(&mut old).await.unwrap().starts_with(b"HTTP/1.1 200 OK\r\n"));

    let flood: &'static str = Box::leak(format!("{}{OK}", hints.repeat(17)).into_boxed_str());
    let upstream = Recording::answering(flood).await;
    let mut config = http_config(&[upstream.server.address]);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut heads = Vec::new();
    while heads.last() != Some(&"502".to_owned()) {
        heads.push(read_head(&mut client).await.unwrap()[9..12].to_owned());
    }
    assert_eq!(heads.len(), 17);
    assert_eq!(witness.says().await, "502 PH--");
    assert_eq!(counter(&proxy, "bad_responses_total"), 1);
}

#[tokio::test]
async fn h40_early_response_ends_the_connection_and_the_server_connection_is_not_used_again() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await.unwrap();
        let _ = read_all(&mut stream).await;
    })
    .await;
    let proxy = proxy_for(&server);
    for _ in 0..2 {
        let mut client = connect(&proxy).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome").await.unwrap();
        let answer = answer(&mut client).await;
        assert_eq!(
            answer,
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"
        );
        // What is still on its way is read, so that no reset overtakes the response.
        client.write_all(&[b'x'; 50_000]).await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
    }
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn h28_request_with_broken_chunks_is_400_and_its_server_connection_is_closed() {
    let server = Scripted::start(|mut stream| async move {
        let _ = read_all(&mut stream).await;
    })
    .await;
    let proxy = proxy_for(&server);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = connect(&proxy).await;
    client.write_all(format!("{head}5\r\nhelloX").as_bytes()).await.unwrap();
    assert!(read_all(&mut client).await.unwrap().starts_with(b"HTTP/1.1 400 "));
    assert_eq!(server.accepted(), 0, "seen before a server was asked");

    let mut client = connect(&proxy).await;
    client.write_all(head.as_bytes()).await.unwrap();
    eventually("the head arrives", || server.accepted() == 1).await;
    client.write_all(b"5\r\nhelloX").await.unwrap();
    assert!(read_all(&mut client).await.unwrap().starts_with(b"HTTP/1.1 400 "));
    assert_eq!(counter(&proxy, "bad_requests_total"), 2);
}

#[tokio::test]
async fn client_that_goes_away_in_its_content_ends_the_servers_connection() {
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            gone.send(read_all(&mut stream).await.is_ok_and(|rest| rest == b"some")).unwrap();
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome").await.unwrap();
    eventually("the head arrives", || server.accepted() == 1).await;
    drop(client);
    assert!(tokio::time::timeout(LONG, is_gone.recv()).await.unwrap().unwrap());
    eventually("the abort is counted", || counter(&proxy, "client_aborts_total") == 1).await;
}

/// What a server has got of a request whose content is not here yet: nothing.
#[tokio::test]
async fn server_is_looked_for_when_the_content_is_here_if_the_frontend_waits_for_it() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    config.frontends[0].options.wait_for_body = true;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"01234").await.unwrap();
    eventually("it is here", || proxy.status().frontends[0].bytes_in >= 75).await;
    assert_eq!(upstream.server.accepted(), 0);
    client.write_all(b"56789").await.unwrap();
    assert_eq!(answer(&mut client).await, OK);
    assert!(upstream.requests()[0].ends_with("\r\n\r\n0123456789"));
    // More than a buffer takes is not waited for.
    let large = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n{}", "x".repeat(50_000));
    assert_eq!(ask(&mut client, &large).await, OK);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(ask(&mut client, chunked).await, OK);
}

#[tokio::test]
async fn content_that_is_waited_for_has_the_time_of_a_head() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    config.frontends[0].options.wait_for_body = true;
    config.frontends[0].timeout.http_request = Duration::from_millis(300);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let answer = ask(&mut client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(witness.says().await, "408 cR--");
    assert_eq!(counter(&proxy, "request_timeouts_total"), 1);
    assert_eq!(upstream.server.accepted(), 0);
}

/// Everything that both sides get: the client is told to go on once, here; the server is not asked to, and one that says so all
/// the same is not passed on.
#[tokio::test]
async fn client_is_told_to_go_on_exactly_once_where_its_content_is_waited_for() {
    let length = 40_000;
    let server = Scripted::start(move |mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert_eq!(head, format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut content = vec![0; length];
        stream.read_exact(&mut content).await.unwrap();
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let mut config = http_config(&[server.address]);
    config.frontends[0].options.wait_for_body = true;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(&vec![b'x'; length]).await.unwrap();
    client.shutdown().await.unwrap();
    let rest = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    assert_eq!(rest, format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}"));
}
