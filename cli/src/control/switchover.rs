//! `POST /v1/switchover`: the addresses go to another node, because somebody asked.

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/switchover`; an empty body is the default.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// To this node.
    #[serde(default)]
    pub to: Option<String>,
    /// Also if nobody is known that could take over.
    #[serde(default)]
    pub force: bool,
    /// Exchanges are not waited for.
    #[serde(default)]
    pub now: bool,
    /// Nothing is done.
    #[serde(default)]
    pub dry_run: bool,
}

/// Answer of `POST /v1/switchover`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SwitchoverReport {
    /// The node that gave.
    pub node: String,
    /// Nothing was done.
    pub dry_run: bool,
    /// From the request to the moment at which this was known, in milliseconds.
    pub milliseconds: u64,
    /// Exchanges that were still open on the addresses when they left, and so were reset.
    pub cut: u64,
    /// Processes before an upgrade that did not answer: what they cut is not known, and not in `cut`.
    #[serde(default)]
    pub unanswered: u64,
    /// One for each group that it held.
    pub groups: Vec<Moved>,
    /// What the operator should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A group that another node holds now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Moved {
    /// The group.
    pub group: String,
    /// The node; `None` if it has not said hello since.
    pub to: Option<String>,
    /// From the removal of the last address here to its announcement there, in microseconds; `None` if that is not known.
    pub gap_us: Option<u64>,
}
