//! Who had which address when: every change of an address or a carrier in every node, in the order in which the kernel
//! made them.
//!
//! One netlink socket hears all namespaces of the lab (NETLINK_LISTEN_ALL_NSID). The kernel puts the events of all nodes
//! into its one queue, so their order is that of the changes even where two are a microsecond apart; with a socket per
//! node it would be that of the readers. Indices of interfaces are unique in the lab and tell whose event it is.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_vrrp::Moment;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::LinkFlags,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use serde::{Deserialize, Serialize};

use super::{clock, topology::MEMBERS};

/// What changed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The interface has this address now, and had it not before.
    AddressAdded(IpAddr),
    /// The interface has lost this address.
    AddressRemoved(IpAddr),
    /// The cable is plugged in.
    CarrierUp,
    /// The cable is pulled.
    CarrierDown,
}

/// A line of the record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// When it was read from the kernel: at most a scheduling delay after it happened.
    pub at: Moment,
    /// In which node.
    pub node: String,
    /// On which interface.
    pub interface: String,
    /// What.
    pub change: Change,
}

impl Event {
    /// Is it a change of this address?
    #[must_use]
    pub fn is_about(&self, address: IpAddr) -> bool {
        matches!(self.change, Change::AddressAdded(found) | Change::AddressRemoved(found) if found == address)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_nanos(self.at.as_nanos()).as_secs_f64();
        let (node, interface) = (&self.node, &self.interface);
        match self.change {
            Change::AddressAdded(address) => write!(f, "{seconds:.6} {node} {interface} + {address}"),
            Change::AddressRemoved(address) => write!(f, "{seconds:.6} {node} {interface} - {address}"),
            Change::CarrierUp => write!(f, "{seconds:.6} {node} {interface} carrier up"),
            Change::CarrierDown => write!(f, "{seconds:.6} {node} {interface} carrier down"),
        }
    }
}

#[derive(Default)]
struct Pages {
    events: Vec<Event>,
    /// By index of the interface.
    addresses: BTreeSet<(u32, IpAddr)>,
    carriers: BTreeSet<u32>,
    overruns: u64,
}

/// The record as the init keeps it.
pub(crate) struct Record {
    pages: Mutex<Pages>,
    changed: Condvar,
    interfaces: HashMap<u32, (&'static str, &'static str)>,
}

// linux/rtnetlink.h
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;

impl Record {
    /// Starts to listen. To be called on a thread in the switch's namespace, before the nodes have cables.
    pub(crate) fn start() -> anyhow::Result<Arc<Self>> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.set_listen_all_namespaces(true).context("the kernel can't listen to all namespaces")?;
        let _ = socket.set_rx_buf_sz(1 << 20);
        for group in [RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR] {
            socket.add_membership(group)?;
        }
        let interfaces = MEMBERS
            .iter()
            .flat_map(|member| member.ports.iter().map(|port| (member.name, port)))
            .map(|(name, port)| (port.node_index(), (name, port.network.interface())))
            .collect();
        let record = Arc::new(Self { pages: Mutex::default(), changed: Condvar::new(), interfaces });
        let writer = Arc::clone(&record);
        thread::Builder::new().name("record".to_owned()).spawn(move || writer.write(&socket))?;
        Ok(record)
    }

    /// Waits until every node's own addresses were seen: proof that the record hears every node.
    pub(crate) fn wait_for_everyone(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut pages = self.pages();
        loop {
            let deaf = MEMBERS.iter().find(|member| {
                member
                    .ports
                    .iter()
                    .any(|port| !pages.addresses.contains(&(port.node_index(), IpAddr::V4(port.address))))
            });
            let Some(deaf) = deaf else { return Ok(()) };
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                bail!("the record of addresses does not hear {}", deaf.name);
            };
            pages = self.changed.wait_timeout(pages, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nodes that have `address` now.
    pub(crate) fn holders(&self, address: IpAddr) -> Vec<String> {
        let pages = self.pages();
        let holding = |index: &u32| pages.addresses.contains(&(*index, address));
        let mut names: Vec<String> = self
            .interfaces
            .iter()
            .filter(|(index, _)| holding(index))
            .map(|(_, (node, _))| (*node).to_owned())
            .collect();
        names.sort();
        names
    }

    /// When the last change of `address` was seen.
    pub(crate) fn last_change(&self, address: IpAddr) -> Option<Moment> {
        let pages = self.pages();
        pages.events.iter().rev().find(|event| event.is_about(address)).map(|event| event.at)
    }

    /// Events from number `from` on, and how often the kernel had to drop some.
    pub(crate) fn since(&self, from: usize) -> (Vec<Event>, u64) {
        let pages = self.pages();
        (pages.events.get(from..).unwrap_or_default().to_vec(), pages.overruns)
    }

    fn write(&self, socket: &Socket) {
        loop {
            let received = socket.recv_from_full();
            let at = clock::now();
            let mut pages = self.pages();
            match received {
                Ok((bytes, _)) => self.take(&mut pages, at, &bytes),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                // ENOBUFS: the kernel dropped events.
                Err(_) => pages.overruns += 1,
            }
            self.changed.notify_all();
        }
    }

    fn take(&self, pages: &mut Pages, at: Moment, mut bytes: &[u8]) {
        while let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(bytes) {
            let length = (message.header.length as usize).next_multiple_of(4);
            if let NetlinkPayload::InnerMessage(message) = message.payload
                && let Some((index, change)) = apply(pages, &message)
                && let Some((node, interface)) = self.interfaces.get(&index)
            {
                pages.events.push(Event {
                    at,
                    node: (*node).to_owned(),
                    interface: (*interface).to_owned(),
                    change,
                });
            }
            match bytes.get(length..) {
                Some(rest) if length > 0 && !rest.is_empty() => bytes = rest,
                _ => break,
            }
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes note of a message; the change, if it is one and not a repetition (a lease that is refreshed, for example).
fn apply(pages: &mut Pages, message: &RouteNetlinkMessage) -> Option<(u32, Change)> {
    match message {
        RouteNetlinkMessage::NewAddress(message) => {
            let address = local_address(message)?;
            let index = message.header.index;
            pages.addresses.insert((index, address)).then_some((index, Change::AddressAdded(address)))
        }
        RouteNetlinkMessage::DelAddress(message) => {
            let address = local_address(message)?;
            let index = message.header.index;
            pages.addresses.remove(&(index, address)).then_some((index, Change::AddressRemoved(address)))
        }
        RouteNetlinkMessage::NewLink(message) => {
            let index = message.header.index;
            if message.header.flags.contains(LinkFlags::LowerUp) {
                pages.carriers.insert(index).then_some((index, Change::CarrierUp))
            } else {
                pages.carriers.remove(&index).then_some((index, Change::CarrierDown))
            }
        }
        _ => None,
    }
}

fn local_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            // Differs from Address on a point-to-point link, where Address is the peer's.
            AddressAttribute::Local(local) => return Some(*local),
            AddressAttribute::Address(found) => address = Some(*found),
            _ => {}
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::address::{AddressHeader, AddressMessage};

    use super::*;

    fn address_message(index: u32, address: &str) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header = AddressHeader { index, ..AddressHeader::default() };
        message.attributes.push(AddressAttribute::Local(address.parse().unwrap()));
        message
    }

    #[test]
    fn refreshed_lease_is_no_event() {
        let mut pages = Pages::default();
        let add = RouteNetlinkMessage::NewAddress(address_message(1011, "198.51.100.10"));
        let vip = "198.51.100.10".parse().unwrap();
        assert_eq!(apply(&mut pages, &add), Some((1011, Change::AddressAdded(vip))));
        assert_eq!(apply(&mut pages, &add), None);
        let remove = RouteNetlinkMessage::DelAddress(address_message(1011, "198.51.100.10"));
        assert_eq!(apply(&mut pages, &remove), Some((1011, Change::AddressRemoved(vip))));
        assert_eq!(apply(&mut pages, &remove), None);
    }
}
