//! Another cluster with our number.

use std::net::IpAddr;

use lb_vrrp::{
    MemberConfig, Moment,
    status::{Advertiser, MemberStatus, Rejected, Said},
};

use super::{AlarmName, Facts, Group, Problem, alarm_since};
use crate::daemon::report::{Nodes, is_from};

/// So many are named.
const NAMED: usize = 4;

/// Does an advertisement for `member` from `source` come from a node of the file?
pub(in crate::daemon) fn is_node(nodes: &Nodes<'_>, member: &MemberConfig, source: IpAddr) -> bool {
    nodes.config.cluster.nodes.iter().any(|node| is_from(nodes, member, source, &node.name))
}

/// Who is heard at a virtual router and is no node of the file.
pub(in crate::daemon) fn strangers_at<'a>(
    nodes: &Nodes<'_>,
    now: Moment,
    config: &MemberConfig,
    member: &'a MemberStatus,
) -> impl Iterator<Item = &'a Advertiser> {
    let heard = member.advertisers.iter().filter(move |one| one.is_heard(now));
    heard.filter(move |one| match &one.said {
        Said::Others(_) => true,
        Said::Ours(_) | Said::Rejected(_) => !is_node(nodes, config, one.said.source()),
    })
}

fn members(group: &Group) -> impl Iterator<Item = (&MemberConfig, &MemberStatus)> {
    let said = group.status.iter().flat_map(|(_, status)| &status.members);
    group.config.members.iter().zip(said)
}

/// Each once, in their [order](Advertiser::order).
fn all<'a>(nodes: &Nodes<'_>, now: Moment, group: &'a Group) -> Vec<(&'a MemberConfig, &'a Advertiser)> {
    let mut all: Vec<_> = members(group)
        .flat_map(|(config, member)| strangers_at(nodes, now, config, member).map(move |one| (config, one)))
        .collect();
    all.sort_by_key(|(_, one)| one.order());
    let mut seen = Vec::new();
    all.retain(|(_, one)| {
        let source = one.said.source();
        let is_new = !seen.contains(&source);
        seen.push(source);
        is_new
    });
    all
}

/// What was dropped of late because whoever sent it has other settings, with the virtual router that it was for.
pub(in crate::daemon) fn rejected(
    now: Moment,
    group: &Group,
) -> impl Iterator<Item = (&MemberConfig, &Rejected)> {
    members(group).flat_map(move |(config, member)| {
        let heard = member.advertisers.iter().filter(move |one| one.is_heard(now));
        heard.filter_map(move |one| match &one.said {
            Said::Rejected(found) => Some((config, found)),
            Said::Ours(_) | Said::Others(_) => None,
        })
    })
}

fn uses_too(member: &MemberConfig, source: IpAddr) -> String {
    format!("{source} uses vrid {} of {} too", member.vrid, member.vip)
}

/// `192.0.2.78 (for other addresses)`.
fn named(one: &Advertiser) -> String {
    let kind = match &one.said {
        Said::Ours(_) => "for the same addresses",
        Said::Rejected(_) => "dropped",
        Said::Others(_) => "for other addresses",
    };
    format!("{} ({kind})", one.said.source())
}

/// `so do 192.0.2.78 (dropped) and 3 more`, of all but the first.
fn others(group: &Group, all: &[(&MemberConfig, &Advertiser)]) -> Option<String> {
    let [_, others @ ..] = all else { return None };
    // One may be heard for several virtual routers, so it is at least as many as at the one with the most.
    let unsaid = members(group).map(|(_, member)| member.unsaid).max().unwrap_or_default();
    let named: Vec<_> = others.iter().take(NAMED).map(|(_, one)| named(one)).collect();
    let verb = if others.len() + unsaid == 1 { "does" } else { "do" };
    let more = others.len().saturating_sub(NAMED) + unsaid;
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!named.is_empty()).then(|| format!("so {verb} {}{more}", named.join(", ")))
}

/// In a clause.
pub(in crate::daemon) fn stranger(nodes: &Nodes<'_>, now: Moment, group: &Group) -> Option<String> {
    let all = all(nodes, now, group);
    let (member, first) = all.first()?;
    let what = uses_too(member, first.said.source());
    let what = match &first.said {
        Said::Others(heard) => format!("{what}, for other addresses, with priority {}", heard.priority),
        Said::Rejected(found) => format!("{what}: {}", found.why),
        Said::Ours(heard) => format!("{what}, for the same addresses, with priority {}", heard.priority),
    };
    Some(match others(group, &all) {
        Some(others) => format!("{what}; {others}"),
        None => what,
    })
}

pub(super) fn find(facts: &Facts<'_>, group: &Group) -> Option<Problem> {
    let all = all(&facts.nodes(), facts.at.moment, group);
    let (member, first) = all.first()?;
    let look_at = match &first.said {
        Said::Others(_) => {
            "it is another cluster's, for other addresses. One of the two clusters needs another vrid: this one does not \
             listen to it, but the other one may listen to this, and lose its addresses."
                .to_owned()
        }
        Said::Rejected(found) => format!(
            "it is no node of {}, and what it sends is dropped: {}. One of the two clusters needs another vrid.",
            facts.path, found.why
        ),
        Said::Ours(_) => format!(
            "it is no node of {}. One of the two clusters needs another vrid: until then only one of them holds its addresses.",
            facts.path
        ),
    };
    let look_at = match others(group, &all) {
        Some(others) => format!("{look_at} And {others}."),
        None => look_at,
    };
    Some(Problem {
        what: uses_too(member, first.said.source()),
        since: alarm_since(facts, AlarmName::ForeignCluster, Some(group)),
        look_at,
    })
}
