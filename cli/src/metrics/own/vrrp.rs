//! Groups of addresses, as this node sees them.

use super::number;
use crate::{
    control::{Group, Ready, Status},
    metrics::text::{Kind, Text},
};

pub(super) const STATES: [&str; 3] = ["Active", "Backup", "Initialize"];

const READY: [&str; 5] = ["yes", "degraded", "starting", "leaving", "fault"];

/// The names of the speaker's counters that are metrics of their own. All others are events.
const OWN: [&str; 8] = [
    "advertisements_sent",
    "priority_zero_sent",
    "advertisements_received",
    "priority_zero_received",
    "announcements",
    "became_active",
    "became_backup",
    "became_initialize",
];

/// Of an advertisement that can't be taken, before its reason.
pub(super) const REJECT: &str = "reject_";

pub(super) fn write(text: &mut Text, status: &Status) {
    let groups = status.groups.as_slice();
    states(text, groups);
    advertisements(text, groups);
}

fn states(text: &mut Text, groups: &[Group]) {
    let local = |group: &Group| group.nodes.iter().find(|node| node.local).cloned();
    let help = "1 for the state of this node: Active holds the addresses.";
    let mut metric = text.metric("lbctl_vrrp_state", Kind::Gauge, help);
    for group in groups {
        let state = local(group).and_then(|node| node.state);
        metric.states(&[("group", &group.name)], &STATES, state.as_deref());
    }
    let help = "1 for how good a holder of the addresses this node is.";
    let mut metric = text.metric("lbctl_vrrp_ready", Kind::Gauge, help);
    for group in groups {
        let ready = local(group).and_then(|node| node.ready).map(|ready| match ready {
            Ready::Yes => "yes",
            Ready::Degraded { .. } => "degraded",
            Ready::Starting { .. } => "starting",
            Ready::Leaving { .. } => "leaving",
            Ready::Fault { .. } => "fault",
        });
        metric.states(&[("group", &group.name)], &READY, ready);
    }
    let help = "What this node advertises, or would.";
    let mut metric = text.metric("lbctl_vrrp_priority", Kind::Gauge, help);
    for group in groups {
        if let Some(priority) = local(group).and_then(|node| node.priority) {
            metric.sample(&[("group", &group.name)], priority.into());
        }
    }
    let help = "Nodes that hold the addresses, as far as this one knows: 1 when all is well. Absent while it can't know.";
    let mut metric = text.metric("lbctl_vrrp_holders", Kind::Gauge, help);
    for group in groups.iter().filter(|group| !group.is_holder_unknown()) {
        metric.sample(&[("group", &group.name)], number(group.holders.len() as u64));
    }
    let help = "Changes of the state of this node since the speaker began, by what it became.";
    let mut metric = text.metric("lbctl_vrrp_transitions_total", Kind::Counter, help);
    for group in groups {
        for state in STATES {
            let count = count(group, &format!("became_{}", state.to_ascii_lowercase()));
            metric.sample(&[("group", &group.name), ("state", state)], count);
        }
    }
    let help = "When this node changed its state last, in seconds since 1970.";
    let mut metric = text.metric("lbctl_vrrp_last_transition_timestamp_seconds", Kind::Gauge, help);
    for group in groups {
        if let Some(since) = local(group).and_then(|node| node.since) {
            metric.sample(&[("group", &group.name)], since.unix_seconds());
        }
    }
}

fn advertisements(text: &mut Text, groups: &[Group]) {
    let ways = [
        (
            "lbctl_vrrp_advertisements_sent_total",
            "Advertisements that this node sent; a resignation has priority 0.",
            ["advertisements_sent", "priority_zero_sent"],
        ),
        (
            "lbctl_vrrp_advertisements_received_total",
            "Advertisements of others that were valid; a resignation has priority 0.",
            ["advertisements_received", "priority_zero_received"],
        ),
    ];
    for (name, help, [all, resignations]) in ways {
        let mut metric = text.metric(name, Kind::Counter, help);
        for group in groups {
            let resignations = count(group, resignations);
            let ordinary = (count(group, all) - resignations).max(0.0);
            metric.sample(&[("group", &group.name), ("kind", "ordinary")], ordinary);
            metric.sample(&[("group", &group.name), ("kind", "resignation")], resignations);
        }
    }
    let help = "Advertisements that were not valid or not meant for this group, by reason.";
    let mut metric = text.metric("lbctl_vrrp_advertisements_rejected_total", Kind::Counter, help);
    for group in groups {
        for (name, rejected) in &group.counters {
            if let Some(reason) = name.strip_prefix(REJECT) {
                metric.sample(&[("group", &group.name), ("reason", reason)], number(*rejected));
            }
        }
    }
    let help = "Rounds of gratuitous ARP and neighbour advertisements.";
    let mut metric = text.metric("lbctl_vrrp_announcements_total", Kind::Counter, help);
    groups.iter().for_each(|group| {
        metric.sample(&[("group", &group.name)], count(group, "announcements"));
    });
    let help = "What else the speaker counts, by name: errors, what other nodes do wrong, being late.";
    let mut metric = text.metric("lbctl_vrrp_events_total", Kind::Counter, help);
    for group in groups {
        let others = group.counters.iter();
        let others = others.filter(|(name, _)| !name.starts_with(REJECT) && !OWN.contains(&name.as_str()));
        others.for_each(|(event, count)| {
            metric.sample(&[("group", &group.name), ("event", event)], number(*count));
        });
    }
}

fn count(group: &Group, name: &str) -> f64 {
    number(group.counters.get(name).copied().unwrap_or(0))
}
