//! The raw protocol-112 socket of one virtual router.
//!
//! Over IPv4 a raw socket hands over the whole packet, so TTL, source and destination come from its header. Over IPv6 it
//! hands over the message, and hop limit and destination beside it. The interface is the one the socket is bound to. The
//! kernel drops other virtual routers' advertisements, and floods (`filter`).
#![allow(unsafe_code, reason = "tokio asks for a promise about the descriptors that it watches")]

use std::{
    io::{self, IoSlice, IoSliceMut, Read},
    net::{IpAddr, Ipv6Addr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    task::{Context, Poll, ready},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recvmsg, sendmsg, setsockopt,
        sockopt::{Ipv6RecvHopLimit, Ipv6RecvPacketInfo},
    },
};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::filter;
use crate::{
    Family, MemberConfig, Moment, VRRP_PROTOCOL, Vrid,
    advertisement::{DecodeError, Envelope, unwrap_ipv4},
    transport::{GROUP, GROUP_IPV6},
};

/// Internetwork control (RFC 4594): switches that look at it forward it before client traffic.
const TOS: u32 = 0xc0;

/// The highest priority of the interface's queue that needs no capability.
const PRIORITY: u32 = 6;

/// An IP packet is never longer, nor is what is in it.
pub(super) const PACKET_MAX: usize = 65_535;

#[derive(Debug)]
pub(super) struct AdvertisementSocket {
    socket: AsyncFd<Socket>,
    index: u32,
    family: Family,
}

/// What came into a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    length: usize,
    /// Of IPv6; that of IPv4 is in the buffer.
    envelope: Option<Envelope>,
}

impl Received {
    /// Splits the content of the buffer into its envelope and the VRRP message.
    ///
    /// # Errors
    /// As [`unwrap_ipv4`].
    pub(super) fn unwrap<'p>(&self, packet: &'p [u8]) -> Result<(Envelope, &'p [u8]), DecodeError> {
        let octets = packet.get(..self.length).unwrap_or_default();
        self.envelope.map_or_else(|| unwrap_ipv4(octets), |envelope| Ok((envelope, octets)))
    }

    /// Who sent it, if that can be told.
    pub(super) fn source(&self, packet: &[u8]) -> Option<IpAddr> {
        let ipv4 =
            || packet.get(..self.length)?.get(12..16).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
        self.envelope.map(|envelope| envelope.source).or_else(|| ipv4().map(IpAddr::from))
    }
}

impl AdvertisementSocket {
    /// Needs CAP_NET_RAW.
    pub(super) fn open(interface: &str, index: u32, config: &MemberConfig) -> io::Result<Self> {
        let family = config.family();
        let socket = open_on(interface, (config.vrid, family))?;
        match join(&socket, index, family) {
            // Where no multicast passes, nobody sends any.
            Err(_) if config.transport.unicast().is_some() => {}
            joined => joined?,
        }
        match family {
            Family::Ipv4 => {
                socket.set_multicast_loop_v4(false)?;
                socket.set_multicast_ttl_v4(255)?;
                socket.set_ttl_v4(255)?;
                socket.set_tos_v4(TOS)?;
            }
            Family::Ipv6 => {
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_hops_v6(255)?;
                socket.set_unicast_hops_v6(255)?;
                socket.set_tclass_v6(TOS)?;
            }
        }
        // After the type of service, from which the kernel derives a priority.
        socket.set_priority(PRIORITY)?;
        // SAFETY: the socket owns its descriptor, which stays open and the same as long as the socket lives.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket, index, family })
    }

    /// Lets the kernel drop what can't be right, but for a sample; `None`: hands it all over again. The socket is never
    /// without a filter.
    pub(super) fn filter(&self, config: &MemberConfig, strictly: bool) -> io::Result<()> {
        let program =
            if strictly { filter::strict(config) } else { filter::by_vrid((config.vrid, self.family)) };
        self.socket.get_ref().attach_filter(&program)
    }

    /// Sends a VRRP message. `source` is said with the packet and not by bind: a socket bound to an address receives no
    /// multicast.
    pub(super) fn send(&self, source: IpAddr, destination: IpAddr, message: &[u8]) -> io::Result<()> {
        let fd = self.socket.get_ref().as_raw_fd();
        let parts = [IoSlice::new(message)];
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: i32::try_from(self.index).map_err(io::Error::other)?,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let to = SockaddrIn::from(SocketAddrV4::new(destination, 0));
                let from = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(fd, &parts, &from, MsgFlags::MSG_DONTWAIT, Some(&to))?;
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.index,
                };
                let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, self.index));
                let from = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(fd, &parts, &from, MsgFlags::MSG_DONTWAIT, Some(&to))?;
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        Ok(())
    }

    /// The next packet.
    pub(super) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        packet: &mut [u8],
    ) -> Poll<io::Result<Received>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            match ready.try_io(|socket| receive(socket.get_ref(), self.family, packet)) {
                Ok(received) => return Poll::Ready(received),
                Err(_would_block) => {}
            }
        }
    }
}

/// Reads a packet from a socket of [`open_on`].
pub(super) fn receive(mut socket: &Socket, family: Family, packet: &mut [u8]) -> io::Result<Received> {
    match family {
        Family::Ipv4 => Ok(Received { length: socket.read(packet)?, envelope: None }),
        Family::Ipv6 => {
            let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
            let mut parts = [IoSliceMut::new(packet)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
            let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
            // What is not said is wrong.
            let (mut destination, mut ttl) = (Ipv6Addr::UNSPECIFIED, 0);
            for said in message.cmsgs()? {
                match said {
                    ControlMessageOwned::Ipv6PacketInfo(info) => destination = info.ipi6_addr.s6_addr.into(),
                    ControlMessageOwned::Ipv6HopLimit(limit) => ttl = u8::try_from(limit).unwrap_or_default(),
                    _ => {}
                }
            }
            let envelope = Envelope { source: source.into(), destination: destination.into(), ttl };
            Ok(Received { length: message.bytes, envelope: Some(envelope) })
        }
    }
}

/// Whether this process may open the sockets that it needs: the one for advertisements and the one for announcements.
///
/// The latter is to be kept as long as there are groups: closing a packet socket waits until each processor has left what it was
/// receiving (`synchronize_net`), 6 to 20 ms, which is all that a speaker in place of a dead one has at 10 ms.
pub(super) fn probe() -> io::Result<OwnedFd> {
    open_raw(Family::Ipv4)?;
    super::announce::open_packet_socket()
}

/// A socket that hears the advertisements for a virtual router on an interface: those to this machine, and after [`join`]
/// those to the group.
pub(super) fn open_on(interface: &str, router: (Vrid, Family)) -> io::Result<Socket> {
    let (_, family) = router;
    let socket = open_raw(family)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.attach_filter(&filter::by_vrid(router))?;
    if family == Family::Ipv6 {
        setsockopt(&socket, Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, Ipv6RecvPacketInfo, &true)?;
    }
    // What came before the filter was in place is not to be looked at.
    let mut stray = [0; 64];
    while (&socket).read(&mut stray).is_ok() {}
    Ok(socket)
}

pub(super) fn join(socket: &Socket, index: u32, family: Family) -> io::Result<()> {
    match family {
        Family::Ipv4 => socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index)),
        Family::Ipv6 => socket.join_multicast_v6(&GROUP_IPV6, index),
    }
}

/// Blocks until there is something to read from a socket: true; or until a moment has come: false.
pub(super) fn wait_readable(socket: &impl AsFd, until: Moment) -> io::Result<bool> {
    loop {
        let left = until.saturating_since(Moment::now());
        if left.is_zero() {
            return Ok(false);
        }
        // Rounded up, so that the rest of a millisecond is not spun away.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

fn open_raw(family: Family) -> io::Result<Socket> {
    let domain = match family {
        Family::Ipv4 => Domain::IPV4,
        Family::Ipv6 => Domain::IPV6,
    };
    let protocol = Protocol::from(i32::from(VRRP_PROTOCOL));
    Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))
}
