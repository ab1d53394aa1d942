//! `retry_on`: requests that a server failed after it was connected to, and that are sent to another one.

use std::time::Duration;

use lb_proxy::{
    Config, Proxy,
    config::{Mode, RetryOptions},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Scripted, connect, counter},
    syslog::Syslog,
    witness::Witness,
};

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy";

/// Answers every request with these bytes and ends; with none it ends at once.
async fn failing(response: &'static str) -> Scripted {
    Scripted::start(move |mut stream| async move {
        read_message(&mut stream).await;
        let _ = stream.write_all(response.as_bytes()).await;
    })
    .await
}

/// Never answers.
async fn silent() -> Scripted {
    Scripted::start(|mut stream| async move { while read_message(&mut stream).await.is_some() {} }).await
}

fn all() -> RetryOptions {
    RetryOptions {
        empty_response: true,
        junk_response: true,
        response_timeout: true,
        statuses: [503].into(),
        ..RetryOptions::default()
    }
}

fn start(servers: &[&Scripted], retry: RetryOptions, change: impl FnOnce(&mut Config)) -> Proxy {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    let mut config = http_config(&addresses);
    config.backends[0].retries = 2;
    config.backends[0].redispatch = true;
    config.backends[0].timeout.server = Duration::from_millis(300);
    config.backends[0].options.retry = retry;
    assert_eq!(config.backends[0].mode, Mode::Http);
    change(&mut config);
    Proxy::start(config).unwrap()
}

#[tokio::test]
async fn request_that_a_server_failed_is_sent_to_another_one() {
    for (response, only) in [
        ("", RetryOptions { empty_response: true, ..RetryOptions::default() }),
        ("nonsense\r\n\r\n", RetryOptions { junk_response: true, ..RetryOptions::default() }),
        ("HTTP/1.1 200 OK\r\nContent-", RetryOptions { junk_response: true, ..RetryOptions::default() }),
        (BUSY, RetryOptions { statuses: [500, 503].into(), ..RetryOptions::default() }),
    ] {
        let (bad, good) = (failing(response).await, Recording::answering(OK).await);
        let proxy = start(&[&bad, &good.server], only, |_| {});
        let mut client = connect(&proxy).await;
        for _ in 0..2 {
            assert_eq!(ask(&mut client, GET).await, OK, "{response:?}");
        }
        assert_eq!(good.requests(), [GET; 2]);
        assert_eq!(bad.accepted(), 1, "{response:?}");
        assert_eq!((counter(&proxy, "resends_total"), counter(&proxy, "redispatches_total")), (1, 1));
    }
}

#[tokio::test]
async fn server_is_told_its_own_name_with_each_attempt_and_no_other() {
    let (busy, good) = (Recording::answering(BUSY).await, Recording::answering(OK).await);
    let proxy = start(&[&busy.server, &good.server], all(), |config| {
        config.backends[0].options.server_name_header = Some("X-Server".into());
    });
    let request = "GET / HTTP/1.1\r\nHost: a\r\nx-server: mine\r\nX-Servers: a\r\nX-SERVER:mine\r\nContent-Length: 16\r\n\r\nX-Server: mine\r\n";
    assert_eq!(ask(&mut connect(&proxy).await, request).await, OK);
    let told = |name: &str| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Servers: a\r\nContent-Length: 16\r\nX-Server: {name}\r\n\r\nX-Server: mine\r\n"
        )
    };
    assert_eq!(busy.requests(), [told("s1")]);
    assert_eq!(good.requests(), [told("s2")]);
    assert_eq!(counter(&proxy, "resends_total"), 1);
}

#[tokio::test]
async fn request_that_a_server_does_not_answer_in_time_is_sent_to_another_one() {
    let (bad, good) = (silent().await, Recording::answering(OK).await);
    let only = RetryOptions { response_timeout: true, ..RetryOptions::default() };
    let proxy = start(&[&bad, &good.server], only, |_| {});
    assert_eq!(ask(&mut connect(&proxy).await, GET).await, OK);
    assert_eq!((bad.accepted(), good.requests().len()), (1, 1));
}

#[tokio::test]
async fn failure_that_is_not_named_is_not_retried() {
    for (response, letters, counted, others) in [
        ("", "502 SH--", "server_aborts_total", RetryOptions { empty_response: false, ..all() }),
        (
            "nonsense\r\n\r\n",
            "502 PH--",
            "bad_responses_total",
            RetryOptions { junk_response: false, ..all() },
        ),
        (BUSY, "503 ----", "", RetryOptions { statuses: [500].into(), ..all() }),
    ] {
        let (bad, good) = (failing(response).await, Recording::answering(OK).await);
        let syslog = Syslog::start().await;
        let proxy = start(&[&bad, &good.server], others, |config| syslog.receive_from(config));
        let answer = ask(&mut connect(&proxy).await, GET).await;
        if response == BUSY {
            assert_eq!(answer, BUSY);
        } else {
            assert_own(&answer, "502 Bad Gateway", false);
            assert_eq!(counter(&proxy, counted), 1, "{response:?}");
        }
        assert_eq!(Witness::from(syslog).says().await, letters, "{response:?}");
        assert_eq!((counter(&proxy, "resends_total"), good.server.accepted()), (0, 0));
    }
}

#[tokio::test]
async fn last_answer_is_passed_on_when_no_attempt_is_left() {
    let bad = failing(BUSY).await;
    let proxy = start(&[&bad], all(), |_| {});
    assert_eq!(ask(&mut connect(&proxy).await, GET).await, BUSY);
    assert_eq!(bad.accepted(), 3);
    assert_eq!(counter(&proxy, "retries_total"), 2);
}

#[tokio::test]
async fn without_redispatch_the_same_server_is_asked_again() {
    let (bad, good) = (failing(BUSY).await, Recording::answering(OK).await);
    let proxy = start(&[&bad, &good.server], all(), |config| config.backends[0].redispatch = false);
    assert_eq!(ask(&mut connect(&proxy).await, GET).await, BUSY);
    assert_eq!((bad.accepted(), good.server.accepted()), (3, 0));
}

#[tokio::test]
async fn request_that_is_not_idempotent_is_resent_only_if_the_file_says_so() {
    for (any_method, expected) in [(false, BUSY), (true, OK)] {
        let (bad, good) = (failing(BUSY).await, Recording::answering(OK).await);
        let retry = RetryOptions { any_method, ..all() };
        let proxy = start(&[&bad, &good.server], retry, |_| {});
        assert_eq!(ask(&mut connect(&proxy).await, POST).await, expected);
    }
}

#[tokio::test]
async fn request_that_does_not_fit_a_buffer_is_not_resent() {
    let (bad, good) = (failing(BUSY).await, Recording::answering(OK).await);
    let proxy = start(&[&bad, &good.server], all(), |_| {});
    let large = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
    assert_eq!(ask(&mut connect(&proxy).await, &large).await, BUSY);
    assert_eq!(counter(&proxy, "resends_total"), 0);
}

#[tokio::test]
async fn r5_request_is_not_resent_after_an_interim_response_was_passed_on() {
    let (bad, good) =
        (failing("HTTP/1.1 103 Early Hints\r\n\r\nnonsense\r\n\r\n").await, Recording::answering(OK).await);
    let syslog = Syslog::start().await;
    let proxy = start(&[&bad, &good.server], all(), |config| syslog.receive_from(config));
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, "HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_own(&answer(&mut client).await, "502 Bad Gateway", false);
    assert_eq!(Witness::from(syslog).says().await, "502 PH--");
    assert_eq!(good.server.accepted(), 0);
    assert_eq!((counter(&proxy, "bad_responses_total"), counter(&proxy, "resends_total")), (1, 0));
}

#[tokio::test]
async fn r6_resends_are_bounded_by_the_budget() {
    let bad = failing(BUSY).await;
    let retry = RetryOptions { budget: 0, ..all() };
    let proxy = start(&[&bad], retry, |_| {});
    assert_eq!(ask(&mut connect(&proxy).await, GET).await, BUSY);
    assert_eq!((bad.accepted(), counter(&proxy, "resends_total")), (1, 0));
    let empty = failing("").await;
    let retry = RetryOptions { budget: 0, ..all() };
    let syslog = Syslog::start().await;
    let proxy = start(&[&empty], retry, |config| syslog.receive_from(config));
    assert_own(&ask(&mut connect(&proxy).await, GET).await, "502 Bad Gateway", false);
    assert_eq!(Witness::from(syslog).says().await, "502 SH--");
    assert_eq!((empty.accepted(), counter(&proxy, "retries_refused_total")), (1, 1));
}
