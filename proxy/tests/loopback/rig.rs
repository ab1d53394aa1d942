//! Configurations with short times, scripted servers, and clients.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use lb_proxy::{
    Config, Health, Proxy,
    config::{
        Backend, BackendId, BackendTimeouts, Bind, Check, CheckKind, Frontend, FrontendTimeouts, Mode, Pace,
        Server,
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::timeout,
};

/// Any port of the loopback interface.
pub(crate) const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Far more than anything here takes; a test that waits for so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Any port of an address that nobody else uses: of this process, and another one at each call. Nobody takes the port of a
/// server there while it is away.
pub(crate) fn apart() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    // 127.0.x.x is where others are.
    ([127, 1 + high % 200, low, NEXT.fetch_add(1, Ordering::Relaxed)], 0).into()
}

/// Attempts that take what they return, until one takes less than `limit`. What holds a busy machine up does so once or
/// twice; what the proxy waits for, it waits for each time.
pub(crate) async fn quick_once(limit: Duration, mut attempt: impl AsyncFnMut() -> Duration) {
    let mut took = Vec::new();
    while took.last().is_none_or(|&last| last >= limit) {
        assert!(took.len() < 5, "never within {limit:?}: {took:?}");
        took.push(attempt().await);
    }
}

/// One frontend `front` on a free port, one backend `back` with these servers, two workers, no checks.
pub(crate) fn config(mode: Mode, servers: &[SocketAddr]) -> Config {
    let server = |(index, &address): (usize, &SocketAddr)| Server::new(format!("s{}", index + 1), address);
    let binds = vec![Bind { label: "front:0".to_owned(), address: ANY, accept_proxy: None }];
    Config {
        threads: NonZeroUsize::new(2).unwrap(),
        maxconn: 1000,
        node: String::new(),
        maps: Vec::new(),
        users: Vec::new(),
        desk: None,
        ticket_secret: None,
        log: Vec::new(),
        resolver: Default::default(),
        compression_cpu: 100,
        stall_timeout: Duration::from_secs(1),
        frontends: vec![Frontend {
            maxconn: 1000,
            timeout: FrontendTimeouts {
                client: LONG,
                http_request: LONG,
                http_keep_alive: LONG,
                ..FrontendTimeouts::default()
            },
            default_backend: Some(BackendId(0)),
            ..Frontend::new("front", mode, binds)
        }],
        backends: vec![Backend {
            retries: 0,
            redispatch: false,
            timeout: BackendTimeouts {
                connect: LONG,
                server: LONG,
                queue: LONG,
                ..BackendTimeouts::default()
            },
            ..Backend::new("back", mode, servers.iter().enumerate().map(server).collect())
        }],
    }
}

/// A check of this kind every 50 ms.
pub(crate) fn quick_check(kind: CheckKind) -> Check {
    let pace = Pace::steady(Duration::from_millis(50));
    Check { pace, timeout: Duration::from_secs(2), ..Check::new(kind) }
}

/// Where `front` listens.
pub(crate) fn address(proxy: &Proxy) -> SocketAddr {
    proxy.status().frontends[0].binds[0].address.unwrap()
}

/// A connection to `front`.
pub(crate) async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(address(proxy)).await.unwrap()
}

/// The value of one of the counters of `front`.
pub(crate) fn counter(proxy: &Proxy, name: &str) -> u64 {
    let status = proxy.status();
    let found = status.frontends[0].counters.iter().find(|(counter, _)| *counter == name);
    found.unwrap_or_else(|| panic!("no counter {name}")).1
}

/// Waits until one of the counters of `front` is this. What ends a connection without an answer is counted a moment after it.
pub(crate) async fn counted(proxy: &Proxy, name: &str, expected: u64) {
    eventually(&format!("{name} is {expected}"), || counter(proxy, name) == expected).await;
}

/// Waits until `front`, `back` and their numbers satisfy `done`.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// Waits until the published health satisfies `done`.
pub(crate) async fn healthy(proxy: &Proxy, what: &str, done: impl FnMut(&Health) -> bool) -> Health {
    let mut health = proxy.health();
    let found =
        timeout(LONG, health.wait_for(done)).await.unwrap_or_else(|_| panic!("never healthy: {what}"));
    found.unwrap().clone()
}

/// Up to and with an empty line.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Everything that the peer still sends, until it ends.
pub(crate) async fn read_all(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("the peer never ended")?;
    Ok(bytes)
}

/// Exactly `n` bytes.
pub(crate) async fn read_n(stream: &mut TcpStream, n: usize) -> Vec<u8> {
    let mut bytes = vec![0; n];
    timeout(LONG, stream.read_exact(&mut bytes)).await.expect("the peer sent too little").unwrap();
    bytes
}

/// A listening server; it ends with this value.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Scripted {
    /// Runs `script` on every connection.
    pub(crate) async fn start<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        Self::start_at(ANY, script).await
    }

    pub(crate) async fn start_at<F: Future<Output = ()> + Send + 'static>(
        address: SocketAddr,
        script: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(script(stream));
            }
        });
        Self { address, accepted, task: task.abort_handle() }
    }

    /// Says `name` at once, then echoes until the client ends.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::named_at(ANY, name).await
    }

    pub(crate) async fn named_at(address: SocketAddr, name: &'static str) -> Self {
        Self::start_at(address, move |mut stream| async move {
            let _ = stream.write_all(name.as_bytes()).await;
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
        .await
    }

    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address of this machine that refuses connections: bound, never listening. Keep it alive.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _socket: tokio::net::TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        Self::at(ANY)
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        Self { address: socket.local_addr().unwrap(), _socket: socket }
    }
}
