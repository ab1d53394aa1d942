//! TLS to somebody else on the control side, where nothing is counted in microseconds: to a server that is checked, to who is told
//! of what happens.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::ClientConnection;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{Connector, HandshakeError, PeerName};
use crate::{
    config::{Alpn, ServerTls},
    stream::is_transient,
};

/// See the module.
#[derive(Debug)]
pub struct SecuredStream {
    socket: TcpStream,
    connection: ClientConnection,
}

/// A socket that does not wait.
struct Now<'s>(&'s TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SecuredStream {
    /// Shakes hands with `host`, a name or an address, at the other end of `socket`. Its certificate is judged as `tls` says.
    ///
    /// # Errors
    /// Why there is no TLS with it: one clause about it.
    pub async fn to(socket: TcpStream, host: &str, tls: &Arc<ServerTls>) -> Result<Self, String> {
        let connector = Connector::new(tls, Some(host), None);
        let name = connector.name(socket.peer_addr().ok().map(|peer| peer.ip()));
        Self::shake_hands(socket, &connector, &name).await.map_err(|error| error.of_server())
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) async fn shake_hands(
        socket: TcpStream,
        connector: &Connector,
        name: &PeerName,
    ) -> Result<Self, HandshakeError> {
        let (config, name) = (connector.for_check(), name.for_handshake().clone());
        let connection = ClientConnection::new(config, name).map_err(HandshakeError::Refused)?;
        let mut stream = Self { socket, connection };
        let mut has_begun = false;
        loop {
            poll_fn(|context| stream.poll_send(context)).await.map_err(HandshakeError::Broken)?;
            if !stream.connection.is_handshaking() {
                return Ok(stream);
            }
            match poll_fn(|context| stream.poll_receive(context)).await {
                Ok(0) if has_begun => return Err(HandshakeError::Closed),
                Ok(0) => return Err(HandshakeError::Empty),
                Ok(_) => has_begun = true,
                Err(error) => return Err(HandshakeError::Broken(error)),
            }
            if let Err(error) = stream.connection.process_new_packets() {
                // It learns why, if that can be done at once.
                stream.send_at_once().await;
                return Err(HandshakeError::Refused(error));
            }
        }
    }

    /// Was this protocol agreed on?
    pub(crate) fn has_agreed_on(&self, protocol: Alpn) -> bool {
        self.connection.alpn_protocol() == Some(protocol.name().as_bytes())
    }

    /// Says that nothing more comes, if that can be done at once.
    pub(crate) async fn leave(&mut self) {
        self.connection.send_close_notify();
        self.send_at_once().await;
    }

    async fn send_at_once(&mut self) {
        poll_fn(|context| {
            let _ = self.poll_send(context);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Now(&self.socket)) {
                Ok(_) => {}
                Err(error) if is_transient(&error) => ready!(self.socket.poll_write_ready(context))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Bytes that came; 0 is their end.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match self.connection.read_tls(&mut Now(&self.socket)) {
                Err(error) if is_transient(&error) => ready!(self.socket.poll_read_ready(context))?,
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for SecuredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.connection.reader().read(buffer.initialize_unfilled()) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if is_transient(&error) => {}
                // An end without a word before it, as many do.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(self.poll_receive(context))?;
            self.connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl AsyncWrite for SecuredStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context))?;
        let written = self.connection.writer().write(bytes)?;
        // What the socket does not take now is sent first next time.
        match self.poll_send(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(written)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.send_close_notify();
        self.poll_send(context)
    }
}
