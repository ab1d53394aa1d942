//! Reads the header of a connection, and not a byte more: what follows is the session's.

use std::{io, os::fd::AsRawFd, pin::pin};

use nix::sys::socket::{MsgFlags, recv};
use tokio::{io::Interest, net::TcpStream};

use super::{Fault, Header, LONGEST};
use crate::{
    buffer::Buffer,
    connection::Connection,
    metrics::Event,
    refusals::{self, Why},
    stream::Stream,
};

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Nobody wanted anything: a check that only connects, a scan.
    #[error("it ended without a byte")]
    Nothing,
    #[error("it ended in the middle of its PROXY header")]
    Part,
    #[error("its PROXY header was not whole within timeout.client_handshake")]
    Late,
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("it broke before its PROXY header was whole: {0}")]
    Broken(#[from] io::Error),
}

impl Failure {
    /// HAProxy's words for it.
    fn words(&self) -> &'static str {
        match self {
            Self::Nothing => "Connection closed while waiting for PROXY protocol header",
            Self::Broken(_) => "Connection error while waiting for PROXY protocol header",
            Self::Late => "Timeout while waiting for PROXY protocol header",
            Self::Part | Self::Fault(Fault::TooLong(_)) => "Truncated PROXY protocol header received",
            Self::Fault(Fault::Missing) => {
                "Received something which does not look like a PROXY protocol header"
            }
            Self::Fault(Fault::Family) => "Received an unhandled protocol in the PROXY protocol header",
            Self::Fault(Fault::Line(_) | Fault::Binary(_) | Fault::Checksum) => {
                "Received an invalid PROXY protocol header"
            }
        }
    }

    /// Has it no line with `dontlognull`, as in HAProxy?
    fn is_null(&self) -> bool {
        matches!(self, Self::Nothing | Self::Broken(_) | Self::Late)
    }
}

/// Whose connection it is, as its first bytes say; `None` if that is not to be had, which is counted and said here: the
/// connection is to be closed. `place` is that of its listener in its frontend.
pub(crate) async fn receive<S: Stream>(connection: &Connection<S>, place: usize) -> Option<Header> {
    let worker = connection.worker();
    let deadline = worker.wheel().deadline();
    let limit = connection.frontend().timeout.client_handshake;
    let socket = connection.stream().socket()?;
    let read = deadline.limit(limit, pin!(header(socket, worker.buffers().take()))).await;
    let failure = match read.unwrap_or(Err(Failure::Late)) {
        Ok(header) => {
            connection.received().add(header.length as u64);
            return Some(header);
        }
        Err(failure) => failure,
    };
    if !failure.is_null() || !connection.frontend().options.dontlognull {
        connection.log_refused(place, failure.words(), None);
    }
    if matches!(failure, Failure::Nothing) {
        connection.count(Event::NullConnection);
        return None;
    }
    connection.count(Event::ProxyHeader);
    let node = worker.node();
    let refusals = &node.frontends[connection.frontend_id()].refusals;
    let peer = connection.peer();
    let say = || format!("a connection of {peer} was closed: {failure} (accept_proxy)");
    if let refusals::Noted { reason, more: Some(more) } = refusals.note(Why::ProxyHeader, node.now(), say) {
        let reason = &*reason;
        tracing::warn!(frontend = %connection.frontend().name, reason, more, "refused");
    }
    tracing::debug!(frontend = %connection.frontend().name, %peer, %failure, "no PROXY header");
    None
}

/// Bytes are looked at until the header is whole, and only then taken: nobody has said how long it is.
async fn header(stream: &TcpStream, mut buffer: Buffer) -> Result<Header, Failure> {
    let room = &mut buffer.unfilled()[..LONGEST];
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let seen = match stream.try_io(Interest::READABLE, || peek(stream, room)) {
            Ok(0) => return Err(Failure::Nothing),
            Ok(seen) => seen,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(header) = Header::decode(&room[..seen])? {
            // They are there: it is one call.
            let mut taken = 0;
            while taken < header.length {
                taken += stream.try_read(&mut room[taken..header.length])?;
            }
            return Ok(header);
        }
        if ready.is_read_closed() {
            return Err(Failure::Part);
        }
        // What is there has been seen: the kernel tells of what comes behind it.
        let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }
}

fn peek(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    Ok(recv(stream.as_raw_fd(), room, MsgFlags::MSG_PEEK)?)
}
