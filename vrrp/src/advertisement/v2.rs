//! VRRPv2 (RFC 3768): IPv4 only, whole seconds, eight bytes of authentication data at the end.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{Advertisement, DecodeError, Decoded, Envelope, Expected, HEADER, fill_checksum, find_router};
use crate::{ChecksumForm, Version, Vrid, checksum::Sum};

/// Octets of authentication data, present whatever the authentication type (RFC 3768 §5.3.10).
const AUTHENTICATION_DATA: usize = 8;

pub(super) fn decode(
    message: &[u8],
    header: &[u8; HEADER],
    rest: &[u8],
    envelope: &Envelope,
    expected: &[Expected],
) -> Result<Decoded, DecodeError> {
    let [_, vrid, priority, count, authentication_type, seconds, _, _] = *header;
    let length = message.len();
    if envelope.source.is_ipv6() {
        return Err(DecodeError::Version { got: 2 });
    }
    let list = 4 * usize::from(count);
    let needed = HEADER + list + AUTHENTICATION_DATA;
    let Some((list, trailer)) = rest.split_at_checked(list).filter(|_| length >= needed) else {
        return Err(DecodeError::TooShort { length, needed });
    };
    if trailer.len() > AUTHENTICATION_DATA {
        return Err(DecodeError::TrailingBytes { length, needed });
    }
    if Sum::default().add(message).finish() != 0 {
        return Err(DecodeError::Checksum);
    }
    let (router, configured) = find_router(expected, vrid, Version::V2)?;
    if count == 0 {
        return Err(DecodeError::CountZero);
    }
    if authentication_type != 0 {
        return Err(DecodeError::AuthenticationType { got: authentication_type });
    }
    if seconds == 0 {
        return Err(DecodeError::IntervalZero);
    }
    let interval = Duration::from_secs(u64::from(seconds));
    if interval != configured.interval.get() {
        return Err(DecodeError::IntervalMismatch { got: interval, want: configured.interval.get() });
    }
    let (addresses, _) = list.as_chunks::<4>();
    let advertisement = Advertisement {
        version: Version::V2,
        vrid: Vrid::new(vrid).map_err(|_| DecodeError::Vrid { got: vrid })?,
        priority,
        interval,
        addresses: addresses.iter().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))).collect(),
    };
    Ok(Decoded { advertisement, checksum: ChecksumForm::Rfc9568, router })
}

pub(super) fn encode(advertisement: &Advertisement, source: IpAddr) -> Vec<u8> {
    let (count, addresses) = advertisement.carried(source);
    let seconds = u8::try_from(advertisement.interval.as_secs()).unwrap_or(u8::MAX).max(1);
    let mut message = vec![0x21, advertisement.vrid.get(), advertisement.priority, count, 0, seconds, 0, 0];
    for address in addresses {
        if let IpAddr::V4(address) = address {
            message.extend_from_slice(&address.octets());
        }
    }
    message.extend_from_slice(&[0; AUTHENTICATION_DATA]);
    fill_checksum(&mut message, Sum::default());
    message
}
