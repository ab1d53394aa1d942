//! The picture of links and addresses, and where a virtual router lives in it. No sockets.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    KernelAddress,
    events::{Event, Link},
    requests::Dump,
};
use crate::{Family, Interface, is_link_local};

/// Links by index, addresses in the order in which the kernel told them: the first of a network is its primary.
#[derive(Debug, Default)]
pub(in crate::io) struct Interfaces {
    links: BTreeMap<u32, Link>,
    addresses: Vec<KernelAddress>,
    /// Dumps that were asked for and have not come, and the changes since the first of them.
    dumps: u32,
    since: Vec<Event>,
}

/// Where a virtual router lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::io) struct Home {
    pub(in crate::io) index: u32,
    pub(in crate::io) name: String,
    pub(in crate::io) mac: [u8; 6],
    /// Source of its advertisements; `None` while the interface has no address of its own, or over IPv6 no link-local one.
    pub(in crate::io) source: Option<IpAddr>,
    /// Whether it forwards IPv6.
    pub(in crate::io) forwards_ipv6: bool,
    /// IFF_UP and IFF_LOWER_UP, or what is missing.
    pub(in crate::io) link: Result<(), String>,
}

impl Interfaces {
    /// A dump is being asked for: what changes from now on may be newer than it.
    pub(in crate::io) fn awaits_dump(&mut self) {
        self.dumps += 1;
    }

    /// Replaces everything. Dump and changes come on two sockets: the changes since the dump was asked for are followed
    /// once more, or a link that came up meanwhile would stay down until it changes again.
    pub(in crate::io) fn load(&mut self, dump: Dump) {
        self.links = dump.links.into_iter().map(|link| (link.index, link)).collect();
        self.addresses = dump.addresses;
        let since = std::mem::take(&mut self.since);
        since.iter().for_each(|event| self.follow(event));
        self.dumps = self.dumps.saturating_sub(1);
        if self.dumps > 0 {
            self.since = since;
        }
    }

    /// Follows one change.
    pub(in crate::io) fn apply(&mut self, event: &Event) {
        if self.dumps > 0 {
            self.since.push(event.clone());
        }
        self.follow(event);
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::Link(link) => {
                self.links.insert(link.index, link.clone());
            }
            Event::LinkGone { index } => {
                self.links.remove(index);
                self.addresses.retain(|known| known.place.index != *index);
            }
            Event::Address(address) => {
                match self.addresses.iter_mut().find(|known| known.place == address.place) {
                    Some(known) => *known = *address,
                    None => self.addresses.push(*address),
                }
            }
            Event::AddressGone(address) => self.addresses.retain(|known| known.place != address.place),
            Event::Lost => {}
        }
    }

    /// All addresses.
    pub(in crate::io) fn addresses(&self) -> &[KernelAddress] {
        &self.addresses
    }

    /// Finds the interface of a virtual router of `family`. `virtual_addresses` are never anyone's source (V-20).
    ///
    /// # Errors
    /// What it waits for, in words.
    pub(in crate::io) fn find(
        &self,
        interface: &Interface,
        family: Family,
        virtual_addresses: &BTreeSet<IpAddr>,
    ) -> Result<Home, String> {
        let (link, named_source) = match interface {
            Interface::Named(name) => {
                let link = self.links.values().find(|link| link.name == *name);
                (link.ok_or_else(|| format!("interface {name} does not exist"))?, None)
            }
            Interface::Holding(address) => {
                let holder = self
                    .addresses
                    .iter()
                    .find(|known| known.place.address.address == *address && !known.owner.is_speaker());
                let link = holder.and_then(|holder| self.links.get(&holder.place.index));
                (link.ok_or_else(|| format!("no interface has the address {address}"))?, Some(*address))
            }
        };
        let source = match named_source {
            Some(address @ IpAddr::V4(_)) if family == Family::Ipv4 => Some(address),
            Some(_) | None => self.primary(link.index, family, virtual_addresses),
        };
        let name = &link.name;
        let state = match (link.up, link.carrier) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("interface {name} has no carrier")),
            (false, _) => Err(format!("interface {name} is down")),
        };
        Ok(Home {
            index: link.index,
            name: name.clone(),
            mac: link.mac,
            source,
            forwards_ipv6: link.forwards_ipv6,
            link: state,
        })
    }

    /// Whether the interface has this address as its own, and for certain. Who names an IPv4 address may mean one that is not
    /// the first of its network.
    pub(in crate::io) fn is_own(&self, index: u32, address: IpAddr) -> bool {
        self.own(index)
            .any(|known| known.place.address.address == address && (address.is_ipv4() || !known.unfit))
    }

    /// Whether any interface has this address, and it is no speaker's.
    pub(in crate::io) fn is_here(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|known| known.place.address.address == address && !known.owner.is_speaker())
    }

    fn own(&self, index: u32) -> impl Iterator<Item = &KernelAddress> {
        self.addresses.iter().filter(move |known| known.place.index == index && !known.owner.is_speaker())
    }

    /// The first IPv4 address of the interface that is its own, or the first link-local one (RFC 9568 §5.1.2.1).
    fn primary(&self, index: u32, family: Family, virtual_addresses: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let fit = self.own(index).filter(|known| !known.unfit);
        fit.map(|known| known.place.address.address)
            .filter(|address| !virtual_addresses.contains(address))
            .find(|address| match family {
                Family::Ipv4 => address.is_ipv4(),
                Family::Ipv6 => is_link_local(*address),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::Ipv4Addr};

    use super::{
        super::{KernelAddress, Owner, Place},
        Dump, Event, Interfaces, Link,
    };
    use crate::{Family, Interface, VirtualAddress};

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            up: true,
            carrier: true,
            forwards_ipv6: false,
        }
    }

    fn address(index: u32, octets: [u8; 4], owner: Owner) -> KernelAddress {
        let address = VirtualAddress { address: Ipv4Addr::from(octets).into(), prefix: 24 };
        KernelAddress { place: Place { index, address }, owner, unfit: false, created: None }
    }

    fn vips() -> BTreeSet<std::net::IpAddr> {
        [Ipv4Addr::new(192, 0, 2, 100).into()].into()
    }

    #[test]
    fn a_virtual_address_is_never_the_source() {
        let mut interfaces = Interfaces::default();
        interfaces.apply(&Event::Link(link(2, "eth1")));
        interfaces.apply(&Event::Address(address(2, [192, 0, 2, 100], Owner::Static)));
        interfaces.apply(&Event::Address(address(2, [192, 0, 2, 101], Owner::Ours)));
        let eth1 = Interface::Named("eth1".to_owned());
        assert_eq!(interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap().source, None);
        interfaces.apply(&Event::Address(address(2, [192, 0, 2, 11], Owner::Static)));
        let home = interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap();
        assert_eq!(home.source, Some(Ipv4Addr::new(192, 0, 2, 11).into()));
    }

    #[test]
    fn an_interface_that_does_not_exist_yet_is_waited_for_by_name() {
        let mut interfaces = Interfaces::default();
        let eth1 = Interface::Named("eth1".to_owned());
        assert_eq!(
            interfaces.find(&eth1, Family::Ipv4, &vips()),
            Err("interface eth1 does not exist".to_owned())
        );
        interfaces.apply(&Event::Link(link(2, "eth1")));
        assert_eq!(interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap().index, 2);
        interfaces.apply(&Event::LinkGone { index: 2 });
        interfaces.apply(&Event::Link(link(7, "eth1")));
        assert_eq!(interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap().index, 7);
    }

    #[test]
    fn an_address_is_here_on_whatever_interface_but_not_as_a_speaker_s() {
        let mut interfaces = Interfaces::default();
        interfaces.apply(&Event::Link(link(1, "lo")));
        interfaces.apply(&Event::Address(address(1, [192, 0, 2, 12], Owner::Static)));
        interfaces.apply(&Event::Address(address(1, [192, 0, 2, 100], Owner::Ours)));
        let is_here = |last: u8| interfaces.is_here(Ipv4Addr::new(192, 0, 2, last).into());
        assert_eq!([12, 100, 13].map(is_here), [true, false, false]);
    }

    #[test]
    fn the_interface_that_holds_the_nodes_address_uses_it_as_its_source() {
        let mut interfaces = Interfaces::default();
        let holding = Interface::Holding(Ipv4Addr::new(192, 0, 2, 12).into());
        interfaces.apply(&Event::Link(link(2, "eth1")));
        interfaces.apply(&Event::Address(address(2, [192, 0, 2, 11], Owner::Static)));
        assert_eq!(
            interfaces.find(&holding, Family::Ipv4, &vips()),
            Err("no interface has the address 192.0.2.12".to_owned())
        );
        interfaces.apply(&Event::Address(address(2, [192, 0, 2, 12], Owner::Static)));
        let home = interfaces.find(&holding, Family::Ipv4, &vips()).unwrap();
        assert_eq!((home.index, home.source), (2, Some(Ipv4Addr::new(192, 0, 2, 12).into())));
    }

    #[test]
    fn an_address_that_is_named_may_be_the_second_of_its_network_but_not_in_doubt() {
        let mut interfaces = Interfaces::default();
        let mut is_own = |text: &str, owner, unfit| {
            let address = VirtualAddress { address: text.parse().unwrap(), prefix: 24 };
            let place = Place { index: 2, address };
            interfaces.apply(&Event::Address(KernelAddress { place, owner, unfit, created: None }));
            interfaces.is_own(2, address.address)
        };
        assert!(is_own("192.0.2.11", Owner::Static, false));
        assert!(is_own("192.0.2.12", Owner::Static, true), "not the first of its network");
        assert!(!is_own("192.0.2.100", Owner::Ours, false), "a virtual one");
        assert!(is_own("2001:db8::11", Owner::Static, false));
        assert!(!is_own("2001:db8::12", Owner::Kernel, true), "perhaps somebody else's");
        assert!(!interfaces.is_own(3, "192.0.2.11".parse().unwrap()), "another interface");
    }

    /// V-20 over IPv6, and what a kernel says of an address while it asks whether it is the only one that has it.
    #[test]
    fn v_20_over_ipv6_the_source_is_link_local_and_never_virtual_or_in_doubt() {
        let eth1 = Interface::Named("eth1".to_owned());
        let vips = ["fe80::100".parse().unwrap()].into();
        let mut interfaces = Interfaces::default();
        interfaces.apply(&Event::Link(link(2, "eth1")));
        let mut source_with = |text: &str, owner, unfit| {
            let address = VirtualAddress { address: text.parse().unwrap(), prefix: 64 };
            let address = KernelAddress { place: Place { index: 2, address }, owner, unfit, created: None };
            interfaces.apply(&Event::Address(address));
            interfaces.find(&eth1, Family::Ipv6, &vips).unwrap().source
        };
        assert_eq!(source_with("192.0.2.11", Owner::Static, false), None);
        assert_eq!(source_with("2001:db8::11", Owner::Static, false), None);
        assert_eq!(source_with("fe80::100", Owner::Static, false), None, "that of a vip");
        assert_eq!(source_with("fe80::99", Owner::Ours, false), None, "one that we installed");
        assert_eq!(source_with("fe80::11", Owner::Kernel, true), None, "in doubt");
        assert_eq!(source_with("fe80::11", Owner::Kernel, false), Some("fe80::11".parse().unwrap()));
    }

    #[test]
    fn a_change_since_a_dump_was_asked_for_outlives_the_dump() {
        let eth1 = Interface::Named("eth1".to_owned());
        let down = || Link { carrier: false, ..link(2, "eth1") };
        let dump = || Dump { links: vec![down()], addresses: vec![] };
        let link_of = |interfaces: &Interfaces| interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap().link;
        let mut interfaces = Interfaces::default();
        interfaces.apply(&Event::Link(down()));
        interfaces.awaits_dump();
        interfaces.awaits_dump();
        interfaces.apply(&Event::Link(link(2, "eth1")));
        interfaces.load(dump());
        assert_eq!(link_of(&interfaces), Ok(()), "the dump is older than the change");
        interfaces.load(dump());
        assert_eq!(link_of(&interfaces), Ok(()), "and so is the second one");
        interfaces.awaits_dump();
        interfaces.load(dump());
        assert!(link_of(&interfaces).is_err(), "this one is newer");
    }

    #[test]
    fn a_link_needs_both_the_operator_and_the_cable() {
        let mut interfaces = Interfaces::default();
        let eth1 = Interface::Named("eth1".to_owned());
        interfaces.apply(&Event::Link(Link { carrier: false, ..link(2, "eth1") }));
        assert_eq!(
            interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap().link,
            Err("interface eth1 has no carrier".to_owned())
        );
        interfaces.apply(&Event::Link(Link { up: false, ..link(2, "eth1") }));
        assert_eq!(
            interfaces.find(&eth1, Family::Ipv4, &vips()).unwrap().link,
            Err("interface eth1 is down".to_owned())
        );
    }
}
