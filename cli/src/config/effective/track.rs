//! `[track.NAME]`.

use std::fmt::Display;

use super::{key, line, list, quoted, section, time};
use crate::config::model::{Cluster, Pace, Presence, Subject, Track};
use crate::config::raw::PROBES;

pub(super) fn track(out: &mut String, track: &Track, cluster: &Cluster) {
    section(out, "track", Some(&track.name));
    match &track.subject {
        Subject::Interface { by_node, down_delay, up_delay } => {
            line(out, "interface", by_each(by_node, cluster));
            line(out, "down_delay", time(*down_delay));
            line(out, "up_delay", time(*up_delay));
        }
        Subject::Address { by, by_node, pace } => {
            line(out, "address", by_each(by_node, cluster));
            let probe = PROBES.iter().find(|(_, question)| question == by);
            line(out, "probe", quoted(probe.map_or("icmp", |(name, _)| name)));
            write_pace(out, *pace);
        }
        Subject::Command { command, pace } => {
            line(out, "command", list(command.iter().map(|word| quoted(word))));
            write_pace(out, *pace);
        }
        Subject::File { path, fails_while, interval } => {
            line(out, "file", quoted(&path.to_string_lossy()));
            let word = match fails_while {
                Presence::Present => "present",
                Presence::Absent => "absent",
            };
            line(out, "fails_while", quoted(word));
            line(out, "interval", time(*interval));
        }
    }
    line(out, "failure", quoted(if track.is_fault { "fault" } else { "degradation" }));
    line(out, "groups", list(track.groups.iter().map(|group| quoted(group))));
    if !track.is_fault {
        line(out, "hold", time(track.hold));
    }
}

fn write_pace(out: &mut String, Pace { interval, timeout, rise, fall }: Pace) {
    line(out, "interval", time(interval));
    line(out, "timeout", time(timeout));
    line(out, "rise", rise);
    line(out, "fall", fall);
}

/// One value, or a table where nodes have others.
fn by_each<T: Display + PartialEq>(by_node: &[Option<T>], cluster: &Cluster) -> String {
    match by_node {
        [Some(first), rest @ ..] if rest.iter().all(|one| one.as_ref() == Some(first)) => {
            quoted(&first.to_string())
        }
        _ => {
            let each = by_node.iter().zip(&cluster.nodes);
            let each = each.filter_map(|(one, node)| {
                Some(format!("{} = {}", key(&node.name), quoted(&one.as_ref()?.to_string())))
            });
            format!("{{ {} }}", each.collect::<Vec<_>>().join(", "))
        }
    }
}
