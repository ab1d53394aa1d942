//! The hello on the wire: four bytes `LBH` + version, then one JSON object; at most 1,400 bytes in all.
//!
//! ```text
//! LBH 1 {"node":"lb1", ... ,"signature":"<64 hexadecimal digits>"}
//! └─────── signed ────────┘
//! ```
//!
//! The signature is the last member, where the cluster has a secret: a program that knows of none reads the rest.
//! Ages instead of moments, because the nodes' clocks have nothing in common.

use lb_vrrp::{Secret, secret::SIGNATURE};
use serde::{Deserialize, Serialize};

use crate::{control::Ready, output::text::printable};

mod reading;
mod room;

pub(crate) use room::room;

/// Bytes of a hello: one datagram on any path that carries Ethernet.
pub(crate) const MAX_BYTES: usize = 1400;

/// The version of the format.
const VERSION: u8 = 1;

const MAGIC: [u8; 3] = *b"LBH";

/// What the signature is for.
const PURPOSE: &str = "lbctl hello 1";

/// What is before and after the digits of the signature.
const BEFORE_SIGNATURE: &[u8] = b",\"signature\":\"";
const AFTER_SIGNATURE: &[u8] = b"\"}";

/// Bytes of all three; one of them is there without a signature, too.
const SIGNATURE_ROOM: usize = BEFORE_SIGNATURE.len() + 2 * SIGNATURE + AFTER_SIGNATURE.len();

/// Characters of a reason, and their number per group, in an ordinary hello.
const REASON_LENGTH: usize = 120;
const REASONS: usize = 3;

/// Characters of any text that is read.
const LONGEST: usize = REASON_LENGTH + 1;

/// What a node says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "reading::Said")]
pub(crate) struct Hello {
    /// Its name in the file.
    pub(crate) node: String,
    /// Of lbctl.
    pub(crate) version: String,
    /// Another one for each start of the daemon.
    pub(crate) boot: String,
    /// Grows with every hello of a boot.
    pub(crate) counter: u64,
    /// SHA-256 of its file, hexadecimal.
    pub(crate) file: String,
    /// How far it is with signed advertisements ([`crate::signing::word`]); a program of before says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signs: Option<String>,
    /// For how long an operator has kept it out of the election; a program of before does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drained_ms: Option<u64>,
    /// The boots of other nodes that it has heard of late: who was recorded does not name one that began later. Of a cluster with a
    /// secret; a program of before says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hears: Option<Vec<String>>,
    /// In the order of its file.
    pub(crate) groups: Vec<GroupHello>,
    /// Its own addresses by interface: the sources of its advertisements are among them.
    pub(crate) addresses: Vec<InterfaceAddresses>,
    /// The last hello of this boot: the node is ending.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) ending: bool,
    /// Something was left out to stay within the limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) shortened: bool,
    /// What it says that this program does not understand: `ready resting`, a few of them.
    #[serde(skip)]
    pub(crate) unknown: Vec<String>,
}

/// A node's part in a group.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct GroupHello {
    /// Name of the group.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: lb_vrrp::State,
    /// For how long.
    pub(crate) age_ms: u64,
    /// Why.
    pub(crate) why: String,
    /// What it advertises, or would: the level is half of it below 18.
    pub(crate) priority: u8,
    /// How good a holder it is, with the first reasons.
    pub(crate) ready: Ready,
    /// How long ago it announced the addresses that it holds, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) announced_us: Option<u64>,
    /// What is ordered there that would keep clients out, were it to hold the addresses; a program of before does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refuses: Option<String>,
    /// All frontends and backends that are meant by it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<String>,
}

/// The addresses of an interface.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct InterfaceAddresses {
    /// Its name.
    pub(crate) interface: String,
    /// IPv4, and IPv6 link-local.
    pub(crate) addresses: Vec<std::net::IpAddr>,
}

/// These bytes are no hello of ours.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// More than a hello may have.
    #[error("{0} bytes, at most {MAX_BYTES}")]
    TooLong(usize),
    /// It does not begin like a hello.
    #[error("not a hello")]
    Foreign,
    /// Another format.
    #[error("version {0} of the hello, this node speaks {VERSION}")]
    Version(u8),
    /// Not the fields that belong there.
    #[error("malformed")]
    Malformed,
    /// This node has a secret, and whoever said that has none.
    #[error("not signed")]
    Unsigned,
    /// Not by our secret.
    #[error("signed with another secret")]
    Signature,
}

impl DecodeError {
    /// Name of its counter.
    pub(crate) fn counter(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "hello_too_long",
            Self::Foreign => "hello_foreign",
            Self::Version(_) => "hello_other_version",
            Self::Malformed => "hello_malformed",
            Self::Unsigned => "hello_unsigned",
            Self::Signature => "hello_signature",
        }
    }
}

/// The bytes of `hello`; what does not fit is left out, least important first.
pub(crate) fn encode(hello: &Hello, secret: Option<&Secret>) -> Vec<u8> {
    let most = if secret.is_some() { MAX_BYTES - SIGNATURE_ROOM } else { MAX_BYTES };
    let mut hello = hello.clone();
    shorten_reasons(&mut hello, REASONS, REASON_LENGTH);
    let mut bytes = write(&hello);
    if bytes.len() > most {
        hello.shortened = true;
        shorten_reasons(&mut hello, 1, 40);
        // A part of that would be another thing.
        hello.groups.iter_mut().for_each(|group| group.refused.clear());
        bytes = write(&hello);
    }
    if bytes.len() > most {
        // That a group is there, and whether its node could hold it, is worth more than why; so is who sends its advertisements.
        shorten_reasons(&mut hello, 0, 0);
        bytes = write(&hello);
    }
    if bytes.len() > most {
        hello.addresses.clear();
        bytes = write(&hello);
    }
    while bytes.len() > most && hello.groups.pop().is_some() {
        bytes = write(&hello);
    }
    bytes.truncate(most);
    if let Some(secret) = secret {
        sign(&mut bytes, secret);
    }
    bytes
}

fn sign(bytes: &mut Vec<u8>, secret: &Secret) {
    // The object ends behind the signature.
    bytes.pop();
    let digits = secret.sign(PURPOSE, &[bytes]).map(|octet| format!("{octet:02x}"));
    bytes.extend_from_slice(BEFORE_SIGNATURE);
    bytes.extend(digits.iter().flat_map(|digits| digits.bytes()));
    bytes.extend_from_slice(AFTER_SIGNATURE);
}

fn verify(bytes: &[u8], secret: &Secret) -> Result<(), DecodeError> {
    let (signed, end) =
        bytes.split_at_checked(bytes.len().saturating_sub(SIGNATURE_ROOM)).ok_or(DecodeError::Unsigned)?;
    let digits = end
        .strip_prefix(BEFORE_SIGNATURE)
        .and_then(|end| end.strip_suffix(AFTER_SIGNATURE))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .ok_or(DecodeError::Unsigned)?;
    let octet = |at| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let signature: Option<Vec<_>> = (0..digits.len()).step_by(2).map(octet).collect();
    match signature {
        Some(signature) if secret.is_signed(PURPOSE, &[signed], &signature) => Ok(()),
        Some(_) | None => Err(DecodeError::Signature),
    }
}

fn write(hello: &Hello) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    // A struct of strings and numbers can always be written to memory.
    let _ = serde_json::to_writer(&mut bytes, hello);
    bytes
}

fn shorten_reasons(hello: &mut Hello, number: usize, length: usize) {
    for group in &mut hello.groups {
        shorten(&mut group.why, length);
        group.refuses.iter_mut().for_each(|why| shorten(why, length));
        match &mut group.ready {
            Ready::Yes => {}
            Ready::Degraded { reasons } => {
                reasons.truncate(number);
                reasons.iter_mut().for_each(|reason| shorten(reason, length));
            }
            Ready::Starting { reason } | Ready::Leaving { reason } | Ready::Fault { reason } => {
                shorten(reason, length);
            }
        }
    }
}

fn shorten(text: &mut String, length: usize) {
    if let Some((end, _)) = text.char_indices().nth(length) {
        text.truncate(end);
        text.push('…');
    }
}

/// Makes `text` what may be shown and logged: whoever can send a datagram has written it.
fn tame(text: &mut String) {
    shorten(text, LONGEST);
    *text = printable(text);
}

impl Hello {
    fn tame(mut self) -> Self {
        let Self {
            node,
            version,
            boot,
            counter: _,
            file,
            signs,
            drained_ms: _,
            hears,
            groups,
            addresses,
            ending: _,
            shortened: _,
            unknown,
        } = &mut self;
        unknown.iter_mut().for_each(tame);
        hears.iter_mut().flatten().for_each(tame);
        signs.iter_mut().for_each(tame);
        [node, version, boot, file].into_iter().for_each(tame);
        addresses.iter_mut().for_each(|one| tame(&mut one.interface));
        for GroupHello {
            name,
            state: _,
            age_ms: _,
            why,
            priority: _,
            ready,
            announced_us: _,
            refuses,
            refused,
        } in groups
        {
            [name, why].into_iter().chain(refuses).chain(refused).for_each(tame);
            match ready {
                Ready::Yes => {}
                Ready::Degraded { reasons } => reasons.iter_mut().for_each(tame),
                Ready::Starting { reason } | Ready::Leaving { reason } | Ready::Fault { reason } => {
                    tame(reason)
                }
            }
        }
        self
    }
}

/// Reads a datagram of any content; with a `secret` only one that is signed by it. What is in it has no characters that a
/// terminal or a log obeys.
pub(crate) fn decode(bytes: &[u8], secret: Option<&Secret>) -> Result<Hello, DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let body = bytes.strip_prefix(&MAGIC).ok_or(DecodeError::Foreign)?;
    match body.split_first() {
        Some((&VERSION, body)) => {
            secret.map_or(Ok(()), |secret| verify(bytes, secret))?;
            serde_json::from_slice(body).map(Hello::tame).map_err(|_| DecodeError::Malformed)
        }
        Some((&version, _)) => Err(DecodeError::Version(version)),
        None => Err(DecodeError::Foreign),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn hello(groups: usize, reason: &str) -> Hello {
        Hello {
            node: "lb1".to_owned(),
            version: "0.1.0".to_owned(),
            boot: "0d1c5a1e-5b5f-4d0a-8d3e-3e6b6f0f2a11".to_owned(),
            counter: 7,
            file: "8f31c2".repeat(10),
            signs: Some("off".to_owned()),
            drained_ms: None,
            hears: None,
            groups: (0..groups)
                .map(|number| GroupHello {
                    name: format!("group{number}"),
                    state: lb_vrrp::State::Backup,
                    age_ms: 12_000,
                    why: reason.to_owned(),
                    priority: 253,
                    ready: Ready::Degraded { reasons: vec![reason.to_owned(); 8] },
                    announced_us: None,
                    refuses: None,
                    refused: Vec::new(),
                })
                .collect(),
            addresses: vec![InterfaceAddresses {
                interface: "eth1".to_owned(),
                addresses: vec![[192, 0, 2, 11].into()],
            }],
            ending: false,
            shortened: false,
            unknown: Vec::new(),
        }
    }

    #[test]
    fn a_hello_is_read_as_it_was_written() {
        let mut hello = hello(1, "a Backup is silent");
        hello.groups[0].ready = Ready::Yes;
        hello.groups[0].refuses = Some("frontend web is paused by root".to_owned());
        hello.groups[0].refused = vec!["frontend web".to_owned(), "backend app".to_owned()];
        let bytes = encode(&hello, None);
        assert_eq!(&bytes[..4], b"LBH\x01");
        assert_eq!(decode(&bytes, None), Ok(hello));
    }

    #[test]
    fn nothing_in_a_hello_reaches_a_terminal_or_a_log_as_it_came() {
        let evil = "\x1b[31mE\u{9b}\u{202e}\n<0>\u{7}";
        for ready in [
            Ready::Degraded { reasons: vec![evil.to_owned()] },
            Ready::Starting { reason: evil.to_owned() },
            Ready::Leaving { reason: evil.to_owned() },
            Ready::Fault { reason: evil.to_owned() },
        ] {
            let mut sent = hello(1, evil);
            (sent.node, sent.version, sent.boot) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
            (sent.file, sent.groups[0].name) = (evil.to_owned(), evil.to_owned());
            sent.addresses[0].interface = evil.to_owned();
            sent.groups[0].ready = ready;
            let read = decode(&write(&sent), None).expect("readable");
            let shown = format!("{read:?}");
            assert_eq!(read.node, "?[31mE???<0>?");
            assert_eq!(shown.matches("?[31mE???<0>?").count(), 8, "{shown}");
        }
        let mut long = hello(1, "x");
        long.groups[0].why = "ü".repeat(300);
        assert_eq!(decode(&write(&long), None).expect("readable").groups[0].why.chars().count(), 122);
    }

    #[test]
    fn a_hello_never_exceeds_1400_bytes_and_stays_readable() {
        for groups in [1, 4, 40] {
            let bytes = encode(&hello(groups, &"ü".repeat(500)), None);
            assert!(bytes.len() <= 1400, "{} bytes", bytes.len());
            let read = decode(&bytes, None).expect("readable");
            assert_eq!(read.node, "lb1");
            assert!(!read.groups.is_empty());
        }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text).expect("long enough")
    }

    #[test]
    fn signed_hello_is_read_with_the_secret_and_without_one() {
        let (ours, other) = (secret("correct horse battery staple"), secret("wrong horse battery staple"));
        for groups in [1, 4, 40] {
            let said = hello(groups, &"ü".repeat(500));
            let bytes = encode(&said, Some(&ours));
            assert!(bytes.len() <= 1400, "{} bytes", bytes.len());
            let read = decode(&bytes, Some(&ours)).expect("readable");
            assert_eq!(decode(&bytes, None), Ok(read), "by who has no secret yet, or a program of before");
            assert_eq!(decode(&bytes, Some(&other)), Err(DecodeError::Signature));
            assert_eq!(decode(&encode(&said, None), Some(&ours)), Err(DecodeError::Unsigned));
        }
    }

    #[test]
    fn signed_hello_with_any_bit_changed_or_cut_anywhere_is_refused() {
        let ours = secret("correct horse battery staple");
        let bytes = encode(&hello(1, "started"), Some(&ours));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // 'a' and 'A' are one digit.
            let is_case = bytes[at].is_ascii_hexdigit() && changed[at].eq_ignore_ascii_case(&bytes[at]);
            assert!(is_case || decode(&changed, Some(&ours)).is_err(), "octet {at}");
            assert!(decode(&bytes[..at], Some(&ours)).is_err(), "cut before {at}");
        }
        let mut longer = bytes;
        longer.push(b'}');
        assert_eq!(decode(&longer, Some(&ours)), Err(DecodeError::Unsigned));
    }

    #[test]
    fn other_bytes_are_refused_by_reason() {
        let mut newer = encode(&hello(1, "x"), None);
        newer[3] = 2;
        assert_eq!(decode(&newer, None), Err(DecodeError::Version(2)));
        assert_eq!(decode(b"", None), Err(DecodeError::Foreign));
        assert_eq!(decode(b"LBH", None), Err(DecodeError::Foreign));
        assert_eq!(decode(b"GET / HTTP/1.1", None), Err(DecodeError::Foreign));
        assert_eq!(decode(b"LBH\x01{\"node\":1}", None), Err(DecodeError::Malformed));
        assert_eq!(decode(&[0; 1401], None), Err(DecodeError::TooLong(1401)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let _ = decode(&bytes, None);
            let mut prefixed = b"LBH\x01".to_vec();
            prefixed.extend(bytes);
            let _ = decode(&prefixed, None);
            prefixed.extend_from_slice(BEFORE_SIGNATURE);
            prefixed.extend([b'0'; 2 * SIGNATURE]);
            prefixed.extend_from_slice(AFTER_SIGNATURE);
            prop_assert!(decode(&prefixed, Some(&secret("correct horse battery staple"))).is_err());
        }
    }
}
