//! Connections that serve many requests, on both sides.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    peers::*,
    rig::{LONG, Scripted, connect, counter, eventually, read_all},
};

#[tokio::test]
async fn ten_thousand_requests_use_one_connection_on_each_side() {
    let server = Scripted::start(|mut stream| async move {
        let mut request = [0; GET.len()];
        while stream.read_exact(&mut request).await.is_ok() {
            assert_eq!(request, GET.as_bytes());
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    let mut response = [0; OK.len()];
    for _ in 0..10_000 {
        client.write_all(GET.as_bytes()).await.unwrap();
        timeout(LONG, client.read_exact(&mut response)).await.unwrap().unwrap();
        assert_eq!(response, OK.as_bytes());
    }
    assert_eq!(server.accepted(), 1);
    let status = proxy.status();
    let front = &status.frontends[0];
    assert_eq!((front.connections_total, front.requests_total, front.responses[2]), (1, 10_000, 10_000));
    assert_eq!(front.bytes_in, 10_000 * GET.len() as u64);
    let out = 10_000 * OK.len() as u64;
    eventually("the last bytes are counted", || proxy.status().frontends[0].bytes_out == out).await;
}

#[tokio::test]
async fn h42_pipelined_requests_are_answered_in_order_one_at_a_time() {
    let server = Scripted::start(|mut stream| async move {
        while let Some(request) = read_message(&mut stream).await {
            let path = request.split(' ').nth(1).unwrap();
            // Nothing of the next request may be here before this one is answered.
            let mut early = [0; 1];
            assert!(stream.try_read(&mut early).is_err());
            let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let mut client = connect(&proxy).await;
    let requests: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.write_all(requests.as_bytes()).await.unwrap();
    for n in 0..100 {
        assert!(answer(&mut client).await.ends_with(&format!("\r\n\r\n/{n}")));
    }
}

#[tokio::test]
async fn clients_share_the_idle_connection_of_a_worker() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    for _ in 0..20 {
        assert_eq!(ask(&mut connect(&proxy).await, GET).await, OK);
    }
    assert_eq!(upstream.server.accepted(), 1);
}

#[tokio::test]
async fn r3_first_request_that_could_not_be_repeated_gets_a_fresh_connection() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    ask(&mut client, post).await;
    assert_eq!(upstream.server.accepted(), 1, "a later request may share");
    ask(&mut connect(&proxy).await, post).await;
    assert_eq!(upstream.server.accepted(), 2);
}

#[tokio::test]
async fn h36_r4_server_connection_with_bytes_beyond_the_response_is_not_used_again() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 204 No Content\r\n\r\nbody",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        let upstream = Recording::answering(response).await;
        let proxy = proxy_for(&upstream.server);
        let mut client = connect(&proxy).await;
        for _ in 0..2 {
            client.write_all(GET.as_bytes()).await.unwrap();
            let head = read_head(&mut client).await.unwrap();
            assert!(!head.contains("evil"));
            if head.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 2") {
                let mut content = [0; 2];
                client.read_exact(&mut content).await.unwrap();
                assert_eq!(&content, b"ok");
            }
        }
        assert_eq!(upstream.server.accepted(), 2, "{response:?}");
    }
}

#[tokio::test]
async fn h35_answer_to_head_has_no_content_and_keeps_both_connections() {
    let upstream = Recording::answering("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        client.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(read_head(&mut client).await.unwrap(), "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    }
    assert_eq!(upstream.server.accepted(), 1);
}

#[tokio::test]
async fn h39_http_1_0_client_is_closed_and_never_gets_chunks() {
    let upstream =
        Recording::answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    assert_eq!(all, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
    let head = &upstream.requests()[0];
    assert!(head.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
}

#[tokio::test]
async fn client_that_asks_for_close_is_told_so_and_closed() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    for _ in 0..2 {
        let mut client = connect(&proxy).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert_eq!(all, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    }
    assert_eq!(upstream.server.accepted(), 1, "the server's connection stays");
    assert_eq!(upstream.requests()[1], GET);
}

#[tokio::test]
async fn draining_says_close_in_the_response_in_flight_and_closes_idle_connections() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |mut stream| {
        let mut released = released.clone();
        async move {
            while let Some(request) = read_message(&mut stream).await {
                if request.contains("/slow") {
                    released.wait_for(|released| *released).await.unwrap();
                }
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let proxy = proxy_for(&server);
    let (mut idle, mut busy) = (connect(&proxy).await, connect(&proxy).await);
    assert_eq!(ask(&mut idle, GET).await, OK);
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("the slow request arrives", || proxy.status().frontends[0].requests_total == 2).await;
    let drained = proxy.drain(std::time::Duration::from_secs(5));
    let end = async {
        assert_eq!(read_all(&mut idle).await.unwrap(), b"");
        release.send(true).unwrap();
        String::from_utf8(read_all(&mut busy).await.unwrap()).unwrap()
    };
    let (_, end) = tokio::join!(drained, end);
    assert_eq!(end, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
}

#[tokio::test]
async fn h43_client_that_half_closes_after_its_request_still_gets_the_response() {
    let upstream = Recording::answering(OK).await;
    let proxy = proxy_for(&upstream.server);
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), OK.as_bytes());
    assert_eq!(counter(&proxy, "client_aborts_total"), 0);
}

#[tokio::test]
async fn d6_forwardfor_names_the_client_in_every_request_of_a_connection() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    config.frontends[0].forwardfor = true;
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..2 {
        ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n").await;
    }
    let expected =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n";
    assert_eq!(upstream.requests(), [expected, expected]);
}

/// What servers are told of their clients is up to the backend, where it says so, and to the frontend elsewhere.
#[tokio::test]
async fn backend_tells_its_servers_in_its_own_way() {
    use lb_proxy::{
        config::{BackendForwarded, BackendId, Forwarded, ForwardedHeader, ForwardedParameters},
        rules::{Action, Condition, Rule, Text},
        sample::{self, Names, Place, Stage, Template},
    };
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    let policy = |headers: &[ForwardedHeader]| Forwarded {
        headers: headers.to_vec(),
        trust: Vec::new(),
        parameters: ForwardedParameters { host: true, ..ForwardedParameters::default() },
    };
    let like = |name: &str, forwarded| {
        let mut backend = config.backends[0].clone();
        (backend.name, backend.forwarded) = (name.to_owned(), forwarded);
        backend
    };
    let own = BackendForwarded::Own(policy(&[ForwardedHeader::For, ForwardedHeader::Host]));
    let others = [like("own", own), like("off", BackendForwarded::Off)];
    config.backends.extend(others);
    let mut alone = config.clone();
    let frontend = &mut config.frontends[0];
    frontend.forwarded = Some(policy(&[ForwardedHeader::Forwarded, ForwardedHeader::Proto]));
    let to = |method: &str, backend| Rule {
        when: Condition::Method(vec![method.to_owned()]),
        then: vec![Action::Backend(BackendId(backend))],
    };
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: sample::Text::Field, names: &names };
    let inside = Text::new("inside", Template::parse("inside", &place).unwrap());
    let inside = Rule { when: Condition::ALWAYS, then: vec![Action::SetHeader("Host".into(), inside)] };
    frontend.rules = vec![inside, to("PUT", 1), to("DELETE", 2)];
    // Without rules, and with the line of `forwardfor`, which is not written twice.
    alone.frontends[0].forwardfor = true;
    alone.frontends[0].default_backend = Some(BackendId(1));
    let said = |head: &str| {
        let is_ours = |line: &&str| line.to_ascii_lowercase().contains("forwarded");
        head.lines().filter(is_ours).map(str::to_owned).collect::<Vec<_>>()
    };
    let own = ["X-Forwarded-Host: a", "X-Forwarded-For: 127.0.0.1"].map(str::to_owned);
    let proxy = lb_proxy::Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let told = async |client: &mut _, method: &str| {
        ask(client, &format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")).await;
        said(upstream.requests().last().unwrap())
    };
    assert_eq!(told(&mut client, "PUT").await, own);
    assert_eq!(told(&mut client, "DELETE").await, ["X-Forwarded-For: 10.0.0.1"], "as without a word");
    let of_frontend = [
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: http",
        "Forwarded: proto=http;host=a;for=127.0.0.1",
    ];
    assert_eq!(told(&mut client, "GET").await, of_frontend);
    let proxy = lb_proxy::Proxy::start(alone).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(told(&mut client, "PUT").await, own);
}
