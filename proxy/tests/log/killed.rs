//! Exchanges that somebody else ends: their server goes down, their address leaves, the process stops, a worker's task is
//! dropped.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{Check, CheckKind},
};
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    peers::*,
    rig::{LONG, Scripted, connect, eventually, quick_check},
    syslog::{Syslog, end},
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

#[tokio::test]
async fn exchange_whose_address_leaves_or_whose_process_stops_is_killed_by_the_operator() {
    const BEGUN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
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
async fn exchange_whose_server_goes_down_is_ended_by_that() {
    let (syslog, (server, asked)) = (Syslog::start().await, server(b"").await);
    let mut config = http_config(&[server.address]);
    syslog.receive_from(&mut config);
    config.backends[0].check = Some(Check { rise: 1, fall: 1, ..quick_check(CheckKind::Tcp) });
    config.backends[0].cut_when_down = true;
    let proxy = Proxy::start(config).unwrap();
    let usable = |proxy: &Proxy| proxy.health().borrow().backends[0].usable;
    eventually("up", || usable(&proxy) == 1).await;
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    asked.notified().await;
    drop(server);
    assert_eq!(
        syslog.line().await,
        "front back/s1 T/T/T/-1/T -1 0 - - DH-- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\""
    );
}
