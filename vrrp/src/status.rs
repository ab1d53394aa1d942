//! What a group says of itself: plain data, rendered elsewhere.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{Moment, Readiness, Transition, VirtualAddress, Vrid};

/// State of a group (RFC 9568 §6.4).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum State {
    /// Takes no part: starting, in fault, or stopped.
    #[default]
    Initialize,
    /// Watches the Active.
    Backup,
    /// Holds the addresses.
    Active,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "Initialize",
            Self::Backup => "Backup",
            Self::Active => "Active",
        })
    }
}

/// Addresses that only the other node has and that are kept.
const MOST_ADDED: usize = 8;

/// What was last heard of a peer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct PeerHeard {
    /// Source of its advertisements.
    pub source: IpAddr,
    /// Priority in the last one.
    pub priority: u8,
    /// When it came.
    pub at: Moment,
    /// The addresses of this node's file that it was not for.
    #[serde(default)]
    pub lacks: Vec<IpAddr>,
    /// Addresses that it was for and that are not in this node's file: the first 8 of them.
    #[serde(default)]
    pub adds: Vec<IpAddr>,
}

impl PeerHeard {
    /// An advertisement for the addresses of this node's file.
    #[must_use]
    pub fn new(source: IpAddr, priority: u8, at: Moment) -> Self {
        Self { source, priority, at, lacks: Vec::new(), adds: Vec::new() }
    }

    /// It was for `theirs`, where this node has `own`.
    pub(crate) fn compare(&mut self, own: &[IpAddr], theirs: &[IpAddr]) {
        let without = |of: &[IpAddr], others: &[IpAddr], most: usize| {
            of.iter().filter(|one| !others.contains(one)).take(most).copied().collect()
        };
        self.lacks = without(own, theirs, usize::MAX);
        // Whoever sends it chooses how many.
        self.adds = without(theirs, own, MOST_ADDED);
    }
}

/// One virtual router.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberStatus {
    /// Name of the `[vip.NAME]` table.
    pub vip: String,
    /// Name of the interface, once known.
    pub interface: Option<String>,
    /// Its number.
    pub vrid: Vrid,
    /// All its addresses, in the order of the file.
    pub addresses: Vec<VirtualAddress>,
    /// Those that the kernel acknowledged.
    pub installed: Vec<VirtualAddress>,
    /// The last advertisement heard.
    pub heard: Option<PeerHeard>,
    /// Who advertises here, each by its source: nodes of the file that were heard, and a few strangers. A speaker of before says
    /// nothing of them.
    #[serde(default)]
    pub advertisers: Vec<Advertiser>,
    /// Strangers that are heard and are not among `advertisers`: there was no room to say who they are.
    #[serde(default)]
    pub unsaid: usize,
    /// The last address that somebody took off its interface while it was ours, and when: it is there again.
    #[serde(default)]
    pub stolen: Option<(VirtualAddress, Moment)>,
    /// Why it can neither send nor hear; `None` while it can.
    #[serde(default)]
    pub trouble: Option<String>,
    /// Addresses of other nodes, by unicast, that this machine has itself: its kernel drops what comes from them.
    #[serde(default)]
    pub looped: Vec<IpAddr>,
    /// Counters by name: advertisements sent, received, and rejected by reason, and announcements. Names that never counted are
    /// not there, and none is from a speaker of before.
    #[serde(default)]
    pub counters: BTreeMap<String, u64>,
}

/// Somebody who advertises for a virtual router of ours.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Advertiser {
    /// The last of it, and where that came from.
    pub said: Said,
    /// Since when it is heard.
    pub since: Moment,
    /// Until when it counts as heard: three intervals after the last one, as far as they are known; 3 to 60 s.
    pub until: Moment,
    /// It is a node of the file, by the address that it comes from: the file or a hello says whose that is.
    #[serde(default)]
    pub is_node: bool,
}

impl Advertiser {
    /// Whether it is heard at present.
    #[must_use]
    pub fn is_heard(&self, now: Moment) -> bool {
        now < self.until
    }

    /// Of several that which matters most comes first: who wants our addresses, then who was dropped and may want them, then the others;
    /// of each kind whoever has been heard for longest, so it is the same one each time.
    #[must_use]
    pub fn order(&self) -> impl Ord + use<> {
        let kind = match &self.said {
            Said::Ours(_) => 0,
            Said::Rejected(_) => 1,
            Said::Others(_) => 2,
        };
        (kind, self.since, self.said.source())
    }
}

/// What somebody advertises.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Said {
    /// It is for addresses of ours, or by a node of the file: it counts in the election.
    Ours(PeerHeard),
    /// It is another cluster's, for other addresses.
    Others(PeerHeard),
    /// It was dropped, since its sender has other settings.
    Rejected(Rejected),
}

impl Said {
    /// Where it came from.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        match self {
            Self::Ours(heard) | Self::Others(heard) => heard.source,
            Self::Rejected(found) => found.source,
        }
    }

    /// When it came.
    #[must_use]
    pub fn at(&self) -> Moment {
        match self {
            Self::Ours(heard) | Self::Others(heard) => heard.at,
            Self::Rejected(found) => found.at,
        }
    }

    /// Whether it was dropped.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        matches!(self, Self::Rejected(_))
    }
}

/// An advertisement for our vrid that is another cluster's, or of a node with another file
/// ([`DecodeError::is_of_other_settings`](crate::advertisement::DecodeError::is_of_other_settings)).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rejected {
    /// Where it came from.
    pub source: IpAddr,
    /// In words.
    pub why: String,
    /// When it came.
    pub at: Moment,
}

/// An advertisement of a node of the file that is not signed as it should be ([`crate::authentication`]).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Untrusted {
    /// Where it came from.
    pub source: IpAddr,
    /// In words.
    pub why: String,
    /// Or heard all the same, because of the step.
    pub dropped: bool,
    /// When it came.
    pub at: Moment,
}

/// What a speaker has said of a group, for the one that takes its place.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Past {
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Moment,
    /// The last transitions, oldest first; they may be none.
    pub transitions: Vec<Transition>,
}

impl Past {
    /// A transition that is newer than what is known: it comes before the status that has it.
    pub fn follow(&mut self, transition: &Transition) {
        if transition.at >= self.since && self.transitions.last() != Some(transition) {
            (self.state, self.since) = (transition.to, transition.at);
            self.transitions.push(transition.clone());
        }
    }

    /// Keeps the last `most` transitions.
    pub fn shorten(&mut self, most: usize) {
        self.transitions.drain(..self.transitions.len().saturating_sub(most));
    }
}

/// A group, whole.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct GroupStatus {
    /// Name of the group.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Moment,
    /// Why: the reason of the last transition.
    pub reason: String,
    /// The priority it advertises, or would.
    pub priority: u8,
    /// Readiness as last told.
    pub readiness: Readiness,
    /// Its virtual routers.
    pub members: Vec<MemberStatus>,
    /// The last of its kind.
    #[serde(default)]
    pub untrusted: Option<Untrusted>,
    /// The last 20 transitions, oldest first.
    pub transitions: Vec<Transition>,
    /// Counters by name: advertisements sent, received, and rejected by reason.
    pub counters: BTreeMap<String, u64>,
}

impl MemberStatus {
    /// Leaves out strangers that are not heard any more, and all but the first `most` of the others, which are counted.
    fn shorten(&mut self, now: Moment, most: usize) {
        let (mut all, mut strangers): (Vec<_>, Vec<_>) =
            self.advertisers.drain(..).partition(|one| one.is_node);
        strangers.retain(|one| one.is_heard(now));
        strangers.sort_by_key(Advertiser::order);
        self.unsaid += strangers.len().saturating_sub(most);
        strangers.truncate(most);
        all.append(&mut strangers);
        self.advertisers = all;
    }
}

impl GroupStatus {
    /// For a message that is too long otherwise: with so many strangers of each virtual router, the last of the transitions, and counters
    /// or none.
    pub fn shorten(&mut self, now: Moment, strangers: usize, transitions: usize, has_counters: bool) {
        self.transitions.drain(..self.transitions.len().saturating_sub(transitions));
        self.members.iter_mut().for_each(|member| member.shorten(now, strangers));
        if !has_counters {
            self.counters.clear();
            self.members.iter_mut().for_each(|member| member.counters.clear());
        }
    }

    /// What outlives its speaker.
    #[must_use]
    pub fn past(&self) -> Past {
        Past { state: self.state, since: self.since, transitions: self.transitions.clone() }
    }
}
