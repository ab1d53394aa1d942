//! What has happened, in the order in which it happened: the last events, for all who read them at their own pace.
//!
//! ```text
//! loop ── note, change ──▶ Journal ── after(number) ──▶ followers (`lbctl events --follow`), status
//! ```
//! Nobody is waited for. A reader remembers the number of the last event that he has had and asks for those after it; what has
//! left the journal by then is lost for him, and he sees how much that is by the numbers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::control::{Event, EventKind, Timestamp};

mod following;

use self::following::Followers;
pub(super) use self::following::{Refused, Wanted, run};

/// Events that are kept.
const KEPT: usize = 1_024;

/// Bytes of JSON that the process which takes the place of this one is passed on: all that it is told then is one packet.
const PASSED_ON: usize = 48 << 10;

/// What has a state.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) struct Subject {
    pub(super) kind: EventKind,
    pub(super) name: String,
    pub(super) group: Option<String>,
}

/// What is new of it.
#[derive(Clone, Debug, Default)]
pub(super) struct News {
    pub(super) at: Option<Timestamp>,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) reason: String,
    pub(super) addresses: Vec<String>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Journal {
    kept: Mutex<Kept>,
    /// Readers wait for it: it is sent again with every event.
    end: watch::Sender<Option<End>>,
    /// A clone for each that follows.
    followers: Followers,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    newest: u64,
    /// Of what is told by its state and not by its changes.
    states: BTreeMap<Subject, String>,
}

/// No event will come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// They come from another process.
    Elsewhere,
    /// There is no other one.
    Over,
}

/// For the process that takes the place of this one.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct KnownJournal {
    newest: u64,
    events: Vec<Event>,
    states: Vec<(Subject, String)>,
}

/// Those that a reader has not had.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Batch {
    /// So many of them are gone.
    pub(super) lost: u64,
    pub(super) events: Vec<Event>,
    /// All that there is: the number of the last one, had or lost.
    pub(super) newest: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self { kept: Mutex::default(), end: watch::Sender::new(None), followers: Followers::default() }
    }
}

impl Journal {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `subject` is in this state: an event if it was in another one. One that was in none has begun; that is an event where
    /// `news.from` says what it was.
    pub(super) fn note(&self, node: &str, subject: Subject, news: News) {
        let mut kept = self.kept();
        let before = kept.states.insert(subject.clone(), news.to.clone());
        let from = match before {
            Some(before) if before == news.to => return,
            Some(before) => before,
            None if news.from.is_empty() => return,
            None => news.from.clone(),
        };
        self.add(&mut kept, node, subject, News { from, ..news });
    }

    /// Is `subject` known to be in another state?
    pub(super) fn is_news(&self, subject: &Subject, state: &str) -> bool {
        self.kept().states.get(subject).is_none_or(|known| known != state)
    }

    /// `subject` has changed from one state to another. The same change may have been told by the process before: then it is not
    /// told again.
    pub(super) fn change(&self, node: &str, subject: Subject, news: News) {
        let mut kept = self.kept();
        let last = kept.events.iter().rev().find(|event| is_of(event, &subject));
        if last.is_some_and(|last| last.to == news.to) {
            return;
        }
        self.add(&mut kept, node, subject, news);
    }

    /// Something has happened to `subject`, as it may have before.
    pub(super) fn tell(&self, node: &str, subject: Subject, news: News) {
        let mut kept = self.kept();
        self.add(&mut kept, node, subject, news);
    }

    /// Since when `subject` is in `state`, if it is, as far as there is an event of it.
    pub(super) fn since(&self, subject: &Subject, state: &str) -> Option<Timestamp> {
        let kept = self.kept();
        kept.states.get(subject).filter(|known| *known == state)?;
        let last = kept.events.iter().rev().find(|event| is_of(event, subject));
        Some(last.map_or_else(Timestamp::now, |last| last.at))
    }

    /// Is there an event of it?
    pub(super) fn was_told(&self, subject: &Subject) -> bool {
        self.kept().events.iter().any(|event| is_of(event, subject))
    }

    fn add(&self, kept: &mut Kept, node: &str, subject: Subject, news: News) {
        let Subject { kind, name, group } = subject;
        let News { at, from, to, reason, addresses } = news;
        kept.newest += 1;
        kept.events.push_back(Event {
            number: kept.newest,
            at: at.unwrap_or_else(Timestamp::now),
            node: node.to_owned(),
            kind,
            name,
            group,
            addresses,
            from,
            to,
            reason,
        });
        if kept.events.len() > KEPT {
            kept.events.pop_front();
        }
        self.end.send_modify(|_| {});
    }

    /// There were so many others, of which nothing is known: their numbers are missing.
    pub(super) fn lose(&self, count: u64) {
        self.kept().newest += count;
    }

    /// What is not there any more has no state.
    pub(super) fn forget(&self, is_gone: impl Fn(&Subject) -> bool) {
        self.kept().states.retain(|subject, _| !is_gone(subject));
    }

    /// The last ones, oldest first.
    pub(super) fn last(&self, count: usize) -> Vec<Event> {
        let kept = self.kept();
        kept.events.iter().skip(kept.events.len().saturating_sub(count)).cloned().collect()
    }

    /// At most `count` of those after the one with this number.
    pub(super) fn after(&self, number: u64, count: usize) -> Batch {
        let kept = self.kept();
        let events: Vec<Event> =
            kept.events.iter().skip_while(|event| event.number <= number).take(count).cloned().collect();
        let newest = if events.len() < count {
            kept.newest
        } else {
            events.last().map_or(kept.newest, |last| last.number)
        };
        let lost = newest.saturating_sub(number).saturating_sub(events.len() as u64);
        Batch { lost, events, newest: newest.max(number) }
    }

    /// The number of the last one.
    pub(super) fn newest(&self) -> u64 {
        self.kept().newest
    }

    /// No event will come from here.
    pub(super) fn end(&self, end: End) {
        self.end.send_replace(Some(end));
    }

    /// Changes with every event.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<End>> {
        self.end.subscribe()
    }

    /// For the process that takes the place of this one: as many of the last ones as one packet has room for.
    pub(super) fn known(&self) -> KnownJournal {
        let kept = self.kept();
        let mut left = PASSED_ON;
        let fits = |event: &&Event| {
            let length = serde_json::to_vec(event).map_or(PASSED_ON, |json| json.len() + 1);
            let rest = left.checked_sub(length);
            left = rest.unwrap_or(0);
            rest.is_some()
        };
        let mut events: Vec<Event> = kept.events.iter().rev().take_while(fits).cloned().collect();
        events.reverse();
        let states = kept.states.iter().map(|(subject, state)| (subject.clone(), state.clone())).collect();
        KnownJournal { newest: kept.newest, events, states }
    }

    /// Goes on with what the process before has told.
    pub(super) fn go_on(&self, known: KnownJournal) {
        let mut kept = self.kept();
        kept.events = known.events.into_iter().filter(|event| event.number <= known.newest).collect();
        kept.newest = known.newest;
        kept.states = known.states.into_iter().collect();
        self.end.send_modify(|_| {});
    }
}

fn is_of(event: &Event, subject: &Subject) -> bool {
    (event.kind, &event.name, &event.group) == (subject.kind, &subject.name, &subject.group)
}

#[cfg(test)]
mod tests;
