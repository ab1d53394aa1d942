//! Why requests can't be served, in words; and how often that is said.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use super::server::ServerHealth;
use crate::{config::Backend, status::ServerState};

/// Servers that are told of one by one.
const TOLD: usize = 8;

/// Says once a second at most.
const EVERY: Duration = Duration::from_secs(1);

/// Lets one of many through each second, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    /// Milliseconds of the node's clock, plus one; 0 before the first.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl Seldom {
    /// How many were held back since the last one, if this one may pass.
    pub(crate) fn pass(&self, now: Duration) -> Option<u64> {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX / 2) + 1;
        let next = self.next.load(Ordering::Relaxed);
        let every = u64::try_from(EVERY.as_millis()).unwrap_or(1);
        let mine = now >= next
            && self.next.compare_exchange(next, now + every, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            return Some(self.held_back.swap(0, Ordering::Relaxed));
        }
        self.held_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// `web1: L7STS 404 on HEAD /check.txt, 5 of 5 failed, down for 12 s; web2: ...`
pub(crate) fn servers(backend: &Backend, servers: &[ServerHealth], now: SystemTime) -> String {
    let fall = backend.check.as_ref().map_or(1, |check| check.fall);
    let mut told: Vec<_> = backend
        .servers
        .iter()
        .zip(servers)
        .take(TOLD)
        .map(|(config, known)| {
            let reason = known.reason(fall).unwrap_or_else(|| "not checked yet".to_owned());
            let age = age(now.duration_since(known.since).unwrap_or_default());
            format!("{}: {reason}, {} for {age}", config.name, word(known.state()))
        })
        .collect();
    if servers.is_empty() {
        told.push("the backend has no servers".to_owned());
    }
    if servers.len() > TOLD {
        told.push(format!("and {} more", servers.len() - TOLD));
    }
    told.join("; ")
}

fn word(state: ServerState) -> &'static str {
    match state {
        ServerState::Unchecked => "unknown",
        ServerState::Up => "up",
        ServerState::Down => "down",
        ServerState::AgentDown => "down (agent)",
        ServerState::NoBalance => "NOLB",
        ServerState::Drain => "DRAIN",
        ServerState::Maintenance => "MAINT",
        ServerState::NoCheck => "not checked",
    }
}

/// In the largest unit that fits.
fn age(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} m", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_each_second_and_the_others_are_counted() {
        let seldom = Seldom::default();
        let at = Duration::from_millis;
        assert_eq!(seldom.pass(at(0)), Some(0));
        assert_eq!([seldom.pass(at(0)), seldom.pass(at(500)), seldom.pass(at(999))], [None; 3]);
        assert_eq!(seldom.pass(at(1_000)), Some(3));
        assert_eq!(seldom.pass(at(9_000)), Some(0));
    }

    #[test]
    fn ages_are_told_in_the_largest_unit_that_fits() {
        let ages = [0, 12, 119, 120, 7_200, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0 s", "12 s", "119 s", "2 m", "2 h", "2 d"]);
    }
}
