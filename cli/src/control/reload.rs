//! `POST /v1/reload`: what is asked, and what is different afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Body of `POST /v1/reload`; an empty body is the same.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {}

/// Answer of `POST /v1/reload`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReloadReport {
    /// From the request to the moment at which all was in force, in milliseconds.
    pub milliseconds: u64,
    /// Where the file was read.
    pub path: String,
    /// SHA-256 of what is in force now, hexadecimal.
    pub hash: String,
    /// Of what was in force before.
    pub hash_before: String,
    /// Counts the configurations since the start, from 1.
    pub generation: u64,
    /// What is different.
    #[serde(default)]
    pub changes: Vec<Change>,
    /// What the operator should know although the file works, as `check` prints it; also addresses that this machine
    /// does not have.
    #[serde(default)]
    pub warnings: String,
    /// Connections that were cut because their address is gone.
    #[serde(default)]
    pub cut: u64,
    /// Processes before an upgrade that did not answer: what they cut is not known, and not in `cut`.
    #[serde(default)]
    pub unanswered: u64,
    /// Workers that hang and go over as soon as they don't.
    #[serde(default)]
    pub late_workers: Vec<usize>,
}

impl ReloadReport {
    /// What is different, a line each; of more than `most` the rest is counted.
    pub fn lines(&self, most: usize) -> Vec<String> {
        lines(&self.changes, most)
    }
}

/// Changes, a line each; of more than `most` the rest is counted.
pub fn lines(changes: &[Change], most: usize) -> Vec<String> {
    let mut lines: Vec<_> = changes.iter().take(most).map(ToString::to_string).collect();
    match changes.len().saturating_sub(most) {
        0 => {}
        1 => lines.push("and 1 other change".to_owned()),
        n => lines.push(format!("and {n} other changes")),
    }
    lines
}

/// Something that is different.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// `backend app`, `server app/web1`, `global`
    pub what: String,
    /// What happened to it.
    pub how: How,
    /// Of what has changed: the keys, as `check --effective` has them.
    #[serde(default)]
    pub keys: Vec<String>,
}

/// `server app/web1 added`, `backend app changed (retries, check.interval)`
impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Added => "added",
            How::Removed => "removed",
            How::Changed => "changed",
        };
        write!(formatter, "{} {how}", self.what)?;
        if self.keys.is_empty() { Ok(()) } else { write!(formatter, " ({})", self.keys.join(", ")) }
    }
}

/// What happened to a thing of the file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is there as before, with other settings.
    Changed,
}
