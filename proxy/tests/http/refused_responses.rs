//! Responses that our own rules don't let pass.

use std::time::Duration;

use lb_proxy::{
    Config, Proxy,
    config::{CheckKind, Layer, Observe, OnError},
    rules::{Action, Condition, Content, Respond, Rule, Text, ValuePattern},
    sample::{Names, Place, Stage, Template},
    status::ServerState,
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Scripted, connect, counter, eventually, healthy, quick_check},
    witness::Witness,
};

/// A rule for responses with a field `X-Secret`, and what it does.
fn rule(action: Action) -> Vec<Rule> {
    let when = Condition::Header("X-Secret".into(), vec![ValuePattern::Present]);
    vec![Rule { when, then: vec![action] }]
}

fn start(server: &Scripted, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.address]);
    change(&mut config);
    Proxy::start(config).unwrap()
}

/// Answers `/secret` with `response`, and everything else with [`OK`].
async fn secretive(response: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        while let Some(request) = read_message(&mut stream).await {
            let answer = if request.contains("/secret") { response } else { OK };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await
}

const SECRET: &str = "GET /secret HTTP/1.1\r\nHost: a\r\n\r\n";

/// Of all framings, and of lengths that nobody reads to their end.
const SECRETS: [&str; 5] = [
    "HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 2\r\n\r\nno",
    "HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 1000000\r\n\r\nmore follows, or not",
    "HTTP/1.1 200 OK\r\nX-Secret: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n",
    "HTTP/1.1 200 OK\r\nX-Secret: 1\r\n\r\nuntil the end",
    "HTTP/1.1 404 Not Found\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n",
];

/// `respond = { status = 403, body = "was {response.status}", headers = { X-Was = .. } }`
fn respond() -> Action {
    let names = Names::default();
    let text = |text: &str, becomes| {
        let place = Place { stage: Stage::Response, backend: true, text: becomes, names: &names };
        Text::new(text, Template::parse(text, &place).unwrap())
    };
    let content = Content::Text {
        kind: "text/plain".to_owned(),
        text: text("was {response.status}", lb_proxy::sample::Text::Content),
    };
    let headers =
        vec![("X-Was".to_owned(), text("{response.header.x-secret}", lb_proxy::sample::Text::Field))];
    Action::Respond(Respond { status: 403, content, headers, denies: false })
}

#[tokio::test]
async fn replaced_response_is_what_the_rule_says_and_its_servers_connection_is_not_used_again() {
    for response in SECRETS {
        let server = secretive(response).await;
        let proxy = start(&server, |config| config.backends[0].response_rules = rule(respond()));
        let mut client = connect(&proxy).await;
        assert_eq!(ask(&mut client, GET).await, OK);
        let head =
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\nContent-Type: text/plain\r\nX-Was: 1\r\n\r\n";
        let was = &response[9..12];
        assert_eq!(ask(&mut client, SECRET).await, format!("{head}was {was}"));
        client.write_all(SECRET.replace("GET", "HEAD").as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut client).await.unwrap(), head);
        // The client's connection goes on, and what is answered next is what is asked next.
        assert_eq!(ask(&mut client, GET).await, OK);
        assert_eq!(server.accepted(), 3, "{response}");
        for counted in ["denied_responses_total", "bad_responses_total", "failed_rewrites_total"] {
            assert_eq!(counter(&proxy, counted), 0, "{counted}");
        }
        let responses = proxy.status().frontends[0].responses;
        assert_eq!((responses[2], responses[4]), (2, 2), "what the client got");
    }
}

#[tokio::test]
async fn replaced_response_to_a_request_that_is_not_whole_ends_the_connection() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(SECRETS[0].as_bytes()).await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let mut config = http_config(&[server.address]);
    config.frontends[0].response_rules = rule(respond());
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    let answer = answer(&mut client).await;
    assert!(answer.ends_with("X-Was: 1\r\nConnection: close\r\n\r\nwas 200"), "{answer}");
    assert_eq!(witness.says().await, "403 LH--");
}

#[tokio::test]
async fn denied_response_is_a_page_and_its_servers_connection_is_not_used_again() {
    for response in SECRETS {
        let server = secretive(response).await;
        let proxy = start(&server, |config| config.backends[0].response_rules = rule(Action::Deny(502)));
        let mut client = connect(&proxy).await;
        assert_eq!(ask(&mut client, GET).await, OK);
        let answer = ask(&mut client, SECRET).await;
        assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{answer}");
        assert!(
            answer.ends_with("The server gave no answer that can be passed on.\n</body></html>\n"),
            "{answer}"
        );
        assert!(!answer.contains("Connection: close"), "{answer}");
        client.write_all(SECRET.replace("GET", "HEAD").as_bytes()).await.unwrap();
        assert!(read_head(&mut client).await.unwrap().starts_with("HTTP/1.1 502 "));
        // The client's connection goes on, and what is answered next is what is asked next.
        assert_eq!(ask(&mut client, GET).await, OK);
        assert_eq!(server.accepted(), 3, "{response}");
        assert_eq!(counter(&proxy, "denied_responses_total"), 2);
        assert_eq!(counter(&proxy, "bad_responses_total"), 0);
        let responses = proxy.status().frontends[0].responses;
        assert_eq!((responses[2], responses[5]), (2, 2), "what the client got");
    }
}

#[tokio::test]
async fn denied_response_to_a_request_that_is_not_whole_ends_the_connection() {
    let server = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        read_head(&mut stream).await;
    })
    .await;
    let mut config = http_config(&[server.address]);
    config.frontends[0].response_rules = rule(Action::Deny(451));
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc").await.unwrap();
    let answer = answer(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 451 Unavailable For Legal Reasons\r\n"), "{answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert_eq!(witness.says().await, "451 PH--");
    assert_eq!(counter(&proxy, "denied_responses_total"), 1);
}

#[tokio::test]
async fn backends_rules_come_first_and_allow_ends_only_their_list() {
    let server = secretive("HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 2\r\n\r\nok").await;
    for (backend, frontend, expected) in [
        (vec![Action::Deny(403)], vec![Action::Deny(404)], "403"),
        (vec![Action::Allow, Action::Deny(403)], vec![Action::Deny(404)], "404"),
        (vec![Action::Allow, Action::Deny(403)], vec![Action::Allow, Action::Deny(404)], "200"),
        (vec![Action::DeleteHeader("X-Secret".into())], vec![Action::Deny(404)], "200"),
    ] {
        let rules = |actions: Vec<Action>| actions.into_iter().flat_map(rule).collect();
        let proxy = start(&server, |config| {
            config.backends[0].response_rules = rules(backend);
            config.frontends[0].response_rules = rules(frontend);
        });
        let answer = ask(&mut connect(&proxy).await, SECRET).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{expected}: {answer}");
        assert_eq!(counter(&proxy, "denied_responses_total"), u64::from(expected != "200"));
    }
}

#[tokio::test]
async fn response_that_is_met_with_another_attempt_is_not_judged_by_rules() {
    let failing = Recording::answering("HTTP/1.1 503 No\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n").await;
    let fine = Recording::answering(OK).await;
    let mut config = http_config(&[failing.server.address, fine.server.address]);
    config.backends[0].retries = 1;
    config.backends[0].redispatch = true;
    config.backends[0].options.retry.statuses = Box::new([503]);
    config.backends[0].response_rules = rule(Action::Deny(502));
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..2 {
        assert_eq!(ask(&mut client, GET).await, OK);
    }
    assert_eq!(counter(&proxy, "resends_total"), 1);
    assert_eq!(counter(&proxy, "denied_responses_total"), 0);
    // Without another attempt it is.
    let last = Recording::answering("HTTP/1.1 503 No\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = start(&last.server, |config| {
        config.backends[0].options.retry.statuses = Box::new([503]);
        config.backends[0].response_rules = rule(Action::Deny(502));
    });
    assert!(ask(&mut connect(&proxy).await, GET).await.starts_with("HTTP/1.1 502 "));
    assert_eq!(last.requests().len(), 1);
}

#[tokio::test]
async fn response_that_our_rules_make_too_large_is_our_fault_and_not_the_servers() {
    let names = Names::default();
    let place =
        Place { stage: Stage::Response, backend: true, text: lb_proxy::sample::Text::Field, names: &names };
    let large = "x".repeat(20_000);
    let add = || {
        let template = Template::parse(&large, &place).unwrap();
        Action::AddHeader("X-Large".into(), Text::new(large.as_str(), template))
    };
    let server = secretive("HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 2\r\n\r\nno").await;
    let proxy = start(&server, |config| {
        let backend = &mut config.backends[0];
        backend.check = Some(quick_check(CheckKind::Tcp));
        backend.observe = Some(Observe { layer: Layer::Layer7, error_limit: 1, on_error: OnError::MarkDown });
        let when = rule(Action::Allow).remove(0).when;
        backend.response_rules = vec![Rule { when, then: vec![add(), add()] }];
    });
    healthy(&proxy, "the server is up", |health| health.backends[0].usable == 1).await;
    let mut client = connect(&proxy).await;
    for n in 1..=3 {
        let answer = ask(&mut client, SECRET).await;
        assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
        assert_eq!(ask(&mut client, GET).await, OK, "the server is not marked down");
        assert_eq!(counter(&proxy, "failed_rewrites_total"), n);
    }
    assert_eq!(counter(&proxy, "bad_responses_total"), 0);
    assert_eq!(proxy.status().backends[0].servers[0].state, ServerState::Up);
    // What is really the server's fault is seen as such by the same configuration.
    let bad = Recording::answering("HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n").await;
    let proxy = start(&bad.server, |config| {
        let backend = &mut config.backends[0];
        backend.check = Some(lb_proxy::config::Check {
            pace: lb_proxy::config::Pace::steady(Duration::from_secs(3600)),
            ..quick_check(CheckKind::Tcp)
        });
        backend.observe = Some(Observe { layer: Layer::Layer7, error_limit: 1, on_error: OnError::MarkDown });
    });
    healthy(&proxy, "the server is up", |health| health.backends[0].usable == 1).await;
    assert!(ask(&mut connect(&proxy).await, GET).await.starts_with("HTTP/1.1 502 "));
    eventually("the server is marked down", || {
        proxy.status().backends[0].servers[0].state == ServerState::Down
    })
    .await;
}
