//! Unix-domain sockets, on the clients' side and on the servers'.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Config, Proxy,
    config::{Balance, CheckKind, HashKey, HashKind, HttpCheck, Mode, Server, Stick, UnixAddress},
    rules::{Action, Condition, LimitedBy, RateLimit, Rule},
    status::ServerState,
    table::{Capacity, Rate, SourceLimits},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::AbortHandle,
};

use crate::rig::*;

/// A server on a socket of its own; its file stays when it ends, as it does when a process dies.
struct UnixServer {
    address: UnixAddress,
    accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl UnixServer {
    fn start<F: Future<Output = ()> + Send + 'static>(
        path: &Path,
        script: impl Fn(UnixStream) -> F + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(stream));
            }
        });
        Self { address: unix(path), accepted, task: task.abort_handle() }
    }

    /// Answers each request with its head.
    fn mirror(path: &Path) -> Self {
        Self::start(path, |mut stream| async move {
            let mut head = Vec::new();
            while stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {
                if head.ends_with(b"\r\n\r\n") {
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
                    if stream.write_all(&[answer.as_bytes(), &head].concat()).await.is_err() {
                        return;
                    }
                    head.clear();
                }
            }
        })
    }

    /// Says `name` at once, then echoes until the client ends.
    fn named(path: &Path, name: &'static str) -> Self {
        Self::start(path, move |mut stream| async move {
            let _ = stream.write_all(name.as_bytes()).await;
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for UnixServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn unix(path: &Path) -> UnixAddress {
    UnixAddress::new(path.to_str().unwrap()).unwrap()
}

/// `front` on a socket `front.sock` in this folder, before servers on these sockets.
fn unix_config(mode: Mode, folder: &Path, servers: &[&UnixServer]) -> (Config, PathBuf) {
    let mut config = config(mode, &[]);
    let front = folder.join("front.sock");
    config.frontends[0].binds.clear();
    config.frontends[0].unix = vec![unix(&front).into()];
    let server = |(index, server): (usize, &&UnixServer)| {
        Server::new(format!("s{}", index + 1), server.address.clone())
    };
    config.backends[0].servers = servers.iter().enumerate().map(server).collect();
    (config, front)
}

/// The content of an answer to `GET /` with these field lines.
async fn get(client: &mut UnixStream, version: &str, fields: &str) -> String {
    client.write_all(format!("GET / HTTP/{version}\r\n{fields}\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, content)) = text.split_once("\r\n\r\n") {
                let length = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
                if content.len() == length.parse::<usize>().unwrap() {
                    return content.to_owned();
                }
            }
            assert!(client.read_buf(&mut answer).await.unwrap() > 0, "{text}");
        }
    };
    tokio::time::timeout(LONG, read).await.expect("no whole answer")
}

async fn greeting(front: &Path) -> char {
    let mut client = UnixStream::connect(front).await.unwrap();
    let mut name = [0];
    tokio::time::timeout(LONG, client.read_exact(&mut name)).await.unwrap().unwrap();
    char::from(name[0])
}

#[tokio::test]
async fn bytes_go_both_ways_in_bulk_and_each_side_ends_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixServer::named(&folder.path().join("server.sock"), "");
    let (config, front) = unix_config(Mode::Tcp, folder.path(), &[&server]);
    let _proxy = Proxy::start(config).unwrap();
    let (mut read, mut write) = UnixStream::connect(front).await.unwrap().into_split();
    // Much more than a buffer: it is spliced.
    let sent: Arc<Vec<u8>> = Arc::new((0..16_u32 << 20).map(|n| (n >> 7) as u8 ^ n as u8).collect());
    let bytes = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        write.write_all(&bytes).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    tokio::time::timeout(LONG, read.read_to_end(&mut received)).await.expect("never ended").unwrap();
    sending.await.unwrap();
    assert!(received == *sent, "{} of {} bytes", received.len(), sent.len());
}

#[tokio::test]
async fn large_content_of_a_response_arrives_whole() {
    let folder = tempfile::tempdir().unwrap();
    let content: Arc<Vec<u8>> = Arc::new((0..4_u32 << 20).map(|n| (n >> 5) as u8).collect());
    let of_server = Arc::clone(&content);
    let server = UnixServer::start(&folder.path().join("server.sock"), move |mut stream| {
        let content = Arc::clone(&of_server);
        async move {
            let _ = stream.read(&mut [0; 1024]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&content).await;
        }
    });
    let (config, front) = unix_config(Mode::Http, folder.path(), &[&server]);
    let _proxy = Proxy::start(config).unwrap();
    let mut client = UnixStream::connect(front).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(LONG, client.read_to_end(&mut answer)).await.expect("never ended").unwrap();
    assert!(answer.ends_with(&content), "{} bytes", answer.len());
}

#[tokio::test]
async fn client_without_an_address_is_none_in_what_servers_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixServer::mirror(&folder.path().join("server.sock"));
    let (mut config, front) = unix_config(Mode::Http, folder.path(), &[&server]);
    config.frontends[0].forwardfor = true;
    config.threads = 1.try_into().unwrap();
    // Whom it does not know it does not limit.
    let once = Rate { count: NonZeroU32::MIN, per: Duration::from_secs(3600) };
    let limit = RateLimit::new(LimitedBy::Source, once, NonZeroU32::new(10).unwrap(), 64, 429);
    config.frontends[0].rules = vec![Rule { when: Condition::ALWAYS, then: vec![Action::RateLimit(limit)] }];
    let proxy = Proxy::start(config).unwrap();
    let mut client = UnixStream::connect(front).await.unwrap();
    assert_eq!(get(&mut client, "1.1", "Host: h\r\n").await, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let forwarded = "Host: h\r\nX-Forwarded-For: 192.0.2.7\r\n";
    let head = "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
    assert_eq!(get(&mut client, "1.1", forwarded).await, head, "what came stays as it was");
    assert_eq!(server.accepted(), 1, "the connection to the server is used again");
    // HTTP/1.0 need not say Host.
    assert_eq!(get(&mut client, "1.0", "").await, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    counted(&proxy, "upstream_reuses_total", 2).await;
}

#[tokio::test]
async fn client_without_an_address_has_no_key_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let a = UnixServer::named(&folder.path().join("a.sock"), "a");
    let b = UnixServer::named(&folder.path().join("b.sock"), "b");
    let (mut config, front) = unix_config(Mode::Tcp, folder.path(), &[&a, &b]);
    let size = NonZeroU32::new(10).unwrap();
    config.backends[0].balance = Balance::Hash { key: HashKey::Source, kind: HashKind::Consistent };
    config.backends[0].stick = Some(Stick { capacity: Capacity { size, expire: LONG }, ipv6_prefix: 64 });
    config.frontends[0].per_source =
        Some(SourceLimits { connections: NonZeroU32::new(1), connection_rate: None, size, ipv6_prefix: 64 });
    let proxy = Proxy::start(config).unwrap();
    let _open = UnixStream::connect(&front).await.unwrap();
    eventually("it is served", || proxy.status().connections == 1).await;
    let met =
        [greeting(&front).await, greeting(&front).await, greeting(&front).await, greeting(&front).await];
    assert_eq!(BTreeSet::from(met).len(), 2, "in turn, and not held to one: {met:?}");
    assert!(proxy.status().tables.iter().all(|table| table.entries == 0));
    assert_eq!(counter(&proxy, "source_connection_refusals_total"), 0);
}

#[tokio::test]
async fn all_workers_serve_the_one_socket_and_its_file_goes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixServer::named(&folder.path().join("server.sock"), "a");
    let (mut config, front) = unix_config(Mode::Tcp, folder.path(), &[&server]);
    config.threads = 4.try_into().unwrap();
    let proxy = Proxy::start(config).unwrap();
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(UnixStream::connect(&front).await.unwrap());
    }
    eventually("all are served", || proxy.status().backends[0].servers[0].in_flight == 40).await;
    drop(clients);
    assert_eq!(proxy.stop(LONG).await, 0);
    assert!(!front.exists());
}

#[tokio::test]
async fn client_that_has_connected_when_the_proxy_stops_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixServer::mirror(&folder.path().join("server.sock"));
    let (config, front) = unix_config(Mode::Http, folder.path(), &[&server]);
    let proxy = Proxy::start(config).unwrap();
    let mut client = UnixStream::connect(&front).await.unwrap();
    let stopping = tokio::spawn(async move { proxy.stop(LONG).await });
    let gone = async {
        while front.exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("its file is still there");
    assert!(get(&mut client, "1.1", "Host: h\r\n").await.starts_with("GET / "));
    tokio::time::timeout(LONG, stopping).await.expect("did not stop").unwrap();
}

#[tokio::test]
async fn socket_of_another_process_is_left_alone_and_taken_when_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixServer::named(&folder.path().join("server.sock"), "a");
    let (config, front) = unix_config(Mode::Tcp, folder.path(), &[&server]);
    let other = UnixListener::bind(&front).unwrap();
    let proxy = Proxy::start(config).unwrap();
    let status = || proxy.status().frontends[0].binds[0].clone();
    let label = format!("unix:{}", front.display());
    assert_eq!((status().label, status().address), (label.clone(), None));
    assert!(status().error.unwrap().starts_with(&format!("{label} is taken by another process")));
    drop(other);
    healthy(&proxy, "bound", |health| health.listeners[0].bound).await;
    assert_eq!(greeting(&front).await, 'a');
    drop(proxy);
    assert!(!front.exists());
}

#[tokio::test]
async fn checks_go_over_the_socket_and_say_why_they_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.sock");
    let server = UnixServer::mirror(&path);
    let (mut config, front) = unix_config(Mode::Http, folder.path(), &[&server]);
    config.backends[0].check = Some(quick_check(CheckKind::Http(Box::new(HttpCheck::new("GET", "/")))));
    let mut by_tcp = config.backends[0].clone();
    by_tcp.name = "by tcp".to_owned();
    by_tcp.check = Some(quick_check(CheckKind::Tcp));
    config.backends.push(by_tcp);
    let proxy = Proxy::start(config).unwrap();
    let last = |backend: usize| {
        let status = proxy.status();
        let server = &status.backends[backend].servers[0];
        (server.state, server.last_check.as_ref().map(ToString::to_string).unwrap_or_default())
    };
    let both = |state: ServerState, words: [&str; 2]| {
        words.iter().enumerate().all(|(backend, &words)| last(backend) == (state, words.to_owned()))
    };
    eventually("up", || both(ServerState::Up, ["L7OK 200", "L4OK"])).await;
    drop(server);
    let refused = "L4CON connection refused";
    eventually("nobody listens", || both(ServerState::Down, [refused; 2])).await;
    std::fs::remove_file(&path).unwrap();
    eventually("no file", || both(ServerState::Down, ["L4CON no such socket"; 2])).await;
    let server = UnixServer::mirror(&path);
    eventually("up again", || both(ServerState::Up, ["L7OK 200", "L4OK"])).await;
    assert_eq!(proxy.status().backends[0].servers[0].resolved, None);
    let mut client = UnixStream::connect(&front).await.unwrap();
    let before = server.accepted();
    assert!(get(&mut client, "1.1", "Host: h\r\n").await.starts_with("GET / "));
    assert!(server.accepted() > before);
}

#[tokio::test]
async fn abstract_names_serve_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let server = UnixServer::named(&folder.path().join("server.sock"), "a");
    let (mut config, _) = unix_config(Mode::Tcp, folder.path(), &[&server]);
    let name = format!("lbctl-loopback-{}", std::process::id());
    config.frontends[0].unix = vec![UnixAddress::new(&format!("@{name}")).unwrap().into()];
    // One proxy in front of another.
    let mut front = config.clone();
    front.frontends[0].unix = vec![unix(&folder.path().join("front.sock")).into()];
    front.backends[0].servers = vec![Server::new("s1", config.frontends[0].unix[0].address.clone())];
    let (_back, _front) = (Proxy::start(config).unwrap(), Proxy::start(front).unwrap());
    assert_eq!(greeting(&folder.path().join("front.sock")).await, 'a');
}
