//! The beginning and the end of connections: timeouts, drains, reloads.

use std::time::Duration;

use lb_proxy::Config;

use super::{
    client::{self, Client},
    frames::*,
    peer, rig,
};

const SHORT: Duration = Duration::from_millis(300);

async fn with_short(set: impl FnOnce(&mut Config)) -> (lb_proxy::Proxy, rig::Scripted) {
    let (server, _told) = client::telling().await;
    let mut config = client::config(&[server.address]);
    set(&mut config);
    (client::start(config), server)
}

/// The last frames of a connection that the proxy ends: GOAWAY, its code and the last stream.
fn farewell(client: &mut Client) -> Option<(u32, u32)> {
    let mut last = None;
    while let Some(frame) = client.frame() {
        if frame.kind == GOAWAY {
            last = Some((frame.code(), u32::from_be_bytes(*frame.payload.first_chunk().unwrap())));
        }
    }
    last
}

#[tokio::test]
async fn connection_that_says_nothing_is_closed_after_the_time_of_a_request() {
    let (proxy, _server) = with_short(|config| config.frontends[0].timeout.http_request = SHORT).await;
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        assert_eq!(farewell(&mut client), Some((0, 0)), "no request");
        let mut client = Client::begun(address);
        client.get(1, "/now", &[]);
        assert_eq!(client.answer(1).status(), "200");
        client.send(&frame(HEADERS, END_STREAM, 3, &GET[..2]));
        assert_eq!(farewell(&mut client), Some((0, 1)), "half a field section");
        let mut client = Client::begun(address);
        client.get(1, "/now", &[]);
        assert_eq!(client.answer(1).status(), "200");
        client.send(&get(3)[..5]);
        assert_eq!(farewell(&mut client), Some((0, 1)), "half a frame");
    })
    .await;
    rig::counted(&proxy, "request_timeouts_total", 2).await;
}

#[tokio::test]
async fn idle_connection_is_closed_after_the_time_of_keep_alive_whatever_it_pings() {
    let (proxy, _server) = with_short(|config| config.frontends[0].timeout.http_keep_alive = SHORT).await;
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/now", &[]);
        assert_eq!(client.answer(1).status(), "200");
        client.send(&frame(PING, 0, 0, b"12345678"));
        assert_eq!(farewell(&mut client), Some((0, 1)));
        // One with a request in flight is not idle.
        let mut client = Client::begun(address);
        client.get(1, "/never", &[]);
        std::thread::sleep(3 * SHORT);
        assert_eq!(client.so_far(), (vec![], true));
    })
    .await;
}

/// RFC 9113 §6.8: first no new streams, then, when the client has heard it, the end.
#[tokio::test]
async fn drain_lets_a_client_know_and_serves_what_was_on_its_way() {
    let (server, mut told) = client::telling().await;
    let proxy = client::start(client::config(&[server.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/never", &[]);
        client
    })
    .await;
    told.recv().await.unwrap();
    let drained = tokio::spawn({
        let proxy = std::sync::Arc::new(proxy);
        let held = std::sync::Arc::clone(&proxy);
        async move {
            proxy.drain(Duration::from_secs(5)).await;
            held
        }
    });
    let mut client = peer::apart(move || {
        let mut client = client;
        let first = client.next(GOAWAY);
        assert_eq!((first.code(), &first.payload[..4]), (0, &[0x7f, 0xff, 0xff, 0xff][..]));
        let ping = client.next(PING);
        // What was on its way is served.
        client.get(3, "/now", &[]);
        client.send(&frame(PING, ACK, 0, &ping.payload));
        let second = client.next(GOAWAY);
        assert_eq!((second.code(), &second.payload[..4]), (0, &[0, 0, 0, 3][..]));
        assert_eq!(client.answer(3).content, b"ok");
        // And what comes later is not.
        client.get(5, "/now", &[]);
        client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
        client
    })
    .await;
    let rest = peer::apart(move || {
        let mut rest = Vec::new();
        while let Some(frame) = client.frame() {
            rest.push(frame);
        }
        rest
    })
    .await;
    assert!(rest.iter().all(|frame| frame.stream != 5), "{rest:?}");
    drained.await.unwrap();
}

#[tokio::test]
async fn idle_connection_is_told_that_the_node_drains() {
    let (proxy, _server) = with_short(|_| {}).await;
    let address = rig::address(&proxy);
    let mut client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/now", &[]);
        assert_eq!(client.answer(1).status(), "200");
        client
    })
    .await;
    proxy.drain(Duration::from_secs(5)).await;
    let farewell = peer::apart(move || farewell(&mut client)).await;
    assert_eq!(farewell, Some((0, 1)));
}

/// Streams in flight end under the configuration that they began with, later ones are served under the next.
#[tokio::test]
async fn reload_keeps_connections_and_streams() {
    let (old, mut told) = client::telling().await;
    let (new, mut told_new) = client::telling().await;
    let proxy = client::start(client::config(&[old.address]));
    let address = rig::address(&proxy);
    let client = peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/never", &[]);
        client.get(3, "/now", &[]);
        assert_eq!(client.answer(3).content, b"ok");
        client
    })
    .await;
    assert!(told.recv().await.is_some() && told.recv().await.is_some());
    proxy.reload(client::config(&[new.address])).await.unwrap();
    peer::apart(move || {
        let mut client = client;
        client.get(5, "/now", &[]);
        assert_eq!(client.answer(5).content, b"ok");
        assert_eq!(client.so_far(), (vec![], true));
        client
    })
    .await;
    assert!(told_new.recv().await.unwrap().contains(" /now "));
}
