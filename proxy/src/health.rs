//! Is a server up? The pure half: when to check it, and what its results amount to.
//!
//! ```text
//! Checker::poll_timeout ──> the driver sleeps ──> handle_timeout ──> probe ──> handle_result ──> Verdict
//!        ▲                                                                          │
//!        └──────────────────────────────────────────────────────────────────────────┘
//! ```
//! One counter holds everything, as in HAProxy: 0 ..= rise + fall - 1, up from `rise` on. A success adds one, and one
//! that reaches `rise` fills it; a failure takes one, and one that falls below `rise` empties it. So it takes `fall`
//! failures in a row to go down and `rise` successes in a row to come up. The first result alone decides: a server
//! that fails its first check was never up, one that passes it is.
//!
//! There are two of these counters. Errors of real traffic ([`Checker::handle_errors`]) move the one that requests go
//! by. The other one knows checks alone: it is what the node's readiness is computed from, because a standby has no
//! traffic to watch.

mod adopt;
pub(crate) mod agent;
pub(crate) mod board;
mod complaints;
mod events;
mod names;
pub mod orders;
pub(crate) mod outcome;
pub(crate) mod passive;
pub(crate) mod probe;
mod rounds;
pub(crate) mod routing;
pub(crate) mod server;
pub(crate) mod slowstart;
pub(crate) mod talk;
mod tasks;
pub(crate) mod why;

pub use probe::describe;
pub(crate) use rounds::Rounds;
pub(crate) use tasks::Tasks;

use std::time::Duration;

use crate::{
    config::{OnError, Pace},
    splitmix,
    status::Level,
};

/// The moments between two checks lie this share of the interval (1 / 20) around it, so that the checks of many
/// servers, and of two nodes, do not stay in step.
const JITTER: u32 = 20;

/// The machine behind one server's checks. Times are those of the caller's clock; it may start anywhere.
#[derive(Clone, Debug)]
pub struct Checker {
    pace: Pace,
    by_all: Counter,
    by_checks: Counter,
    is_known: bool,
    started: Duration,
    due: Duration,
    is_probing: bool,
    last: Option<(bool, u32)>,
    random: u64,
}

/// A server's state has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is up.
    Up,
    /// It is down.
    Down,
}

/// 0 ..= rise + fall - 1, up from `rise` on.
#[derive(Clone, Copy, Debug)]
struct Counter {
    rise: u32,
    fall: u32,
    level: u32,
}

impl Checker {
    /// A checker whose first check is due at `now`. `seed` decides the jitter; `rise` and `fall` count from 1.
    pub fn new(pace: Pace, rise: u32, fall: u32, seed: u64, now: Duration) -> Self {
        let counter = Counter::new(rise.max(1), fall.max(1));
        Self {
            pace,
            by_all: counter,
            by_checks: counter,
            is_known: false,
            started: now,
            due: now,
            is_probing: false,
            last: None,
            random: seed,
        }
    }

    /// One for a server that was used without checks: it is up until its first check, due at `now`, which decides alone.
    pub fn presuming_up(pace: Pace, rise: u32, fall: u32, seed: u64, now: Duration) -> Self {
        let mut checker = Self::new(pace, rise, fall, seed, now);
        for counter in [&mut checker.by_all, &mut checker.by_checks] {
            counter.level = counter.rise;
        }
        checker.is_known = true;
        checker
    }

    /// One for a server that another process has checked, and that was at `level` then. Its first check is due at `now`.
    pub fn resuming(pace: Pace, level: Level, up_by_checks: bool, seed: u64, now: Duration) -> Self {
        let mut checker = Self::new(pace, level.rise, level.fall, seed, now);
        let highest = checker.by_all.rise + checker.by_all.fall - 1;
        checker.by_all.level = level.now.min(highest);
        checker.by_checks.level = if up_by_checks { highest } else { 0 };
        checker.is_known = true;
        checker
    }

    /// Goes on with other settings. Up stays up and down stays down; results that have counted still do.
    pub fn adapt(&mut self, pace: Pace, rise: u32, fall: u32, now: Duration) {
        let (rise, fall) = (rise.max(1), fall.max(1));
        for counter in [&mut self.by_all, &mut self.by_checks] {
            *counter = if self.is_known { counter.adapted(rise, fall) } else { Counter::new(rise, fall) };
        }
        if pace != self.pace {
            self.pace = pace;
            if self.is_known && !self.is_probing {
                let interval = self.interval();
                self.due = (self.started + self.jittered(interval)).max(now);
            }
        }
    }

    /// When the next check is due; `None` while one is under way, so that two never overlap.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        (!self.is_probing).then_some(self.due)
    }

    /// The next check is due at once, unless one is under way.
    pub fn hurry(&mut self, now: Duration) {
        self.due = self.due.min(now);
    }

    /// The time has come: true if a check has to be made now.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Duration) -> bool {
        if self.is_probing || now < self.due {
            return false;
        }
        self.is_probing = true;
        self.started = now;
        true
    }

    /// The check under way has ended. The next one is due an interval after its start, or now if it took longer. A
    /// verdict only when the state changes (or becomes known).
    pub fn handle_result(&mut self, now: Duration, passed: bool) -> Option<Verdict> {
        self.is_probing = false;
        let in_a_row = self.last.filter(|&(last, _)| last == passed).map_or(0, |(_, count)| count);
        self.last = Some((passed, in_a_row.saturating_add(1)));
        let was_up = self.is_up();
        self.by_all.count(passed);
        self.by_checks.count(passed);
        // The first two checks of servers that start together lie anywhere in an interval: they spread.
        let interval = self.interval();
        let gap = if self.is_known { self.jittered(interval) } else { self.anywhere(interval) };
        self.due = (self.started + gap).max(now);
        let changed = !self.is_known || was_up != self.is_up();
        self.is_known = true;
        changed.then(|| self.verdict())
    }

    /// The check under way could not be made, which says nothing of the server: the next one is due an interval after its
    /// start. False while nothing is known of the server: it has to be something, so then the check has failed.
    #[must_use]
    pub fn handle_nothing(&mut self, now: Duration) -> bool {
        if self.is_known {
            self.is_probing = false;
            let interval = self.interval();
            self.due = (self.started + self.jittered(interval)).max(now);
        }
        self.is_known
    }

    /// Too many errors of real traffic in a row. A verdict only when the state changes.
    pub fn handle_errors(&mut self, now: Duration, then: OnError) -> Option<Verdict> {
        if !self.is_known {
            return None;
        }
        let was_up = self.is_up();
        match then {
            OnError::FastInter => {}
            OnError::FailCheck => self.by_all.count(false),
            OnError::SuddenDeath => {
                if self.by_all.level > self.by_all.rise {
                    self.by_all.level = self.by_all.rise + 1;
                }
                self.by_all.count(false);
            }
            OnError::MarkDown => {
                self.by_all.level = self.by_all.level.min(self.by_all.rise);
                self.by_all.count(false);
            }
        }
        self.due = self.due.min(now + self.pace.fast);
        (was_up != self.is_up()).then(|| self.verdict())
    }

    /// By checks and by errors of real traffic.
    pub fn is_up(&self) -> bool {
        self.by_all.is_up()
    }

    /// As [`Self::is_up`], and its first check is done.
    pub(crate) fn is_down(&self) -> bool {
        self.is_known && !self.is_up()
    }

    /// By checks alone.
    pub fn is_up_by_checks(&self) -> bool {
        self.by_checks.is_up()
    }

    /// How many of the last results were the same.
    pub fn in_a_row(&self) -> u32 {
        self.last.map_or(0, |(_, count)| count)
    }

    /// How far from up and down it is.
    pub(crate) fn level(&self) -> Level {
        let Counter { rise, fall, level } = self.by_all;
        Level { rise, fall, now: level }
    }

    fn verdict(&self) -> Verdict {
        if self.is_up() { Verdict::Up } else { Verdict::Down }
    }

    fn interval(&self) -> Duration {
        if self.by_all.is_full() {
            self.pace.interval
        } else if self.by_all.level == 0 {
            self.pace.down
        } else {
            self.pace.fast
        }
    }

    fn jittered(&mut self, interval: Duration) -> Duration {
        let span = interval / JITTER * 2;
        interval - span / 2 + self.random_part(span)
    }

    fn anywhere(&mut self, interval: Duration) -> Duration {
        let least = interval / JITTER;
        least + self.random_part(interval - least)
    }

    fn random_part(&mut self, span: Duration) -> Duration {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(if nanos == 0 { 0 } else { splitmix::next(&mut self.random) % nanos })
    }
}

impl Counter {
    fn is_up(&self) -> bool {
        self.level >= self.rise
    }

    fn is_full(&self) -> bool {
        self.level == self.rise + self.fall - 1
    }

    /// One below up and the least above empty: the first result goes all the way.
    fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, level: rise - 1 }
    }

    fn adapted(self, rise: u32, fall: u32) -> Self {
        let level = if self.is_up() {
            let failures = self.rise + self.fall - 1 - self.level;
            rise + (fall - 1).saturating_sub(failures)
        } else {
            self.level.min(rise - 1)
        };
        Self { rise, fall, level }
    }

    fn count(&mut self, passed: bool) {
        if passed {
            self.level += 1;
            if self.level >= self.rise {
                self.level = self.rise + self.fall - 1;
            }
        } else {
            self.level = self.level.saturating_sub(1);
            if self.level < self.rise {
                self.level = 0;
            }
        }
        debug_assert!(self.level < self.rise + self.fall);
    }
}

#[cfg(test)]
mod tests;
