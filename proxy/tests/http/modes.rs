//! Close modes, who may use an idle connection, and connections that belong to one client.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    config::{Backend, BackendId, ConnectionMode, Cookie, ReuseMode},
    rules::{Action, Condition, PathPattern, Rule},
};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    peers::*,
    rig::{LONG, Scripted, connect, counted, counter, eventually, read_all},
    witness::Witness,
};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";

fn start(server: &Scripted, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.address]);
    change(&mut config);
    Proxy::start(config).unwrap()
}

#[tokio::test]
async fn d4_frontend_that_closes_says_so_to_the_client_and_keeps_the_servers_connection() {
    let upstream = Recording::answering(OK).await;
    let proxy =
        start(&upstream.server, |config| config.frontends[0].options.connection = ConnectionMode::Close);
    for _ in 0..2 {
        let mut client = connect(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert_eq!(all, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    }
    assert_eq!(upstream.server.accepted(), 1);
    assert_eq!(upstream.requests(), [GET; 2]);
}

#[tokio::test]
async fn d4_frontend_that_closes_does_so_after_its_own_answers_too() {
    let mut config = http_config(&[]);
    config.frontends[0].options.connection = ConnectionMode::Close;
    config.frontends[0].default_backend = None;
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
    assert_own(&all, "503 Service Unavailable", true);
    assert_eq!(witness.says().await, "503 SC--");
    counted(&proxy, "no_server_total", 1).await;
}

#[tokio::test]
async fn d4_servers_connection_serves_one_request_and_is_told_so_while_the_client_stays() {
    for of_frontend in [ConnectionMode::ServerClose, ConnectionMode::KeepAlive] {
        let upstream = Recording::answering(OK).await;
        let proxy = start(&upstream.server, |config| {
            config.frontends[0].options.connection = of_frontend;
            if of_frontend == ConnectionMode::KeepAlive {
                config.backends[0].options.connection = ConnectionMode::Close;
            }
        });
        let mut client = connect(&proxy).await;
        for _ in 0..3 {
            assert_eq!(ask(&mut client, GET).await, OK);
        }
        assert_eq!(upstream.server.accepted(), 3);
        assert_eq!(upstream.requests(), ["GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"; 3]);
    }
}

/// Connections that the server saw after: a GET and a POST of one client, a GET of another, a POST of a third.
async fn connections(mode: ReuseMode) -> [usize; 4] {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream.server, |config| config.backends[0].options.pool.reuse = mode);
    let mut seen = [0; 4];
    let mut first = connect(&proxy).await;
    for (at, request) in [GET, POST].into_iter().enumerate() {
        ask(&mut first, request).await;
        seen[at] = upstream.server.accepted();
    }
    for (at, request) in [GET, POST].into_iter().enumerate() {
        ask(&mut connect(&proxy).await, request).await;
        seen[at + 2] = upstream.server.accepted();
    }
    seen
}

#[tokio::test]
async fn r3_who_may_use_an_idle_connection_is_a_matter_of_the_mode() {
    assert_eq!(connections(ReuseMode::Never).await, [1, 1, 2, 3]);
    assert_eq!(connections(ReuseMode::Safe).await, [1, 1, 1, 2]);
    assert_eq!(connections(ReuseMode::Aggressive).await, [1, 1, 1, 1]);
    assert_eq!(connections(ReuseMode::Always).await, [1, 1, 1, 1]);
}

#[tokio::test]
async fn r3_aggressive_trusts_only_a_connection_that_was_used_again() {
    for (mode, expected) in [(ReuseMode::Aggressive, 2), (ReuseMode::Always, 1)] {
        let upstream = Recording::answering(OK).await;
        let proxy = start(&upstream.server, |config| config.backends[0].options.pool.reuse = mode);
        ask(&mut connect(&proxy).await, GET).await;
        ask(&mut connect(&proxy).await, POST).await;
        assert_eq!(upstream.server.accepted(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn own_connection_of_a_client_ends_with_it() {
    let (server, mut ended) = telling_of_ends().await;
    let proxy = start(&server, |config| config.backends[0].options.pool.reuse = ReuseMode::Never);
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    drop(client);
    eventually("the server's connection ends", || ended.try_recv().is_ok()).await;
}

#[tokio::test]
async fn own_connection_of_a_client_serves_as_many_requests_as_any_unless_it_was_authenticated() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream.server, |config| {
        let pool = &mut config.backends[0].options.pool;
        (pool.reuse, pool.max_requests) = (ReuseMode::Never, NonZeroU32::new(2));
    });
    let mut client = connect(&proxy).await;
    let mut seen = Vec::new();
    for _ in 0..5 {
        assert_eq!(ask(&mut client, GET).await, OK);
        seen.push(upstream.server.accepted());
    }
    assert_eq!(seen, [1, 1, 2, 2, 3]);
    let server = authenticating().await;
    let proxy = start(&server, |config| config.backends[0].options.pool.max_requests = NonZeroU32::new(1));
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        ask(&mut client, GET).await;
    }
    assert_eq!(server.accepted(), 1);
}

/// Answers with the number of its connection, and asks for NTLM on the first request of each.
async fn authenticating() -> Scripted {
    let connections = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |mut stream| {
        let number = connections.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut is_known = false;
            while read_message(&mut stream).await.is_some() {
                let head = if is_known { "200 OK" } else { "401 No\r\nWWW-Authenticate: NTLM" };
                is_known = true;
                let response = format!("HTTP/1.1 {head}\r\nContent-Length: 1\r\n\r\n{number}");
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test]
async fn r3_connection_that_was_authenticated_stays_with_its_client_and_its_server() {
    let servers = [authenticating().await, authenticating().await];
    let proxy = Proxy::start(http_config(&servers.each_ref().map(|server| server.address))).unwrap();
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 401 "));
    for _ in 0..3 {
        assert!(ask(&mut client, GET).await.ends_with("200 OK\r\nContent-Length: 1\r\n\r\n0"));
    }
    assert_eq!(servers.each_ref().map(Scripted::accepted), [1, 0]);
    // Nobody else is taken for this client.
    let mut other = connect(&proxy).await;
    for _ in 0..2 {
        let mut third = connect(&proxy).await;
        assert!(ask(&mut third, GET).await.starts_with("HTTP/1.1 401 "));
    }
    assert!(ask(&mut other, GET).await.starts_with("HTTP/1.1 401 "));
    assert!(ask(&mut client, GET).await.contains("200 OK"));
}

/// However many clients say that their connections are authenticated: nobody has asked them to be.
#[tokio::test]
async fn own_connections_are_no_more_than_the_server_bears() {
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let server = Scripted::start(move |mut stream| {
        counted.fetch_add(1, Ordering::SeqCst);
        let counted = Arc::clone(&counted);
        async move {
            while read_message(&mut stream).await.is_some() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            counted.fetch_sub(1, Ordering::SeqCst);
        }
    })
    .await;
    let proxy = start(&server, |config| config.backends[0].servers[0].maxconn = Some(2));
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = connect(&proxy).await;
        let get = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM x\r\n\r\n";
        assert_eq!(ask(&mut client, get).await, OK);
        clients.push(client);
    }
    assert_eq!(server.accepted(), 8);
    eventually("the oldest are closed", || open.load(Ordering::SeqCst) == 2).await;
    // Whoever has lost his asks anew.
    assert_eq!(ask(&mut clients[0], GET).await, OK);
}

#[tokio::test]
async fn own_connection_is_closed_when_its_client_is_busy_elsewhere_for_too_long() {
    let (server, mut ended) = telling_of_ends().await;
    let other = Scripted::start(move |mut stream| async move {
        read_message(&mut stream).await.unwrap();
        let switch = "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(switch.as_bytes()).await.unwrap();
        let _ = read_all(&mut stream).await;
    })
    .await;
    let mut config = http_config(&[server.address]);
    let pool = &mut config.backends[0].options.pool;
    (pool.reuse, pool.idle) = (ReuseMode::Never, Duration::from_millis(100));
    config
        .backends
        .push(Backend { name: "other".to_owned(), ..http_config(&[other.address]).backends.remove(0) });
    let path = Condition::Path(vec![PathPattern::Exact("/ws".to_owned())]);
    config.frontends[0].rules = vec![Rule { when: path, then: vec![Action::Backend(BackendId(1))] }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, OK);
    let handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write_all(handshake.as_bytes()).await.unwrap();
    assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 101 "));
    timeout(LONG, ended.recv()).await.unwrap();
    drop(client);
}

#[tokio::test]
async fn r3_connection_that_was_authenticated_is_kept_while_its_client_asks_another_backend() {
    let (server, other) = (authenticating().await, Recording::answering(OK).await);
    let mut config = http_config(&[server.address]);
    config.backends.push(Backend {
        name: "other".to_owned(),
        ..http_config(&[other.server.address]).backends.remove(0)
    });
    let put = Condition::Method(vec!["PUT".to_owned()]);
    config.frontends[0].rules = vec![Rule { when: put, then: vec![Action::Backend(BackendId(1))] }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, GET).await.starts_with("HTTP/1.1 401 "));
    assert_eq!(ask(&mut client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await, OK);
    assert!(ask(&mut client, GET).await.contains("200 OK"));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn r3_connection_that_was_authenticated_decides_and_no_persistence_is_lost_by_that() {
    let servers = [authenticating().await, authenticating().await];
    let mut config = http_config(&servers.each_ref().map(|server| server.address));
    config.backends[0].cookie = Some(Cookie::new("SRV"));
    config.backends[0].servers[1].cookie = Some("app2".to_owned());
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    assert_eq!(servers.each_ref().map(Scripted::accepted), [1, 0]);
    ask(&mut client, "GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV=app2\r\n\r\n").await;
    assert_eq!(servers.each_ref().map(Scripted::accepted), [1, 0]);
    assert_eq!(counter(&proxy, "persistence_lost_total"), 0);
}

/// Kerberos: the client sends its ticket unasked, and the server says nothing of it.
#[tokio::test]
async fn r3_connection_that_a_request_has_authenticated_is_nobody_elses() {
    for credentials in ["Negotiate YIIabc", "NTLM TlRMTVNTUAAB", "negotiate x"] {
        let server = Scripted::start(|mut stream| async move {
            let mut who = "nobody";
            while let Some(request) = read_message(&mut stream).await {
                if request.contains("\r\nAuthorization: ") {
                    who = "alice";
                }
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{who}", who.len());
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        })
        .await;
        let proxy = start(&server, |config| config.backends[0].options.pool.reuse = ReuseMode::Always);
        let mut alice = connect(&proxy).await;
        let ticket = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {credentials}\r\n\r\n");
        assert!(ask(&mut alice, &ticket).await.ends_with("alice"), "{credentials}");
        assert!(ask(&mut connect(&proxy).await, GET).await.ends_with("nobody"), "{credentials}");
        assert!(ask(&mut alice, GET).await.ends_with("alice"), "{credentials}");
        drop(alice);
        // Neither does anybody get it when she is gone.
        assert!(ask(&mut connect(&proxy).await, GET).await.ends_with("nobody"), "{credentials}");
    }
}

#[tokio::test]
async fn connection_without_a_byte_is_answered_unless_probes_are_ignored() {
    let short = Duration::from_millis(200);
    for (ignore_probes, ended, silent) in [(true, "", ""), (false, "HTTP/1.1 400 ", "HTTP/1.1 408 ")] {
        let upstream = Recording::answering(OK).await;
        let proxy = start(&upstream.server, |config| {
            config.frontends[0].options.ignore_probes = ignore_probes;
            config.frontends[0].timeout.http_request = short;
        });
        let mut client = connect(&proxy).await;
        client.shutdown().await.unwrap();
        let answer = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert!(answer.starts_with(ended) && answer.is_empty() == ended.is_empty(), "{answer}");
        let answer = String::from_utf8(read_all(&mut connect(&proxy).await).await.unwrap()).unwrap();
        assert!(answer.starts_with(silent) && answer.is_empty() == silent.is_empty(), "{answer}");
        counted(&proxy, "null_connections_total", 2).await;
        // Idle after a request is nothing of this kind.
        let mut client = connect(&proxy).await;
        ask(&mut client, GET).await;
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        counted(&proxy, "null_connections_total", 2).await;
    }
}
