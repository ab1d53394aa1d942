//! A connection to the control socket whose other end can be looked at while a request of it is answered.

use std::{
    io,
    net::Shutdown,
    os::fd::AsFd,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Line(Arc<UnixStream>);

/// Who waits at the other end.
#[derive(Clone, Debug)]
pub(super) struct Caller(Arc<UnixStream>);

impl Line {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(Arc::new(stream))
    }

    pub(super) fn caller(&self) -> Caller {
        Caller(Arc::clone(&self.0))
    }
}

impl Caller {
    /// Has it closed its connection, or ended? One that has only said that nothing more comes from it still waits.
    pub(super) fn has_gone(&self) -> bool {
        let mut ends = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        let seen = poll(&mut ends, PollTimeout::ZERO);
        seen.is_ok()
            && ends[0].revents().is_some_and(|end| end.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_has_said_all_still_waits_and_who_has_closed_has_gone() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut line = Line::new(server);
        let caller = line.caller();
        client.write_all(b"order").await.unwrap();
        assert!(!caller.has_gone());
        client.shutdown().await.unwrap();
        let mut read = String::new();
        line.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "order");
        assert!(!caller.has_gone(), "it waits for the answer");
        line.write_all(b"done").await.unwrap();
        line.shutdown().await.unwrap();
        client.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "orderdone");
        drop(client);
        assert!(caller.has_gone());
    }
}
