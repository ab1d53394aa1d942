//! The first messages of PostgreSQL's protocol 3.0: a start-up for a user, and the server's question for a password (or
//! its consent), which is enough to know that it serves.
//!
//! ```text
//! 1 byte type (not in a start-up) │ 4 bytes length, itself included (big endian) │ payload
//! ```
//! Source: "Message Formats" of PostgreSQL's documentation.

use super::{Inbox, Step, empty_at, ended_early, quoted};
use crate::{health::outcome::Outcome, status::CheckCode};

/// The first answer is far smaller.
const LARGEST_MESSAGE: usize = 8 * 1024;

/// Protocol 3.0.
const VERSION: u32 = 3 << 16;

/// Terminate.
const TERMINATE: &[u8] = b"X\0\0\0\x04";

#[derive(Debug)]
pub(crate) struct Talk<'c> {
    user: &'c str,
    asked: bool,
}

impl<'c> Talk<'c> {
    pub(super) fn new(user: &'c str) -> Self {
        Self { user, asked: false }
    }

    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        if !self.asked {
            self.asked = true;
            return Step::Say(self.start_up());
        }
        let [kind, a, b, c, d, rest @ ..] = inbox.bytes.as_slice() else {
            return if inbox.ended { Step::End(ended(inbox), b"") } else { Step::Listen };
        };
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
        if !(4..=LARGEST_MESSAGE).contains(&length) {
            return not_understood();
        }
        let Some(payload) = rest.get(..length - 4) else {
            return if inbox.ended { Step::End(ended(inbox), b"") } else { Step::Listen };
        };
        match (kind, payload) {
            // Authentication: 0 is consent, the others are ways to ask.
            (b'R', [0, 0, 0, 0..=12, ..]) => {
                let is_ok = "PostgreSQL server is ok";
                Step::End(Outcome::new(CheckCode::L7Ok, is_ok).saying(is_ok), TERMINATE)
            }
            (b'E', fields) => Step::End(refused(fields), b""),
            _ => not_understood(),
        }
    }

    fn start_up(&self) -> Vec<u8> {
        let mut payload = VERSION.to_be_bytes().to_vec();
        for text in ["user", self.user, ""] {
            payload.extend_from_slice(text.as_bytes());
            payload.push(0);
        }
        let length = u32::try_from(payload.len() + 4).unwrap_or(0);
        let mut message = length.to_be_bytes().to_vec();
        message.append(&mut payload);
        message
    }
}

fn ended(inbox: &Inbox) -> Outcome {
    let outcome = ended_early(inbox);
    match inbox.bytes.as_slice() {
        // The connection and the start-up come before it in HAProxy's list.
        [] => outcome.saying(empty_at(3)),
        [b'E', _, _, _, _, fields @ ..] => Outcome { what: outcome.what, ..refused(fields) },
        [_, ..] => Outcome { what: outcome.what, ..unknown() },
    }
}

fn not_understood() -> Step {
    Step::End(unknown(), b"")
}

fn unknown() -> Outcome {
    let outcome = Outcome::new(CheckCode::L7Status, "the answer is not PostgreSQL");
    outcome.saying("PostgreSQL unknown error")
}

/// An error: fields of a letter and a string. `M` is for people; the first is the severity, and all that HAProxy tells.
fn refused(fields: &[u8]) -> Outcome {
    let message = fields.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(b"M"));
    let what = message.map_or_else(|| "the server refuses".to_owned(), quoted);
    Outcome::new(CheckCode::L7Response, what).saying(fields.get(1..).unwrap_or_default())
}
