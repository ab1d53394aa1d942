//! The text forms of values: durations, addresses, names. An `Err` is the end of a sentence that begins with the
//! value: what is wrong with it, and what to write instead.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use lb_proxy::{
    config::{LogDestination, ServerAddress},
    rules::Network,
};
use lb_vrrp::VirtualAddress;

pub(crate) use self::{
    source::{SourceText, ports, source},
    unix::{file_mode, listening, unix_address, unix_bind},
};

mod source;
mod unix;

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A whole number and a unit: `250ms`, `5s`, `2m`, `1h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(
            "is not a duration; write a number and a unit, as in \"250ms\", \"5s\", \"2m\", \"1h\"".into()
        );
    }
    if unit.is_empty() {
        return Err(format!(
            "has no unit; write \"{number}s\" for seconds or \"{number}ms\" for milliseconds"
        ));
    }
    if unit.starts_with('.') {
        return Err("is not a whole number; use a smaller unit, as in \"1500ms\"".into());
    }
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        if UNITS.iter().any(|(name, _)| *name == unit.trim()) {
            return Err(format!("has a space before its unit; write \"{number}{}\"", unit.trim()));
        }
        return Err(format!("has the unknown unit `{}`; units are ms, s, m, h and d", unit.trim()));
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    millis.map(Duration::from_millis).ok_or_else(|| "is too long".into())
}

/// The shortest form that [`duration`] reads back.
pub(crate) fn write_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".into();
    }
    let fitting = UNITS.iter().rev().find(|(name, factor)| *name != "d" && millis % factor == 0);
    let (unit, factor) = fitting.unwrap_or(&UNITS[0]);
    // 90000ms and 120 minutes are read more easily than they are computed.
    if *unit == "h" && millis / factor >= 48 && millis % 86_400_000 == 0 {
        return format!("{}d", millis / 86_400_000);
    }
    format!("{}{unit}", millis / factor)
}

/// Where a server is: an address or a name, and a port; or a Unix-domain socket.
pub(crate) fn server_address(text: &str) -> Result<ServerAddress, String> {
    if let Some(address) = unix_address(text) {
        return address.map(ServerAddress::from);
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && looks_like_a_name(host)
        && host.parse::<Ipv4Addr>().is_err()
    {
        let Some(port) = port.parse::<u16>().ok().filter(|&port| port > 0) else {
            return Err(format!("has the port `{}`; ports are 1..65535", port.escape_debug()));
        };
        return Ok(ServerAddress::Named { host: host_name(host)?, port });
    }
    if looks_like_a_name(text) {
        return Err(format!("has no port; write \"{text}:80\""));
    }
    let address = socket_address(text, "80")?;
    if address.ip().is_unspecified() {
        return Err("is no address of a server; 0.0.0.0 and [::] are for `bind`".into());
    }
    if is_group_address(address.ip()) {
        return Err("is a multicast or broadcast address; write the server's own".into());
    }
    Ok(address.into())
}

/// A nameserver: an address, and its port if that is not 53.
pub(crate) fn nameserver(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => {
            Err("is no address of a nameserver; write it as in \"192.0.2.53\" or \"192.0.2.53:5353\"".into())
        }
    }
}

/// Where a syslog server is: its address, with or without a port, or a socket of this machine.
pub(crate) fn syslog(text: &str) -> Result<LogDestination, String> {
    const PORT: u16 = 514;
    if text.starts_with('/') {
        return if text.len() <= 107 {
            Ok(LogDestination::Unix(text.into()))
        } else {
            Err("is longer than a socket's path can be (107 bytes)".into())
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(LogDestination::Udp(SocketAddr::new(address, PORT)));
    }
    if let Ok(address) = text.parse::<SocketAddr>()
        && address.port() > 0
    {
        return Ok(LogDestination::Udp(address));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|&port| port > 0)),
        None => (text, Some(PORT)),
    };
    let Some(port) = port else {
        return Err("has no port between 1 and 65535".into());
    };
    if !looks_like_a_name(host) {
        return Err("is neither an address nor a name; write \"127.0.0.1:514\", \"log.example.com:514\" or \"/dev/log\"".into());
    }
    Ok(LogDestination::UdpName { host: host_name(host)?.into(), port })
}

/// A name as DNS carries it (RFC 1123 §2.1, and `_`, which is common inside).
fn host_name(text: &str) -> Result<Box<str>, String> {
    if !text.is_ascii() {
        return Err("has letters that DNS does not carry; write the name in its ASCII form, xn--..".into());
    }
    let labels: Vec<_> = text.strip_suffix('.').unwrap_or(text).split('.').collect();
    let is_label =
        |label: &&str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    if text.len() > 253 || !labels.iter().all(is_label) {
        return Err(
            "is no name that DNS carries: labels of 1..63 letters, digits and `-`, at most 253 in all".into(),
        );
    }
    // Case means nothing in a name: it is followed once, however it is written.
    Ok(text.to_ascii_lowercase().into())
}

/// Where a frontend listens: an address and a port, or `*:80` for all IPv4 addresses.
pub(crate) fn bind_address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix('*') {
        Some(port) => {
            socket_address(&format!("0.0.0.0{port}"), "80").map_err(|why| why.replace("0.0.0.0", "*"))?
        }
        None if !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) => {
            return Err(format!("has no address; write \"*:{text}\" for all of them"));
        }
        None if text.starts_with(':') => {
            return Err(format!("has no address; write \"*{text}\" for all of them"));
        }
        None => socket_address(text, "80")?,
    };
    if is_group_address(address.ip()) {
        return Err("is a multicast or broadcast address; nobody can connect to it".into());
    }
    Ok(address)
}

fn socket_address(text: &str, port: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 { Err("has port 0; ports are 1..65535".into()) } else { Ok(address) };
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Err(format!("has no port; write \"{text}:{port}\""));
    }
    if let Some((host, tail)) = text.rsplit_once(':')
        && let (Ok(host), Ok(_), Ok(_)) =
            (host.parse::<Ipv6Addr>(), tail.parse::<u16>(), text.parse::<Ipv6Addr>())
    {
        return Err(format!("is an IPv6 address without brackets; write \"[{host}]:{tail}\""));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
        return Err(format!("has no port; write \"[{address}]:{port}\""));
    }
    if let Some((host, tail)) = text.rsplit_once(':') {
        if host.parse::<IpAddr>().is_ok() || host == "0.0.0.0" {
            return Err(if tail.is_empty() {
                format!("has no port; write \"{text}{port}\"")
            } else {
                format!("has the port `{tail}`; ports are 1..65535")
            });
        }
        if looks_like_a_name(host) {
            return Err(format!("has a name; a listener needs an address, write that of {host} or `*`"));
        }
    } else if looks_like_a_name(text) {
        return Err(format!("has no address; write one with a port, as in \"192.0.2.21:{port}\""));
    }
    Err(format!(
        "is no address with a port; write it as in \"192.0.2.21:{port}\" or \"[2001:db8::21]:{port}\""
    ))
}

fn looks_like_a_name(text: &str) -> bool {
    text.contains(char::is_alphabetic) && text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c))
}

fn is_group_address(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// An IPv4 address that one machine can have.
pub(crate) fn host_address(text: &str) -> Result<Ipv4Addr, String> {
    let address = match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address,
        Ok(IpAddr::V6(_)) => {
            return Err("is an IPv6 address; only IPv4 addresses are supported here in this version".into());
        }
        Err(_) if text.parse::<SocketAddr>().is_ok() => {
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            return Err(format!("has a port; write the address alone: \"{host}\""));
        }
        Err(_) if looks_like_a_name(text) && !text.starts_with(|c: char| c.is_ascii_digit()) => {
            return Err("is a name; write the address, as in \"192.0.2.11\"".into());
        }
        Err(_) => return Err("is no IPv4 address; write it as in \"192.0.2.11\"".into()),
    };
    if address.is_unspecified() || is_group_address(IpAddr::V4(address)) || address.octets()[0] == 0 {
        return Err("is not an address that a machine can have".into());
    }
    Ok(address)
}

/// An address of its own that a node has: `192.0.2.11`, `2001:db8::11`.
pub(crate) fn own_address(text: &str) -> Result<IpAddr, String> {
    if text.contains('/') {
        return Err("has a prefix length; write the address alone".into());
    }
    virtual_address(text).map(|own| own.address)
}

/// An address of a virtual router: `192.0.2.10` (a /32), `192.0.2.10/24`, `2001:db8::10` (a /128), `2001:db8::10/64`.
pub(crate) fn virtual_address(text: &str) -> Result<VirtualAddress, String> {
    let (host, length) = text.split_once('/').map_or((text, None), |(host, length)| (host, Some(length)));
    let address = match host.parse::<Ipv6Addr>() {
        Ok(address) => IpAddr::V6(virtual_ipv6(address)?),
        Err(_) if host.contains('%') => {
            return Err(
                "names an interface; write the address alone, that of the vip's `interface` counts".into()
            );
        }
        Err(_) => IpAddr::V4(host_address(host)?),
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match length {
        None => width,
        Some(length) => {
            length.parse().ok().filter(|prefix| (1..=width).contains(prefix)).ok_or_else(|| {
                format!("has the prefix length `{}`; it is 1..{width}", length.escape_debug())
            })?
        }
    };
    if address.is_loopback() {
        return Err("is a loopback address; no other machine can reach it".into());
    }
    if prefix < width - 1 {
        let (bits, all) = match address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), u128::from(u32::MAX)),
            IpAddr::V6(address) => (address.to_bits(), u128::MAX),
        };
        let mask = all >> prefix;
        let kind = match bits & mask {
            0 if address.is_ipv4() => "network",
            // RFC 4291 §2.6.1: every router of the network has it.
            0 => "subnet-router",
            inside if inside == mask && address.is_ipv4() => "broadcast",
            _ => return Ok(VirtualAddress { address, prefix }),
        };
        return Err(format!("is the {kind} address of its /{prefix}; write a host's"));
    }
    Ok(VirtualAddress { address, prefix })
}

fn virtual_ipv6(address: Ipv6Addr) -> Result<Ipv6Addr, String> {
    if let Some(inside) = address.to_ipv4_mapped() {
        return Err(format!("is an IPv4 address in IPv6 form; write \"{inside}\""));
    }
    if address.is_unspecified() || address.is_multicast() {
        return Err("is not an address that a machine can have".into());
    }
    Ok(address)
}

/// Names of nodes, vips, frontends, backends and servers: 1 to 63 letters, digits, `-`, `_` and `.`, of which the
/// first is a letter or a digit.
pub(crate) fn name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".into());
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "-_.".contains(*c))) {
        return Err(format!(
            "has the character `{}`; names are letters, digits, `-`, `_` and `.`",
            bad.escape_debug()
        ));
    }
    if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err("does not begin with a letter or a digit".into());
    }
    if text.parse::<IpAddr>().is_ok() {
        return Err("is an address; choose a name".into());
    }
    if text.len() > 63 {
        return Err(format!("has {} characters; at most 63 are allowed", text.len()));
    }
    Ok(())
}

/// A network or one address: `192.0.2.0/24`, `2001:db8::/32`, `192.0.2.7`.
pub(crate) fn network(text: &str) -> Result<Network, String> {
    let wrong = "is no network; write an address and how many of its bits count, as in \"192.0.2.0/24\"";
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().map_err(|_| wrong.to_owned())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => width,
        Some(prefix) => prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= width)
            .ok_or_else(|| format!("has no prefix of 0..{width} behind its `/`"))?,
    };
    Network::new(address, prefix).ok_or_else(|| {
        let clean = Network::around(address, prefix);
        format!(
            "has bits behind its prefix; write \"{clean}\" for the network or \"{address}\" for the address"
        )
    })
}

/// Names of sockets that systemd passes: 1 to 255 printable ASCII characters without `:` (sd_listen_fds(3)).
pub(crate) fn socket_name(text: &str) -> Result<String, String> {
    let fine = (1..=255).contains(&text.len()) && text.chars().all(|c| (' '..='~').contains(&c) && c != ':');
    if fine {
        Ok(text.to_owned())
    } else {
        Err("is no name of a socket; write that of FileDescriptorName=".into())
    }
}

/// Names of interfaces, as the kernel takes them.
pub(crate) fn interface(text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > 15 {
        return Err("is no name of an interface; those have 1 to 15 characters".into());
    }
    if text == "."
        || text == ".."
        || text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control())
    {
        return Err("is no name of an interface; those have no `/`, `:` or space".into());
    }
    Ok(())
}

/// The candidate that is nearest to `text`, if any is near enough to be what was meant.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    let limit = 1 + length / 4;
    let text = text.to_lowercase();
    candidates
        .into_iter()
        // No distance is smaller than the difference of the lengths, and that one is cheap.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= limit)
        .map(|candidate| (strsim::damerau_levenshtein(&text, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean X?`, or what there is.
pub(crate) fn suggestion(text: &str, known: &[&str], kind: &str) -> String {
    match nearest(text, known.iter().copied()) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => format!("; the file has no {kind}"),
        None => format!("; {kind}s are {}", listing(known)),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listing(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [head @ .., last] => {
            let head: Vec<_> = head.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}`", head.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        let cases = [
            ("250ms", 250),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "5 s", "5S", "-1s", "1.5s", "s", "1h30m", "18446744073709551615h", "\u{661}s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("5 s"), Err("has a space before its unit; write \"5s\"".to_owned()));
    }

    #[test]
    fn written_durations_are_the_shortest_that_read_back() {
        let cases = [
            (0, "0s"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (90_000, "90s"),
            (3_600_000, "1h"),
            (86_400_000, "24h"),
            (172_800_000, "2d"),
        ];
        for (millis, text) in cases {
            assert_eq!(write_duration(Duration::from_millis(millis)), text);
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn an_address_of_a_node_has_no_prefix() {
        assert_eq!(own_address("192.0.2.11"), Ok(IpAddr::from([192, 0, 2, 11])));
        assert_eq!(own_address("2001:db8::11"), Ok("2001:db8::11".parse().unwrap()));
        let prefix = "has a prefix length; write the address alone";
        assert_eq!(own_address("192.0.2.11/24"), Err(prefix.to_owned()));
        assert!(own_address("lb1").is_err());
    }

    #[test]
    fn virtual_addresses_have_a_prefix_of_32_or_128_unless_given() {
        for (text, address, prefix) in [
            ("192.0.2.10", "192.0.2.10", 32),
            ("192.0.2.10/24", "192.0.2.10", 24),
            ("192.0.2.0/31", "192.0.2.0", 31),
            ("2001:db8::10", "2001:db8::10", 128),
            ("2001:DB8:0::10/64", "2001:db8::10", 64),
            ("2001:db8::/127", "2001:db8::", 127),
            ("fe80::10", "fe80::10", 128),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(virtual_address(text), Ok(VirtualAddress { address, prefix }), "{text}");
        }
        for (text, why) in [
            ("192.0.2.0/24", "is the network address of its /24; write a host's"),
            ("192.0.2.255/24", "is the broadcast address of its /24; write a host's"),
            ("192.0.2.10/0", "has the prefix length `0`; it is 1..32"),
            ("192.0.2.10/33", "has the prefix length `33`; it is 1..32"),
            ("192.0.2.10/", "has the prefix length ``; it is 1..32"),
            ("0.0.0.0", "is not an address that a machine can have"),
            ("2001:db8::/64", "is the subnet-router address of its /64; write a host's"),
            ("2001:db8::10/129", "has the prefix length `129`; it is 1..128"),
            ("::", "is not an address that a machine can have"),
            ("::1", "is a loopback address; no other machine can reach it"),
            ("ff02::12", "is not an address that a machine can have"),
            ("::ffff:192.0.2.10", "is an IPv4 address in IPv6 form; write \"192.0.2.10\""),
            (
                "fe80::1%eth0",
                "names an interface; write the address alone, that of the vip's `interface` counts",
            ),
        ] {
            assert_eq!(virtual_address(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_star_is_every_ipv4_address() {
        assert_eq!(bind_address("*:80"), Ok(SocketAddr::from(([0, 0, 0, 0], 80))));
        assert_eq!(bind_address("[::]:80"), Ok("[::]:80".parse().unwrap()));
        for text in ["", "*", "*80", "**:80", ":80", "80", "*:0", "[::]", "::80", "192.0.2.10:80:90"] {
            assert!(bind_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let keys = ["balance", "retries", "check"];
        assert_eq!(nearest("blance", keys), Some("balance"));
        assert_eq!(nearest("Balance", keys), Some("balance"));
        assert_eq!(nearest("chekc", keys), Some("check"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
    }
}
