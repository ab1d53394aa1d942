//! `POST /v1/upgrade`: what is asked, and who is in charge afterwards.

use serde::{Deserialize, Serialize};

use super::{Change, Timestamp};

/// Body of `POST /v1/upgrade`; an empty body takes the defaults.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// How long connections may go on in the process that ends, in milliseconds.
    #[serde(default = "UpgradeRequest::default_limit")]
    pub limit_ms: u64,
}

impl UpgradeRequest {
    /// Half an hour.
    pub const fn default_limit() -> u64 {
        30 * 60 * 1000
    }
}

impl Default for UpgradeRequest {
    fn default() -> Self {
        Self { limit_ms: Self::default_limit() }
    }
}

/// Answer of `POST /v1/upgrade`: another process is in charge.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpgradeReport {
    /// From the request to that moment, in milliseconds.
    pub milliseconds: u64,
    /// Its number.
    pub pid: u32,
    /// Of the process that is in charge now.
    pub version: String,
    /// Of the one before.
    pub version_before: String,
    /// SHA-256 of the file that is in force now, hexadecimal.
    #[serde(default)]
    pub hash: String,
    /// Of the one that was in force before.
    #[serde(default)]
    pub hash_before: String,
    /// What is different; `None` if the program of before can't tell.
    #[serde(default)]
    pub changes: Option<Vec<Change>>,
}

/// A process before an upgrade whose connections still end.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EarlierProcess {
    /// Its number.
    pub pid: u32,
    /// Of its program.
    pub version: String,
    /// Since when another one is in charge.
    pub since: Timestamp,
    /// When it cuts what is left.
    pub until: Timestamp,
    /// Client connections that it has.
    pub connections: u64,
    /// Exchanges in flight on these.
    pub exchanges: u64,
    /// For how long it has said nothing, in milliseconds, if that is longer than it should: the numbers are as old.
    #[serde(default)]
    pub silent_ms: Option<u64>,
}
