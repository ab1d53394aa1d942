//! What is wrong with the pair and has a name, so that status, events, metrics and who is told speak of the same thing.
//!
//! ```text
//! hellos, speaker, file ──▶ find ──▶ Alarms::handle ──▶ Turn: on, off ──▶ journal, log
//!                                        └─▶ on() ──▶ status, metrics
//! ```
//!
//! An alarm goes on when its cause has been there for a second, at once where the cause took its time itself, and off when the cause
//! has been gone for three, or longer where it came back before: what changes more quickly is one alarm, and nobody who forges hellos or
//! advertisements fills the journal.

use std::{collections::BTreeMap, time::Duration};

use lb_vrrp::Moment;

use super::{
    Daemon, clock,
    journal::{News, Subject},
    neighbours::Neighbours,
    report::Nodes,
};
use crate::control::{Alarm, AlarmName, EventKind, Timestamp};

pub(super) mod causes;
#[cfg(test)]
mod tests;

use causes::Cause;

/// A cause that may pass by itself has to last so long: a move, a reload of one node after the other.
const SETTLES: Duration = Duration::from_secs(1);

/// An alarm stays on for so long without its cause; twice as long as the last time if it comes back within [`MEMORY`].
const STAYS: Duration = Duration::from_secs(3);

/// And never longer. Of some causes one packet is enough, and anybody on the network can send one now and then.
const STAYS_MOST: Duration = Duration::from_secs(60);

/// How long it is known how long an alarm stayed.
const MEMORY: Duration = Duration::from_secs(600);

/// Between two looks. A node is silent after 2.75 s, and that is said within three.
const PERIOD: Duration = Duration::from_millis(250);

/// What an alarm is about.
type Key = (AlarmName, Option<String>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    known: BTreeMap<Key, Known>,
    /// When they went off, and how long they had stayed without their cause.
    past: BTreeMap<Key, (Moment, Duration)>,
    looked: Option<Moment>,
}

#[derive(Debug)]
struct Known {
    first: Moment,
    last: Moment,
    why: String,
    /// It is on.
    since: Option<Timestamp>,
    /// How long it will be without its cause.
    stays: Duration,
}

/// An alarm goes on or off.
#[derive(Debug, Eq, PartialEq)]
struct Turn {
    key: Key,
    is_on: bool,
    why: String,
}

impl Alarms {
    /// These were on for the process before this one, as far as it has told so.
    fn go_on(&mut self, now: Moment, on: impl IntoIterator<Item = (Key, Timestamp)>) {
        for (key, since) in on {
            let why = "as before the upgrade".to_owned();
            self.known.entry(key).or_insert(Known {
                first: now,
                last: now,
                why,
                since: Some(since),
                stays: STAYS,
            });
        }
    }

    /// Nobody looks any more.
    fn rest(&mut self) {
        self.looked = None;
    }

    /// These are the causes now.
    fn handle(&mut self, now: Moment, wall: Timestamp, causes: Vec<Cause>) -> Vec<Turn> {
        self.looked = Some(now);
        let mut turns = Vec::new();
        for Cause { name, group, why, is_settled } in causes {
            let key = (name, group);
            let begins = || Known { first: now, last: now, why: String::new(), since: None, stays: STAYS };
            let known = self.known.entry(key.clone()).or_insert_with(begins);
            (known.last, known.why) = (now, why);
            if known.since.is_none() && (is_settled || now.saturating_since(known.first) >= SETTLES) {
                known.since = Some(wall);
                let before = self.past.get(&key).filter(|(at, _)| now.saturating_since(*at) < MEMORY);
                known.stays = before.map_or(STAYS, |(_, stayed)| (*stayed * 2).min(STAYS_MOST));
                turns.push(Turn { key, is_on: true, why: known.why.clone() });
            }
        }
        self.known.retain(|key, known| {
            let stays = if known.since.is_some() { known.stays } else { Duration::ZERO };
            let is_there = known.last == now || now.saturating_since(known.last) < stays;
            if !is_there && known.since.is_some() {
                self.past.insert(key.clone(), (now, known.stays));
                turns.push(Turn { key: key.clone(), is_on: false, why: "its cause is gone".to_owned() });
            }
            is_there
        });
        turns
    }

    /// Those that are on.
    pub(super) fn on(&self) -> Vec<Alarm> {
        let on = self.known.iter().filter_map(|((name, group), known)| {
            Some(Alarm { name: *name, group: group.clone(), since: known.since?, why: known.why.clone() })
        });
        on.collect()
    }

    /// When the next look is due.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        self.looked.map(|looked| looked + PERIOD)
    }
}

impl Daemon {
    /// Looks for causes, and tells of what goes on and off.
    pub(super) fn note_alarms(&mut self) {
        if self.groups.is_empty() || self.stop.is_some() {
            return self.alarms.rest();
        }
        let now = clock::Instants::now();
        if self.alarms.poll_timeout().is_some_and(|due| now.moment < due) {
            return;
        }
        if self.alarms.looked.is_none() {
            let names = AlarmName::ALL.into_iter();
            let keys = names.flat_map(|name| {
                let groups = self.groups.iter().map(move |group| (name, Some(group.config.name.clone())));
                groups.chain([(name, None)])
            });
            let on = keys.filter_map(|key| Some((key.clone(), self.journal.since(&subject(&key), ON)?)));
            self.alarms.go_on(now.moment, on);
        }
        let session = self.neighbours.as_ref().map(Neighbours::session);
        let scene = causes::Scene {
            now: now.moment,
            started: self.started.moment,
            is_new: self.up.is_none(),
            nodes: Nodes { config: &self.config, own: self.identity.name(), session },
            groups: &self.groups,
        };
        let causes = causes::find(&scene, |group| self.no_heir(group));
        let turns = self.alarms.handle(now.moment, now.wall, causes);
        for Turn { key, is_on, why } in turns {
            let (name, group) = (key.0.word(), key.1.as_deref().unwrap_or_default());
            if is_on {
                tracing::warn!(alarm = name, group, why, "an alarm is on");
            } else {
                tracing::info!(alarm = name, group, "an alarm is over");
            }
            let (from, to) = if is_on { (OFF, ON) } else { (ON, OFF) };
            let news = News { from: from.to_owned(), to: to.to_owned(), reason: why, ..News::default() };
            self.journal.note(self.identity.name(), subject(&key), news);
        }
    }
}

/// Its states in the journal.
const ON: &str = "on";
const OFF: &str = "off";

fn subject((name, group): &Key) -> Subject {
    Subject { kind: EventKind::Alarm, name: name.word().to_owned(), group: group.clone() }
}
