//! What is known of another node, and what of it is news.

use std::{collections::VecDeque, net::IpAddr};

use lb_vrrp::{Moment, State};

use super::{
    DRIFT_GAP, EVENT_GAP, EVENTS, Event, GroupHello, Hello, MIN_GAP, NOTED_BOOTS, PAST_BOOTS, Peer,
    REFUSAL_GAP, Refusal, SILENCE,
};

impl Peer {
    pub(super) fn new(now: Moment, name: String, address: IpAddr) -> Self {
        Self {
            name,
            address,
            last: None,
            silent: false,
            due: now + SILENCE,
            past_boots: VecDeque::new(),
            broke_off: None,
            noted: VecDeque::new(),
            drift_reported: None,
            refused: None,
            refusal_told: None,
            puzzle_told: None,
            events_left: EVENTS,
            events_since: now,
        }
    }

    /// The last counter that was heard of a boot. A boot that was thought to be over goes on from there: else one forged
    /// hello of a new boot would silence the peer until its next restart.
    pub(super) fn counter_of(&self, boot: &str) -> Option<u64> {
        let last = self.last.as_ref().map(|(_, last)| (&last.boot, last.counter));
        let past = self.past_boots.iter().map(|(boot, counter)| (boot, *counter));
        last.into_iter().chain(past).find(|(known, _)| *known == boot).map(|(_, counter)| counter)
    }

    /// Whether this boot was not heard of late. A few, so that a recorded one does not take the place of the one that runs.
    pub(super) fn note(&mut self, boot: &str) -> bool {
        let is_new = !self.noted.iter().any(|noted| noted == boot);
        self.noted.retain(|noted| noted != boot);
        if self.noted.len() == NOTED_BOOTS {
            self.noted.pop_front();
        }
        self.noted.push_back(boot.to_owned());
        is_new
    }

    pub(super) fn boots(&self) -> impl Iterator<Item = String> {
        let last = self.last.iter().map(|(_, hello)| &hello.boot).filter(|boot| !self.noted.contains(boot));
        self.noted.iter().chain(last).cloned()
    }

    pub(super) fn may_tell(&mut self, now: Moment) -> bool {
        let gaps = now.saturating_since(self.events_since).as_nanos() / EVENT_GAP.as_nanos();
        if gaps > 0 {
            let gained = u32::try_from(gaps).unwrap_or(EVENTS);
            self.events_left = self.events_left.saturating_add(gained).min(EVENTS);
            self.events_since = now;
        }
        let may = self.events_left > 0;
        self.events_left = self.events_left.saturating_sub(1);
        may
    }

    pub(super) fn refuse(&mut self, now: Moment, why: Refusal) -> Option<Event> {
        self.refused = Some((now, why));
        let told = self.refusal_told.is_some_and(|at| now.saturating_since(at) < REFUSAL_GAP);
        if told {
            return None;
        }
        self.refusal_told = Some(now);
        Some(Event::Refused { peer: self.name.clone(), why })
    }

    /// Why it is silent, if something comes from it all the same.
    pub(in crate::daemon) fn refusal(&self, now: Moment) -> Option<Refusal> {
        let (at, why) = self.refused?;
        (now.saturating_since(at) < SILENCE).then_some(why)
    }

    pub(super) fn take(&mut self, now: Moment, hello: Hello) -> Option<Event> {
        let ending = hello.ending;
        let is_known = self.last.as_ref().is_some_and(|(_, last)| last.ending && last.boot == hello.boot);
        let why = match &self.last {
            None => Some("first hello"),
            Some(_) if self.silent => Some("after a silence"),
            Some((_, last)) if last.boot != hello.boot => Some("after a restart"),
            Some(_) => None,
        };
        if let Some((at, last)) = self.last.take()
            && last.boot != hello.boot
        {
            if !last.ending {
                self.broke_off = Some((at, now));
            }
            self.past_boots.retain(|(boot, _)| *boot != hello.boot);
            if self.past_boots.len() == PAST_BOOTS {
                self.past_boots.pop_front();
            }
            self.past_boots.push_back((last.boot, last.counter));
        }
        self.last = Some((now, hello));
        self.refused = None;
        self.due = now + SILENCE;
        self.silent = ending;
        if ending {
            return (!is_known).then(|| Event::Ended { peer: self.name.clone() });
        }
        why.map(|why| Event::Appeared { peer: self.name.clone(), why })
    }

    /// The last that it said is that it ends.
    pub(in crate::daemon) fn has_ended(&self) -> bool {
        self.last.as_ref().is_some_and(|(_, hello)| hello.ending)
    }

    /// Did its daemon end around `at` without a word? Known once another one has said hello.
    pub(in crate::daemon) fn broke_off_at(&self, at: Moment) -> bool {
        self.broke_off.is_some_and(|(last, next)| last <= at + MIN_GAP && at <= next)
    }

    /// It said hello before, and says nothing any more, not even that it ends.
    pub(in crate::daemon) fn is_mute(&self) -> bool {
        self.silent && self.last.is_some() && !self.has_ended()
    }

    /// The peer's part in `group`, if it is not silent.
    pub(in crate::daemon) fn group(&self, group: &str) -> Option<&GroupHello> {
        let (_, hello) = self.last.as_ref().filter(|_| !self.silent)?;
        hello.groups.iter().find(|found| found.name == group)
    }

    /// The last that it said of its part in `group`, and when.
    pub(in crate::daemon) fn said_of(&self, group: &str) -> Option<(Moment, &GroupHello)> {
        self.last.as_ref().map(|(at, _)| *at).zip(self.group(group))
    }

    /// True if it said after `since` that it holds `group`. What it said before that is overtaken by events.
    pub(in crate::daemon) fn claims(&self, group: &str, since: Moment) -> bool {
        let later = self.last.as_ref().is_some_and(|(at, _)| *at >= since);
        later && self.group(group).is_some_and(|hello| hello.state == State::Active)
    }

    pub(super) fn drift(&mut self, now: Moment, ours: &str) -> Option<Event> {
        let (_, hello) = self.last.as_ref()?;
        if hello.file == ours {
            return None;
        }
        let known = self
            .drift_reported
            .as_ref()
            .is_some_and(|(at, theirs)| *theirs == hello.file || now.saturating_since(*at) < DRIFT_GAP);
        if known {
            return None;
        }
        self.drift_reported = Some((now, hello.file.clone()));
        Some(Event::FileDiffers { peer: self.name.clone(), theirs: hello.file.clone() })
    }

    /// Its last hello had something that this program does not understand.
    pub(super) fn says_unknown(&self) -> bool {
        self.last.as_ref().is_some_and(|(_, hello)| !hello.unknown.is_empty())
    }

    /// The same thing is told once.
    pub(super) fn puzzle(&mut self, now: Moment) -> Option<Event> {
        let (_, hello) = self.last.as_ref().filter(|_| self.says_unknown())?;
        let told = self.puzzle_told.as_ref();
        if told.is_some_and(|(at, what)| *what == hello.unknown || now.saturating_since(*at) < REFUSAL_GAP) {
            return None;
        }
        self.puzzle_told = Some((now, hello.unknown.clone()));
        Some(Event::Puzzles { peer: self.name.clone(), what: hello.unknown.clone() })
    }
}
