//! A server of a backend as an operator sees it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::control::{Ordered, ServerStatistics, Timestamp};

/// What is known of a server.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Its first check is not done.
    Unchecked,
    /// Usable.
    Up,
    /// Not usable.
    Down,
    /// Its agent says that it is down.
    AgentDown,
    /// Only for clients that persist on it: its check was answered with 404.
    NoBalance,
    /// Only for clients that persist on it: its agent wants so.
    Drain,
    /// For nobody: its agent wants so.
    Maintenance,
    /// Usable; nobody checks it.
    NoCheck,
}

/// A server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// As the file has it: an address or a name, with a port.
    pub address: String,
    /// Where it is now; none while its name has never resolved.
    pub resolved: Option<SocketAddr>,
    /// Since when and why its name does not resolve.
    pub name_problem: Option<NameProblem>,
    /// What is known of it.
    pub state: ServerState,
    /// Since when.
    pub since: Timestamp,
    /// Requests (http) or connections (tcp) in flight.
    pub in_flight: u64,
    /// Waiting in line for this server alone (persistence).
    pub queued: u64,
    /// Since the start.
    pub requests_total: u64,
    /// Failed attempts to connect.
    pub connect_errors: u64,
    /// Share now.
    pub weight: u16,
    /// Percent of its weight and limit that it gets: less than 100 in its slow start.
    pub share: u8,
    /// Used for new requests only when no other is usable.
    pub backup: bool,
    /// Limit, if any.
    pub maxconn: Option<u32>,
    /// The last check.
    pub last_check: Option<Check>,
    /// The rest of what HAProxy's statistics tell.
    #[serde(default)]
    pub statistics: ServerStatistics,
    /// What an operator has ordered of it.
    #[serde(default)]
    pub ordered: Vec<Ordered>,
}

/// A name does not resolve; the last good answer is still used if there was one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NameProblem {
    /// In words.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// The outcome of a check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Check {
    /// Passed?
    pub passed: bool,
    /// HAProxy's word for how it ended: `L4OK`, `L4CON`, `L7STS`, ...
    #[serde(default)]
    pub code: String,
    /// `200`, `404 on HEAD /check.txt`, `connection refused`; may be empty.
    pub what: String,
    /// The same as HAProxy has it: `Not Found`, `Connection refused`; empty where its code says all.
    #[serde(default)]
    pub info: String,
    /// How long it took.
    pub microseconds: u64,
    /// This many in a row had the same outcome; 0 if it counts for nothing.
    pub in_a_row: u32,
    /// Failures in a row that take the server down.
    pub fall: u32,
    /// When it ended.
    pub at: Timestamp,
}

impl Server {
    /// Can a new client be served there, now or when no better one is left? Weight 0 leaves it to those that persist on it.
    pub fn is_usable(&self) -> bool {
        let is_up = matches!(self.state, ServerState::Up | ServerState::NoCheck);
        self.statistics.is_in_use || is_up && self.weight > 0
    }

    /// What its state comes from, in a clause: what its check found, what its agent says, or its weight.
    pub fn why(&self) -> String {
        let said = self.agent_text();
        match self.state {
            ServerState::Drain | ServerState::Maintenance if self.duty_ordered().is_some() => {
                self.duty_ordered().map(|ordered| format!("by {}", ordered.by)).unwrap_or_default()
            }
            ServerState::AgentDown | ServerState::Drain | ServerState::Maintenance => {
                said.unwrap_or_else(|| "its agent wants so".to_owned())
            }
            ServerState::NoBalance => format!("{} (disable_on_404)", self.check_text()),
            ServerState::Up | ServerState::NoCheck | ServerState::Unchecked if self.weight == 0 => match self
                .ordered
                .iter()
                .find(|ordered| ordered.what.starts_with("weight"))
                .map(|ordered| format!("by {}", ordered.by))
                .or(said)
            {
                Some(said) => format!("weight 0, {said}"),
                None => "weight 0".to_owned(),
            },
            ServerState::Up | ServerState::NoCheck | ServerState::Unchecked | ServerState::Down => {
                self.check_text()
            }
        }
    }

    /// The order because of which it is in drain or in maintenance.
    pub fn duty_ordered(&self) -> Option<&Ordered> {
        let word = match self.state {
            ServerState::Drain => "drain",
            ServerState::Maintenance => "maint",
            _ => return None,
        };
        self.ordered.iter().find(|ordered| ordered.what == word)
    }

    /// What its agent said last: `agent: 75% #busy`.
    pub fn agent_text(&self) -> Option<String> {
        self.statistics.agent.as_ref().map(|said| format!("agent: {said}"))
    }

    /// What its last check found, in HAProxy's words: `L7STS 404 on HEAD /check.txt, 5 of 5 failed`; of a server that is down and
    /// answers again, `L4OK, up after 1 more good check`.
    pub fn check_text(&self) -> String {
        let Some(check) = &self.last_check else { return "-".to_owned() };
        let (text, is_down) = (check.text(), self.state == ServerState::Down);
        if check.passed {
            return match self.statistics.level.filter(|_| is_down) {
                Some(level) => match level.rise.saturating_sub(level.now) {
                    0 | 1 => format!("{text}, up after 1 more good check"),
                    more => format!("{text}, up after {more} more good checks"),
                },
                None => text,
            };
        }
        if check.in_a_row == 0 {
            return format!("{text}, not counted");
        }
        let failed = check.in_a_row.min(check.fall);
        // The first check of all decides alone, and one that fails on the way back says it all.
        if is_down && failed < check.fall {
            text
        } else {
            format!("{text}, {failed} of {} failed", check.fall)
        }
    }
}

impl Check {
    /// `L7STS 404 on HEAD /check.txt`
    pub fn text(&self) -> String {
        format!("{} {}", self.code, self.what).trim().to_owned()
    }
}
