//! A session over a stream whose bytes are not the socket's, as those of TLS will be.

use std::{
    io::IoSlice,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::*;
use crate::{
    config::{
        AccessLog, Backend, BackendId, Config, Frontend, LogDestination, LogFormat, LogTarget, Mode, Server,
    },
    connection::{Permit, run},
    handover::Known,
    health::board::Board,
    listener::ListenerId,
    sample::Maps,
    worker::WorkerHandle,
};

const LONG: Duration = Duration::from_secs(10);

/// Every byte on the wire is one more than it means; what came in is told to the second.
struct Shifted(TcpStream, fn(&[u8]));

impl Stream for Shifted {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_readable(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_writable(context)
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        let n = Stream::try_read(&self.0, bytes)?;
        bytes[..n].iter_mut().for_each(|byte| *byte = byte.wrapping_sub(1));
        (self.1)(&bytes[..n]);
        Ok(n)
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        let shifted: Vec<_> = bytes.iter().map(|byte| byte.wrapping_add(1)).collect();
        Stream::try_write(&self.0, &shifted)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        pieces.first().map_or(Ok(0), |piece| Stream::try_write(self, piece))
    }

    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_shutdown(context)
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn socket(&self) -> Option<&TcpStream> {
        Some(&self.0)
    }

    fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }

    async fn ended(&self) {
        self.0.ended().await;
    }
}

fn config(server: std::net::SocketAddr) -> Config {
    Config {
        threads: NonZeroUsize::MIN,
        maxconn: 10,
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
            default_backend: Some(BackendId(0)),
            ..Frontend::new("front", Mode::Tcp, Vec::new())
        }],
        backends: vec![Backend::new("back", Mode::Tcp, vec![Server::new("s1", server)])],
    }
}

/// A session on a worker of its own: the client's end, and the listening server.
struct Rig {
    client: TcpStream,
    server: TcpListener,
    worker: WorkerHandle,
    _running: oneshot::Sender<()>,
}

impl Rig {
    async fn start<S: Stream + 'static>(
        change: impl FnOnce(&mut Config),
        wrap: impl FnOnce(TcpStream) -> S + Send + 'static,
    ) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(server.local_addr().unwrap());
        change(&mut config);
        let node = Board::new(config, Maps::default(), &Known::default()).node();
        let (running, ended) = oneshot::channel();
        let (worker, _thread) =
            WorkerHandle::start(0, Arc::clone(&node), Vec::new(), Arc::default(), ended).unwrap();
        let client = TcpStream::connect(clients.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = clients.accept().await.unwrap();
        let accepted = accepted.into_std().unwrap();
        let started = worker.run(move |worker| {
            let permit = Permit::try_take(worker, 0).unwrap();
            let listener = ListenerId { number: 0, mode: Mode::Tcp, is_tls: false };
            let local = accepted.local_addr().unwrap();
            let stream = wrap(TcpStream::from_std(accepted).unwrap());
            let connection = Connection::new(stream, peer.into(), local.into(), permit, listener);
            tokio::task::spawn_local(run(connection, serve));
        });
        assert!(started.await.is_some());
        Self { client, server, worker, _running: running }
    }

    /// Every timer of the worker is told that it is so much after its start.
    async fn advance(&self, to: Duration) {
        assert!(self.worker.run(move |worker| worker.wheel().advance(to)).await.is_some());
    }
}

/// What the page of the configuration says about databases: `timeout.tunnel`, whatever client and server have.
#[tokio::test]
async fn session_that_is_silent_for_an_hour_survives_with_a_tunnel_timeout_and_not_without() {
    const HOUR: Duration = Duration::from_secs(3600);
    for tunnel in [Some(8 * HOUR), None] {
        let mut rig = Rig::start(|config| config.backends[0].timeout.tunnel = tunnel, |stream| stream).await;
        let (mut server, _) = rig.server.accept().await.unwrap();
        rig.client.write_all(b"select 1").await.unwrap();
        let mut question = [0; 8];
        server.read_exact(&mut question).await.unwrap();
        server.write_all(b"1").await.unwrap();
        rig.client.read_exact(&mut question[..1]).await.unwrap();
        rig.advance(HOUR).await;
        if tunnel.is_none() {
            assert_eq!(tokio::time::timeout(LONG, rig.client.read(&mut question)).await.unwrap().unwrap(), 0);
            continue;
        }
        for hour in 2..9 {
            rig.client.write_all(b"select 2").await.unwrap();
            server.read_exact(&mut question).await.unwrap();
            rig.advance(hour * HOUR).await;
        }
        // Eight hours of silence are too long.
        rig.advance(17 * HOUR).await;
        assert_eq!(tokio::time::timeout(LONG, rig.client.read(&mut question)).await.unwrap().unwrap(), 0);
    }
}

#[tokio::test]
async fn stream_that_transforms_its_bytes_is_never_spliced() {
    let Rig { mut client, server, worker: _worker, _running } =
        Rig::start(|_| {}, |stream| Shifted(stream, |_| {})).await;

    // More than a buffer in each direction: a plain stream would be spliced by now.
    let exchange = async {
        let (mut server, _) = server.accept().await.unwrap();
        let sending = async {
            client.write_all(&[b'b'; 200_000]).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let serving = async {
            let mut question = Vec::new();
            server.read_to_end(&mut question).await.unwrap();
            server.write_all(&[b'x'; 300_000]).await.unwrap();
            drop(server);
            question
        };
        tokio::join!(sending, serving)
    };
    let (answer, question) = tokio::time::timeout(LONG, exchange).await.unwrap();
    assert!(question == [b'a'; 200_000]);
    assert!(answer == [b'y'; 300_000]);
}

#[tokio::test]
async fn session_that_panics_is_a_fault_of_our_own_in_the_log() {
    let syslog = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = LogDestination::Udp(syslog.local_addr().unwrap());
    let log = AccessLog { targets: vec![LogTarget::new(to)], format: LogFormat::Tcp, ..AccessLog::default() };
    let faulty = |stream| Shifted(stream, |_| panic!("a session that is to panic"));
    let mut rig = Rig::start(|config| config.frontends[0].log = log, faulty).await;
    let _server = rig.server.accept().await.unwrap();
    rig.client.write_all(b"x").await.unwrap();
    let mut line = [0; 1024];
    let length = tokio::time::timeout(LONG, syslog.recv(&mut line)).await.unwrap().unwrap();
    let line = String::from_utf8_lossy(&line[..length]);
    assert!(line.contains(" front back/s1 ") && line.ends_with(" 0 ID 1/1/0/0/0 0/0\n"), "{line}");
}
