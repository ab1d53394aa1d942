//! One end of the conversation between two daemons. Every wait has a limit: the other one may hang.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::net::UnixDatagram,
    sync::Arc,
    time::Duration,
};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, task::spawn_blocking};

use crate::packets;

/// For the other one to read.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// The longest message in bytes: the kernel takes no longer one.
pub(super) const ROOM: usize = 200 * 1024;

/// See the module. Clones are the same end.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Channel(Arc<OwnedFd>);

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&socket, Timeout::Send, Some(SEND_LIMIT))?;
        Ok(Self(Arc::new(socket)))
    }

    pub(super) fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        packets::send(self.0.as_fd(), message, descriptors)
    }

    /// Another handle on this end, for another process.
    pub(super) fn share(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Blocks for at most `limit`.
    ///
    /// # Errors
    /// Nothing came (`WouldBlock`), the other one is gone (`UnexpectedEof`), or it said what is no message.
    pub(super) fn receive_now<T: DeserializeOwned>(&self, limit: Duration) -> io::Result<(T, Vec<OwnedFd>)> {
        set_socket_timeout(&*self.0, Timeout::Recv, Some(limit))?;
        let mut room = vec![0; ROOM];
        packets::receive(self.0.as_fd(), &mut room)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Waits for the next message for as long as it takes, without a thread. To be called when nobody waits otherwise any
    /// more: the socket does not block from then on.
    pub(super) async fn listen<T: DeserializeOwned>(&self, room: &mut [u8]) -> io::Result<T> {
        let socket = UnixDatagram::from(self.0.try_clone()?);
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixDatagram::from_std(socket)?;
        let received = socket
            .async_io(Interest::READABLE, || packets::receive(&socket, room))
            .await?
            .map(|(said, _)| said);
        received.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The same as [`Self::receive_now`] on a thread for it.
    pub(super) async fn receive<T: DeserializeOwned + Send + 'static>(
        &self,
        limit: Duration,
    ) -> io::Result<(T, Vec<OwnedFd>)> {
        let channel = self.clone();
        spawn_blocking(move || channel.receive_now(limit)).await.map_err(io::Error::other)?
    }
}
