//! Exchanges that are shown as they pass: what is told of them, to whom, and that nobody waits for who looks.

use lb_proxy::{
    Proxy,
    config::{BackendId, Cookie, Mode},
    rules::{Action, Condition, Network, PathPattern, Rule},
    trace::{Happened, MOST, Trace, TraceEvent, TraceOptions},
};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    peers::{GET, OK, Recording, ask, http_config},
    rig::*,
};

async fn next(trace: &mut Trace) -> TraceEvent {
    timeout(LONG, trace.next()).await.expect("nothing is told").expect("over")
}

/// What it tells, without what differs from run to run.
fn told(event: &TraceEvent) -> String {
    let text = |head: &[u8]| String::from_utf8_lossy(head).into_owned();
    match &event.what {
        Happened::Begun { head, decision } => format!("{decision}; {}", text(head)),
        Happened::Answered { backend, server, chosen, retries, head, .. } => {
            format!("{backend}/{server}, {chosen}, {retries}; {}", text(head))
        }
        Happened::Ended { status, code, sent, .. } => format!("{status:?} {code} {sent}"),
    }
}

#[tokio::test]
async fn a_request_its_response_and_its_end_are_told_one_by_one() {
    let server =
        Recording::answering("HTTP/1.1 200 OK\r\nSet-Cookie: s=1\r\nContent-Length: 2\r\n\r\nok").await;
    let proxy = Proxy::start(http_config(&[server.server.address])).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    let mut trace = proxy.trace(TraceOptions::default()).unwrap();
    let mut with_secrets = proxy.trace(TraceOptions { secrets: true, ..TraceOptions::default() }).unwrap();
    let request = "GET /a HTTP/1.1\r\nHost: a\r\nCookie: c=1\r\n\r\n";
    let answer = ask(&mut client, request).await;
    let begun = next(&mut trace).await;
    assert_eq!(told(&begun), "default_backend back; GET /a HTTP/1.1\r\nHost: a\r\nCookie: <hidden>\r\n\r\n");
    assert_eq!(
        (begun.frontend.as_str(), begun.client.to_string()),
        ("front", client.local_addr().unwrap().to_string())
    );
    let answered = next(&mut trace).await;
    assert_eq!(
        told(&answered),
        "back/s1, roundrobin, 0; HTTP/1.1 200 OK\r\nSet-Cookie: <hidden>\r\nContent-Length: 2\r\n\r\n"
    );
    let ended = next(&mut trace).await;
    assert_eq!(told(&ended), format!("Some(200) -- {}", answer.len()));
    assert_eq!([answered.exchange, ended.exchange], [begun.exchange; 2]);
    assert!(told(&next(&mut with_secrets).await).ends_with("Cookie: c=1\r\n\r\n"));
    assert!(told(&next(&mut with_secrets).await).contains("Set-Cookie: s=1\r\n"));
    ask(&mut client, GET).await;
    assert_ne!(next(&mut trace).await.exchange, begun.exchange);
    assert_eq!(trace.lost(), 0);
}

#[tokio::test]
async fn decisions_of_rules_and_of_persistence_are_named() {
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    let rule = |path: &str, then| Rule {
        when: Condition::Path(vec![PathPattern::Prefix(path.into())]),
        then: vec![then],
    };
    config.frontends[0].rules =
        vec![rule("/denied", Action::Deny(403)), rule("/there", Action::Backend(BackendId(0)))];
    config.backends[0].cookie = Some(Cookie::new("SRV"));
    config.backends[0].servers[0].cookie = Some("one".to_owned());
    let proxy = Proxy::start(config).unwrap();
    let mut trace = proxy.trace(TraceOptions::default()).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, "GET /there HTTP/1.1\r\nHost: a\r\nCookie: SRV=one\r\n\r\n").await;
    assert!(told(&next(&mut trace).await).starts_with("a rule: backend back; GET /there "));
    assert!(told(&next(&mut trace).await).starts_with("back/s1, its cookie, 0; "));
    assert!(told(&next(&mut trace).await).starts_with("Some(200) -- "));
    ask(&mut client, "GET /denied HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(told(&next(&mut trace).await).starts_with("denied with 403; GET /denied "));
    assert!(told(&next(&mut trace).await).starts_with("Some(403) PR "));
}

#[tokio::test]
async fn only_what_is_asked_for_is_told_and_the_trace_ends_with_the_last_of_them() {
    let server = Recording::answering(OK).await;
    let proxy = Proxy::start(http_config(&[server.server.address])).unwrap();
    let elsewhere = Network::new("192.0.2.0".parse().unwrap(), 24);
    let mut others = [
        TraceOptions { frontend: Some("back".to_owned()), ..TraceOptions::default() },
        TraceOptions { client: elsewhere, ..TraceOptions::default() },
    ]
    .map(|options| proxy.trace(options).unwrap());
    let here = Network::new("127.0.0.1".parse().unwrap(), 32);
    let options =
        TraceOptions { frontend: Some("front".to_owned()), client: here, count: Some(2), secrets: false };
    let mut trace = proxy.trace(options).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..5 {
        ask(&mut client, GET).await;
    }
    let mut events = 0;
    while let Some(event) = timeout(LONG, trace.next()).await.expect("it ends") {
        events += 1;
        assert_eq!(matches!(event.what, Happened::Ended { .. }), events % 3 == 0);
    }
    assert_eq!(events, 6);
    for other in &mut others {
        assert!(tokio::select! { biased; _ = other.next() => false, () = std::future::ready(()) => true });
    }
}

#[tokio::test]
async fn nobody_waits_for_a_tracer_that_does_not_look_and_what_it_misses_is_counted() {
    let server = Recording::answering(OK).await;
    let proxy = Proxy::start(http_config(&[server.server.address])).unwrap();
    let mut trace = proxy.trace(TraceOptions::default()).unwrap();
    let mut client = connect(&proxy).await;
    for _ in 0..300 {
        ask(&mut client, GET).await;
    }
    // 900 events, 512 of which have room.
    eventually("the last is counted", || trace.lost() == 388).await;
    for _ in 0..512 {
        next(&mut trace).await;
    }
    ask(&mut client, GET).await;
    assert!(told(&next(&mut trace).await).starts_with("default_backend back; "));
}

#[tokio::test]
async fn tracers_are_few_and_make_room_when_they_go() {
    let server = Recording::answering(OK).await;
    let proxy = Proxy::start(http_config(&[server.server.address])).unwrap();
    let mut all: Vec<_> = (0..MOST).map(|_| proxy.trace(TraceOptions::default()).unwrap()).collect();
    assert!(proxy.trace(TraceOptions::default()).is_none());
    all.pop();
    assert!(proxy.trace(TraceOptions::default()).is_some());
}

#[tokio::test]
async fn connections_of_mode_tcp_are_told_without_heads() {
    let server = Scripted::named("hello").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut trace = proxy.trace(TraceOptions { count: Some(1), ..TraceOptions::default() }).unwrap();
    let mut client = connect(&proxy).await;
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"hello");
    let seen = [next(&mut trace).await, next(&mut trace).await, next(&mut trace).await];
    assert_eq!(
        seen.map(|event| told(&event)),
        ["default_backend back; ", "back/s1, roundrobin, 0; ", "None -- 5"]
    );
    assert!(timeout(LONG, trace.next()).await.unwrap().is_none());
}
