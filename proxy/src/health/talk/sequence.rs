//! Steps of the operator's own: send this, expect that. They mean what HAProxy's `tcp-check` means, and are told in its words.

use super::{Inbox, Step, connected, empty_at};
use crate::{
    config::{Pattern, SequenceStep},
    health::outcome::Outcome,
    status::CheckCode,
};

/// What a server may say before it says what is expected: all that HAProxy's buffer holds.
const LARGEST_WAIT: usize = 16 * 1024;

/// HAProxy says this where steps of the operator have passed.
const PASSED: &str = "(tcp-check)";

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
            let Some(step) = self.steps.get(self.next) else { return self.passed() };
            match step {
                SequenceStep::Connect => self.next += 1,
                SequenceStep::Send(bytes) => {
                    self.next += 1;
                    inbox.bytes.clear();
                    return Step::Say(bytes.clone());
                }
                SequenceStep::Expect(_) | SequenceStep::Refuse(_) if inbox.bytes.is_empty() => {
                    if inbox.ended {
                        return self.failed("connection closed without an answer", empty_at(self.next + 1));
                    }
                    return Step::Listen;
                }
                SequenceStep::Expect(pattern) => match pattern.is_in(&inbox.bytes) {
                    true => self.next += 1,
                    false if is_whole(inbox) => {
                        let info = self.content("did not match", pattern);
                        return self.failed("the answer does not match", info);
                    }
                    false => return self.listen(),
                },
                SequenceStep::Refuse(pattern) => match pattern.is_in(&inbox.bytes) {
                    true => {
                        let info = self.content("matched unwanted", pattern);
                        return self.failed("the answer has what must not be in it", info);
                    }
                    // It may still come.
                    false if !is_whole(inbox) => return self.listen(),
                    false => self.next += 1,
                },
            }
        }
    }

    /// What comes next is looked at anew from the first thing that must not come, since the last text that was sent.
    fn listen(&mut self) -> Step {
        let before = self.steps[..self.next].iter().enumerate().rev();
        let expectations =
            before.take_while(|(_, step)| matches!(step, SequenceStep::Expect(_) | SequenceStep::Refuse(_)));
        let refusals = expectations.filter(|(_, step)| matches!(step, SequenceStep::Refuse(_)));
        self.next = refusals.last().map_or(self.next, |(index, _)| index);
        Step::Listen
    }

    fn passed(&self) -> Step {
        match self.steps.last() {
            None => connected(),
            Some(SequenceStep::Connect) => Step::End(Outcome::new(CheckCode::L4Ok, "").saying(PASSED), b""),
            Some(SequenceStep::Send(_) | SequenceStep::Expect(_) | SequenceStep::Refuse(_)) => {
                Step::End(Outcome::new(CheckCode::L7Ok, "").saying(PASSED), b"")
            }
        }
    }

    /// Steps are counted from 1, as in the file.
    fn failed(&self, what: &str, info: impl AsRef<[u8]>) -> Step {
        let what = format!("{what} at step {}", self.next + 1);
        Step::End(Outcome::new(CheckCode::L7Response, what).saying(info), b"")
    }

    fn content(&self, verdict: &str, pattern: &Pattern) -> Vec<u8> {
        let mut text = format!("TCPCHK {verdict} content").into_bytes();
        match pattern {
            Pattern::Bytes(bytes) => {
                text.extend_from_slice(b" '");
                text.extend_from_slice(bytes);
                text.push(b'\'');
            }
            Pattern::Binary(_) => text.extend_from_slice(b" (binary)"),
            Pattern::Regex(_) => text.extend_from_slice(b" (regex)"),
        }
        text.extend_from_slice(format!(" at step {}", self.next + 1).as_bytes());
        text
    }

    /// See [`super::Talk::place`].
    pub(super) fn place(&self, is_connected: bool) -> Vec<u8> {
        let step = if is_connected { self.steps.get(self.next) } else { self.steps.first() };
        let (kind, bytes) = match step {
            Some(SequenceStep::Connect) => return b" at step 1 of tcp-check (connect)".to_vec(),
            Some(SequenceStep::Expect(pattern) | SequenceStep::Refuse(pattern)) if is_connected => {
                match pattern {
                    Pattern::Bytes(bytes) => ("string", bytes.as_slice()),
                    Pattern::Binary(bytes) => ("binary", bytes.as_slice()),
                    Pattern::Regex(_) => ("regex", &b""[..]),
                }
            }
            _ => return b" at initial connection step of tcp-check".to_vec(),
        };
        let mut text = format!(" at step {} of tcp-check (expect {kind}", self.next + 1).into_bytes();
        if kind != "regex" {
            text.extend_from_slice(b" '");
            text.extend_from_slice(bytes);
            text.push(b'\'');
        }
        text.push(b')');
        text
    }
}

/// Nothing more comes, or there is no room for it.
fn is_whole(inbox: &Inbox) -> bool {
    inbox.ended || inbox.bytes.len() >= LARGEST_WAIT
}
