//! Requests for a frontend's statistics: which they are, who may send them, and what happens when nobody answers.

use lb_proxy::{
    Config, Proxy,
    config::{Statistics, Wanted},
    inquiry::{Answer, AnswerStatus, Desk, Inquiries},
    rules::{Action, Condition, Network, PathPattern, Rule},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::{Recording, ask, assert_own, http_config, read_head, read_message},
    rig::*,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp";

fn statistics(allow: &[Network]) -> Statistics {
    Statistics {
        uri: "/haproxy-stats".to_owned(),
        allow: allow.to_vec(),
        users: None,
        is_public: false,
        metrics: None,
    }
}

/// With statistics, and a desk that repeats what it is asked.
fn configured(server: &Recording, change: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = http_config(&[server.server.address]);
    let (desk, inquiries) = Desk::new();
    config.desk = Some(desk);
    config.frontends[0].statistics = Some(statistics(&[]));
    change(&mut config);
    tokio::spawn(repeat(inquiries));
    Proxy::start(config).unwrap()
}

async fn repeat(mut inquiries: Inquiries) {
    while let Some(inquiry) = inquiries.recv().await {
        let suffix = String::from_utf8_lossy(&inquiry.suffix);
        let content = match inquiry.wanted {
            Wanted::Page => format!("{} {suffix}", inquiry.uri),
            Wanted::Metrics => format!("metrics {suffix}"),
        };
        let fields = "Content-Type: text/plain\r\n".into();
        let status = if suffix == "?x=bad" { AnswerStatus::BadRequest } else { AnswerStatus::Ok };
        inquiry.answer(Answer { status, fields, content: content.into_bytes().into() });
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn content(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, content)| content)
}

#[tokio::test]
async fn question_that_makes_no_sense_is_400_with_the_reason_and_the_connection_goes_on() {
    let server = Recording::answering(OK).await;
    let proxy = configured(&server, |config| {
        let page = config.frontends[0].statistics.take();
        config.frontends[0].statistics =
            page.map(|page| Statistics { metrics: Some("/metrics".to_owned()), ..page });
    });
    let mut client = connect(&proxy).await;
    let wrong = ask(&mut client, &get("/metrics?x=bad")).await;
    assert!(wrong.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\n"), "{wrong}");
    assert_eq!(content(&wrong), "metrics ?x=bad");
    assert_eq!(content(&ask(&mut client, &get("/metrics")).await), "metrics ");
}

#[tokio::test]
async fn what_begins_with_the_uri_is_for_the_statistics_and_nothing_else() {
    let server = Recording::answering(OK).await;
    let proxy = configured(&server, |_| {});
    let mut client = connect(&proxy).await;
    for (target, expected) in [
        ("/haproxy-stats", "/haproxy-stats "),
        ("/haproxy-stats;csv;up", "/haproxy-stats ;csv;up"),
        ("/haproxy-stats/a?b=c", "/haproxy-stats /a?b=c"),
        ("/haproxy-stats?b=c", "/haproxy-stats ?b=c"),
        ("http://a/haproxy-stats;json", "/haproxy-stats ;json"),
        // No path at all.
        ("http://a?b=/haproxy-stats", "app"),
        ("/haproxy-statsXYZ/a?b=c", "/haproxy-stats XYZ/a?b=c"),
        ("/haproxy-stats%20", "/haproxy-stats %20"),
        ("/haproxy-stats%3bcsv", "/haproxy-stats %3bcsv"),
        ("/haproxy-stats,;csv", "/haproxy-stats ,;csv"),
        ("/haproxy-stats/..", "/haproxy-stats /.."),
        ("/haproxy%2Dstats", "app"),
        ("//haproxy-stats", "app"),
        ("/haproxy-stat", "app"),
        ("/haproxy-status/", "app"),
        ("/a/haproxy-stats", "app"),
        ("/?/haproxy-stats", "app"),
        ("/", "app"),
    ] {
        let answer = ask(&mut client, &get(target)).await;
        assert_eq!(content(&answer), expected, "{target}: {answer}");
    }
    assert_eq!(server.requests().len(), 8);
    let answer = ask(&mut client, &get("/haproxy-stats")).await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Type: text/plain\r\n\r\n/haproxy-stats "
    );
    let status = proxy.status();
    assert_eq!((status.frontends[0].requests_total, status.frontends[0].responses[2]), (19, 19));
    assert_eq!(status.backends[0].traffic.sessions_total, 8);
}

#[tokio::test]
async fn they_are_for_reading() {
    let server = Recording::answering(OK).await;
    let proxy = configured(&server, |_| {});
    let mut client = connect(&proxy).await;
    client
        .write_all(b"HEAD /haproxy-stats HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let head = read_head(&mut client).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n"), "{head}");
    // Nothing but the head came of the first.
    assert_eq!(content(&read_message(&mut client).await.unwrap()), "app");
    let with = async |method: &str| {
        let request = format!("{method} /haproxy-stats HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        ask(&mut connect(&proxy).await, &request).await
    };
    for method in ["PUT", "DELETE"] {
        assert_own(&with(method).await, "403 Forbidden", true);
    }
    // HAProxy's form, which has nothing to do here.
    let answer = with("POST").await;
    assert!(answer.starts_with("HTTP/1.1 303 See Other\r\n"), "{answer}");
    assert!(answer.contains("\r\nLocation: /haproxy-stats;st=DENY\r\n"), "{answer}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn only_those_who_are_allowed_to_see_them() {
    let server = Recording::answering(OK).await;
    let network = |address: [u8; 4], prefix| Network::new(address.into(), prefix).unwrap();
    for (allow, expected) in [
        (network([192, 0, 2, 0], 24), "HTTP/1.1 403 Forbidden\r\n"),
        (network([127, 0, 0, 0], 8), "HTTP/1.1 200 OK\r\n"),
    ] {
        let proxy = configured(&server, |config| config.frontends[0].statistics = Some(statistics(&[allow])));
        let mut client = connect(&proxy).await;
        let answer = ask(&mut client, &get("/haproxy-stats")).await;
        assert!(answer.starts_with(expected), "{answer}");
        assert_eq!(content(&ask(&mut client, &get("/")).await), "app");
    }
}

/// As in HAProxy: the frontend's rules come first and one of them may let pass, the backend's come later.
#[tokio::test]
async fn rules_of_the_frontend_come_before_them_and_those_of_the_backend_behind() {
    let server = Recording::answering(OK).await;
    let rule = |path: &str, action| Rule {
        when: Condition::Path(vec![PathPattern::Exact(path.to_owned())]),
        then: vec![action],
    };
    let proxy = configured(&server, |config| {
        config.frontends[0].rules =
            vec![rule("/haproxy-stats/denied", Action::Deny(404)), rule("/haproxy-stats", Action::Allow)];
        config.backends[0].rules = vec![Rule { when: Condition::ALWAYS, then: vec![Action::Deny(410)] }];
    });
    let mut client = connect(&proxy).await;
    for (target, status) in
        [("/haproxy-stats", 200), ("/haproxy-stats/denied", 404), ("/haproxy-stats;csv", 200), ("/", 410)]
    {
        let answer = ask(&mut client, &get(target)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {answer}");
    }
}

/// A rule with `path_prefix` is about whole elements, so `allow` and `users` guard what it does not.
#[tokio::test]
async fn what_guards_the_page_guards_all_that_begins_so_and_a_rule_its_path_in_any_spelling() {
    let server = Recording::answering(OK).await;
    let proxy = configured(&server, |config| {
        let page = PathPattern::Prefix("/haproxy-stats".to_owned());
        config.frontends[0].rules =
            vec![Rule { when: Condition::Path(vec![page]), then: vec![Action::Deny(404)] }];
    });
    for target in [
        "/haproxy-stats",
        "//haproxy-stats",
        "/haproxy%2Dstats",
        "http://a/haproxy-stats?x",
        "/haproxy-stats/;csv",
        "/haproxy-stats;csv",
        "/haproxy-stats%3bcsv",
    ] {
        let mut client = connect(&proxy).await;
        let answer = ask(&mut client, &get(target)).await;
        assert!(!content(&answer).starts_with("/haproxy-stats"), "{target}: {answer}");
    }
    let stranger = Network::new([192, 0, 2, 0].into(), 24).unwrap();
    let proxy = configured(&server, |config| config.frontends[0].statistics = Some(statistics(&[stranger])));
    for target in
        ["/haproxy-stats", "/haproxy-statsX", "/haproxy-stats,;csv", "/haproxy-stats%20", "/haproxy-stats?"]
    {
        let mut client = connect(&proxy).await;
        let answer = ask(&mut client, &get(target)).await;
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{target}: {answer}");
    }
}

#[tokio::test]
async fn who_is_not_answered_is_told_to_come_again_and_others_are_served_meanwhile() {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    let (desk, mut inquiries) = Desk::new();
    config.desk = Some(desk);
    config.frontends[0].statistics = Some(statistics(&[]));
    let proxy = Proxy::start(config).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut client = connect(&proxy).await;
        client.write_all(get("/haproxy-stats").as_bytes()).await.unwrap();
        waiting.push(client);
    }
    eventually("all of them wait", || inquiries.len() == 64).await;
    let mut client = connect(&proxy).await;
    let answer = ask(&mut client, &get("/haproxy-stats")).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
    assert_eq!(content(&ask(&mut client, &get("/")).await), "app");
    // Those who wait are told when nobody is there any more.
    while let Ok(inquiry) = inquiries.try_recv() {
        assert!(!inquiry.is_given_up());
    }
    drop(inquiries);
    for mut client in waiting {
        let answer = read_message(&mut client).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    }
    let answer = ask(&mut client, &get("/haproxy-stats")).await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
}

#[tokio::test]
async fn another_configuration_asks_at_the_same_desk() {
    let server = Recording::answering(OK).await;
    let proxy = configured(&server, |_| {});
    let mut config = http_config(&[server.server.address]);
    config.frontends[0].statistics = Some(Statistics { uri: "/other".to_owned(), ..statistics(&[]) });
    proxy.reload(config).await.unwrap();
    let mut client = connect(&proxy).await;
    assert_eq!(content(&ask(&mut client, &get("/other;csv")).await), "/other ;csv");
    assert_eq!(content(&ask(&mut client, &get("/haproxy-stats")).await), "app");
}

#[tokio::test]
async fn metrics_are_at_a_path_of_their_own_for_the_same_clients() {
    let server = Recording::answering(OK).await;
    let metrics = || Some("/metrics".to_owned());
    let proxy = configured(&server, |config| {
        config.frontends[0].statistics = Some(Statistics { metrics: metrics(), ..statistics(&[]) });
    });
    let mut client = connect(&proxy).await;
    for (target, expected) in [
        ("/metrics", "metrics "),
        ("/metrics?names=haproxy", "metrics ?names=haproxy"),
        ("http://a/metrics", "metrics "),
        ("/haproxy-stats", "/haproxy-stats "),
        ("/metrics/", "app"),
        ("/metrics;csv", "app"),
        ("/metricsx", "app"),
    ] {
        assert_eq!(content(&ask(&mut client, &get(target)).await), expected, "{target}");
    }
    // Where the page is everything, too.
    let proxy = configured(&server, |config| {
        let uri = "/".to_owned();
        config.frontends[0].statistics = Some(Statistics { uri, metrics: metrics(), ..statistics(&[]) });
    });
    let mut client = connect(&proxy).await;
    assert_eq!(content(&ask(&mut client, &get("/metrics?a")).await), "metrics ?a");
    assert_eq!(content(&ask(&mut client, &get("/other")).await), "/ other");
    // Where there is no page.
    let proxy = configured(&server, |config| {
        let uri = "/metrics".to_owned();
        config.frontends[0].statistics = Some(Statistics { uri, metrics: metrics(), ..statistics(&[]) });
    });
    let mut client = connect(&proxy).await;
    assert_eq!(content(&ask(&mut client, &get("/metrics?a")).await), "metrics ?a");
    assert_eq!(content(&ask(&mut client, &get("/metrics;csv")).await), "app");
    // Who may not see the one may not see the other.
    let allow = [Network::new([192, 0, 2, 0].into(), 24).unwrap()];
    let proxy = configured(&server, |config| {
        config.frontends[0].statistics = Some(Statistics { metrics: metrics(), ..statistics(&allow) });
    });
    let mut client = connect(&proxy).await;
    let refused = ask(&mut client, &get("/metrics")).await;
    assert!(refused.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{refused}");
}
