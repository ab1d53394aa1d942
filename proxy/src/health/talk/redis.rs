//! PING and PONG, in Redis' serialization protocol.

use super::{Inbox, Step, ended_early, quoted, response_error};
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
        match inbox.line() {
            Some(line) if line == b"+PONG" => {
                Step::End(Outcome::new(CheckCode::L7Ok, "Redis server is ok"), b"")
            }
            Some(line) if line.starts_with(b"-") => {
                Step::End(Outcome::new(CheckCode::L7Status, quoted(&line[1..])), b"")
            }
            Some(_) => response_error("the answer is not Redis"),
            None if inbox.ended => ended_early(inbox),
            None if inbox.bytes.len() > LARGEST_LINE => response_error("the answer is not Redis"),
            None => Step::Listen,
        }
    }
}
