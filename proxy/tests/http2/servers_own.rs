//! Connections of HTTP/2 to servers that are one client's own.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use lb_proxy::config::{ProxyVersion, ReuseMode, SendProxy};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    client::{self, Client},
    peer, rig,
    server::{self, Connection, ask, response},
};

/// Answers with the number of its connection. There is never more than one request on it.
async fn answer_alone(number: usize, mut connection: Connection) {
    while let Some(asked) = connection.asked().await {
        if asked.path() != "/never" {
            connection.answer(asked.stream, number.to_string().as_bytes()).await;
        } else if let Some(other) = connection.asked().await {
            panic!("{other:?} beside one that is not answered");
        }
    }
}

/// The numbers of the connections by which two clients of HTTP/1.1 are served, who ask in turn.
async fn served(proxy: &lb_proxy::Proxy) -> Vec<String> {
    let mut clients = [rig::connect(proxy).await, rig::connect(proxy).await];
    let mut numbers = Vec::new();
    for _ in 0..3 {
        for client in &mut clients {
            ask(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let answer = response(client).await;
            numbers.push(answer.rsplit("\r\n").nth(3).unwrap().to_owned());
        }
    }
    numbers
}

#[tokio::test]
async fn without_reuse_each_client_has_a_connection_of_its_own() {
    let count = Arc::new(AtomicUsize::new(0));
    let server =
        server::serving(vec![], move |connection| answer_alone(count.fetch_add(1, SeqCst) + 1, connection))
            .await;
    let mut config = server::config(&[&server]);
    config.backends[0].options.pool.reuse = ReuseMode::Never;
    let proxy = client::start(config);
    assert_eq!(served(&proxy).await, ["1", "2", "1", "2", "1", "2"]);
    // Streams side by side are clients like others; those one after the other have the same.
    let address = rig::address(&proxy);
    peer::apart(move || {
        let mut client = Client::begun(address);
        client.get(1, "/never", &[]);
        assert!(client.so_far().1);
        let mut numbers = Vec::new();
        for stream in [3, 5, 7] {
            client.get(stream, "/", &[]);
            numbers.push(client.answer(stream).content);
        }
        assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
    })
    .await;
    assert_eq!(server.accepted(), 4);
}

#[tokio::test]
async fn server_that_is_told_of_clients_has_one_client_on_a_connection() {
    let count = Arc::new(AtomicUsize::new(0));
    let (tell, mut told) = unbounded_channel();
    let server = server::introduced(move |line, connection| {
        tell.send(line).unwrap();
        answer_alone(count.fetch_add(1, SeqCst) + 1, connection)
    })
    .await;
    let mut config = server::config(&[&server]);
    config.backends[0].servers[0].send_proxy =
        Some(SendProxy { version: ProxyVersion::V1, extensions: Vec::new() });
    let proxy = client::start(config);
    assert_eq!(served(&proxy).await, ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(server.accepted(), 2);
    for _ in 0..2 {
        let line = told.recv().await.unwrap();
        assert!(line.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{line}");
    }
}
