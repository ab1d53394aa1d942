//! Frontends that are paused and resumed: newcomers are refused, everything else goes on.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lb_proxy::{
    Config, PauseError, Proxy,
    config::{Bind, Frontend, Mode, UnixAddress},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, UnixStream},
};

use crate::{peers::*, rig::*};

/// `front` and `other`, each on a port of its own.
fn two_frontends(server: SocketAddr) -> Config {
    let mut config = config(Mode::Http, &[server]);
    let binds = vec![at_any_port([127, 0, 0, 2])];
    config.frontends.push(Frontend { binds, ..config.frontends[0].clone() });
    config.frontends[1].name = "other".to_owned();
    config
}

/// One of its own for each: a reload knows a listener by its address in the file.
fn at_any_port(address: [u8; 4]) -> Bind {
    Bind { label: "any".to_owned(), address: (address, 0).into(), accept_proxy: None }
}

fn at(proxy: &Proxy, frontend: usize) -> SocketAddr {
    proxy.status().frontends[frontend].binds[0].address.unwrap()
}

async fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect(address).await {
        Ok(mut stream) => {
            assert_eq!(ask(&mut stream, GET).await, OK);
            false
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            true
        }
    }
}

#[tokio::test]
async fn newcomers_are_refused_and_everything_else_goes_on() {
    let upstream = Recording::answering(OK).await;
    let proxy = Proxy::start(two_frontends(upstream.server.address)).unwrap();
    let (front, other) = (at(&proxy, 0), at(&proxy, 1));
    let mut kept = connect(&proxy).await;
    assert_eq!(ask(&mut kept, GET).await, OK);
    for _ in 0..3 {
        proxy.pause("front", "root").await.unwrap();
        proxy.pause("front", "ada").await.unwrap();
        let paused = proxy.status().frontends[0].paused.clone().unwrap();
        assert_eq!(paused.by, "root", "the second one changes nothing");
        assert!(proxy.health().borrow().listeners.iter().all(|listener| listener.bound));
        for _ in 0..8 {
            assert!(is_refused(front).await);
            assert!(!is_refused(other).await);
            assert_eq!(ask(&mut kept, GET).await, OK);
        }
        proxy.resume("front", "root").await.unwrap();
        assert_eq!(proxy.status().frontends[0].paused, None);
        for _ in 0..8 {
            assert!(!is_refused(front).await);
        }
    }
    assert_eq!(proxy.pause("frnt", "root").await, Err(PauseError::NoFrontend));
}

#[tokio::test]
async fn client_that_was_accepted_is_served_however_often_its_frontend_is_paused() {
    let upstream = Recording::answering(OK).await;
    let proxy = Arc::new(Proxy::start(two_frontends(upstream.server.address)).unwrap());
    let (front, over) = (at(&proxy, 0), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let over = Arc::clone(&over);
            tokio::spawn(async move {
                let mut served = 0;
                while !over.load(Ordering::SeqCst) {
                    // Whoever is let in gets an answer: it is never reset.
                    served += u32::from(!is_refused(front).await);
                    tokio::task::yield_now().await;
                }
                served
            })
        })
        .collect();
    for _ in 0..10 {
        proxy.pause("front", "root").await.unwrap();
        proxy.resume("front", "root").await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    let mut served = 0;
    for client in clients {
        served += client.await.unwrap();
    }
    assert!(served > 0);
}

#[tokio::test]
async fn pause_outlives_reloads_and_holds_for_new_addresses_of_the_frontend() {
    let upstream = Recording::answering(OK).await;
    let mut config = two_frontends(upstream.server.address);
    let proxy = Proxy::start(config.clone()).unwrap();
    let (front, other) = (at(&proxy, 0), at(&proxy, 1));
    let mut kept = connect(&proxy).await;
    assert_eq!(ask(&mut kept, GET).await, OK);
    proxy.pause("front", "root").await.unwrap();
    config.frontends.reverse();
    config.frontends[1].binds.push(at_any_port([127, 0, 0, 3]));
    proxy.reload(config.clone()).await.unwrap();
    let more = proxy.status().frontends[1].binds[1].address.unwrap();
    for address in [front, more] {
        assert!(is_refused(address).await);
    }
    assert!(!is_refused(other).await);
    assert_eq!(ask(&mut kept, GET).await, OK, "keep-alive, and no `Connection: close`");
    proxy.resume("front", "root").await.unwrap();
    for address in [front, more, other] {
        assert!(!is_refused(address).await);
    }
    // A frontend that the file does not have any more takes its pause with it.
    proxy.pause("front", "root").await.unwrap();
    let gone = config.frontends.remove(1);
    proxy.reload(config.clone()).await.unwrap();
    config.frontends.push(gone);
    proxy.reload(config).await.unwrap();
    assert!(!is_refused(at(&proxy, 1)).await);
}

#[tokio::test]
async fn port_that_another_program_has_taken_meanwhile_is_told() {
    let upstream = Recording::answering(OK).await;
    let proxy = Proxy::start(two_frontends(upstream.server.address)).unwrap();
    let front = at(&proxy, 0);
    proxy.pause("front", "root").await.unwrap();
    let taken = std::net::TcpListener::bind(front).unwrap();
    let error = proxy.resume("front", "root").await.unwrap_err();
    assert!(error.to_string().contains("has another program taken the port meanwhile?"), "{error}");
    assert!(proxy.status().frontends[0].paused.is_some());
    drop(taken);
    proxy.resume("front", "root").await.unwrap();
    assert!(!is_refused(front).await);
}

#[tokio::test]
async fn unix_socket_that_is_paused_closes_at_once() {
    let upstream = Recording::answering(OK).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let mut config = two_frontends(upstream.server.address);
    config.frontends[0].unix = vec![UnixAddress::new(path.to_str().unwrap()).unwrap().into()];
    let proxy = Proxy::start(config).unwrap();
    let first = async || {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, GET.as_bytes()).await;
        let mut byte = [0];
        stream.read(&mut byte).await.unwrap_or(0)
    };
    assert_eq!(first().await, 1);
    proxy.pause("front", "root").await.unwrap();
    for _ in 0..4 {
        assert_eq!(first().await, 0);
    }
    proxy.resume("front", "root").await.unwrap();
    assert_eq!(first().await, 1);
}
