//! The states and what each of them owns. A timer lives in the state that it belongs to, so a stale one can't exist.

use std::net::IpAddr;

use super::{announcements::Announcements, answers::Answers};
use crate::{MemberId, Moment, Moments, TimeoutReason, VirtualAddress};

/// RFC 9568 §6.4, and one more: the way out of Active takes time, because the kernel has to acknowledge that the
/// addresses are gone before anyone is told.
///
/// ```text
///            no fault                Active_Down_Timer, Skew_Time
/// Initialize ────────▶ Backup ─────────────────────────────────▶ Active
///     ▲  ▲               │ ▲                                       │ fault, stop, loses, late
///     │  └───── fault ───┘ └──────────── Resigning ◀───────────────┘
///     └──────────────────────── fault, stop ─┘
/// ```
#[derive(Debug)]
pub(super) enum Machine {
    Initialize,
    Backup(Backup),
    Active(Active),
    Resigning(Resigning),
}

#[derive(Debug)]
pub(super) struct Backup {
    pub(super) since: Moment,
    /// Active_Down_Timer as each member tells it; `None` where nothing can be heard. The last one counts: hearing any
    /// member of a peer is hearing the peer.
    pub(super) active_down: Vec<Option<Moment>>,
    /// Skew_Time after a priority-0 advertisement: who resigned, and when we take over.
    pub(super) resigned: Option<(IpAddr, Moment)>,
    /// We are to take the address from an Active that is heard.
    pub(super) takeover: Option<Takeover>,
    /// A timer fired so late that we may have missed advertisements; one more interval is granted, once.
    pub(super) grace: Grace,
    /// Since when it waits for advertisements that it can't trust.
    pub(super) distrusts: Option<Moment>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Grace {
    Unused,
    Until(Moment),
}

/// Rules 2 and 4.
#[derive(Clone, Debug)]
pub(super) struct Takeover {
    pub(super) at: Moment,
    pub(super) why: TimeoutReason,
    /// The Active, its priority, and when it was heard.
    pub(super) over: IpAddr,
    pub(super) priority: u8,
    pub(super) heard: Moment,
}

#[derive(Debug)]
pub(super) struct Active {
    /// Per member; `None` while its link is down.
    pub(super) adver: Vec<Option<AdverTimer>>,
    /// Per member: how many losing advertisements may still be answered.
    pub(super) answers: Vec<Answers>,
    /// The priority of the last advertisement: a change goes out at once.
    pub(super) priority: u8,
    /// A peer that was Active has yet to say that its addresses are gone; ours are added then, or at this moment.
    pub(super) yielding: Option<Moment>,
    /// Asked of the kernel and not acknowledged, with the limit.
    pub(super) pending: Vec<(MemberId, VirtualAddress, Moment)>,
    /// Everything that was asked of the kernel: what has to go when we do.
    pub(super) asked: Vec<(MemberId, VirtualAddress)>,
    pub(super) announcements: Announcements,
}

/// Adver_Timer of one member.
#[derive(Clone, Copy, Debug)]
pub(super) struct AdverTimer {
    pub(super) due: Moment,
    pub(super) sent: Moment,
}

/// On the way out of Active.
#[derive(Debug)]
pub(super) struct Resigning {
    pub(super) reason: String,
    pub(super) detected: Moment,
    pub(super) moments: Moments,
    pub(super) step: Step,
    pub(super) last_word: LastWord,
    /// The peer that won has resigned in the meantime.
    pub(super) peer_resigned: Option<IpAddr>,
}

#[derive(Debug)]
pub(super) enum Step {
    /// The daemon resets exchanges; at `until` we go on without its answer.
    Resetting { until: Moment, addresses: Vec<(MemberId, VirtualAddress)> },
    /// The kernel has not acknowledged these removals. They are asked for again at `retry`; at `give_up` the lease has
    /// ended them.
    Removing { addresses: Vec<(MemberId, VirtualAddress)>, retry: Moment, give_up: Moment },
}

/// What is said once the addresses are gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LastWord {
    /// Priority 0: anyone may take over.
    PriorityZero,
    /// Rule 7: one last advertisement with our own priority, so that the winner announces again. Never with
    /// a better one than that which lost: a node that is ready again by then would take the addresses from the winner.
    Losing {
        /// What it lost with.
        with: u8,
    },
}
