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
    /// The status of an HTTP answer, and its reason phrase.
    pub status: Option<u16>,
    /// See `status`; of observed errors, HAProxy's words for them. May be empty.
    pub phrase: String,
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
            Self::Socket => "SOCKERR",
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
            Self::L4Ok | Self::L7Ok | Self::L7OkConditional => true,
            Self::L4Timeout
            | Self::L4Connection
            | Self::Socket
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

    /// What HAProxy says of it beside its code, in the log and as `last_chk`; may be empty.
    pub fn info(&self) -> String {
        match self.code {
            CheckCode::L4Ok | CheckCode::L4Timeout | CheckCode::L7Timeout | CheckCode::L7OkConditional => {
                String::new()
            }
            CheckCode::L7Ok if self.status.is_some() => String::new(),
            // The words of the system.
            CheckCode::L4Connection | CheckCode::Socket => match self.what.as_str() {
                "connection reset" => "Connection reset by peer".to_owned(),
                "network unreachable" => "Network is unreachable".to_owned(),
                what => capitalized(what),
            },
            CheckCode::L7Status if self.status.is_some() && !self.phrase.is_empty() => self.phrase.clone(),
            CheckCode::Observed if !self.phrase.is_empty() => self.phrase.clone(),
            CheckCode::L7Ok | CheckCode::L7Response | CheckCode::L7Status | CheckCode::Observed => {
                self.what.clone()
            }
        }
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `L7STS 404 on HEAD /check.txt`
impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.what.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}", self.code.word(), self.what)
    }
}
