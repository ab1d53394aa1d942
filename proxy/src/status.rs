//! What the data plane says of itself: plain data, rendered elsewhere.

mod check;
mod collect;
mod sample;
mod steps;
mod traffic;

pub use crate::refusals::Why;
pub use check::{CheckCode, CheckReport};
pub(crate) use collect::collect;
pub(crate) use sample::{sample, tell_held_back};
pub use steps::{Histogram, StepTimes, Steps};
pub use traffic::{Compressed, Handshakes, Level, Outage, PerSecond, ServerHistory, Traffic};

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Mode, ServerAddress},
    health::orders::ServerOrders,
    listener::pause::Pause,
};

/// Everything an operator sees. Built on demand from the workers' counters; never touches a worker.
#[derive(Clone, Debug)]
pub struct Status {
    /// In the order of the configuration.
    pub frontends: Vec<FrontendStatus>,
    /// In the order of the configuration.
    pub backends: Vec<BackendStatus>,
    /// Client connections of the process.
    pub connections: u64,
    /// Their limit.
    pub maxconn: u64,
    /// Since when clients wait for one, if they do.
    pub full_since: Option<SystemTime>,
    /// What is remembered of clients: one for each table of the configuration.
    pub tables: Vec<TableStatus>,
    /// Counts the configurations that were in force since the start, from 1.
    pub generation: u64,
    /// Configurations that are not in force any more and that connections still use.
    pub old_generations: u64,
    /// Where logs go: one for each place of the configuration.
    pub logs: Vec<LogStatus>,
    /// Of each worker: how much later than it should its loop did what was due, ten times a second.
    pub delays: Vec<Histogram>,
}

/// A place that lines of logs go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogStatus {
    /// `file /var/log/lbctl/access.log`
    pub target: String,
    /// Lines that it has got.
    pub written_total: u64,
    /// Lines that it was too slow for, or refused.
    pub lost_total: u64,
    /// Why it gets nothing now.
    pub problem: Option<LogProblem>,
}

/// A log can't be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogProblem {
    /// In a clause: `the disk is full`.
    pub what: String,
    /// Since when.
    pub since: SystemTime,
}

impl LogProblem {
    pub(crate) fn now(what: String) -> Self {
        Self { what, since: SystemTime::now() }
    }
}

/// A table of clients.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableStatus {
    /// Whose it is: `backend app, stick`.
    pub name: String,
    /// What is remembered now.
    pub entries: u64,
    /// The most that may be, without sources that have connections open.
    pub size: u64,
    /// Entries that had to go before their time because the table was full.
    pub evictions_total: u64,
}

/// A frontend.
#[derive(Clone, Debug)]
pub struct FrontendStatus {
    /// Its name.
    pub name: String,
    /// Its mode.
    pub mode: Mode,
    /// Its addresses.
    pub binds: Vec<BindStatus>,
    /// It takes no new connections.
    pub paused: Option<Pause>,
    /// Client connections now.
    pub connections: u64,
    /// The most that there were.
    pub connections_peak: u64,
    /// Their limit.
    pub maxconn: u64,
    /// Since when clients wait for one, if they do.
    pub full_since: Option<SystemTime>,
    /// Since the start.
    pub connections_total: u64,
    /// Of these, per second.
    pub connection_rate: PerSecond,
    /// Since the start.
    pub requests_total: u64,
    /// Of these, per second.
    pub request_rate: PerSecond,
    /// Requests that came to nothing by their own fault: not valid, not whole in time, broken off.
    pub request_errors: u64,
    /// Over the last ten seconds.
    pub requests_per_second: f64,
    /// Responses by first digit (index 0 = others, 1..=5).
    pub responses: [u64; 6],
    /// 5xx over the last minute.
    pub server_errors_per_minute: u64,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Of its responses.
    pub compressed: Compressed,
    /// Requests that came to no backend, of the last hour.
    pub refused: Vec<Refused>,
    /// Refused requests and limits that were hit, by name.
    pub counters: Vec<(&'static str, u64)>,
}

/// Requests that were refused for one reason, one after the other with less than a minute between them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The reason.
    pub why: Why,
    /// How many.
    pub count: u64,
    /// The first.
    pub since: SystemTime,
    /// The last; of the last hour.
    pub last: SystemTime,
    /// In words, as in the log.
    pub reason: String,
}

/// Servers that are connected to and don't answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unanswered {
    /// 502 and 504 of the last ten seconds that stand for an answer which did not come, or made no sense.
    pub count: u64,
    /// All answers of the last ten seconds.
    pub of: u64,
    /// The first of such, with less than a minute between them.
    pub since: SystemTime,
    /// The last, in words.
    pub reason: String,
}

/// A listening address.
#[derive(Clone, Debug)]
pub struct BindStatus {
    /// As the file has it.
    pub label: String,
    /// Where; `None` for a Unix-domain socket, and for an inherited one that is not adopted.
    pub address: Option<SocketAddr>,
    /// `None` if bound, else why not.
    pub error: Option<String>,
}

/// A backend.
#[derive(Clone, Debug)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Its mode.
    pub mode: Mode,
    /// Connections at which servers with a `minconn` are allowed all of their `maxconn`.
    pub fullconn: u32,
    /// In line, for any server or for one alone ([`Traffic::queued`] has these apart).
    pub queued: u64,
    /// What went through it.
    pub traffic: Traffic,
    /// Of its servers' responses.
    pub compressed: Compressed,
    /// Requests that came to no server, of the last hour.
    pub refused: Vec<Refused>,
    /// Most answers of the last ten seconds were not its servers'.
    pub unanswered: Option<Unanswered>,
    /// When it had no usable server.
    pub outage: Outage,
    /// How long exchanges took that a server answered (tcp: was connected for); `None` where no frontend has statistics.
    pub totals: Option<Histogram>,
    /// In the order of the configuration.
    pub servers: Vec<ServerStatus>,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerState {
    /// Its first check is not done.
    Unchecked,
    /// Usable.
    Up,
    /// Not usable.
    Down,
    /// Its agent says that it is down.
    AgentDown,
    /// Only for clients that persist on it: its check was answered with 404 (`disable_on_404`).
    NoBalance,
    /// Only for clients that persist on it: an operator or its agent wants so.
    Drain,
    /// For nobody: an operator or its agent wants so.
    Maintenance,
    /// Usable; nobody checks it.
    NoCheck,
}

impl ServerState {
    /// How programs are told of it: `agent_down`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Up => "up",
            Self::Down => "down",
            Self::AgentDown => "agent_down",
            Self::NoBalance => "no_balance",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
            Self::NoCheck => "no_check",
        }
    }
}

/// A name does not resolve; the last good answer is still used if there was one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NameProblem {
    /// `no such name (NXDOMAIN from 192.0.2.53:53)`
    pub why: String,
    /// Since when.
    pub since: SystemTime,
}

/// A server.
#[derive(Clone, Debug)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// As the file has it.
    pub address: ServerAddress,
    /// Where it is now; `None` while its name has never resolved, and on a Unix-domain socket.
    pub resolved: Option<SocketAddr>,
    /// Since when and why its name does not resolve.
    pub name_problem: Option<NameProblem>,
    /// What is known of it.
    pub state: ServerState,
    /// Since when.
    pub since: SystemTime,
    /// What went through it.
    pub traffic: Traffic,
    /// What it has been through.
    pub history: ServerHistory,
    /// How far from up and down it is; `None` if it is not checked, or not yet.
    pub level: Option<Level>,
    /// It is checked.
    pub is_checked: bool,
    /// Errors of its traffic are watched.
    pub is_observed: bool,
    /// It takes new requests at this moment: usable, and no backup while others are.
    pub is_in_use: bool,
    /// Requests (http) or connections (tcp) in flight.
    pub in_flight: u64,
    /// Since the start.
    pub requests_total: u64,
    /// Failed attempts to connect.
    pub connect_errors: u64,
    /// Share now: what the file says, changed by its agent.
    pub weight: u16,
    /// Percent of its weight and limit that it gets: less than 100 in its slow start.
    pub share: u8,
    /// Used for new requests only when no other is usable.
    pub backup: bool,
    /// Limit, if any.
    pub maxconn: Option<u32>,
    /// The last check.
    pub last_check: Option<CheckReport>,
    /// What its agent said last.
    pub agent: Option<String>,
    /// What an operator has ordered.
    pub orders: ServerOrders,
}

/// What decides the node's readiness; watched by the composition root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Health {
    /// Every checked server of every backend has had its first check.
    pub first_round_done: bool,
    /// In the order of the configuration.
    pub backends: Vec<BackendHealth>,
    /// One per listening address.
    pub listeners: Vec<ListenerHealth>,
    /// One per worker: for how long it has owed an answer, if that is 1 s and more.
    pub stalled_workers: Vec<Option<Duration>>,
}

/// Usable servers of a backend, by active checks alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BackendHealth {
    /// Its name.
    pub name: String,
    /// Counts for readiness: `readiness` of its configuration, and a frontend reaches it.
    pub counts: bool,
    /// Servers that are up.
    pub usable: usize,
    /// None is, and the first check of some is not done: they are new. Neither good nor bad news yet.
    pub pending: bool,
    /// All.
    pub total: usize,
    /// Why the last one went down, in words.
    pub reason: Option<String>,
}

/// Is a listener bound?
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerHealth {
    /// Its frontend.
    pub frontend: String,
    /// As the file has it.
    pub label: String,
    /// Where; `None` for a Unix-domain socket, and for an inherited one that is not adopted.
    pub address: Option<SocketAddr>,
    /// Bound in every worker?
    pub bound: bool,
}
