//! What a daemon and the one that takes its place say to each other, one JSON value per packet, some with descriptors.
//!
//! ```text
//! the next one                                   the one that runs
//! Hello ───────────────────────────────────────▶ same protocol? then everything that it has:
//!        ◀── Listener + sockets, ... Known + memory, Before + sockets, Control + sockets
//! Ready + the speaker's ends of its link ──────▶ no hello is said any more, the speaker is told
//!        ◀── Go + the hello's socket: the speaker is yours
//! Taken ───────────────────────────────────────▶ retires: connections end
//! Order (it drains, an address leaves, it ends) ▶ the same for these connections
//!        ◀── Done
//!        ◀── Left, Counted: each second, for status and counters
//! ```

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use lb_proxy::Grown;
use lb_vrrp::GroupConfig;
use serde::{Deserialize, Serialize};

use crate::{
    control::{EarlierProcess, Ordered, ServerOrder},
    daemon::{group::KnownGroup, hello::KnownSession},
};

/// Counts changes of this conversation and of what the two pass on. Two that differ can't take over from each other.
pub(super) const PROTOCOL: u32 = 2;

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
    Ready {
        /// The hash of what it has read.
        file: String,
    },
    /// It is in charge.
    Taken,
    /// What is done here is about connections there as well.
    Order {
        /// For the answer.
        number: u64,
        order: Order,
    },
}

/// What a process whose connections still end is told.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) enum Order {
    /// Idle connections are closed, exchanges finish, for at most `limit`; counts those that are left.
    Drain { limit: Duration },
    /// Addresses leave this node while it goes on with others: connections on them end, or are reset after `limit`; counts
    /// the latter.
    Leave { addresses: Vec<IpAddr>, limit: Duration },
    /// Addresses leave this node now: connections on them are reset, and counted.
    Reset { addresses: Vec<IpAddr> },
    /// It ends once its exchanges have ended, or after `limit`; counts the connections that are cut then.
    End { limit: Duration },
    /// Files of logs were moved away; counts those that can't be opened anew.
    ReopenLogs,
    /// An operator has ordered something of a server; counts what was in flight there.
    Server { backend: String, server: String, order: ServerOrder, by: String },
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
        /// What is known of the other nodes.
        #[serde(default)]
        session: Option<KnownSession>,
        /// What the control interface has counted.
        #[serde(default)]
        counters: BTreeMap<String, u64>,
    },
    /// Each second: what is left there.
    Left(EarlierProcess),
    /// What it has counted since it passed that on, or since it said this before.
    Counted(Vec<Grown>),
    /// An order was carried out.
    Done { number: u64, count: u64 },
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
