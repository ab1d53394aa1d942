//! Servers that rules of a backend choose, whatever cookies, tables and the balance say.

use std::net::SocketAddr;

use lb_proxy::{
    Config, Proxy,
    config::{Backend, BackendId, CheckKind, Cookie, Mode, Server},
    rules::{Action, Condition, NamedBackend, PathPattern, Rule, Text as Written, ValuePattern},
    sample::{Names, Place, Stage, Template, Text},
};

use crate::{
    peers::*,
    rig::{Refusing, connect, counter, eventually, healthy, quick_check},
};

const ANSWERS: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nc",
];

/// Requests for `path` go to this server of `back`.
fn sends(path: &str, server: usize) -> Rule {
    let when = Condition::Path(vec![PathPattern::Exact(path.to_owned())]);
    Rule { when, then: vec![Action::Server { backend: BackendId(0), server }] }
}

fn ruled(servers: &[SocketAddr], rules: Vec<Rule>) -> Config {
    let mut config = http_config(servers);
    config.backends[0].rules = rules;
    config
}

fn request(path: &str, cookie: &str) -> String {
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{cookie}\r\n")
}

/// The letter of the server that answers.
async fn letter(proxy: &Proxy, path: &str) -> char {
    let answer = ask(&mut connect(proxy).await, &request(path, "")).await;
    answer.chars().last().unwrap()
}

#[tokio::test]
async fn server_of_a_rule_goes_before_the_turn_and_the_cookie_and_sets_none() {
    let (a, b) = (Recording::answering(ANSWERS[0]).await, Recording::answering(ANSWERS[1]).await);
    let mut config = ruled(&[a.server.address, b.server.address], vec![sends("/b", 1)]);
    config.backends[0].cookie = Some(Cookie { indirect: true, ..Cookie::new("SRV") });
    for (server, value) in config.backends[0].servers.iter_mut().zip(["one", "two"]) {
        server.cookie = Some(value.to_owned());
    }
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    // Measured with HAProxy: the client keeps the cookie that it has, or gets none.
    for cookie in ["", "SRV=one; x=y", "SRV=two", "SRV=gone"] {
        assert_eq!(ask(&mut client, &request("/b", cookie)).await, ANSWERS[1], "{cookie}");
    }
    assert_eq!(b.requests()[1], "GET /b HTTP/1.1\r\nHost: a\r\nCookie: x=y\r\n\r\n");
    assert_eq!(counter(&proxy, "persisted_total"), 0);
    assert_eq!(counter(&proxy, "persistence_lost_total"), 0);
    // The turn was nobody's.
    let first = ask(&mut client, &request("/", "")).await;
    assert_eq!(first, "HTTP/1.1 200 OK\r\nSet-Cookie: SRV=one; path=/\r\nContent-Length: 1\r\n\r\na");
}

#[tokio::test]
async fn rule_whose_server_is_down_is_passed_over_and_then_the_balance_decides() {
    let (a, b, refusing) =
        (Recording::answering(ANSWERS[0]).await, Recording::answering(ANSWERS[1]).await, Refusing::new());
    let rules = vec![sends("/x", 2), sends("/x", 1), sends("/y", 2)];
    let mut config = ruled(&[a.server.address, b.server.address, refusing.address], rules);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "checked", |health| health.first_round_done && health.backends[0].usable == 2).await;
    for _ in 0..4 {
        assert_eq!(letter(&proxy, "/x").await, 'b');
    }
    let mut turns = [letter(&proxy, "/y").await, letter(&proxy, "/y").await];
    turns.sort_unstable();
    assert_eq!(turns, ['a', 'b']);
}

#[tokio::test]
async fn first_rule_that_chooses_stands_and_a_backup_and_one_without_weight_can_be_chosen() {
    let servers = [
        Recording::answering(ANSWERS[0]).await,
        Recording::answering(ANSWERS[1]).await,
        Recording::answering(ANSWERS[2]).await,
    ];
    let addresses = servers.each_ref().map(|server| server.server.address);
    let rules = vec![sends("/x", 1), sends("/x", 0), sends("/y", 2)];
    let mut config = ruled(&addresses, rules);
    config.backends[0].servers[1].backup = true;
    config.backends[0].servers[2].weight = 0;
    let proxy = Proxy::start(config).unwrap();
    for (path, expected) in [("/x", 'b'), ("/y", 'c'), ("/", 'a'), ("/", 'a')] {
        assert_eq!(letter(&proxy, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn request_waits_for_the_server_of_its_rule_while_others_are_idle() {
    let (free, mut taken) = (Recording::answering(ANSWERS[0]).await, tokio::sync::mpsc::channel(1));
    let (asked, go) = (taken.0.clone(), std::sync::Arc::new(tokio::sync::Notify::new()));
    let wait = std::sync::Arc::clone(&go);
    let busy = crate::rig::Scripted::start(move |mut stream| {
        let (asked, wait) = (asked.clone(), std::sync::Arc::clone(&wait));
        async move {
            while read_message(&mut stream).await.is_some() {
                asked.send(()).await.unwrap();
                wait.notified().await;
                tokio::io::AsyncWriteExt::write_all(&mut stream, ANSWERS[1].as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let mut config = ruled(&[free.server.address, busy.address], vec![sends("/b", 1)]);
    config.backends[0].servers[1].maxconn = Some(1);
    let proxy = std::sync::Arc::new(Proxy::start(config).unwrap());
    let asks = |proxy: &std::sync::Arc<Proxy>| {
        let proxy = std::sync::Arc::clone(proxy);
        tokio::spawn(async move { letter(&proxy, "/b").await })
    };
    let first = asks(&proxy);
    taken.1.recv().await.unwrap();
    let second = asks(&proxy);
    eventually("in line", || proxy.status().backends[0].queued == 1).await;
    assert_eq!(letter(&proxy, "/").await, 'a');
    go.notify_one();
    assert_eq!(first.await.unwrap(), 'b');
    taken.1.recv().await.unwrap();
    go.notify_one();
    assert_eq!(second.await.unwrap(), 'b');
}

/// Rules of a `[listen.*]` are those of its frontend, and may lead elsewhere.
#[tokio::test]
async fn server_of_another_backend_than_the_chosen_one_means_nothing() {
    let (a, b) = (Recording::answering(ANSWERS[0]).await, Recording::answering(ANSWERS[1]).await);
    let (c, refusing) = (Recording::answering(ANSWERS[2]).await, Refusing::new());
    let mut config = ruled(&[a.server.address, b.server.address], Vec::new());
    let other = Backend::new(
        "other",
        Mode::Http,
        vec![Server::new("s1", c.server.address), Server::new("s2", refusing.address)],
    );
    config.backends.push(other);
    config.backends[1].rules = vec![Rule {
        when: Condition::ALWAYS,
        then: vec![Action::Server { backend: BackendId(1), server: 0 }],
    }];
    let leads = Rule {
        when: Condition::Path(vec![PathPattern::Exact("/other".into())]),
        then: vec![Action::Backend(BackendId(1))],
    };
    let own =
        Rule { when: Condition::ALWAYS, then: vec![Action::Server { backend: BackendId(0), server: 1 }] };
    config.frontends[0].rules = vec![leads, own];
    let proxy = Proxy::start(config).unwrap();
    for (path, expected) in [("/other", 'c'), ("/", 'b'), ("/other", 'c'), ("/", 'b')] {
        assert_eq!(letter(&proxy, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn backend_of_a_computed_name_is_chosen_and_any_other_name_is_the_default() {
    let [a, b, c] = [
        Recording::answering(ANSWERS[0]).await,
        Recording::answering(ANSWERS[1]).await,
        Recording::answering(ANSWERS[2]).await,
    ];
    let mut config = ruled(&[a.server.address], Vec::new());
    for (name, server) in [("shop", &b), ("blog", &c)] {
        let servers = vec![Server::new("s1", server.server.address)];
        config.backends.push(Backend::new(name, Mode::Http, servers));
    }
    let names = Names::default();
    let place = Place { stage: Stage::Request, backend: false, text: Text::Plain, names: &names };
    let source = "{request.query.of|lower}";
    let name = Written::new(source, Template::parse(source, &place).unwrap());
    let known = [("shop".to_owned(), BackendId(1)), ("blog".to_owned(), BackendId(2))];
    let named = NamedBackend::new(name, known, Some(BackendId(0)));
    let last = Rule { when: Condition::ALWAYS, then: vec![Action::Backend(BackendId(2))] };
    let when = Condition::Query("of".into(), vec![ValuePattern::Present]);
    config.frontends[0].rules = vec![Rule { when, then: vec![Action::BackendNamed(named)] }, last];
    assert_eq!(config.frontends[0].backends().count(), 5);
    let proxy = Proxy::start(config).unwrap();
    for (target, expected) in [
        ("/?of=Shop", 'b'),
        ("/?of=blog", 'c'),
        ("/?of=sho", 'a'),
        ("/?of=", 'a'),
        ("/?of=back", 'a'),
        ("/", 'c'),
    ] {
        assert_eq!(letter(&proxy, target).await, expected, "{target}");
    }
}
