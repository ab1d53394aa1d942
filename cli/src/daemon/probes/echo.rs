//! Asks an address for an echo (RFC 792, RFC 4443 §4).
//!
//! The socket is raw where this node may open one (the launcher has the right to it), and else that of an unprivileged ping
//! (`net.ipv4.ping_group_range`). It is connected, so that the kernel hands over what this address sends and nothing else.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket as StdSocket},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, time::timeout};

use super::Outcome;
use crate::{
    config::model::{Pace, Target},
    privileges::{Launcher, Purpose},
};

/// Longer than any answer to what we send, and enough of others.
const LONGEST: usize = 1500;

/// One address that is asked again and again.
#[derive(Debug)]
pub(super) struct Echo {
    target: Target,
    pace: Pace,
    launcher: Launcher,
    /// Opened anew after an error: interfaces and routes come and go.
    open: Option<Open>,
    /// Says whose an answer is.
    token: [u8; 8],
    sequence: u16,
}

#[derive(Debug)]
struct Open {
    /// Datagrams of another protocol, which the runtime need not know.
    socket: UdpSocket,
    /// The kernel hands the header over as well.
    has_header: bool,
}

impl Echo {
    pub(super) fn new(target: Target, pace: Pace, launcher: Launcher) -> Self {
        let token = RandomState::new().build_hasher().finish().to_be_bytes();
        Self { target, pace, launcher, open: None, token, sequence: 0 }
    }

    pub(super) fn interval(&self) -> Duration {
        self.pace.interval
    }

    pub(super) async fn ask(&mut self) -> Outcome {
        let open = match self.open.take() {
            Some(open) => open,
            None => match self.open() {
                Ok(open) => open,
                Err(outcome) => return outcome,
            },
        };
        self.sequence = self.sequence.wrapping_add(1);
        let message = request(self.target.address, self.token, self.sequence);
        let asked = async {
            open.socket.send(&message).await?;
            open.answer(self.target.address, self.token, self.sequence).await
        };
        match timeout(self.pace.timeout, asked).await {
            Ok(Ok(())) => {
                self.open = Some(open);
                Outcome::Passed
            }
            Ok(Err(error)) => Outcome::Failed(format!("{}: {}", self.target, in_words(&error))),
            Err(_) => {
                self.open = Some(open);
                let limit = crate::config::text::write_duration(self.pace.timeout);
                Outcome::Failed(format!("{} does not answer within {limit}", self.target))
            }
        }
    }

    fn open(&self) -> Result<Open, Outcome> {
        let address = match self.address() {
            Ok(address) => address,
            Err(what) => return Err(Outcome::Failed(what)),
        };
        let (domain, protocol) = match self.target.address {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let raw = self.launcher.run(Purpose::Here, move || Socket::new(domain, Type::RAW, Some(protocol)));
        let (socket, has_header) = match raw.and_then(|socket| socket) {
            Ok(socket) => (socket, domain == Domain::IPV4),
            Err(refused) => match Socket::new(domain, Type::DGRAM, Some(protocol)) {
                Ok(socket) => (socket, false),
                Err(_) => {
                    let fix = "start lbctl with CAP_NET_RAW, or set net.ipv4.ping_group_range";
                    return Err(Outcome::Unknown(format!(
                        "no right to send echo requests ({refused}): {fix}"
                    )));
                }
            },
        };
        let prepared = socket.set_nonblocking(true).and_then(|()| socket.connect(&address.into()));
        match prepared.and_then(|()| UdpSocket::from_std(StdSocket::from(socket))) {
            Ok(socket) => Ok(Open { socket, has_header }),
            Err(error) => Err(Outcome::Failed(format!("{}: {}", self.target, in_words(&error)))),
        }
    }

    fn address(&self) -> Result<SocketAddr, String> {
        match (self.target.address, &self.target.interface) {
            (IpAddr::V6(address), Some(interface)) => {
                let index = nix::net::if_::if_nametoindex(interface.as_str());
                let index = index.map_err(|_| format!("interface {interface} is not there"))?;
                Ok(SocketAddrV6::new(address, 0, 0, index).into())
            }
            (address, _) => Ok(SocketAddr::new(address, 0)),
        }
    }
}

impl Open {
    async fn answer(&self, from: IpAddr, token: [u8; 8], sequence: u16) -> io::Result<()> {
        let mut packet = [0; LONGEST];
        loop {
            let read = self.socket.recv(&mut packet).await?;
            let mut message = packet.get(..read).unwrap_or_default();
            if self.has_header {
                let header = message.first().map_or(0, |first| usize::from(first & 0xf) * 4);
                message = message.get(header..).unwrap_or_default();
            }
            if is_reply(message, from, token, sequence) {
                return Ok(());
            }
        }
    }
}

/// The system's words without its number.
pub(super) fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// Type, code, checksum, identifier, sequence number, and what comes back.
fn request(to: IpAddr, token: [u8; 8], sequence: u16) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let [a, b, ..] = token;
    let mut message = vec![kind, 0, 0, 0, a, b];
    message.extend(sequence.to_be_bytes());
    message.extend(token);
    if to.is_ipv4() {
        // That of ICMPv6 has a pseudo-header and is the kernel's to make.
        let sum = checksum(&message);
        message.splice(2..4, sum.to_be_bytes());
    }
    message
}

/// The kernel has its own identifier on sockets that are not raw.
fn is_reply(message: &[u8], from: IpAddr, token: [u8; 8], sequence: u16) -> bool {
    let kind = if from.is_ipv4() { 0 } else { 129 };
    message.first() == Some(&kind)
        && message.get(6..8) == Some(&sequence.to_be_bytes())
        && message.get(8..16) == Some(&token)
}

/// RFC 1071.
fn checksum(message: &[u8]) -> u16 {
    let words = message.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        _ => pair.first().map_or(0, |high| u32::from(*high) << 8),
    });
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: [u8; 8] = [0x12, 0x34, 0, 0, 0, 0, 0, 1];

    #[test]
    fn a_request_is_an_echo_with_its_checksum() {
        let v4 = request("192.0.2.1".parse().unwrap(), TOKEN, 7);
        assert_eq!(v4, [8, 0, 0xd3, 0x8f, 0x12, 0x34, 0, 7, 0x12, 0x34, 0, 0, 0, 0, 0, 1]);
        let v6 = request("2001:db8::1".parse().unwrap(), TOKEN, 7);
        assert_eq!(v6[..8], [128, 0, 0, 0, 0x12, 0x34, 0, 7]);
    }

    #[test]
    fn an_answer_has_our_token_and_the_last_number() {
        let from = "192.0.2.1".parse().unwrap();
        let mut answer = request(from, TOKEN, 7);
        assert!(
            !is_reply(&answer, from, TOKEN, 7),
            "that is the question, as the loopback interface shows it"
        );
        answer[0] = 0;
        assert!(is_reply(&answer, from, TOKEN, 7));
        assert!(!is_reply(&answer, from, TOKEN, 8), "an old one");
        assert!(!is_reply(&answer, from, [0; 8], 7), "somebody else's");
        assert!(!is_reply(&answer[..15], from, TOKEN, 7));
        assert!(!is_reply(&[], from, TOKEN, 7));
    }
}
