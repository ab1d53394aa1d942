//! The table of RFC 9568 §6.4: what each event does to each state, and what holds afterwards.

use std::mem;

use super::{Event, Group, Start, history, state::Machine};
use crate::{Moment, Moments, Readiness, State};

impl Group {
    /// One event, one new state. The clock is compared before anything is sent or added.
    pub(super) fn step(&mut self, now: Moment, event: Event<'_>) {
        self.check_clock(now);
        let machine = mem::replace(&mut self.machine, Machine::Initialize);
        self.machine = self.transition(now, machine, event);
        self.check_invariants();
    }

    /// The table of RFC 9568 §6.4.
    fn transition(&mut self, now: Moment, machine: Machine, event: Event<'_>) -> Machine {
        use Event as E;
        use Machine as M;
        match (machine, event) {
            (M::Initialize, E::Startup(start)) => self.start(now, start),
            (M::Initialize, E::Shutdown(_)) => {
                self.started = false;
                M::Initialize
            }
            (M::Initialize, E::Facts) => self.leave_initialize(now),
            (
                M::Initialize,
                E::Heard(_)
                | E::Timeout
                | E::Added(..)
                | E::Failed(..)
                | E::Removed(..)
                | E::Stolen(..)
                | E::ExchangesReset
                | E::PeerReappeared
                | E::Announce,
            ) => M::Initialize,

            (M::Backup(_), E::Shutdown(reason)) => {
                self.started = false;
                self.enter_initialize(now, reason.to_owned())
            }
            (M::Backup(backup), E::Facts) => self.backup_facts(now, backup),
            (M::Backup(backup), E::Heard(heard)) => self.backup_heard(now, backup, heard),
            (M::Backup(backup), E::Timeout) => self.backup_timeout(now, backup),
            (
                M::Backup(backup),
                E::Startup(_)
                | E::Added(..)
                | E::Failed(..)
                | E::Removed(..)
                | E::Stolen(..)
                | E::ExchangesReset
                | E::PeerReappeared
                | E::Announce,
            ) => M::Backup(backup),

            (M::Active(active), E::Shutdown(reason)) => {
                self.started = false;
                self.resign(now, active, reason.to_owned())
            }
            (M::Active(active), E::Facts) => self.active_facts(now, active),
            (M::Active(active), E::Heard(heard)) => self.active_heard(now, active, heard),
            (M::Active(active), E::Timeout) => self.active_timeout(now, active),
            (M::Active(active), E::Added(member, address)) => self.active_added(now, active, member, address),
            (M::Active(active), E::Failed(member, address, reason)) => {
                self.active_failed(now, active, member, address, reason)
            }
            (M::Active(active), E::Stolen(member, address)) => {
                self.active_stolen(now, active, member, address)
            }
            (M::Active(mut active), E::PeerReappeared) => {
                active.announcements.request(now);
                self.announce_if_due(now, &mut active);
                M::Active(active)
            }
            (M::Active(mut active), E::Announce) => {
                active.announcements.order(now);
                self.announce_if_due(now, &mut active);
                M::Active(active)
            }
            (M::Active(active), E::Startup(_) | E::Removed(..) | E::ExchangesReset) => M::Active(active),

            (M::Resigning(resigning), E::Shutdown(_)) => {
                self.started = false;
                M::Resigning(resigning)
            }
            (M::Resigning(resigning), E::Heard(heard)) => self.resigning_heard(now, resigning, heard),
            (M::Resigning(resigning), E::Timeout) => self.resigning_timeout(now, resigning),
            (M::Resigning(resigning), E::Removed(member, address)) => {
                self.resigning_removed(now, resigning, member, address)
            }
            (M::Resigning(resigning), E::ExchangesReset) => self.resigning_exchanges_reset(now, resigning),
            (
                M::Resigning(resigning),
                E::Startup(_)
                | E::Facts
                | E::Added(..)
                | E::Failed(..)
                // The driver still wants it, and would add it again: it has to be told.
                | E::Stolen(..)
                | E::PeerReappeared
                | E::Announce,
            ) => M::Resigning(resigning),
        }
    }

    fn start(&mut self, now: Moment, start: Start) -> Machine {
        self.started = true;
        match start {
            Start::Fresh => {
                let machine = self.leave_initialize(now);
                if let (Machine::Initialize, Some(_), Some(fault)) = (&machine, &self.told, self.fault()) {
                    self.begin(now, State::Initialize, fault);
                }
                machine
            }
            Start::ResumeActive { last } => self.resume(now, last),
            Start::Withdrawn { last } => self.come_too_late(now, last),
        }
    }

    /// RFC 9568 §6.4.1: Backup, unless a fault keeps us here.
    fn leave_initialize(&mut self, now: Moment) -> Machine {
        if !self.started || matches!(self.readiness, Readiness::Fault { .. }) {
            return Machine::Initialize;
        }
        let reason = match self.history.last() {
            Some(last) if last.to == State::Initialize => format!("over: {}", last.reason),
            Some(_) if self.past.is_some() => "its speaker was replaced".to_owned(),
            Some(_) | None => "started".to_owned(),
        };
        for member in &mut self.members {
            member.forget_interval();
        }
        self.begin(now, State::Backup, reason);
        self.listen(now)
    }

    pub(super) fn enter_initialize(&mut self, now: Moment, reason: String) -> Machine {
        self.record(now, State::Backup, State::Initialize, reason, now, Moments::default());
        Machine::Initialize
    }

    /// The lateness check: an Active whose last advertisement is so old that a peer may have taken over drops its
    /// addresses and starts over, before anything else is sent or added.
    pub(super) fn check_clock(&mut self, now: Moment) {
        let Machine::Active(active) = &self.machine else { return };
        let late = active.adver.iter().zip(&self.members).find_map(|(timer, member)| {
            timer.filter(|timer| member.is_late(now, timer.sent)).map(|timer| timer.sent)
        });
        let Some(sent) = late else { return };
        if let Machine::Active(active) = mem::replace(&mut self.machine, Machine::Initialize) {
            self.history.count("late");
            let reason = format!("late: no advertisement sent for {}", history::since(now, sent));
            self.machine = self.start_over(now, active, reason, sent);
        }
    }

    /// What holds after every step.
    fn check_invariants(&self) {
        let installed = self.members.iter().any(|member| !member.installed.is_empty());
        match &self.machine {
            Machine::Initialize => {
                debug_assert!(!installed, "Initialize holds no address");
            }
            Machine::Backup(backup) => {
                debug_assert!(!installed, "a Backup holds no address");
                debug_assert_eq!(backup.active_down.len(), self.members.len());
                debug_assert!(self.fault().is_none(), "a node in fault takes no part");
            }
            Machine::Active(active) => {
                debug_assert!(self.fault().is_none(), "a node in fault is no Active");
                debug_assert_ne!(active.priority, 0, "an Active never advertises 0");
                debug_assert!(
                    active.yielding.is_none() || active.asked.is_empty(),
                    "nothing is added while a peer has yet to remove"
                );
            }
            Machine::Resigning(_) => {}
        }
    }
}
