//! Everything an operator sees of a node, as plain data. `lbctl status` renders it; `--json` prints it as it is.

mod alarm;
mod notifier;
mod server;
mod speaker;

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

pub use self::alarm::{Alarm, AlarmName};
pub use self::notifier::{Notifier, NotifierProblem};
pub use self::server::{Check, NameProblem, Server, ServerState};
pub use self::speaker::{Speaker, SpeakerRestart};
use super::{BackendStatistics, EarlierProcess, Event, FrontendStatistics, Histogram, Ordered, Timestamp};

/// A node and what it knows of the others.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Status {
    /// When this was taken.
    pub at: Timestamp,
    /// This node.
    pub node: String,
    /// Of the daemon.
    pub version: String,
    /// Of the daemon.
    pub pid: u32,
    /// Since when it runs, through upgrades.
    pub started: Timestamp,
    /// Since when this process does, if it took the place of another one.
    #[serde(default)]
    pub upgraded: Option<Timestamp>,
    /// What it is about.
    pub phase: Phase,
    /// By whom it is kept out of the election, if it is.
    #[serde(default)]
    pub drained: Option<Ordered>,
    /// A drain or switchover that is under way.
    #[serde(default)]
    pub giving: Option<Ordered>,
    /// Its configuration.
    pub file: FileReport,
    /// How far this node is with signed advertisements: `off`, `send`, `accept` or `require`.
    #[serde(default)]
    pub signs: String,
    /// The other nodes of the file.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Addresses that move together.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Of a node that has vips.
    #[serde(default)]
    pub speaker: Option<Speaker>,
    /// Processes that run commands which have died, with another one started in their place.
    #[serde(default)]
    pub runner_restarts_total: u64,
    /// What `[track.*]` looks at, in the order of the file.
    #[serde(default)]
    pub trackers: Vec<Tracker>,
    /// Processes before an upgrade whose connections still end; those are in no other number of today.
    #[serde(default)]
    pub earlier: Vec<EarlierProcess>,
    /// Client connections of the process.
    #[serde(default)]
    pub connections: u64,
    /// Their limit; less than the file says where open files are too few for that.
    #[serde(default)]
    pub maxconn: u64,
    /// Since when clients wait for one, if they do.
    #[serde(default)]
    pub full_since: Option<Timestamp>,
    /// In the order of the file.
    #[serde(default)]
    pub frontends: Vec<Frontend>,
    /// In the order of the file.
    #[serde(default)]
    pub backends: Vec<Backend>,
    /// What is remembered of clients.
    #[serde(default)]
    pub tables: Vec<Table>,
    /// Where logs go.
    #[serde(default)]
    pub logs: Vec<Log>,
    /// Of each worker: how much later than it should it did what was due, ten times a second.
    #[serde(default)]
    pub delays: Vec<Histogram>,
    /// Datagrams of others and requests to the control interface that were refused, by reason.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// What is wrong; empty when all is well.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// What is wrong with the pair and has a name. Each of them is among the problems in some words, too.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Who is told of what happens, in the order of the file.
    #[serde(default)]
    pub notifiers: Vec<Notifier>,
    /// The last transitions of nodes, vips, backends and servers, oldest first: [`LAST_EVENTS`](super::LAST_EVENTS) at most.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What is not wrong and still has to be known, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What a daemon is about.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Everything runs.
    Running,
    /// It can't begin with the addresses yet.
    Waiting {
        /// What for.
        reason: String,
    },
    /// A planned stop is under way.
    Stopping {
        /// Who asked for it.
        reason: String,
    },
}

/// The configuration in force.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FileReport {
    /// Where it was read.
    pub path: String,
    /// SHA-256, hexadecimal.
    pub hash: String,
    /// Since when it is in force.
    #[serde(default)]
    pub loaded: Option<Timestamp>,
    /// Counts the configurations since the start, from 1.
    #[serde(default)]
    pub generation: u64,
    /// Those before it that connections still use.
    #[serde(default)]
    pub old_generations: u64,
}

/// Another node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Peer {
    /// Its name in the file.
    pub name: String,
    /// Its own address.
    pub address: String,
    /// False for a node that runs something else and says no hello.
    pub says_hello: bool,
    /// The last hello; `None` if there was none since the start.
    pub heard: Option<Timestamp>,
    /// No hello for more than three seconds, or it said that it ends.
    pub silent: bool,
    /// The last that it said is that it ends.
    #[serde(default)]
    pub ended: bool,
    /// Since when an operator keeps it out of the election; `None` also of a program of before.
    #[serde(default)]
    pub drained: Option<Timestamp>,
    /// Its version of lbctl.
    pub version: Option<String>,
    /// Hash of its file.
    pub hash: Option<String>,
    /// How far it is with signed advertisements; `None` of one that was never heard, or runs a program of before.
    #[serde(default)]
    pub signs: Option<String>,
}

/// Vips with one fate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its virtual routers.
    pub vips: Vec<Vip>,
    /// Names of the nodes that hold it, as far as this node knows: one, when all is well.
    pub holders: Vec<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why, in words.
    pub why: String,
    /// This node first.
    pub nodes: Vec<GroupNode>,
    /// The last transitions of this node, oldest first.
    #[serde(default)]
    pub transitions: Vec<TransitionReport>,
    /// Advertisements sent, received, and refused by reason.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

impl Group {
    /// Its holder does not hold all that this node's file has of it.
    pub fn is_held_in_part(&self) -> bool {
        self.vips.iter().any(|vip| !vip.unheld.is_empty())
    }

    /// Nobody is known to hold it, and this node is in no state to notice: another one may.
    pub fn is_holder_unknown(&self) -> bool {
        let hears = |node: &GroupNode| node.state.as_deref() == Some("Backup");
        let (local, others): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|node| node.local);
        self.holders.is_empty()
            && !local.into_iter().any(hears)
            && others.iter().any(|node| node.state.is_none())
    }
}

/// One virtual router.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Vip {
    /// Name of its table.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Those of them that are on the interface now.
    pub installed: Vec<String>,
    /// Those of them that the other node, which holds the vip, does not advertise: nobody answers for them.
    #[serde(default)]
    pub unheld: Vec<String>,
    /// Its interface, once known.
    pub interface: Option<String>,
    /// Its number.
    pub vrid: u8,
    /// Between two advertisements.
    pub interval_ms: u64,
    /// One for each family of its addresses.
    #[serde(default)]
    pub routers: Vec<Router>,
}

/// One virtual router on the wire: a family of a vip.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Router {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// How advertisements get to the other nodes.
    pub transport: Transport,
    /// The state of its group; `Initialize` while it can neither send nor hear.
    pub state: String,
    /// Why it can't.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Somebody who is no node of the file uses its vrid: where that one's advertisements come from, while they come; of several
    /// the one that is heard for longest.
    #[serde(default)]
    pub foreign: Option<String>,
    /// Advertisements sent, received, and refused by reason, and announcements; empty from a speaker of before.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// How advertisements get to the other nodes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// To the group of all routers.
    Multicast,
    /// To each of the other nodes.
    Unicast {
        /// The address that they come from.
        source: String,
        /// Those of the other nodes.
        peers: Vec<String>,
    },
}

/// A node's part in a group.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupNode {
    /// Its name.
    pub name: String,
    /// True for the node that answers.
    pub local: bool,
    /// `Active`, `Backup` or `Initialize`; `None` if nothing is known.
    pub state: Option<String>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// How good a holder it is; `None` if nothing is known.
    pub ready: Option<Ready>,
    /// What it advertises, or would.
    pub priority: Option<u8>,
    /// The last sign of it, hello or advertisement; `None` for this node, and for one that was never heard.
    pub heard: Option<Timestamp>,
    /// It said hello once, or should have, and does not.
    pub silent: bool,
}

/// How good a holder of the address a node is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// Everything is well.
    Yes,
    /// One clause per degradation.
    Degraded {
        /// In words.
        reasons: Vec<String>,
    },
    /// What is good is too young to count.
    Starting {
        /// In words.
        reason: String,
    },
    /// Anyone better should take over.
    Leaving {
        /// In words.
        reason: String,
    },
    /// It would serve nobody.
    Fault {
        /// In words.
        reason: String,
    },
}

/// A change of state of this node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TransitionReport {
    /// Before.
    pub from: String,
    /// After.
    pub to: String,
    /// In words.
    pub reason: String,
    /// When the cause was seen.
    pub detected: Timestamp,
    /// When the state changed.
    pub at: Timestamp,
    /// When the advertisement that decided it was heard.
    #[serde(default)]
    pub heard: Option<Timestamp>,
    /// When the last address was gone.
    #[serde(default)]
    pub removed: Option<Timestamp>,
    /// When the resignation left.
    #[serde(default)]
    pub resigned: Option<Timestamp>,
    /// When the last address was there.
    #[serde(default)]
    pub added: Option<Timestamp>,
    /// When the last address was announced first.
    #[serde(default)]
    pub announced: Option<Timestamp>,
}

/// What is looked at beside servers.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tracker {
    /// Its name.
    pub name: String,
    /// `interface eth1`, `address 192.0.2.1`, `file /run/maintenance`.
    pub subject: String,
    /// What its failure is: `degradation` or `fault`.
    pub failure: String,
    /// Names of the groups that it is for.
    pub groups: Vec<String>,
    /// `None` before the first look.
    pub passes: Option<bool>,
    /// Since when it is so.
    pub since: Option<Timestamp>,
    /// Why the last look did not pass.
    pub reason: Option<String>,
    /// How often it has failed.
    pub failures_total: u64,
    /// How often it could not be looked at any more.
    pub unknown_total: u64,
}

/// Where clients come in.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Frontend {
    /// Its name.
    pub name: String,
    /// `http` or `tcp`.
    pub mode: String,
    /// Its addresses.
    pub binds: Vec<Bind>,
    /// Client connections now.
    pub connections: u64,
    /// Their limit: its own, or that of the process if that is less.
    pub maxconn: u64,
    /// Since when clients wait for one, if they do.
    #[serde(default)]
    pub full_since: Option<Timestamp>,
    /// Since the start.
    pub connections_total: u64,
    /// Since the start.
    pub requests_total: u64,
    /// Over the last ten seconds.
    pub requests_per_second: f64,
    /// Responses by first digit (index 0 = others).
    pub responses: [u64; 6],
    /// 5xx over the last minute.
    pub server_errors_per_minute: u64,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Refused requests and limits that were hit, by name.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
    /// Requests that came to no backend, of the last hour.
    #[serde(default)]
    pub refused: Vec<Refused>,
    /// The rest of what HAProxy's statistics tell.
    #[serde(default)]
    pub statistics: FrontendStatistics,
    /// Since when it takes no new connections, and who wanted that.
    #[serde(default)]
    pub paused: Option<Ordered>,
    /// What it shows to clients that speak TLS.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Certificate {
    /// Where it is, as the file of the configuration has it.
    pub file: String,
    /// For which names it is shown.
    pub names: Vec<String>,
    /// Its first moment.
    pub not_before: Timestamp,
    /// Its last moment.
    pub not_after: Timestamp,
    /// The SHA-256 of it in DER, in hexadecimal. Programs of before said none.
    #[serde(default)]
    pub sha256: String,
    /// Until when what its authority says of it is shown beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stapled_until: Option<Timestamp>,
    /// What clients lack of its chain: the end of a sentence that begins with the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_fault: Option<String>,
    /// Which of the authorities behind it is over first, of those that clients have of nobody else. Programs of before said none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_end: Option<ChainEnd>,
}

/// The certificate of an authority, behind one that clients are shown.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ChainEnd {
    /// The authority: `/C=DE/O=Example/CN=name`.
    pub subject: String,
    /// Its last moment.
    pub not_after: Timestamp,
}

impl Certificate {
    /// From when on it is refused: its own end, or that of an authority.
    pub(crate) fn end(&self) -> Timestamp {
        self.weakest().map_or(self.not_after, |authority| authority.not_after)
    }

    /// The authority that is over before it is itself.
    pub(crate) fn weakest(&self) -> Option<&ChainEnd> {
        self.chain_end.as_ref().filter(|authority| authority.not_after < self.not_after)
    }
}

/// Requests (mode tcp: connections) that were refused for one reason, with less than a minute between them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// The reason.
    pub why: Why,
    /// How many.
    pub count: u64,
    /// The first.
    pub since: Timestamp,
    /// The last.
    pub last: Timestamp,
    /// In words, as in the log.
    pub reason: String,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No rule has chosen a backend, and its frontend has no default one.
    NoBackend,
    /// None of its backend's servers is usable.
    NoServer,
    /// No slot of a full server became free in time.
    Full,
    /// No server could be connected to.
    NotConnected,
    /// Too many passwords are to be checked.
    Passwords,
    /// Its source has too many connections open, or opens them too fast.
    Source,
    /// The PROXY header that it has to begin with did not come, or was none.
    ProxyHeader,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

/// Servers that are connected to and don't answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unanswered {
    /// 502 and 504 of the last ten seconds that stand for an answer which did not come, or made no sense.
    pub count: u64,
    /// All answers of the last ten seconds.
    pub of: u64,
    /// The first of such, with less than a minute between them.
    pub since: Timestamp,
    /// One of the last, in words: it stands for itself alone.
    pub reason: String,
}

/// A listening address.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bind {
    /// As the file has it.
    pub label: String,
    /// Where; `None` for a Unix-domain socket, and for an inherited one that is not adopted.
    #[serde(default)]
    pub address: Option<SocketAddr>,
    /// `None` if bound, else why not.
    pub error: Option<String>,
}

/// Servers that stand in for each other.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Backend {
    /// Its name.
    pub name: String,
    /// Waiting in line, for any server or for one alone.
    #[serde(default)]
    pub queued: u64,
    /// In the order of the file.
    pub servers: Vec<Server>,
    /// Requests that came to no server, of the last hour.
    #[serde(default)]
    pub refused: Vec<Refused>,
    /// Most answers of the last ten seconds were not its servers'.
    #[serde(default)]
    pub unanswered: Option<Unanswered>,
    /// What its servers are shown that ask.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// The rest of what HAProxy's statistics tell.
    #[serde(default)]
    pub statistics: BackendStatistics,
}

/// What is remembered of clients for one purpose.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Table {
    /// Whose it is: `backend app, stick`.
    pub name: String,
    /// Clients in it now.
    pub entries: u64,
    /// The most that it holds, without sources that have connections open.
    pub size: u64,
    /// Clients that were forgotten before their time because it was full.
    pub evictions_total: u64,
}

/// A place that lines of logs go to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Log {
    /// `file /var/log/lbctl/access.log`
    pub target: String,
    /// Lines that it has got.
    pub written_total: u64,
    /// Lines that it was too slow for, or refused.
    pub lost_total: u64,
    /// Why it gets nothing now.
    #[serde(default)]
    pub problem: Option<LogProblem>,
}

/// A log can't be written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogProblem {
    /// A clause: `the disk is full`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}

/// Something that is wrong: what, since when, what to look at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Problem {
    /// A clause: `app/web2 is down`.
    pub what: String,
    /// Since when, if known.
    pub since: Option<Timestamp>,
    /// One or more sentences: the facts, and what to look at.
    pub look_at: String,
}
