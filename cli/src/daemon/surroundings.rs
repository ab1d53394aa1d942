//! What the daemon knows of its machine: the addresses of the interfaces, as of a second ago at most.
//!
//! The kernel is not asked at each event: anybody can cause events by datagrams.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use lb_vrrp::{Family, MemberConfig, Moment};

use super::{hello::InterfaceAddresses, node};
use crate::interfaces::{LocalAddress, interface_of, outside_networks, outside_warning};

/// Between two looks around.
const INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    looked: Option<Moment>,
    addresses: Vec<LocalAddress>,
    /// Virtual routers, by name and vrid, whose addresses were compared with the networks of their interface.
    compared: BTreeSet<(String, u8)>,
}

impl Surroundings {
    /// Asks `list` for the addresses if the last time is a second ago; whether it did.
    pub(super) fn look(&mut self, now: Moment, list: impl FnOnce() -> Vec<LocalAddress>) -> bool {
        if now < self.next_look() {
            return false;
        }
        self.looked = Some(now);
        self.addresses = list();
        true
    }

    /// When the next look is due.
    pub(super) fn next_look(&self) -> Moment {
        self.looked.map_or(Moment::default(), |looked| looked + INTERVAL)
    }

    /// The addresses as of the last look.
    pub(super) fn addresses(&self) -> &[LocalAddress] {
        &self.addresses
    }

    /// Where advertisements of this node may come from, but for `shared` addresses.
    pub(super) fn sources(&self, shared: &[IpAddr]) -> Vec<InterfaceAddresses> {
        node::vrrp_sources(&self.addresses, shared)
    }

    /// What is to be said, once, of virtual addresses outside the networks of their interface. That is legal and common
    /// (public addresses on privately addressed nodes). A router whose interface has no address of its family
    /// yet waits.
    pub(super) fn outside<'a>(&mut self, members: impl Iterator<Item = &'a MemberConfig>) -> Vec<String> {
        let mut warnings = Vec::new();
        for member in members {
            let id = (member.name(), member.vrid.get());
            let Some(interface) = interface_of(member, &self.addresses) else { continue };
            let own = self.addresses.iter().filter(|local| local.interface == interface);
            let has_network = own
                .into_iter()
                .any(|local| Family::of(local.address) == member.family() && local.network.is_some());
            if has_network && self.compared.insert(id) {
                let outside = outside_networks(member, interface, &self.addresses);
                warnings.extend(
                    outside.into_iter().map(|address| outside_warning(address, &member.vip, interface)),
                );
            }
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(5_000_000_000 + milliseconds * 1_000_000)
    }

    #[test]
    fn the_kernel_is_asked_at_most_once_a_second_however_many_events_come() {
        let (mut surroundings, mut asked) = (Surroundings::default(), Vec::new());
        for milliseconds in 0..2_500 {
            surroundings.look(at(milliseconds), || {
                asked.push(milliseconds);
                Vec::new()
            });
        }
        assert_eq!(asked, [0, 1_000, 2_000]);
        assert_eq!(surroundings.next_look(), at(3_000));
    }

    #[test]
    fn an_address_outside_the_networks_is_said_once_and_not_before_the_interface_has_one() {
        let file = "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
                    [vip.web]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"198.51.100.10\", \"192.0.2.10\"]\n\
                    [listen.web]\nbind = { vip = \"web\", port = 80 }\nservers = [\"192.0.2.21:80\"]\n";
        let config = crate::config::parse(file, "lb.toml").unwrap_or_else(|report| panic!("{report}"));
        let members = &config.groups[0].by_node[0].members;
        let mut surroundings = Surroundings::default();
        surroundings.look(at(0), Vec::new);
        assert_eq!(surroundings.outside(members.iter()), Vec::<String>::new());
        surroundings.look(at(1_000), || {
            vec![LocalAddress {
                interface: "eth0".to_owned(),
                up: true,
                loopback: false,
                address: Ipv4Addr::new(192, 0, 2, 11).into(),
                network: lb_proxy::rules::Network::new(Ipv4Addr::new(192, 0, 2, 0).into(), 24),
            }]
        });
        let said = "198.51.100.10 of [vip.web] is in none of the networks of eth0; the router in front must know the way";
        assert_eq!(surroundings.outside(members.iter()), [said]);
        assert_eq!(surroundings.outside(members.iter()), Vec::<String>::new());
    }
}
