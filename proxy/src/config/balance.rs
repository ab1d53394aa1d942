//! How a backend chooses among its usable servers.

use std::num::NonZeroUsize;

/// Who is next.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// Fewest in flight per weight; ties in turn by weight.
    LeastConn,
    /// Two drawn at random by weight, the one with fewer in flight per weight.
    Random,
    /// The first in the order of the file that has a free slot (`maxconn`).
    First,
    /// The same key goes to the same server. A request without the key goes in turn, as with round robin.
    Hash {
        /// What is hashed.
        key: HashKey,
        /// How a hash finds its server.
        kind: HashKind,
    },
}

/// What is hashed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HashKey {
    /// The client's address.
    Source,
    /// The request's target (http).
    Uri(UriPart),
    /// The first value of this field (http); its name in lower case.
    Header(Box<str>),
    /// The value of this parameter of the query (http).
    Query(Box<str>),
}

/// Which part of a target is hashed; by default all before the query. HAProxy `balance uri`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UriPart {
    /// With the query.
    pub whole: bool,
    /// An absolute target (`http://host/path`) from its path on.
    pub path_only: bool,
    /// At most so many bytes.
    pub length: Option<NonZeroUsize>,
    /// At most so many directories: 1 of `/a/b/c` is `/a`.
    pub depth: Option<NonZeroUsize>,
}

/// How a hash finds its server. HAProxy `hash-type`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HashKind {
    /// On a ring: a server that is lost or comes moves its own share and nothing else.
    #[default]
    Consistent,
    /// In a table of the usable servers: exact shares, but almost every key moves when a server is lost or comes.
    Map,
}
