//! A mail server's greeting, HELO or EHLO, and a farewell (RFC 5321 section 4.2: replies are three digits, then a
//! hyphen where more lines follow).

use super::{Inbox, Step, empty_at, ended_early, first_line, quoted, response_error};
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
    Farewell,
}

impl<'c> Talk<'c> {
    pub(super) fn new(greeting: SmtpGreeting, domain: &'c str) -> Self {
        Self { greeting, domain, state: State::Greeting, lines: 0 }
    }

    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        loop {
            let Some(line) = inbox.line() else {
                return if inbox.ended { Step::End(self.ended(inbox), b"") } else { Step::Listen };
            };
            let Some(reply) = Reply::parse(&line) else {
                let outcome = Outcome::new(CheckCode::L7Response, "the answer is not SMTP");
                return Step::End(outcome.saying(&line), b"");
            };
            self.lines += 1;
            if self.lines > LINES {
                return response_error("the reply has no end");
            }
            let text = line.get(4..).unwrap_or_default().trim_ascii_start();
            if !(200..300).contains(&reply.code) {
                let outcome = Outcome::with_status(CheckCode::L7Status, reply.code, quoted(&line));
                return Step::End(outcome.saying(text), b"QUIT\r\n");
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
                // So that the server sees an orderly end.
                State::Hello => {
                    self.state = State::Farewell;
                    return Step::Say(b"QUIT\r\n".to_vec());
                }
                State::Farewell => {
                    let outcome = Outcome::with_status(CheckCode::L7Ok, reply.code, reply.code.to_string());
                    return Step::End(outcome.saying(text), b"");
                }
            }
        }
    }

    /// HAProxy's list is the connection, an answer that is looked at twice, the greeting, an answer, QUIT, an answer.
    fn ended(&self, inbox: &Inbox) -> Outcome {
        let (code, step) = match self.state {
            State::Greeting => (CheckCode::L7Response, 2),
            State::Hello => (CheckCode::L7Status, 5),
            State::Farewell => (CheckCode::L7Status, 7),
        };
        let outcome = Outcome { code, ..ended_early(inbox) };
        match first_line(&inbox.bytes) {
            b"" => outcome.saying(empty_at(step)),
            line => outcome.saying(line),
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
        if !digits.iter().all(u8::is_ascii_digit) {
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
