//! The raw protocol-112 socket of one virtual router (IPv4).
//!
//! A raw socket hands over the whole IPv4 packet, so TTL, source and destination come from its header; the interface is
//! the one the socket is bound to. The kernel drops other virtual routers' advertisements, and floods (`filter`).
#![allow(unsafe_code, reason = "tokio asks for a promise about the descriptors that it watches")]

use std::{
    io::{self, IoSlice, Read},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd,
    task::{Context, Poll, ready},
};

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::filter;
use crate::{VRRP_PROTOCOL, Version, Vrid};

/// RFC 9568 §5.1.1.2.
pub(super) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);

/// Internetwork control (RFC 4594): switches that look at it forward it before client traffic.
const TOS: u32 = 0xc0;

/// The highest priority of the interface's queue that needs no capability.
const PRIORITY: u32 = 6;

/// An IPv4 packet is never longer.
pub(super) const PACKET_MAX: usize = 65_535;

#[derive(Debug)]
pub(super) struct AdvertisementSocket {
    socket: AsyncFd<Socket>,
    index: u32,
}

impl AdvertisementSocket {
    /// Needs CAP_NET_RAW.
    pub(super) fn open(interface: &str, index: u32, vrid: Vrid) -> io::Result<Self> {
        let socket = open_on(interface, index, vrid)?;
        socket.set_multicast_loop_v4(false)?;
        socket.set_multicast_ttl_v4(255)?;
        // In this order: the kernel derives a priority from the type of service.
        socket.set_tos_v4(TOS)?;
        socket.set_priority(PRIORITY)?;
        // SAFETY: the socket owns its descriptor, which stays open and the same as long as the socket lives.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket, index })
    }

    /// Lets the kernel drop what can't be right, but for a sample; `None`: hands it all over again. The socket is never
    /// without a filter.
    pub(super) fn filter(&self, vrid: Vrid, strict: Option<Version>) -> io::Result<()> {
        let program = strict.map_or_else(|| filter::by_vrid(vrid), |version| filter::strict(vrid, version));
        self.socket.get_ref().attach_filter(&program)
    }

    /// Sends a VRRP message to the group. `source` is said with the packet and not by bind: a socket bound to an
    /// address receives no multicast.
    pub(super) fn send(&self, source: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        let info = libc::in_pktinfo {
            ipi_ifindex: i32::try_from(self.index).map_err(io::Error::other)?,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let to = SockaddrIn::from(SocketAddrV4::new(GROUP, 0));
        let from = [ControlMessage::Ipv4PacketInfo(&info)];
        let fd = self.socket.get_ref().as_raw_fd();
        sendmsg(fd, &[IoSlice::new(message)], &from, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }

    /// The next packet, IP header included; its length.
    pub(super) fn poll_receive(
        &self,
        context: &mut Context<'_>,
        packet: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            match ready.try_io(|socket| socket.get_ref().read(packet)) {
                Ok(received) => return Poll::Ready(received),
                Err(_would_block) => {}
            }
        }
    }
}

/// Whether this process may open the sockets that it needs: the one for advertisements and the one for announcements.
pub(super) fn probe() -> io::Result<()> {
    open_raw()?;
    super::announce::open_packet_socket()?;
    Ok(())
}

/// A socket that hears the advertisements for `vrid` on an interface.
pub(super) fn open_on(interface: &str, index: u32, vrid: Vrid) -> io::Result<Socket> {
    let socket = open_raw()?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.attach_filter(&filter::by_vrid(vrid))?;
    // What came before the filter was in place is not to be looked at.
    let mut stray = [0; 64];
    while (&socket).read(&mut stray).is_ok() {}
    socket.join_multicast_v4_n(&GROUP, &InterfaceIndexOrAddress::Index(index))?;
    Ok(socket)
}

fn open_raw() -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(VRRP_PROTOCOL));
    Socket::new(Domain::IPV4, Type::RAW.nonblocking().cloexec(), Some(protocol))
}
