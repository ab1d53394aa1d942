//! Exchanges that somebody else ends: their server goes down, their address leaves, the process stops, a worker's task is
//! dropped.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    config::{Bind, Check, CheckKind, LogFormat, Mode},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};

use crate::{
    peers::*,
    rig::{LONG, Scripted, config, connect, counter, eventually, quick_check, read_n},
    syslog::{Syslog, end},
    terminations::{Bench, deaf},
};

/// Says `response` and then nothing more, and tells when it was asked.
async fn server(response: &'static [u8]) -> (Scripted, Arc<Notify>) {
    let asked = Arc::new(Notify::new());
    let has_been_asked = Arc::clone(&asked);
    let server = Scripted::start(move |mut stream| {
        let asked = Arc::clone(&asked);
        async move {
            while read_head(&mut stream).await.is_some() {
                asked.notify_one();
                if stream.write_all(response).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (server, has_been_asked)
}

const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";

#[tokio::test]
async fn exchange_whose_address_leaves_or_whose_process_stops_is_killed_by_the_operator() {
    for (response, expected) in [(&b""[..], "T/T/T/-1/T -1 0 - - KH--"), (BEGUN, "T/T/T/T/T 200 41 - - KD--")]
    {
        let (syslog, (server, asked)) = (Syslog::start().await, server(response).await);
        let mut config = http_config(&[server.address]);
        syslog.receive_from(&mut config);
        let proxy = Proxy::start(config.clone()).unwrap();
        let mut client = connect(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        asked.notified().await;
        if !response.is_empty() {
            read_head(&mut client).await.unwrap();
        }
        assert_eq!(proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], LONG).await, 1);
        let line = syslog.line().await;
        assert_eq!(line, format!("front back/s1 {expected} 1/1/0/0/0 0/0 \"GET / HTTP/1.1\""));
        end(proxy, &syslog).await;

        let proxy = Proxy::start(config).unwrap();
        let mut client = connect(&proxy).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        asked.notified().await;
        if !response.is_empty() {
            read_head(&mut client).await.unwrap();
        }
        proxy.stop(Duration::ZERO).await;
        // It is there by now: the end waits for the log.
        let line = crate::syslog::masked(&syslog.pending().unwrap());
        assert!(line.starts_with(&format!("front back/s1 {expected} 1/1/")), "{line}");
        syslog.ends();
    }
}

#[tokio::test]
async fn one_that_has_no_server_yet_is_killed_by_the_operator_where_it_is() {
    let (deaf, _filling) = deaf().await;
    for (request, expected) in
        [("GET / HT", "-1 KR-- front/<NOSRV> -1/-1/-1/-1/T"), (GET, "-1 KC-- back/s1 T/T/-1/-1/T")]
    {
        let bench = Bench::start(http_config(&[deaf.local_addr().unwrap()]), |_| {}).await;
        let _client = bench.sends(request).await;
        let received = || bench.proxy.status().frontends[0].bytes_in;
        eventually("it is here", || received() == request.len() as u64).await;
        if request == GET {
            eventually("it is tried", || in_flight(&bench.proxy) == 1).await;
        }
        assert_eq!(bench.proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], LONG).await, 1);
        assert_eq!(bench.outcome().await, expected);
    }
}

fn in_flight(proxy: &Proxy) -> u64 {
    proxy.status().backends[0].servers[0].in_flight
}

#[tokio::test]
async fn one_that_waits_in_line_is_killed_there() {
    let (server, asked) = server(b"").await;
    let bench = Bench::start(http_config(&[server.address]), |config| {
        config.backends[0].servers[0].maxconn = Some(1);
        let elsewhere =
            Bind { label: "elsewhere".into(), address: ([127, 0, 0, 2], 0).into(), accept_proxy: None };
        config.frontends[0].binds.push(elsewhere);
    })
    .await;
    // This one stays, so the place of the other does not become free.
    let stays = bench.proxy.status().frontends[0].binds[1].address.unwrap();
    let mut first = TcpStream::connect(stays).await.unwrap();
    first.write_all(GET.as_bytes()).await.unwrap();
    asked.notified().await;
    let _second = bench.sends(GET).await;
    eventually("it waits", || counter(&bench.proxy, "queued_total") == 1).await;
    assert_eq!(bench.proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], LONG).await, 1);
    assert_eq!(bench.outcome().await, "-1 KQ-- back/<NOSRV> T/T/-1/-1/T");
}

/// It is down when what its check connects to is gone.
fn checked_elsewhere(config: &mut Config, checked: &Scripted) {
    config.backends[0].check = Some(Check { rise: 1, fall: 1, ..quick_check(CheckKind::Tcp) });
    config.backends[0].cut_when_down = true;
    config.backends[0].servers[0].check_at.port = Some(checked.address.port());
}

#[tokio::test]
async fn exchange_whose_server_goes_down_is_ended_by_that() {
    let (silent, asked) = server(b"").await;
    let (begun, asked_too) = server(BEGUN).await;
    for (address, asked, expected) in [
        (silent.address, asked, "-1 DH-- back/s1 T/T/T/-1/T"),
        (begun.address, asked_too, "200 DD-- back/s1 T/T/T/T/T"),
    ] {
        let checked = Scripted::named("alive").await;
        let bench = Bench::start(http_config(&[address]), |config| checked_elsewhere(config, &checked)).await;
        eventually("up", || bench.proxy.health().borrow().backends[0].usable == 1).await;
        let mut client = bench.sends(GET).await;
        asked.notified().await;
        if expected.starts_with("200") {
            read_head(&mut client).await.unwrap();
        }
        drop(checked);
        assert_eq!(bench.outcome().await, expected);
    }
}

#[tokio::test]
async fn connection_of_a_tcp_frontend_that_somebody_else_ends_is_d_or_k() {
    let server = Scripted::named("hello").await;
    for (goes_down, letters) in [(true, "DD"), (false, "KD")] {
        let checked = Scripted::named("alive").await;
        let bench = Bench::start(config(Mode::Tcp, &[server.address]), |config| {
            config.frontends[0].log.format = LogFormat::Tcp;
            checked_elsewhere(config, &checked);
        })
        .await;
        eventually("up", || bench.proxy.health().borrow().backends[0].usable == 1).await;
        let mut client = connect(&bench.proxy).await;
        read_n(&mut client, 5).await;
        if goes_down {
            drop(checked);
        } else {
            bench.proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], LONG).await;
        }
        assert_eq!(bench.syslog.line().await, format!("front back/s1 T/T/T 5 {letters} 1/1/0/0/0 0/0"));
    }
}
