//! Taking traffic away: reset, drain, stop; and coming up with a port that is taken.

use std::{
    cell::Cell,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use lb_proxy::{
    Proxy,
    config::{Bind, Inherited, Mode},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::rig::*;

#[tokio::test]
async fn connections_on_an_address_are_reset_and_those_on_others_stay() {
    let server = Scripted::named("hello").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].binds =
        vec![Bind { label: "*:0".to_owned(), address: "0.0.0.0:0".parse().unwrap(), accept_proxy: None }];
    let proxy = Proxy::start(config).unwrap();
    let port = address(&proxy).port();
    let on = |last: u8| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    let mut gone = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(on(2)).await.unwrap();
        read_n(&mut client, 5).await;
        gone.push(client);
    }
    let mut stays = TcpStream::connect(on(3)).await.unwrap();
    read_n(&mut stays, 5).await;
    let count = proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))], LONG).await;
    assert_eq!(count, 20);
    for mut client in gone {
        assert_eq!(client.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    stays.write_all(b"still here").await.unwrap();
    assert_eq!(read_n(&mut stays, 10).await, b"still here");
    counted(&proxy, "resets_total", 20).await;
    assert_eq!(proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))], LONG).await, 0);
}

#[tokio::test]
async fn hundreds_of_connections_are_reset_at_once() {
    let server = Scripted::start(|mut stream| async move {
        let _ = stream.read(&mut [0]).await;
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut clients = Vec::new();
    for _ in 0..400 {
        clients.push(connect(&proxy).await);
    }
    eventually("all are at the server", || proxy.status().backends[0].servers[0].in_flight == 400).await;
    let count = proxy.reset_connections(&[IpAddr::V4(Ipv4Addr::LOCALHOST)], LONG).await;
    assert_eq!(count, 400);
    eventually("nothing is left", || proxy.status().connections == 0).await;
}

#[tokio::test]
async fn drain_waits_for_what_is_in_flight_and_serves_new_connections_meanwhile() {
    let server = Scripted::named("hello").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut old = connect(&proxy).await;
    read_n(&mut old, 5).await;
    let drained = Cell::new(false);
    let drain = async {
        let left = proxy.drain(LONG).await;
        drained.set(true);
        left
    };
    let exchange = async {
        let mut new = connect(&proxy).await;
        assert_eq!(read_n(&mut new, 5).await, b"hello");
        drop(new);
        old.write_all(b"in flight").await.unwrap();
        assert_eq!(read_n(&mut old, 9).await, b"in flight");
        assert!(!drained.get(), "it did not wait");
        drop(old);
    };
    let start = Instant::now();
    let (left, ()) = tokio::join!(drain, exchange);
    assert_eq!(left, 0);
    assert!(start.elapsed() < LONG, "not for its limit");
}

#[tokio::test]
async fn drain_gives_up_at_its_limit_and_tells_what_is_left() {
    let server = Scripted::named("hello").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut old = [connect(&proxy).await, connect(&proxy).await];
    for client in &mut old {
        read_n(client, 5).await;
    }
    assert_eq!(proxy.drain(Duration::from_millis(300)).await, 2);
    old[0].write_all(b"alive").await.unwrap();
    assert_eq!(read_n(&mut old[0], 5).await, b"alive");
}

/// Set in the child of a test that needs CAP_NET_ADMIN, and has it in namespaces of its own whoever runs it.
const INSIDE: &str = "LB_TEST_INSIDE";

/// Some kernels let only CAP_NET_ADMIN put a filter on a socket, so the test is run again as the root of a user
/// namespace. Returns true in there.
fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[tokio::test]
async fn hold_off_drops_newcomers_without_refusing_them_and_serves_who_is_here() {
    if !is_inside("lifecycle::hold_off_drops_newcomers_without_refusing_them_and_serves_who_is_here") {
        return;
    }
    let server = Scripted::named("hello").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let front = address(&proxy);
    let mut old = connect(&proxy).await;
    read_n(&mut old, 5).await;
    let newcomers = async {
        // The first may still be accepted, until all workers hold off.
        while let Ok(newcomer) = timeout(Duration::from_millis(300), TcpStream::connect(front)).await {
            newcomer.expect("neither accepted nor refused");
        }
    };
    let (left, ()) = tokio::join!(proxy.hold_off(Duration::from_secs(1)), newcomers);
    assert_eq!(left, 1);
    old.write_all(b"last words").await.unwrap();
    assert_eq!(read_n(&mut old, 10).await, b"last words");
    drop(old);
    assert_eq!(proxy.hold_off(LONG).await, 0);
}

#[tokio::test]
async fn hold_off_leaves_an_inherited_socket_as_it_was_for_who_has_it_next() {
    if !is_inside("lifecycle::hold_off_leaves_an_inherited_socket_as_it_was_for_who_has_it_next") {
        return;
    }
    let server = Scripted::named("hello").await;
    let passed = std::net::TcpListener::bind(ANY).unwrap();
    let front = passed.local_addr().unwrap();
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].binds.clear();
    config.frontends[0].inherited = vec![Inherited::Descriptor(passed.as_raw_fd()).into()];
    let proxy = Proxy::start(config).unwrap();
    let mut old = TcpStream::connect(front).await.unwrap();
    read_n(&mut old, 5).await;
    let newcomer = async {
        let mut newcomer = TcpStream::connect(front).await.unwrap();
        read_n(&mut newcomer, 5).await;
    };
    let (left, ()) = tokio::join!(proxy.hold_off(Duration::from_millis(200)), newcomer);
    assert!(left >= 1, "the old one");
    proxy.stop(Duration::ZERO).await;
    // As the next process would.
    let next = timeout(LONG, TcpStream::connect(front)).await.expect("a deaf socket");
    passed.set_nonblocking(false).unwrap();
    assert_eq!(passed.accept().unwrap().1, next.unwrap().local_addr().unwrap());
}

#[tokio::test]
async fn drain_does_not_close_a_connection_whose_first_request_may_be_on_its_way() {
    let server = Scripted::named("hello").await;
    let proxy = Proxy::start(config(Mode::Http, &[server.address])).unwrap();
    let mut fresh = connect(&proxy).await;
    assert_eq!(proxy.drain(Duration::from_millis(200)).await, 0);
    let closed = timeout(Duration::from_millis(100), fresh.read(&mut [0])).await;
    assert!(closed.is_err(), "{closed:?}");
}

#[tokio::test]
async fn stop_refuses_new_connections_and_finishes_what_is_in_flight() {
    let server = Scripted::named("hello").await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let front = address(&proxy);
    let mut old = connect(&proxy).await;
    read_n(&mut old, 5).await;
    let stopping = tokio::spawn(async move { proxy.stop(LONG).await });
    let refused = async {
        while TcpStream::connect(front).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, refused).await.expect("still accepting");
    old.write_all(b"last words").await.unwrap();
    assert_eq!(read_n(&mut old, 10).await, b"last words");
    assert!(!stopping.is_finished());
    drop(old);
    timeout(LONG, stopping).await.expect("did not stop").unwrap();
}

#[tokio::test]
async fn stop_ends_at_its_limit_and_what_is_left_is_reset_on_both_sides() {
    let (ended, mut has_ended) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut stream| {
        let ended = ended.clone();
        async move {
            stream.write_all(b"hello").await.unwrap();
            let _ = ended.send(stream.read(&mut [0]).await.map_err(|error| error.kind()));
        }
    })
    .await;
    let proxy = Proxy::start(config(Mode::Tcp, &[server.address])).unwrap();
    let mut old = connect(&proxy).await;
    read_n(&mut old, 5).await;
    assert_eq!(proxy.stop(Duration::from_millis(100)).await, 1);
    assert_eq!(read_all(&mut old).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let end = timeout(LONG, has_ended.recv()).await.unwrap().unwrap();
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn stop_at_once_counts_connections_and_not_looks_into_queues() {
    let server = Scripted::named("hello").await;
    // As long as it takes to look into so many, a worker has a place that is no connection's.
    let binds = (0..200).map(|_| Bind { label: "front:0".to_owned(), address: ANY, accept_proxy: None });
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].binds = binds.collect();
    for _ in 0..20 {
        let proxy = Proxy::start(config.clone()).unwrap();
        let mut client = connect(&proxy).await;
        read_n(&mut client, 5).await;
        assert_eq!(proxy.stop(Duration::ZERO).await, 1);
    }
}

#[tokio::test]
async fn dropping_the_proxy_frees_its_port_at_once() {
    let proxy = Proxy::start(config(Mode::Tcp, &[])).unwrap();
    let front = address(&proxy);
    drop(proxy);
    let refused = async {
        while TcpStream::connect(front).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, refused).await.expect("still listening");
}

#[tokio::test]
async fn taken_port_is_reported_and_bound_as_soon_as_it_is_free() {
    let server = Scripted::named("hello").await;
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    // The other process may even set SO_REUSEPORT.
    taken.set_reuseport(true).unwrap();
    taken.bind(ANY).unwrap();
    let taken = taken.listen(1).unwrap();
    let front = taken.local_addr().unwrap();
    let mut config = config(Mode::Tcp, &[server.address]);
    config.frontends[0].binds[0].address = front;
    let proxy = Proxy::start(config).unwrap();
    let port = front.port();
    let health = proxy.health().borrow().clone();
    assert!(!health.listeners[0].bound);
    let error = proxy.status().frontends[0].binds[0].error.clone().unwrap();
    assert!(error.starts_with(&format!("port {port} of 127.0.0.1 is taken by another process")), "{error}");
    eventually("each attempt is counted", || counter(&proxy, "bind_errors_total") >= 2).await;
    drop(taken);
    healthy(&proxy, "bound", |health| health.listeners[0].bound).await;
    assert_eq!(proxy.status().frontends[0].binds[0].error, None);
    assert_eq!(read_n(&mut connect(&proxy).await, 5).await, b"hello");
}
