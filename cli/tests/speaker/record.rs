//! What the wire and the kernels of both nodes said, in one order.

use std::{
    io::{ErrorKind, Read},
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use lb_vrrp::{
    AdvertisementInterval, Transport, Version, Vrid,
    advertisement::{Expected, decode, unwrap_ipv4},
    arp::{FRAME, GratuitousArp},
};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{RouteNetlinkMessage, address::AddressAttribute};
use netlink_sys::{Socket as Netlink, SocketAddr, protocols::NETLINK_ROUTE};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::net::{Node, VIP, wait_for};

/// RTMGRP_IPV4_IFADDR.
const IPV4_ADDRESSES: u32 = 0x10;

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    /// The virtual address came to the node.
    Added(&'static str),
    /// It went.
    Removed(&'static str),
    /// An advertisement: the last octet of its source, and its priority.
    Advertised(u8, u8),
    /// A gratuitous ARP for the virtual address, with this hardware address.
    Announced([u8; 6]),
}

pub(crate) struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Records a move from `giver` to `taker`. Of what happens within the few microseconds of one look, what the giver
    /// does counts as earlier than the wire, and the wire as earlier than the taker: cause before effect.
    pub(crate) fn start(giver: &Node, taker: Option<&Node>) -> Self {
        let mut kernels: Vec<_> = [Some(giver), taker].into_iter().flatten().map(Kernel::of).collect();
        let (wire, ether) = (wire(), ether());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let end = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (seen, end) = (Arc::clone(&seen), Arc::clone(&end));
            move || {
                while !end.load(Ordering::Relaxed) {
                    let mut fds = vec![PollFd::new(wire.as_fd(), PollFlags::POLLIN)];
                    fds.push(PollFd::new(ether.as_fd(), PollFlags::POLLIN));
                    fds.extend(kernels.iter().map(|kernel| PollFd::new(kernel.fd(), PollFlags::POLLIN)));
                    poll(&mut fds, PollTimeout::from(50_u8)).unwrap();
                    drop(fds);
                    // Read from the effect to the cause, so that no effect is seen without its cause.
                    let taken = kernels.get_mut(1).map(Kernel::read).unwrap_or_default();
                    let announced = announcements(&ether);
                    let heard = hear(&wire).into_iter().chain(announced);
                    let given = kernels.first_mut().map(Kernel::read).unwrap_or_default();
                    seen.lock().unwrap().extend(given.into_iter().chain(heard).chain(taken));
                }
            }
        });
        Self { seen, end, thread: Some(thread) }
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Forgets everything so far.
    pub(crate) fn clear(&self) {
        self.seen.lock().unwrap().clear();
    }

    pub(crate) fn wait_for(&self, wanted: &Seen) {
        wait_for(&format!("{wanted:?}"), || self.all().contains(wanted).then_some(()));
    }

    /// Index of the first `wanted`, which has to be there.
    pub(crate) fn position(&self, wanted: &Seen) -> usize {
        let all = self.all();
        all.iter().position(|seen| seen == wanted).unwrap_or_else(|| panic!("no {wanted:?} in {all:?}"))
    }

    pub(crate) fn count(&self, wanted: &Seen) -> usize {
        self.all().iter().filter(|seen| *seen == wanted).count()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- record\n{:?}", self.all());
        }
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The address events of one node.
struct Kernel {
    node: &'static str,
    socket: Netlink,
    present: bool,
}

impl Kernel {
    fn of(node: &Node) -> Self {
        let socket = node.inside(|| {
            let mut socket = Netlink::new(NETLINK_ROUTE).unwrap();
            socket.bind(&SocketAddr::new(0, IPV4_ADDRESSES)).unwrap();
            socket.set_non_blocking(true).unwrap();
            socket
        });
        Self { node: node.name, socket, present: node.has_vip() }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn read(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Ok((bytes, _)) = self.socket.recv_from_full() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap();
            let (there, address) = match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => (true, address),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => (false, address),
                _ => continue,
            };
            let vip: IpAddr = VIP.parse().unwrap();
            // A refreshed lease is told in the same way as a new address.
            if !address.attributes.contains(&AddressAttribute::Local(vip)) || there == self.present {
                continue;
            }
            self.present = there;
            seen.push(if there { Seen::Added(self.node) } else { Seen::Removed(self.node) });
        }
        seen
    }
}

/// A listener on the bridge.
fn wire() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    let index = nix::net::if_::if_nametoindex("br0").unwrap();
    let group = Ipv4Addr::new(224, 0, 0, 18);
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Every ARP frame on the bridge.
fn ether() -> Socket {
    const ETH_P_ARP: u16 = 0x0806;
    let protocol = Protocol::from(i32::from(ETH_P_ARP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn announcements(ether: &Socket) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut frame = [0; 1500];
    while let Ok(length) = { ether }.read(&mut frame) {
        // The socket sees each frame on the port and on the bridge.
        let Some(arp) = GratuitousArp::decode(frame.get(..length.min(FRAME)).unwrap()) else { continue };
        if arp.address.to_string() == VIP {
            seen.push(Seen::Announced(arp.mac));
        }
    }
    seen
}

fn hear(wire: &Socket) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut packet = [0; 1500];
    loop {
        let length = match { wire }.read(&mut packet) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return seen,
            Err(error) => panic!("fd {}: {error}", wire.as_raw_fd()),
        };
        let (envelope, message) = unwrap_ipv4(&packet[..length]).unwrap();
        // Also checks what is sent: TTL 255, checksum, length.
        let interval = AdvertisementInterval::new(Version::V3, std::time::Duration::from_millis(100));
        let expected = Expected {
            vrid: Vrid::new(51).unwrap(),
            version: Version::V3,
            interval: interval.unwrap(),
            transport: &Transport::Multicast,
            password: None,
        };
        let Ok(decoded) = decode(message, &envelope, &[expected]) else { continue };
        let IpAddr::V4(source) = envelope.source else { continue };
        seen.push(Seen::Advertised(source.octets()[3], decoded.advertisement.priority));
    }
}
