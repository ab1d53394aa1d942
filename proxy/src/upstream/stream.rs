//! A connection to a server, with TLS or without, or a part of one in HTTP/2.

use std::{
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use crate::{
    http2::ServerLane,
    stream::Stream,
    tls::{PeerName, TlsStream},
};

/// See the module.
#[derive(Debug)]
pub enum ServerStream {
    /// Bytes as they are.
    Plain(TcpStream),
    /// In records of TLS.
    Tls(Box<Secured>),
    /// A stream of a connection that others share.
    Http2(ServerLane),
}

/// Behind a handshake.
#[derive(Debug)]
pub struct Secured {
    pub(super) stream: TlsStream,
    /// The name that the server was told, where that is up to the request: nobody else's travels on it.
    pub(super) name: Option<Rc<PeerName>>,
}

impl ServerStream {
    /// In HTTP/2?
    pub(crate) fn lane(&self) -> Option<&ServerLane> {
        match self {
            Self::Http2(lane) => Some(lane),
            Self::Plain(_) | Self::Tls(_) => None,
        }
    }

    /// Was its server told this name, or none if that is up to nobody?
    pub(super) fn is_named(&self, name: Option<&PeerName>) -> bool {
        let told = match self {
            Self::Plain(_) => None,
            Self::Tls(secured) => secured.name.as_deref(),
            Self::Http2(lane) => return lane.trunk().is_named(name),
        };
        told == name
    }
}

macro_rules! on_either {
    ($stream:expr, $inner:ident => $what:expr) => {
        match $stream {
            ServerStream::Plain($inner) => $what,
            ServerStream::Http2($inner) => $what,
            ServerStream::Tls(secured) => {
                let $inner = &secured.stream;
                $what
            }
        }
    };
}

impl Stream for ServerStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, inner => inner.poll_readable(context))
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, inner => inner.poll_writable(context))
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        on_either!(self, inner => Stream::try_read(inner, bytes))
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        on_either!(self, inner => Stream::try_write(inner, bytes))
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        on_either!(self, inner => Stream::try_write_vectored(inner, pieces))
    }

    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_either!(self, inner => Stream::poll_shutdown(inner, context))
    }

    fn abort(&self) {
        on_either!(self, inner => inner.abort());
    }

    fn plain(&self) -> Option<&TcpStream> {
        on_either!(self, inner => inner.plain())
    }

    fn socket(&self) -> Option<&TcpStream> {
        on_either!(self, inner => inner.socket())
    }

    fn is_quiet(&self) -> bool {
        on_either!(self, inner => inner.is_quiet())
    }

    async fn ended(&self) {
        on_either!(self, inner => inner.ended().await);
    }
}
