//! Steps of the operator's own: send this, expect that.

use super::{Inbox, Step};
use crate::{config::SequenceStep, health::outcome::Outcome, status::CheckCode};

/// What a server may say before it says what is expected.
const LARGEST_WAIT: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Talk<'c> {
    steps: &'c [SequenceStep],
    next: usize,
}

impl<'c> Talk<'c> {
    pub(super) fn new(steps: &'c [SequenceStep]) -> Self {
        Self { steps, next: 0 }
    }

    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        loop {
            let Some(step) = self.steps.get(self.next) else {
                return Step::End(Outcome::new(CheckCode::L7Ok, ""), b"");
            };
            match step {
                SequenceStep::Send(bytes) => {
                    self.next += 1;
                    return Step::Say(bytes.clone());
                }
                SequenceStep::Expect(pattern) => match pattern.end_in(&inbox.bytes) {
                    Some(end) => {
                        inbox.bytes.drain(..end);
                        self.next += 1;
                    }
                    None if inbox.ended && inbox.bytes.is_empty() => {
                        return self.failed("connection closed without an answer");
                    }
                    None if inbox.ended || inbox.bytes.len() > LARGEST_WAIT => {
                        return self.failed("the answer does not match");
                    }
                    None => return Step::Listen,
                },
                SequenceStep::Refuse(pattern) => {
                    if pattern.is_in(&inbox.bytes) {
                        return self.failed("the answer has what must not be in it");
                    }
                    match inbox.bytes.is_empty() {
                        true if inbox.ended => return self.failed("connection closed without an answer"),
                        true => return Step::Listen,
                        false => self.next += 1,
                    }
                }
            }
        }
    }

    /// Steps are counted from 1, as in the file.
    fn failed(&self, what: &str) -> Step {
        let outcome = Outcome::new(CheckCode::L7Response, format!("{what} at step {}", self.next + 1));
        Step::End(outcome, b"")
    }
}
