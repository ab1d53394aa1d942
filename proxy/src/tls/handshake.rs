//! A handshake over a socket, with a client or with a server: rustls says what is sent and what is awaited.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    HandshakeKind, SupportedCipherSuite,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{
        ConnectionState, EncodeError, InsufficientSizeError, UnbufferedConnectionCommon, UnbufferedStatus,
    },
};
use tokio::net::TcpStream;

use super::{
    Acceptor, ClientCertificate, Clients, Connector, PeerName, Session,
    kernel::Kernel,
    record::{Opener, Sealer, whole},
    resolver,
    session::cipher_name,
};
use crate::{
    buffer::{Buffer, BufferPool},
    config::Alpn,
    stream::{Stream, is_transient},
};
use std::rc::Rc;

/// Bytes of a client's messages that are held at a time: a ClientHello with the keys of all groups there are is a tenth of it.
const LONGEST: usize = 32 * 1024;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// It left without a byte.
    #[error("the other side has closed the connection")]
    Empty,
    /// It left in the middle.
    #[error("the other side has closed the connection in the middle of it")]
    Closed,
    /// It took too long.
    #[error("it was not over in time")]
    Elapsed,
    /// One side does not want the other, or does not understand it.
    #[error("{0}")]
    Refused(rustls::Error),
    /// More than [`LONGEST`] of a message, and no end of it.
    #[error("its messages are longer than {} kB", LONGEST / 1024)]
    TooLong,
    /// It wants a name that is not here, and no other will do.
    #[error("no certificate is for the name that the client asks for")]
    NoCertificate,
    /// The connection broke.
    #[error("{0}")]
    Broken(io::Error),
}

impl HandshakeError {
    /// As HAProxy's log says it.
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Self::Empty => "Connection closed during SSL handshake",
            Self::Closed | Self::Broken(_) => "Connection error during SSL handshake",
            Self::Elapsed => "Timeout during SSL handshake",
            Self::Refused(rustls::Error::InvalidCertificate(_)) => "SSL client certificate not trusted",
            Self::NoCertificate | Self::TooLong | Self::Refused(_) => "SSL handshake failure",
        }
    }
}

/// A handshake that is under way.
pub(super) struct Handshake {
    side: Side,
    inbox: Option<Buffer>,
    /// Bytes at the front of the inbox that rustls may look at: whole records, one more each time that it wants more. What
    /// stands behind the last of the handshake is not its affair.
    shown: usize,
    outbox: Option<Buffer>,
    has_begun: bool,
}

/// With whom.
enum Side {
    /// With a client.
    Client(Box<WithClient>),
    /// With a server.
    Server(Box<UnbufferedClientConnection>),
}

struct WithClient {
    connection: UnbufferedServerConnection,
    server_name: Option<Box<str>>,
    clients: Option<Arc<Clients>>,
}

/// What a handshake ends with.
pub(super) struct Shaken {
    pub(super) kernel: Kernel,
    pub(super) opener: Opener,
    pub(super) sealer: Sealer,
    pub(super) inbox: Option<Buffer>,
    pub(super) session: Session,
}

/// What is next.
enum Step {
    /// To look again.
    On,
    /// To let rustls see more.
    Show,
    /// To send what is in the outbox.
    Send,
    Done,
}

impl Handshake {
    pub(super) fn new(acceptor: &Acceptor) -> Result<Self, HandshakeError> {
        let connection =
            UnbufferedServerConnection::new(Arc::clone(&acceptor.config)).map_err(HandshakeError::Refused)?;
        let clients = acceptor.clients.clone();
        Ok(Self::of(Side::Client(Box::new(WithClient { connection, server_name: None, clients }))))
    }

    /// With a server of this name.
    pub(super) fn with_server(connector: &Connector, name: &PeerName) -> Result<Self, HandshakeError> {
        let (config, name) = (connector.config(), name.for_handshake().clone());
        let connection = UnbufferedClientConnection::new(config, name).map_err(HandshakeError::Refused)?;
        Ok(Self::of(Side::Server(Box::new(connection))))
    }

    fn of(side: Side) -> Self {
        Self { side, inbox: None, shown: 0, outbox: None, has_begun: false }
    }

    /// Goes on as far as it can; ready when the handshake is over. What is left can be turned into a [`Shaken`].
    pub(super) fn poll(
        &mut self,
        socket: &TcpStream,
        buffers: &Rc<BufferPool>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), HandshakeError>> {
        loop {
            match self.step(buffers)? {
                Step::On => {}
                Step::Show => {
                    if !self.show_more() {
                        ready!(self.poll_read(socket, buffers, context))?;
                    }
                }
                Step::Send => ready!(self.poll_send(socket, context)).map_err(HandshakeError::Broken)?,
                Step::Done => return Poll::Ready(Ok(())),
            }
        }
    }

    fn step(&mut self, buffers: &Rc<BufferPool>) -> Result<Step, HandshakeError> {
        let shown = match &mut self.inbox {
            Some(inbox) => &mut inbox.filled_mut()[..self.shown],
            None => &mut [],
        };
        let outbox = &mut self.outbox;
        let (discard, step) = match &mut self.side {
            Side::Server(connection) => advance(connection.process_tls_records(shown), outbox, buffers),
            Side::Client(with) => {
                let status = with.connection.process_tls_records(shown);
                let seen = resolver::seen();
                let is_unnamed = seen.as_ref().is_some_and(|seen| seen.is_refused);
                let (discard, step) = advance(status, outbox, buffers);
                if let Some(seen) = seen {
                    with.server_name = seen.name;
                }
                (
                    discard,
                    step.map_err(|error| if is_unnamed { HandshakeError::NoCertificate } else { error }),
                )
            }
        };
        if let Some(inbox) = self.inbox.as_mut().filter(|_| discard > 0) {
            inbox.consume(discard);
            self.shown -= discard;
        }
        if self.inbox.as_ref().is_some_and(Buffer::is_empty) {
            self.inbox = None;
        }
        step
    }

    /// One whole record more, if it is here. What is none, or is too long for one, is shown as it is: rustls refuses it in the
    /// words of TLS.
    fn show_more(&mut self) -> bool {
        let Some(inbox) = &self.inbox else { return false };
        let rest = &inbox.filled()[self.shown..];
        let is_other = matches!(rest, [kind, major, ..] if !(20..=23).contains(kind) || *major != 3);
        self.shown = match whole(rest) {
            Ok(Some(length)) if !is_other => self.shown + length,
            Ok(None) if !is_other => return false,
            Ok(_) | Err(_) => inbox.len(),
        };
        true
    }

    fn poll_read(
        &mut self,
        socket: &TcpStream,
        buffers: &Rc<BufferPool>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), HandshakeError>> {
        loop {
            ready!(socket.poll_readable(context)).map_err(HandshakeError::Broken)?;
            let inbox = self.inbox.get_or_insert_with(|| buffers.take());
            if inbox.is_full() {
                if inbox.len() >= LONGEST {
                    return Poll::Ready(Err(HandshakeError::TooLong));
                }
                inbox.enlarge();
            }
            let read = inbox.read_from(socket);
            if inbox.is_empty() {
                self.inbox = None;
            }
            match read {
                Ok(0) if self.has_begun => return Poll::Ready(Err(HandshakeError::Closed)),
                Ok(0) => return Poll::Ready(Err(HandshakeError::Empty)),
                Ok(_) => {
                    self.has_begun = true;
                    return Poll::Ready(Ok(()));
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Poll::Ready(Err(HandshakeError::Broken(error))),
            }
        }
    }

    fn poll_send(&mut self, socket: &TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outbox) = self.outbox.as_mut().filter(|outbox| !outbox.is_empty()) {
            match outbox.write_to(socket) {
                Ok(_) => {}
                Err(error) if is_transient(&error) => ready!(socket.poll_writable(context))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.outbox = None;
        Poll::Ready(Ok(()))
    }

    /// Tells the other side why it is refused, if that can be done at once.
    ///
    /// rustls has its alert ready then and gives it before it looks at a byte. It is asked once, and with what it has not
    /// discarded: it knows the places of parts of messages therein.
    pub(super) fn say_why(&mut self, socket: &TcpStream, buffers: &Rc<BufferPool>) {
        let _ = self.step(buffers);
        if let Some(outbox) = &mut self.outbox {
            // Who does not take it learns it by the end of the connection.
            let _ = outbox.write_to(socket);
        }
    }

    /// Bytes of the other side have come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The keys, and what was agreed on.
    pub(super) fn finish(self) -> Result<Shaken, HandshakeError> {
        let Self { side, inbox, .. } = self;
        let (suite, is_resumed) = match &side {
            Side::Client(with) => agreed(&with.connection),
            Side::Server(connection) => agreed(connection),
        };
        let suite = suite.ok_or_else(|| unusable("no cipher was agreed on"))?;
        let version = suite.version().version;
        let (secrets, kernel, server_name, client, alpn) = match side {
            Side::Client(with) => {
                let WithClient { connection, server_name, clients } = *with;
                let chain = connection.peer_certificates().unwrap_or_default();
                if let (Some(clients), true) = (&clients, is_resumed) {
                    // Nobody has looked at it since: it may have expired.
                    clients.judge(chain).map_err(HandshakeError::Refused)?;
                }
                let client = chain.first().and_then(|own| ClientCertificate::read(own)).map(Box::new);
                let alpn = protocol(&connection);
                let (secrets, kernel) =
                    connection.dangerous_into_kernel_connection().map_err(HandshakeError::Refused)?;
                (secrets, Kernel::OfClient(kernel), server_name, client, alpn)
            }
            Side::Server(connection) => {
                let alpn = protocol(&connection);
                let (secrets, kernel) =
                    connection.dangerous_into_kernel_connection().map_err(HandshakeError::Refused)?;
                (secrets, Kernel::OfServer(kernel), None, None, alpn)
            }
        };
        let (Some(opener), Some(sealer)) = (Opener::new(version, secrets.rx), Sealer::new(suite, secrets.tx))
        else {
            return Err(unusable("keys of another kind than the cipher's"));
        };
        let session = Session {
            server_name,
            alpn,
            version: if suite.tls13().is_some() { "TLSv1.3" } else { "TLSv1.2" },
            cipher: cipher_name(suite.suite()),
            is_resumed,
            client,
        };
        Ok(Shaken { kernel, opener, sealer, inbox, session })
    }
}

/// What was agreed on to be spoken, if it is known here.
fn protocol<Data>(connection: &UnbufferedConnectionCommon<Data>) -> Option<Alpn> {
    Alpn::ALL.into_iter().find(|alpn| connection.alpn_protocol() == Some(alpn.name().as_bytes()))
}

/// What rustls wants next; and how many bytes of what it was shown it is done with.
fn advance<Data>(
    UnbufferedStatus { discard, state }: UnbufferedStatus<'_, '_, Data>,
    outbox: &mut Option<Buffer>,
    buffers: &Rc<BufferPool>,
) -> (usize, Result<Step, HandshakeError>) {
    let step = match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let outbox = outbox.get_or_insert_with(|| buffers.take());
            loop {
                match data.encode(outbox.unfilled()) {
                    Ok(n) => {
                        outbox.advance(n);
                        break Ok(Step::On);
                    }
                    Err(EncodeError::InsufficientSize(InsufficientSizeError { .. })) => outbox.enlarge(),
                    Err(EncodeError::AlreadyEncoded) => break Ok(Step::On),
                }
            }
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is in the outbox, and nothing else is done before that is empty.
            data.done();
            Ok(Step::Send)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Show),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
        Ok(_) => Err(HandshakeError::Closed),
        Err(error) => Err(HandshakeError::Refused(error)),
    };
    (discard, step)
}

/// The cipher, and whether it goes on from an earlier session.
fn agreed<Data>(connection: &UnbufferedConnectionCommon<Data>) -> (Option<SupportedCipherSuite>, bool) {
    let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    (connection.negotiated_cipher_suite(), is_resumed)
}

fn unusable(what: &str) -> HandshakeError {
    HandshakeError::Refused(rustls::Error::General(what.into()))
}
