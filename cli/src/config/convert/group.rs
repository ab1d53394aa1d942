//! Vips of one `group` have one fate: one machine per node, whose priority and preemption they share.

use std::time::Duration;

use lb_vrrp::{GroupConfig, PeerKind, Preempt, Priority};

use super::vip::ByNode;
use crate::config::{
    diagnostic::Report,
    model::{Cluster, Global, Group},
    raw::{self, Named, Preference},
    reader::At,
    text,
};

/// The group of vips that name none.
pub(crate) const DEFAULT_GROUP: &str = "default";
const PREEMPT_DELAY: Duration = Duration::from_secs(5);
const GARP_REFRESH: Duration = Duration::from_secs(60);
/// Beside a foreign node: keepalived that hears a better Active after a partition goes without a word, having told clients that it has
/// the addresses. Nothing shows the winner that it has to announce again.
const GARP_REFRESH_FOREIGN: Duration = Duration::from_secs(1);

/// In the order in which the file first names them; frontends and backends are filled in later.
pub(super) fn convert(
    vips: &[Named<raw::Vip>],
    members: &[Option<ByNode>],
    cluster: &Cluster,
    report: &Report<'_>,
) -> Vec<Group> {
    let mut names: Vec<&str> = Vec::new();
    for vip in vips {
        if !names.contains(&name(&vip.value)) {
            names.push(name(&vip.value));
        }
    }
    let groups = names.iter().map(|group| {
        let of_group = |vip: &&Named<raw::Vip>| name(&vip.value) == *group;
        let own: Vec<_> = vips.iter().filter(of_group).collect();
        let members: Vec<_> =
            vips.iter().zip(members).filter(|(vip, _)| of_group(vip)).map(|(_, m)| m).collect();
        one(group, &own, &members, cluster, report)
    });
    groups.collect()
}

pub(super) fn name(vip: &raw::Vip) -> &str {
    vip.group.as_ref().map_or(DEFAULT_GROUP, |group| &group.value)
}

fn one(
    name: &str,
    vips: &[&Named<raw::Vip>],
    members: &[&Option<ByNode>],
    cluster: &Cluster,
    report: &Report<'_>,
) -> Group {
    let preempt = preempt(vips, report);
    let priorities = priorities(vips, cluster, report);
    let garp_refresh = agreed(vips, "garp_refresh", |vip| vip.garp_refresh.as_ref(), report);
    let is_mixed = cluster.nodes.iter().any(|node| node.kind == PeerKind::Keepalived);
    let usual = if is_mixed { GARP_REFRESH_FOREIGN } else { GARP_REFRESH };
    let garp_refresh = garp_refresh.map_or(usual, |refresh| refresh.value);
    let by_node = cluster.nodes.iter().enumerate().zip(priorities).map(|((index, _), priority)| {
        let others = cluster.nodes.iter().enumerate().filter(|(other, _)| *other != index);
        let foreign = others.clone().any(|(_, other)| other.kind == PeerKind::Keepalived);
        let members: Vec<_> = members
            .iter()
            .copied()
            .flatten()
            .filter_map(|by_node| by_node.get(index))
            .flatten()
            .cloned()
            .collect();
        let mut peers: Vec<_> = others.map(|(_, other)| other.address).collect();
        for peer in members.iter().filter_map(|member| member.transport.unicast()).flat_map(|one| &one.peers)
        {
            if !peers.contains(peer) {
                peers.push(*peer);
            }
        }
        GroupConfig {
            name: name.to_owned(),
            priority,
            first: index == 0,
            preempt,
            peer: if foreign { PeerKind::Keepalived } else { PeerKind::Lbctl },
            peers,
            garp_refresh,
            // That of [global].
            stall_timeout: Global::default().stall_timeout,
            authentication: cluster.authentication(),
            members,
        }
    });
    Group { name: name.to_owned(), by_node: by_node.collect(), frontends: Vec::new(), backends: Vec::new() }
}

/// The value of a key that belongs to the whole group: at least one vip has it, and no two differ.
fn agreed<'a, T: PartialEq>(
    vips: &[&'a Named<raw::Vip>],
    key: &str,
    of: impl Fn(&'a raw::Vip) -> Option<&'a At<T>>,
    report: &Report<'_>,
) -> Option<&'a At<T>> {
    let mut given = vips.iter().filter_map(|vip| of(&vip.value).map(|value| (vip, value)));
    let (first, value) = given.next()?;
    for (_, other) in given.filter(|(_, other)| other.value != value.value) {
        let message = format!(
            "{key} belongs to the group, and [vip.{}] of the same group has {} in line {}; write the same, \
             or give this vip a `group` of its own",
            first.name.value,
            report.source(value.span),
            report.line(value.span),
        );
        report.error(other.span, message);
    }
    Some(value)
}

fn preempt(vips: &[&Named<raw::Vip>], report: &Report<'_>) -> Preempt {
    let preference = agreed(vips, "preempt", |vip| vip.preempt.as_ref(), report);
    let delay = agreed(vips, "preempt_delay", |vip| vip.preempt_delay.as_ref(), report);
    let preference = preference.map_or(Preference::Degraded, |preference| preference.value);
    if let (Some(delay), true) = (delay, preference != Preference::Always) {
        report.error(
            delay.span,
            "preempt_delay is used by preempt = \"always\" alone; write that too, or remove the key",
        );
    }
    match preference {
        Preference::Degraded => Preempt::Degraded,
        Preference::Always => Preempt::Always { delay: delay.map_or(PREEMPT_DELAY, |delay| delay.value) },
        Preference::Never => Preempt::Never,
    }
}

/// By node. The node that `prefer` names first gets the highest of the nodes' priorities, and so on; the nodes it
/// does not name follow in their own order.
fn priorities(vips: &[&Named<raw::Vip>], cluster: &Cluster, report: &Report<'_>) -> Vec<Priority> {
    let wanted = |vip: &raw::Vip| {
        vip.prefer.as_ref().map(|list| list.value.iter().map(|node| node.value.clone()).collect::<Vec<_>>())
    };
    let mut given =
        vips.iter().filter_map(|vip| Some((vip, vip.value.prefer.as_ref()?, wanted(&vip.value)?)));
    let own = || cluster.nodes.iter().map(|node| node.priority).collect();
    let Some((first, list, order)) = given.next() else { return own() };
    for (_, other, _) in given.filter(|(_, _, other)| *other != order) {
        let message = format!(
            "prefer belongs to the group, and [vip.{}] of the same group has {} in line {}; write the same, \
             or give this vip a `group` of its own",
            first.name.value,
            report.source(list.span),
            report.line(list.span),
        );
        report.error(other.span, message);
    }
    let names: Vec<_> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
    let mut ranking: Vec<usize> = Vec::new();
    for vip in vips {
        let mut seen: Vec<usize> = Vec::new();
        for node in vip.value.prefer.iter().flat_map(|list| &list.value) {
            match cluster.nodes.iter().position(|known| known.name == node.value) {
                None if names.is_empty() => {}
                None => {
                    let hint = text::suggestion(&node.value, &names, "node");
                    report
                        .error(node.span, format!("no node is called `{}`{hint}", node.value.escape_debug()));
                }
                Some(index) if seen.contains(&index) => {
                    report.error(
                        node.span,
                        format!("node `{}` is in the list already; remove one", node.value),
                    );
                }
                Some(index) => seen.push(index),
            }
        }
        if ranking.is_empty() {
            ranking = seen;
        }
    }
    let mut by_own_priority: Vec<usize> = (0..cluster.nodes.len()).collect();
    by_own_priority
        .sort_by_key(|index| std::cmp::Reverse(cluster.nodes.get(*index).map(|node| node.priority)));
    let mut values: Vec<Priority> = own();
    values.sort_by_key(|priority| std::cmp::Reverse(*priority));
    ranking.extend(by_own_priority.into_iter().filter(|index| !ranking.contains(index)).collect::<Vec<_>>());
    let rank = |index| ranking.iter().position(|ranked| *ranked == index);
    (0..cluster.nodes.len()).filter_map(|index| values.get(rank(index)?).copied()).collect()
}
