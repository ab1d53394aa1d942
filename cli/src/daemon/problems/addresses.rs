//! Addresses that nobody holds: the files of the nodes differ in them, or the node that could is drained. And those of other nodes that are
//! here.

use std::net::IpAddr;

use lb_vrrp::MemberConfig;

use crate::{
    control::{Group as Report, GroupNode, Problem, Status},
    daemon::{
        group::Group,
        report::{Facts, vips},
    },
};

/// Those that the holder does not advertise, and what it advertises instead.
pub(super) fn unheld(facts: &Facts<'_>, group: &Group, report: &Report) -> Option<Problem> {
    let vips: Vec<_> = report.vips.iter().filter(|vip| !vip.unheld.is_empty()).collect();
    let holder = report.holders.first().filter(|_| !vips.is_empty())?;
    let unheld = vips.iter().flat_map(|vip| &vip.unheld).cloned().collect::<Vec<_>>().join(", ");
    let names = vips.iter().map(|vip| vip.name.as_str()).collect::<Vec<_>>().join(", ");
    let members = group.status.iter().flat_map(|(_, status)| &status.members).zip(&group.config.members);
    let heard = members.filter_map(|(said, member)| vips::of_holder(facts, member, said, &report.holders));
    let instead = heard.flat_map(|heard| &heard.adds).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let instead = match instead.as_str() {
        "" => String::new(),
        instead => format!(", and has {instead} instead"),
    };
    Some(Problem {
        what: format!("nobody holds {unheld} of {names}"),
        since: None,
        look_at: format!(
            "{holder} holds {names} by another list of addresses, without these{instead}. Compare `addresses` in {} on both \
             nodes, copy the right file over the other, then: lbctl reload.",
            facts.path
        ),
    })
}

/// Other nodes of a vip by unicast whose address this machine has: it does not hear them.
pub(super) fn looped(facts: &Facts<'_>, group: &Group) -> Vec<Problem> {
    let members = group.status.iter().flat_map(|(_, status)| &status.members).zip(&group.config.members);
    let each = members.flat_map(|(said, member)| said.looped.iter().map(move |peer| (member, *peer)));
    each.map(|(member, peer)| Problem {
        what: format!("{peer} of {} is an address of this machine", node_of(facts, member, peer)),
        since: None,
        look_at: format!(
            "what that node sends is dropped here, so {} may get two holders. Take the address off (ip address shows where it is), or write the \
             node's own one into unicast_addresses of both files and restart lbctl.",
            member.name()
        ),
    })
    .collect()
}

/// Peers are the other nodes in the order of the file.
fn node_of<'a>(facts: &Facts<'a>, member: &MemberConfig, peer: IpAddr) -> &'a str {
    let peers = member.transport.unicast().map_or(&[][..], |unicast| &unicast.peers);
    let others = facts.config.cluster.nodes.iter().filter(|node| node.name != facts.identity.name());
    peers.iter().zip(others).find(|(own, _)| **own == peer).map_or("another node", |(_, node)| &node.name)
}

/// Of a drained node that knows of nobody who holds the vips of a group.
pub(super) fn kept_from(status: &Status, report: &Report) -> String {
    let names = report.vips.iter().map(|vip| vip.name.as_str()).collect::<Vec<_>>().join(", ");
    let is_in = |node: &&GroupNode| node.state.as_deref().is_some_and(|state| state != "Initialize");
    let mut others = report.nodes.iter().filter(|node| !node.local);
    if let Some(other) = others.clone().find(is_in) {
        return format!("the election is on: {} is in it, and this node is not.", other.name);
    }
    let by = status.drained.as_ref().map_or("", |drained| drained.by.as_str());
    let silent = others.clone().filter(|node| node.state.is_none()).map(|node| node.name.as_str());
    let silent = silent.collect::<Vec<_>>().join(" and ");
    let others = match silent.as_str() {
        "" if others.next().is_none() => "there is no other node".to_owned(),
        "" => "no other node can".to_owned(),
        silent => format!("nothing is heard of {silent}"),
    };
    format!(
        "{others}, and this node is drained by {by}: it takes over from nobody. Unless clients are served elsewhere, lbctl resume: this \
         node takes {names} then."
    )
}
