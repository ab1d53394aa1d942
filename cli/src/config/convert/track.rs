//! `[track.NAME]`: what its failure means, and for whom.

use std::{path::PathBuf, time::Duration};

use lb_vrrp::{PeerKind, Preempt};

use super::by_node;
use crate::config::{
    diagnostic::{Report, Span},
    model::{Cluster, Group, Pace, Presence, Question, Subject, Target, Track},
    raw::{self, Named},
    reader::At,
    text,
};

const UP_DELAY: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);
/// Programs take longer than echoes.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// As for backends: bad news on an Active counts after this long at the earliest.
const SHORTEST_HOLD: Duration = Duration::from_secs(3);

/// In the order of the file.
pub(super) fn convert(
    tracks: &[Named<raw::Track>],
    groups: &[Group],
    cluster: &Cluster,
    report: &Report<'_>,
) -> Vec<Track> {
    tracks.iter().filter_map(|track| one(track, groups, cluster, report)).collect()
}

fn one(named: &Named<raw::Track>, groups: &[Group], cluster: &Cluster, report: &Report<'_>) -> Option<Track> {
    let raw = &named.value;
    let subject = kind(named, report).and_then(|kind| subject(raw, kind, cluster, report));
    let is_fault = raw.failure.as_ref().is_some_and(|failure| failure.value);
    if let (Some(hold), true) = (&raw.hold, is_fault) {
        report.error(hold.span, "hold is for a degradation, a fault counts at once; remove the key");
    }
    let names = names(raw, groups, report);
    check_moves(named, is_fault, &names, groups, cluster, report);
    let subject = subject?;
    let default = match &subject {
        Subject::Address { pace, .. } | Subject::Command { pace, .. } => {
            (2 * pace.interval + pace.timeout).max(SHORTEST_HOLD)
        }
        Subject::File { interval, .. } => (2 * *interval).max(SHORTEST_HOLD),
        Subject::Interface { .. } => SHORTEST_HOLD,
    };
    let hold = raw.hold.as_ref().map_or(default, |hold| hold.value);
    Some(Track { name: named.name.value.clone(), subject, is_fault, groups: names, hold })
}

/// The one key that says what is looked at.
fn kind(named: &Named<raw::Track>, report: &Report<'_>) -> Option<&'static str> {
    let raw = &named.value;
    let given = [
        raw.interface.as_ref().map(|at| (at.span(), "interface")),
        raw.address.as_ref().map(|at| (at.span(), "address")),
        raw.file.as_ref().map(|at| (at.span, "file")),
        raw.command.as_ref().map(|at| (at.span, "command")),
    ];
    let given: Vec<_> = given.into_iter().flatten().collect();
    match given.as_slice() {
        // It may be there, and could not be read.
        [] if report.has_errors() => None,
        [] => {
            let message = format!(
                "[track.{}] looks at nothing; write interface = \"eth1\", address = \"192.0.2.1\", file = \"/run/maintenance\" or command = [\"/usr/local/bin/fit\"]",
                named.name.value
            );
            report.error(named.name.span, message);
            None
        }
        [(_, kind)] => Some(kind),
        [(_, first), (span, second), ..] => {
            let message = format!(
                "a tracker looks at one thing, and this one has {first} already; give the {second} a [track.*] of its own"
            );
            report.error(*span, message);
            None
        }
    }
}

fn subject(raw: &raw::Track, kind: &'static str, cluster: &Cluster, report: &Report<'_>) -> Option<Subject> {
    let keys: [(&str, Option<Span>, &[&str]); 8] = [
        ("probe", raw.probe.as_ref().map(|at| at.span), &["address"]),
        ("down_delay", raw.down_delay.as_ref().map(|at| at.span), &["interface"]),
        ("up_delay", raw.up_delay.as_ref().map(|at| at.span), &["interface"]),
        ("interval", raw.interval.as_ref().map(|at| at.span), &["address", "file", "command"]),
        ("timeout", raw.timeout.as_ref().map(|at| at.span), &["address", "command"]),
        ("rise", raw.rise.as_ref().map(|at| at.span), &["address", "command"]),
        ("fall", raw.fall.as_ref().map(|at| at.span), &["address", "command"]),
        ("fails_while", raw.fails_while.as_ref().map(|at| at.span), &["file"]),
    ];
    for (key, span, kinds) in keys {
        if let Some(span) = span.filter(|_| !kinds.contains(&kind)) {
            let of = kinds.join(" or ");
            report
                .error(span, format!("{key} is for a tracker of {of}, and this is one of {kind}; remove it"));
        }
    }
    let time = |at: &Option<At<Duration>>, default| at.as_ref().map_or(default, |at| at.value);
    if let Some(by_node) = &raw.interface {
        let each = by_node::resolve(by_node, ("interface", "eth1"), cluster, report);
        return Some(Subject::Interface {
            by_node: each.iter().map(|at| at.map(|at| at.value.clone())).collect(),
            down_delay: time(&raw.down_delay, Duration::ZERO),
            up_delay: time(&raw.up_delay, UP_DELAY),
        });
    }
    let interval = time(&raw.interval, INTERVAL);
    let number = |at: &Option<At<u32>>, default| at.as_ref().map_or(default, |at| at.value);
    let pace = |timeout| Pace {
        interval,
        timeout: time(&raw.timeout, timeout),
        rise: number(&raw.rise, RISE),
        fall: number(&raw.fall, FALL),
    };
    if let Some(by_node) = &raw.address {
        let each = by_node::resolve(by_node, ("address", "192.0.2.1"), cluster, report);
        let own = each.iter().zip(&cluster.nodes).find_map(|(at, node)| {
            at.filter(|at| at.value.address == node.address).map(|at| (at, &node.name))
        });
        if let Some((at, node)) = own {
            let message = format!(
                "{} is the own address of node `{node}`, which would ask itself; write one beyond it",
                at.value.address
            );
            report.error(at.span, message);
        }
        let by_node: Vec<Option<Target>> = each.iter().map(|at| at.map(|at| at.value.clone())).collect();
        let by = raw.probe.as_ref().map_or(Question::Icmp, |at| at.value);
        return Some(Subject::Address { by, by_node, pace: pace(TIMEOUT) });
    }
    if let Some(command) = &raw.command {
        return Some(Subject::Command { command: command.value.clone(), pace: pace(COMMAND_TIMEOUT) });
    }
    Some(Subject::File {
        path: PathBuf::from(&raw.file.as_ref()?.value),
        fails_while: raw.fails_while.as_ref().map_or(Presence::Present, |at| at.value),
        interval,
    })
}

/// All of the file, if it names none.
fn names(raw: &raw::Track, groups: &[Group], report: &Report<'_>) -> Vec<String> {
    let known: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
    let Some(given) = &raw.groups else { return known.iter().map(|name| (*name).to_owned()).collect() };
    for name in &given.value {
        if !known.contains(&name.value.as_str()) && !known.is_empty() {
            let hint = text::suggestion(&name.value, &known, "group");
            report
                .error(name.span, format!("no [vip.*] has the group `{}`{hint}", name.value.escape_debug()));
        }
    }
    given.value.iter().map(|name| name.value.clone()).collect()
}

/// A failure that could never move an address would be a belief and no protection.
fn check_moves(
    named: &Named<raw::Track>,
    is_fault: bool,
    names: &[String],
    groups: &[Group],
    cluster: &Cluster,
    report: &Report<'_>,
) {
    if report.has_errors() {
        return;
    }
    let nothing = |why: &str| {
        let message = format!("[track.{}] can't move anything: {why}", named.name.value);
        report.error(named.name.span, message);
    };
    if groups.is_empty() {
        return nothing("the file has no [vip.*]; remove it");
    }
    if cluster.nodes.len() < 2 {
        return nothing("[cluster] has one node, so nobody could take over; add the other one, or remove it");
    }
    let is_never = |group: &&Group| group.by_node.iter().any(|node| node.preempt == Preempt::Never);
    let of_lbctl = cluster.nodes.iter().all(|node| node.kind == PeerKind::Lbctl);
    let mut stuck = groups.iter().filter(|group| names.contains(&group.name)).filter(is_never);
    if let (false, true, Some(group)) = (is_fault, of_lbctl, stuck.next()) {
        nothing(&format!(
            "with preempt = \"never\" (group {}) no node takes an address from a degraded one; write failure = \"fault\" \
             here, preempt = \"degraded\" there, or `groups` without that one",
            group.name
        ));
    }
}
