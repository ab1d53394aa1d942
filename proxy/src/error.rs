//! What went wrong with a connection or a request: what, and on whose side.

use std::{fmt, io};

/// A failure that ends a connection or a request, and nothing else.
#[derive(Debug, thiserror::Error)]
#[error("{side}: {kind}")]
pub struct Error {
    /// What.
    pub kind: Kind,
    /// Whose fault.
    pub side: Side,
    /// The system's word for it.
    #[source]
    pub source: Option<io::Error>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The frontend has no backend, or the backend no usable server.
    NoServer,
    /// No slot of a full server became free within `timeout.queue`.
    QueueTimeout,
    /// Every attempt to connect failed; the last one was refused, reset or unreachable.
    ConnectFailed,
    /// Every attempt to connect failed; the last one got no answer within `timeout.connect`.
    ConnectTimeout,
    /// Every attempt to connect failed; for the last one this machine had no descriptor, port or memory left.
    NoResources,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The server's, or that of the way to it.
    Upstream,
}

impl Error {
    pub(crate) fn new(side: Side, kind: Kind) -> Self {
        Self { kind, side, source: None }
    }

    pub(crate) fn with_source(side: Side, kind: Kind, source: io::Error) -> Self {
        Self { kind, side, source: Some(source) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoServer => "no usable server",
            Self::QueueTimeout => "waited too long for a free slot",
            Self::ConnectFailed => "can't connect",
            Self::ConnectTimeout => "no answer to connect",
            Self::NoResources => "nothing left to connect with",
        })
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        })
    }
}
