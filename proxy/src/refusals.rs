//! Requests that are refused with 503 (mode tcp: connections that are closed) because nobody could be had to serve them:
//! why, for status, and how often that is said in the log.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::status::Refused;

/// Says once a second at most.
const EVERY: Duration = Duration::from_secs(1);

/// After so long without one, the next begins anew.
const PAUSE: Duration = Duration::from_secs(60);

/// Afterwards nobody wants to know any more.
const OLD: Duration = Duration::from_secs(3600);

/// Why a request was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// No rule has chosen a backend, and its frontend has no default one.
    NoBackend,
    /// None of its backend's servers is usable.
    NoServer,
    /// No slot of a full server became free in time; of a frontend: no place for another stream of HTTP/2.
    Full,
    /// No server could be connected to.
    NotConnected,
    /// Too many passwords are to be checked.
    Passwords,
    /// Its source has too many connections open, or opens them too fast: 429 (mode tcp: reset).
    Source,
    /// The PROXY header that it has to begin with did not come, or was none: closed.
    ProxyHeader,
    /// A server was connected to, and no answer that makes sense came from it: 502 or 504. No refusal; it is kept beside them.
    Unanswered,
}

impl Why {
    const ALL: [Self; 8] = [
        Self::NoBackend,
        Self::NoServer,
        Self::Full,
        Self::NotConnected,
        Self::Passwords,
        Self::Source,
        Self::ProxyHeader,
        Self::Unanswered,
    ];
}

/// What a frontend or a backend has refused, by reason.
#[derive(Debug, Default)]
pub(crate) struct Refusals([Refusal; Why::ALL.len()]);

/// For one reason. Several workers may note at a time; what they count at the beginning of a row may then be short by a few.
#[derive(Debug, Default)]
struct Refusal {
    seldom: Seldom,
    /// Of the row that goes on, in [`stamp`]s; 0 if there was none.
    began: AtomicU64,
    last: AtomicU64,
    count: AtomicU64,
    /// As it was said last.
    reason: Mutex<Arc<str>>,
}

/// A refusal that was noted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Noted {
    /// As it was put in words last, at most a second ago.
    pub(crate) reason: Arc<str>,
    /// It is to be said in the log, and so many were not since the last one that was; see also [`Refusals::held_back`].
    pub(crate) more: Option<u64>,
}

impl Refusals {
    /// Counts one. It is put in words once a second.
    pub(crate) fn note(&self, why: Why, now: Duration, say: impl FnOnce() -> String) -> Noted {
        let refusal = &self.0[why as usize];
        let at = stamp(now);
        let last = refusal.last.swap(at, Ordering::Relaxed);
        if last == 0 || at.saturating_sub(last) > stamp(PAUSE) {
            refusal.began.store(at, Ordering::Relaxed);
            refusal.count.store(0, Ordering::Relaxed);
        }
        refusal.count.fetch_add(1, Ordering::Relaxed);
        let more = refusal.seldom.pass(now);
        let said: Option<Arc<str>> = more.map(|_| say().into());
        let mut reason = refusal.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = said {
            *reason = said;
        }
        Noted { reason: Arc::clone(&reason), more }
    }

    /// Those that were not said, of each reason of which none has been said for a second: the last words, and how many.
    pub(crate) fn held_back(&self, now: Duration) -> impl Iterator<Item = (Why, Arc<str>, u64)> {
        Why::ALL.into_iter().zip(&self.0).filter_map(move |(why, refusal)| {
            let count = refusal.seldom.overdue(now)?;
            let reason = refusal.reason.lock().unwrap_or_else(PoisonError::into_inner);
            Some((why, Arc::clone(&reason), count))
        })
    }

    /// Those of the last hour.
    pub(crate) fn report(&self, now: Duration) -> Vec<Refused> {
        let ago = |stamp_then: u64| Duration::from_millis(stamp(now).saturating_sub(stamp_then));
        let report = |(why, refusal): (Why, &Refusal)| {
            let last = Some(refusal.last.load(Ordering::Relaxed)).filter(|&last| last != 0).map(ago)?;
            (last <= OLD).then(|| Refused {
                why,
                count: refusal.count.load(Ordering::Relaxed),
                since: SystemTime::now() - ago(refusal.began.load(Ordering::Relaxed)),
                last: SystemTime::now() - last,
                reason: refusal.reason.lock().unwrap_or_else(PoisonError::into_inner).to_string(),
            })
        };
        Why::ALL.into_iter().zip(&self.0).filter_map(report).collect()
    }
}

/// Lets one of many through each second, and counts the others.
#[derive(Debug, Default)]
struct Seldom {
    /// A [`stamp`]; 0 before the first.
    next: AtomicU64,
    held_back: AtomicU64,
}

impl Seldom {
    /// How many were held back since the last one, if this one may pass.
    fn pass(&self, now: Duration) -> Option<u64> {
        let held_back = self.turn(now);
        if held_back.is_none() {
            self.held_back.fetch_add(1, Ordering::Relaxed);
        }
        held_back
    }

    /// How many were held back, if some were and no other has passed since.
    fn overdue(&self, now: Duration) -> Option<u64> {
        if self.held_back.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.turn(now).filter(|&count| count > 0)
    }

    /// Takes the place of the one that may pass this second, and those that were held back.
    fn turn(&self, now: Duration) -> Option<u64> {
        let now = stamp(now);
        let next = self.next.load(Ordering::Relaxed);
        let every = u64::try_from(EVERY.as_millis()).unwrap_or(1);
        let mine = now >= next
            && self.next.compare_exchange(next, now + every, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        mine.then(|| self.held_back.swap(0, Ordering::Relaxed))
    }
}

/// A moment of the node's clock in milliseconds, never 0.
fn stamp(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX / 2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_passes_each_second_and_the_others_are_counted() {
        let seldom = Seldom::default();
        let at = Duration::from_millis;
        assert_eq!(seldom.pass(at(0)), Some(0));
        assert_eq!([seldom.pass(at(0)), seldom.pass(at(500)), seldom.pass(at(999))], [None; 3]);
        assert_eq!(seldom.pass(at(1_000)), Some(3));
        assert_eq!(seldom.pass(at(9_000)), Some(0));
        assert_eq!(seldom.overdue(at(10_000)), None);
        assert_eq!([seldom.pass(at(9_500)), seldom.pass(at(9_600))], [None; 2]);
        assert_eq!([seldom.overdue(at(9_999)), seldom.overdue(at(10_000))], [None, Some(2)]);
        assert_eq!([seldom.overdue(at(11_000)), seldom.pass(at(10_500))], [None; 2]);
    }

    #[test]
    fn reasons_are_kept_apart_and_counted_in_rows_of_less_than_a_minute() {
        let (refusals, at) = (Refusals::default(), Duration::from_secs);
        let seen = |refusals: &Refusals, now: u64| {
            let now = at(now);
            let age = |then: SystemTime| then.elapsed().unwrap().as_secs();
            let row = |refused: Refused| {
                (refused.why, refused.count, age(refused.since), age(refused.last), refused.reason)
            };
            refusals.report(now).into_iter().map(row).collect::<Vec<_>>()
        };
        assert_eq!(seen(&refusals, 5), []);
        let noted = refusals.note(Why::Full, at(5), || "a".to_owned());
        assert_eq!(noted, Noted { reason: "a".into(), more: Some(0) });
        let noted = refusals.note(Why::Full, at(5), || panic!("it is not said twice a second"));
        assert_eq!(noted, Noted { reason: "a".into(), more: None });
        assert_eq!(refusals.held_back(at(5)).count(), 0);
        assert_eq!(refusals.held_back(at(6)).collect::<Vec<_>>(), [(Why::Full, "a".into(), 1)]);
        assert_eq!(refusals.held_back(at(7)).count(), 0);
        assert_eq!(refusals.note(Why::Full, at(63), || "a".to_owned()).more, Some(0));
        refusals.note(Why::Full, at(63), || panic!("it is not said twice a second"));
        assert_eq!(refusals.note(Why::Full, at(64), || "b".to_owned()).more, Some(1));
        assert_eq!(refusals.note(Why::NoServer, at(64), || "c".to_owned()).more, Some(0));
        let full = (Why::Full, 5, 61, 2, "b".to_owned());
        assert_eq!(seen(&refusals, 66), [(Why::NoServer, 1, 2, 2, "c".to_owned()), full]);
        refusals.note(Why::Full, at(200), || "d".to_owned());
        assert_eq!(seen(&refusals, 200)[1], (Why::Full, 1, 0, 0, "d".to_owned()));
        assert_eq!(seen(&refusals, 64 + 3_601).len(), 1);
        assert_eq!(seen(&refusals, 200 + 3_601), []);
    }
}
