//! What is said in a check, without sockets: bytes received go in, the next step comes out.
//!
//! ```text
//! Talk::step(inbox) ──> Say(bytes) ──> the driver writes, and asks again
//!                  ├──> Listen     ──> the driver reads into the inbox, and asks again
//!                  └──> End        ──> the outcome, and what is said before leaving
//! ```

mod http;
mod mysql;
mod pgsql;
mod redis;
mod sequence;
mod smtp;

use super::outcome::Outcome;
use crate::{Endpoint, config::CheckKind, hidden::is_hidden, status::CheckCode};

/// More than this is not kept of an answer: what is beyond it fails the check.
pub(crate) const LARGEST_ANSWER: usize = 64 * 1024;

/// What a server has said and nobody has understood yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) bytes: Vec<u8>,
    /// The server has ended its side.
    pub(crate) ended: bool,
}

/// What to do next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Send this.
    Say(Vec<u8>),
    /// Wait for more.
    Listen,
    /// It is over; send the bytes before closing, so that the server sees an orderly end.
    End(Outcome, &'static [u8]),
}

/// One check's talk with a server that is connected.
#[derive(Debug)]
pub(crate) enum Talk<'c> {
    Tcp,
    Http(http::Talk<'c>),
    Mysql(mysql::Talk<'c>),
    Smtp(smtp::Talk<'c>),
    Pgsql(pgsql::Talk<'c>),
    Redis(redis::Talk),
    Sequence(sequence::Talk<'c>),
}

impl<'c> Talk<'c> {
    /// The talk of a check with the server at `address`.
    pub(crate) fn new(kind: &'c CheckKind, address: Endpoint) -> Self {
        match kind {
            CheckKind::Tcp => Self::Tcp,
            CheckKind::Http(check) => Self::Http(http::Talk::new(check, address)),
            CheckKind::Mysql { user } => Self::Mysql(mysql::Talk::new(user.as_deref())),
            CheckKind::Smtp { greeting, domain } => Self::Smtp(smtp::Talk::new(*greeting, domain)),
            CheckKind::Pgsql { user } => Self::Pgsql(pgsql::Talk::new(user)),
            CheckKind::Redis => Self::Redis(redis::Talk::default()),
            CheckKind::Sequence(steps) => Self::Sequence(sequence::Talk::new(steps)),
        }
    }

    /// The next step. Takes what it has understood out of `inbox`.
    pub(crate) fn step(&mut self, inbox: &mut Inbox) -> Step {
        match self {
            Self::Tcp => connected(),
            Self::Http(talk) => talk.step(inbox),
            Self::Mysql(talk) => talk.step(inbox),
            Self::Smtp(talk) => talk.step(inbox),
            Self::Pgsql(talk) => talk.step(inbox),
            Self::Redis(talk) => talk.step(inbox),
            Self::Sequence(talk) => talk.step(inbox),
        }
    }

    /// Where it is, for whoever has to tell that it went no further: ` at step 2 of tcp-check (expect string 'OK')`, as HAProxy says
    /// it. Empty for protocols that it knows.
    pub(crate) fn place(&self, is_connected: bool) -> Vec<u8> {
        match self {
            Self::Sequence(talk) => talk.place(is_connected),
            Self::Tcp | Self::Http(_) | Self::Mysql(_) | Self::Smtp(_) | Self::Pgsql(_) | Self::Redis(_) => {
                Vec::new()
            }
        }
    }
}

impl Inbox {
    /// The first line without its end, if it is whole. Taken out.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = memchr::memchr(b'\n', &self.bytes)?;
        let mut line: Vec<u8> = self.bytes.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }
}

fn connected() -> Step {
    Step::End(Outcome::new(CheckCode::L4Ok, ""), b"")
}

/// The server ended where an answer was due.
fn ended_early(inbox: &Inbox) -> Outcome {
    let what =
        if inbox.bytes.is_empty() { "connection closed without an answer" } else { "answer ends too early" };
    Outcome::new(CheckCode::L7Response, what)
}

/// HAProxy's words for [`ended_early`] where nothing came; `step` of its own list for the protocol.
fn empty_at(step: usize) -> String {
    format!("TCPCHK got an empty response at step {step}")
}

fn response_error(what: impl Into<String>) -> Step {
    Step::End(Outcome::new(CheckCode::L7Response, what), b"")
}

/// The first line, without its end.
fn first_line(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == b'\n' || byte == b'\r').next().unwrap_or_default()
}

/// A server's own words, fit for a log: the first line, printable, not long.
fn quoted(bytes: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(first_line(bytes)).chars().take(QUOTED).collect();
    text.chars().map(|c| if is_hidden(c) { '?' } else { c }).collect::<String>().trim().to_owned()
}

/// Characters of a server's own words that are shown.
const QUOTED: usize = 80;

#[cfg(test)]
pub(crate) mod tests;
