//! Lines of tcp frontends.

use std::{sync::Arc, time::Duration};

use lb_proxy::{
    Config, Proxy,
    config::{BackendId, LogFormat, Mode},
    rules::{Action, Condition, Rule},
};
use tokio::{io::AsyncWriteExt, sync::Notify};

use crate::{
    rig::{LONG, Refusing, Scripted, config, connect, counter, eventually, read_all, read_n},
    syslog::{Syslog, end},
    terminations::{deaf, reset},
};

/// What runs out. Nothing else here takes so long, also on a busy machine.
const SHORT: Duration = Duration::from_millis(700);

async fn started(config: Config, change: impl FnOnce(&mut Config)) -> (Proxy, Syslog) {
    let (syslog, mut config) = (Syslog::start().await, config);
    config.threads = std::num::NonZeroUsize::MIN;
    syslog.receive_from(&mut config);
    config.frontends[0].log.format = LogFormat::Tcp;
    change(&mut config);
    (Proxy::start(config).unwrap(), syslog)
}

#[tokio::test]
async fn connection_that_both_sides_end_has_the_fields_of_tcplog() {
    let server = Scripted::named("hello").await;
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |_| {}).await;
    let mut client = connect(&proxy).await;
    client.write_all(b"echo").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_all(&mut client).await.unwrap(), b"helloecho");
    assert_eq!(syslog.line().await, "front back/s1 T/T/T 9 -- 1/1/0/0/0 0/0");
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn side_that_breaks_or_is_silent_is_named() {
    let server = Scripted::named("hello").await;
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |_| {}).await;
    let mut client = connect(&proxy).await;
    read_n(&mut client, 5).await;
    reset(client);
    assert_eq!(syslog.line().await, "front back/s1 T/T/T 5 CD 1/1/0/0/0 0/0");
    let rude = Scripted::start(|mut stream| async move {
        stream.write_all(b"hello").await.unwrap();
        read_n(&mut stream, 1).await;
        reset(stream);
    })
    .await;
    let (proxy2, syslog2) = started(config(Mode::Tcp, &[rude.address]), |_| {}).await;
    let mut client = connect(&proxy2).await;
    read_n(&mut client, 5).await;
    client.write_all(b"x").await.unwrap();
    assert_eq!(syslog2.line().await, "front back/s1 T/T/T 5 SD 1/1/0/0/0 0/0");
    for (client, server_timeout, expected) in [(SHORT, LONG, "cD"), (LONG, SHORT, "sD")] {
        let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |config| {
            config.frontends[0].timeout.client = client;
            config.backends[0].timeout.server = server_timeout;
        })
        .await;
        let mut client = connect(&proxy).await;
        read_n(&mut client, 5).await;
        assert_eq!(syslog.line().await, format!("front back/s1 T/T/T 5 {expected} 1/1/0/0/0 0/0"));
    }
    end(proxy, &syslog).await;
}

/// As TLS, SMTP and others have it: who is left answers the end with a last word, which nobody is there for.
#[tokio::test]
async fn session_whose_server_has_a_last_word_for_a_client_that_is_gone_ends_in_order() {
    let (may_end, is_heard) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ends, hears) = (Arc::clone(&may_end), Arc::clone(&is_heard));
    let server = Scripted::start(move |mut stream| {
        let (ends, hears) = (Arc::clone(&ends), Arc::clone(&hears));
        async move {
            read_all(&mut stream).await.unwrap();
            stream.write_all(b"bye").await.unwrap();
            hears.notify_one();
            ends.notified().await;
        }
    })
    .await;
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |_| {}).await;
    let mut client = connect(&proxy).await;
    client.write_all(b"quit").await.unwrap();
    drop(client);
    is_heard.notified().await;
    // What the client's machine answers is a reset.
    eventually("it is passed on", || proxy.status().frontends[0].bytes_out == 3).await;
    may_end.notify_one();
    assert_eq!(syslog.line().await, "front back/s1 T/T/T 3 -- 1/1/0/0/0 0/0");
    assert_eq!(counter(&proxy, "client_aborts_total"), 0);
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn client_that_said_nothing_has_no_line_if_the_file_wants_so_and_what_nobody_read_is_something() {
    let (deaf, _filling) = deaf().await;
    let (proxy, syslog) = started(config(Mode::Tcp, &[deaf.local_addr().unwrap()]), |config| {
        config.frontends[0].options.dontlognull = true;
        config.backends[0].timeout.connect = SHORT;
    })
    .await;
    let mut silent = connect(&proxy).await;
    assert_eq!(read_all(&mut silent).await.unwrap(), b"");
    let mut client = connect(&proxy).await;
    client.write_all(b"hello").await.unwrap();
    // What was not read is answered with a reset.
    let _ = read_all(&mut client).await;
    assert_eq!(syslog.line().await, "front back/s1 T/-1/T 0 sC 1/1/0/0/0 0/0");
    let status = proxy.status();
    assert_eq!((status.frontends[0].bytes_in, status.backends[0].traffic.bytes_in), (5, 5));
    end(proxy, &syslog).await;
}

#[tokio::test]
async fn connection_without_a_server_says_why() {
    let (dead, server) = (Refusing::new(), Scripted::named("hello").await);
    let (proxy, syslog) = started(config(Mode::Tcp, &[dead.address]), |_| {}).await;
    let _client = connect(&proxy).await;
    assert_eq!(syslog.line().await, "front back/s1 T/-1/T 0 SC 1/1/0/0/0 0/0");
    drop(proxy);
    let (deaf, _filling) = deaf().await;
    let (proxy, syslog) = started(config(Mode::Tcp, &[deaf.local_addr().unwrap()]), |config| {
        config.backends[0].timeout.connect = SHORT;
    })
    .await;
    let _client = connect(&proxy).await;
    assert_eq!(syslog.line().await, "front back/s1 T/-1/T 0 sC 1/1/0/0/0 0/0");
    let (proxy, syslog) = started(config(Mode::Tcp, &[deaf.local_addr().unwrap()]), |_| {}).await;
    let client = connect(&proxy).await;
    eventually("it is tried", || proxy.status().backends[0].servers[0].in_flight == 1).await;
    reset(client);
    assert_eq!(syslog.line().await, "front back/s1 T/-1/T 0 CC 1/1/0/0/0 0/0");
    let full = |queue: Duration| {
        move |config: &mut Config| {
            config.backends[0].servers[0].maxconn = Some(1);
            config.backends[0].timeout.queue = queue;
        }
    };
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), full(SHORT)).await;
    let mut first = connect(&proxy).await;
    read_n(&mut first, 5).await;
    let _second = connect(&proxy).await;
    assert_eq!(syslog.line().await, "front back/<NOSRV> T/-1/T 0 sQ 2/2/1/0/0 0/1");
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), full(LONG)).await;
    let mut first = connect(&proxy).await;
    read_n(&mut first, 5).await;
    let second = connect(&proxy).await;
    eventually("it waits", || counter(&proxy, "queued_total") == 1).await;
    reset(second);
    assert_eq!(syslog.line().await, "front back/<NOSRV> T/-1/T 0 CQ 2/2/1/0/0 0/1");
    let rule = Rule { when: Condition::All(Vec::new()), then: vec![Action::Reject] };
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |config| {
        config.frontends[0].rules = vec![rule];
    })
    .await;
    let _client = connect(&proxy).await;
    assert_eq!(syslog.line().await, "front front/<NOSRV> -1/-1/T 0 PR 1/1/0/0/0 0/0");
    // A rule chooses, for others.
    let rule = Rule { when: Condition::Port(vec![1..=1]), then: vec![Action::Backend(BackendId(0))] };
    let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |config| {
        config.frontends[0].rules = vec![rule];
        config.frontends[0].default_backend = None;
    })
    .await;
    let mut client = connect(&proxy).await;
    assert_eq!(read_all(&mut client).await.unwrap(), b"");
    assert_eq!(syslog.line().await, "front front/<NOSRV> -1/-1/T 0 SC 1/1/0/0/0 0/0");
}

#[tokio::test]
async fn connection_that_a_rule_silences_has_no_line_whatever_becomes_of_it() {
    let server = Scripted::named("hello").await;
    for then in [vec![Action::Log(false), Action::Reject], vec![Action::Log(false)]] {
        let refuses = then.len() == 2;
        let (proxy, syslog) = started(config(Mode::Tcp, &[server.address]), |config| {
            config.frontends[0].rules = vec![Rule { when: Condition::ALWAYS, then }];
        })
        .await;
        let mut client = connect(&proxy).await;
        client.shutdown().await.unwrap();
        let said = read_all(&mut client).await.unwrap();
        assert_eq!((said.is_empty(), counter(&proxy, "denied_total")), (refuses, refuses.into()));
        end(proxy, &syslog).await;
    }
}

#[tokio::test]
async fn line_that_is_written_as_soon_as_possible_comes_with_the_connection_to_the_server() {
    let server = Scripted::named("hello").await;
    let (proxy, syslog) =
        started(config(Mode::Tcp, &[server.address]), |config| config.frontends[0].log.asap = true).await;
    let client = connect(&proxy).await;
    assert_eq!(syslog.line().await, "front back/s1 T/T/+T +0 -- 1/1/1/1/0 0/0");
    drop(client);
    end(proxy, &syslog).await;
}
