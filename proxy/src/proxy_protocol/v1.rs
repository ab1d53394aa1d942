//! Version 1: a line of text.
//!
//! ```text
//! PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n
//! PROXY UNKNOWN ...\r\n
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Fault, Header, Origin};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// With its CR LF (section 2.1).
pub(super) const LONGEST: usize = 107;

pub(super) fn decode(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let within = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        return if within.len() == LONGEST {
            Err(Fault::Line("has no end within 107 bytes"))
        } else {
            Ok(None)
        };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(Fault::Line("ends without CR"))?;
    let words = std::str::from_utf8(&line[SIGNATURE.len()..]).map_err(|_| Fault::Line("is no text"))?;
    Ok(Some(Header { length: end + 1, origin: origin(words)?, extensions: None }))
}

fn origin(words: &str) -> Result<Origin, Fault> {
    let mut words = words.split(' ');
    let ip: fn(&str) -> Option<IpAddr> = match words.next() {
        // The receiver must ignore what follows.
        Some("UNKNOWN") => return Ok(Origin::Sender),
        Some("TCP4") => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Fault::Family),
    };
    let mut address = || words.next().and_then(ip).ok_or(Fault::Line("has no two addresses of its family"));
    let (source, destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port).ok_or(Fault::Line("has no two ports"));
    let (source_port, destination_port) = (port()?, port()?);
    if words.next().is_some() {
        return Err(Fault::Line("goes on after its ports"));
    }
    Ok(Origin::Client {
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

/// Decimal, without a sign or leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_canonical = word == "0" || word.starts_with(|first: char| matches!(first, '1'..='9'));
    word.parse().ok().filter(|_| is_canonical)
}
