//! What the daemon and the speaker say to each other, one JSON value per packet of a SOCK_SEQPACKET pair.

use std::{collections::BTreeMap, net::IpAddr};

use lb_vrrp::{GroupConfig, GroupStatus, Moment, Past, Readiness, Transition, io::Announced};
use serde::{Deserialize, Serialize};

/// The longest message in bytes: the kernel takes no longer one without a right to it. A status that is longer is said in less words.
pub const MESSAGE_MAX: usize = 200 * 1024;

/// From the daemon to the speaker.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum ToSpeaker {
    /// The first message: what to run.
    Configure {
        /// All groups of this node.
        groups: Vec<GroupConfig>,
        /// What the speaker before has said of them, by name. A daemon of before says nothing.
        #[serde(default)]
        pasts: BTreeMap<String, Past>,
        /// What holds before they start: `Readiness`. The same.
        #[serde(default)]
        first: Vec<Self>,
    },
    /// The readiness of a group, on every change and at least every 250 ms: it runs out after `stall_timeout` without one.
    Readiness {
        /// Name of the group.
        group: String,
        /// How good a holder this node is.
        readiness: Readiness,
        /// When this was said: what a speaker that stood still reads late is no newer for it. A daemon or speaker of before does not know this.
        #[serde(default)]
        said: Option<Moment>,
        /// It does not preempt a ready Active. The same.
        #[serde(default)]
        yields: bool,
        /// Another node's hello was signed by the secret of this one. The same.
        #[serde(default)]
        trusts: bool,
        /// Addresses that other nodes have, as their hellos say. The same.
        #[serde(default)]
        sources: Vec<IpAddr>,
    },
    /// The exchanges that `ResetExchanges` named are reset.
    ExchangesReset {
        /// Name of the group.
        group: String,
    },
    /// A peer that was silent says hello again.
    PeerReappeared,
    /// All addresses that this node holds are to be announced now.
    Announce,
    /// Another configuration of the same groups.
    Reconfigure {
        /// All groups of this node.
        groups: Vec<GroupConfig>,
    },
    /// Another daemon takes over; with its end of a socket pair and its shared page.
    HandOver,
    /// Resign in the ordinary way and end; the reason goes into the transition.
    Shutdown {
        /// Why.
        reason: String,
    },
}

impl ToSpeaker {
    /// The same without the addresses of other nodes, which are many and can wait for the next readiness.
    pub fn without_sources(&self) -> Self {
        let mut message = self.clone();
        if let Self::Readiness { sources, .. } = &mut message {
            sources.clear();
        }
        message
    }
}

/// From the speaker to the daemon.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum FromSpeaker {
    /// Sockets and netlink are open, the groups are starting.
    Started,
    /// The answer to `Reconfigure`: it is in force.
    Reconfigured,
    /// On every change and once a second.
    Status {
        /// When it was taken.
        at: Moment,
        /// All groups of this node.
        groups: Vec<GroupStatus>,
    },
    /// The state of a group changed.
    Transition {
        /// Name of the group.
        group: String,
        /// What happened.
        transition: Transition,
    },
    /// The answer to `Announce`.
    Announced {
        /// What was announced.
        all: Vec<Announced>,
    },
    /// Reset the client connections on this group's addresses and answer; the speaker waits for at most 5 ms.
    ResetExchanges {
        /// Name of the group.
        group: String,
    },
    /// A line for the log; the speaker itself writes none.
    Log {
        /// How grave.
        level: LogLevel,
        /// One sentence.
        text: String,
    },
    /// Can't run at all (a missing capability, another instance): the sentence for the operator. The speaker ends.
    Fatal {
        /// What, where, what to do.
        text: String,
    },
    /// The answer to `HandOver`: from now on it listens to the other daemon alone. A daemon that keeps its end gets the speaker back if
    /// the other one ends.
    HandedOver,
    /// The other daemon has ended: the speaker listens to this one again.
    TakenBack,
    /// The other answer to `HandOver`: it still listens to this daemon.
    NotHandedOver {
        /// Why.
        why: String,
    },
    /// The answer to `Shutdown`: all is removed.
    Stopped,
}

/// How grave a line of the log is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum LogLevel {
    /// Worth paging someone.
    Warn,
    /// A change of state.
    Info,
    /// For whoever looks closely.
    Debug,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In an upgrade a daemon speaks to the speaker of the one before for a moment.
    #[test]
    fn programs_of_before_and_after_a_new_field_understand_each_other() {
        let old = r#"{"Readiness":{"group":"default","readiness":"Ready"}}"#;
        let read: ToSpeaker = serde_json::from_str(old).expect("readable");
        assert!(matches!(read, ToSpeaker::Readiness { yields: false, .. }), "{read:?}");
        let later = r#"{"Readiness":{"group":"default","readiness":"Ready","yields":true,"later":1}}"#;
        let read: ToSpeaker = serde_json::from_str(later).expect("readable");
        assert!(matches!(read, ToSpeaker::Readiness { yields: true, .. }), "{read:?}");
    }
}
