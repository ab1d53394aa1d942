//! Requests that nobody could serve: every reason is told apart.

use std::time::Duration;

use lb_proxy::{
    Config, Proxy,
    config::{BackendId, Check, CheckKind},
    status::{Refused, Why},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Refusing, Scripted, connect, eventually, healthy, quick_check},
    witness::Witness,
};

/// What is told of a frontend in front of a server after `requests` have got 503, which ended with these letters.
async fn told(
    server: Option<&Scripted>,
    requests: usize,
    letters: &str,
    change: impl FnOnce(&mut Config),
) -> Vec<Refused> {
    let refusing = Refusing::new();
    let mut config = http_config(&[server.map_or(refusing.address, |server| server.address)]);
    config.backends[0].timeout.queue = Duration::from_millis(200);
    change(&mut config);
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "checked", |health| health.first_round_done).await;
    // The server keeps its first request for as long as this client stays.
    let mut first = connect(&proxy).await;
    if let Some(server) = server {
        first.write_all(GET.as_bytes()).await.unwrap();
        eventually("the first request arrives", || server.accepted() == 1).await;
    }
    for _ in 0..requests {
        let answer = ask(&mut connect(&proxy).await, GET).await;
        assert_own(&answer, "503 Service Unavailable", false);
        assert_eq!(witness.says().await, format!("503 {letters}"));
    }
    let status = proxy.status();
    let (frontend, backend) = (&status.frontends[0].refused, &status.backends[0].refused);
    frontend.iter().chain(backend).cloned().collect()
}

#[tokio::test]
async fn every_reason_for_503_is_told_apart_with_what_is_behind_it() {
    let row = |refused: &Refused| (refused.why, refused.count, refused.reason.clone());
    let rows = |all: Vec<Refused>| all.iter().map(row).collect::<Vec<_>>();

    let no_default = told(None, 3, "SC--", |config| config.frontends[0].default_backend = None).await;
    let reason = "no rule has chosen a backend, and the frontend has no default_backend";
    assert_eq!(rows(no_default), [(Why::NoBackend, 3, reason.to_owned())]);

    let down = Some(Check { fall: 1, ..quick_check(CheckKind::Tcp) });
    let found = rows(told(None, 1, "SC--", |config| config.backends[0].check = down).await);
    let [(Why::NoServer, 1, reason)] = found.as_slice() else { panic!("{found:?}") };
    assert!(reason.starts_with("no usable server: s1: L4CON "), "{reason}");

    let found = rows(told(None, 2, "SC--", |_| {}).await);
    let [(Why::NotConnected, 2, reason)] = found.as_slice() else { panic!("{found:?}") };
    assert!(reason.starts_with("no server could be connected to, at last s1 at 127.0.0.1:"), "{reason}");
    assert!(reason.ends_with(": Connection refused (os error 111)"), "{reason}");

    let silent =
        Scripted::start(|mut stream| async move { while read_head(&mut stream).await.is_some() {} }).await;
    let found =
        told(Some(&silent), 2, "sQ--", |config| config.backends[0].servers[0].maxconn = Some(1)).await;
    let reason = "no slot of a full server became free within 200 ms (timeout.queue): s1 has 1 of 1";
    assert_eq!(rows(found), [(Why::Full, 2, reason.to_owned())]);
}

#[tokio::test]
async fn servers_of_weight_0_are_told_of_by_their_weight_and_the_outage_is_known() {
    let mut config = http_config(&[Refusing::new().address]);
    config.backends[0].servers[0].weight = 0;
    let witness = Witness::of(&mut config).await;
    let proxy = Proxy::start(config).unwrap();
    let answer = ask(&mut connect(&proxy).await, GET).await;
    assert_own(&answer, "503 Service Unavailable", false);
    assert_eq!(witness.says().await, "503 SC--");
    let status = proxy.status();
    let app = &status.backends[0];
    assert_eq!(app.refused[0].reason, "no usable server: s1: weight 0");
    assert!(app.outage.is_down && !app.servers[0].is_in_use, "{app:?}");
}

#[tokio::test]
async fn servers_that_are_connected_to_and_do_not_answer_are_told_of_apart_from_refusals() {
    let closing = Scripted::start(|mut stream| async move {
        read_head(&mut stream).await;
    })
    .await;
    let silent =
        Scripted::start(|mut stream| async move { while read_head(&mut stream).await.is_some() {} }).await;
    for (server, status, letters, expected) in [
        (
            &closing,
            "502 Bad Gateway",
            "502 SH--",
            "502 for s1 at ADDRESS: it closed the connection without a whole answer, or",
        ),
        (
            &silent,
            "504 Gateway Timeout",
            "504 sH--",
            "504 for s1 at ADDRESS: no answer within 300 ms (timeout.server)",
        ),
    ] {
        let mut config = http_config(&[server.address]);
        config.backends[0].timeout.server = Duration::from_millis(300);
        let witness = Witness::of(&mut config).await;
        let proxy = Proxy::start(config).unwrap();
        for count in 1..=3 {
            let answer = ask(&mut connect(&proxy).await, GET).await;
            assert_own(&answer, status, false);
            assert_eq!(witness.says().await, letters);
            // One alone may be a slow page.
            let unanswered = proxy.status().backends[0].unanswered.clone();
            assert_eq!(unanswered.is_some(), count > 1, "{unanswered:?}");
        }
        let status = proxy.status();
        let found = status.backends[0].unanswered.as_ref().expect("told");
        assert_eq!((found.count, found.of), (3, 3));
        let expected = expected.replace("ADDRESS", &server.address.to_string());
        assert!(found.reason.starts_with(&expected), "{found:?}");
        assert_eq!(status.backends[0].refused, []);
    }
}

#[tokio::test]
async fn connections_in_mode_tcp_that_nobody_serves_are_told_of_as_well() {
    let refusing = Refusing::new();
    let mut config = crate::rig::config(lb_proxy::config::Mode::Tcp, &[refusing.address]);
    config.frontends[0].default_backend = Some(BackendId(0));
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(crate::rig::read_all(&mut connect(&proxy).await).await.unwrap(), b"");
    eventually("it is told", || {
        let refused = &proxy.status().backends[0].refused;
        refused.iter().any(|one| one.why == Why::NotConnected && one.count == 1)
    })
    .await;
}
