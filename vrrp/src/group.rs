//! The VRRP machine of one group (RFC 9568 §6.4 and the rules of `docs/architecture/advertisement.md`).
//!
//! Pure: `handle_*` tells it what happened, `poll_output` says what is to be done, `poll_timeout` when it wants to be
//! called again. Between two nodes it keeps these promises:
//!
//! * Two Actives that hear each other last one link delay plus the removal of an address, never longer: the loser
//!   removes first and then says so, the winner waits for that before it adds.
//! * Nobody is told that an address is free before the kernel acknowledged its removal.
//! * Nothing is announced before the kernel acknowledged that it is here.
//! * A node that was not scheduled for more than 2.5 intervals drops its addresses before it does anything else.

#![warn(clippy::wildcard_enum_match_arm)]

mod active;
mod advertisers;
mod announcements;
mod answers;
mod backup;
mod effects;
mod facts;
mod faults;
mod history;
mod level;
mod member;
mod preemption;
mod reconfigure;
mod resigning;
mod state;
mod transitions;

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, net::IpAddr, time::Duration};

pub use level::Level;
pub use reconfigure::{CantReconfigure, check_reconfigure};

use facts::Of;
use faults::Faults;
use history::History;
use member::Member;
use preemption::Moves;
use state::Machine;

use crate::{
    GroupConfig, GroupStatus, MemberId, Moment, Output, Past, Readiness, State, TimeoutReason,
    VirtualAddress,
    advertisement::Advertisement,
    status::{MemberStatus, Rejected, Said},
};

/// How long a Backup waits for what it can't trust.
const UNTRUSTED_LIMIT: Duration = Duration::from_secs(60);

/// How a group starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// Listens for one Active_Down_Interval first.
    Fresh,
    /// This node was Active a moment ago and its speaker was replaced: the last advertisement left at `last`, the
    /// addresses are still installed. Goes on as Active if `last` is younger than 2.5 intervals, and counts as ready
    /// until its readiness is told; else removes the addresses, resigns, and listens.
    ResumeActive {
        /// When the last advertisement left.
        last: Moment,
    },
    /// As `ResumeActive`, but so late that the addresses were removed before another node may claim them: resigns, and listens.
    Withdrawn {
        /// When the last advertisement left.
        last: Moment,
    },
}

/// The machine of one group.
#[derive(Debug)]
pub struct Group {
    config: GroupConfig,
    machine: Machine,
    members: Vec<Member>,
    /// Between `handle_startup` and `handle_shutdown`.
    started: bool,
    /// Resumed as Active: readiness that is not told yet is not held against it.
    resumed: bool,
    /// What the speaker before said, until this one has begun.
    past: Option<Past>,
    told: Option<Readiness>,
    /// It gave the addresses away when somebody asked: it does not preempt a ready Active.
    yields: bool,
    /// See `handle_named`.
    named: Vec<IpAddr>,
    faults: Faults,
    /// Readiness as it counts: what was told, the links, and the faults found here.
    readiness: Readiness,
    ready_since: Option<Moment>,
    moves: Moves,
    since: Moment,
    history: History,
    outputs: VecDeque<Output>,
}

/// What can happen to a state. Facts about the node (readiness, links, sources) are kept outside of it.
#[derive(Debug)]
enum Event<'a> {
    Startup(Start),
    Shutdown(&'a str),
    /// Readiness, a link or a source changed.
    Facts,
    Heard(Heard<'a>),
    Timeout,
    Added(MemberId, VirtualAddress),
    Failed(MemberId, VirtualAddress, &'a str),
    Removed(MemberId, VirtualAddress),
    Stolen(MemberId, VirtualAddress),
    ExchangesReset,
    PeerReappeared,
    Announce,
}

/// A valid advertisement of another node.
#[derive(Clone, Copy, Debug)]
struct Heard<'a> {
    member: MemberId,
    source: IpAddr,
    advertisement: &'a Advertisement,
}

impl Group {
    /// In Initialize; nothing happens before `handle_startup`. Readiness begins as a fault: "not told yet".
    pub fn new(config: GroupConfig, now: Moment) -> Self {
        let members = config.members.iter().cloned().map(Member::new).collect();
        Self {
            config,
            machine: Machine::Initialize,
            members,
            started: false,
            resumed: false,
            past: None,
            told: None,
            yields: false,
            named: Vec::new(),
            faults: Faults::default(),
            readiness: Readiness::Fault { reason: "readiness is not told yet".to_owned() },
            ready_since: None,
            moves: Moves::default(),
            since: now,
            history: History::default(),
            outputs: VecDeque::new(),
        }
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &GroupConfig {
        &self.config
    }

    /// What the speaker before this one has said, before `handle_startup`: a state that is the same afterwards has not changed, and
    /// keeps its moment and its reason.
    pub fn handle_past(&mut self, past: Past) {
        if past.state != State::Initialize && past.transitions.last().is_none_or(|last| last.to != past.state)
        {
            // It can't be said why.
            return;
        }
        self.history.go_on(&past.transitions);
        for at in past.transitions.iter().filter(|one| one.from == State::Active || one.to == State::Active) {
            self.moves.record(at.at);
        }
        self.past = Some(past);
    }

    /// Startup (RFC 9568 §6.4.1). Needs a source and a link for at least one member, and no fault, to leave Initialize.
    /// For [`Start::ResumeActive`] tell links and sources first: without them there is nothing to go on with, and it
    /// resigns.
    pub fn handle_startup(&mut self, now: Moment, start: Start) {
        if let Start::ResumeActive { .. } | Start::Withdrawn { .. } = start {
            self.resumed = true;
            self.weigh_readiness(now);
        }
        self.step(now, Event::Startup(start));
        self.past = None;
    }

    /// Orderly end: exchanges reset, addresses removed, priority 0, Initialize. Poll until the state is Initialize and
    /// no output is left.
    pub fn handle_shutdown(&mut self, now: Moment, reason: &str) {
        self.step(now, Event::Shutdown(reason));
    }

    /// The primary address of the member's interface (source of its advertisements) is known, changed, or lost.
    pub fn handle_source(&mut self, now: Moment, member: MemberId, source: Option<IpAddr>) {
        let Some(known) = self.members.get_mut(member.0) else { return };
        known.source = source;
        self.facts_changed(now);
    }

    /// The member's link came up (`Ok`) or went down or away (`Err` with the reason in words).
    pub fn handle_link(&mut self, now: Moment, member: MemberId, link: Result<(), String>) {
        let Some(known) = self.members.get_mut(member.0) else { return };
        if known.link.is_ok() != link.is_ok() {
            self.faults.link_changed();
        }
        known.link = link;
        self.facts_changed(now);
    }

    /// A valid advertisement for `member` arrived from `source`. True if it is another cluster's, for other addresses, and a warning
    /// has said so.
    pub fn handle_advertisement(
        &mut self,
        now: Moment,
        member: MemberId,
        source: IpAddr,
        advertisement: &Advertisement,
    ) -> bool {
        self.check_clock(now);
        let of = self.note_heard(now, member, source, advertisement);
        if of == Of::Somebody {
            self.step(now, Event::Heard(Heard { member, source, advertisement }));
        }
        of == Of::OtherCluster
    }

    /// An advertisement for `member`, perhaps of a node of the file, is not signed as it should be, and nothing rightly signed of any
    /// other node was ever heard: this node may have the wrong secret. A Backup waits as if it had been right, so that a wrong secret
    /// makes no second owner, if it is for an address of ours, and for a minute at most: whoever can send into the network could
    /// keep it waiting. It decides nothing else.
    pub fn handle_untrusted(&mut self, now: Moment, member: MemberId, advertisement: &Advertisement) {
        self.check_clock(now);
        let known = self.members.get(member.0).filter(|known| known.shares_address(advertisement));
        let down = known.map(|known| now + known.active_down_interval(self.config.priority));
        if let (Machine::Backup(backup), Some(down)) = (&mut self.machine, down)
            && now.saturating_since(*backup.distrusts.get_or_insert(now)) < UNTRUSTED_LIMIT
            && let Some(timer) = backup.active_down.get_mut(member.0)
        {
            *timer = Some(down);
        }
    }

    /// Something for `member` was dropped because its sender has other settings: it decides nothing, and is told in the status.
    pub fn handle_rejected(&mut self, now: Moment, member: MemberId, rejected: Rejected) {
        self.note_advertiser(now, member, Said::Rejected(rejected), None);
    }

    /// The deadline of `poll_timeout` passed. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.check_clock(now);
        for (member, address) in self.faults.take_removals(now) {
            self.outputs.push_back(Output::RemoveAddress { member, address });
        }
        if self.faults.expire(now) {
            self.facts_changed(now);
        }
        self.step(now, Event::Timeout);
    }

    /// The node's readiness changed.
    pub fn handle_readiness(&mut self, now: Moment, readiness: Readiness) {
        self.told = Some(readiness);
        self.facts_changed(now);
    }

    /// After a switchover: whatever `preempt` says, the addresses are not taken from a ready Active because of its lower
    /// priority, until this is over.
    pub fn handle_yielding(&mut self, now: Moment, yields: bool) {
        if self.yields != yields {
            self.yields = yields;
            self.facts_changed(now);
        }
    }

    /// Hellos of other nodes say that these addresses are theirs: whoever advertises from one of them does not have to compete with strangers
    /// for a place in the status. It counts for nothing else, since a hello may be forged.
    pub fn handle_named(&mut self, sources: &[IpAddr]) {
        if self.named != sources {
            self.named = sources.to_vec();
            self.nodes_changed();
        }
    }

    /// The kernel acknowledged an address.
    pub fn handle_address_added(&mut self, now: Moment, member: MemberId, address: VirtualAddress) {
        self.step(now, Event::Added(member, address));
    }

    /// The kernel refused an address, or did not answer in time: a fault.
    pub fn handle_address_failed(
        &mut self,
        now: Moment,
        member: MemberId,
        address: VirtualAddress,
        reason: &str,
    ) {
        self.step(now, Event::Failed(member, address, reason));
    }

    /// The kernel acknowledged a removal that we asked for, or the address was gone already.
    pub fn handle_address_removed(&mut self, now: Moment, member: MemberId, address: VirtualAddress) {
        if let Some(known) = self.members.get_mut(member.0) {
            known.installed.remove(&address);
        }
        self.step(now, Event::Removed(member, address));
    }

    /// Somebody else removed an address of ours while we are Active: it is added and announced again.
    pub fn handle_address_stolen(&mut self, now: Moment, member: MemberId, address: VirtualAddress) {
        if let Some(known) = self.members.get_mut(member.0) {
            known.installed.remove(&address);
        }
        self.step(now, Event::Stolen(member, address));
    }

    /// An address of a virtual router is on its interface without being ours (another tag, or none). It is removed
    /// once with a warning; a second time within a minute is a fault, and goes on being removed, once a second.
    /// `address` is what the kernel has, prefix included; `tag` says whose it seems to be: `static`, `kernel`,
    /// `protocol 16`. Not to be called for an address that this machine has asked for.
    pub fn handle_address_foreign(
        &mut self,
        now: Moment,
        member: MemberId,
        address: VirtualAddress,
        tag: &str,
    ) {
        self.check_clock(now);
        let Some(known) = self.members.get(member.0) else { return };
        let vip = known.config.vip.clone();
        self.history.count("addresses_foreign");
        if self.faults.foreign_seen(now, member, address, tag) {
            self.warn(
                "address_foreign",
                format!(
                    "vip {vip}: {}/{} is on the interface without being ours ({tag}); removed",
                    address.address, address.prefix
                ),
            );
            self.outputs.push_back(Output::RemoveAddress { member, address });
            if let Machine::Active(_) = self.machine {
                // The kernel keeps one entry per address and prefix: with the foreign one ours is gone too.
                self.step(now, Event::Stolen(member, address));
            }
        }
        self.facts_changed(now);
    }

    /// The daemon has reset the exchanges it was asked to reset.
    pub fn handle_exchanges_reset(&mut self, now: Moment) {
        self.step(now, Event::ExchangesReset);
    }

    /// A peer that was silent says hello again: an Active announces.
    pub fn handle_peer_reappeared(&mut self, now: Moment) {
        self.step(now, Event::PeerReappeared);
    }

    /// An operator wants the addresses announced: an Active does it at once, however short ago it did so.
    pub fn handle_announce(&mut self, now: Moment) {
        self.step(now, Event::Announce);
    }

    /// The next effect, in order.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `handle_timeout` is wanted next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, TimeoutReason)> {
        let machine = match &self.machine {
            Machine::Initialize => None,
            Machine::Backup(backup) => Some(backup.next()),
            Machine::Active(active) => active.next(),
            Machine::Resigning(resigning) => Some((resigning.next(), TimeoutReason::Acknowledgement)),
        };
        let faults = self.faults.next().map(|at| (at, TimeoutReason::Other("fault")));
        [machine, faults].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Its state, without the cost of a whole status. A node is Active until its last address is gone.
    pub fn state(&self) -> State {
        match &self.machine {
            Machine::Initialize => State::Initialize,
            Machine::Backup(_) => State::Backup,
            Machine::Active(_) | Machine::Resigning(_) => State::Active,
        }
    }

    /// What it says of itself. `interface`, `looped` and counters of rejected packets are the driver's to fill in.
    pub fn status(&self) -> GroupStatus {
        let members = self.members.iter().map(|member| MemberStatus {
            vip: member.config.vip.clone(),
            interface: None,
            vrid: member.config.vrid,
            addresses: member.config.addresses.clone(),
            installed: member.installed.iter().copied().collect(),
            heard: member.heard.clone(),
            advertisers: member.advertisers.all().cloned().collect(),
            unsaid: 0,
            stolen: member.stolen,
            trouble: member.trouble(),
            looped: Vec::new(),
            counters: member.counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        });
        GroupStatus {
            name: self.config.name.clone(),
            state: self.state(),
            since: self.since,
            reason: self.reason(),
            priority: self.wire_priority(),
            readiness: self.readiness.clone(),
            members: members.collect(),
            untrusted: None,
            transitions: self.history.transitions(),
            counters: self.history.counters(),
        }
    }
}
