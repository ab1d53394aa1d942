//! What the control interface carries: HTTP and JSON on a Unix socket, versioned by its path.
//!
//! ```text
//! GET  /v1/status    -> Status          everything an operator sees; text and --json are made from it
//! GET  /v1/version   -> VersionReport
//! GET  /v1/errors    -> ErrorsReport    messages that were refused as invalid
//! GET  /v1/diff      -> DiffReport      what runs, against the file; 422 with what `check` says if that is bad
//! GET  /v1/events    -> EventLines, one a line: the last ones, or with ?after=NUMBER those after it; with ?follow=true those to come as well
//! POST /v1/reload    ReloadRequest -> ReloadReport, when the file is in force; 422 with what `check` says if it is bad,
//!                    409 if it can't come into force now
//! POST /v1/upgrade   UpgradeRequest -> UpgradeReport, when another process is in charge; 422 and 409 as for reload
//! POST /v1/stop      StopRequest -> StopReport, when all is given away; the daemon ends right after
//! POST /v1/server    ServerRequest -> ServerReport; 404 if there is no such server, 409 if it can't be now
//! POST /v1/frontend  FrontendRequest -> FrontendReport; 404 and 409 as for server
//! POST /v1/drain     DrainRequest -> DrainReport, when all is given away; 409 if nobody could take it
//! POST /v1/resume    ResumeRequest -> ResumeReport
//! POST /v1/switchover SwitchoverRequest -> SwitchoverReport, when the new holder has announced; 409 if nobody could take it
//! POST /v1/announce  AnnounceRequest -> AnnounceReport; 409 if this node holds no address
//! POST /v1/trace     TraceRequest -> TraceLines as they come, one a line; 404 if there is no such frontend
//! POST /v1/log/reopen            -> ReopenReport
//! anything else      -> ErrorReport (application/problem+json, RFC 9457)
//! ```
//! Daemon and client may be of different versions: unknown fields are ignored, a missing one takes its default.

use serde::{Deserialize, Serialize};

mod announce;
pub mod client;
mod diff;
mod drain;
mod errors;
mod events;
mod orders;
mod reload;
mod statistics;
mod status;
mod switchover;
mod timestamp;
mod trace;
mod upgrade;

pub use announce::{AnnounceReport, AnnounceRequest, Announcement};
pub use diff::DiffReport;
pub use drain::{DrainReport, DrainRequest, ResumeReport, ResumeRequest};
pub use errors::{ErrorsReport, InvalidMessage};
pub use events::{Event, EventKind, EventLine, LAST_EVENTS};
pub use orders::{
    FrontendOrder, FrontendReport, FrontendRequest, InForce, Ordered, ServerOrder, ServerReport,
    ServerRequest, Weight,
};
pub use reload::{Change, How, ReloadReport, ReloadRequest, lines};
pub use statistics::{
    BackendStatistics, Compressed, FrontendStatistics, Handshakes, Histogram, Level, Outage, PerSecond,
    ServerStatistics, StepTimes, Steps, Traffic,
};
pub use status::{
    Alarm, AlarmName, Backend, Bind, Certificate, ChainEnd, Check, FileReport, Frontend, Group, GroupNode,
    Log, LogProblem, NameProblem, Notifier, NotifierProblem, Peer, Phase, Problem, Ready, Refused, Router,
    Server, ServerState, Speaker, SpeakerRestart, Status, Table, Tracker, TransitionReport, Transport,
    Unanswered, Vip, Why,
};
pub use switchover::{Moved, SwitchoverReport, SwitchoverRequest};
pub use timestamp::Timestamp;
pub use trace::{Exchange, LINES, LONGEST, TraceLine, TraceRequest};
pub use upgrade::{EarlierProcess, UpgradeReport, UpgradeRequest};

/// Media type of an error (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The header in which the daemon names its version.
pub const VERSION_HEADER: &str = "lbctl-version";

/// An error (RFC 9457 §3.1). Its `type` is `about:blank`: the status says what kind it is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorReport {
    /// The HTTP status.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What happened, for a person.
    #[serde(default)]
    pub detail: String,
}

/// Answer of `GET /v1/version`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct VersionReport {
    /// Of the daemon.
    pub version: String,
    /// Versions of this interface that it speaks.
    pub api: Vec<String>,
    /// Of the daemon.
    pub pid: u32,
}

/// Body of `POST /v1/stop`; an empty body is the default.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// No drain.
    #[serde(default)]
    pub now: bool,
}

/// Answer of `POST /v1/stop`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StopReport {
    /// From the request to the moment at which everything was given away, in milliseconds.
    pub milliseconds: u64,
    /// Exchanges that were still open on the addresses when they left, and so were reset.
    pub cut: u64,
    /// Processes before an upgrade that did not answer: what they cut is not known, and not in `cut`.
    #[serde(default)]
    pub unanswered: u64,
    /// One line per group: who has it now.
    #[serde(default)]
    pub groups: Vec<GivenAway>,
    /// The process that ends.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The inode of the pid namespace in which it has that number: who asks may be in another one.
    #[serde(default)]
    pub pid_namespace: Option<u64>,
}

/// Answer of `POST /v1/log/reopen`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReopenReport {
    /// The files that are opened anew.
    pub files: Vec<String>,
    /// Those that can't be opened, and why.
    #[serde(default)]
    pub failed: Vec<NotOpened>,
}

/// The file of a log that can't be opened.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NotOpened {
    /// Its path.
    pub file: String,
    /// A clause: `the disk is full`.
    pub why: String,
}

/// Where a group went.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GivenAway {
    /// Name of the group.
    pub group: String,
    /// What happened to it, one clause.
    pub outcome: String,
}
