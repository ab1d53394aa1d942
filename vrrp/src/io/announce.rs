//! Announcements: gratuitous ARP and unsolicited neighbour advertisements through pnet, on a packet socket that receives nothing.
//!
//! pnet's own socket would receive every frame of the interface, promiscuously, and survive an exec; so it gets ours.
//! It is opened when the interface appears and kept, because opening one takes up to 28 ms.

use std::{
    fmt, io,
    net::IpAddr,
    os::fd::{IntoRawFd, OwnedFd},
    time::Duration,
};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use pnet::datalink::{Channel, ChannelType, Config, DataLinkSender, MacAddr, NetworkInterface, channel};

use crate::{arp::GratuitousArp, ndp::UnsolicitedAdvertisement};

/// Protocol 0: the kernel delivers nothing to the socket.
const RECEIVE_NOTHING: u16 = 0;

/// How long a full queue of the interface may hold us up.
const WRITE_LIMIT: Duration = Duration::from_millis(10);

/// Announces addresses on one interface.
pub(super) struct Announcer {
    sender: Box<dyn DataLinkSender>,
    mac: [u8; 6],
}

impl Announcer {
    /// Needs CAP_NET_RAW.
    pub(super) fn open(name: &str, index: u32, mac: [u8; 6]) -> io::Result<Self> {
        let interface = known(name, index, mac);
        let config = Config {
            // pnet owns it from here on, and closes it on failure as well.
            socket_fd: Some(open_packet_socket()?.into_raw_fd()),
            channel_type: ChannelType::Layer3(RECEIVE_NOTHING),
            promiscuous: false,
            write_timeout: Some(WRITE_LIMIT),
            ..Config::default()
        };
        match channel(&interface, config)? {
            Channel::Ethernet(sender, _receiver) => Ok(Self { sender, mac }),
            _ => Err(io::Error::other("pnet gave no Ethernet channel")),
        }
    }

    /// The hardware address that is announced.
    pub(super) fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Sends one announcement; `router` is whether the interface forwards IPv6.
    pub(super) fn announce(&mut self, address: IpAddr, router: bool) -> io::Result<()> {
        let mac = self.mac;
        let frame = match address {
            IpAddr::V4(address) => GratuitousArp { mac, address }.encode(),
            IpAddr::V6(address) => UnsolicitedAdvertisement { mac, address, router }.encode(),
        };
        self.sender.send_to(&frame, None).unwrap_or(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer").field("mac", &self.mac).finish_non_exhaustive()
    }
}

/// What pnet wants to know of an interface.
pub(super) fn known(name: &str, index: u32, mac: [u8; 6]) -> NetworkInterface {
    let [a, b, c, d, e, f] = mac;
    NetworkInterface {
        name: name.to_owned(),
        description: String::new(),
        index,
        mac: Some(MacAddr(a, b, c, d, e, f)),
        ips: Vec::new(),
        flags: 0,
    }
}

pub(super) fn open_packet_socket() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?)
}
