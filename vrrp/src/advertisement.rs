//! The advertisement and its codec (RFC 9568 §5.2, RFC 3768 §5.3).
//!
//! ```text
//!  v2 (RFC 3768, IPv4 only)                        v3 (RFC 9568)
//!  0  2 | 1 | VRID | Priority | Count              0  3 | 1 | VRID | Priority | Count
//!  4  Auth Type | Adver Int (s) | Checksum         4  Rsvd(4) | Max Adver Int (cs, 12 bit) | Checksum
//!  8  Count x IPv4                                 8  Count x IPv4 or Count x IPv6
//!  .. Authentication Data, always 8 bytes
//! ```
//!
//! [`decode`] is the only gate between the network and the machine: it checks everything that RFC 9568 §7.1 wants
//! checked, in that order, and says by a typed [`DecodeError`] what was wrong. Nothing here panics on any bytes.

#![warn(clippy::wildcard_enum_match_arm)]

mod error;
mod packet;
mod v2;
mod v3;

#[cfg(test)]
mod tests;

use std::{cmp::Ordering, net::IpAddr, time::Duration};

pub use error::DecodeError;
pub use packet::unwrap_ipv4;

use crate::{AdvertisementInterval, ChecksumForm, Password, Transport, Version, Vrid, password};

/// Length of the fixed part, the same in both versions.
const HEADER: usize = 8;

/// The only type there is (RFC 9568 §5.2.2).
const TYPE_ADVERTISEMENT: u8 = 1;

/// A decoded advertisement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Advertisement {
    /// 2 or 3.
    pub version: Version,
    /// The virtual router.
    pub vrid: Vrid,
    /// 0 resigns, 1..=254 compete, 255 owns.
    pub priority: u8,
    /// The sender's interval.
    pub interval: Duration,
    /// In the order of the wire.
    pub addresses: Vec<IpAddr>,
}

/// The IP header around a VRRP message, as far as it counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Source address.
    pub source: IpAddr,
    /// Destination address: the group, or our own address for unicast.
    pub destination: IpAddr,
    /// TTL (IPv4) or hop limit (IPv6).
    pub ttl: u8,
}

/// A virtual router that is configured on the interface where a packet arrived, of the packet's family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expected<'a> {
    /// Its number.
    pub vrid: Vrid,
    /// Its protocol.
    pub version: Version,
    /// Its own interval. VRRPv2 drops another one (RFC 3768 §7.1); VRRPv3 adopts it.
    pub interval: AdvertisementInterval,
    /// Whom it listens to.
    pub transport: &'a Transport,
    /// What an advertisement of VRRPv2 has to carry; `None`: authentication type 0, and no look at the data.
    pub password: Option<&'a Password>,
}

/// What [`decode`] found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// The advertisement.
    pub advertisement: Advertisement,
    /// Which of the two sums it carried. VRRPv2 and IPv6 know one form only and say `Rfc9568`.
    pub checksum: ChecksumForm,
    /// Index of its virtual router in `expected`.
    pub router: usize,
}

/// Decodes the bytes of one VRRP message (without the IP header) and checks them in the order of RFC 9568 §7.1: TTL
/// (and for unicast the source), version, type, length, checksum, VRID; then what the errata and RFC 3768 add: count, interval, authentication type.
///
/// `expected` are the virtual routers of the interface and family on which the message came in.
///
/// # Errors
/// The first check that failed. The packet is to be dropped and [`DecodeError::counter`] counted.
pub fn decode(
    message: &[u8],
    envelope: &Envelope,
    expected: &[Expected<'_>],
) -> Result<Decoded, DecodeError> {
    if expected.iter().all(|router| router.transport.admit(envelope).is_err()) {
        expected.first().map_or(&Transport::Multicast, |router| router.transport).admit(envelope)?;
    }
    let too_short = DecodeError::TooShort { length: message.len(), needed: HEADER };
    let Some(&first) = message.first() else { return Err(too_short) };
    let version = match first >> 4 {
        2 => Version::V2,
        3 => Version::V3,
        got => return Err(DecodeError::Version { got }),
    };
    if !expected.is_empty() && expected.iter().all(|router| router.version != version) {
        return Err(DecodeError::Version { got: first >> 4 });
    }
    if first & 0x0f != TYPE_ADVERTISEMENT {
        return Err(DecodeError::Type { got: first & 0x0f });
    }
    let Some((header, rest)) = message.split_first_chunk::<HEADER>() else { return Err(too_short) };
    let decoded = match version {
        Version::V2 => v2::decode(message, header, rest, envelope, expected),
        Version::V3 => v3::decode(message, header, rest, envelope, expected),
    }?;
    expected.get(decoded.router).map_or(Ok(()), |router| router.transport.admit(envelope))?;
    Ok(decoded)
}

impl Advertisement {
    /// The bytes of the VRRP message, checksum filled in.
    ///
    /// `form` matters for VRRPv3 over IPv4 only. VRRPv2 goes out with authentication type 0 and eight zero bytes of
    /// authentication data (RFC 3768 §5.3.10), or with [`Self::encode_with`] a password. The reserved bits are 0. An interval that the version cannot say is
    /// rounded down to its unit and held within its range (an [`AdvertisementInterval`] always fits). Addresses of
    /// another family than `source`, and any after the 255th, have no place in the message and are left out.
    pub fn encode(&self, form: ChecksumForm, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        self.encode_with(None, form, source, destination)
    }

    /// The same with the password of VRRPv2, which VRRPv3 has no room for.
    pub fn encode_with(
        &self,
        password: Option<&Password>,
        form: ChecksumForm,
        source: IpAddr,
        destination: IpAddr,
    ) -> Vec<u8> {
        match self.version {
            Version::V2 => v2::encode(self, password, source),
            Version::V3 => v3::encode(self, form, source, destination),
        }
    }

    /// What both versions begin with: the head, in which `fifth` are the octets before the checksum, and the addresses.
    fn head_and_addresses(&self, first: u8, fifth: [u8; 2], source: IpAddr) -> Vec<u8> {
        let fits = |address: &&IpAddr| address.is_ipv4() == source.is_ipv4();
        let count = u8::try_from(self.addresses.iter().filter(fits).count()).unwrap_or(u8::MAX);
        let mut message = vec![first, self.vrid.get(), self.priority, count, fifth[0], fifth[1], 0, 0];
        for address in self.addresses.iter().filter(fits).take(usize::from(count)) {
            match address {
                IpAddr::V4(address) => message.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => message.extend_from_slice(&address.octets()),
            }
        }
        message
    }
}

/// How long the message in `bytes` is by its version and count; `None` if these are not there.
pub(crate) fn length_by_header(bytes: &[u8], source: IpAddr) -> Option<usize> {
    let [first, _, _, count, ..] = bytes else { return None };
    let list = |size: usize| size * usize::from(*count);
    match (first >> 4, source) {
        (2, _) => Some(HEADER + list(4) + password::LENGTH),
        (3, IpAddr::V4(_)) => Some(HEADER + list(4)),
        (3, IpAddr::V6(_)) => Some(HEADER + list(16)),
        _ => None,
    }
}

/// Exactly as long as its count says (RFC 9568 §7.1 and §5.2.4).
fn check_length(message: &[u8], needed: usize) -> Result<(), DecodeError> {
    let length = message.len();
    match length.cmp(&needed) {
        Ordering::Less => Err(DecodeError::TooShort { length, needed }),
        Ordering::Equal => Ok(()),
        Ordering::Greater => Err(DecodeError::TrailingBytes { length, needed }),
    }
}

/// A list of IPv4 addresses; octets that are no whole one at its end are left out.
fn ipv4_addresses(list: &[u8]) -> Vec<IpAddr> {
    let (addresses, _) = list.as_chunks::<4>();
    addresses.iter().map(|octets| IpAddr::from(*octets)).collect()
}

/// Writes the sum of the message (and of `sum`) into its checksum field, octets 6 and 7 in both versions.
fn fill_checksum(message: &mut [u8], sum: crate::checksum::Sum) {
    let value = sum.add(message).finish().to_be_bytes();
    if let Some(field) = message.get_mut(6..8) {
        field.copy_from_slice(&value);
    }
}

/// Finds the virtual router of `vrid` that speaks `version`.
fn find_router<'e, 'a>(
    expected: &'e [Expected<'a>],
    vrid: u8,
    version: Version,
) -> Result<(usize, &'e Expected<'a>), DecodeError> {
    let same_vrid = || expected.iter().enumerate().filter(|(_, router)| router.vrid.get() == vrid);
    match same_vrid().find(|(_, router)| router.version == version) {
        Some(found) => Ok(found),
        None if same_vrid().next().is_some() => {
            Err(DecodeError::Version { got: if version == Version::V2 { 2 } else { 3 } })
        }
        None => Err(DecodeError::Vrid { got: vrid }),
    }
}
