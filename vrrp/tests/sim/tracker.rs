//! The daemon's side, as far as the machine sees it: what a node knows of its backends becomes a readiness, with the
//! holds of rule 3 (bad news at once on a Backup, good news at once on the Active, the other two after the hold).

use std::time::Duration;

use lb_vrrp::{Readiness, State};

pub(crate) const HOLD: Duration = Duration::from_secs(3);

/// Times are nanoseconds of the world.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    /// Backends without a usable server, as checks see it now.
    pub(crate) lost: usize,
    /// Since when `lost` is what it is.
    pub(crate) since: u64,
    /// As it counts.
    counted: usize,
    /// The first round of checks is not done before this.
    checked: u64,
    /// One that starts counts as eight degradations until its good news is old enough.
    starting_until: Option<u64>,
    pub(crate) leaving: bool,
    /// It gave the addresses away when somebody asked.
    pub(crate) yields: bool,
    pub(crate) fault: bool,
}

impl Tracker {
    pub(crate) fn started(now: u64, lost: usize, checked: Duration) -> Self {
        let checked = now + checked.as_nanos() as u64;
        let starting_until = Some(checked + HOLD.as_nanos() as u64);
        Self {
            lost,
            since: now,
            counted: lost,
            checked,
            starting_until,
            leaving: false,
            yields: false,
            fault: false,
        }
    }

    /// Ready since long ago.
    pub(crate) fn settled() -> Self {
        Self {
            lost: 0,
            since: 0,
            counted: 0,
            checked: 0,
            starting_until: None,
            leaving: false,
            yields: false,
            fault: false,
        }
    }

    pub(crate) fn lose(&mut self, now: u64, lost: usize) {
        if self.lost != lost {
            self.lost = lost;
            self.since = now;
        }
    }

    /// The readiness at `now`, and when it may change by itself.
    pub(crate) fn readiness(&mut self, now: u64, state: State) -> (Readiness, Option<u64>) {
        if self.fault {
            return (Readiness::Fault { reason: "worker 0 stalled".to_owned() }, None);
        }
        if now < self.checked {
            return (
                Readiness::Fault { reason: "the first checks are not done".to_owned() },
                Some(self.checked),
            );
        }
        let held = self.since + HOLD.as_nanos() as u64;
        let at_once = match state {
            State::Active => self.lost <= self.counted,
            State::Backup | State::Initialize => self.lost >= self.counted,
        };
        if at_once || now >= held {
            self.counted = self.lost;
        }
        let mut next = (self.counted != self.lost).then_some(held);
        if self.leaving {
            return (Readiness::Leaving { reason: "stopping".to_owned() }, next);
        }
        if let Some(until) = self.starting_until {
            if state == State::Active || now >= until {
                self.starting_until = None;
            } else {
                next = Some(next.map_or(until, |next| next.min(until)));
                let degradations = reasons(self.counted.min(self.lost));
                return (Readiness::Starting { reason: "just started".to_owned(), degradations }, next);
            }
        }
        let readiness = match self.counted {
            0 => Readiness::Ready,
            n => Readiness::Degraded { reasons: reasons(n) },
        };
        (readiness, next)
    }
}

fn reasons(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("backend b{i}")).collect()
}
