//! The one stream trait that every session is generic over: plain TCP today, TLS later.
//!
//! All methods take `&self`, so that both directions of a connection can be driven from one task without splitting
//! it; an implementation with state of its own keeps it in cells (a worker is one thread). Data moves in two steps, so
//! that a connection that waits owns no buffer:
//!
//! ```text
//! stream.readable().await?;              // nothing is borrowed while we wait
//! let mut buffer = worker.buffers().take();
//! let n = buffer.read_from(&stream)?;    // may still be WouldBlock: wait again
//! ```

use std::{
    future::poll_fn,
    io::{self, IoSlice, Read},
    task::{Context, Poll},
};

use socket2::{SockRef, Socket};
use std::time::Duration;
use tokio::{io::Interest, net::TcpStream};

use crate::http::head::Version;

/// A bidirectional byte stream on one worker.
///
/// At most one task waits for readability and at most one for writability at any time (the last one to poll is
/// woken).
#[allow(async_fn_in_trait, reason = "never Send: a stream lives and dies on one worker")]
pub trait Stream: 'static {
    /// The version of HTTP that its client speaks, where that is settled before a request says so.
    const VERSION: Option<Version> = None;

    /// Ready when [`Self::try_read`] is worth a try: there are bytes, the end, or an error.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when [`Self::try_write`] is worth a try.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what is there. `Ok(0)` (for a non-empty `bytes`) is the end of the peer's bytes; `WouldBlock` means wait
    /// with [`Self::poll_readable`].
    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes what fits; `WouldBlock` means wait with [`Self::poll_writable`].
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// As [`Self::try_write`], from several pieces in one system call.
    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Tells the peer that no more bytes follow; reading goes on.
    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Makes the close that follows a reset (RST) instead of an orderly end. Call it, then drop the stream.
    fn abort(&self);

    /// The socket itself if its bytes are the stream's bytes, so that the kernel may move them; `None` if they have to
    /// be transformed.
    fn plain(&self) -> Option<&TcpStream>;

    /// The socket below, whatever its bytes are; `None` if it is not its own.
    fn socket(&self) -> Option<&TcpStream>;

    /// Has the peer sent something or ended since the last read? One system call; for a stream about to be reused.
    fn is_quiet(&self) -> bool;

    /// Waits until the peer has ended its side or the connection broke, however much it has sent: none of that is read.
    async fn ended(&self);

    /// Waits for [`Self::poll_readable`].
    fn readable(&self) -> impl Future<Output = io::Result<()>> + Unpin {
        poll_fn(|context| self.poll_readable(context))
    }

    /// Waits for [`Self::poll_writable`].
    fn writable(&self) -> impl Future<Output = io::Result<()>> + Unpin {
        poll_fn(|context| self.poll_writable(context))
    }

    /// Waits for [`Self::poll_shutdown`].
    async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_shutdown(context)).await
    }
}

/// Is a read or a write worth another try?
pub(crate) fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Writes all of `bytes`, however long that takes.
pub(crate) async fn write_all<S: Stream>(stream: &S, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A connected stream socket of any family. A [`TcpStream`] reads, writes and waits through its descriptor alone, so
/// one of the Unix domain can be in it as well, at no cost to the others. What only TCP has is never asked of it.
pub(crate) fn from_socket(socket: Socket) -> io::Result<TcpStream> {
    TcpStream::from_std(socket.into())
}

impl Stream for TcpStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        // A short read emptied the socket: the readiness is taken back at once, which saves the read that would only
        // say EAGAIN. A new edge comes with whatever arrives later.
        let mut short = None;
        let result = self.try_io(Interest::READABLE, || {
            let n = (&*SockRef::from(self)).read(bytes)?;
            if n > 0 && n < bytes.len() {
                short = Some(n);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(n)
        });
        match short {
            Some(n) => Ok(n),
            None => result,
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        TcpStream::try_write(self, bytes)
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        TcpStream::try_write_vectored(self, pieces)
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self).shutdown(std::net::Shutdown::Write))
    }

    fn abort(&self) {
        // Fails only on a socket that is gone already.
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }

    async fn ended(&self) {
        // The kernel tells of the end of a peer also behind bytes that nobody reads (EPOLLRDHUP). Its telling of bytes is
        // taken back each time, or it would be told again at once.
        while let Ok(ready) = self.ready(Interest::READABLE).await
            && !ready.is_read_closed()
        {
            let _ = self.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    fn is_quiet(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        matches!(SockRef::from(self).peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}
