//! HTTP/2 towards clients (RFC 9113), and towards servers (`outbound`).
//!
//! ```text
//! client ── serve ── Machine ──┬── Lane (a stream) ── http::serve ──> server
//!                              ├── Lane
//!                              └── Lane ...
//! ```
//! The codec ([`frame`], [`hpack`], [`machine`]) is pure: bytes in, values out. Each stream becomes a connection of its own that
//! speaks HTTP/1.1: its request is written as such a head, its response is read as one; but a head that is a server's comes as a
//! field section (`coded`). So there is one exchange, whatever the client speaks. docs/http2.md has what is done in each case.

mod budget;
mod coded;
pub mod frame;
pub mod hpack;
mod lane;
pub mod machine;
mod outbound;
mod pools;
mod request;
mod response;
mod session;
mod settings;
mod stream;

pub(crate) use self::{
    coded::Coded,
    lane::Lane,
    outbound::{Asking, Blame, LONELY, ServerLane, Trunk},
    session::Session,
};

pub use self::pools::Pools;

use rustix::net::{RecvFlags, recv};

use self::frame::PREFACE;
use crate::{
    connection::Connection,
    stream::{Stream, is_transient},
};
use tokio::net::TcpStream;

/// Bytes of a buffer for frames: two of the longest and some more.
const BUFFER_SIZE: usize = 40 * 1024;

/// Does a client without TLS begin with the preface of HTTP/2? It is looked at in the kernel and not taken.
pub(crate) async fn begins(connection: &Connection<TcpStream>) -> bool {
    let deadline = connection.worker().wheel().deadline();
    deadline.arm(connection.frontend().timeout.http_request);
    let client = connection.stream();
    loop {
        if !matches!(deadline.guard(Stream::readable(client)).await, Ok(Ok(()))) {
            // Whoever serves it finds out and says so.
            return false;
        }
        let mut bytes = [0; PREFACE.len()];
        let looked = client.try_io(tokio::io::Interest::READABLE, || {
            match recv(client, &mut bytes, RecvFlags::PEEK) {
                // What is here stays here: only more of it is news.
                Ok((_, n)) if n > 0 && n < PREFACE.len() && bytes[..n] == PREFACE[..n] => {
                    Err(std::io::ErrorKind::WouldBlock.into())
                }
                looked => Ok(looked?.1),
            }
        });
        match looked {
            Ok(n) => return n == PREFACE.len() && bytes == *PREFACE,
            Err(error) if is_transient(&error) => {}
            Err(_) => return false,
        }
    }
}
