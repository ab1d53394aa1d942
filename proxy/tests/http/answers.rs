//! Pages of the operator's own, and a monitor's question.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::{BackendId, Check, CheckKind, ErrorPage, Monitor, PageSource, TooFew},
    rules::{Action, Condition, HostPattern, HostSet, PathPattern, Pattern, Replacement, Rule},
    table::SourceLimits,
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Refusing, Scripted, connect, counter, eventually, quick_check},
};

fn page(status: u16, content: &str) -> ErrorPage {
    ErrorPage {
        status,
        source: PageSource::File("page".to_owned()),
        fields: b"Content-Type: text/plain\r\nX-Own: 1\r\n".to_vec(),
        content: content.into(),
    }
}

#[tokio::test]
async fn own_pages_replace_ours_the_backends_before_the_frontends() {
    let dead = Refusing::new();
    let mut config = http_config(&[dead.address]);
    let long = "x".repeat(64 * 1024);
    config.frontends[0].error_pages = vec![page(503, "of the frontend"), page(400, &long)];
    config.backends[0].error_pages = vec![page(503, "of the backend"), page(502, "never")];
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    let own = |text: &str| {
        let length = text.len();
        format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: {length}\r\nContent-Type: text/plain\r\nX-Own: 1\r\n\r\n{text}"
        )
    };
    assert_eq!(ask(&mut client, GET).await, own("of the backend"));
    client.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_head(&mut client).await.unwrap(), own("of the backend").replace("of the backend", ""));
    let refused = ask(&mut client, "GET / HTTP/1.1\r\n\r\n").await;
    assert!(refused.starts_with("HTTP/1.1 400 Bad Request\r\nContent-Length: 65536\r\n"));
    assert!(refused.contains("\r\nConnection: close\r\n\r\n") && refused.ends_with(&long));

    config.backends[0].error_pages.clear();
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(ask(&mut connect(&proxy).await, GET).await, own("of the frontend"));
}

#[tokio::test]
async fn backend_without_servers_answers_by_its_rules_and_pages_and_makes_nobody_a_worse_holder() {
    let mut config = http_config(&[]);
    config.backends[0].error_pages = vec![page(503, "of the backend")];
    config.backends[0].rules = vec![Rule {
        when: Condition::Path(vec![PathPattern::Exact("/denied".to_owned())]),
        then: vec![Action::Deny(404)],
    }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    assert!(ask(&mut client, GET).await.ends_with("\r\n\r\nof the backend"));
    let denied = ask(&mut client, &GET.replace(" / ", " /denied ")).await;
    assert!(denied.starts_with("HTTP/1.1 404 Not Found\r\n"), "{denied}");
    let health = proxy.health().borrow().clone();
    assert!(health.first_round_done && !health.backends[0].counts, "{health:?}");
    assert!(!proxy.status().backends[0].outage.is_down);
}

/// As HAProxy's `errorloc`: the log and the counters have the error.
#[tokio::test]
async fn page_that_is_elsewhere_is_a_redirection_and_counts_as_the_error() {
    let dead = Refusing::new();
    let mut config = http_config(&[dead.address]);
    config.frontends[0].error_pages = vec![
        ErrorPage::elsewhere(503, "https://sorry.example.com/x?a=b".to_owned(), 302),
        ErrorPage::elsewhere(400, "/bad".to_owned(), 303),
    ];
    let proxy = Proxy::start(config).unwrap();
    let mut client = connect(&proxy).await;
    let sorry = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nCache-Control: no-cache\r\nLocation: https://sorry.example.com/x?a=b\r\n\r\n";
    for request in [GET, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", GET] {
        client.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(read_head(&mut client).await.unwrap(), sorry);
    }
    assert_eq!(
        ask(&mut client, "GET / HTTP/1.1\r\n\r\n").await,
        "HTTP/1.1 303 See Other\r\nContent-Length: 0\r\nCache-Control: no-cache\r\nLocation: /bad\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(proxy.status().frontends[0].responses, [0, 0, 0, 0, 1, 3]);
}

#[tokio::test]
async fn monitor_is_answered_here_by_the_number_of_usable_servers_and_is_no_request() {
    let server = Scripted::named("HTTP/1.1 200 OK\r\n\r\n").await;
    let address = server.address;
    let mut config = http_config(&[address]);
    config.backends[0].check = Some(Check { rise: 1, fall: 1, ..quick_check(CheckKind::Tcp) });
    let few = TooFew { backend: BackendId(0), usable_below: 1 };
    config.frontends[0].monitor = Some(Monitor { uri: "/alive?x".to_owned(), fail_if: vec![few] });
    let proxy = Proxy::start(config).unwrap();
    let question = "GET /alive?x HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = connect(&proxy).await;
    let usable = |proxy: &Proxy| proxy.health().borrow().backends[0].usable;
    eventually("up", || usable(&proxy) == 1).await;
    assert_eq!(
        ask(&mut client, question).await,
        "HTTP/1.1 200 OK\r\nContent-Length: 58\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n\r\n\
         <html><body><h1>200 OK</h1>\nService ready.\n</body></html>\n"
    );
    drop(server);
    eventually("down", || usable(&proxy) == 0).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(ask(&mut client, question).await.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    let status = proxy.status().frontends[0].clone();
    assert_eq!((status.requests_total, status.responses), (0, [0; 6]));
    assert_eq!(counter(&proxy, "monitor_requests_total"), 2);
    // Another target is a request.
    assert!(ask(&mut client, "GET /alive HTTP/1.1\r\nHost: a\r\n\r\n").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(proxy.status().frontends[0].requests_total, 1);
}

/// Every status that is answered here, however it comes about, has the page of its own.
#[tokio::test]
async fn each_status_has_its_own_page() {
    let short = Duration::from_millis(200);
    let silent = Scripted::start(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            if head.starts_with("GET /junk") {
                stream.write_all(b"what?\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let mut config = http_config(&[silent.address]);
    let statuses = [400, 403, 405, 408, 410, 414, 417, 429, 431, 501, 502, 503, 504, 505];
    config.frontends[0].error_pages = statuses.map(|status| page(status, &format!("page {status}"))).into();
    config.frontends[0].timeout.http_request = short;
    config.backends[0].timeout.server = short;
    let deny = |status: u16| {
        let path = PathPattern::Exact(format!("/{status}"));
        Rule { when: Condition::Path(vec![path]), then: vec![Action::Deny(status)] }
    };
    config.frontends[0].rules = [403, 410, 503].map(deny).into();
    let proxy = Proxy::start(config.clone()).unwrap();
    let long = "x".repeat(9000);
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    for (status, request) in [
        (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (403, get("/403")),
        (405, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned()),
        (408, "GET / HTTP/1.1\r\n".to_owned()),
        (410, get("/410")),
        (414, get(&format!("/{long}"))),
        (417, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n".to_owned()),
        (431, format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n")),
        (501, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".to_owned()),
        (502, get("/junk")),
        (503, get("/503")),
        (504, get("/")),
        (505, "PRI * HTTP/2.0\r\n\r\n".to_owned()),
    ] {
        let answer = ask(&mut connect(&proxy).await, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        assert!(answer.contains("\r\nX-Own: 1\r\n"), "{status}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\npage {status}")), "{status}: {answer}");
    }
    let connections = std::num::NonZeroU32::new(1);
    let size = std::num::NonZeroU32::new(10).unwrap();
    config.frontends[0].per_source =
        Some(SourceLimits { connections, connection_rate: None, size, ipv6_prefix: 64 });
    let proxy = Proxy::start(config).unwrap();
    let first = connect(&proxy).await;
    eventually("it counts", || proxy.status().frontends[0].connections == 1).await;
    let answer = answer(&mut connect(&proxy).await).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.ends_with("\r\n\r\npage 429"), "{answer}");
    drop(first);
}

/// Neighbours that are for some hosts alone are found by the host, and act as if each had been tried.
#[tokio::test]
async fn rules_for_hosts_act_in_the_order_of_the_file() {
    let host = |name: &str| Condition::Host(HostSet::new(vec![HostPattern::parse(name).unwrap()]));
    let path = |path: &str| Condition::Path(vec![PathPattern::Exact(path.to_owned())]);
    let both = |name: &str, of: &str| Condition::All(vec![path(of), host(name)]);
    let rule = |when: Condition, then: Action| Rule { when, then: vec![then] };
    let moved = Replacement::new(Pattern::new("^b").unwrap(), "c").unwrap();
    let mut config = http_config(&[Refusing::new().address]);
    config.frontends[0].rules = vec![
        rule(both("a.example", "/0"), Action::Deny(403)),
        rule(both("*.example", "/1"), Action::Deny(404)),
        rule(both("a.example", "/1"), Action::Deny(400)),
        rule(host("b.example"), Action::ReplaceHeader("Host".to_owned(), moved)),
        rule(both("c.example", "/2"), Action::Deny(410)),
        rule(path("/3"), Action::Deny(405)),
        rule(host("a.example"), Action::Allow),
        rule(host("*.example"), Action::Deny(451)),
        rule(Condition::ALWAYS, Action::Deny(500)),
    ];
    let proxy = Proxy::start(config).unwrap();
    for (name, path, status) in [
        ("a.example", "/0", 403),
        ("b.example", "/0", 451),
        ("A.example:80", "/1", 404),
        ("b.example", "/1", 404),
        ("b.example", "/2", 410),
        ("c.example", "/2", 410),
        ("a.example", "/3", 405),
        // Allowed, and nobody is there.
        ("a.example", "/2", 503),
        ("x.y.example", "/2", 451),
        ("example", "/0", 500),
        ("a.example.org", "/1", 500),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n");
        let answer = ask(&mut connect(&proxy).await, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{name}{path}: {answer}");
    }
}
