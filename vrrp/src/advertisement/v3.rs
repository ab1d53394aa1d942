//! VRRPv3 (RFC 9568): IPv4 and IPv6, centiseconds.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use super::{
    Advertisement, DecodeError, Decoded, Envelope, Expected, HEADER, check_length, fill_checksum,
    find_router, ipv4_addresses,
};
use crate::{ChecksumForm, Transport, Version, checksum::Sum};

/// One unit of Max Advertise Interval in nanoseconds.
const CENTISECOND: u128 = 10_000_000;

/// The largest Max Advertise Interval, a field of 12 bits.
const MAX_CENTISECONDS: u16 = 4095;

pub(super) fn decode(
    message: &[u8],
    header: &[u8; HEADER],
    rest: &[u8],
    envelope: &Envelope,
    expected: &[Expected<'_>],
) -> Result<Decoded, DecodeError> {
    let [_, vrid, priority, count, interval_high, interval_low, _, _] = *header;
    let size = if envelope.source.is_ipv4() { 4 } else { 16 };
    check_length(message, HEADER + size * usize::from(count))?;
    let checksum = verify_checksum(message, envelope).ok_or(DecodeError::Checksum)?;
    let (router, configured) = find_router(expected, vrid, Version::V3)?;
    if count == 0 {
        return Err(DecodeError::CountZero);
    }
    // RFC 9568 §5.2.6: the reserved bits are ignored on receipt.
    let centiseconds = u16::from_be_bytes([interval_high & 0x0f, interval_low]);
    if centiseconds == 0 {
        return Err(DecodeError::IntervalZero);
    }
    let addresses = match envelope.source {
        IpAddr::V4(_) => ipv4_addresses(rest),
        IpAddr::V6(source) => {
            // RFC 9568 §5.1.2.1. A peer by unicast was let in by its address.
            if *configured.transport == Transport::Multicast && !source.is_unicast_link_local() {
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
        vrid: configured.vrid,
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
    let centiseconds = u16::try_from(advertisement.interval.as_nanos() / CENTISECOND)
        .unwrap_or(MAX_CENTISECONDS)
        .clamp(1, MAX_CENTISECONDS);
    let mut message = advertisement.head_and_addresses(0x31, centiseconds.to_be_bytes(), source);
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
