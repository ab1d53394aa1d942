//! Backup (RFC 9568 §6.4.2): watches the Active, and decides when to take over.

use std::net::IpAddr;

use super::{
    Group, Heard, history,
    level::Level,
    state::{Backup, Grace, Machine, Takeover},
};
use crate::{Family, MemberId, Moment, Moments, Preempt, TimeoutReason};

impl Group {
    /// Starts to listen for one Active_Down_Interval.
    pub(super) fn listen(&self, now: Moment) -> Machine {
        let priority = self.config.priority;
        let active_down = self
            .members
            .iter()
            .map(|member| member.is_up().then(|| now + member.active_down_interval(priority)))
            .collect();
        Machine::Backup(Backup {
            since: now,
            active_down,
            resigned: None,
            takeover: None,
            grace: Grace::Unused,
            distrusts: None,
        })
    }

    pub(super) fn backup_facts(&mut self, now: Moment, mut backup: Backup) -> Machine {
        if let Some(fault) = self.fault() {
            return self.enter_initialize(now, fault);
        }
        let priority = self.config.priority;
        let changed =
            self.members.iter().zip(&backup.active_down).any(|(m, down)| m.is_up() != down.is_some());
        if changed {
            // What can be heard is not what it was: listen for a whole interval on what is left.
            for (member, down) in self.members.iter().zip(&mut backup.active_down) {
                *down = member.is_up().then(|| now + member.active_down_interval(priority));
            }
        }
        // Readiness may have decided a takeover, or called it off. The last Active heard is still the one.
        let last = self.members.iter().enumerate().filter_map(|(index, member)| {
            let heard = member.heard.as_ref().filter(|heard| heard.at >= backup.since)?;
            Some((heard.at, MemberId(index), heard.source, heard.priority))
        });
        if let Some((heard, member, source, priority)) = last.max_by_key(|(at, ..)| *at)
            && backup.resigned.is_none()
        {
            backup.takeover = self.takeover(now, heard, member, source, priority, backup.takeover.take());
        }
        Machine::Backup(backup)
    }

    pub(super) fn backup_heard(&mut self, now: Moment, mut backup: Backup, heard: Heard<'_>) -> Machine {
        let own = self.config.priority;
        let MemberId(index) = heard.member;
        let Some(member) = self.members.get(index) else { return Machine::Backup(backup) };
        if heard.advertisement.priority == 0 {
            // A second one must not put the takeover off (V-33), and one that was about to come waits for nobody now.
            let at = now + member.skew_time(own);
            let planned = backup.takeover.take().map_or(at, |takeover| takeover.at.min(at));
            let first = backup.resigned.map_or(planned, |(_, earlier)| earlier.min(planned));
            backup.resigned = Some((heard.source, first));
            if let Grace::Until(until) = &mut backup.grace {
                *until = first.min(*until);
            }
            return Machine::Backup(backup);
        }
        self.adopt_interval(now, heard);
        let down = self.members.get(index).map(|member| now + member.active_down_interval(own));
        if let (Some(timer), Some(_)) = (backup.active_down.get_mut(index), down) {
            *timer = down;
        }
        backup.resigned = None;
        backup.grace = Grace::Unused;
        let pending = backup.takeover.take();
        let priority = heard.advertisement.priority;
        backup.takeover = self.takeover(now, now, heard.member, heard.source, priority, pending);
        self.look_for_missing(now, &backup, heard.source);
        Machine::Backup(backup)
    }

    pub(super) fn backup_timeout(&mut self, now: Moment, mut backup: Backup) -> Machine {
        let (at, _) = backup.next();
        if at > now {
            return Machine::Backup(backup);
        }
        // We were not scheduled for a while: advertisements may be waiting to be read, or the Active may have taken
        // the address back. One more interval tells.
        let interval =
            self.members.iter().filter(|member| member.is_up()).map(|m| m.active_adver_interval).max();
        if let (Grace::Unused, Some(interval)) = (backup.grace, interval)
            && 2 * now.saturating_since(at) > interval
        {
            self.history.count("late");
            backup.grace = Grace::Until(now + interval);
            backup.takeover = None;
            return Machine::Backup(backup);
        }
        if let Some(takeover) = backup.takeover.as_ref().filter(|takeover| takeover.at <= now) {
            return self.take_over(now, &takeover.clone());
        }
        let reason = match backup.resigned {
            Some((source, at)) if at <= now => format!("{source} gave it up"),
            Some(_) | None => self.silence(now, &backup),
        };
        self.claim(now, reason, at, Moments::default(), None)
    }

    fn take_over(&mut self, now: Moment, takeover: &Takeover) -> Machine {
        let Takeover { over, priority, heard, .. } = *takeover;
        let ours = self.wire_priority();
        let how = match Level::of(priority, self.config.peer) {
            Some(Level::LEAVING) => "is leaving",
            Some(Level::READY) => "has the lower priority",
            Some(_) | None => "is degraded",
        };
        let reason = format!("{over} {how} (priority {priority}, ours {ours})");
        let moments = Moments { heard: Some(heard), ..Moments::default() };
        self.claim(now, reason, heard, moments, Some(over))
    }

    /// Rules 2 and 4: whether we are to take the address from an Active of this priority, and when. A takeover that is
    /// `pending` is not put off by a further advertisement.
    fn takeover(
        &self,
        now: Moment,
        heard: Moment,
        member: MemberId,
        over: IpAddr,
        priority: u8,
        pending: Option<Takeover>,
    ) -> Option<Takeover> {
        let theirs = Level::of(priority, self.config.peer)?;
        let ours = Level::of_readiness(&self.readiness)?;
        let skew = now + self.members.get(member.0)?.skew_time(self.config.priority);
        let (at, why) = if ours > theirs {
            match self.config.preempt {
                Preempt::Never if theirs != Level::LEAVING => return None,
                Preempt::Never | Preempt::Degraded | Preempt::Always { .. } => (skew, TimeoutReason::Skew),
            }
        } else if (ours, theirs) == (Level::READY, Level::READY) && priority < self.config.priority.get() {
            match self.config.preempt {
                Preempt::Always { .. } if self.yields => return None,
                Preempt::Degraded | Preempt::Never => return None,
                Preempt::Always { delay } => {
                    let after = self.ready_since? + self.moves.delay(now, delay);
                    (after.max(skew), TimeoutReason::PreemptDelay)
                }
            }
        } else {
            return None;
        };
        let at = pending.filter(|pending| pending.why == why).map_or(at, |pending| pending.at.min(at));
        Some(Takeover { at, why, over, priority, heard })
    }

    /// Rule 10: a member unheard for a Down_Interval while others are heard is an alarm.
    fn look_for_missing(&mut self, now: Moment, backup: &Backup, source: IpAddr) {
        let own = self.config.priority;
        let mut missing = Vec::new();
        for member in self.members.iter_mut().filter(|member| member.is_up() && !member.missing) {
            let last = member.heard.as_ref().map_or(backup.since, |heard| heard.at.max(backup.since));
            if now.saturating_since(last) > member.active_down_interval(own) {
                member.missing = true;
                let to_group = member.config.transport.unicast().is_none();
                missing.push((member.config.name(), to_group && member.config.family() == Family::Ipv6));
            }
        }
        for (vip, by_ipv6_group) in missing {
            self.history.count("member_missing");
            let who = if by_ipv6_group {
                "others are heard: does a switch drop IPv6 multicast (MLD snooping)?"
            } else {
                "other vips hear them"
            };
            let text = format!("vip {vip}: advertisements of {source} are missing here, while {who}");
            self.warn("member_missing", text);
        }
    }

    fn silence(&self, now: Moment, backup: &Backup) -> String {
        let heard = self.members.iter().filter_map(|member| member.heard.as_ref());
        match heard.filter(|heard| heard.priority != 0).max_by_key(|heard| heard.at) {
            Some(heard) if heard.at >= backup.since => {
                format!("{} is silent for {}", heard.source, history::since(now, heard.at))
            }
            Some(_) | None => {
                format!("nobody advertises, listened for {}", history::since(now, backup.since))
            }
        }
    }
}

impl Backup {
    /// The next timer. Active_Down_Timer counts as the last of its members': hearing one member is hearing the peer.
    pub(super) fn next(&self) -> (Moment, TimeoutReason) {
        let down = self.active_down.iter().flatten().max().copied().unwrap_or(self.since);
        let mut next = match self.resigned {
            Some((_, at)) if at < down => (at, TimeoutReason::Skew),
            Some(_) | None => (down, TimeoutReason::ActiveDown),
        };
        if let Some(takeover) = self.takeover.as_ref().filter(|takeover| takeover.at < next.0) {
            next = (takeover.at, takeover.why);
        }
        match self.grace {
            Grace::Unused => next,
            Grace::Until(at) if at > next.0 => (at, TimeoutReason::Other("grace")),
            Grace::Until(_) => next,
        }
    }
}
