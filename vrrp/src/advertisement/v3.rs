//! VRRPv3 (RFC 9568): IPv4 and IPv6, centiseconds.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use super::{Advertisement, DecodeError, Decoded, Envelope, Expected, HEADER, fill_checksum, find_router};
use crate::{ChecksumForm, Version, Vrid, checksum::Sum};

/// One unit of Max Advertise Interval in nanoseconds.
const CENTISECOND: u128 = 10_000_000;

/// The largest Max Advertise Interval, a field of 12 bits.
const MAX_CENTISECONDS: u16 = 4095;

pub(super) fn decode(
    message: &[u8],
    header: &[u8; HEADER],
    rest: &[u8],
    envelope: &Envelope,
    expected: &[Expected],
) -> Result<Decoded, DecodeError> {
    let [_, vrid, priority, count, interval_high, interval_low, _, _] = *header;
    let length = message.len();
    let size = if envelope.source.is_ipv4() { 4 } else { 16 };
    let needed = HEADER + size * usize::from(count);
    if length < needed {
        return Err(DecodeError::TooShort { length, needed });
    }
    if length > needed {
        return Err(DecodeError::TrailingBytes { length, needed });
    }
    let checksum = verify_checksum(message, envelope).ok_or(DecodeError::Checksum)?;
    let (router, _) = find_router(expected, vrid, Version::V3)?;
    if count == 0 {
        return Err(DecodeError::CountZero);
    }
    // RFC 9568 §5.2.6: the reserved bits are ignored on receipt.
    let centiseconds = u16::from_be_bytes([interval_high & 0x0f, interval_low]);
    if centiseconds == 0 {
        return Err(DecodeError::IntervalZero);
    }
    let addresses = match envelope.source {
        IpAddr::V4(_) => {
            let (addresses, _) = rest.as_chunks::<4>();
            addresses.iter().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))).collect()
        }
        IpAddr::V6(source) => {
            if !source.is_unicast_link_local() {
                return Err(DecodeError::SourceNotLinkLocal);
            }
            let (addresses, _) = rest.as_chunks::<16>();
            let addresses: Vec<_> = addresses.iter().map(|octets| Ipv6Addr::from(*octets)).collect();
            if !addresses.first().is_some_and(Ipv6Addr::is_unicast_link_local) {
                return Err(DecodeError::FirstAddressNotLinkLocal);
            }
            addresses.into_iter().map(IpAddr::V6).collect()
        }
    };
    let advertisement = Advertisement {
        version: Version::V3,
        vrid: Vrid::new(vrid).map_err(|_| DecodeError::Vrid { got: vrid })?,
        priority,
        interval: Duration::from_millis(u64::from(centiseconds) * 10),
        addresses,
    };
    Ok(Decoded { advertisement, checksum, router })
}

pub(super) fn encode(
    advertisement: &Advertisement,
    form: ChecksumForm,
    source: IpAddr,
    destination: IpAddr,
) -> Vec<u8> {
    let (count, addresses) = advertisement.carried(source);
    let centiseconds = u16::try_from(advertisement.interval.as_nanos() / CENTISECOND)
        .unwrap_or(MAX_CENTISECONDS)
        .clamp(1, MAX_CENTISECONDS);
    let [interval_high, interval_low] = centiseconds.to_be_bytes();
    let mut message = vec![
        0x31,
        advertisement.vrid.get(),
        advertisement.priority,
        count,
        interval_high,
        interval_low,
        0,
        0,
    ];
    for address in addresses {
        match address {
            IpAddr::V4(address) => message.extend_from_slice(&address.octets()),
            IpAddr::V6(address) => message.extend_from_slice(&address.octets()),
        }
    }
    let sum = match (source, form) {
        // RFC 9568 §5.2.8: over IPv4 the message alone.
        (IpAddr::V4(_), ChecksumForm::Rfc9568) => Sum::default(),
        (IpAddr::V4(_), ChecksumForm::Rfc5798) | (IpAddr::V6(_), _) => {
            Sum::default().add_pseudo_header(source, destination, message.len())
        }
    };
    fill_checksum(&mut message, sum);
    message
}

/// Which form of the sum fits, if any. Over IPv4 RFC 5798 §5.2.8 was read both ways, so both are accepted.
fn verify_checksum(message: &[u8], envelope: &Envelope) -> Option<ChecksumForm> {
    let plain = Sum::default().add(message);
    let with_pseudo_header = plain.add_pseudo_header(envelope.source, envelope.destination, message.len());
    match envelope.source {
        IpAddr::V4(_) if plain.finish() == 0 => Some(ChecksumForm::Rfc9568),
        IpAddr::V4(_) if with_pseudo_header.finish() == 0 => Some(ChecksumForm::Rfc5798),
        IpAddr::V6(_) if with_pseudo_header.finish() == 0 => Some(ChecksumForm::Rfc9568),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
