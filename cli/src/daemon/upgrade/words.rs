//! What a daemon and the one that takes its place say to each other, one JSON value per packet, some with descriptors.
//!
//! ```text
//! the next one                                   the one that runs
//! Hello ───────────────────────────────────────▶ same protocol? then everything that it has:
//!        ◀── Listener + sockets, ... Known + memory, Before + sockets, Control + sockets
//! Ready + the speaker's ends of its link ──────▶ no hello is said any more, the speaker is told
//!        ◀── Go + the hello's socket: the speaker is yours
//! Taken ───────────────────────────────────────▶ retires: connections end
//! Reset (when an address leaves) ──────────────▶ and those on it are reset
//!        ◀── WasReset
//! ```

use std::net::IpAddr;

use lb_vrrp::GroupConfig;
use serde::{Deserialize, Serialize};

use crate::{control::Ordered, daemon::group::KnownGroup};

/// Counts changes of this conversation and of what the two pass on. Two that differ can't take over from each other.
pub(super) const PROTOCOL: u32 = 1;

/// From the next one.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::daemon) enum FromNext {
    /// The first message.
    Hello { version: String, protocol: u32 },
    /// It can't, because of that, and ends.
    Refused {
        /// What `lbctl check` prints, or a sentence without a full stop.
        why: String,
        /// It is the file that is bad.
        is_file: bool,
    },
    /// It has everything and accepts. With the speaker's ends, if there is a speaker: socket, then page.
    Ready,
    /// It is in charge.
    Taken,
    /// Connections on these addresses are to be reset: the addresses leave this node.
    Reset { addresses: Vec<IpAddr> },
}

/// From the one that runs.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::daemon) enum ToNext {
    /// With the sockets of a listener; further ones of the same place may follow.
    Listener { place: String },
    /// With the file of [`lb_proxy::Known`] as JSON.
    Known {
        /// What the speaker runs.
        groups: Vec<GroupConfig>,
    },
    /// With its ends of the conversations with processes before it, whose connections still end.
    Before,
    /// The last of what is passed on, with the control socket and its lock.
    Control,
    /// The speaker has the next one's ends. With the hello's socket, if there is one; programs of before sent none, and let go of
    /// its port.
    Go {
        /// Its process number, if there is a speaker.
        speaker: Option<u32>,
        /// What is known of the groups.
        groups: Vec<KnownGroup>,
        /// By whom the node is kept out of the election.
        #[serde(default)]
        drained: Option<Ordered>,
    },
    /// The answer to `Reset`.
    WasReset,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_of_before_says_is_understood() {
        let said: ToNext = serde_json::from_str(r#"{"Go":{"speaker":7,"groups":[]}}"#).expect("readable");
        assert!(matches!(said, ToNext::Go { speaker: Some(7), drained: None, .. }), "{said:?}");
    }
}
