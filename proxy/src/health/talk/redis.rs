//! PING and PONG, in Redis' serialization protocol.

use super::{Inbox, Step, empty_at, ended_early, first_line, quoted};
use crate::{health::outcome::Outcome, status::CheckCode};

/// An answer to PING ends within this.
const LARGEST_LINE: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Talk {
    asked: bool,
}

impl Talk {
    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        if !self.asked {
            self.asked = true;
            return Step::Say(b"*1\r\n$4\r\nPING\r\n".to_vec());
        }
        if let Some(line) = inbox.line() {
            if line == b"+PONG" {
                let is_ok = "Redis server is ok";
                return Step::End(Outcome::new(CheckCode::L7Ok, is_ok).saying(is_ok), b"");
            }
            let what = line.strip_prefix(b"-").map_or_else(|| NOT_REDIS.to_owned(), quoted);
            return Step::End(Outcome::new(CheckCode::L7Status, what).saying(&line), b"");
        }
        if inbox.ended {
            let outcome = Outcome { code: CheckCode::L7Status, ..ended_early(inbox) };
            // In HAProxy's list PING comes before it.
            return match inbox.bytes.as_slice() {
                [] => Step::End(outcome.saying(empty_at(2)), b""),
                bytes => Step::End(outcome.saying(first_line(bytes)), b""),
            };
        }
        if inbox.bytes.len() > LARGEST_LINE {
            let outcome = Outcome::new(CheckCode::L7Status, NOT_REDIS);
            return Step::End(outcome.saying(&inbox.bytes), b"");
        }
        Step::Listen
    }
}

const NOT_REDIS: &str = "the answer is not Redis";
