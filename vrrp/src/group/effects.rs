//! Outputs that more than one state makes.

use super::Group;
use crate::{MemberId, Moment, Moments, Output, State, Transition};

impl Group {
    pub(super) fn record(
        &mut self,
        now: Moment,
        from: State,
        to: State,
        reason: String,
        detected: Moment,
        moments: Moments,
    ) {
        let transition = Transition { from, to, reason, detected, at: now, moments };
        self.since = now;
        self.history.push(transition.clone());
        self.outputs.push_back(Output::Transition(transition));
    }

    /// The first state of this speaker. If it is that of the speaker before nothing has changed, and `why` is for the log alone.
    pub(super) fn begin(&mut self, now: Moment, to: State, why: String) {
        let past = self.past.take();
        match past.as_ref().filter(|past| past.state == to) {
            Some(past) => {
                self.since = past.since;
                let text = format!("group {} goes on as {to}: {why}", self.config.name);
                self.outputs.push_back(Output::Remark { text });
            }
            None => {
                let from = past.map_or(State::Initialize, |past| past.state);
                self.record(now, from, to, why, now, Moments::default());
            }
        }
    }

    pub(super) fn warn(&mut self, key: &'static str, text: String) {
        self.outputs.push_back(Output::Warning { key, text });
    }

    /// Counts for the group and for one of its members.
    pub(super) fn count_on(&mut self, id: MemberId, name: &'static str) {
        self.history.count(name);
        if let Some(member) = self.members.get_mut(id.0) {
            let counter = member.counters.entry(name).or_default();
            *counter = counter.saturating_add(1);
        }
    }

    /// Sends on one member, if it can send.
    pub(super) fn transmit(&mut self, id: MemberId, priority: u8) {
        let Some(member) = self.members.get(id.0).filter(|member| member.is_up()) else { return };
        let advertisement = member.advertisement(priority);
        self.count_on(id, "advertisements_sent");
        if priority == 0 {
            self.count_on(id, "priority_zero_sent");
        }
        self.outputs.push_back(Output::Transmit { member: id, advertisement });
    }

    pub(super) fn transmit_all(&mut self, priority: u8) {
        for index in 0..self.members.len() {
            self.transmit(MemberId(index), priority);
        }
    }
}
