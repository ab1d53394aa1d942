//! A connection over TLS, to a client or to a server, as sessions see it: a stream like any other.
//!
//! It owns a buffer only while bytes of a record wait in it. A write says that bytes are written when the socket has taken
//! all of their record: sessions know of no flush. Where the socket takes a part, the last byte is said not to be written
//! yet, and is counted without another look when it is offered again, as it has to be.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::net::TcpStream;

use super::{
    Acceptor, Connector, PeerName, Session,
    handshake::{Handshake, HandshakeError, Shaken},
    kernel::Kernel,
    record::{Content, Opener, Refused, Sealer, whole},
};
use crate::{
    buffer::{Buffer, BufferPool},
    stream::{Stream, is_transient},
};

/// Records in a row that bring no byte of content: each costs us more than them.
const IDLE_RECORDS: u32 = 32;

/// Kinds of messages behind a handshake.
const TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Bytes of such a message. A ticket with a chain of certificates in it has some thousands.
const LONGEST_MESSAGE: usize = 64 * 1024;

/// See the module.
pub(crate) struct TlsStream {
    socket: TcpStream,
    /// Each as long as a record.
    buffers: Rc<BufferPool>,
    state: RefCell<State>,
    is_aborted: Cell<bool>,
}

enum State {
    Shaking(Box<Handshake>),
    Open(Box<Channel>),
    Over,
}

/// Behind the handshake.
struct Channel {
    kernel: Kernel,
    opener: Opener,
    sealer: Sealer,
    /// Records that were read. Those before `taken` are done with.
    inbox: Option<Buffer>,
    /// Where opened content stands in it that nobody has taken yet, and the end of its record.
    content: Option<Opened>,
    /// Of a message of a server that goes on in its next record. Tickets alone do.
    partial: Vec<u8>,
    /// Sealed records that the socket has not taken.
    outbox: Option<Buffer>,
    /// The last byte of those is not counted as written.
    owes: bool,
    /// Other keys are due before the next record that we send.
    wants_update: bool,
    idle_records: u32,
    /// Nothing more comes.
    has_ended: bool,
    /// We have said that nothing more comes from us.
    is_closed: bool,
    broken: Option<Refused>,
}

#[derive(Clone, Copy)]
struct Opened {
    at: usize,
    end: usize,
    record: usize,
}

impl TlsStream {
    pub(crate) fn new(
        socket: TcpStream,
        acceptor: &Acceptor,
        buffers: &Rc<BufferPool>,
    ) -> Result<Self, HandshakeError> {
        Ok(Self::begin(socket, Handshake::new(acceptor)?, buffers))
    }

    /// To a server of this name.
    pub(crate) fn to_server(
        socket: TcpStream,
        connector: &Connector,
        name: &PeerName,
        buffers: &Rc<BufferPool>,
    ) -> Result<Self, HandshakeError> {
        Ok(Self::begin(socket, Handshake::with_server(connector, name)?, buffers))
    }

    fn begin(socket: TcpStream, handshake: Handshake, buffers: &Rc<BufferPool>) -> Self {
        Self {
            socket,
            buffers: Rc::clone(buffers),
            state: RefCell::new(State::Shaking(Box::new(handshake))),
            is_aborted: Cell::new(false),
        }
    }

    /// Shakes hands. After an error the other side has been told.
    pub(crate) async fn shake_hands(&self) -> Result<Session, HandshakeError> {
        poll_fn(|context| {
            let State::Shaking(handshake) = &mut *self.state.borrow_mut() else {
                return Poll::Ready(Err(HandshakeError::Closed));
            };
            let outcome = ready!(handshake.poll(&self.socket, &self.buffers, context));
            if let Err(HandshakeError::NoCertificate | HandshakeError::Refused(_)) = outcome {
                handshake.say_why(&self.socket, &self.buffers);
            }
            Poll::Ready(outcome)
        })
        .await?;
        let State::Shaking(handshake) = self.state.replace(State::Over) else {
            return Err(HandshakeError::Closed);
        };
        let Shaken { kernel, opener, sealer, inbox, session } = handshake.finish()?;
        let channel = Channel {
            kernel,
            opener,
            sealer,
            inbox,
            content: None,
            partial: Vec::new(),
            outbox: None,
            owes: false,
            wants_update: false,
            idle_records: 0,
            has_ended: false,
            is_closed: false,
            broken: None,
        };
        self.state.replace(State::Open(Box::new(channel)));
        Ok(session)
    }

    /// The other side has sent something, be it not enough for a handshake.
    pub(crate) fn has_begun(&self) -> bool {
        match &*self.state.borrow() {
            State::Shaking(handshake) => handshake.has_begun(),
            State::Open(_) | State::Over => true,
        }
    }

    fn with<T>(&self, what: impl FnOnce(&mut Channel) -> io::Result<T>) -> io::Result<T> {
        match &mut *self.state.borrow_mut() {
            State::Open(channel) => what(channel),
            State::Shaking(_) | State::Over => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Channel {
    /// Is there something to read without the socket?
    fn is_readable(&self) -> bool {
        let inbox = self.inbox.as_ref().map(Buffer::filled).unwrap_or_default();
        self.content.is_some() || self.has_ended || self.broken.is_some() || whole(inbox) != Ok(None)
    }

    fn read(&mut self, socket: &TcpStream, buffers: &Rc<BufferPool>, bytes: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        loop {
            read += self.take(&mut bytes[read..]);
            if read == bytes.len() {
                return Ok(read);
            }
            if let Some(refused) = self.broken {
                return if read > 0 { Ok(read) } else { Err(invalid(refused)) };
            }
            if self.has_ended {
                return Ok(read);
            }
            match self.open() {
                Ok(true) => continue,
                Ok(false) if read > 0 => return Ok(read),
                Ok(false) => {}
                Err(refused) => {
                    self.refuse(socket, buffers, refused);
                    continue;
                }
            }
            let inbox = self.inbox.get_or_insert_with(|| buffers.take());
            let outcome = inbox.read_from(socket);
            if inbox.is_empty() {
                self.inbox = None;
            }
            match outcome {
                // Without a word before it, as many do; HAProxy takes it for an end as well.
                Ok(0) => self.has_ended = true,
                Ok(_) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes content that is open.
    fn take(&mut self, bytes: &mut [u8]) -> usize {
        let (Some(inbox), Some(opened)) = (&mut self.inbox, &mut self.content) else { return 0 };
        let n = bytes.len().min(opened.end - opened.at);
        bytes[..n].copy_from_slice(&inbox.filled()[opened.at..opened.at + n]);
        opened.at += n;
        if opened.at == opened.end {
            let record = opened.record;
            self.content = None;
            self.consume(record);
        }
        n
    }

    /// Opens the next record, if it is all here.
    fn open(&mut self) -> Result<bool, Refused> {
        let Some(inbox) = &mut self.inbox else { return Ok(false) };
        let Some(record) = whole(inbox.filled())? else { return Ok(false) };
        let (content, range) = self.opener.open(&mut inbox.filled_mut()[..record])?;
        // RFC 8446 §5.1: nothing stands between the parts of a message.
        if content != Content::Handshake && !self.partial.is_empty() {
            return Err(Refused::Unexpected);
        }
        if content == Content::Data && !range.is_empty() {
            self.idle_records = 0;
            self.content = Some(Opened { at: range.start, end: range.end, record });
            return Ok(true);
        }
        self.idle_records += 1;
        if self.idle_records > IDLE_RECORDS {
            return Err(Refused::Unexpected);
        }
        match (content, &inbox.filled()[range]) {
            (Content::Data, _) => {}
            (Content::Alert, &[_, 0]) => self.has_ended = true,
            // user_canceled: an end follows. Warnings of TLS 1.2 want nothing.
            (Content::Alert, &[_, 90] | &[1, _]) => {}
            (Content::Alert, _) => return Err(Refused::Unexpected),
            (Content::Handshake, message) if self.kernel.is_tls13() => {
                self.partial.extend_from_slice(message);
                self.hear()?;
            }
            // Another handshake on the same connection is not for us.
            (Content::Handshake, _) => return Err(Refused::Unexpected),
        }
        self.consume(record);
        Ok(true)
    }

    /// Messages behind the handshake (RFC 8446 §4.6), as far as they are whole.
    fn hear(&mut self) -> Result<(), Refused> {
        let messages = std::mem::take(&mut self.partial);
        let mut rest = &*messages;
        while let Some((&[kind, high, middle, low], behind)) = rest.split_first_chunk() {
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            if length > LONGEST_MESSAGE {
                return Err(Refused::Unexpected);
            }
            let Some((message, behind)) = behind.split_at_checked(length) else { break };
            match (kind, message) {
                // Its keys change with it, so it is the last of its record (§5.1).
                (KEY_UPDATE, &[answer @ (0 | 1)]) if behind.is_empty() => {
                    let secrets = self.kernel.update_read().map_err(|_| Refused::Unexpected)?;
                    let version = self.kernel.version();
                    self.opener = Opener::new(version, secrets).ok_or(Refused::Unexpected)?;
                    self.wants_update |= answer == 1;
                }
                (TICKET, ticket) => {
                    self.kernel.keep_ticket(ticket).map_err(|_| Refused::Unexpected)?;
                }
                _ => return Err(Refused::Unexpected),
            }
            rest = behind;
        }
        // Only tickets are long enough to be cut.
        if rest.first().is_some_and(|kind| *kind != TICKET || matches!(self.kernel, Kernel::OfClient(_))) {
            return Err(Refused::Unexpected);
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn consume(&mut self, bytes: usize) {
        if let Some(inbox) = &mut self.inbox {
            inbox.consume(bytes);
            if inbox.is_empty() {
                self.inbox = None;
            }
        }
    }

    /// What came is not what may come: the other side is told, if that can be done at once.
    fn refuse(&mut self, socket: &TcpStream, buffers: &Rc<BufferPool>, refused: Refused) {
        self.broken = Some(refused);
        (self.inbox, self.content) = (None, None);
        if self.flush(socket).is_ok() && self.seal_alert(buffers, [2, refused.alert()]).is_ok() {
            let _ = self.flush(socket);
        }
    }

    fn write(
        &mut self,
        socket: &TcpStream,
        buffers: &Rc<BufferPool>,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.broken.is_some() || self.is_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.flush(socket)?;
        if std::mem::take(&mut self.owes) {
            return Ok(1);
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(0);
        }
        if self.wants_update || (self.kernel.is_tls13() && self.sealer.is_tired()) {
            self.update(buffers).map_err(invalid)?;
        }
        let outbox = self.outbox.get_or_insert_with(|| buffers.take());
        let (taken, length) = self.sealer.seal(Content::Data, pieces, outbox.unfilled()).map_err(invalid)?;
        outbox.advance(length);
        match self.flush(socket) {
            Ok(()) => Ok(taken),
            Err(error) if is_transient(&error) => {
                self.owes = true;
                if taken > 1 { Ok(taken - 1) } else { Err(io::ErrorKind::WouldBlock.into()) }
            }
            Err(error) => Err(error),
        }
    }

    /// Goes over to other keys for what we send (RFC 8446 §4.6.3).
    fn update(&mut self, buffers: &Rc<BufferPool>) -> Result<(), Refused> {
        let outbox = self.outbox.get_or_insert_with(|| buffers.take());
        let message = [KEY_UPDATE, 0, 0, 1, 0];
        let (_, length) =
            self.sealer.seal(Content::Handshake, &[IoSlice::new(&message)], outbox.unfilled())?;
        outbox.advance(length);
        let secrets = self.kernel.update_write().map_err(|_| Refused::Exhausted)?;
        self.sealer = Sealer::new(self.kernel.suite(), secrets).ok_or(Refused::Exhausted)?;
        self.wants_update = false;
        Ok(())
    }

    /// Nothing of it is left in the outbox.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        let Some(outbox) = &mut self.outbox else { return Ok(()) };
        while !outbox.is_empty() {
            outbox.write_to(socket)?;
        }
        self.outbox = None;
        Ok(())
    }

    fn seal_alert(&mut self, buffers: &Rc<BufferPool>, alert: [u8; 2]) -> Result<(), Refused> {
        let outbox = self.outbox.get_or_insert_with(|| buffers.take());
        let (_, length) = self.sealer.seal(Content::Alert, &[IoSlice::new(&alert)], outbox.unfilled())?;
        outbox.advance(length);
        Ok(())
    }

    /// Says that nothing more comes from us (RFC 8446 §6.1); `WouldBlock` to be called again.
    fn close(&mut self, socket: &TcpStream, buffers: &Rc<BufferPool>) -> io::Result<()> {
        self.flush(socket)?;
        if !self.is_closed && self.broken.is_none() {
            self.is_closed = true;
            self.seal_alert(buffers, [1, 0]).map_err(invalid)?;
            self.flush(socket)?;
        }
        Ok(())
    }
}

fn invalid(refused: Refused) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refused)
}

impl Stream for TlsStream {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.with(|channel| Ok(channel.is_readable()))? {
            return Poll::Ready(Ok(()));
        }
        self.socket.poll_readable(context)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_writable(context)
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.with(|channel| channel.read(&self.socket, &self.buffers, bytes))
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.with(|channel| channel.write(&self.socket, &self.buffers, pieces))
    }

    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.with(|channel| channel.close(&self.socket, &self.buffers)) {
                Err(error) if is_transient(&error) => ready!(self.socket.poll_writable(context))?,
                Err(error) => return Poll::Ready(Err(error)),
                Ok(()) => return self.socket.poll_shutdown(context),
            }
        }
    }

    fn abort(&self) {
        self.is_aborted.set(true);
        self.socket.abort();
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn socket(&self) -> Option<&TcpStream> {
        Some(&self.socket)
    }

    fn is_quiet(&self) -> bool {
        self.with(|channel| Ok(!channel.is_readable() && channel.inbox.is_none())).unwrap_or(false)
            && self.socket.is_quiet()
    }

    async fn ended(&self) {
        self.socket.ended().await;
    }
}

/// A close without a word before it may be the work of anybody on the way (RFC 8446 §6.1).
impl Drop for TlsStream {
    fn drop(&mut self) {
        if let (State::Open(channel), false) = (self.state.get_mut(), self.is_aborted.get()) {
            let _ = channel.close(&self.socket, &self.buffers);
        }
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TlsStream").field("socket", &self.socket).finish_non_exhaustive()
    }
}
