//! What has happened to the node, its vips, its backends and their servers.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// How many of the last events the status has, and `GET /v1/events` begins with.
pub const LAST_EVENTS: usize = 100;

/// Something has another state. Hooks read it in this very form.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Event {
    /// Counts the events of a daemon and of those that took its place, from 1. A number that is missing is an event that was lost.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// The node that says so.
    pub node: String,
    /// What has another state.
    pub kind: EventKind,
    /// Its name; a server's is `BACKEND/SERVER`.
    pub name: String,
    /// Of a vip, and of a node's readiness: which of the groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of a vip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Before.
    pub from: String,
    /// After.
    pub to: String,
    /// In words; may be empty.
    pub reason: String,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// This node or another one.
    Node,
    /// The second process of this node.
    Speaker,
    /// A table `[vip.*]` on this node.
    Vip,
    /// A backend.
    Backend,
    /// A server of a backend.
    Server,
    /// A certificate that clients or servers are shown, by its file.
    Certificate,
    /// What is wrong with the pair and has a name: an [alarm](super::Alarm).
    Alarm,
    /// Something that a newer daemon knows.
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Speaker => "speaker",
            Self::Vip => "vip",
            Self::Backend => "backend",
            Self::Server => "server",
            Self::Certificate => "certificate",
            Self::Alarm => "alarm",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A line of `GET /v1/events`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum EventLine {
    /// An event.
    Event(Event),
    /// There were others, which this reader has missed.
    Lost {
        /// How many, since the line before.
        lost: u64,
    },
    /// There are no more.
    Over {
        /// Why, in a clause.
        over: String,
    },
}
