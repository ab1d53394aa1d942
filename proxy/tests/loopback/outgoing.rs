//! Where connections to servers come from. Sources are addresses of 127.0.0.0/8.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use lb_proxy::{
    Proxy,
    config::{AgentCheck, CheckKind, Mode, Pace, Source},
    status::{CheckCode, ServerState},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::rig::*;

fn from(last: u8) -> Source {
    Source { address: Some(IpAddr::from([127, 0, 8, last])), ..Source::default() }
}

/// A server that says `line` to everybody, and who has come to it since it was last asked.
async fn noting(line: &'static str) -> (Scripted, impl Fn() -> Vec<IpAddr>) {
    let seen: Arc<Mutex<Vec<IpAddr>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let server = Scripted::start(move |mut stream| {
        noted.lock().unwrap().push(stream.peer_addr().unwrap().ip());
        async move {
            let _ = stream.write_all(line.as_bytes()).await;
        }
    })
    .await;
    (server, move || std::mem::take(&mut *seen.lock().unwrap()))
}

#[tokio::test]
async fn requests_checks_and_agents_come_from_the_source_of_their_server() {
    let (of_backend, seen_by_first) = noting("a").await;
    let (of_its_own, seen_by_second) = noting("b").await;
    let (agent, seen_by_agent) = noting("100%\n").await;
    let mut config = config(Mode::Tcp, &[of_backend.address, of_its_own.address]);
    config.backends[0].source = from(1);
    config.backends[0].servers[1].source = Some(from(2));
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config.backends[0].agent = Some(AgentCheck {
        address: None,
        port: agent.address.port(),
        interval: Duration::from_millis(50),
        timeout: LONG,
        send: Vec::new(),
    });
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "up", |health| health.backends[0].usable == 2).await;
    for _ in 0..4 {
        read_all(&mut connect(&proxy).await).await.unwrap();
    }
    let asked = agent.accepted();
    eventually("both agents are asked", || agent.accepted() > asked + 3).await;
    let all = |seen: Vec<IpAddr>, last: &[u8]| {
        assert!(seen.len() > 2, "{seen:?}");
        let expected: Vec<_> = last.iter().map(|&last| IpAddr::from([127, 0, 8, last])).collect();
        assert!(seen.iter().all(|source| expected.contains(source)), "{seen:?}");
    };
    all(seen_by_first(), &[1]);
    all(seen_by_second(), &[2]);
    all(seen_by_agent(), &[1, 2]);
}

/// The address that a server behind the proxy sees.
async fn seen_by_server(client: &mut TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let n = timeout(LONG, client.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer[..n]).rsplit("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn another_source_of_a_reload_is_that_of_the_next_request_and_its_checks() {
    let server = Scripted::start(|mut stream| async move {
        let peer = stream.peer_addr().unwrap().ip();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{peer}", peer.to_string().len());
        while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await;
    let mut config = config(Mode::Http, &[server.address]);
    config.backends[0].source = from(4);
    let proxy = Proxy::start(config.clone()).unwrap();
    let mut client = connect(&proxy).await;
    // The second one on the connection that the first has left.
    for _ in 0..2 {
        assert_eq!(seen_by_server(&mut client).await, "127.0.8.4");
    }
    assert_eq!(server.accepted(), 1);
    config.backends[0].source = from(5);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    proxy.reload(config.clone()).await.unwrap();
    assert_eq!(seen_by_server(&mut client).await, "127.0.8.5");
    config.backends[0].source.address = Some("198.51.100.7".parse().unwrap());
    proxy.reload(config).await.unwrap();
    eventually("its checks fail", || proxy.status().backends[0].servers[0].state == ServerState::Down).await;
}

#[tokio::test]
async fn source_of_another_machine_takes_the_server_down_and_says_so() {
    let (server, _) = noting("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].source.address = Some("198.51.100.7".parse().unwrap());
    let mut unchecked = config.backends[0].clone();
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    unchecked.name = "unchecked".to_owned();
    config.backends.push(unchecked);
    config.frontends[0].default_backend = Some(lb_proxy::config::BackendId(1));
    let proxy = Proxy::start(config).unwrap();
    let servers = |backend: usize| proxy.status().backends[backend].servers[0].clone();
    eventually("down", || servers(0).state == ServerState::Down).await;
    let why = servers(0).last_check.map(|check| check.to_string());
    assert_eq!(why.as_deref(), Some("L4CON its source 198.51.100.7 is no address of this machine"));
    assert_eq!(read_all(&mut connect(&proxy).await).await.unwrap(), b"");
    assert_eq!(servers(1).connect_errors, 1);
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn check_for_which_no_port_is_left_here_says_nothing_of_its_server() {
    let server = Scripted::named("a").await;
    let mut config = config(Mode::Tcp, &[server.address]);
    config.backends[0].source = Source { ports: Some(20_000..=20_000), ..from(6) };
    let mut check = quick_check(CheckKind::Tcp);
    check.pace = Pace::steady(Duration::from_secs(3600));
    config.backends[0].check = Some(check);
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "first round", |health| health.first_round_done).await;
    let holder = TcpListener::bind("127.0.8.6:20000").await.unwrap();
    for _ in 0..5 {
        let report = proxy.check_now("back", "s1", LONG).await.unwrap();
        assert_eq!((report.code, report.in_a_row), (CheckCode::Socket, 0), "{report}");
    }
    let seen = proxy.status().backends[0].servers[0].clone();
    assert_eq!((seen.state, seen.history.failed_checks), (ServerState::Up, 0));
    drop(holder);
    assert_eq!(proxy.check_now("back", "s1", LONG).await.unwrap().code, CheckCode::L4Ok);
}

#[tokio::test]
async fn connections_beyond_the_ports_of_a_source_go_to_another_server() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].servers[0].source = Some(Source { ports: Some(20_000..=20_001), ..from(3) });
    config.backends[0].servers[1].source = Some(Source { ports: Some(20_000..=20_000), ..from(3) });
    config.backends[0].retries = 1;
    config.backends[0].redispatch = true;
    let proxy = Proxy::start(config).unwrap();
    let mut open = Vec::new();
    let mut met = Vec::new();
    for _ in 0..3 {
        let mut client = connect(&proxy).await;
        met.extend(read_n(&mut client, 1).await);
        open.push(client);
    }
    met.sort_unstable();
    assert_eq!(met, b"aab");
    assert_eq!(read_all(&mut connect(&proxy).await).await.unwrap(), b"", "no port is left");
    open.clear();
    let free = || proxy.status().backends[0].servers.iter().all(|server| server.in_flight == 0);
    eventually("all have ended", free).await;
    // They are used again at once, though the connections before have just ended.
    for _ in 0..3 {
        let mut client = connect(&proxy).await;
        read_n(&mut client, 1).await;
        open.push(client);
    }
}
