//! What a reload, and the end of a process, do to connections of HTTP/2 to servers.

use std::time::Duration;

use tokio::{
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::{
    client,
    frames::*,
    rig,
    rig::Scripted,
    server::{self, Connection, ask, response},
};

/// A server that keeps requests for `/later` waiting until it is told to go on, and tells when a connection of its has ended.
async fn patient() -> (Scripted, UnboundedSender<()>, UnboundedReceiver<()>) {
    let (go, went) = unbounded_channel();
    let (tell, ended) = unbounded_channel();
    let went = std::sync::Arc::new(tokio::sync::Mutex::new(went));
    let server = server::serving(vec![], move |mut connection: Connection| {
        let (tell, went) = (tell.clone(), std::sync::Arc::clone(&went));
        async move {
            let mut later = None;
            loop {
                let next = tokio::select! {
                    next = connection.next() => next,
                    _ = async { went.lock().await.recv().await }, if later.is_some() => {
                        connection.answer(later.take().unwrap(), b"at last").await;
                        continue;
                    }
                };
                match next {
                    Some(next) if next.kind == HEADERS => {
                        let asked = connection.read(&next);
                        if asked.path() == "/later" {
                            later = Some(asked.stream);
                        } else {
                            connection.answer(asked.stream, b"at once").await;
                        }
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            tell.send(()).unwrap();
        }
    })
    .await;
    (server, go, ended)
}

async fn get(client: &mut TcpStream, path: &str) {
    ask(client, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
}

/// Two clients: one waits for its answer.
async fn begun(proxy: &lb_proxy::Proxy) -> [TcpStream; 2] {
    let mut clients = [rig::connect(proxy).await, rig::connect(proxy).await];
    get(&mut clients[0], "/later").await;
    get(&mut clients[1], "/").await;
    assert!(response(&mut clients[1]).await.contains("at once"));
    rig::eventually("it is at the server", || proxy.status().backends[0].servers[0].in_flight == 1).await;
    clients
}

#[tokio::test]
async fn reload_keeps_a_connection_to_a_server_that_stays() {
    let (server, go, _ended) = patient().await;
    let mut config = server::config(&[&server]);
    let proxy = client::start(config.clone());
    let [mut waiting, mut other] = begun(&proxy).await;
    config.backends[0].timeout.connect += Duration::from_secs(1);
    proxy.reload(config).await.unwrap();
    get(&mut other, "/").await;
    assert!(response(&mut other).await.contains("at once"));
    go.send(()).unwrap();
    assert!(response(&mut waiting).await.contains("at last"));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn connection_to_a_server_that_a_reload_takes_out_ends_with_its_last_request() {
    let (server, go, mut ended) = patient().await;
    let (next, _, _) = patient().await;
    let proxy = client::start(server::config(&[&server]));
    let [mut waiting, mut other] = begun(&proxy).await;
    proxy.reload(server::config(&[&next])).await.unwrap();
    get(&mut other, "/").await;
    assert!(response(&mut other).await.contains("at once"));
    assert_eq!((server.accepted(), next.accepted()), (1, 1));
    assert!(ended.try_recv().is_err());
    go.send(()).unwrap();
    assert!(response(&mut waiting).await.contains("at last"));
    ended.recv().await.unwrap();
}

/// The next one has connections of its own to the servers; those of the first end with their last requests.
#[tokio::test]
async fn process_that_hands_over_serves_what_it_has_in_flight() {
    let (server, go, mut ended) = patient().await;
    let config = server::config(&[&server]);
    let old = client::start(config.clone());
    let [mut waiting, mut other] = begun(&old).await;
    let new = lb_proxy::Proxy::start_from(config, old.hand_over().await.unwrap()).unwrap();
    let retired = tokio::spawn(async move {
        old.retire(rig::LONG).await;
        old.finish().await
    });
    // It gets one more answer, and comes back to the next process.
    get(&mut other, "/").await;
    assert!(response(&mut other).await.contains("Connection: close"));
    let mut client = rig::connect(&new).await;
    get(&mut client, "/").await;
    assert!(response(&mut client).await.contains("at once"));
    assert_eq!(server.accepted(), 2);
    go.send(()).unwrap();
    let answer = response(&mut waiting).await;
    assert!(answer.contains("at last") && answer.contains("Connection: close"), "{answer}");
    assert_eq!(retired.await.unwrap(), 0, "connections that were cut");
    ended.recv().await.unwrap();
}
