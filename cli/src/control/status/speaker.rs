//! The second process of a node that has vips.

use serde::{Deserialize, Serialize};

use crate::control::Timestamp;

/// What became of it since the daemon began, upgrades included.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Speaker {
    /// How often one was lost, and another one started in its place, or could not be. Those that end with the daemon, and those of another program
    /// that an upgrade replaces, are not counted.
    pub restarts_total: u64,
    /// The last of them.
    #[serde(default)]
    pub last_restart: Option<SpeakerRestart>,
    /// What it has said and this daemon could not read: of another version, or cut.
    #[serde(default)]
    pub unreadable_total: u64,
}

/// A speaker was lost.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SpeakerRestart {
    /// When that was seen.
    pub at: Timestamp,
    /// How, with the speaker for a subject: `was ended by signal 9 (SIGKILL)`.
    pub how: String,
    /// None was there: another one could not be started, which is tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_missing: bool,
}
