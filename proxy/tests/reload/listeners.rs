//! Listeners that stay, come, go, or change hands.

use std::{
    collections::VecDeque,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener},
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::{SocketAddr as StdUnixAddr, UnixStream as StdUnixStream},
        },
    },
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use lb_proxy::{
    Config, Proxy, ReloadError,
    config::{Bind, Frontend, Inherited, Mode, Owner, UnixAddress, UnixBind},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{peers::*, rig::*};

fn bind(address: &str) -> Bind {
    Bind { label: address.to_owned(), address: address.parse().unwrap(), accept_proxy: None }
}

/// A port that is free now on all addresses. Below those that the kernel gives to whoever asks for any: it stays free.
fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id() * 31 + CALLS.fetch_add(1, Ordering::Relaxed) * 1_000;
    let ports = (0..15_000).map(|n| 12_000 + u16::try_from((start + n) % 15_000).unwrap());
    ports.into_iter().find(|&port| StdListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()).unwrap()
}

/// The configuration with one more frontend, `second`, which does what the first one does.
fn with_second(config: &Config, bind: Bind) -> Config {
    let mut config = config.clone();
    config.frontends.push(Frontend {
        name: "second".into(),
        binds: vec![bind],
        ..config.frontends[0].clone()
    });
    config
}

fn address_of(proxy: &Proxy, frontend: &str) -> SocketAddr {
    let status = proxy.status();
    status.frontends.iter().find(|one| one.name == frontend).unwrap().binds[0].address.unwrap()
}

#[tokio::test]
async fn listener_that_stays_keeps_its_socket_and_whoever_waits_in_its_queue() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].maxconn = 1;
    let proxy = Proxy::start(config.clone()).unwrap();
    let before = address(&proxy);
    let mut first = connect(&proxy).await;
    read_n(&mut first, 1).await;
    // In the kernel's queue: connected, and not accepted.
    let mut queued = [connect(&proxy).await, connect(&proxy).await];
    eventually("the limit is hit", || counter(&proxy, "frontend_full_total") > 0).await;

    // It is another frontend by its index, and may have one more connection.
    config.frontends[0].maxconn = 2;
    let mut next = with_second(&config, bind("127.0.0.2:0"));
    next.frontends.reverse();
    proxy.reload(next).await.unwrap();
    assert_eq!(address_of(&proxy, "front"), before);
    let served = || {
        let status = proxy.status();
        status.backends[0].servers[0].requests_total
    };
    eventually("one of them is served", || served() == 2).await;
    drop(first);
    for client in &mut queued {
        assert_eq!(read_n(client, 1).await, b"a");
    }
    let status = proxy.status();
    let front = status.frontends.iter().find(|one| one.name == "front").unwrap();
    assert_eq!((front.connections, front.connections_total), (2, 3));
}

#[tokio::test]
async fn listener_that_goes_serves_its_queue_ends_its_connections_politely_and_then_refuses() {
    let upstream = Recording::answering(OK).await;
    let mut config = http_config(&[upstream.server.address]);
    config.frontends[0].maxconn = 2;
    let proxy = Proxy::start(with_second(&config, bind("127.0.0.2:0"))).unwrap();
    let gone = address(&proxy);
    let (mut idle, mut late) = (connect(&proxy).await, connect(&proxy).await);
    ask(&mut idle, GET).await;
    ask(&mut late, GET).await;
    let mut queued = connect(&proxy).await;
    eventually("the limit is hit", || counter(&proxy, "frontend_full_total") > 0).await;

    let mut next = with_second(&config, bind("127.0.0.2:0"));
    next.frontends.remove(0);
    proxy.reload(next).await.unwrap();
    assert_eq!(proxy.status().frontends.len(), 1);
    // A request that comes at once is served, and the client told.
    assert!(ask(&mut late, GET).await.contains("\r\nConnection: close\r\n"));
    assert_eq!(late.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "without a word and without a reset");
    assert!(ask(&mut queued, GET).await.contains("\r\nConnection: close\r\n"));
    assert_eq!(queued.read(&mut [0]).await.unwrap(), 0);
    let refused = async { while TcpStream::connect(gone).await.is_ok() {} };
    tokio::time::timeout(LONG, refused).await.expect("it still listens");
    eventually("nobody uses it", || proxy.status().old_generations == 0).await;
    assert_eq!(proxy.status().connections, 0);
}

#[tokio::test]
async fn new_listener_accepts_when_the_reload_returns() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let port = free_port();
    proxy.reload(with_second(&config, bind(&format!("127.0.0.1:{port}")))).await.unwrap();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert_eq!(read_n(&mut client, 1).await, b"a");
    assert_eq!(proxy.health().borrow().listeners.iter().filter(|one| one.bound).count(), 2);
}

#[tokio::test]
async fn all_addresses_become_one_address_and_back() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    let port = free_port();
    let (all, one) = (bind(&format!("0.0.0.0:{port}")), bind(&format!("127.0.0.1:{port}")));
    config.frontends[0].binds = vec![all.clone()];
    let proxy = Proxy::start(config.clone()).unwrap();
    for binds in [&one, &all, &one] {
        config.frontends[0].binds = vec![binds.clone()];
        proxy.reload(config.clone()).await.unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        assert_eq!(read_n(&mut client, 1).await, b"a");
    }
    let other = SocketAddr::from(([127, 0, 0, 2], port));
    eventually("the other address refuses", || {
        std::net::TcpStream::connect(other).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    })
    .await;
    // What stays is no reason to take a port that is ours for nobody's.
    let error = proxy.reload(with_second(&config, all)).await.unwrap_err();
    assert!(matches!(error, ReloadError::Bind(_)), "{error}");
}

#[tokio::test]
async fn address_that_went_a_moment_ago_can_be_had_again_and_serves_everybody() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let port = free_port();
    let with = with_second(&config, bind(&format!("127.0.0.1:{port}")));
    for _ in 0..10 {
        proxy.reload(with.clone()).await.unwrap();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        assert_eq!(read_n(&mut client, 1).await, b"a");
        proxy.reload(config.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn address_that_went_and_still_has_a_queue_is_refused_until_that_is_served() {
    let server = Scripted::named("a").await;
    let config = config(Mode::Tcp, &[server.address]);
    let port = free_port();
    let mut with = with_second(&config, bind(&format!("127.0.0.1:{port}")));
    with.frontends[1].maxconn = 1;
    with.frontends.reverse();
    let proxy = Proxy::start(with.clone()).unwrap();
    let mut first = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    read_n(&mut first, 1).await;
    let mut queued = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    eventually("it waits", || counter(&proxy, "frontend_full_total") > 0).await;
    proxy.reload(config.clone()).await.unwrap();
    let error = proxy.reload(with.clone()).await.unwrap_err().to_string();
    assert!(error.contains("clients of then still wait there (maxconn)"), "{error}");
    drop(first);
    assert_eq!(read_n(&mut queued, 1).await, b"a");
    drop(queued);
    proxy.reload(with).await.unwrap();
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert_eq!(read_n(&mut client, 1).await, b"a");
}

/// With clients on two addresses of one listener.
async fn on_two_addresses(proxy: &Proxy) -> [TcpStream; 2] {
    let port = address(proxy).port();
    let on = |last: u8| TcpStream::connect((Ipv4Addr::new(127, 0, 0, last), port));
    [on(2).await.unwrap(), on(3).await.unwrap()]
}

const LEAVES: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

#[tokio::test]
async fn connections_to_an_address_that_leaves_end_when_they_are_idle_and_no_others_do() {
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let held = std::sync::Mutex::new(Some(held));
    let server = Scripted::start(move |mut stream| {
        let held = held.lock().unwrap().take();
        async move {
            read_head(&mut stream).await;
            if let Some(held) = held {
                let _ = held.await;
            }
            let _ = stream.write_all(OK.as_bytes()).await;
            while read_head(&mut stream).await.is_some() {
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        }
    })
    .await;
    let mut config = http_config(&[server.address]);
    config.frontends[0].binds = vec![bind("0.0.0.0:0")];
    let proxy = Proxy::start(config).unwrap();
    let [mut busy, _] = on_two_addresses(&proxy).await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    eventually("it is at the server", || proxy.status().backends[0].servers[0].in_flight == 1).await;
    let [mut idle, mut stays] = on_two_addresses(&proxy).await;
    ask(&mut idle, GET).await;
    ask(&mut stays, GET).await;

    let clients = async {
        assert_eq!(idle.read(&mut [0]).await.unwrap(), 0, "without a reset");
        release.send(()).unwrap();
        assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200 "));
        assert_eq!(busy.read(&mut [0]).await.unwrap(), 0, "without a reset");
    };
    let (cut, ()) = tokio::join!(proxy.leave(&[LEAVES], LONG), clients);
    assert_eq!(cut, 0);
    assert!(ask(&mut stays, GET).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(counter(&proxy, "resets_total"), 0);
}

#[tokio::test]
async fn what_is_on_an_address_that_leaves_after_the_limit_is_reset_and_counted() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].binds = vec![bind("0.0.0.0:0")];
    let proxy = Proxy::start(config).unwrap();
    let [mut goes, mut stays] = on_two_addresses(&proxy).await;
    read_n(&mut goes, 1).await;
    read_n(&mut stays, 1).await;
    assert_eq!(proxy.leave(&[LEAVES], Duration::from_millis(20)).await, 1);
    assert_eq!(goes.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    stays.write_all(b"still here").await.unwrap();
    assert_eq!(read_n(&mut stays, 10).await, b"still here");
}

#[tokio::test]
async fn listener_that_changes_hands_takes_its_connections_along() {
    let upstream = Recording::answering(OK).await;
    let config = http_config(&[upstream.server.address]);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    ask(&mut client, GET).await;
    let mut next = config.clone();
    next.frontends[0].name = "renamed".into();
    proxy.reload(next.clone()).await.unwrap();
    assert_eq!(ask(&mut client, GET).await, OK);
    let front = proxy.status().frontends[0].clone();
    assert_eq!((front.connections, front.requests_total), (1, 1));

    // The same place, and another protocol: who speaks the old one is sent away.
    next.frontends[0].mode = Mode::Tcp;
    next.backends[0].mode = Mode::Tcp;
    proxy.reload(next).await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    let mut client = connect(&proxy).await;
    assert_eq!(ask(&mut client, GET).await, OK);
}

#[tokio::test]
async fn inherited_socket_stays_and_one_that_is_taken_away_and_given_back_works_again() {
    let server = Scripted::named("a").await;
    let socket = StdListener::bind(ANY).unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut config = config(Mode::Tcp, &[server.address]);
    let plain = config.clone();
    config.frontends[0].binds = Vec::new();
    config.frontends[0].inherited = vec![Inherited::Descriptor(socket.as_raw_fd()).into()];
    let proxy = Proxy::start(config.clone()).unwrap();
    for next in [&config, &plain, &config] {
        proxy.reload(next.clone()).await.unwrap();
    }
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    assert_eq!(read_n(&mut client, 1).await, b"a");
}

#[tokio::test]
async fn listener_that_is_not_bound_goes_on_trying_over_a_reload() {
    let server = Scripted::named("a").await;
    let taken = StdListener::bind(ANY).unwrap();
    let address = taken.local_addr().unwrap();
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].binds = vec![bind(&address.to_string())];
    let proxy = Proxy::start(config.clone()).unwrap();
    proxy.reload(config).await.unwrap();
    assert!(proxy.status().frontends[0].binds[0].error.is_some());
    drop(taken);
    eventually("bound", || proxy.status().frontends[0].binds[0].error.is_none()).await;
    assert_eq!(read_n(&mut connect(&proxy).await, 1).await, b"a");
}

#[tokio::test]
async fn socket_of_the_unix_domain_stays_takes_other_rights_and_goes_with_its_file() {
    let server = Scripted::named("a").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let address = UnixAddress::new(path.to_str().unwrap()).unwrap();
    let mut config = config(Mode::Tcp, &[server.address]);
    config.threads = 1.try_into().unwrap();
    config.frontends[0].maxconn = 1;
    config.frontends[0].unix = vec![UnixBind { mode: Some(0o600), ..address.into() }];
    let proxy = Proxy::start(config.clone()).unwrap();
    let found = |path: &std::path::Path| {
        let meta = std::fs::metadata(path).unwrap();
        (meta.ino(), meta.permissions().mode() & 0o777)
    };
    let (inode, mode) = found(&path);
    assert_eq!(mode, 0o600);
    let mut first = UnixStream::connect(&path).await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let mut queued = UnixStream::connect(&path).await.unwrap();

    config.frontends[0].unix[0].mode = Some(0o660);
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(found(&path), (inode, 0o660));
    config.frontends[0].unix[0].group = Some(Owner::Name("nobody knows it".into()));
    let error = proxy.reload(config.clone()).await.unwrap_err();
    assert!(error.to_string().ends_with("no group is called `nobody knows it` on this machine"), "{error}");

    config.frontends[0].unix.clear();
    proxy.reload(config).await.unwrap();
    assert!(!path.exists());
    drop(first);
    queued.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"a");
}

#[tokio::test]
async fn listener_that_goes_ends_also_when_its_queue_is_never_empty() {
    let server = Scripted::named("a").await;
    let name = format!("@lbctl-test-goes-{}", std::process::id());
    let mut config = config(Mode::Tcp, &[server.address]);
    let without = config.clone();
    config.threads = 1.try_into().unwrap();
    config.frontends[0].maxconn = 1;
    config.frontends[0].unix = vec![UnixAddress::new(&name).unwrap().into()];
    let without = Config { threads: config.threads, ..without };
    let proxy = Proxy::start(config).unwrap();
    // Nobody can be kept away from a name that is no file. One is served, all others wait.
    let connect = || {
        let name = StdUnixAddr::from_abstract_name(&name[1..]).unwrap();
        StdUnixStream::connect_addr(&name).and_then(|stream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        })
    };
    let mut clients: VecDeque<_> = (0..8).map(|_| connect().unwrap()).collect();
    proxy.reload(without).await.unwrap();
    for _ in 0..10_000 {
        let mut first = clients.pop_front().unwrap();
        match first.read(&mut [0]).await {
            Ok(1) => {}
            // Those that were too late.
            _ => break,
        }
        match connect() {
            Ok(client) => clients.push_back(client),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                return;
            }
        }
    }
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
