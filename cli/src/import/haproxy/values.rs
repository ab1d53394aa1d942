//! Numbers, times and sizes as HAProxy writes them.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use super::{
    directive::{Fault, shown},
    lexer::Word,
};
use crate::{config::text::write_duration, import::document::Value};

/// The longest time that our file takes.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 86_400);

const UNITS: [(&str, u64); 7] = [
    ("", 1_000),
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// A number with a unit, milliseconds without one. Below a millisecond it is one.
pub(super) fn time(word: &Word) -> Result<Duration, Fault> {
    time_in(word, "")
}

/// The same where `unit` is meant without a unit.
pub(super) fn time_in(word: &Word, unit: &str) -> Result<Duration, Fault> {
    let text = word.text.as_str();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, written) = text.split_at(digits);
    let unit = if written.is_empty() { unit } else { written };
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let micros =
        number.parse::<u64>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    match micros {
        Some(0) => Ok(Duration::ZERO),
        Some(micros) => Ok(Duration::from_millis(micros.div_ceil(1_000))),
        None => Err(Fault::at(word, format!("`{}` is no time; write it as in 5s or 5000", shown(text)))),
    }
}

/// A time that limits something: 0 is no limit in HAProxy, and the longest there is with us.
pub(super) fn limit(time: Duration) -> Value {
    let time = if time.is_zero() || time > LONGEST { LONGEST } else { time };
    Value::Text(write_duration(time))
}

pub(super) fn number(word: &Word) -> Result<u64, Fault> {
    word.text.parse().map_err(|_| Fault::at(word, format!("`{}` is no number", shown(&word.text))))
}

/// A number of bytes or entries with `k`, `m` or `g` behind it.
pub(super) fn size(word: &Word) -> Result<u64, Fault> {
    let text = word.text.to_ascii_lowercase();
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm') => (&text[..text.len() - 1], 1 << 20),
        Some(b'g') => (&text[..text.len() - 1], 1 << 30),
        _ => (text.as_str(), 1),
    };
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.ok_or_else(|| Fault::at(word, format!("`{}` is no size; write it as in 100k", shown(&word.text))))
}

/// An IPv4 address may leave zeros out in the middle, as `10.12`; a network has a number of bits or a mask behind `/`.
/// Written as our file has it.
pub(super) fn network(word: &Word) -> Result<String, Fault> {
    let wrong = || {
        Fault::at(
            word,
            format!("`{}` is no address and no network; names are not looked up here", shown(&word.text)),
        )
    };
    let (host, prefix) = match word.text.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (word.text.as_str(), None),
    };
    let address = match host.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => IpAddr::V4(short_address(host).ok_or_else(wrong)?.into()),
    };
    let Some(prefix) = prefix else { return Ok(address.to_string()) };
    let prefix = match prefix.parse::<u8>() {
        Ok(bits) => bits,
        Err(_) => {
            let mask = u32::from(prefix.parse::<std::net::Ipv4Addr>().map_err(|_| wrong())?);
            if mask.leading_ones() + mask.trailing_zeros() < 32 {
                return Err(wrong());
            }
            u8::try_from(mask.leading_ones()).map_err(|_| wrong())?
        }
    };
    let widest = if address.is_ipv4() { 32 } else { 128 };
    if prefix > widest {
        return Err(wrong());
    }
    Ok(lb_proxy::rules::Network::around(address, prefix).to_string())
}

/// A network as it is meant with addresses of both families: in one of IPv6 HAProxy finds those of IPv4 as well, as
/// `::ffff:192.0.2.1`.
pub(super) fn of_both(network: &str) -> Vec<String> {
    const MAPPED: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0);
    let (address, bits) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(address), Ok(bits)) = (address.parse::<Ipv6Addr>(), bits.parse::<u32>()) else {
        return vec![network.to_owned()];
    };
    match (address.to_ipv4_mapped(), bits.checked_sub(96)) {
        (Some(address), Some(32)) => vec![address.to_string()],
        (Some(address), Some(bits)) => vec![format!("{address}/{bits}")],
        _ => {
            let differ = (address.to_bits() ^ MAPPED.to_bits()).checked_shr(128 - bits).unwrap_or(0);
            let mapped = (differ == 0).then(|| "0.0.0.0/0".to_owned());
            [network.to_owned()].into_iter().chain(mapped).collect()
        }
    }
}

/// `10.12` is 10.0.0.12.
fn short_address(text: &str) -> Option<u32> {
    let parts: Vec<u8> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.is_empty() || first.len() > 3 {
        return None;
    }
    let mut octets = [0; 4];
    octets[..first.len()].copy_from_slice(first);
    octets[3] = *last;
    Some(u32::from_be_bytes(octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word { text: text.to_owned(), span: crate::config::diagnostic::Span { start: 0, end: text.len() } }
    }

    #[test]
    fn times_are_milliseconds_unless_they_say_otherwise() {
        let cases = [
            ("5000", 5_000),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1500us", 2),
            ("0", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(time(&word(text)).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for text in ["", "s", "-1", "1.5s", "5x", "99999999999999999999", "9999999999999999d", "5 s"] {
            assert!(time(&word(text)).is_err(), "{text}");
        }
        assert_eq!(time_in(&word("5"), "s").unwrap(), Duration::from_secs(5));
        assert_eq!(limit(Duration::ZERO), Value::text("30d"));
        assert_eq!(limit(Duration::from_secs(5)), Value::text("5s"));
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(
            ["5", "200k", "1M", "2g"].map(|text| size(&word(text)).unwrap()),
            [5, 204_800, 1 << 20, 2 << 30]
        );
        assert!(size(&word("k")).is_err() && size(&word("5t")).is_err() && size(&word("")).is_err());
    }

    #[test]
    fn networks_of_ipv6_have_addresses_of_ipv4_in_them() {
        for (network, expected) in [
            ("::/0", "::/0 0.0.0.0/0"),
            ("::/80", "::/80 0.0.0.0/0"),
            ("::ffff:0.0.0.0/90", "::ffff:0.0.0.0/90 0.0.0.0/0"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::/96", "::/96"),
            ("::1", "::1"),
            ("192.0.2.0/24", "192.0.2.0/24"),
        ] {
            assert_eq!(of_both(network).join(" "), expected, "{network}");
        }
    }

    #[test]
    fn networks_are_written_out() {
        let cases = [
            ("192.0.2.7", "192.0.2.7"),
            ("192.168.1", "192.168.0.1"),
            ("10.12/8", "10.0.0.0/8"),
            ("127.0.0.1/8", "127.0.0.0/8"),
            ("10.0.0.0/255.255.0.0", "10.0.0.0/16"),
            ("::1", "::1"),
            ("2001:db8::7/32", "2001:db8::/32"),
        ];
        for (text, expected) in cases {
            assert_eq!(network(&word(text)).unwrap(), expected);
        }
        for text in [
            "",
            "www.example.com",
            "1",
            "300.1",
            "10.0.0.0/33",
            "10.0.0.0/255.0.255.0",
            "::1/129",
            "1.2.3.4.5",
        ] {
            assert!(network(&word(text)).is_err(), "{text}");
        }
    }
}
