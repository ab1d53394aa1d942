//! Version 2: binary.
//!
//! ```text
//!  0              12          13                14         16
//! +--------------+-----------+-----------------+----------+-----------------------------+-------------------+
//! | signature    | 2 | 0: LOCAL, 1: PROXY      | length of| addresses and ports, of the | type 1, length 2, |
//! |              |           | family|transport| the rest | family's size               | value; as many as |
//! +--------------+-----------+-----------------+----------+-----------------------------+-------------------+
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Extensions, Fault, Header, LONGEST, Origin,
    crc32c::crc32c,
    extensions::{OPEN, entries},
};

pub(super) const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Up to the addresses.
pub(super) const FIXED: usize = 16;

pub(super) const LOCAL: u8 = 0x20;
pub(super) const PROXY: u8 = 0x21;

pub(super) const UNSPEC: u8 = 0x00;
pub(super) const TCP4: u8 = 0x11;
pub(super) const TCP6: u8 = 0x21;

/// Of a type and a length.
pub(super) const TLV: usize = 3;

/// PP2_TYPE_ALPN
pub(super) const ALPN: u8 = 0x01;

/// PP2_TYPE_AUTHORITY
pub(super) const AUTHORITY: u8 = 0x02;

/// PP2_TYPE_CRC32C
pub(super) const CRC32C: u8 = 0x03;

/// PP2_TYPE_UNIQUE_ID
pub(super) const UNIQUE_ID: u8 = 0x05;

/// PP2_TYPE_SSL
pub(super) const SSL: u8 = 0x20;

/// PP2_SUBTYPE_SSL_VERSION
pub(super) const SSL_VERSION: u8 = 0x21;

/// PP2_SUBTYPE_SSL_CN
pub(super) const SSL_CN: u8 = 0x22;

/// PP2_SUBTYPE_SSL_CIPHER
pub(super) const SSL_CIPHER: u8 = 0x23;

/// PP2_CLIENT_SSL: the client speaks TLS.
pub(super) const CLIENT_SSL: u8 = 0x01;

/// PP2_CLIENT_CERT_CONN: it has shown a certificate on this connection.
pub(super) const CLIENT_CERT_CONN: u8 = 0x02;

/// PP2_CLIENT_CERT_SESS: it has shown one in this session.
pub(super) const CLIENT_CERT_SESS: u8 = 0x04;

pub(super) fn decode(bytes: &[u8]) -> Result<Option<Header>, Fault> {
    let Some((fixed, _)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., version_command, family, high, low] = *fixed;
    // What a receiver does not expect here must end the connection (section 2.2).
    if version_command != LOCAL && version_command != PROXY {
        return Err(Fault::Binary("has another version or command than 2 and LOCAL or PROXY"));
    }
    if family >> 4 > 3 || family & 0xf > 2 {
        return Err(Fault::Binary("has a family or a transport that there is not"));
    }
    let length = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Fault::TooLong(length));
    }
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    // Of LOCAL nothing counts but its length.
    let (origin, extensions) =
        if version_command == LOCAL { (Origin::Sender, None) } else { origin(family, header)? };
    Ok(Some(Header { length, origin, extensions }))
}

/// Of a PROXY command.
fn origin(family: u8, header: &[u8]) -> Result<(Origin, Option<Box<Extensions>>), Fault> {
    const SHORT: Fault = Fault::Binary("is shorter than its addresses");
    let rest = &header[FIXED..];
    let size = match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let (addresses, extensions) = rest.split_at_checked(size).ok_or(SHORT)?;
    check(header, extensions)?;
    let extensions = Extensions::decode(extensions)?;
    let ends = match family {
        TCP4 => pair(addresses, |bytes: [u8; 4]| Ipv4Addr::from(bytes).into()),
        TCP6 => pair(addresses, |bytes: [u8; 16]| Ipv6Addr::from(bytes).into()),
        // UDP, Unix-domain sockets and what says nothing: as if nothing were known.
        _ => return Ok((Origin::Sender, extensions)),
    };
    let (source, destination) = ends.ok_or(SHORT)?;
    Ok((Origin::Client { source, destination }, extensions))
}

/// Two addresses, then their ports.
fn pair<const N: usize>(bytes: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = bytes.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (source_port, rest) = rest.split_first_chunk::<2>()?;
    let (destination_port, _) = rest.split_first_chunk::<2>()?;
    Some((
        SocketAddr::new(ip(*source), u16::from_be_bytes(*source_port)),
        SocketAddr::new(ip(*destination), u16::from_be_bytes(*destination_port)),
    ))
}

/// Every extension ends within the header, and the checksum is right if there is one (section 2.2.3).
fn check(header: &[u8], extensions: &[u8]) -> Result<(), Fault> {
    let mut at = header.len() - extensions.len();
    for extension in entries(extensions) {
        let (kind, value) = extension.ok_or(OPEN)?;
        at += TLV;
        if kind == CRC32C {
            let sent: [u8; 4] =
                value.try_into().map_err(|_| Fault::Binary("has a CRC32C that has no 4 bytes"))?;
            // Computed while it was zero.
            let sum = crc32c([&header[..at], &[0; 4], &header[at + sent.len()..]]);
            if sum != u32::from_be_bytes(sent) {
                return Err(Fault::Checksum);
            }
        }
        at += value.len();
    }
    Ok(())
}
