//! A packet that arrives on an interface as if another node had sent it, and is on no wire.
//!
//! ```text
//! header: peer ─▶ own address, TTL 0                           ┌─▶ raw socket: it passes
//! sent to all hosts on the interface ─▶ output ─▶ loops back ─▶ ingress, prerouting, input of the interface
//! ```
//!
//! A packet from this machine to itself comes in by `lo`, where rules like `iif lo accept` let everything pass. What is multicast
//! comes back by the interface it left, and of IPv4 the way is that of where it is sent and not of what the header says. Of IPv6 it
//! is that of the header, so there it goes to all nodes: rules by its destination alone don't see it as they would see the real one.
//! With a TTL of 0 it leaves no machine. All hosts are a group that nobody joins, so no switch learns anything.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lb_vrrp::VRRP_PROTOCOL;

use super::{arrives, message, open, scoped};

const ALL_HOSTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Arrival {
    /// It came through.
    Passed,
    /// Rules for what comes in have dropped it.
    Dropped,
    /// Rules for what goes out have: what those for what comes in would do is open.
    NotSent,
}

/// Lets one arrive on `interface`, which has `index`.
pub(super) fn try_from(peer: IpAddr, to: IpAddr, interface: &str, index: u32) -> io::Result<Arrival> {
    let (receiver, sender) = (open(to)?, open(to)?);
    for socket in [&receiver, &sender] {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let message = message();
    let (packet, way) = match (peer, to) {
        (IpAddr::V4(peer), IpAddr::V4(to)) => {
            sender.set_header_included_v4(true)?;
            (ipv4(peer, to, &message), ALL_HOSTS.into())
        }
        (IpAddr::V6(peer), IpAddr::V6(_)) => {
            sender.set_header_included_v6(true)?;
            sender.set_multicast_if_v6(index)?;
            (ipv6(peer, ALL_NODES, &message), ALL_NODES.into())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(io::ErrorKind::InvalidInput.into());
        }
    };
    match sender.send_to(&packet, &scoped(way, index).into()) {
        Ok(_) => Ok(if arrives(&receiver)? { Arrival::Passed } else { Arrival::Dropped }),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Arrival::NotSent),
        Err(error) => Err(error),
    }
}

/// The kernel fills in length, identification and checksum (raw(7)).
fn ipv4(from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    // Version 4 of five words, the class of VRRP (internetwork control), and nothing of fragments or TTL.
    let mut packet = vec![0x45, 0xc0, 0, 0, 0, 0, 0, 0, 0, VRRP_PROTOCOL, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet
}

fn ipv6(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x6c, 0, 0, 0];
    packet.extend(u16::try_from(message.len()).unwrap_or_default().to_be_bytes());
    packet.extend([VRRP_PROTOCOL, 0]);
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(message);
    packet
}
