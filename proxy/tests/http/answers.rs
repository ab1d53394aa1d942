//! Pages of the operator's own, and a monitor's question.

use std::time::Duration;

use lb_proxy::{
    Proxy,
    config::{BackendId, Check, CheckKind, ErrorPage, Monitor, TooFew},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Refusing, Scripted, connect, counter, eventually, quick_check},
};

fn page(status: u16, content: &str) -> ErrorPage {
    ErrorPage {
        status,
        file: "page".to_owned(),
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
