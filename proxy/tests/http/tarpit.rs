//! Requests that a rule lets wait before it refuses them.

use std::{io, net::SocketAddr, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::ReuseMode,
    rules::{Action, Condition, PathPattern, Rule},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    peers::*,
    rig::{LONG, connect, counter, eventually, read_all},
    witness::Witness,
};

const HELD: &str = "GET /held HTTP/1.1\r\nHost: a\r\n\r\n";

/// `/held` waits for `wait` in front of `upstream`.
fn start(upstream: &Recording, wait: Duration) -> Proxy {
    Proxy::start(config_for(upstream.server.address, wait)).unwrap()
}

fn config_for(server: SocketAddr, wait: Duration) -> Config {
    let mut config = http_config(&[server]);
    let when = Condition::Path(vec![PathPattern::Exact("/held".into())]);
    config.frontends[0].rules = vec![Rule { when, then: vec![Action::Tarpit(500)] }];
    config.frontends[0].timeout.tarpit = wait;
    config
}

/// A client that waits for longer than any test.
async fn held(proxy: &Proxy, request: &str) -> TcpStream {
    let before = counter(proxy, "tarpitted_total");
    let mut client = connect(proxy).await;
    client.write_all(request.as_bytes()).await.unwrap();
    eventually("the client is held", || counter(proxy, "tarpitted_total") == before + 1).await;
    client
}

const FOR_EVER: Duration = Duration::from_secs(30 * 86_400);

/// Whose server may serve nobody else: in the tarpit its client needs none.
#[tokio::test]
async fn client_in_the_tarpit_holds_no_connection_to_a_server() {
    let (server, mut ended) = telling_of_ends().await;
    let mut config = config_for(server.address, FOR_EVER);
    config.backends[0].options.pool.reuse = ReuseMode::Never;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, OK);
    client.write_all(HELD.as_bytes()).await.unwrap();
    eventually("the server's connection ends", || ended.try_recv().is_ok()).await;
    assert!(is_silent(&client));
}

fn is_silent(client: &TcpStream) -> bool {
    matches!(client.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn tarpitted_request_is_answered_after_its_time_and_closed() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream, Duration::from_millis(200));
    for (request, page) in [
        (HELD, true),
        ("HEAD /held HTTP/1.1\r\nHost: a\r\n\r\n", false),
        // Neither content nor a further request is looked at.
        (
            "POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            true,
        ),
    ] {
        let mut client = connect(&proxy).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        let (head, content) = all.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{all}");
        assert!(head.contains("\r\nConnection: close"), "{all}");
        assert_eq!(content.starts_with("<html>"), page, "{all}");
    }
    assert_eq!((counter(&proxy, "tarpitted_total"), counter(&proxy, "denied_total")), (3, 0));
    assert_eq!(proxy.status().frontends[0].responses[5], 3);
    assert_eq!(upstream.server.accepted(), 0);
}

#[tokio::test]
async fn client_in_a_tarpit_is_a_connection_and_nothing_else_and_leaves_at_once() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream, FOR_EVER);
    // With bytes behind the request that nobody reads, and without.
    for request in [HELD.to_owned(), format!("{HELD}{GET}"), format!("{HELD}{}", "x".repeat(100_000))] {
        let client = held(&proxy, &request).await;
        assert_eq!(ask(&mut connect(&proxy).await, GET).await, OK, "others are served");
        eventually("only the held one is open", || proxy.status().connections == 1).await;
        assert!(is_silent(&client));
        assert_eq!(proxy.status().backends[0].servers[0].in_flight, 0);
        drop(client);
        eventually("its place is free", || proxy.status().connections == 0).await;
    }
}

/// As in HAProxy.
#[tokio::test]
async fn client_that_ends_its_side_in_a_tarpit_is_answered_at_once() {
    let upstream = Recording::answering(OK).await;
    let mut config = config_for(upstream.server.address, FOR_EVER);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    for request in [HELD.to_owned(), format!("{HELD}{GET}")] {
        let mut client = held(&proxy, &request).await;
        client.shutdown().await.unwrap();
        let all = String::from_utf8(read_all(&mut client).await.unwrap()).unwrap();
        assert!(all.starts_with("HTTP/1.1 500 ") && all.matches("HTTP/1.1").count() == 1, "{all}");
        assert_eq!(witness.says().await, "500 CT--");
    }
    assert_eq!(counter(&proxy, "tarpitted_total"), 2);
}

#[tokio::test]
async fn drain_and_stop_end_a_tarpit() {
    let upstream = Recording::answering(OK).await;
    let proxy = start(&upstream, FOR_EVER);
    let mut client = held(&proxy, HELD).await;
    assert_eq!(proxy.drain(LONG).await, 0);
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    // One that comes while the node drains.
    let mut late = held(&proxy, HELD).await;
    assert_eq!(read_all(&mut late).await.unwrap(), b"");
    let proxy = start(&upstream, FOR_EVER);
    let mut client = held(&proxy, HELD).await;
    assert_eq!(proxy.stop(LONG).await, 0);
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
}
