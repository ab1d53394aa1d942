//! Exchanges as they pass.

use serde::{Deserialize, Serialize};

use super::{Steps, Timestamp};

/// Media type of a stream of lines, each a JSON text.
pub const LINES: &str = "application/x-ndjson";

/// The longest that a trace may last, in seconds.
pub const LONGEST: u64 = 3_600;

/// Body of `POST /v1/trace`; an empty body is the default. The answer is a stream of [`TraceLine`]s and empty lines, which say
/// that it goes on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceRequest {
    /// Exchanges of this frontend alone.
    pub frontend: Option<String>,
    /// Of clients in this network alone: `192.0.2.0/24`.
    pub client: Option<String>,
    /// It ends after so many.
    pub count: Option<u64>,
    /// It ends after so many seconds, 1 to [`LONGEST`].
    pub seconds: u64,
    /// With the values of Authorization, Proxy-Authorization, Cookie and Set-Cookie.
    pub secrets: bool,
}

/// What is told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum TraceLine {
    /// A request (tcp: a connection) is here.
    Request {
        /// Whose it is.
        #[serde(flatten)]
        exchange: Exchange,
        /// What becomes of it, in a clause.
        decision: String,
        /// As the client sent it; empty in mode tcp.
        head: String,
    },
    /// A server has answered (tcp: is connected).
    Response {
        /// Whose it is.
        #[serde(flatten)]
        exchange: Exchange,
        /// Its backend.
        backend: String,
        /// It.
        server: String,
        /// Why this one, in a clause.
        chosen: String,
        /// Further attempts to connect.
        retries: u32,
        /// Milliseconds until now.
        times: Steps,
        /// As the server sent it; empty in mode tcp.
        head: String,
    },
    /// It is over.
    End {
        /// Whose it is.
        #[serde(flatten)]
        exchange: Exchange,
        /// What the client was answered.
        status: Option<u16>,
        /// How it ended, in HAProxy's two letters.
        termination: String,
        /// Milliseconds from its first byte.
        total: u64,
        /// Bytes to the client.
        bytes_out: u64,
    },
    /// Events were lost: they came faster than they were read.
    Lost {
        /// How many, since the last such line.
        count: u64,
    },
    /// The trace is over.
    Over {
        /// Why, in a clause.
        why: String,
    },
}

/// Which exchange an event is of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exchange {
    /// The same for all events of an exchange.
    pub id: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Where the client came in.
    pub frontend: String,
    /// Address and port, as rules have corrected them.
    pub client: String,
}

impl Default for TraceRequest {
    fn default() -> Self {
        Self { frontend: None, client: None, count: None, seconds: LONGEST, secrets: false }
    }
}
