//! `POST /v1/drain` and `POST /v1/resume`: the node leaves the election, and takes part again.

use serde::{Deserialize, Serialize};

use super::{GivenAway, Ordered};

/// Body of `POST /v1/drain`; an empty body is the default.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Also if nobody is known that could take over.
    #[serde(default)]
    pub force: bool,
    /// Exchanges are not waited for.
    #[serde(default)]
    pub now: bool,
}

/// Answer of `POST /v1/drain`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DrainReport {
    /// This node.
    pub node: String,
    /// From the request to the moment at which everything was given away, in milliseconds.
    pub milliseconds: u64,
    /// Exchanges that were still open on the addresses when they left, and so were reset.
    pub cut: u64,
    /// Processes before an upgrade that did not answer: what they cut is not known, and not in `cut`.
    #[serde(default)]
    pub unanswered: u64,
    /// One line per group that it held: who has it now.
    pub groups: Vec<GivenAway>,
    /// By whom it is drained, and since when; that may have been another request.
    pub drained: Ordered,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Body of `POST /v1/resume`; an empty body is the same.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {}

/// Answer of `POST /v1/resume`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ResumeReport {
    /// This node.
    pub node: String,
    /// By whom it was drained, if it was.
    pub was: Option<Ordered>,
    /// The drain or switchover that was under way.
    #[serde(default)]
    pub called_off: Option<Ordered>,
}
