//! Requests and connections that are there while another configuration comes into force.

use std::time::{Duration, Instant};

use lb_proxy::{
    Config, Proxy,
    config::{Backend, Mode, Server},
    rules::{Action, Condition, HostPattern, HostSet, Rule, Text},
    sample::{self, Names, Place, Scope, Stage, Template, VariableName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::{peers::*, rig::*};

/// A server that answers each request with its own name.
async fn web(name: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        while read_message(&mut stream).await.is_some() {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await
}

fn text(source: &str, names: &Names) -> Text {
    let place = Place { stage: Stage::Request, backend: false, text: sample::Text::Field, names };
    Text::new(source, Template::parse(source, &place).unwrap())
}

fn with_rule(mut config: Config, rule: Action) -> Config {
    config.frontends[0].rules = vec![Rule { when: Condition::All(Vec::new()), then: vec![rule] }];
    config
}

#[tokio::test]
async fn next_request_of_a_connection_is_served_under_the_new_configuration() {
    let (a, b) = (web("a").await, web("b").await);
    let config = http_config(&[a.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, GET).await.ends_with("\r\n\r\na"));

    let mut other = config.clone();
    other.backends.insert(0, Backend::new("other", Mode::Http, vec![Server::new("b", b.address)]));
    proxy.reload(other.clone()).await.unwrap();
    assert!(ask(&mut client, GET).await.ends_with("\r\n\r\nb"), "`default_backend` is the first one");

    proxy.reload(with_rule(other, Action::Deny(403))).await.unwrap();
    assert_own(&ask(&mut client, GET).await, "403 Forbidden", false);
    counted(&proxy, "denied_total", 1).await;
    proxy.reload(config).await.unwrap();
    assert!(ask(&mut client, GET).await.ends_with("\r\n\r\na"));
    assert_eq!(proxy.status().frontends[0].connections_total, 1);
}

#[tokio::test]
async fn request_in_flight_ends_under_the_configuration_that_it_began_with() {
    let (arrived, mut arrivals) = mpsc::channel(1);
    let (go, gone) = tokio::sync::watch::channel(());
    let slow = Scripted::start(move |mut stream| {
        let (arrived, mut gone) = (arrived.clone(), gone.clone());
        async move {
            while read_message(&mut stream).await.is_some() {
                arrived.send(()).await.unwrap();
                gone.changed().await.unwrap();
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let config = http_config(&[slow.address]);
    let mut marked = config.clone();
    let then = vec![Action::SetHeader("x-generation".into(), text("old", &Names::default()))];
    marked.frontends[0].response_rules = vec![Rule { when: Condition::All(Vec::new()), then }];
    let proxy = Proxy::start(marked).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    arrivals.recv().await.unwrap();

    // Its backend and its server are gone now, and its connection lives on.
    let b = web("b").await;
    let mut other = http_config(&[]);
    other.backends = vec![Backend::new("other", Mode::Http, vec![Server::new("b", b.address)])];
    proxy.reload(other).await.unwrap();
    assert_eq!(proxy.status().old_generations, 1);
    go.send(()).unwrap();
    let answer = answer(&mut client).await;
    assert!(answer.contains("x-generation: old\r\n") && answer.ends_with("ok"), "{answer}");
    assert!(!answer.contains("Connection: close"), "{answer}");
    assert!(ask(&mut client, GET).await.ends_with("\r\n\r\nb"));
    eventually("nobody uses it", || proxy.status().old_generations == 0).await;
}

#[tokio::test]
async fn requests_that_were_sent_ahead_are_served_under_the_new_configuration() {
    let (arrived, mut arrivals) = mpsc::channel(1);
    let (go, gone) = tokio::sync::watch::channel(());
    let a = Scripted::start(move |mut stream| {
        let (arrived, mut gone) = (arrived.clone(), gone.clone());
        async move {
            read_message(&mut stream).await.unwrap();
            arrived.send(()).await.unwrap();
            gone.changed().await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let config = http_config(&[a.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(GET.repeat(3).as_bytes()).await.unwrap();
    arrivals.recv().await.unwrap();
    proxy.reload(with_rule(config, Action::Deny(403))).await.unwrap();
    go.send(()).unwrap();
    assert_eq!(answer(&mut client).await, OK);
    for _ in 0..2 {
        assert_own(&answer(&mut client).await, "403 Forbidden", false);
    }
    counted(&proxy, "denied_total", 2).await;
}

#[tokio::test]
async fn half_a_head_that_is_here_already_is_not_lost() {
    let a = web("a").await;
    let config = http_config(&[a.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
    eventually("it is read", || proxy.status().frontends[0].bytes_in == 19).await;
    proxy.reload(with_rule(config, Action::Deny(403))).await.unwrap();
    client.write_all(b"t: a\r\n\r\n").await.unwrap();
    assert_own(&answer(&mut client).await, "403 Forbidden", false);
    counted(&proxy, "denied_total", 1).await;
}

#[tokio::test]
async fn reloads_give_a_silent_client_no_more_time() {
    let a = web("a").await;
    let mut config = http_config(&[a.address]);
    config.frontends[0].timeout.http_keep_alive = Duration::from_secs(2);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    let answered = Instant::now();
    let reloads = async {
        loop {
            proxy.reload(config.clone()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut byte = [0];
    tokio::select! {
        end = client.read(&mut byte) => assert_eq!(end.unwrap(), 0),
        () = reloads => {}
    }
    assert!(answered.elapsed() < Duration::from_secs(8), "{:?}", answered.elapsed());
}

#[tokio::test]
async fn variables_of_a_session_go_on_by_name_while_the_rules_that_set_them_are_the_same() {
    let a = Recording::answering(OK).await;
    // The first configuration has one more variable, so the ids of both differ.
    let config = |variables: &[&str], suffix: &str| {
        let mut names = Names::default();
        let mut rules = Vec::new();
        for name in variables {
            let name = VariableName { scope: Scope::Session, name: (*name).to_owned() };
            let id = names.declare(&name, Stage::Request);
            let value = text(&format!("{}{suffix}", name.name), &names);
            let first = HostSet::new(vec![HostPattern::parse("first.example").unwrap()]);
            let then = vec![Action::SetVariable(name, id, value)];
            rules.push(Rule { when: Condition::Host(first), then });
        }
        let then = vec![Action::SetHeader("x-user".into(), text("{var.session.user}", &names))];
        rules.push(Rule { when: Condition::All(Vec::new()), then });
        let mut config = http_config(&[a.server.address]);
        config.frontends[0].rules = rules;
        config
    };
    let proxy = Proxy::start(config(&["tenant", "user"], "-1")).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, "GET / HTTP/1.1\r\nHost: first.example\r\n\r\n").await;
    proxy.reload(config(&["user"], "-1")).await.unwrap();
    ask(&mut client, GET).await;
    proxy.reload(config(&["user"], "-2")).await.unwrap();
    ask(&mut client, GET).await;
    let requests = a.requests();
    assert!(!requests[2].contains("user-1"), "{requests:?}");
    assert!(
        requests[0].contains("x-user: user-1\r\n") && requests[1].contains("x-user: user-1\r\n"),
        "{requests:?}"
    );
}
