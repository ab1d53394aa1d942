//! Asks once who has an address: ARP (RFC 5227 §2.1.1) and neighbour solicitation (RFC 4861 §4.3), without having it and without
//! changing what anybody remembers.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    net::{IpAddr, Ipv6Addr, SocketAddrV6},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{arp_probe::ArpProbe, socket::wait_readable};
use crate::{
    Moment,
    ndp::{Reply, Solicitation},
};

/// Whoever comes from another link has less, so everybody drops it (RFC 4861 §7.1.1).
const HOP_LIMIT: u32 = 255;

/// Every hardware address that answers for `address` on an interface, which has the hardware address `mac`, within `limit`. Blocks
/// for as long.
///
/// # Errors
/// No right to such sockets (CAP_NET_RAW), or no such interface.
pub fn ask(
    interface: &str,
    index: u32,
    mac: [u8; 6],
    address: IpAddr,
    limit: Duration,
) -> io::Result<BTreeSet<[u8; 6]>> {
    match address {
        IpAddr::V4(address) => ArpProbe::open(interface, index, mac)?.who_has(address, limit),
        IpAddr::V6(target) => solicit(interface, index, Solicitation { mac, target }, limit),
    }
}

fn solicit(
    interface: &str,
    index: u32,
    question: Solicitation,
    limit: Duration,
) -> io::Result<BTreeSet<[u8; 6]>> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_multicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_nonblocking(true)?;
    let group: Ipv6Addr = question.destination();
    socket.send_to(&question.encode(), &SockAddr::from(SocketAddrV6::new(group, 0, 0, index)))?;
    let until = Moment::now() + limit;
    let mut all = BTreeSet::new();
    while wait_readable(&socket, until)? {
        let mut space = [0; 256];
        let Ok(length) = (&socket).read(&mut space) else { continue };
        let reply = Reply::decode(&space[..length]).filter(|reply| reply.address == question.target);
        all.extend(reply.and_then(|reply| reply.from).filter(|from| *from != question.mac));
    }
    Ok(all)
}
