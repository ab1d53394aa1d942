//! How the servers of a backend are, in words.

use std::time::{Duration, SystemTime};

use super::server::ServerHealth;
use crate::{config::Backend, status::ServerState};

/// Servers that are told of one by one.
const TOLD: usize = 8;

/// `web1: L7STS 404 on HEAD /check.txt, 5 of 5 failed, down for 12 s; web2: ...`; without `now`, which is for words that are kept, no
/// age is told.
pub(crate) fn servers(backend: &Backend, servers: &[ServerHealth], now: Option<SystemTime>) -> String {
    let mut told: Vec<_> = backend
        .servers
        .iter()
        .zip(servers)
        .take(TOLD)
        .map(|(config, known)| {
            let is_up = matches!(known.state(), ServerState::Up | ServerState::NoCheck);
            if is_up && known.weight(config) == 0 {
                let by = match (&known.orders.weight, known.agent.weight) {
                    (Some(ordered), _) => format!(" by {}", ordered.by),
                    (None, Some(_)) => ", its agent wants so".to_owned(),
                    (None, None) => String::new(),
                };
                return format!("{}: weight 0{by}", config.name);
            }
            let reason =
                known.reason(backend.fall_of(config)).unwrap_or_else(|| "not checked yet".to_owned());
            let age = now.map(|now| age(now.duration_since(known.since).unwrap_or_default()));
            let age = age.map(|age| format!(" for {age}")).unwrap_or_default();
            format!("{}: {reason}, {}{age}", config.name, word(known.state()))
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
    fn ages_are_told_in_the_largest_unit_that_fits() {
        let ages = [0, 12, 119, 120, 7_200, 172_800].map(|seconds| age(Duration::from_secs(seconds)));
        assert_eq!(ages, ["0 s", "12 s", "119 s", "2 m", "2 h", "2 d"]);
    }
}
