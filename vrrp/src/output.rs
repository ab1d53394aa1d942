//! What a [`Group`](crate::Group) wants done.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{MemberId, Moment, State, VirtualAddress, advertisement::Advertisement};

/// One effect, in the order in which it has to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this advertisement now. The driver adds source, TTL 255 and the checksum.
    Transmit {
        /// The virtual router.
        member: MemberId,
        /// What to send.
        advertisement: Advertisement,
    },
    /// Install this address; answer with `handle_address_added` or `handle_address_failed`.
    AddAddress {
        /// The virtual router.
        member: MemberId,
        /// What to install.
        address: VirtualAddress,
    },
    /// Remove this address; answer with `handle_address_removed`.
    RemoveAddress {
        /// The virtual router.
        member: MemberId,
        /// What to remove.
        address: VirtualAddress,
    },
    /// Tell the network who has this address (gratuitous ARP, unsolicited neighbour advertisement).
    Announce {
        /// The virtual router.
        member: MemberId,
        /// What to announce.
        address: VirtualAddress,
    },
    /// The address is about to leave: reset the exchanges that are open on the group's addresses; answer with
    /// `handle_exchanges_reset`. The machine waits for at most 5 ms.
    ResetExchanges,
    /// The state changed.
    Transition(Transition),
    /// A line for the log that is no warning.
    Remark {
        /// One sentence.
        text: String,
    },
    /// Something an operator should read once; the driver limits the rate by `key`.
    Warning {
        /// Equal keys are the same event.
        key: &'static str,
        /// One sentence.
        text: String,
    },
}

/// A change of state with its reason and its moments.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Transition {
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// In words: `fault: worker 1 stalled for 1.2 s`.
    pub reason: String,
    /// When the cause was seen.
    pub detected: Moment,
    /// When the state changed.
    pub at: Moment,
    /// The steps of the move that this node saw. Those that come after the change are filled in later, in the record
    /// that `status` shows.
    #[serde(default)]
    pub moments: Moments,
}

/// The steps of a move; `None` for a step that was not part of it, or has not come yet.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Moments {
    /// The other node's advertisement that decided it was heard.
    pub heard: Option<Moment>,
    /// The kernel acknowledged the removal of the last address.
    pub removed: Option<Moment>,
    /// The priority-0 advertisement left, or the last one of a loser.
    pub resigned: Option<Moment>,
    /// The kernel acknowledged the last address.
    pub added: Option<Moment>,
    /// The first announcement of the last address left.
    pub announced: Option<Moment>,
}

/// Why the machine wants to be woken; for logs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TimeoutReason {
    /// Active_Down_Timer.
    ActiveDown,
    /// Skew_Time after a priority-0 or a worse level was heard.
    Skew,
    /// Adver_Timer.
    Advertise,
    /// A repeated gratuitous ARP.
    Announce,
    /// The limit on an acknowledgement (address, exchanges).
    Acknowledgement,
    /// preempt_delay.
    PreemptDelay,
    /// Some other wait of the machine, named.
    Other(#[serde(skip)] &'static str),
}

impl fmt::Display for TimeoutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ActiveDown => "active_down_timer",
            Self::Skew => "skew_time",
            Self::Advertise => "adver_timer",
            Self::Announce => "announce",
            Self::Acknowledgement => "acknowledgement",
            Self::PreemptDelay => "preempt_delay",
            Self::Other(name) => name,
        })
    }
}
