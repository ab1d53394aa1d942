//! Persistence by cookie, through whole exchanges: what a server is sent and a client gets, byte for byte, and where
//! requests go. What is read and written is tested as a table with the codec, and against HAProxy (`differential`).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{Cookie, Server},
};
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    peers::*,
    rig::{Refusing, Scripted, connect, counter, eventually},
    witness::Witness,
};

/// Servers with the cookie values `app1`, `app2`, ...; `cookie SRV insert indirect`.
fn sticky(servers: &[SocketAddr]) -> Config {
    let mut config = http_config(servers);
    config.backends[0].cookie = Some(Cookie { indirect: true, ..Cookie::new("SRV") });
    config.backends[0].timeout.connect = Duration::from_millis(100);
    let value = |(index, server): (usize, &mut Server)| server.cookie = Some(format!("app{}", index + 1));
    config.backends[0].servers.iter_mut().enumerate().for_each(value);
    config
}

fn with_cookie(value: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: SRV={value}\r\n\r\n")
}

/// Two servers that answer with their letters.
async fn two() -> [Recording; 2] {
    [
        Recording::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await,
        Recording::answering("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb").await,
    ]
}

#[tokio::test]
async fn server_never_sees_the_cookie_and_everything_else_as_it_was() {
    let recording = Recording::answering(OK).await;
    let proxy = Proxy::start(sticky(&[recording.server.address])).unwrap();
    let mut client = connect(&proxy).await;
    let requests = [
        "GET /x HTTP/1.1\r\nHost: a\r\nCookie: A=1; SRV=app1; B=\"2\"\r\nX: y\r\n\r\n",
        "GET /x HTTP/1.1\r\nCookie: SRV=app1\r\nHost: a\r\nCookie: B=2\r\n\r\n",
        "POST /x HTTP/1.1\r\nHost: a\r\nCookie: XSRV=1;SRVx=2\r\nContent-Length: 2\r\n\r\nhi",
    ];
    for request in requests {
        ask(&mut client, request).await;
    }
    assert_eq!(
        recording.requests(),
        [
            "GET /x HTTP/1.1\r\nHost: a\r\nCookie: A=1; B=\"2\"\r\nX: y\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a\r\nCookie: B=2\r\n\r\n",
            "POST /x HTTP/1.1\r\nHost: a\r\nCookie: XSRV=1;SRVx=2\r\nContent-Length: 2\r\n\r\nhi",
        ]
    );
}

#[tokio::test]
async fn backend_without_a_cookie_passes_them_as_they_are() {
    let recording =
        Recording::answering("HTTP/1.1 200 OK\r\nSet-Cookie: SRV=x\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = proxy_for(&recording.server);
    let request = "GET / HTTP/1.1\r\nHost: a\r\nCookie: A=1;;SRV=app1\r\nCookie: SRV=app2\r\n\r\n";
    let response = ask(&mut connect(&proxy).await, request).await;
    assert_eq!(recording.requests(), [request]);
    assert_eq!(response, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=x\r\nContent-Length: 2\r\n\r\nok");
}

#[tokio::test]
async fn client_gets_the_cookie_once_and_its_server_always() {
    let [a, b] = two().await;
    let proxy = Proxy::start(sticky(&[a.server.address, b.server.address])).unwrap();
    let first = ask(&mut connect(&proxy).await, GET).await;
    assert_eq!(first, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=app1; path=/\r\nContent-Length: 1\r\n\r\na");
    let second = ask(&mut connect(&proxy).await, GET).await;
    assert_eq!(second, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=app2; path=/\r\nContent-Length: 1\r\n\r\nb");
    let mut client = connect(&proxy).await;
    for _ in 0..3 {
        let answer = ask(&mut client, &with_cookie("app2")).await;
        assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb");
        // One connection may carry requests of several clients.
        assert!(ask(&mut client, &with_cookie("app1")).await.ends_with("\r\n\r\na"));
    }
    assert_eq!(counter(&proxy, "persisted_total"), 6);
}

#[tokio::test]
async fn interim_response_sets_nothing_and_the_final_one_does() {
    let server =
        Recording::answering("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
            .await;
    let proxy = Proxy::start(sticky(&[server.server.address])).unwrap();
    let mut client = connect(&proxy).await;
    let interim = ask(&mut client, GET).await;
    assert_eq!(interim, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(answer(&mut client).await, "HTTP/1.1 204 No Content\r\nSet-Cookie: SRV=app1; path=/\r\n\r\n");
}

#[tokio::test]
async fn client_of_a_server_that_refuses_moves_with_redispatch_and_gets_another_cookie() {
    let [a, _] = two().await;
    let refusing = Refusing::new();
    let mut config = sticky(&[refusing.address, a.server.address]);
    config.backends[0].retries = 1;
    config.backends[0].redispatch = true;
    let proxy = Proxy::start(config).unwrap();
    let moved = ask(&mut connect(&proxy).await, &with_cookie("app1")).await;
    assert!(moved.contains("\r\nSet-Cookie: SRV=app2; path=/\r\n"), "{moved}");
    assert_eq!(counter(&proxy, "persistence_lost_total"), 1);
}

/// Measured with HAProxy: its own server is tried again after the pause, another one at the last retry.
#[tokio::test]
async fn d7_client_with_a_cookie_leaves_its_server_at_the_last_retry_only() {
    let [a, _] = two().await;
    let refusing = Refusing::new();
    let mut config = sticky(&[refusing.address, a.server.address]);
    config.backends[0].retries = 2;
    config.backends[0].redispatch = true;
    let proxy = Proxy::start(config).unwrap();
    let errors =
        || proxy.status().backends[0].servers.iter().map(|server| server.connect_errors).sum::<u64>();
    let start = std::time::Instant::now();
    let moved = ask(&mut connect(&proxy).await, &with_cookie("app1")).await;
    assert!(moved.contains("\r\nSet-Cookie: SRV=app2; path=/\r\n"), "{moved}");
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
    assert_eq!(
        (errors(), counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total")),
        (2, 2, 1)
    );
    // A client without one moves at the first retry, whoever was first.
    for _ in 0..2 {
        assert!(ask(&mut connect(&proxy).await, GET).await.ends_with("\r\n\r\na"));
    }
    assert_eq!(
        (errors(), counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total")),
        (3, 3, 2)
    );
}

#[tokio::test]
async fn client_of_a_server_that_refuses_gets_503_without_redispatch() {
    let [a, _] = two().await;
    let refusing = Refusing::new();
    let mut config = sticky(&[refusing.address, a.server.address]);
    config.backends[0].retries = 1;
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let answer = ask(&mut connect(&proxy).await, &with_cookie("app1")).await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && !answer.contains("Set-Cookie"), "{answer}");
    assert_eq!(witness.says().await, "503 SCVN");
    assert_eq!(counter(&proxy, "connect_failures_total"), 1);
    assert_eq!(a.requests().len(), 0);
}

#[tokio::test]
async fn server_with_weight_0_keeps_its_clients_and_gets_no_others() {
    let [a, b] = two().await;
    let mut config = sticky(&[a.server.address, b.server.address]);
    config.backends[0].servers[0].weight = 0;
    let proxy = Proxy::start(config).unwrap();
    for _ in 0..3 {
        assert!(ask(&mut connect(&proxy).await, &with_cookie("app1")).await.ends_with("\r\n\r\na"));
        assert!(ask(&mut connect(&proxy).await, GET).await.ends_with("\r\n\r\nb"));
    }
}

#[tokio::test]
async fn client_of_a_full_server_waits_for_it_and_others_do_not() {
    let release = Arc::new(Notify::new());
    let slow = {
        let release = Arc::clone(&release);
        Scripted::start(move |mut stream| {
            let release = Arc::clone(&release);
            async move {
                while read_message(&mut stream).await.is_some() {
                    release.notified().await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await;
                }
            }
        })
        .await
    };
    let [_, b] = two().await;
    let mut config = sticky(&[slow.address, b.server.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = Proxy::start(config).unwrap();
    let mut clients = [connect(&proxy).await, connect(&proxy).await];
    for client in &mut clients {
        client.write_all(with_cookie("app1").as_bytes()).await.unwrap();
    }
    let status = || proxy.status().backends[0].servers[0].clone();
    eventually("one is served, one waits", || (status().in_flight, status().traffic.queued) == (1, 1)).await;
    assert!(ask(&mut connect(&proxy).await, GET).await.ends_with("\r\n\r\nb"));
    for _ in 0..2 {
        release.notify_one();
        eventually("served", || status().traffic.queued == 0).await;
    }
    for client in &mut clients {
        assert!(answer(client).await.ends_with("\r\n\r\na"));
    }
}
