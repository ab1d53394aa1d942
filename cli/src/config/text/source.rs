//! Sources of connections to servers in the file: `192.0.2.11`, `192.0.2.11:10000-20000`, `node`.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use super::is_group_address;

/// What the text says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SourceText {
    /// `None` is the node's own address in `[cluster]`.
    pub(crate) address: Option<IpAddr>,
    pub(crate) ports: Option<RangeInclusive<u16>>,
}

pub(crate) fn source(text: &str) -> Result<SourceText, String> {
    if text == "node" {
        return Ok(SourceText { address: None, ports: None });
    }
    let (address, ports) = parts(text)?;
    if address.is_unspecified() {
        return Err("is every address; leave it out, or write source = false".into());
    }
    if is_group_address(address) {
        return Err("is a multicast or broadcast address; nothing comes from there".into());
    }
    Ok(SourceText { address: Some(address), ports })
}

fn parts(text: &str) -> Result<(IpAddr, Option<RangeInclusive<u16>>), String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, None));
    }
    let wrong = "is no source; write an address of this machine, as in \"192.0.2.11\" or \"192.0.2.11:10000-20000\", or \
                 \"node\" for the node's own";
    let (address, range) = text.rsplit_once(':').ok_or(wrong)?;
    // With some port, so that brackets are read as everywhere.
    let address = format!("{address}:1").parse::<SocketAddr>().map_err(|_| wrong)?.ip();
    Ok((address, Some(ports(range)?)))
}

/// `10000-20000`, or one.
pub(crate) fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|&port| port > 0);
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        return Err(
            "is no range of ports; write the first and the last, as in \"10000-20000\", of 1..65535".into()
        );
    };
    if first > last {
        return Err(format!("begins behind its end; write \"{last}-{first}\""));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_addresses_with_or_without_ports() {
        let is = |address: &str, ports| Ok(SourceText { address: Some(address.parse().unwrap()), ports });
        assert_eq!(source("192.0.2.11"), is("192.0.2.11", None));
        assert_eq!(source("192.0.2.11:5000"), is("192.0.2.11", Some(5000..=5000)));
        assert_eq!(source("192.0.2.11:1-65535"), is("192.0.2.11", Some(1..=65_535)));
        assert_eq!(source("2001:db8::1"), is("2001:db8::1", None));
        assert_eq!(source("[2001:db8::1]:10-20"), is("2001:db8::1", Some(10..=20)));
        assert_eq!(source("node"), Ok(SourceText { address: None, ports: None }));
        for text in [
            "",
            "eth1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.11:0",
            "192.0.2.11:1-0",
            "192.0.2.11:20-10",
            "192.0.2.11:x",
            "192.0.2.11:",
            "192.0.2.11:1-65536",
            "[2001:db8::1]",
            "node:1-2",
        ] {
            assert!(source(text).is_err(), "{text}");
        }
    }
}
