//! Logs of a proxy that gets another configuration while it runs.

use lb_proxy::{
    Proxy,
    config::{AccessLog, LogDestination, LogTarget, Mode},
};
use tokio::io::AsyncWriteExt;

use crate::{
    peers::*,
    rig::{Scripted, config, connect, eventually, read_n},
    syslog::Syslog,
};

#[tokio::test]
async fn next_request_is_logged_where_the_new_configuration_says() {
    let (first, second) = (Syslog::start().await, Syslog::start().await);
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    first.receive_from(&mut config);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    assert!(first.line().await.starts_with("front back/s1 T/T/T/T/T 200 "));
    // The head of the next one has begun.
    client.write_all(b"GET /next HT").await.unwrap();
    eventually("it is read", || proxy.status().frontends[0].bytes_in == GET.len() as u64 + 12).await;
    second.receive_from(&mut config);
    proxy.reload(config.clone()).await.unwrap();
    ask(&mut client, "TP/1.1\r\nHost: a\r\n\r\n").await;
    let line = second.line().await;
    assert!(line.starts_with("front back/s1 T/T/T/T/T 200 "), "{line}");
    assert!(line.ends_with("\"GET /next HTTP/1.1\""), "{line}");
    config.frontends[0].log = AccessLog::default();
    proxy.reload(config).await.unwrap();
    ask(&mut client, GET).await;
    assert!(proxy.status().logs.is_empty());
    proxy.stop(std::time::Duration::ZERO).await;
    assert_eq!((first.pending(), second.pending()), (None, None));
}

#[tokio::test]
async fn connection_of_an_old_configuration_is_logged_as_that_says() {
    let (first, second, server) = (Syslog::start().await, Syslog::start().await, Scripted::named("a").await);
    let mut config = config(Mode::Tcp, &[server.address]);
    first.receive_from(&mut config);
    config.frontends[0].log.format = lb_proxy::config::LogFormat::Tcp;
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    read_n(&mut client, 1).await;
    config.frontends[0].log.targets = vec![second.target()];
    proxy.reload(config).await.unwrap();
    drop(client);
    assert_eq!(first.line().await, "front back/s1 T/T/T 1 -- 1/1/0/0/0 0/0");
    read_n(&mut connect(&proxy).await, 1).await;
    assert_eq!(second.line().await, "front back/s1 T/T/T 1 -- 1/1/0/0/0 0/0");
}

#[tokio::test]
async fn place_that_stays_goes_on_and_one_that_never_came_into_force_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| LogTarget::new(LogDestination::File(folder.path().join(name)));
    let server = Recording::answering(OK).await;
    let mut config = http_config(&[server.server.address]);
    config.frontends[0].log.targets = vec![file("access.log")];
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    eventually("written", || proxy.status().logs[0].written_total == 1).await;
    config.frontends[0].log.targets = vec![file("access.log"), file("other.log")];
    let prepared = proxy.prepare(config.clone()).await.unwrap();
    drop(prepared);
    ask(&mut client, GET).await;
    eventually("written", || proxy.status().logs[0].written_total == 2).await;
    assert!(!folder.path().join("other.log").exists());
    proxy.reload(config).await.unwrap();
    eventually("there at once", || folder.path().join("other.log").exists()).await;
    ask(&mut client, GET).await;
    let counts = || proxy.status().logs.iter().map(|log| log.written_total).collect::<Vec<_>>();
    eventually("written to both", || counts() == [3, 1]).await;
    let lines = std::fs::read_to_string(folder.path().join("access.log")).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
}
