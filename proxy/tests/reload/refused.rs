//! A configuration that can't come into force changes nothing.

use std::{net::TcpListener, num::NonZeroUsize};

use lb_proxy::{
    Config, Proxy, ReloadError,
    config::{Bind, Frontend, MapFile, MapKind, Mode, Place},
};
use tokio::net::TcpStream;

use crate::rig::*;

fn other(config: &Config, frontend: Bind) -> Config {
    let mut config = config.clone();
    config.maxconn = 1;
    config.backends[0].servers.clear();
    let frontend = Frontend { name: "other".into(), binds: vec![frontend], ..config.frontends[0].clone() };
    config.frontends = vec![frontend];
    config
}

/// Everything is as it was.
async fn is_untouched(proxy: &Proxy) {
    let status = proxy.status();
    assert_eq!((status.generation, status.old_generations, status.maxconn), (1, 0, 1000));
    assert_eq!(status.frontends[0].name, "front");
    for _ in 0..2 {
        assert_eq!(read_n(&mut connect(proxy).await, 1).await, b"a");
    }
}

#[tokio::test]
async fn port_that_somebody_else_has() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let taken = TcpListener::bind(ANY).unwrap();
    let free = TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let label = |name: &str, address| Bind { label: name.to_owned(), address, accept_proxy: None };
    let mut next = other(&config, label("taken", taken.local_addr().unwrap()));
    next.frontends[0].binds.push(label("free", free));
    let error = proxy.reload(next).await.unwrap_err();
    let port = taken.local_addr().unwrap().port();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "frontend other: taken: port {port} of 127.0.0.1 is taken by another process;"
        )),
        "{text}"
    );
    is_untouched(&proxy).await;
    // The other one is free again.
    TcpStream::connect(free).await.unwrap_err();
    TcpListener::bind(free).unwrap();
}

#[tokio::test]
async fn other_number_of_threads() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut next = other(&config, config.frontends[0].binds[0].clone());
    next.threads = NonZeroUsize::new(3).unwrap();
    let error = proxy.reload(next).await.unwrap_err();
    assert_eq!(error.to_string(), "2 threads run, and 3 are wanted: that takes another process");
    is_untouched(&proxy).await;
}

#[tokio::test]
async fn map_that_vanished_and_map_that_is_half_written() {
    let server = Scripted::named("a").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.map");
    std::fs::write(&file, "a one\n").unwrap();
    let mut config = config(Mode::Tcp, &[server.address]);
    config.maps = vec![MapFile {
        name: "hosts".into(),
        file: file.clone(),
        kind: MapKind::Exact,
        place: Place("lb.toml:1:8".into()),
    }];
    let proxy = Proxy::start(config.clone()).unwrap();
    let next = other(&config, config.frontends[0].binds[0].clone());
    std::fs::write(&file, "a one\nb").unwrap();
    let error = proxy.reload(next.clone()).await.unwrap_err();
    assert!(error.to_string().contains("hosts.map:2: the key `b` has no value"), "{error}");
    std::fs::remove_file(&file).unwrap();
    let error = proxy.reload(next).await.unwrap_err();
    assert_eq!(error.to_string(), format!("lb.toml:1:8: map `hosts`: {}: does not exist", file.display()));
    assert!(matches!(error, ReloadError::Maps(_)));
    is_untouched(&proxy).await;
}

#[tokio::test]
async fn one_that_is_ready_and_dropped() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let free = TcpListener::bind(ANY).unwrap().local_addr().unwrap();
    let next = other(&config, Bind { label: "new".into(), address: free, accept_proxy: None });
    drop(proxy.prepare(next).await.unwrap());
    is_untouched(&proxy).await;
    TcpListener::bind(free).unwrap();
    // And the next one is not in its way.
    assert_eq!(proxy.reload(config).await.unwrap().generation, 2);
}
