//! The first packets of MySQL's client/server protocol: the server's handshake, a login without a password, a farewell.
//!
//! ```text
//! 3 bytes length (little endian) │ 1 byte sequence │ payload
//! ```
//! Sources: "Connection Phase" of MySQL's and of MariaDB's protocol documentation.

use super::{Inbox, Step, empty_at, ended_early, quoted, response_error};
use crate::{health::outcome::Outcome, status::CheckCode};

/// Handshakes and their answers are far smaller.
const LARGEST_PACKET: usize = 4 * 1024;

const LONG_PASSWORD: u32 = 0x0000_0001;
const PROTOCOL_41: u32 = 0x0000_0200;
const SECURE_CONNECTION: u32 = 0x0000_8000;
const PLUGIN_AUTH: u32 = 0x0008_0000;

const UTF8_GENERAL_CI: u8 = 33;

/// COM_QUIT, so that the server does not count an aborted connection.
const QUIT: &[u8] = &[1, 0, 0, 0, 1];

#[derive(Debug)]
pub(crate) struct Talk<'c> {
    user: Option<&'c str>,
    state: State,
    version: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Handshake,
    Login,
    /// It wants another way to authenticate; an empty password is empty in all of them.
    Switched,
}

impl<'c> Talk<'c> {
    pub(super) fn new(user: Option<&'c str>) -> Self {
        Self { user, state: State::Handshake, version: String::new() }
    }

    pub(super) fn step(&mut self, inbox: &mut Inbox) -> Step {
        let (sequence, payload) = match packet(inbox) {
            Ok(Some(packet)) => packet,
            Ok(None) if inbox.ended => return Step::End(self.ended(inbox), b""),
            Ok(None) => return Step::Listen,
            Err(step) => return step,
        };
        match (self.state, payload.first()) {
            (_, Some(0xff)) => refused(&payload),
            (State::Handshake, Some(10)) => self.greeted(sequence, &payload),
            (State::Login | State::Switched, Some(0)) => self.passed(QUIT),
            (State::Login, Some(0xfe)) => {
                self.state = State::Switched;
                Step::Say(vec![0, 0, 0, sequence.wrapping_add(1)])
            }
            (State::Handshake, _) => response_error("the answer is not MySQL"),
            (State::Login | State::Switched, _) => response_error("the server asks for a password"),
        }
    }

    fn greeted(&mut self, sequence: u8, payload: &[u8]) -> Step {
        let Some(end) = payload[1..].iter().position(|&byte| byte == 0) else {
            return response_error("the answer is not MySQL");
        };
        self.version = quoted(&payload[1..=end]);
        let Some(user) = self.user else { return self.passed(b"") };
        self.state = State::Login;
        let mut login = Vec::with_capacity(64);
        let capabilities = LONG_PASSWORD | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH;
        login.extend_from_slice(&capabilities.to_le_bytes());
        login.extend_from_slice(&(1_u32 << 24).to_le_bytes());
        login.push(UTF8_GENERAL_CI);
        login.extend_from_slice(&[0; 23]);
        login.extend_from_slice(user.as_bytes());
        // The end of the name, then a password of no bytes.
        login.extend_from_slice(&[0, 0]);
        login.extend_from_slice(b"mysql_native_password\0");
        let length = u32::try_from(login.len()).unwrap_or(0).to_le_bytes();
        let mut bytes = vec![length[0], length[1], length[2], sequence.wrapping_add(1)];
        bytes.append(&mut login);
        Step::Say(bytes)
    }

    /// HAProxy's list is the connection, the login and two answers, or the connection and one answer.
    fn ended(&self, inbox: &Inbox) -> Outcome {
        let outcome = ended_early(inbox);
        match self.state {
            State::Handshake if inbox.bytes.is_empty() => {
                outcome.saying(empty_at(if self.user.is_some() { 3 } else { 2 }))
            }
            State::Handshake | State::Login | State::Switched => outcome,
        }
    }

    fn passed(&self, farewell: &'static [u8]) -> Step {
        Step::End(Outcome::new(CheckCode::L7Ok, &self.version).saying(&self.version), farewell)
    }
}

/// The first packet, if it is whole: its number and its payload.
fn packet(inbox: &mut Inbox) -> Result<Option<(u8, Vec<u8>)>, Step> {
    let [a, b, c, sequence, rest @ ..] = inbox.bytes.as_slice() else {
        return Ok(None);
    };
    let length = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
    if length == 0 || length > LARGEST_PACKET {
        return Err(response_error("the answer is not MySQL"));
    }
    let Some(payload) = rest.get(..length) else {
        return Ok(None);
    };
    let packet = (*sequence, payload.to_vec());
    inbox.bytes.drain(..4 + length);
    Ok(Some(packet))
}

/// ERR_Packet: 0xff, the number, `#` and five characters of state (not before the login), the text.
fn refused(payload: &[u8]) -> Step {
    let [_, low, high, said @ ..] = payload else { return response_error("the answer is not MySQL") };
    let number = u16::from_le_bytes([*low, *high]);
    let text = said.strip_prefix(b"#").and_then(|rest| rest.get(5..)).unwrap_or(said);
    let outcome = Outcome::with_status(CheckCode::L7Status, number, format!("{number} {}", quoted(text)));
    // HAProxy leaves the state where it is.
    Step::End(outcome.saying(said), b"")
}
