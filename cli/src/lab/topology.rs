//! Who is in the lab and where: the same picture as `vagrant/`.
//!
//! ```text
//!               front 198.51.100.0/25                    back 198.51.100.128/25
//!  client .100 ──┤                ├── .11 lb1 .131 ──┤                ├── .141 web1
//!                │   (vip .10)    │                  │                │
//!                                 ├── .12 lb2 .132 ──┤                ├── .142 web2
//! ```
//!
//! Everyone has an IPv6 address in each network as well, whose last digits are those of the IPv4 one: 2001:db8:f::11 and
//! 2001:db8:b::131 are lb1.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The address that the pair serves.
pub const VIP: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);

/// The same for IPv6, if the file says so: no address of the ordinary one.
pub const VIP_IPV6: Ipv6Addr = Network::Front.ipv6(10);

/// The configuration file of both nodes; `vagrant/` starts its nodes with the same one.
pub const CONFIGURATION: &str = include_str!("lab.toml");

/// One of the two networks: a bridge without STP and without multicast snooping.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Clients and load balancers; `eth0` in a node.
    Front,
    /// Load balancers and servers; `eth1` in a node.
    Back,
}

impl Network {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Front, Self::Back];

    /// Name of its bridge.
    pub(crate) const fn bridge(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Back => "back",
        }
    }

    /// Index of its bridge in the switch namespace.
    pub(crate) const fn bridge_index(self) -> u32 {
        match self {
            Self::Front => 10,
            Self::Back => 11,
        }
    }

    /// The address in it that ends like an IPv4 address with this last octet: 2001:db8:f::/64 and 2001:db8:b::/64.
    const fn ipv6(self, last: u8) -> Ipv6Addr {
        let network = match self {
            Self::Front => 0xf,
            Self::Back => 0xb,
        };
        let last = last as u16;
        let digits = (last / 100) << 8 | (last / 10 % 10) << 4 | (last % 10);
        Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, digits)
    }

    /// Name of a node's interface in it.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Front => "eth0",
            Self::Back => "eth1",
        }
    }
}

/// What a node is for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends requests to the virtual address.
    Client,
    /// Runs `lbctl run`.
    Balancer,
    /// Runs a small web server.
    Server,
}

/// A node's place in a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) network: Network,
    pub(crate) address: Ipv4Addr,
}

impl Port {
    pub(crate) const fn ipv6(&self) -> Ipv6Addr {
        self.network.ipv6(self.address.octets()[3])
    }

    /// Index of the node's end of the cable. It is unique in the whole lab, so that one netlink socket can tell from the
    /// index alone whose event it reads.
    pub(crate) const fn node_index(&self) -> u32 {
        1000 + self.address.octets()[3] as u32
    }

    /// Index of the switch's end of the cable.
    pub(crate) const fn switch_index(&self) -> u32 {
        2000 + self.address.octets()[3] as u32
    }

    /// A locally administered hardware address that shows the IPv4 address.
    pub(crate) const fn hardware_address(&self) -> [u8; 6] {
        let [a, b, c, d] = self.address.octets();
        [2, 0, a, b, c, d]
    }
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) ports: &'static [Port],
}

impl Member {
    /// Its port in `network`.
    pub(crate) fn port(&self, network: Network) -> Option<&'static Port> {
        self.ports.iter().find(|port| port.network == network)
    }
}

const fn port(network: Network, last: u8) -> Port {
    Port { network, address: Ipv4Addr::new(198, 51, 100, last) }
}

/// Length of the prefix of both networks.
pub(crate) const PREFIX: u8 = 25;

/// The same for IPv6.
pub(crate) const PREFIX_IPV6: u8 = 64;

/// Everyone.
pub(crate) const MEMBERS: [Member; 5] = [
    Member { name: "client", role: Role::Client, ports: &[port(Network::Front, 100)] },
    Member {
        name: "lb1",
        role: Role::Balancer,
        ports: &[port(Network::Front, 11), port(Network::Back, 131)],
    },
    Member {
        name: "lb2",
        role: Role::Balancer,
        ports: &[port(Network::Front, 12), port(Network::Back, 132)],
    },
    Member { name: "web1", role: Role::Server, ports: &[port(Network::Back, 141)] },
    Member { name: "web2", role: Role::Server, ports: &[port(Network::Back, 142)] },
];

/// Names of all nodes, for the command line.
pub const NODES: [&str; 5] = ["client", "lb1", "lb2", "web1", "web2"];

/// Names of the load balancers.
pub const BALANCERS: [&str; 2] = ["lb1", "lb2"];

/// The member called `name`.
#[cfg(test)]
pub(crate) fn member(name: &str) -> Option<&'static Member> {
    MEMBERS.iter().find(|member| member.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_command_line_is_a_member() {
        assert_eq!(NODES.map(|name| member(name).map(|member| member.name)), NODES.map(Some));
        assert!(
            BALANCERS.iter().all(|name| member(name).is_some_and(|member| member.role == Role::Balancer))
        );
    }

    #[test]
    fn ipv6_addresses_end_like_the_ipv4_ones() {
        assert_eq!(VIP_IPV6.to_string(), "2001:db8:f::10");
        let lb2 = member("lb2").unwrap().ports.iter().map(|port| port.ipv6().to_string());
        assert_eq!(lb2.collect::<Vec<_>>(), ["2001:db8:f::12", "2001:db8:b::132"]);
    }

    #[test]
    fn configuration_names_the_addresses_of_the_topology() {
        for address in ["198.51.100.10", "198.51.100.11", "198.51.100.12", "198.51.100.141", "198.51.100.142"]
        {
            assert!(CONFIGURATION.contains(address), "{address}");
        }
    }

    #[test]
    fn configuration_is_valid_without_a_warning() {
        let config = crate::config::parse(CONFIGURATION, "lab.toml").unwrap();
        assert_eq!(config.cluster.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), BALANCERS);
    }
}
