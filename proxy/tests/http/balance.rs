//! Balancing by what a request says.

use lb_proxy::{
    Proxy,
    config::{Backend, BackendId, Balance, HashKey, HashKind, UriPart},
    rules::{Action, Condition, PathPattern, Rule},
};
use tokio::io::AsyncWriteExt;

use crate::{peers::*, rig::*};

async fn three() -> [Recording; 3] {
    let server = || Recording::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    [server().await, server().await, server().await]
}

/// Which server got each request, by the order of their targets.
async fn servers_of(key: HashKey, requests: &[(String, String)]) -> Vec<usize> {
    let servers = three().await;
    let mut config = http_config(&servers.each_ref().map(|server| server.server.address));
    config.backends[0].balance = Balance::Hash { key, kind: HashKind::Consistent };
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for (target, fields) in requests {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(read_message(&mut client).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    let got = |target: &str| {
        let line = format!("GET {target} HTTP/1.1\r\n");
        servers.iter().position(|server| server.requests().iter().any(|request| request.starts_with(&line)))
    };
    requests.iter().map(|(target, _)| got(target).unwrap()).collect()
}

#[tokio::test]
async fn requests_with_the_same_header_go_to_the_same_server() {
    let request = |n: usize| (format!("/{n}"), format!("X-USER: user{}\r\n", n % 15));
    let requests: Vec<_> = (0..30).map(request).collect();
    let servers = servers_of(HashKey::Header("x-user".into()), &requests).await;
    assert_eq!(servers[..15], servers[15..]);
    assert!((0..3).all(|server| servers.contains(&server)), "15 users on all three servers: {servers:?}");
}

#[tokio::test]
async fn requests_without_the_header_go_in_turn() {
    let requests: Vec<_> = (0..6).map(|n| (format!("/{n}"), String::new())).collect();
    let servers = servers_of(HashKey::Header("x-user".into()), &requests).await;
    assert_eq!(servers, [0, 1, 2, 0, 1, 2]);
}

#[tokio::test]
async fn requests_for_the_same_part_of_a_target_go_to_the_same_server() {
    let one = |directory: usize, n: usize| (format!("/d{directory}/{n}?q={n}"), String::new());
    let requests: Vec<_> = (0..30).map(|n| one(n % 15, n)).collect();
    let part = UriPart { depth: std::num::NonZeroUsize::new(1), ..UriPart::default() };
    let servers = servers_of(HashKey::Uri(part), &requests).await;
    assert_eq!(servers[..15], servers[15..]);
    assert!((0..3).all(|server| servers.contains(&server)), "15 directories: {servers:?}");
}

#[tokio::test]
async fn request_that_a_rule_sends_elsewhere_goes_by_the_key_of_that_backend() {
    let servers = three().await;
    let mut config = http_config(&servers.each_ref().map(|server| server.server.address));
    let by = |key| Balance::Hash { key, kind: HashKind::Consistent };
    let chosen = Backend { name: "chosen".to_owned(), ..config.backends[0].clone() };
    config.backends.push(Backend { balance: by(HashKey::Query("user".into())), ..chosen });
    config.backends[0].balance = by(HashKey::Header("x-user".into()));
    config.frontends[0].rules = vec![Rule {
        when: Condition::Path(vec![PathPattern::Prefix("/chosen".into())]),
        then: vec![Action::Backend(BackendId(1))],
    }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for n in 0..30 {
        // By the header of the default backend each would go to another server than the same user before.
        let (user, other) = (n % 15, n);
        let request = format!("GET /chosen/{n}?user={user} HTTP/1.1\r\nHost: h\r\nX-User: {other}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        assert!(read_message(&mut client).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    let got = |n: usize| {
        let line = format!("GET /chosen/{n}?");
        servers.iter().position(|server| server.requests().iter().any(|request| request.starts_with(&line)))
    };
    let got: Vec<_> = (0..30).map(|n| got(n).unwrap()).collect();
    assert_eq!(got[..15], got[15..]);
    assert!((0..3).all(|server| got.contains(&server)), "15 users on all three servers: {got:?}");
}
