//! How servers are checked: by asking them, by asking their agents, by watching real traffic.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use regex::bytes::Regex;

use super::Address;

/// Active checks of a backend's servers.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is asked.
    pub kind: CheckKind,
    /// Where, if not at the server's own address and port. A server's own `check_at` goes before it.
    pub at: Elsewhere,
    /// How often.
    pub pace: Pace,
    /// For one check, whole.
    pub timeout: Duration,
    /// Successes in a row that bring a server up; at least 1.
    pub rise: u32,
    /// Failures in a row that take a server down; at least 1.
    pub fall: u32,
    /// 404 takes a server that is up out of the balance and leaves it to persisted clients (HAProxy
    /// `http-check disable-on-404`). Only for [`CheckKind::Http`].
    pub disable_on_404: bool,
}

/// The time between two checks of one server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Of a server that is up and passes its checks (HAProxy `inter`).
    pub interval: Duration,
    /// While a server is on its way up or down (HAProxy `fastinter`).
    pub fast: Duration,
    /// Of a server that is down and fails its checks (HAProxy `downinter`).
    pub down: Duration,
}

/// What a server's check has otherwise than that of its backend.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OwnCheck {
    /// All three.
    pub pace: Option<Pace>,
    /// HAProxy `rise`.
    pub rise: Option<u32>,
    /// HAProxy `fall`.
    pub fall: Option<u32>,
}

/// Another address, another port, or both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Elsewhere {
    /// HAProxy `addr`.
    pub address: Option<IpAddr>,
    /// HAProxy `port`.
    pub port: Option<u16>,
}

/// What a check asks.
#[derive(Clone, Debug)]
pub enum CheckKind {
    /// That a connection can be made.
    Tcp,
    /// That a request is answered as expected.
    Http(Box<HttpCheck>),
    /// That a MySQL or MariaDB server greets, and lets this user in without a password.
    Mysql {
        /// `None` reads the greeting and goes: the server counts that as an aborted connection.
        user: Option<String>,
    },
    /// That an SMTP server greets and answers.
    Smtp {
        /// What is said to it.
        greeting: SmtpGreeting,
        /// Who says so.
        domain: String,
    },
    /// That a PostgreSQL server asks this user to authenticate, or lets it in.
    Pgsql {
        /// It need not exist.
        user: String,
    },
    /// That a Redis server answers PING.
    Redis,
    /// That a server says what is expected, step by step. Without steps that a connection can be made, told in the words that
    /// HAProxy has for `option tcp-check` alone.
    Sequence(Vec<SequenceStep>),
}

impl CheckKind {
    /// Is nothing said to the server, and nothing expected?
    pub(crate) fn only_connects(&self) -> bool {
        match self {
            Self::Tcp => true,
            Self::Sequence(steps) => steps.iter().all(|step| matches!(step, SequenceStep::Connect)),
            Self::Http(_) | Self::Mysql { .. } | Self::Smtp { .. } | Self::Pgsql { .. } | Self::Redis => {
                false
            }
        }
    }
}

/// What [`CheckKind::Http`] sends and expects.
#[derive(Clone, Debug)]
pub struct HttpCheck {
    /// Any token.
    pub method: String,
    /// Origin-form target.
    pub path: String,
    /// The version of the request.
    pub version: HttpVersion,
    /// Value of Host; the server's address if `None`.
    pub host: Option<String>,
    /// Further fields; none that frames the message.
    pub headers: Vec<(String, String)>,
    /// Content, with a length.
    pub body: Option<String>,
    /// All of it has to hold.
    pub expect: HttpExpect,
    /// None of it may hold.
    pub refuse: HttpExpect,
}

/// Versions that a check can speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HttpVersion {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    #[default]
    Http11,
}

/// Conditions on an answer to an HTTP check.
#[derive(Clone, Debug, Default)]
pub struct HttpExpect {
    /// One of these; as expectation, 200 to 399 if it is empty.
    pub status: Vec<RangeInclusive<u16>>,
    /// In the first 16 kB of the content.
    pub content: Option<Pattern>,
}

/// What is looked for in bytes.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// These bytes, anywhere.
    Bytes(Vec<u8>),
    /// The same, given in hexadecimal.
    Binary(Vec<u8>),
    /// A match, anywhere.
    Regex(Regex),
}

/// The first word of an SMTP client (RFC 5321 section 4.1.1.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SmtpGreeting {
    /// HELO
    #[default]
    Helo,
    /// EHLO
    Ehlo,
}

/// A step of [`CheckKind::Sequence`].
#[derive(Clone, Debug)]
pub enum SequenceStep {
    /// The connection, which is made in any case; counted as the first step where it is given.
    Connect,
    /// Sends these bytes. What came before is forgotten.
    Send(Vec<u8>),
    /// Waits until what came since the last `Send` has this.
    Expect(Pattern),
    /// Waits until the server has said all it has to say; fails if that has this.
    Refuse(Pattern),
}

/// Asks a program on the server's machine how the server is (HAProxy `agent-check`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AgentCheck {
    /// Where it listens; the server's own address unless one is given.
    pub address: Option<IpAddr>,
    /// Where it listens.
    pub port: u16,
    /// Between two questions.
    pub interval: Duration,
    /// For one, whole.
    pub timeout: Duration,
    /// Sent before its line is read.
    pub send: Vec<u8>,
}

/// Real traffic watched for errors (HAProxy `observe`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Observe {
    /// What counts.
    pub layer: Layer,
    /// So many errors in a row, over all workers.
    pub error_limit: u32,
    /// What follows from them.
    pub on_error: OnError,
}

/// What is watched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layer {
    /// Connecting.
    Layer4,
    /// Connecting fails, a response that can't be used, or a status beyond 499 other than 501 and 505.
    Layer7,
}

/// What too many errors in a row do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnError {
    /// The next check comes after the fast interval. The others do that too.
    FastInter,
    /// They are a failed check.
    #[default]
    FailCheck,
    /// One failed check more, and the server is down.
    SuddenDeath,
    /// The server is down.
    MarkDown,
}

impl Check {
    /// One with every default of the configuration file: every 2 s, rise 2, fall 3.
    pub fn new(kind: CheckKind) -> Self {
        let interval = Duration::from_secs(2);
        Self {
            kind,
            at: Elsewhere::default(),
            pace: Pace::steady(interval),
            timeout: interval,
            rise: 2,
            fall: 3,
            disable_on_404: false,
        }
    }

    /// Where a server is checked. One on a Unix-domain socket is checked there unless both parts of another place are
    /// given.
    pub fn address(&self, server: &Address, own: Elsewhere) -> Address {
        let (ip, port) = (own.address.or(self.at.address), own.port.or(self.at.port));
        let of_server = server.socket();
        let ip = ip.or(of_server.map(|server| server.ip()));
        let port = port.or(of_server.map(|server| server.port()));
        ip.zip(port).map_or_else(|| server.clone(), |(ip, port)| SocketAddr::new(ip, port).into())
    }
}

impl HttpCheck {
    /// One with every default of the configuration file.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            version: HttpVersion::default(),
            host: None,
            headers: Vec::new(),
            body: None,
            expect: HttpExpect::default(),
            refuse: HttpExpect::default(),
        }
    }
}

impl Check {
    /// That of a server.
    pub fn of(&self, own: &OwnCheck) -> Self {
        Self {
            pace: own.pace.unwrap_or(self.pace),
            rise: own.rise.unwrap_or(self.rise),
            fall: own.fall.unwrap_or(self.fall),
            ..self.clone()
        }
    }
}

impl Pace {
    /// The same interval in every state.
    pub fn steady(interval: Duration) -> Self {
        Self { interval, fast: interval, down: interval }
    }

    /// The longest of the three.
    pub fn longest(&self) -> Duration {
        self.interval.max(self.fast).max(self.down)
    }
}

impl Pattern {
    /// Is it in `bytes`?
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(wanted) | Self::Binary(wanted) => memchr::memmem::find(bytes, wanted).is_some(),
            Self::Regex(regex) => regex.is_match(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_what_it_says_and_else_what_the_backend_says() {
        let second = Duration::from_secs(1);
        let check = Check {
            kind: CheckKind::Tcp,
            at: Elsewhere::default(),
            pace: Pace::steady(second),
            timeout: second,
            rise: 2,
            fall: 3,
            disable_on_404: false,
        };
        let own = OwnCheck { pace: Some(Pace::steady(5 * second)), rise: None, fall: Some(7) };
        let of = check.of(&own);
        assert_eq!((of.pace, of.rise, of.fall), (Pace::steady(5 * second), 2, 7));
        let of = check.of(&OwnCheck::default());
        assert_eq!((of.pace, of.rise, of.fall), (Pace::steady(second), 2, 3));
    }
}
