//! A session over a stream whose bytes are not the socket's, as those of TLS will be.

use std::{
    io::IoSlice,
    num::NonZeroUsize,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::*;
use crate::{
    config::{Backend, BackendId, Config, Frontend, Mode, Server},
    connection::{Permit, run},
    health::board::Board,
    worker::WorkerHandle,
};

const LONG: Duration = Duration::from_secs(10);

/// Every byte on the wire is one more than it means.
struct Shifted(TcpStream);

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

    fn is_quiet(&self) -> bool {
        self.0.is_quiet()
    }
}

fn config(server: std::net::SocketAddr) -> Config {
    Config {
        threads: NonZeroUsize::MIN,
        maxconn: 10,
        maps: Vec::new(),
        frontends: vec![Frontend {
            default_backend: Some(BackendId(0)),
            ..Frontend::new("front", Mode::Tcp, Vec::new())
        }],
        backends: vec![Backend::new("back", Mode::Tcp, vec![Server::new("s1", server)])],
    }
}

#[tokio::test]
async fn stream_that_transforms_its_bytes_is_never_spliced() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (node, _board) = Board::new(config(server.local_addr().unwrap()));
    let (_running, ended) = oneshot::channel();
    let (worker, _thread) = WorkerHandle::start(0, Arc::clone(&node), Vec::new(), ended).unwrap();

    let mut client = TcpStream::connect(clients.local_addr().unwrap()).await.unwrap();
    let (accepted, peer) = clients.accept().await.unwrap();
    let accepted = accepted.into_std().unwrap();
    let started = worker.run(move |worker| {
        let permit = Permit::try_take(worker, 0).unwrap();
        let local = accepted.local_addr().unwrap();
        let stream = Shifted(TcpStream::from_std(accepted).unwrap());
        tokio::task::spawn_local(run(Connection::new(stream, peer, local, permit), serve));
    });
    assert!(started.await.is_some());

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
