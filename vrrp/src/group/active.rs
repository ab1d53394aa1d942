//! Active (RFC 9568 §6.4.3): advertises, holds the addresses, announces them.

use std::{net::IpAddr, time::Duration};

use super::{
    Group, Heard,
    announcements::Announcements,
    answers::{Answer, Answers},
    level::Level,
    state::{Active, AdverTimer, LastWord, Machine},
};
use crate::{MemberId, Moment, Moments, Output, PeerKind, Readiness, State, TimeoutReason, VirtualAddress};

/// How long the claim from a living Active waits for its last word: the limits on its resets (5 ms) and on the
/// kernel's acknowledgement (50 ms), and a little for the way.
const YIELD_LIMIT: Duration = Duration::from_millis(60);

/// The driver gives up on the kernel after 50 ms and says so; this is the limit if it does not.
const ACKNOWLEDGEMENT_LIMIT: Duration = Duration::from_millis(100);

impl Group {
    /// Becomes Active: advertise, add the addresses, announce each once the kernel has acknowledged it. When they are
    /// taken from a living Active (`over`), they are added only after its last word.
    pub(super) fn claim(
        &mut self,
        now: Moment,
        reason: String,
        detected: Moment,
        moments: Moments,
        over: Option<IpAddr>,
    ) -> Machine {
        let mut active = self.activate(now);
        self.moves.record(now);
        // A foreign peer has no last word; it drops its addresses when it hears us.
        if over.is_some() && self.config.peer == PeerKind::Lbctl {
            active.yielding = Some(now + YIELD_LIMIT);
        } else {
            self.add_addresses(now, &mut active);
        }
        self.record(now, State::Backup, State::Active, reason, detected, moments);
        Machine::Active(active)
    }

    /// Goes on as the Active that this node was before its speaker was replaced, or resigns if that is too long ago.
    pub(super) fn resume(&mut self, now: Moment, last: Moment) -> Machine {
        // One that is down has sent none.
        let late = self.members.iter().any(|member| member.is_up() && member.is_late(now, last));
        if late || self.fault().is_some() {
            return self.come_too_late(now, last);
        }
        let mut active = self.activate(now);
        self.add_addresses(now, &mut active);
        let reason = format!("resumed, last advertisement {} ago", super::history::since(now, last));
        self.begin(now, State::Active, reason);
        Machine::Active(active)
    }

    /// Removes whatever is left of what the speaker before had, and resigns.
    pub(super) fn come_too_late(&mut self, now: Moment, last: Moment) -> Machine {
        let asked = self.all_addresses();
        let late = || format!("late: no advertisement sent for {}", super::history::since(now, last));
        let reason = self.fault().unwrap_or_else(late);
        self.leave(now, asked, reason, last, Moments::default(), LastWord::PriorityZero, None)
    }

    pub(super) fn active_facts(&mut self, now: Moment, mut active: Active) -> Machine {
        if let Some(fault) = self.fault() {
            return self.resign(now, active, fault);
        }
        let priority = self.wire_priority();
        let level = |priority| Level::of(priority, PeerKind::Lbctl);
        if self.config.peer == PeerKind::Keepalived && level(priority) < level(active.priority) {
            // Rule 11: it would not understand a level, and keep away from an address that nobody serves well.
            let reason = self.worsened();
            return self.resign(now, active, reason);
        }
        let mut came_up = false;
        for (member, timer) in self.members.iter().zip(&mut active.adver) {
            if member.is_up() && timer.is_none() {
                *timer = Some(AdverTimer { due: now, sent: now });
                came_up = true;
            } else if !member.is_up() {
                *timer = None;
            }
        }
        if priority != active.priority {
            active.priority = priority;
            self.advertise_all(now, &mut active);
        }
        if came_up {
            self.advertise_due(now, &mut active);
            if active.yielding.is_none() {
                self.add_addresses(now, &mut active);
            }
            // Rule 7: on link up.
            active.announcements.request(now);
        }
        Machine::Active(active)
    }

    pub(super) fn active_heard(&mut self, now: Moment, mut active: Active, heard: Heard<'_>) -> Machine {
        let theirs = heard.advertisement.priority;
        if theirs > active.priority || (theirs == active.priority && self.loses_tie(heard)) {
            return self.lose(now, active, heard);
        }
        self.history.count("losing_received");
        self.answer(now, &mut active, heard);
        // What loses has just held the addresses, or still does: clients may point to it. While we wait for its last
        // word, this is it.
        if active.yielding.take().is_some() {
            self.add_addresses(now, &mut active);
        }
        active.announcements.request(now);
        self.announce_if_due(now, &mut active);
        Machine::Active(active)
    }

    /// RFC 9568 §6.4.3: answer at once. Adver_Timer stays, but for a priority 0, and for an answer that is put off.
    fn answer(&mut self, now: Moment, active: &mut Active, heard: Heard<'_>) {
        let MemberId(index) = heard.member;
        let Some(answers) = active.answers.get_mut(index) else { return };
        let timer = active.adver.get_mut(index).and_then(Option::as_mut);
        if let Answer::PutOff(until) = answers.take(now) {
            self.history.count("answers_put_off");
            if let Some(timer) = timer {
                timer.due = timer.due.min(until);
            }
            return;
        }
        if let (0, Some(timer), Some(member)) = (heard.advertisement.priority, timer, self.members.get(index))
        {
            *timer = AdverTimer { due: now + member.config.interval.get(), sent: now };
        }
        self.transmit(heard.member, active.priority);
    }

    pub(super) fn active_timeout(&mut self, now: Moment, mut active: Active) -> Machine {
        if active.yielding.is_some_and(|until| until <= now) {
            active.yielding = None;
            // Perhaps our claim was lost: once more, so that the other node has not got the address for a whole interval.
            self.advertise_all(now, &mut active);
            self.add_addresses(now, &mut active);
        }
        if let Some(&(member, address, _)) = active.pending.iter().find(|(_, _, limit)| *limit <= now) {
            return self.active_failed(now, active, member, address, "the kernel does not answer");
        }
        self.advertise_due(now, &mut active);
        self.announce_if_due(now, &mut active);
        Machine::Active(active)
    }

    pub(super) fn active_added(
        &mut self,
        now: Moment,
        mut active: Active,
        id: MemberId,
        address: VirtualAddress,
    ) -> Machine {
        let asked = active.pending.len();
        active.pending.retain(|(member, pending, _)| (*member, *pending) != (id, address));
        if active.pending.len() == asked {
            // An acknowledgement of an earlier claim.
            return Machine::Active(active);
        }
        if let Some(member) = self.members.get_mut(id.0) {
            member.installed.insert(address);
        }
        self.announce(id, address);
        if active.pending.is_empty() {
            self.faults.installed();
            active.announcements.claimed(now);
            if let Some(moments) = self.history.claim() {
                moments.added.get_or_insert(now);
                moments.announced.get_or_insert(now);
            }
        }
        Machine::Active(active)
    }

    pub(super) fn active_failed(
        &mut self,
        now: Moment,
        active: Active,
        id: MemberId,
        address: VirtualAddress,
        reason: &str,
    ) -> Machine {
        if !active.pending.iter().any(|(member, pending, _)| (*member, *pending) == (id, address)) {
            return Machine::Active(active);
        }
        self.history.count("addresses_failed");
        let vip = self.members.get(id.0).map_or("", |member| member.config.vip.as_str());
        let text = format!("vip {vip}: {} can't be installed: {reason}", address.address);
        self.faults.installing_failed(now, text);
        self.weigh_readiness(now);
        self.active_facts(now, active)
    }

    pub(super) fn active_stolen(
        &mut self,
        now: Moment,
        mut active: Active,
        id: MemberId,
        address: VirtualAddress,
    ) -> Machine {
        let ours = active.asked.contains(&(id, address));
        let Some(member) = self.members.get(id.0).filter(|member| ours && member.is_up()) else {
            return Machine::Active(active);
        };
        let vip = member.config.vip.clone();
        if let Some(member) = self.members.get_mut(id.0) {
            member.stolen = Some((address, now));
        }
        self.history.count("addresses_stolen");
        self.warn(
            "address_stolen",
            format!("vip {vip}: somebody removed {} from the interface; added again", address.address),
        );
        self.add_address(now, &mut active, id, address);
        Machine::Active(active)
    }

    /// One round of announcements, if one is due.
    pub(super) fn announce_if_due(&mut self, now: Moment, active: &mut Active) {
        if !active.announcements.take_due(now) {
            return;
        }
        let installed: Vec<_> = self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.is_up())
            .flat_map(|(index, member)| {
                member.installed.iter().map(move |address| (MemberId(index), *address))
            })
            .collect();
        for (member, address) in installed {
            self.announce(member, address);
        }
    }

    /// The first advertisements of a claim.
    fn activate(&mut self, now: Moment) -> Active {
        self.weigh_as_active(now);
        for member in &mut self.members {
            // RFC 9568 §6.4.3: an Active uses its own interval, whatever it adopted before (V-25).
            member.forget_interval();
        }
        let timer = |up: bool| up.then_some(AdverTimer { due: now, sent: now });
        let mut active = Active {
            adver: self.members.iter().map(|member| timer(member.is_up())).collect(),
            answers: self.members.iter().map(|_| Answers::new(now)).collect(),
            priority: self.wire_priority(),
            yielding: None,
            pending: Vec::new(),
            asked: Vec::new(),
            announcements: Announcements::new(now, self.config.garp_refresh),
        };
        self.advertise_all(now, &mut active);
        active
    }

    /// On every member now, and again after its interval.
    pub(super) fn advertise_all(&mut self, now: Moment, active: &mut Active) {
        for timer in active.adver.iter_mut().flatten() {
            timer.due = now;
        }
        self.advertise_due(now, active);
    }

    /// On every member whose Adver_Timer fired. The next one counts from when this one was due, so that delays do not
    /// add up; but missed ones are not sent after the fact.
    pub(super) fn advertise_due(&mut self, now: Moment, active: &mut Active) {
        for index in 0..self.members.len() {
            let interval = self.members.get(index).map(|member| member.config.interval.get());
            let timer = active.adver.get_mut(index).and_then(Option::as_mut);
            let (Some(interval), Some(timer)) = (interval, timer) else { continue };
            if timer.due > now {
                continue;
            }
            if 2 * now.saturating_since(timer.sent) > 3 * interval {
                // Rule 7: back from a stall.
                active.announcements.request(now);
            }
            let next = timer.due + interval;
            timer.due = if next > now { next } else { now + interval };
            timer.sent = now;
            self.transmit(MemberId(index), active.priority);
        }
    }

    /// Asks the kernel for every address that it was not asked for yet, on the members that are up.
    pub(super) fn add_addresses(&mut self, now: Moment, active: &mut Active) {
        for (member, address) in self.all_addresses() {
            let up = self.members.get(member.0).is_some_and(|known| known.is_up());
            let installed =
                self.members.get(member.0).is_some_and(|known| known.installed.contains(&address));
            if up && !installed {
                self.add_address(now, active, member, address);
            }
        }
    }

    fn add_address(&mut self, now: Moment, active: &mut Active, member: MemberId, address: VirtualAddress) {
        active.pending.retain(|(id, pending, _)| (*id, *pending) != (member, address));
        active.pending.push((member, address, now + ACKNOWLEDGEMENT_LIMIT));
        if !active.asked.contains(&(member, address)) {
            active.asked.push((member, address));
        }
        self.outputs.push_back(Output::AddAddress { member, address });
    }

    fn all_addresses(&self) -> Vec<(MemberId, VirtualAddress)> {
        let all = self.members.iter().enumerate();
        all.flat_map(|(index, member)| member.config.addresses.iter().map(move |a| (MemberId(index), *a)))
            .collect()
    }

    fn announce(&mut self, member: MemberId, address: VirtualAddress) {
        self.count_on(member, "announcements");
        self.outputs.push_back(Output::Announce { member, address });
    }

    /// RFC 9568 §6.4.3: of two equal priorities the higher source address wins. In a group the first IPv4 member
    /// decides for all, or two nodes with two interfaces could each win one.
    fn loses_tie(&self, heard: Heard<'_>) -> bool {
        let decisive =
            self.members.iter().find(|member| member.source.is_some_and(|source| source.is_ipv4()));
        let on_decisive = decisive.and_then(|member| Some((member.source?, member.heard.as_ref()?.source)));
        let on_heard =
            self.members.get(heard.member.0).and_then(|member| Some((member.source?, heard.source)));
        // Over the same address it speaks for the decisive one, on which another node may have been the last that was heard.
        let is_the_same =
            on_heard.zip(decisive).is_some_and(|((ours, _), member)| member.source == Some(ours));
        on_decisive.filter(|_| !is_the_same).or(on_heard).is_some_and(|(ours, theirs)| theirs > ours)
    }

    /// What got worse, in words.
    fn worsened(&self) -> String {
        match &self.readiness {
            Readiness::Ready => "ready".to_owned(),
            Readiness::Degraded { reasons } => format!("degraded: {}", reasons.join("; ")),
            Readiness::Starting { reason, .. } => format!("starting: {reason}"),
            Readiness::Leaving { reason } => format!("leaving: {reason}"),
            Readiness::Fault { reason } => format!("fault: {reason}"),
        }
    }

    /// A better Active is heard: our addresses go at once, then one last advertisement (rule 7).
    fn lose(&mut self, now: Moment, active: Active, heard: Heard<'_>) -> Machine {
        for member in &mut self.members {
            member.forget_interval();
        }
        self.adopt_interval(now, heard);
        let (theirs, ours) = (heard.advertisement.priority, active.priority);
        let why = match &self.readiness {
            Readiness::Ready => String::new(),
            Readiness::Degraded { .. }
            | Readiness::Starting { .. }
            | Readiness::Leaving { .. }
            | Readiness::Fault { .. } => format!(", {}", self.worsened()),
        };
        let reason = format!("{} is better (priority {theirs}, ours {ours}{why})", heard.source);
        let moments = Moments { heard: Some(now), ..Moments::default() };
        // A node that was about to lose resets its exchanges while it still can; against a peer that has the address
        // already every millisecond counts.
        let reset = Level::of(ours, PeerKind::Lbctl) < Some(Level::READY);
        let reset = reset.then_some(super::resigning::RESET_LIMIT);
        self.leave(now, active.asked, reason, now, moments, LastWord::Losing { with: ours }, reset)
    }
}

impl Active {
    /// The next timer; `None` if it has no member to advertise on and nothing to wait for.
    pub(super) fn next(&self) -> Option<(Moment, TimeoutReason)> {
        let adver = self.adver.iter().flatten().map(|timer| (timer.due, TimeoutReason::Advertise));
        let pending = self.pending.iter().map(|(_, _, limit)| (*limit, TimeoutReason::Acknowledgement));
        let yielding = self.yielding.iter().map(|at| (*at, TimeoutReason::Other("last word of the peer")));
        let announce = self.announcements.next().into_iter().map(|at| (at, TimeoutReason::Announce));
        adver.chain(pending).chain(yielding).chain(announce).min_by_key(|(at, _)| *at)
    }
}
