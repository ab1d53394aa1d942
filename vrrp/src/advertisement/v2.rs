//! VRRPv2 (RFC 3768): IPv4 only, whole seconds, eight bytes of authentication data at the end.

use std::{net::IpAddr, time::Duration};

use super::{
    Advertisement, DecodeError, Decoded, Envelope, Expected, HEADER, check_length, fill_checksum,
    find_router, ipv4_addresses,
};
use crate::{ChecksumForm, Password, Version, checksum::Sum, password};

/// Octets of authentication data at the end.
const AUTHENTICATION_DATA: usize = password::LENGTH;

/// Authentication types of RFC 2338 §5.3.6: none, and a password in clear text.
const NONE: u8 = 0;
const SIMPLE_TEXT: u8 = 1;

pub(super) fn decode(
    message: &[u8],
    header: &[u8; HEADER],
    rest: &[u8],
    envelope: &Envelope,
    expected: &[Expected<'_>],
) -> Result<Decoded, DecodeError> {
    let [_, vrid, priority, count, authentication_type, seconds, _, _] = *header;
    if envelope.source.is_ipv6() {
        return Err(DecodeError::Version { got: 2 });
    }
    let list = 4 * usize::from(count);
    check_length(message, HEADER + list + AUTHENTICATION_DATA)?;
    if Sum::default().add(message).finish() != 0 {
        return Err(DecodeError::Checksum);
    }
    let (router, configured) = find_router(expected, vrid, Version::V2)?;
    if count == 0 {
        return Err(DecodeError::CountZero);
    }
    let want = authentication(configured.password);
    if authentication_type != want {
        return Err(DecodeError::AuthenticationType { got: authentication_type, want });
    }
    if configured.password.is_some_and(|own| rest.get(list..) != Some(own.data().as_slice())) {
        return Err(DecodeError::Password);
    }
    if seconds == 0 {
        return Err(DecodeError::IntervalZero);
    }
    let interval = Duration::from_secs(u64::from(seconds));
    if interval != configured.interval.get() {
        return Err(DecodeError::IntervalMismatch { got: interval, want: configured.interval.get() });
    }
    let advertisement = Advertisement {
        version: Version::V2,
        vrid: configured.vrid,
        priority,
        interval,
        addresses: ipv4_addresses(rest.get(..list).unwrap_or_default()),
    };
    Ok(Decoded { advertisement, checksum: ChecksumForm::Rfc9568, router })
}

fn authentication(password: Option<&Password>) -> u8 {
    if password.is_some() { SIMPLE_TEXT } else { NONE }
}

pub(super) fn encode(advertisement: &Advertisement, password: Option<&Password>, source: IpAddr) -> Vec<u8> {
    let seconds = u8::try_from(advertisement.interval.as_secs()).unwrap_or(u8::MAX).max(1);
    let mut message = advertisement.head_and_addresses(0x21, [authentication(password), seconds], source);
    message.extend_from_slice(&password.map_or([0; AUTHENTICATION_DATA], Password::data));
    fill_checksum(&mut message, Sum::default());
    message
}
