//! The addresses of this machine's interfaces, and whether a virtual address belongs to one of their networks.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use lb_proxy::loops::is_here;
use lb_vrrp::{Interface, MemberConfig};
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

use crate::config::Config;

/// An address of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LocalAddress {
    pub(crate) interface: String,
    pub(crate) up: bool,
    pub(crate) loopback: bool,
    pub(crate) address: IpAddr,
    /// Of an IPv4 address.
    pub(crate) netmask: Option<Ipv4Addr>,
}

impl LocalAddress {
    /// Is `address` in the network of this one?
    fn is_beside(&self, address: Ipv4Addr) -> bool {
        let (IpAddr::V4(own), Some(mask)) = (self.address, self.netmask) else { return false };
        u32::from(own) & u32::from(mask) == u32::from(address) & u32::from(mask)
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
            netmask: entry
                .netmask
                .and_then(|mask| mask.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::ip)),
        })
    });
    addresses.collect()
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

/// Those IPv4 addresses of `member` that are in none of the networks of `interface`. Its virtual addresses are no network
/// of their own: this node may hold them already.
pub(crate) fn outside_networks(
    member: &MemberConfig,
    interface: &str,
    local: &[LocalAddress],
) -> Vec<Ipv4Addr> {
    let is_shared = |address: IpAddr| member.addresses.iter().any(|shared| shared.address == address);
    let own: Vec<_> =
        local.iter().filter(|local| local.interface == interface && !is_shared(local.address)).collect();
    let virtual_addresses = member.addresses.iter().filter_map(|shared| match shared.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    virtual_addresses.filter(|address| !own.iter().any(|local| local.is_beside(*address))).collect()
}

/// What is to be said of an address that [`outside_networks`] found.
pub(crate) fn outside_warning(address: Ipv4Addr, vip: &str, interface: &str) -> String {
    format!(
        "{address} of [vip.{vip}] is in none of the networks of {interface}; the router in front must know the way"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(interface: &str, address: [u8; 4], prefix: u32) -> LocalAddress {
        LocalAddress {
            interface: interface.to_owned(),
            up: true,
            loopback: false,
            address: IpAddr::from(address),
            netmask: Some(Ipv4Addr::from(u32::MAX << (32 - prefix))),
        }
    }

    fn member(addresses: &str) -> MemberConfig {
        let file = format!(
            "[cluster]\nnode.lb1 = \"192.0.2.11\"\nnode.lb2 = \"192.0.2.12\"\n\
             [vip.web]\ninterface = \"eth0\"\nvrid = 51\naddresses = [{addresses}]\n\
             [listen.web]\nbind = {{ vip = \"web\", port = 80 }}\nservers = [\"192.0.2.21:80\"]\n"
        );
        let config = crate::config::parse(&file, "lb.toml").unwrap_or_else(|report| panic!("{report}"));
        config.groups[0].by_node[0].members[0].clone()
    }

    #[test]
    fn an_address_is_outside_if_no_network_of_that_interface_has_it() {
        let member = member(r#""192.0.2.10", "198.51.100.10""#);
        let outside = [Ipv4Addr::new(198, 51, 100, 10)];
        let networks = [local("eth0", [192, 0, 2, 11], 24), local("eth1", [198, 51, 100, 11], 24)];
        assert_eq!(outside_networks(&member, "eth0", &networks), outside);
        let both = [local("eth0", [192, 0, 2, 11], 24), local("eth0", [198, 51, 100, 11], 24)];
        assert_eq!(outside_networks(&member, "eth0", &both), [] as [Ipv4Addr; 0]);
    }

    #[test]
    fn an_address_that_is_held_already_is_no_network_of_its_own() {
        let held = [local("eth0", [192, 0, 2, 11], 24), local("eth0", [198, 51, 100, 10], 32)];
        let member = member(r#""198.51.100.10""#);
        assert_eq!(outside_networks(&member, "eth0", &held), [Ipv4Addr::new(198, 51, 100, 10)]);
    }
}
