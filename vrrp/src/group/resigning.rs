//! The way out of Active: exchanges reset, addresses removed (acknowledged), then the last word.

use std::time::Duration;

use super::{
    Group, Heard,
    state::{Active, LastWord, Machine, Resigning, Step},
};
use crate::{MemberId, Moment, Moments, Output, State, VirtualAddress};

/// Rule 1: exchanges in flight are reset as far as this allows.
pub(super) const RESET_LIMIT: Duration = Duration::from_millis(5);

/// A removal that is not acknowledged is asked for again after this long.
const REMOVAL_RETRY: Duration = Duration::from_millis(50);

/// By then the lease of an address (2 s, accurate to 0.35 s) has ended it, whatever the kernel answers.
const LEASE_END: Duration = Duration::from_millis(2_400);

impl Group {
    /// Rule 1: gives the address up in order. Exchanges, addresses, priority 0.
    pub(super) fn resign(&mut self, now: Moment, active: Active, reason: String) -> Machine {
        let moments = Moments::default();
        self.leave(now, active.asked, reason, now, moments, LastWord::PriorityZero, Some(RESET_LIMIT))
    }

    /// After a pause: the addresses go first, and nothing waits for exchanges, since the peer may be Active by now.
    pub(super) fn start_over(
        &mut self,
        now: Moment,
        active: Active,
        reason: String,
        detected: Moment,
    ) -> Machine {
        let moments = Moments::default();
        self.leave(now, active.asked, reason, detected, moments, LastWord::PriorityZero, None)
    }

    /// `reset`: how long to wait for exchanges to be reset before the addresses go.
    #[expect(
        clippy::too_many_arguments,
        reason = "the one way out of Active; its callers above name the ways"
    )]
    pub(super) fn leave(
        &mut self,
        now: Moment,
        asked: Vec<(MemberId, VirtualAddress)>,
        reason: String,
        detected: Moment,
        moments: Moments,
        last_word: LastWord,
        reset: Option<Duration>,
    ) -> Machine {
        for member in &mut self.members {
            // Asked for or not: what the kernel holds is no longer to be announced.
            member.installed.clear();
        }
        if !asked.is_empty() {
            self.outputs.push_back(Output::ResetExchanges);
        }
        let step = match reset {
            Some(limit) if !asked.is_empty() => Step::Resetting { until: now + limit, addresses: asked },
            Some(_) | None => self.remove(now, asked),
        };
        let resigning = Resigning { reason, detected, moments, step, last_word, peer_resigned: None };
        self.finish_if_removed(now, resigning)
    }

    pub(super) fn resigning_heard(
        &mut self,
        now: Moment,
        mut resigning: Resigning,
        heard: Heard<'_>,
    ) -> Machine {
        if heard.advertisement.priority == 0 {
            resigning.peer_resigned = Some(heard.source);
        } else {
            resigning.peer_resigned = None;
            self.adopt_interval(now, heard);
        }
        Machine::Resigning(resigning)
    }

    pub(super) fn resigning_exchanges_reset(&mut self, now: Moment, mut resigning: Resigning) -> Machine {
        resigning.step = match resigning.step {
            Step::Resetting { until: _, addresses } => self.remove(now, addresses),
            removing @ Step::Removing { .. } => removing,
        };
        Machine::Resigning(resigning)
    }

    pub(super) fn resigning_removed(
        &mut self,
        now: Moment,
        mut resigning: Resigning,
        member: MemberId,
        address: VirtualAddress,
    ) -> Machine {
        match &mut resigning.step {
            // Nothing was asked yet: this answers an earlier request.
            Step::Resetting { .. } => {}
            Step::Removing { addresses, .. } => addresses.retain(|waiting| *waiting != (member, address)),
        }
        self.finish_if_removed(now, resigning)
    }

    pub(super) fn resigning_timeout(&mut self, now: Moment, mut resigning: Resigning) -> Machine {
        if resigning.next() > now {
            return Machine::Resigning(resigning);
        }
        resigning.step = match resigning.step {
            Step::Resetting { until: _, addresses } => self.remove(now, addresses),
            Step::Removing { addresses, retry: _, give_up } if give_up <= now => {
                self.history.count("removals_unacknowledged");
                let list: Vec<_> = addresses.iter().map(|(_, address)| address.address.to_string()).collect();
                let text = format!(
                    "the kernel did not acknowledge the removal of {}; its lease is over",
                    list.join(", ")
                );
                self.warn("removal_unacknowledged", text);
                Step::Removing { addresses: Vec::new(), retry: give_up, give_up }
            }
            Step::Removing { addresses, retry: _, give_up } => {
                self.ask_removal(&addresses);
                Step::Removing { addresses, retry: (now + REMOVAL_RETRY).min(give_up), give_up }
            }
        };
        self.finish_if_removed(now, resigning)
    }

    fn remove(&mut self, now: Moment, addresses: Vec<(MemberId, VirtualAddress)>) -> Step {
        self.ask_removal(&addresses);
        Step::Removing { addresses, retry: now + REMOVAL_RETRY, give_up: now + LEASE_END }
    }

    fn ask_removal(&mut self, addresses: &[(MemberId, VirtualAddress)]) {
        for &(member, address) in addresses {
            self.outputs.push_back(Output::RemoveAddress { member, address });
        }
    }

    /// Once nothing is left: the last word, and on as a Backup, or to Initialize if there is a fault or an end.
    fn finish_if_removed(&mut self, now: Moment, resigning: Resigning) -> Machine {
        match &resigning.step {
            Step::Resetting { addresses, .. } | Step::Removing { addresses, .. } => {
                if !addresses.is_empty() {
                    return Machine::Resigning(resigning);
                }
            }
        }
        let Resigning { reason, detected, mut moments, last_word, peer_resigned, step: _ } = resigning;
        moments.removed = Some(now);
        moments.resigned = Some(now);
        // A fault that came up on the way makes the last word a resignation as well.
        let last_word =
            if self.wire_priority() == 0 || !self.started { LastWord::PriorityZero } else { last_word };
        match last_word {
            LastWord::PriorityZero => self.transmit_all(0),
            LastWord::Losing { with } => self.transmit_all(self.wire_priority().min(with)),
        }
        self.moves.record(now);
        if !self.started || self.fault().is_some() {
            self.record(now, State::Active, State::Initialize, reason, detected, moments);
            return Machine::Initialize;
        }
        self.record(now, State::Active, State::Backup, reason, detected, moments);
        let mut machine = self.listen(now);
        if let (Machine::Backup(backup), Some(source)) = (&mut machine, peer_resigned) {
            let skew =
                self.members.iter().filter(|m| m.is_up()).map(|m| m.skew_time(self.config.priority)).max();
            backup.resigned = skew.map(|skew| (source, now + skew));
        }
        machine
    }
}

impl Resigning {
    /// The next timer.
    pub(super) fn next(&self) -> Moment {
        match &self.step {
            Step::Resetting { until, .. } => *until,
            Step::Removing { retry, give_up, .. } => *(retry.min(give_up)),
        }
    }
}
