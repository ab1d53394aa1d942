//! A mail server's greeting, HELO or EHLO, and a farewell (RFC 5321 section 4.2: replies are three digits, then a
//! hyphen where more lines follow).

use super::{Inbox, Step, ended_early, quoted, response_error};
use crate::{config::SmtpGreeting, health::outcome::Outcome, status::CheckCode};

/// Lines of one reply.
const LINES: u32 = 100;

#[derive(Debug)]
pub(crate) struct Talk<'c> {
    greeting: SmtpGreeting,
    domain: &'c str,
    state: State,
    lines: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Greeting,
    Hello,
}

impl<'c> Talk<'c> {
    pub(super) fn new(greeting: SmtpGreeting, domain: &'c str) -> Self {
        Self { greeting, domain, state: State::Greeting, lines: 0 }
    }

    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        loop {
            let Some(line) = inbox.line() else {
                return if inbox.ended { ended_early(inbox) } else { Step::Listen };
            };
            let Some(reply) = Reply::parse(&line) else { return response_error("the answer is not SMTP") };
            self.lines += 1;
            if self.lines > LINES {
                return response_error("the reply has no end");
            }
            if !(200..300).contains(&reply.code) {
                return Step::End(Outcome::new(CheckCode::L7Status, quoted(&line)), b"QUIT\r\n");
            }
            if !reply.last {
                continue;
            }
            self.lines = 0;
            match self.state {
                State::Greeting => {
                    self.state = State::Hello;
                    let word = match self.greeting {
                        SmtpGreeting::Helo => "HELO",
                        SmtpGreeting::Ehlo => "EHLO",
                    };
                    return Step::Say(format!("{word} {}\r\n", self.domain).into_bytes());
                }
                State::Hello => {
                    let outcome = Outcome::new(CheckCode::L7Ok, reply.code.to_string());
                    return Step::End(outcome, b"QUIT\r\n");
                }
            }
        }
    }
}

struct Reply {
    code: u16,
    last: bool,
}

impl Reply {
    fn parse(line: &[u8]) -> Option<Self> {
        let (digits, rest) = line.split_at_checked(3)?;
        if !matches!(digits, [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9']) {
            return None;
        }
        let last = match rest.first() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return None,
        };
        let code = digits.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
        Some(Self { code, last })
    }
}
