//! What a check found, in the words of HAProxy.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

/// How a check ended. The words are those of HAProxy's `check_status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum CheckCode {
    /// Connected, and nothing else was asked.
    L4Ok,
    /// No answer to connect.
    L4Timeout,
    /// Could not connect.
    L4Connection,
    /// This machine had no descriptor, port or memory left for it: that says nothing of the server.
    Socket,
    /// The connection broke before anything was answered.
    Broken,
    /// It speaks TLS, and nothing else was asked.
    L6Ok,
    /// Its handshake was not over in time.
    L6Timeout,
    /// There is no TLS with it.
    L6Response,
    /// The server answered as it should.
    L7Ok,
    /// It did so and asks to be left out of the balance (404 with `disable_on_404`).
    L7OkConditional,
    /// It did not answer in time.
    L7Timeout,
    /// What it answered can't be understood.
    L7Response,
    /// It answered that it can't serve.
    L7Status,
    /// Too many errors of real traffic.
    Observed,
}

/// The outcome of a check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CheckReport {
    /// How it ended.
    pub code: CheckCode,
    /// `200`, `404 on HEAD /check.txt`, `connection refused`, `no answer within 2 s`; may be empty.
    pub what: String,
    /// What the server calls its answer: a status of HTTP, a reply code of SMTP, an error number of MySQL.
    pub status: Option<u16>,
    /// What HAProxy says of it beside its code, in the log and as `last_chk`; may be empty.
    #[serde(default)]
    pub info: String,
    /// How long it took.
    pub duration: Duration,
    /// This many in a row had the same outcome; 0 if it counts for nothing.
    pub in_a_row: u32,
    /// When it ended.
    pub at: SystemTime,
}

impl CheckCode {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::L4Ok => "L4OK",
            Self::L4Timeout => "L4TOUT",
            Self::L4Connection => "L4CON",
            Self::Socket | Self::Broken => "SOCKERR",
            Self::L6Ok => "L6OK",
            Self::L6Timeout => "L6TOUT",
            Self::L6Response => "L6RSP",
            Self::L7Ok => "L7OK",
            Self::L7OkConditional => "L7OKC",
            Self::L7Timeout => "L7TOUT",
            Self::L7Response => "L7RSP",
            Self::L7Status => "L7STS",
            Self::Observed => "HANA",
        }
    }

    /// Does HAProxy name a status with it, 0 where the server's protocol has none?
    pub fn has_status(self) -> bool {
        matches!(self, Self::L7Ok | Self::L7OkConditional | Self::L7Status)
    }

    /// Is the server fine?
    pub fn passed(self) -> bool {
        match self {
            Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::L7OkConditional => true,
            Self::L4Timeout
            | Self::L4Connection
            | Self::Socket
            | Self::Broken
            | Self::L6Timeout
            | Self::L6Response
            | Self::L7Timeout
            | Self::L7Response
            | Self::L7Status
            | Self::Observed => false,
        }
    }
}

impl CheckReport {
    /// Did it pass?
    pub fn passed(&self) -> bool {
        self.code.passed()
    }
}

/// `L7STS 404 on HEAD /check.txt`
impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.what.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}", self.code.word(), self.what)
    }
}
