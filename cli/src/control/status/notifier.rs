//! Who is told of what happens.

use serde::{Deserialize, Serialize};

use crate::control::Timestamp;

/// A table `[notify.*]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notifier {
    /// Its name.
    pub name: String,
    /// `command /usr/local/bin/tell`.
    pub means: String,
    /// Events whose turn is not over, wanted or not.
    pub waiting: u64,
    /// Events that it was told.
    pub told_total: u64,
    /// Events that it could not be told.
    pub failed_total: u64,
    /// Events that came faster than they could be told.
    pub lost_total: u64,
    /// Why it could not be told the last one.
    #[serde(default)]
    pub problem: Option<NotifierProblem>,
}

/// Somebody is not told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct NotifierProblem {
    /// A clause: `it ended with 1: no route to host`.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
}
