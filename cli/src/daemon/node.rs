//! Which node of the file this machine is, and which addresses it has.

use std::{collections::BTreeMap, net::IpAddr};

use lb_vrrp::{PeerKind, is_link_local};

use super::hello::InterfaceAddresses;
use crate::{
    config::{self, Config, Unidentified},
    interfaces::LocalAddress,
};

/// Who we are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Identity {
    /// The file has no `[cluster]`: a proxy alone, called like its machine.
    Alone { name: String },
    /// This node of the file.
    Node { index: usize, name: String, address: IpAddr },
    /// Not found yet; tried again each second.
    Waiting { name: String, reason: String },
}

impl Identity {
    /// Finds this machine, which has these addresses, in the file.
    pub(super) fn find(
        config: &Config,
        wanted: Option<&str>,
        local: &[LocalAddress],
    ) -> Result<Self, Unidentified> {
        let name = hostname();
        if config.cluster.nodes.is_empty() && wanted.is_none() {
            return Ok(Self::Alone { name });
        }
        let addresses: Vec<IpAddr> = local.iter().map(|local| local.address).collect();
        match config::identify(config, &addresses, &name, wanted) {
            Ok(index) => {
                // `identify` returns an index into this very list.
                let Some(node) = config.cluster.nodes.get(index) else { return Err(Unidentified::NoCluster) };
                Ok(Self::Node { index, name: node.name.clone(), address: node.address })
            }
            Err(error @ (Unidentified::UnknownNode { .. } | Unidentified::NoCluster)) => Err(error),
            Err(
                error @ (Unidentified::SeveralNodes { .. }
                | Unidentified::Nobody { .. }
                | Unidentified::Foreign { .. }),
            ) => Ok(Self::Waiting { name, reason: error.to_string() }),
        }
    }

    /// How this node is called.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Alone { name } | Self::Node { name, .. } | Self::Waiting { name, .. } => name,
        }
    }

    /// Its place among the nodes of the file.
    pub(super) fn index(&self) -> Option<usize> {
        match self {
            Self::Node { index, .. } => Some(*index),
            Self::Alone { .. } | Self::Waiting { .. } => None,
        }
    }

    /// The other nodes of the file that say hello.
    pub(super) fn peers(&self, config: &Config) -> Vec<(String, IpAddr)> {
        let Self::Node { index, .. } = self else { return Vec::new() };
        let others = config.cluster.nodes.iter().enumerate().filter(|(other, _)| other != index);
        others
            .filter(|(_, node)| node.kind == PeerKind::Lbctl)
            .map(|(_, node)| (node.name.clone(), node.address))
            .collect()
    }
}

fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// What may be the source of a VRRP advertisement: IPv4 and link-local IPv6, but for loopback and for `shared`
/// addresses.
pub(super) fn vrrp_sources(local: &[LocalAddress], shared: &[IpAddr]) -> Vec<InterfaceAddresses> {
    let mut by_interface: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for LocalAddress { interface, loopback, address, .. } in local {
        let wanted = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(_) => is_link_local(*address),
        };
        if wanted && !loopback && !shared.contains(address) {
            by_interface.entry(interface).or_default().push(*address);
        }
    }
    by_interface
        .into_iter()
        .map(|(interface, addresses)| InterfaceAddresses { interface: interface.to_owned(), addresses })
        .collect()
}
