//! The PROXY protocol, versions 1 and 2: a proxy that is in front of another one tells it, before the first byte of a
//! connection, whose connection it is (HAProxy's `doc/proxy-protocol.txt`).
//!
//! ```text
//! client ──> proxy ── header, then the client's bytes ──> here: [receive], then the session as if the client were the peer
//!            here ── header ([introduction]), then the client's bytes ──> server
//! ```
//! The codec is pure: [`Header::decode`] reads what a sender wrote, [`introduction::encode`] writes what a server reads.

mod crc32c;
mod extensions;
pub mod introduction;
mod receive;
mod v1;
mod v2;

pub use self::extensions::{ClientTls, Extensions};
pub(crate) use self::receive::receive;

use std::net::SocketAddr;

/// Bytes of the longest header that is taken. A line of version 1 has 107 at most, addresses of version 2 take 232; the rest
/// is for what a sender adds to them (its certificate's name, a unique id). HAProxy's own limit is that of
/// its buffer, nginx' is this one.
pub const LONGEST: usize = 4096;

/// A header, whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    /// Bytes of it: the client's begin behind.
    pub length: usize,
    /// Whose connection it is.
    pub origin: Origin,
    /// What else it says.
    pub extensions: Option<Box<Extensions>>,
}

/// Whose connection a header introduces.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The sender's own, as in its checks (LOCAL), or one of which it can't or won't say whose it is (UNKNOWN, UNSPEC, and
    /// what is no TCP over IPv4 or IPv6): the ends are those of the connection itself.
    Sender,
    /// A client's.
    Client {
        /// Where it comes from.
        source: SocketAddr,
        /// Where it wanted to go.
        destination: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// Neither `PROXY ` nor the signature of version 2.
    #[error("its first bytes are not those of a PROXY header")]
    Missing,
    /// A line of version 1.
    #[error("its PROXY line {0}")]
    Line(&'static str),
    /// A line of version 1.
    #[error("its PROXY line names neither TCP4, TCP6 nor UNKNOWN")]
    Family,
    /// Version 2.
    #[error("its PROXY header of version 2 {0}")]
    Binary(&'static str),
    /// More than [`LONGEST`].
    #[error("its PROXY header has {0} bytes, more than {LONGEST}")]
    TooLong(usize),
    /// A CRC32C is in it, and is another one.
    #[error("its PROXY header has another CRC32C than it says")]
    Checksum,
}

impl Header {
    /// The header at the start of `bytes`; `None` if more of it has to come. Says so as early as it can.
    ///
    /// # Errors
    /// It is none, or not a valid one.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, Fault> {
        if is_start_of(v2::SIGNATURE, bytes) {
            v2::decode(bytes)
        } else if is_start_of(v1::SIGNATURE, bytes) {
            v1::decode(bytes)
        } else {
            Err(Fault::Missing)
        }
    }
}

/// Do both begin with the same bytes, as far as they go?
fn is_start_of(signature: &[u8], bytes: &[u8]) -> bool {
    signature.iter().zip(bytes).all(|(expected, byte)| expected == byte)
}

#[cfg(test)]
mod tests;
