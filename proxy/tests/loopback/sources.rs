//! What one source may do at a frontend. Sources are addresses of 127.0.0.0/8.

use std::{io::ErrorKind, net::SocketAddr, num::NonZeroU32, time::Duration};

use lb_proxy::{
    Proxy,
    config::Mode,
    status::Why,
    table::{Rate, SourceLimits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{rig::*, syslog::Syslog};

fn limits(connections: u32, rate: Option<u32>) -> SourceLimits {
    let rate = rate.and_then(NonZeroU32::new);
    SourceLimits {
        connections: NonZeroU32::new(connections),
        connection_rate: rate.map(|count| Rate { count, per: Duration::from_secs(600) }),
        size: NonZeroU32::new(1000).unwrap(),
        ipv6_prefix: 64,
    }
}

async fn proxy_with(mode: Mode, limits: SourceLimits, server: &Scripted) -> Proxy {
    let mut config = config(mode, &[server.address]);
    config.frontends[0].per_source = Some(limits);
    config.threads = 4.try_into().unwrap();
    Proxy::start(config).unwrap()
}

/// A connection to `front` from 127.0.0.`host`; it may be reset before it is looked at.
async fn try_connect_from(proxy: &Proxy, host: u8) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0)))?;
    socket.connect(address(proxy)).await
}

async fn connect_from(proxy: &Proxy, host: u8) -> TcpStream {
    try_connect_from(proxy, host).await.unwrap()
}

/// The connection if the server greets it, `None` if it is reset.
async fn greeted_from(proxy: &Proxy, host: u8) -> Option<TcpStream> {
    let greeted = async {
        let mut client = try_connect_from(proxy, host).await?;
        let greeting = client.read_u8().await?;
        assert_eq!(greeting, b'a');
        Ok(client)
    };
    let result: std::io::Result<_> = timeout(LONG, greeted).await.expect("neither greeted nor refused");
    result.map_err(|error| assert_eq!(error.kind(), ErrorKind::ConnectionReset)).ok()
}

#[tokio::test]
async fn tcp_source_has_so_many_connections_over_all_workers_and_the_next_is_reset() {
    let server = Scripted::named("a").await;
    let proxy = proxy_with(Mode::Tcp, limits(3, None), &server).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(greeted_from(&proxy, 2).await.expect("within the limit"));
    }
    for _ in 0..5 {
        assert!(greeted_from(&proxy, 2).await.is_none());
    }
    assert!(greeted_from(&proxy, 3).await.is_some(), "another source has its own");
    counted(&proxy, "source_connection_refusals_total", 5).await;
    open.pop();
    eventually("it is given back", || proxy.status().frontends[0].connections <= 2).await;
    assert!(greeted_from(&proxy, 2).await.is_some());
    assert_eq!(server.accepted(), 5, "no refused connection reaches a server");
}

#[tokio::test]
async fn tcp_source_opens_so_many_in_a_while_and_the_next_is_reset() {
    let server = Scripted::named("a").await;
    let proxy = proxy_with(Mode::Tcp, limits(0, Some(4)), &server).await;
    for _ in 0..4 {
        assert!(greeted_from(&proxy, 2).await.is_some());
    }
    assert!(greeted_from(&proxy, 2).await.is_none());
    assert!(greeted_from(&proxy, 3).await.is_some());
    counted(&proxy, "source_rate_refusals_total", 1).await;
    assert_eq!((proxy.status().tables[0].entries, proxy.status().tables[0].size), (2, 1000));
}

#[tokio::test]
async fn http_source_is_told_429_with_retry_after_and_closed() {
    let server = Scripted::named("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut config = config(Mode::Http, &[server.address]);
    config.frontends[0].per_source = Some(limits(1, None));
    let syslog = Syslog::start().await;
    syslog.receive_from(&mut config);
    let proxy = Proxy::start(config).unwrap();
    let mut first = connect_from(&proxy, 2).await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert!(read_n(&mut first, 12).await.starts_with(b"HTTP/1.1 200"));
    let mut second = connect_from(&proxy, 2).await;
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(read_all(&mut second).await.unwrap()).unwrap();
    assert_eq!(
        answer,
        "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 115\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n\
         Retry-After: 1\r\nConnection: close\r\n\r\n<html><body><h1>429 Too Many Requests</h1>\n\
         There are too many requests from there; try again later.\n</body></html>\n"
    );
    assert_eq!(proxy.status().frontends[0].responses[4], 1);
    counted(&proxy, "source_connection_refusals_total", 1).await;
    assert!(syslog.raw().await.contains(" 200 "), "the first one");
    // A flood has no lines: the status tells of it.
    let [refused] = &proxy.status().frontends[0].refused[..] else { panic!("one reason") };
    assert_eq!((refused.why, refused.count), (Why::Source, 1));
    assert_eq!(refused.reason, "127.0.0.2 has too many connections open (per_source.connections)");
    assert!(syslog.pending().is_none());
}

#[tokio::test]
async fn http_flood_of_one_source_is_reset_and_holds_nothing() {
    let server = Scripted::named("").await;
    let mut config = config(Mode::Http, &[server.address]);
    config.frontends[0].per_source = Some(limits(1, None));
    config.threads = 1.try_into().unwrap();
    let proxy = Proxy::start(config).unwrap();
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(try_connect_from(&proxy, 2).await);
    }
    // One is served, 32 are being told, the others are gone.
    let connections = || proxy.status().frontends[0].connections;
    eventually("no more are held", || {
        counter(&proxy, "source_connection_refusals_total") == 199 && connections() <= 33
    })
    .await;
    let mut other = connect_from(&proxy, 3).await;
    other.write_all(b"BAD\r\n\r\n").await.unwrap();
    assert!(read_n(&mut other, 12).await.starts_with(b"HTTP/1.1 400"));
}
