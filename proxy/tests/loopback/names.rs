//! Servers that are given by name, with a nameserver of the test's own.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lb_proxy::{
    Config, Proxy,
    config::{AgentCheck, CheckKind, Mode, ResolverConfig, Server, ServerAddress},
    status::{ServerState, ServerStatus},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::AbortHandle,
};

use crate::rig::*;

/// What the nameserver says to everybody.
#[derive(Clone)]
enum Says {
    /// These addresses, with a TTL in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// An RCODE.
    Code(u8),
    Nothing,
}

struct Nameserver {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    /// When it was asked.
    asked: Arc<Mutex<Vec<Instant>>>,
    task: AbortHandle,
}

impl Nameserver {
    async fn saying(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.53:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let said = Arc::clone(&says);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let questions = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                let (length, client) = socket.recv_from(&mut question).await.unwrap();
                questions.lock().unwrap().push(Instant::now());
                let says = said.lock().unwrap().clone();
                if let Some(answer) = answer(&question[..length], &says) {
                    socket.send_to(&answer, client).await.unwrap();
                }
            }
        });
        Self { address, says, asked, task: task.abort_handle() }
    }

    fn now_says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035: the question back, and the addresses if it asks for A.
fn answer(question: &[u8], says: &Says) -> Option<Vec<u8>> {
    let (addresses, ttl, code) = match says {
        Says::Addresses(addresses, ttl) => (addresses.as_slice(), *ttl, 0),
        Says::Code(code) => (&[][..], 0, *code),
        Says::Nothing => return None,
    };
    let is_a = question.ends_with(&[0, 1, 0, 1]);
    let addresses = if is_a { addresses } else { &[] };
    let mut answer = question.to_vec();
    answer[2] = 0x81;
    answer[3] = 0x80 | code;
    answer[7] = u8::try_from(addresses.len()).unwrap();
    for address in addresses {
        let IpAddr::V4(address) = address else { unreachable!("the test has IPv4 only") };
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

fn host(n: u8) -> IpAddr {
    IpAddr::from([127, 0, 1, n])
}

/// Two servers `a` and `b` on 127.0.1.1 and 127.0.1.2 with the same port.
async fn twins() -> [Scripted; 2] {
    twins_that(|stream| web(stream, "a"), |stream| web(stream, "b")).await
}

/// Two servers that do this, likewise.
async fn twins_that<A: Future<Output = ()> + Send + 'static, B: Future<Output = ()> + Send + 'static>(
    a: impl Fn(TcpStream) -> A + Copy + Send + 'static,
    b: impl Fn(TcpStream) -> B + Copy + Send + 'static,
) -> [Scripted; 2] {
    loop {
        let a = Scripted::start_at((host(1), 0).into(), a).await;
        let address = SocketAddr::new(host(2), a.address.port());
        if std::net::TcpListener::bind(address).is_ok() {
            return [a, Scripted::start_at(address, b).await];
        }
    }
}

/// Answers each request with its name.
async fn web(mut stream: TcpStream, name: &'static str) {
    let mut request = [0; 1024];
    while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One server `app.internal` of this port, checked often.
fn named(nameserver: &Nameserver, port: u16) -> Config {
    let mut config = config(Mode::Http, &[]);
    config.resolver = ResolverConfig {
        nameservers: vec![nameserver.address],
        hosts: "/nonexistent/hosts".into(),
        resolv_conf: "/nonexistent/resolv.conf".into(),
        timeout: Duration::from_millis(300),
    };
    let address = ServerAddress::Named { host: "app.internal".into(), port };
    config.backends[0].servers = vec![Server::new("s1", address)];
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    config
}

fn server(proxy: &Proxy) -> ServerStatus {
    proxy.status().backends[0].servers[0].clone()
}

/// The last byte of an answer: who gave it, or the 503 that the proxy gave.
async fn who(client: &mut TcpStream) -> char {
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut answer = [0; 1024];
    let n = tokio::time::timeout(LONG, client.read(&mut answer)).await.unwrap().unwrap();
    char::from(answer[n - 1])
}

#[tokio::test]
async fn server_that_moves_gets_new_connections_at_its_new_address_and_idle_ones_are_closed() {
    let [a, _b] = twins().await;
    let nameserver = Nameserver::saying(Says::Addresses(vec![host(1)], 1)).await;
    let proxy = Proxy::start(named(&nameserver, a.address.port())).unwrap();
    eventually("up", || server(&proxy).state == ServerState::Up).await;
    assert_eq!(server(&proxy).resolved, Some(a.address));
    let mut client = connect(&proxy).await;
    assert_eq!([who(&mut client).await, who(&mut client).await], ['a', 'a']);
    // The connection to a is idle now: without closing it, it would serve the next request.
    nameserver.now_says(Says::Addresses(vec![host(2)], 1));
    let moved = SocketAddr::new(host(2), a.address.port());
    eventually("it has moved", || server(&proxy).resolved == Some(moved)).await;
    // The workers close theirs a moment later. One that stays would serve every request from here on.
    let end = tokio::time::Instant::now() + LONG;
    while who(&mut client).await != 'b' {
        assert!(tokio::time::Instant::now() < end, "the idle connection to a is still used");
    }
    eventually("it resolves", || server(&proxy).name_problem.is_none()).await;
}

#[tokio::test]
async fn ttl_is_followed_and_nobody_is_asked_before_its_end() {
    let [a, b] = twins().await;
    let nameserver = Nameserver::saying(Says::Addresses(vec![host(1)], 2)).await;
    let proxy = Proxy::start(named(&nameserver, a.address.port())).unwrap();
    let asked = || nameserver.asked.lock().unwrap().clone();
    eventually("it was asked", || !asked().is_empty()).await;
    // Later answers are good for an hour.
    nameserver.now_says(Says::Addresses(vec![host(2)], 3600));
    let moved = SocketAddr::new(host(2), a.address.port());
    eventually("its second answer is used", || server(&proxy).resolved == Some(moved)).await;
    let [first, second] = asked()[..] else { panic!("{:?}", asked()) };
    assert!(second - first >= Duration::from_secs(2), "{:?}", second - first);
    // A check later, and one more.
    for server in [b.accepted(), b.accepted() + 1] {
        eventually("it is checked there", || b.accepted() > server).await;
    }
    assert_eq!(asked().len(), 2);
}

/// A nameserver, and a proxy with one server that it sends to 127.0.1.1.
async fn at_the_first_of(a: &Scripted, change: impl FnOnce(&mut Config)) -> (Nameserver, Proxy) {
    let nameserver = Nameserver::saying(Says::Addresses(vec![host(1)], 1)).await;
    let mut config = named(&nameserver, a.address.port());
    change(&mut config);
    let proxy = Proxy::start(config).unwrap();
    eventually("up", || server(&proxy).state == ServerState::Up).await;
    (nameserver, proxy)
}

#[tokio::test]
async fn checks_and_agents_follow_a_server_that_moves() {
    let [a, b] = twins().await;
    let says = |weight: &'static str| {
        move |mut stream: TcpStream| async move {
            let _ = stream.write_all(weight.as_bytes()).await;
        }
    };
    let [agent, _twin] = twins_that(says("weight:10\n"), says("weight:20\n")).await;
    let port = agent.address.port();
    let (nameserver, proxy) = at_the_first_of(&a, |config| {
        config.backends[0].agent = Some(AgentCheck {
            address: None,
            port,
            interval: Duration::from_millis(20),
            timeout: LONG,
            send: Vec::new(),
        });
    })
    .await;
    eventually("its agent is asked", || server(&proxy).weight == 10).await;
    // Nobody listens there.
    nameserver.now_says(Says::Addresses(vec![host(3)], 1));
    eventually("down at its new address", || server(&proxy).state == ServerState::Down).await;
    let what = server(&proxy).last_check.map(|check| check.to_string());
    assert_eq!(what.as_deref(), Some("L4CON connection refused"));
    let (checks, questions) = (a.accepted(), agent.accepted());
    nameserver.now_says(Says::Addresses(vec![host(2)], 1));
    eventually("up at the next", || server(&proxy).state == ServerState::Up).await;
    eventually("and its agent there is asked", || server(&proxy).weight == 20).await;
    assert!(b.accepted() > 0);
    assert_eq!((a.accepted(), agent.accepted()), (checks, questions), "nobody asks where it was");
}

/// As in HAProxy: a slow start follows a failure, not a new address.
#[tokio::test]
async fn server_that_moves_starts_slowly_only_if_its_checks_failed_on_the_way() {
    let [a, _b] = twins().await;
    let hour = Duration::from_secs(3600);
    let (nameserver, proxy) = at_the_first_of(&a, |config| config.backends[0].slowstart = hour).await;
    let moved = SocketAddr::new(host(2), a.address.port());
    nameserver.now_says(Says::Addresses(vec![host(2)], 1));
    eventually("it has moved", || server(&proxy).resolved == Some(moved)).await;
    assert_eq!((server(&proxy).state, server(&proxy).share), (ServerState::Up, 100));
    nameserver.now_says(Says::Addresses(vec![host(3)], 1));
    eventually("down", || server(&proxy).state == ServerState::Down).await;
    nameserver.now_says(Says::Addresses(vec![host(1)], 1));
    eventually("up again", || server(&proxy).state == ServerState::Up).await;
    assert_eq!(server(&proxy).share, 5);
}

#[tokio::test]
async fn state_of_a_server_that_nobody_checks_begins_anew_when_its_name_resolves() {
    let [a, _b] = twins().await;
    let nameserver = Nameserver::saying(Says::Code(3)).await;
    let mut config = named(&nameserver, a.address.port());
    config.backends[0].check = None;
    let proxy = Proxy::start(config).unwrap();
    eventually("looked up", || server(&proxy).name_problem.is_some()).await;
    let down = server(&proxy);
    assert_eq!(down.state, ServerState::Down);
    nameserver.now_says(Says::Addresses(vec![host(1)], 60));
    eventually("usable", || server(&proxy).state == ServerState::NoCheck).await;
    assert!(server(&proxy).since > down.since);
}

#[tokio::test]
async fn name_that_does_not_resolve_at_the_start_is_a_server_that_is_down_for_that_reason() {
    let [a, _b] = twins().await;
    let nameserver = Nameserver::saying(Says::Code(3)).await;
    let proxy = Proxy::start(named(&nameserver, a.address.port())).unwrap();
    eventually("down", || server(&proxy).state == ServerState::Down).await;
    let why = format!("app.internal does not resolve: no such name (NXDOMAIN from {})", nameserver.address);
    assert_eq!(server(&proxy).last_check.map(|check| check.what), Some(why));
    assert_eq!(server(&proxy).resolved, None);
    assert!(proxy.health().borrow().first_round_done);
    nameserver.now_says(Says::Addresses(vec![host(1)], 60));
    eventually("up", || server(&proxy).state == ServerState::Up).await;
    assert_eq!(who(&mut connect(&proxy).await).await, 'a');
}

#[tokio::test]
async fn last_good_answer_stays_while_the_name_does_not_resolve() {
    let [a, _b] = twins().await;
    let nameserver = Nameserver::saying(Says::Addresses(vec![host(1)], 0)).await;
    let proxy = Proxy::start(named(&nameserver, a.address.port())).unwrap();
    eventually("up", || server(&proxy).state == ServerState::Up).await;
    let silent = format!("no answer from {}", nameserver.address);
    let refused = format!("{} answers with SERVFAIL", nameserver.address);
    for (says, why) in [(Says::Nothing, silent), (Says::Code(2), refused)] {
        nameserver.now_says(says);
        eventually(&why, || server(&proxy).name_problem.is_some_and(|problem| problem.why == why)).await;
        assert_eq!((server(&proxy).state, server(&proxy).resolved), (ServerState::Up, Some(a.address)));
        assert_eq!(who(&mut connect(&proxy).await).await, 'a');
    }
    nameserver.now_says(Says::Addresses(vec![host(1)], 60));
    eventually("it resolves again", || server(&proxy).name_problem.is_none()).await;
}

#[tokio::test]
async fn servers_with_one_name_spread_over_its_addresses() {
    let [a, b] = twins().await;
    let nameserver = Nameserver::saying(Says::Addresses(vec![host(2), host(1)], 60)).await;
    let mut config = named(&nameserver, a.address.port());
    let twin = Server { name: "s2".to_owned(), ..config.backends[0].servers[0].clone() };
    config.backends[0].servers.push(twin);
    // Without checks: they are used as soon as their name has resolved.
    config.backends[0].check = None;
    let proxy = Proxy::start(config).unwrap();
    let resolved = || {
        let status = proxy.status();
        status.backends[0].servers.iter().map(|server| server.resolved).collect::<Vec<_>>()
    };
    eventually("both resolve", || resolved() == [Some(a.address), Some(b.address)]).await;
    let mut client = connect(&proxy).await;
    assert_eq!([who(&mut client).await, who(&mut client).await], ['a', 'b']);
}

#[tokio::test]
async fn without_checks_a_server_whose_name_never_resolved_gets_nothing() {
    let nameserver = Nameserver::saying(Says::Code(3)).await;
    let mut config = named(&nameserver, 80);
    config.backends[0].check = None;
    let proxy = Proxy::start(config).unwrap();
    eventually("it was asked", || server(&proxy).name_problem.is_some()).await;
    assert_eq!(server(&proxy).state, ServerState::Down);
    let mut client = connect(&proxy).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_all(&mut client).await.unwrap().starts_with(b"HTTP/1.1 503 "));
}

#[tokio::test]
async fn last_good_answer_goes_on_over_a_reload_while_no_nameserver_says_a_word() {
    let [a, _b] = twins().await;
    let nameserver = Nameserver::saying(Says::Addresses(vec![host(1)], 1)).await;
    let mut config = named(&nameserver, a.address.port());
    let proxy = Proxy::start(config.clone()).unwrap();
    eventually("up", || server(&proxy).state == ServerState::Up).await;
    nameserver.now_says(Says::Nothing);
    // Other settings of the resolver: all names are looked up anew.
    config.resolver.timeout = Duration::from_millis(200);
    config.backends[0].servers[0].weight = 7;
    let same_name = Server::new("s2", config.backends[0].servers[0].address.clone());
    config.backends[0].servers.push(same_name);
    proxy.reload(config).await.unwrap();
    assert_eq!((server(&proxy).state, server(&proxy).resolved), (ServerState::Up, Some(a.address)));
    assert_eq!(who(&mut connect(&proxy).await).await, 'a');
    eventually("who is new has it as well", || {
        let new = proxy.status().backends[0].servers[1].clone();
        (new.state, new.resolved) == (ServerState::Up, Some(a.address))
    })
    .await;
}
