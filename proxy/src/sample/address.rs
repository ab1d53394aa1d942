//! Addresses that stand in texts.

use std::net::{IpAddr, Ipv4Addr};

/// The address that `text` is, as HAProxy's `hdr_ip` reads it: the numbers of IPv4 may begin with zeros, and a port may
/// follow them (gateways write it so). One in brackets is none.
pub(super) fn read(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().or_else(|| {
        let (address, port) =
            text.split_once(':').map_or((text, None), |(address, port)| (address, Some(port)));
        if port.is_some_and(|port| number::<u16>(port).is_none()) {
            return None;
        }
        let mut octets = [0; 4];
        let mut numbers = address.split('.');
        for octet in &mut octets {
            *octet = number(numbers.next()?)?;
        }
        numbers.next().is_none().then_some(Ipv4Addr::from(octets).into())
    })
}

/// The address that `text` begins with, as HAProxy takes a text for one: behind the four numbers of IPv4 may stand anything but
/// a digit and a dot.
pub(crate) fn first(text: &[u8]) -> Option<IpAddr> {
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let end = text.iter().position(|byte| !is_number(byte)).unwrap_or(text.len());
    read(text).or_else(|| read(&text[..end]))
}

/// Digits alone, with zeros before them or not.
fn number<N: std::str::FromStr + Default>(text: &str) -> Option<N> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match text.trim_start_matches('0') {
        "" => Some(N::default()),
        digits => digits.parse().ok(),
    }
}

/// The first address of the network of `text`, with so many bits of IPv4 and of IPv6, which is none without.
pub(super) fn masked(text: &[u8], v4: u8, v6: Option<u8>) -> Option<IpAddr> {
    let address: IpAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(v4)).unwrap_or(0);
            Some(IpAddr::V4((u32::from(address) & mask).into()))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(v6?)).unwrap_or(0);
            Some(IpAddr::V6((u128::from(address) & mask).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_ipv4_may_have_zeros_and_a_port() {
        for (text, expected) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3:80", "10.1.2.3"),
            ("10.1.2.3:65535", "10.1.2.3"),
            ("10.1.2.3:0000080", "10.1.2.3"),
            ("010.1.2.0003", "10.1.2.3"),
            ("000.0.0.0", "0.0.0.0"),
            ("FE80::1", "fe80::1"),
            ("::ffff:10.1.2.3", "::ffff:10.1.2.3"),
        ] {
            assert_eq!(
                read(text.as_bytes()).map(|address| address.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for text in [
            "",
            "unknown",
            "10.1.2",
            "10.1.2.3.4",
            "10.1.2.256",
            "10..2.3",
            ".1.2.3",
            "10.1.2.3.",
            "10.1.2.3/24",
            "10.1.2.3abc",
            "10.1.2.3:",
            "10.1.2.3:65536",
            "10.1.2.3:-1",
            "10.1.2.3:+1",
            "10.1.2.3: 80",
            " 10.1.2.3",
            "[::1]",
            "[::1]:80",
            "fe80::1%eth0",
            "1::ffff:1.2.3.004",
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read(b"10.1.2.3\xff"), None);
        for text in
            ["10.1.2.3", "10.1.2.03abc", "10.1.2.3:99999", "10.1.2.3, 192.0.2.1", "10.1.2.3 ", "10.1.2.3/8"]
        {
            assert_eq!(first(text.as_bytes()), Some(Ipv4Addr::new(10, 1, 2, 3).into()), "{text}");
        }
        for text in ["", "10.1.2", "10.1.2.3.4", "10.1.2.3.", " 10.1.2.3", "::1 ", "[::1]", "10.1.2.300x"] {
            assert_eq!(first(text.as_bytes()), None, "{text}");
        }
    }
}
