//! Asks an address of the own network by ARP (RFC 826), or by a neighbour solicitation (RFC 4861 §7.2.2): who filters echo
//! requests has to answer these.
//!
//! Sockets for that need CAP_NET_RAW, which the launcher has. It opens them, and they are used here.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as StdSocket},
    time::Duration,
};

use lb_vrrp::{
    io::ArpProbe,
    ndp::{Reply, Solicitation},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, task::spawn_blocking, time::timeout};

use super::{Outcome, echo::in_words};
use crate::{
    config::{
        model::{Pace, Target},
        text::write_duration,
    },
    interfaces::{hardware_address, local_addresses},
    privileges::{Launcher, Purpose},
};

/// Whoever comes from another link has less, so it is dropped (RFC 4861 §7.1.1).
const HOP_LIMIT: u32 = 255;

/// Longer than any advertisement that is sent.
const LONGEST: usize = 1500;

/// One address that is asked again and again.
#[derive(Debug)]
pub(super) struct Neighbour {
    target: Target,
    pace: Pace,
    launcher: Launcher,
    /// Opened anew after an error, and where the interface is another one.
    open: Option<(Place, Open)>,
}

/// From where it is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Place {
    interface: String,
    index: u32,
    mac: [u8; 6],
    /// An address of the interface.
    source: IpAddr,
}

#[derive(Debug)]
enum Open {
    Arp(ArpProbe),
    /// Datagrams of another protocol, which the runtime need not know.
    Solicitations(UdpSocket),
}

impl Neighbour {
    pub(super) fn new(target: Target, pace: Pace, launcher: Launcher) -> Self {
        Self { target, pace, launcher, open: None }
    }

    pub(super) fn interval(&self) -> Duration {
        self.pace.interval
    }

    pub(super) async fn ask(&mut self) -> Outcome {
        let place = match self.place() {
            Ok(place) => place,
            Err(why) => return Outcome::Failed(why),
        };
        let open = match self.open.take().filter(|(at, _)| *at == place) {
            Some((_, open)) => open,
            None => match self.open(&place) {
                Ok(open) => open,
                Err(refused) => {
                    return Outcome::Unknown(format!(
                        "no right to ask by ARP ({}): start lbctl with CAP_NET_RAW",
                        in_words(&refused)
                    ));
                }
            },
        };
        let limit = self.pace.timeout;
        let answered = match (open, self.target.address, place.source) {
            (Open::Arp(mut probe), IpAddr::V4(target), IpAddr::V4(source)) => {
                // It blocks for as long as nobody answers.
                let asked = spawn_blocking(move || (probe.ask(source, target, limit), probe)).await;
                asked
                    .map_err(io::Error::other)
                    .and_then(|(answered, probe)| Ok((answered?, Open::Arp(probe))))
            }
            (Open::Solicitations(socket), IpAddr::V6(target), _) => {
                let answered = timeout(limit, solicit(&socket, &place, target)).await;
                match answered {
                    Ok(Ok(())) => Ok((true, Open::Solicitations(socket))),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Ok((false, Open::Solicitations(socket))),
                }
            }
            // Source and target are of one family.
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        let shown = format!("{} on {}", self.target.address, place.interface);
        match answered {
            Ok((is_there, open)) => {
                self.open = Some((place, open));
                match is_there {
                    true => Outcome::Passed,
                    false => {
                        Outcome::Failed(format!("{shown} does not answer within {}", write_duration(limit)))
                    }
                }
            }
            Err(error) => Outcome::Failed(format!("{shown}: {}", in_words(&error))),
        }
    }

    /// The interface on whose network it is: such questions go no further.
    fn place(&self) -> Result<Place, String> {
        let target = self.target.address;
        let all = local_addresses();
        let found = all.iter().find(|own| {
            let on_it = self.target.interface.as_ref().map(|interface| *interface == own.interface);
            let in_it = own.network.is_some_and(|network| network.contains(target));
            !own.loopback && own.address.is_ipv4() == target.is_ipv4() && on_it.unwrap_or(in_it)
        });
        let found = found.ok_or_else(|| match &self.target.interface {
            Some(interface) => format!("interface {interface} is not there, or has no address"),
            None => format!("{target} is in the network of no interface, and ARP reaches those alone"),
        })?;
        let interface = found.interface.clone();
        let gone = || format!("interface {interface} is not there");
        let index = nix::net::if_::if_nametoindex(interface.as_str()).map_err(|_| gone())?;
        let mac = hardware_address(&interface)
            .ok_or_else(|| format!("interface {interface} has no hardware address"))?;
        Ok(Place { index, mac, source: found.address, interface })
    }

    fn open(&self, place: &Place) -> io::Result<Open> {
        let Place { interface, index, mac, .. } = place.clone();
        if self.target.address.is_ipv4() {
            let open = move || ArpProbe::open(&interface, index, mac);
            return Ok(Open::Arp(self.launcher.run(Purpose::Here, open)??));
        }
        let open = move || Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6));
        let socket = self.launcher.run(Purpose::Here, open)??;
        socket.set_nonblocking(true)?;
        socket.set_multicast_hops_v6(HOP_LIMIT)?;
        socket.set_multicast_if_v6(index)?;
        Ok(Open::Solicitations(UdpSocket::from_std(StdSocket::from(socket))?))
    }
}

async fn solicit(socket: &UdpSocket, place: &Place, target: Ipv6Addr) -> io::Result<()> {
    let question = Solicitation { mac: place.mac, target };
    let to = SocketAddrV6::new(question.destination(), 0, 0, place.index);
    socket.send_to(&question.encode(), SocketAddr::V6(to)).await?;
    let mut message = [0; LONGEST];
    loop {
        let length = socket.recv(&mut message).await?;
        let reply = Reply::decode(message.get(..length).unwrap_or_default());
        if reply.is_some_and(|reply| reply.address == target) {
            return Ok(());
        }
    }
}
