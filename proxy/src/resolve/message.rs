//! DNS messages (RFC 1035 §4): a question for one name, and the addresses in its answer.
//!
//! ```text
//! | id | flags, RCODE | QD | AN | NS | AR | question: name, type, class | answers: name, type, class, TTL, length, data |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a message over UDP without EDNS (RFC 1035 §2.3.4); more is not read.
pub(super) const MAX_MESSAGE: usize = 512;

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;

/// Aliases that are followed from a name to its address.
const MAX_ALIASES: usize = 16;

/// What is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    A = 1,
    Aaaa = 28,
}

/// A name in wire form (RFC 1035 §3.1) and lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Name(Vec<u8>);

/// A nameserver's answer to the question that was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Response {
    /// Empty if the name has none of this kind; with the lowest TTL in seconds on the way there.
    Addresses(Vec<IpAddr>, u32),
    /// RCODE 3
    NoSuchName,
    /// Another RCODE.
    Refused(u8),
}

/// These bytes are not the answer to the question: they are ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotOurs;

impl Name {
    /// `None` if DNS can't carry it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        for label in text.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            wire.push(length);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= 255).then_some(Self(wire))
    }

    /// Reads one at `at`, following pointers (RFC 1035 §4.1.4), and moves `at` behind it.
    fn read(bytes: &[u8], at: &mut usize) -> Result<Self, NotOurs> {
        let mut wire = Vec::new();
        let mut from = *at;
        let mut end = None;
        loop {
            let length = usize::from(*bytes.get(from).ok_or(NotOurs)?);
            match length >> 6 {
                0 => {
                    let label = bytes.get(from..=from + length).ok_or(NotOurs)?;
                    wire.extend(label.iter().map(u8::to_ascii_lowercase));
                    from += 1 + length;
                    if wire.len() > 255 {
                        return Err(NotOurs);
                    }
                    if length == 0 {
                        *at = end.unwrap_or(from);
                        return Ok(Self(wire));
                    }
                }
                3 => {
                    let low = usize::from(*bytes.get(from + 1).ok_or(NotOurs)?);
                    let target = (length & 0x3f) << 8 | low;
                    end.get_or_insert(from + 2);
                    // Only ever backwards, so it ends.
                    if target >= from {
                        return Err(NotOurs);
                    }
                    from = target;
                }
                _ => return Err(NotOurs),
            }
        }
    }
}

/// A question, with recursion desired.
pub(super) fn question(id: u16, name: &Name, kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + name.0.len() + 4);
    for word in [id, 0x0100, 1, 0, 0, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(&name.0);
    bytes.extend((kind as u16).to_be_bytes());
    bytes.extend(CLASS_IN.to_be_bytes());
    bytes
}

/// What `bytes` answer to the question.
pub(super) fn response(bytes: &[u8], id: u16, name: &Name, kind: Kind) -> Result<Response, NotOurs> {
    let flags = word(bytes, 2)?;
    let mut at = HEADER;
    let asked = (word(bytes, 4)? == 1).then(|| Name::read(bytes, &mut at)).ok_or(NotOurs)??;
    let is_ours = word(bytes, 0)? == id
        && flags & 0x8000 != 0
        && asked == *name
        && word(bytes, at)? == kind as u16
        && word(bytes, at + 2)? == CLASS_IN;
    if !is_ours {
        return Err(NotOurs);
    }
    match u8::try_from(flags & 0x0f).unwrap_or(0) {
        0 => {}
        3 => return Ok(Response::NoSuchName),
        code => return Ok(Response::Refused(code)),
    }
    let records = records(bytes, at + 4, word(bytes, 6)?);
    let (mut owner, mut ttl) = (name.clone(), u32::MAX);
    for _ in 0..MAX_ALIASES {
        let of_owner = || records.iter().filter(|record| record.owner == owner);
        let addresses: Vec<_> = of_owner().filter_map(|record| record.address(kind)).collect();
        let lowest = of_owner().map(|record| record.ttl).min().unwrap_or(u32::MAX);
        ttl = ttl.min(lowest);
        let alias = of_owner().find(|record| record.kind == TYPE_CNAME);
        match alias {
            Some(alias) if addresses.is_empty() => {
                let mut at = alias.data.start;
                owner = Name::read(bytes, &mut at)?;
            }
            _ => return Ok(Response::Addresses(addresses, ttl)),
        }
    }
    Ok(Response::Addresses(Vec::new(), ttl))
}

struct Record<'b> {
    owner: Name,
    kind: u16,
    ttl: u32,
    data: std::ops::Range<usize>,
    bytes: &'b [u8],
}

impl Record<'_> {
    fn address(&self, kind: Kind) -> Option<IpAddr> {
        let data = self.bytes.get(self.data.clone()).filter(|_| self.kind == kind as u16)?;
        let address = match kind {
            Kind::A => <[u8; 4]>::try_from(data).ok().map(|octets| Ipv4Addr::from(octets).into()),
            Kind::Aaaa => <[u8; 16]>::try_from(data).ok().map(|octets| Ipv6Addr::from(octets).into()),
        };
        address.filter(|address| is_of_a_machine(*address))
    }
}

/// Those that are whole: a message that was cut off ends in the middle of one.
/// No server is there: `0.0.0.0` would be this machine, and many blocklists answer with it.
fn is_of_a_machine(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !address.is_unspecified() && !address.is_multicast() && !is_broadcast
}

fn records(bytes: &[u8], mut at: usize, count: u16) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    for _ in 0..count {
        let Ok(record) = record(bytes, &mut at) else { break };
        records.push(record);
    }
    records
}

fn record<'b>(bytes: &'b [u8], at: &mut usize) -> Result<Record<'b>, NotOurs> {
    let owner = Name::read(bytes, at)?;
    let (kind, class, length) = (word(bytes, *at)?, word(bytes, *at + 2)?, word(bytes, *at + 8)?);
    let ttl = u32::from(word(bytes, *at + 4)?) << 16 | u32::from(word(bytes, *at + 6)?);
    let data = *at + 10..*at + 10 + usize::from(length);
    bytes.get(data.clone()).ok_or(NotOurs)?;
    *at = data.end;
    // RFC 2181 §8: a TTL with its top bit set is 0.
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    let kind = if class == CLASS_IN { kind } else { 0 };
    Ok(Record { owner, kind, ttl, data, bytes })
}

fn word(bytes: &[u8], at: usize) -> Result<u16, NotOurs> {
    let word = bytes.get(at..at + 2).ok_or(NotOurs)?;
    Ok(u16::from_be_bytes([word[0], word[1]]))
}

/// RFC 1035 §4.1.1, as `dig` writes it.
pub(super) fn code_name(code: u8) -> String {
    match code {
        1 => "FORMERR".into(),
        2 => "SERVFAIL".into(),
        4 => "NOTIMP".into(),
        5 => "REFUSED".into(),
        other => format!("RCODE {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a nameserver sent for `www.example.com`: an alias and two addresses, names compressed.
    const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x03\0\0\0\0\
        \x03www\x07example\x03com\0\0\x01\0\x01\
        \xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x06\x03app\xc0\x10\
        \xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x16\
        \xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x15";

    fn name() -> Name {
        Name::parse("WWW.example.com").unwrap()
    }

    #[test]
    fn question_is_what_rfc_1035_draws() {
        assert_eq!(
            question(0x1234, &name(), Kind::Aaaa),
            b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x1c\0\x01"
        );
    }

    #[test]
    fn addresses_are_found_behind_an_alias_with_the_lowest_ttl() {
        let found = response(ANSWER, 0x1234, &name(), Kind::A).unwrap();
        let addresses = [[192, 0, 2, 22], [192, 0, 2, 21]].map(IpAddr::from).into();
        assert_eq!(found, Response::Addresses(addresses, 60));
    }

    #[test]
    fn addresses_of_no_machine_are_not_in_an_answer() {
        for octets in [[0, 0, 0, 0], [224, 0, 0, 1], [255, 255, 255, 255]] {
            let mut bytes = ANSWER.to_vec();
            let last = bytes.len() - 4;
            bytes[last..].copy_from_slice(&octets);
            let found = response(&bytes, 0x1234, &name(), Kind::A).unwrap();
            assert_eq!(found, Response::Addresses(vec![[192, 0, 2, 22].into()], 60), "{octets:?}");
        }
        let of_a_machine = |text: &str| is_of_a_machine(text.parse().unwrap());
        assert!(
            !["::", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"].iter().any(|text| of_a_machine(text))
        );
        assert!(
            ["::1", "fe80::1", "2001:db8::1", "127.0.0.1", "192.0.2.255"]
                .iter()
                .all(|text| of_a_machine(text))
        );
    }

    #[test]
    fn only_the_answer_to_our_question_counts() {
        assert_eq!(response(ANSWER, 0x1235, &name(), Kind::A), Err(NotOurs));
        assert_eq!(response(ANSWER, 0x1234, &name(), Kind::Aaaa), Err(NotOurs));
        let other = Name::parse("example.com").unwrap();
        assert_eq!(response(ANSWER, 0x1234, &other, Kind::A), Err(NotOurs));
        let mut question = ANSWER.to_vec();
        question[2] = 0x01;
        assert_eq!(response(&question, 0x1234, &name(), Kind::A), Err(NotOurs));
    }

    #[test]
    fn codes_are_told_apart() {
        let with = |code: u8| {
            let mut bytes = ANSWER.to_vec();
            bytes[3] = 0x80 | code;
            response(&bytes, 0x1234, &name(), Kind::A)
        };
        assert_eq!(with(3), Ok(Response::NoSuchName));
        assert_eq!(with(2), Ok(Response::Refused(2)));
    }

    #[test]
    fn answer_that_is_cut_off_counts_as_far_as_it_goes() {
        let found = response(&ANSWER[..ANSWER.len() - 3], 0x1234, &name(), Kind::A).unwrap();
        assert_eq!(found, Response::Addresses(vec![[192, 0, 2, 22].into()], 60));
    }

    #[test]
    fn pointer_that_goes_in_a_circle_is_refused() {
        let mut at = 0;
        assert_eq!(Name::read(b"\xc0\0", &mut at), Err(NotOurs));
        assert_eq!(Name::read(b"\x01a\xc0\x02", &mut at), Err(NotOurs));
    }

    #[test]
    fn names_that_dns_can_not_carry_are_refused() {
        for text in ["", ".", "a..b", &"a".repeat(64), &"abcdefg.".repeat(32)] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
        assert_eq!(Name::parse("a.b."), Name::parse("A.B"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(mut bytes: Vec<u8>, cut in 0..ANSWER.len(), flip in 0..ANSWER.len()) {
            let _ = response(&bytes, 0x1234, &name(), Kind::A);
            let mut answer = ANSWER[..cut].to_vec();
            answer.append(&mut bytes);
            if let Some(byte) = answer.get_mut(flip) {
                *byte = byte.wrapping_add(1);
            }
            let _ = response(&answer, 0x1234, &name(), Kind::A);
        }
    }
}
