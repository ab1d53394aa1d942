//! Asks by ARP whether an IPv4 address is there (RFC 826): for what answers no echo. Blocks; the caller has a thread for it.

use std::{collections::BTreeSet, fmt, io, net::Ipv4Addr, os::fd::IntoRawFd, time::Duration};

use pnet::datalink::{Channel, ChannelType, Config, DataLinkReceiver, DataLinkSender, channel};

use super::announce::{known, open_packet_socket};
use crate::{
    Moment,
    arp::{Reply, Request},
};

/// ETH_P_ARP: the socket gets nothing else.
const ARP: u16 = 0x0806;

/// Between two looks at the clock while nothing comes.
const TURN: Duration = Duration::from_millis(20);

/// How long a full queue of the interface may hold us up.
const WRITE_LIMIT: Duration = Duration::from_millis(10);

/// One interface on which is asked. What it needs CAP_NET_RAW for is over once it is open.
pub struct ArpProbe {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    mac: [u8; 6],
}

impl ArpProbe {
    /// # Errors
    /// No right to a packet socket (CAP_NET_RAW), or no such interface.
    pub fn open(name: &str, index: u32, mac: [u8; 6]) -> io::Result<Self> {
        let config = Config {
            // Protocol 0 until it is bound: nothing of other interfaces comes before.
            socket_fd: Some(open_packet_socket()?.into_raw_fd()),
            channel_type: ChannelType::Layer3(ARP),
            promiscuous: false,
            read_timeout: Some(TURN),
            write_timeout: Some(WRITE_LIMIT),
            ..Config::default()
        };
        match channel(&known(name, index, mac), config)? {
            Channel::Ethernet(sender, receiver) => Ok(Self { sender, receiver, mac }),
            _ => Err(io::Error::other("pnet gave no Ethernet channel")),
        }
    }

    /// Whether `target` answers `source`, an address of this interface, within `limit`.
    ///
    /// # Errors
    /// The interface is down or gone.
    pub fn ask(&mut self, source: Ipv4Addr, target: Ipv4Addr, limit: Duration) -> io::Result<bool> {
        self.send(source, target)?;
        let until = Moment::now() + limit;
        Ok(self.reply(target, until)?.is_some())
    }

    /// Every hardware address that answers for `target` within `limit`: more than one where two have it. It is asked from
    /// 0.0.0.0, so nobody learns from it (RFC 5227 §2.1.1). Blocks for `limit`.
    ///
    /// # Errors
    /// As of [`Self::ask`].
    pub fn who_has(&mut self, target: Ipv4Addr, limit: Duration) -> io::Result<BTreeSet<[u8; 6]>> {
        self.send(Ipv4Addr::UNSPECIFIED, target)?;
        let until = Moment::now() + limit;
        let mut all = BTreeSet::new();
        while let Some(reply) = self.reply(target, until)? {
            all.insert(reply.from);
        }
        Ok(all)
    }

    fn send(&mut self, source: Ipv4Addr, target: Ipv4Addr) -> io::Result<()> {
        let request = Request { mac: self.mac, source, target }.encode();
        self.sender.send_to(&request, None).unwrap_or(Err(io::ErrorKind::Unsupported.into()))
    }

    /// The next answer for `target`, if there is one until then.
    fn reply(&mut self, target: Ipv4Addr, until: Moment) -> io::Result<Option<Reply>> {
        while Moment::now() < until {
            match self.receiver.next() {
                Ok(frame) => {
                    let reply = Reply::decode(frame);
                    if let Some(reply) = reply.filter(|reply| reply.address == target && reply.to == self.mac)
                    {
                        return Ok(Some(reply));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for ArpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArpProbe").field("mac", &self.mac).finish_non_exhaustive()
    }
}
