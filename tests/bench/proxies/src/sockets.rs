//! Non-blocking sockets of both ends of the bench: what each call may answer, in one place.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags},
        resource::{Resource, getrlimit, setrlimit},
        socket::{
            AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, listen, recv,
            send, setsockopt, socket, sockopt,
        },
    },
};

/// What a call has done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Did {
    /// So many bytes went.
    Bytes(usize),
    /// Nothing now.
    Later,
    /// The other side has ended it, or it is broken.
    Ended,
}

impl From<nix::Result<usize>> for Did {
    fn from(result: nix::Result<usize>) -> Self {
        match result {
            Ok(0) => Self::Ended,
            Ok(bytes) => Self::Bytes(bytes),
            Err(Errno::EAGAIN | Errno::EINTR) => Self::Later,
            Err(_) => Self::Ended,
        }
    }
}

/// As many descriptors as the system allows.
pub(crate) fn allow_many() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

pub(crate) fn epoll() -> anyhow::Result<Epoll> {
    Ok(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?)
}

/// Watches a socket in both directions under this number. Only changes are told: whoever is told goes on until there is
/// nothing more to do.
pub(crate) fn watch(epoll: &Epoll, socket: impl AsFd, number: usize) -> anyhow::Result<()> {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    Ok(epoll.add(socket, EpollEvent::new(flags, number as u64))?)
}

fn stream() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    Ok(socket)
}

/// A listener for many connections at once.
pub(crate) fn listener(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let SocketAddr::V4(ipv4) = address else { bail!("{address} is not IPv4") };
    let socket = stream()?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(ipv4)).with_context(|| format!("cannot bind {address}"))?;
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(TcpListener::from(socket))
}

/// A connection that waits; `None`: none does.
pub(crate) fn accept(listener: &TcpListener) -> anyhow::Result<Option<TcpStream>> {
    match listener.accept() {
        Ok((stream, _)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some(stream))
        }
        // Whoever has left meanwhile is no reason to stop.
        Err(error)
            if [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionAborted].contains(&error.kind()) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).context("cannot accept"),
    }
}

/// Begins to connect; the socket is writable once it is done.
pub(crate) fn begin(target: SocketAddr) -> anyhow::Result<TcpStream> {
    let SocketAddr::V4(ipv4) = target else { bail!("{target} is not IPv4") };
    let socket = stream()?;
    match connect(socket.as_raw_fd(), &SockaddrIn::from(ipv4)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from(socket)),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {target}")),
    }
}

pub(crate) fn read(socket: &TcpStream, buffer: &mut [u8]) -> Did {
    recv(socket.as_raw_fd(), buffer, MsgFlags::empty()).into()
}

/// Takes up to `most` bytes and drops them where they are, in the kernel: a client that looks at a gigabyte costs more
/// than the proxy that brings it.
pub(crate) fn discard(socket: &TcpStream, buffer: &mut [u8], most: u64) -> Did {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
    recv(socket.as_raw_fd(), &mut buffer[..most], MsgFlags::MSG_TRUNC).into()
}

pub(crate) fn write(socket: &TcpStream, bytes: &[u8]) -> Did {
    send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL).into()
}
