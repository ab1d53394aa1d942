//! Do advertisements pass the filters of this machine?
//!
//! A multicast packet comes back to the machine that sends it, through the same rules as those of others. With a time to live of 0
//! it goes nowhere else. By unicast it goes to the other nodes, and what they would send is made to [arrive](arrival) on the
//! interface. Its vrid is 0, which nobody has.

mod arrival;
mod chains;
mod rules;

use std::{
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    time::{Duration, Instant},
};

use lb_vrrp::{Family, VRRP_PROTOCOL};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use self::{arrival::Arrival, rules::Rules};
use super::{Findings, Scene};

const CHECK: &str = "firewall";

const GROUP_IPV4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_IPV6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// A packet comes back at once, or never.
const LIMIT: Duration = Duration::from_millis(300);

/// What is tried on an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// To the group and back.
    Group(Family),
    /// From another node to this one.
    In { peer: IpAddr, own: IpAddr },
    /// To another node, which takes no notice.
    Out(IpAddr),
}

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Open,
    Shut,
    /// Rules on the other hook, or by what the packet has not, leave it open: for this reason.
    Unknown(&'static str),
}

pub(super) fn look(scene: &Scene<'_>, findings: &mut Findings) {
    let (mut seen, rules) = (Vec::new(), Rules::default());
    for (_, member, interface, index) in scene.members() {
        let ways = match member.transport.unicast() {
            None => vec![Way::Group(member.family())],
            Some(unicast) => {
                let peers = unicast.peers.iter();
                peers.flat_map(|&peer| [Way::In { peer, own: unicast.source }, Way::Out(peer)]).collect()
            }
        };
        for way in ways {
            if seen.contains(&(interface, way)) {
                continue;
            }
            seen.push((interface, way));
            match way.verdict((interface, index), scene, &rules).map(|verdict| way.weigh(verdict, &rules)) {
                Ok(Verdict::Open) => {}
                Ok(Verdict::Shut) => findings.fatal(CHECK, way.is_shut(interface, &rules)),
                Ok(Verdict::Unknown(why)) => findings.note(format!(
                    "{interface}: whether protocol {VRRP_PROTOCOL} {} passes the filters of this machine can't be told: {why}. Ask where it \
                     arrives, while lbctl runs on the other node and holds the addresses: tcpdump -ni {interface} proto {VRRP_PROTOCOL} \
                     shows what comes, and lbctl status whether it is heard",
                    way.course()
                )),
                Err(error) => findings.note(format!(
                    "whether advertisements pass the filters on {interface} could not be tried: {error}"
                )),
            }
        }
    }
}

impl Way {
    fn verdict(
        self,
        (interface, index): (&str, u32),
        scene: &Scene<'_>,
        rules: &Rules,
    ) -> io::Result<Verdict> {
        let of = |is_open| if is_open { Verdict::Open } else { Verdict::Shut };
        match self {
            Self::Group(family) => Ok(of(comes_back(interface, index, family, scene)?)),
            Self::In { peer, own } => Ok(match arrival::try_from(peer, own, interface, index)? {
                Arrival::Passed => Verdict::Open,
                Arrival::Dropped if own.is_ipv6() && rules.names_destinations() => Verdict::Unknown(
                    "rules here go by the destination, and of IPv6 none can be tried that is this node alone",
                ),
                Arrival::Dropped => Verdict::Shut,
                Arrival::NotSent => Verdict::Unknown(
                    "to be tried it has to leave this machine first, and rules for what goes out drop it",
                ),
            }),
            Self::Out(peer) => {
                let sender = open(peer)?;
                sender.bind_device(Some(interface.as_bytes()))?;
                match peer {
                    IpAddr::V4(_) => sender.set_ttl_v4(1)?,
                    IpAddr::V6(_) => sender.set_unicast_hops_v6(1)?,
                }
                Ok(of(sends(&sender, scoped(peer, index))?))
            }
        }
    }

    /// What is tried has another time to live than a real one, and may arrive otherwise: where rules go by that, a drop says nothing.
    fn weigh(self, verdict: Verdict, rules: &Rules) -> Verdict {
        let is_ipv4 = match self {
            Self::Group(family) => family == Family::Ipv4,
            Self::In { own: address, .. } | Self::Out(address) => address.is_ipv4(),
        };
        let why = (verdict == Verdict::Shut)
            .then(|| rules.blind_spot(is_ipv4, matches!(self, Self::In { .. })))
            .flatten();
        why.map_or(verdict, Verdict::Unknown)
    }

    /// From where to where.
    fn course(self) -> String {
        match self {
            Self::Group(Family::Ipv4) => format!("to {GROUP_IPV4}"),
            Self::Group(Family::Ipv6) => format!("to {GROUP_IPV6}"),
            Self::In { peer, own } => format!("from {peer} to {own}"),
            Self::Out(peer) => format!("to {peer}"),
        }
    }

    fn is_shut(self, interface: &str, rules: &Rules) -> String {
        let (to, hook, way, what, also) = match self {
            Self::Group(Family::Ipv4) => {
                (IpAddr::V4(GROUP_IPV4), "input", "in and out", "ip daddr 224.0.0.18 ", true)
            }
            Self::Group(Family::Ipv6) => {
                (IpAddr::V6(GROUP_IPV6), "input", "in and out", "ip6 daddr ff02::12 ", true)
            }
            Self::In { own, .. } => (own, "input", "in", "", false),
            Self::Out(peer) => (peer, "output", "out", "", false),
        };
        let tables = if to.is_ipv4() { "iptables" } else { "ip6tables" };
        let chain = hook.to_uppercase();
        let [nft, ip] = if also { [" (output likewise)", " (OUTPUT likewise)"] } else { [""; 2] };
        format!(
            "{interface}: protocol {VRRP_PROTOCOL} {} is dropped on this machine{}: each node would take the addresses. Let it {way}: nft \
             insert rule inet filter {hook} {what}meta l4proto {VRRP_PROTOCOL} accept{nft}, or {tables} -I {chain} -p {VRRP_PROTOCOL} -j ACCEPT{ip}",
            self.course(),
            rules.culprits(to.is_ipv4()),
        )
    }
}

fn comes_back(interface: &str, index: u32, family: Family, scene: &Scene<'_>) -> io::Result<bool> {
    let group = if family == Family::Ipv4 { GROUP_IPV4.into() } else { GROUP_IPV6.into() };
    let (receiver, sender) = (open(group)?, open(group)?);
    for socket in [&receiver, &sender] {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    match family {
        Family::Ipv4 => {
            receiver.join_multicast_v4_n(&GROUP_IPV4, &InterfaceIndexOrAddress::Index(index))?;
            let own = scene.local.iter().find(|one| one.interface == interface && one.address.is_ipv4());
            if let Some(IpAddr::V4(own)) = own.map(|one| one.address) {
                sender.set_multicast_if_v4(&own)?;
            }
            sender.set_multicast_ttl_v4(0)?;
        }
        Family::Ipv6 => {
            receiver.join_multicast_v6(&GROUP_IPV6, index)?;
            sender.set_multicast_if_v6(index)?;
            sender.set_multicast_hops_v6(0)?;
        }
    }
    if !sends(&sender, scoped(group, index))? {
        return Ok(false);
    }
    if arrives(&receiver)? {
        return Ok(true);
    }
    // What comes from this machine may be dropped where what comes from the other nodes may pass.
    for peer in scene.others().filter(|peer| peer.is_ipv4() && family == Family::Ipv4) {
        if arrival::try_from(peer, group, interface, index)? == Arrival::Passed {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Of the family of `of`.
fn open(of: IpAddr) -> io::Result<Socket> {
    let domain = if of.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(VRRP_PROTOCOL))))
}

fn scoped(address: IpAddr, index: u32) -> SocketAddr {
    match address {
        IpAddr::V4(address) => (address, 0).into(),
        IpAddr::V6(address) => SocketAddrV6::new(address, 0, 0, index).into(),
    }
}

/// What nobody else sends: its vrid is 0.
fn message() -> Vec<u8> {
    let mut message = vec![0x31, 0, 0, 0, 0, 0, 0, 0];
    message.extend(std::process::id().to_be_bytes());
    message
}

/// False: rules at output drop it.
fn sends(sender: &Socket, to: SocketAddr) -> io::Result<bool> {
    match sender.send_to(&message(), &to.into()) {
        Ok(_) => Ok(true),
        // That is how they say it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

fn arrives(receiver: &Socket) -> io::Result<bool> {
    receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (until, message) = (Instant::now() + LIMIT, message());
    let mut receiver = receiver;
    let mut packet = [0; 256];
    while Instant::now() < until {
        if let Ok(length) = receiver.read(&mut packet)
            && packet[..length].ends_with(&message)
        {
            return Ok(true);
        }
    }
    Ok(false)
}
