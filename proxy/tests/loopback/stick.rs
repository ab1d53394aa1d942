//! Clients that stay with their server by address. Clients are addresses of 127.0.0.0/8.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    config::{BackendId, CheckKind, Mode, Stick},
    rules::{Action, Condition, Network, Rule},
    table::Capacity,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::rig::*;

fn sticky(mode: Mode, servers: &[SocketAddr]) -> Config {
    let mut config = config(mode, servers);
    let size = NonZeroU32::new(1000).unwrap();
    config.backends[0].stick = Some(Stick { capacity: Capacity { size, expire: LONG }, ipv6_prefix: 64 });
    config.backends[0].redispatch = true;
    config.backends[0].timeout.connect = Duration::from_millis(100);
    config
}

/// A connection to `front` from 127.0.0.`host`.
async fn connect_from(proxy: &Proxy, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).unwrap();
    socket.connect(address(proxy)).await.unwrap()
}

/// The server that greets a client.
async fn server_of(proxy: &Proxy, host: u8) -> char {
    let mut client = connect_from(proxy, host).await;
    char::from(read_n(&mut client, 1).await[0])
}

fn stuck(proxy: &Proxy) -> u64 {
    proxy.status().tables[0].entries
}

#[tokio::test]
async fn each_client_keeps_its_server_whichever_worker_serves() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    config.threads = 4.try_into().unwrap();
    let proxy = Proxy::start(config).unwrap();
    let first: Vec<_> = [server_of(&proxy, 2).await, server_of(&proxy, 3).await].to_vec();
    assert_eq!(first, ['a', 'b']);
    for _ in 0..10 {
        assert_eq!([server_of(&proxy, 3).await, server_of(&proxy, 2).await], ['b', 'a']);
    }
    assert_eq!(stuck(&proxy), 2);
    counted(&proxy, "persisted_total", 20).await;
    assert_eq!(proxy.status().tables[0].name, "backend back, stick");
}

#[tokio::test]
async fn client_of_a_server_that_refuses_moves_and_then_stays_there() {
    let (refusing, b) = (Refusing::new(), Scripted::named("b").await);
    let mut config = sticky(Mode::Tcp, &[b.address, refusing.address]);
    config.backends[0].retries = 1;
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(server_of(&proxy, 2).await, 'b');
    // Its turn is the other server's, which refuses: it is sent to this one and remembered with it.
    assert_eq!(server_of(&proxy, 3).await, 'b');
    let errors = || proxy.status().backends[0].servers[1].connect_errors;
    let before = errors();
    for _ in 0..4 {
        assert_eq!(server_of(&proxy, 3).await, 'b');
    }
    assert_eq!(errors(), before);
}

#[tokio::test]
async fn client_of_a_server_that_is_down_is_sent_to_another_and_stays_there() {
    let (a, b) = (Scripted::named_at(apart(), "a").await, Scripted::named_at(apart(), "b").await);
    let place = a.address;
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].check = Some(quick_check(CheckKind::Tcp));
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "both up", |health| health.first_round_done).await;
    let first = server_of(&proxy, 2).await;
    let (mut a, mut b) = (Some(a), Some(b));
    let place = if first == 'a' {
        a = None;
        place
    } else {
        let place = b.as_ref().unwrap().address;
        b = None;
        place
    };
    healthy(&proxy, "one down", |health| health.backends[0].usable == 1).await;
    let second = server_of(&proxy, 2).await;
    assert_ne!(first, second);
    counted(&proxy, "persistence_lost_total", 1).await;
    let back = if first == 'a' { "a" } else { "b" };
    let _again = Scripted::start_at(place, move |mut stream| async move {
        let _ = stream.write_all(back.as_bytes()).await;
    })
    .await;
    healthy(&proxy, "both up again", |health| health.backends[0].usable == 2).await;
    for _ in 0..4 {
        assert_eq!(server_of(&proxy, 2).await, second);
    }
    drop((a, b));
}

#[tokio::test]
async fn client_of_a_full_server_waits_for_it() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].servers[0].maxconn = Some(1);
    let proxy = Proxy::start(config).unwrap();
    let mut first = connect_from(&proxy, 2).await;
    assert_eq!(read_n(&mut first, 1).await, b"a");
    let mut second = connect_from(&proxy, 2).await;
    eventually("it waits", || proxy.status().backends[0].queued == 1).await;
    let backend = &proxy.status().backends[0];
    let queued =
        (backend.servers[0].traffic.queued, backend.servers[1].traffic.queued, backend.traffic.queued);
    assert_eq!(queued, (1, 0, 0), "it waits for its server alone");
    // Nobody else is held up.
    assert_eq!(server_of(&proxy, 3).await, 'b');
    drop(first);
    assert_eq!(read_n(&mut second, 1).await, b"a");
}

/// Says its name, in a form that is good or bad news to a check.
async fn moody(name: char, is_well: Arc<AtomicBool>) -> Scripted {
    Scripted::start(move |mut stream| {
        let status = if is_well.load(Ordering::SeqCst) { 200 } else { 500 };
        async move {
            let answer = format!("HTTP/1.1 {status} {name}\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.read(&mut [0; 1024]).await;
        }
    })
    .await
}

/// Where a client is sent that was with a server whose checks fail now.
async fn server_after_failed_checks(persist: bool) -> (char, char) {
    let is_well = [Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true))];
    let (a, b) = (moody('a', Arc::clone(&is_well[0])).await, moody('b', Arc::clone(&is_well[1])).await);
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    let request = CheckKind::Http(Box::new(lb_proxy::config::HttpCheck::new("GET", "/")));
    config.backends[0].check = Some(quick_check(request));
    config.backends[0].persist = persist;
    let proxy = Proxy::start(config).unwrap();
    healthy(&proxy, "both up", |health| health.first_round_done && health.backends[0].usable == 2).await;
    let server = async || {
        let mut client = connect_from(&proxy, 2).await;
        char::from(*read_n(&mut client, 14).await.last().unwrap())
    };
    let before = server().await;
    is_well[usize::from(before == 'b')].store(false, Ordering::SeqCst);
    healthy(&proxy, "its checks fail", |health| health.backends[0].usable == 1).await;
    (before, server().await)
}

#[tokio::test]
async fn only_with_persist_is_a_client_sent_to_its_server_while_that_is_down() {
    let (before, after) = server_after_failed_checks(true).await;
    assert_eq!(before, after);
    let (before, after) = server_after_failed_checks(false).await;
    assert_ne!(before, after);
}

/// Two servers that answer every request with their letters.
async fn two_http_servers() -> [Scripted; 2] {
    let server = |name: &'static str| {
        Scripted::start(move |mut stream| async move {
            let mut bytes = [0; 1024];
            while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {
                let response = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
                if stream.write_all(response.as_bytes()).await.is_err() {
                    break;
                }
            }
        })
    };
    [server("a").await, server("b").await]
}

async fn ask(proxy: &Proxy, host: u8) -> char {
    let mut client = connect_from(proxy, host).await;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let response = read_all(&mut client).await.unwrap();
    char::from(*response.last().unwrap())
}

#[tokio::test]
async fn http_clients_stay_as_well() {
    let [a, b] = two_http_servers().await;
    let proxy = Proxy::start(sticky(Mode::Http, &[a.address, b.address])).unwrap();
    assert_eq!([ask(&proxy, 2).await, ask(&proxy, 3).await], ['a', 'b']);
    for _ in 0..5 {
        assert_eq!([ask(&proxy, 3).await, ask(&proxy, 2).await], ['b', 'a']);
    }
}

/// Sets free who comes from 127.0.0.`host`.
fn ignoring(host: u8) -> Vec<Rule> {
    let source = Network::new([127, 0, 0, host].into(), 32).unwrap();
    vec![Rule { when: Condition::Source(vec![source]), then: vec![Action::IgnorePersistence] }]
}

#[tokio::test]
async fn client_that_a_rule_sets_free_is_balanced_and_the_table_learns_nothing() {
    let [a, b] = two_http_servers().await;
    let mut config = sticky(Mode::Http, &[a.address, b.address]);
    config.backends[0].rules = ignoring(3);
    let proxy = Proxy::start(config).unwrap();
    let free = [ask(&proxy, 3).await, ask(&proxy, 3).await, ask(&proxy, 3).await];
    assert_eq!((free, stuck(&proxy)), (['a', 'b', 'a'], 0));
    let kept = [ask(&proxy, 2).await, ask(&proxy, 2).await, ask(&proxy, 3).await, ask(&proxy, 2).await];
    assert_eq!((kept, stuck(&proxy)), (['b', 'b', 'a', 'b'], 1));

    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    config.frontends[0].rules = ignoring(3);
    let proxy = Proxy::start(config).unwrap();
    let free = [server_of(&proxy, 3).await, server_of(&proxy, 3).await, server_of(&proxy, 3).await];
    assert_eq!((free, stuck(&proxy)), (['a', 'b', 'a'], 0));
}

/// Measured with HAProxy: retries 2, redispatch: one more attempt on the same server after the pause, then another.
#[tokio::test]
async fn d7_client_leaves_its_server_at_the_last_retry_only() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    config.backends[0].retries = 2;
    let proxy = Proxy::start(config).unwrap();
    assert_eq!(server_of(&proxy, 2).await, 'a');
    let place = a.address;
    drop(a);
    eventually("it refuses", || std::net::TcpStream::connect(place).is_err()).await;
    let started = std::time::Instant::now();
    assert_eq!(server_of(&proxy, 2).await, 'b');
    assert!(started.elapsed() >= Duration::from_millis(100), "{:?}", started.elapsed());
    let servers = &proxy.status().backends[0].servers;
    assert_eq!([servers[0].connect_errors, servers[1].connect_errors], [2, 0]);
    assert_eq!((counter(&proxy, "retries_total"), counter(&proxy, "redispatches_total")), (2, 1));
}

/// Measured with HAProxy: the table learns the server of a rule, so the client stays there afterwards.
#[tokio::test]
async fn server_of_a_rule_goes_before_the_table_which_learns_it() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = sticky(Mode::Tcp, &[a.address, b.address]);
    let networks = vec![Network::new([127, 0, 0, 3].into(), 32).unwrap()];
    let then = vec![Action::Server { backend: BackendId(0), server: 1 }];
    let rule = Rule { when: Condition::Source(networks), then };
    let proxy = Proxy::start(config.clone()).unwrap();
    assert_eq!([server_of(&proxy, 2).await, server_of(&proxy, 3).await], ['a', 'b']);
    config.backends[0].servers.reverse();
    config.backends[0].rules = vec![rule];
    proxy.reload(config.clone()).await.unwrap();
    // The second one is `a` now, and only client 3 is sent there.
    assert_eq!([server_of(&proxy, 2).await, server_of(&proxy, 3).await], ['a', 'a']);
    assert_eq!(counter(&proxy, "persistence_lost_total"), 0);
    config.backends[0].rules.clear();
    proxy.reload(config).await.unwrap();
    assert_eq!(server_of(&proxy, 3).await, 'a');
    counted(&proxy, "persisted_total", 2).await;
}

#[tokio::test]
async fn rules_of_a_tcp_backend_refuse_and_choose_whoever_leads_to_it() {
    let (a, b) = (Scripted::named("a").await, Scripted::named("b").await);
    let mut config = config(Mode::Tcp, &[a.address, b.address]);
    let from = |host: u8, then| {
        let networks = vec![Network::new([127, 0, 0, host].into(), 32).unwrap()];
        Rule { when: Condition::Source(networks), then: vec![then] }
    };
    config.backends[0].rules =
        vec![from(2, Action::Server { backend: BackendId(0), server: 1 }), from(3, Action::Reject)];
    let proxy = Proxy::start(config).unwrap();
    for _ in 0..3 {
        assert_eq!(server_of(&proxy, 2).await, 'b');
    }
    let mut refused = connect_from(&proxy, 3).await;
    assert_eq!(read_all(&mut refused).await.unwrap_or_default(), b"");
    counted(&proxy, "denied_total", 1).await;
    assert_eq!(server_of(&proxy, 4).await, 'a');
}
