//! Whose advertisements are heard.

use std::net::IpAddr;

use lb_vrrp::{
    Interface, MemberConfig,
    status::{MemberStatus, PeerHeard, Said},
};

use super::Nodes;
use crate::daemon::group::Group;

/// The last advertisement of `peer` for `group`, whichever of its addresses it came from.
pub(in crate::daemon) fn advertisement_of<'a>(
    nodes: &Nodes<'_>,
    group: &'a Group,
    peer: &str,
) -> Option<&'a PeerHeard> {
    let found = heard_by_member(group).filter(|(member, heard)| is_from(nodes, member, heard.source, peer));
    found.map(|(_, heard)| heard).max_by_key(|heard| heard.at)
}

/// What was heard for our addresses, the last of each source, with what the file says of the virtual router; one may be there twice.
pub(in crate::daemon) fn heard_by_member(group: &Group) -> impl Iterator<Item = (&MemberConfig, &PeerHeard)> {
    let members = group.status.iter().flat_map(|(_, status)| &status.members);
    let pairs = group.config.members.iter().zip(members);
    pairs.flat_map(|(config, member)| heard_at(member).map(move |heard| (config, heard)))
}

/// The same of one virtual router.
pub(in crate::daemon) fn heard_at(member: &MemberStatus) -> impl Iterator<Item = &PeerHeard> {
    let of_sources = member.advertisers.iter().filter_map(|one| match &one.said {
        Said::Ours(heard) => Some(heard),
        Said::Others(_) | Said::Rejected(_) => None,
    });
    // There may have been no room for its source.
    of_sources.chain(&member.heard)
}

/// Does an advertisement from `source` come from the node `name`?
pub(in crate::daemon) fn is_from(
    known: &Nodes<'_>,
    member: &MemberConfig,
    source: IpAddr,
    name: &str,
) -> bool {
    let nodes = &known.config.cluster.nodes;
    if nodes.iter().any(|node| node.name == name && node.address == source) {
        return true;
    }
    if let Some(unicast) = member.transport.unicast() {
        // The others, in the order of the file.
        let others = nodes.iter().filter(|node| node.name != known.own);
        return others.zip(&unicast.peers).any(|(node, peer)| node.name == name && *peer == source);
    }
    if name == known.own {
        // It does not hear itself, and no hello of its own says where else it speaks from.
        return false;
    }
    // On the interface of the [cluster] addresses nodes advertise from these, and over IPv6 from a link-local one.
    if matches!(member.interface, Interface::Holding(_)) && source.is_ipv4() {
        return false;
    }
    let session = known.session.and_then(|session| session.peers().iter().find(|peer| peer.name == name));
    let said = session.and_then(|peer| peer.last.as_ref()).map_or(&[][..], |(_, hello)| &hello.addresses);
    if said.is_empty() {
        // In a pair it is the other node, as far as this one can tell.
        return nodes.len() == 2;
    }
    said.iter().any(|interface| interface.addresses.contains(&source))
}
