//! The addresses of this machine's interfaces, and whether a virtual address belongs to one of their networks.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    pin::pin,
};

use futures_util::TryStreamExt;
use lb_proxy::{loops::is_here, rules::Network};
use lb_vrrp::{Family, Interface, MemberConfig, is_link_local};
use netlink_packet_route::link::LinkAttribute;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags, sys::socket::SockaddrStorage};

use crate::config::Config;

/// An address of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LocalAddress {
    pub(crate) interface: String,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    pub(crate) address: IpAddr,
    /// The network that it is in.
    pub(crate) network: Option<Network>,
}

impl LocalAddress {
    /// Can advertisements of this family have it as their source?
    pub(crate) fn is_source(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.address.is_ipv4(),
            Family::Ipv6 => is_link_local(self.address),
        }
    }
}

/// Every address of this machine; none if the kernel doesn't say.
pub(crate) fn local_addresses() -> Vec<LocalAddress> {
    let Ok(list) = getifaddrs() else { return Vec::new() };
    let addresses = list.filter_map(|entry| {
        let address = entry.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => return None,
        };
        Some(LocalAddress {
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
            loopback: entry.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            interface: entry.interface_name,
            address: ip,
            network: entry.netmask.and_then(|mask| prefix(&mask)).map(|prefix| Network::around(ip, prefix)),
        })
    });
    addresses.collect()
}

/// `None` for an interface that has none or is not there.
pub(crate) fn hardware_address(interface: &str) -> Option<[u8; 6]> {
    let mut all = getifaddrs().ok()?.filter(|entry| entry.interface_name == interface);
    all.find_map(|entry| entry.address?.as_link_addr()?.addr())
}

/// The largest packet of each interface, in bytes; of none if the kernel doesn't say. Not from /sys, which may be that of another
/// network namespace.
pub(crate) async fn mtu_by_interface() -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let Ok((connection, handle, _)) = rtnetlink::new_connection() else { return all };
    let connection = tokio::spawn(connection);
    {
        let mut links = pin!(handle.link().get().execute());
        while let Ok(Some(link)) = links.try_next().await {
            let (mut name, mut mtu) = (None, None);
            for attribute in link.attributes {
                match attribute {
                    LinkAttribute::IfName(given) => name = Some(given),
                    LinkAttribute::Mtu(given) => mtu = Some(given),
                    _ => {}
                }
            }
            all.extend(name.zip(mtu));
        }
    }
    connection.abort();
    all
}

fn prefix(mask: &SockaddrStorage) -> Option<u8> {
    let ipv4 = mask.as_sockaddr_in().map(|mask| mask.ip().to_bits().leading_ones());
    let ones = ipv4.or_else(|| mask.as_sockaddr_in6().map(|mask| mask.ip().to_bits().leading_ones()))?;
    u8::try_from(ones).ok()
}

/// Where nobody can come in, a sentence each.
pub(crate) fn nowhere_warnings(config: &Config) -> impl Iterator<Item = String> {
    nowhere(config).into_iter().map(|(frontend, address)| {
        format!(
            "no interface has {}, where frontend {frontend} listens, and no [vip.*] brings it: nobody can come in there",
            address.ip()
        )
    })
}

/// Where `config` listens though this machine has no such address and no vip brings it: nobody can come in there.
pub(crate) fn nowhere(config: &Config) -> Vec<(&str, SocketAddr)> {
    let nodes = config.groups.iter().flat_map(|group| &group.by_node);
    let members = nodes.flat_map(|group| &group.members);
    let shared: Vec<_> =
        members.flat_map(|member| &member.addresses).map(|virtual_one| virtual_one.address).collect();
    let frontends = config.proxy.frontends.iter();
    let binds = frontends.flat_map(|one| one.binds.iter().map(|bind| (one.name.as_str(), bind.address)));
    binds.filter(|(_, bind)| !shared.contains(&bind.ip()) && !is_here(bind.ip())).collect()
}

/// The interface of `member` on the machine with these addresses; `None` if none has the address that it goes by.
pub(crate) fn interface_of<'a>(member: &'a MemberConfig, local: &'a [LocalAddress]) -> Option<&'a str> {
    match &member.interface {
        Interface::Named(name) => Some(name),
        Interface::Holding(address) => {
            local.iter().find(|local| local.address == *address).map(|local| local.interface.as_str())
        }
    }
}

/// Those addresses of `member` that are in none of the networks of `interface`. Its virtual addresses are no network
/// of their own: this node may hold them already. Every link-local one is in that of its link.
pub(crate) fn outside_networks(
    member: &MemberConfig,
    interface: &str,
    local: &[LocalAddress],
) -> Vec<IpAddr> {
    let is_shared = |address: IpAddr| member.addresses.iter().any(|shared| shared.address == address);
    let own: Vec<_> =
        local.iter().filter(|local| local.interface == interface && !is_shared(local.address)).collect();
    let is_inside = |address: IpAddr| {
        is_link_local(address)
            || own.iter().filter_map(|local| local.network).any(|network| network.contains(address))
    };
    member.addresses.iter().map(|shared| shared.address).filter(|address| !is_inside(*address)).collect()
}

/// What is to be said of an address that [`outside_networks`] found.
pub(crate) fn outside_warning(address: IpAddr, vip: &str, interface: &str) -> String {
    format!(
        "{address} of [vip.{vip}] is in none of the networks of {interface}; the router in front must know the way"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(interface: &str, address: &str, prefix: u8) -> LocalAddress {
        let address = address.parse().unwrap();
        LocalAddress {
            interface: interface.to_owned(),
            up: true,
            loopback: false,
            address,
            network: Some(Network::around(address, prefix)),
        }
    }

    fn member(addresses: &str) -> MemberConfig {
        let file = format!(
            "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
             [vip.web]\ninterface = \"eth0\"\nvrid = 51\naddresses = [{addresses}]\n\
             [listen.web]\nbind = {{ vip = \"web\", port = 80 }}\nservers = [\"192.0.2.21:80\"]\n"
        );
        let config = crate::config::parse(&file, "lb.toml").unwrap_or_else(|report| panic!("{report}"));
        config.groups[0].by_node[0].members.last().unwrap().clone()
    }

    #[test]
    fn an_address_is_outside_if_no_network_of_that_interface_has_it() {
        let member = member(r#""192.0.2.10", "198.51.100.10""#);
        let outside = ["198.51.100.10".parse::<IpAddr>().unwrap()];
        let networks = [local("eth0", "192.0.2.11", 24), local("eth1", "198.51.100.11", 24)];
        assert_eq!(outside_networks(&member, "eth0", &networks), outside);
        let both = [local("eth0", "192.0.2.11", 24), local("eth0", "198.51.100.11", 24)];
        assert_eq!(outside_networks(&member, "eth0", &both), [] as [IpAddr; 0]);
    }

    #[test]
    fn an_address_that_is_held_already_is_no_network_of_its_own() {
        let held = [local("eth0", "192.0.2.11", 24), local("eth0", "198.51.100.10", 32)];
        let member = member(r#""198.51.100.10""#);
        assert_eq!(outside_networks(&member, "eth0", &held), ["198.51.100.10".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn an_ipv6_address_is_outside_as_well_and_a_link_local_one_never() {
        let networks = [local("eth0", "192.0.2.11", 24), local("eth0", "2001:db8:1::11", 64)];
        let outside = |addresses| outside_networks(&member(addresses), "eth0", &networks);
        assert_eq!(outside(r#""192.0.2.10", "2001:db8:1::10", "fe80::10""#), [] as [IpAddr; 0]);
        assert_eq!(outside(r#""2001:db8:2::10""#), ["2001:db8:2::10".parse::<IpAddr>().unwrap()]);
    }
}
