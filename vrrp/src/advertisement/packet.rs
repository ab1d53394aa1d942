//! The IPv4 packet around a message, as a raw socket delivers it.

use std::net::IpAddr;

use etherparse::Ipv4HeaderSlice;

use super::{DecodeError, Envelope};
use crate::checksum::VRRP_PROTOCOL;

/// Splits an IPv4 packet, as read from a raw socket, into its envelope and the VRRP message. The length is the IP total
/// length, not that of the buffer: short frames come with Ethernet padding behind the packet.
///
/// # Errors
/// [`DecodeError::Packet`] if the header is malformed, the protocol is not 112, or the packet is cut or a fragment.
pub fn unwrap_ipv4(packet: &[u8]) -> Result<(Envelope, &[u8]), DecodeError> {
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|_| DecodeError::Packet)?;
    if header.protocol().0 != VRRP_PROTOCOL || header.is_fragmenting_payload() {
        return Err(DecodeError::Packet);
    }
    let message =
        packet.get(header.slice().len()..usize::from(header.total_len())).ok_or(DecodeError::Packet)?;
    let envelope = Envelope {
        source: IpAddr::V4(header.source_addr()),
        destination: IpAddr::V4(header.destination_addr()),
        ttl: header.ttl(),
    };
    Ok((envelope, message))
}
