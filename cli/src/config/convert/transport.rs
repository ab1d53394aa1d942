//! `transport` of a vip: which addresses the nodes send advertisements to.

use std::net::IpAddr;

use lb_vrrp::{Family, Transport, Unicast};

use super::by_node;
use crate::config::{diagnostic::Report, model::Cluster, raw, reader::At};

/// Nodes on one link.
const MINIMUM_TTL: u8 = 255;

/// How each node reaches the others.
pub(super) struct ByUnicast {
    /// By node: one of IPv4, one of IPv6.
    addresses: Vec<[Option<IpAddr>; 2]>,
    minimum_ttl: u8,
}

/// `None` for multicast.
pub(super) fn convert(raw: &raw::Vip, cluster: &Cluster, report: &Report<'_>) -> Option<ByUnicast> {
    let Some(unicast) = raw.unicast.as_ref().filter(|unicast| unicast.value) else {
        let needs = |span, key: &str| {
            report.error(
                span,
                format!("{key} is for transport = \"unicast\" alone; write that too, or remove the key"),
            );
        };
        if let Some(span) = raw.unicast_addresses.as_ref().map(raw::ByNode::span) {
            needs(span, "unicast_addresses");
        }
        if let Some(minimum_ttl) = &raw.minimum_ttl {
            needs(minimum_ttl.span, "minimum_ttl");
        }
        return None;
    };
    if cluster.nodes.len() == 1 {
        report.error(unicast.span, "unicast needs another node in [cluster] to send to");
    }
    let given = raw.unicast_addresses.as_ref().map_or_else(Vec::new, |given| {
        by_node::resolve(given, ("unicast_addresses", "192.0.2.12"), cluster, report)
    });
    let given: Vec<&[At<IpAddr>]> = (0..cluster.nodes.len())
        .map(|node| given.get(node).copied().flatten().map_or(&[][..], |given| &given.value))
        .collect();
    check_given(&given, cluster, report);
    let mut addresses = Vec::new();
    for (node, given) in cluster.nodes.iter().zip(&given) {
        let of = |family| given.iter().map(|at| at.value).find(|address| Family::of(*address) == family);
        let own = Some(node.address).filter(IpAddr::is_ipv4);
        addresses.push([of(Family::Ipv4).or(own), of(Family::Ipv6)]);
    }
    check_ipv6(raw, &addresses, cluster, report);
    let minimum_ttl = raw.minimum_ttl.as_ref().and_then(|least| u8::try_from(least.value).ok());
    Some(ByUnicast { addresses, minimum_ttl: minimum_ttl.unwrap_or(MINIMUM_TTL) })
}

/// No two nodes have one address: an advertisement to it would reach one of them, or its sender.
fn check_given(given: &[&[At<IpAddr>]], cluster: &Cluster, report: &Report<'_>) {
    for (index, own) in given.iter().enumerate() {
        for at in *own {
            let others = cluster.nodes.iter().zip(given).enumerate().filter(|(other, _)| *other != index);
            let twin = others.into_iter().find(|(other, (node, theirs))| {
                let is_theirs = theirs.iter().any(|theirs| theirs.value == at.value);
                (is_theirs && *other < index) || node.address == at.value
            });
            if let Some((_, (twin, _))) = twin {
                let message = format!(
                    "{} is the address of node `{}` already; each node has its own",
                    at.value, twin.name
                );
                report.error(at.span, message);
            }
        }
    }
}

fn check_ipv6(raw: &raw::Vip, addresses: &[[Option<IpAddr>; 2]], cluster: &Cluster, report: &Report<'_>) {
    let first = raw.addresses.iter().find(|at| Family::of(at.value.address) == Family::Ipv6);
    let without = cluster.nodes.iter().zip(addresses).find(|(_, [_, ipv6])| ipv6.is_none());
    if let (Some(first), Some((node, _))) = (first, without) {
        let message = format!(
            "over IPv6 unicast goes to an IPv6 address of each node, and `{0}` has none here; write unicast_addresses = \
             {{ {0} = \"2001:db8::11\", .. }} with all nodes",
            node.name
        );
        report.error(first.span, message);
    }
}

impl ByUnicast {
    /// That of the node of this index.
    pub(super) fn of(&self, node: usize, family: Family) -> Transport {
        let address = |addresses: &[Option<IpAddr>; 2]| addresses[usize::from(family == Family::Ipv6)];
        let others = self.addresses.iter().enumerate().filter(|(index, _)| *index != node);
        let peers = others.filter_map(|(_, addresses)| address(addresses)).collect();
        let source = self.addresses.get(node).and_then(address);
        // Who has none is an error of the file.
        source.map_or(Transport::Multicast, |source| {
            Transport::Unicast(Unicast { source, peers, minimum_ttl: self.minimum_ttl })
        })
    }

    /// Those that the file gives to the nodes for this.
    pub(super) fn all(raw: &raw::Vip) -> impl Iterator<Item = IpAddr> {
        let entries = raw.unicast_addresses.iter().flat_map(raw::ByNode::values);
        entries.flat_map(|at| at.value.iter().map(|at| at.value))
    }
}
