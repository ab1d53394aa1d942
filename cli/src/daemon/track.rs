//! Turns the health of the proxy into the readiness of one group: who may hold the address.
//!
//! ```text
//! proxy Health ──▶ handle_health ─┐
//! [track.*] ──▶ handle_condition ──┤
//! state of the group ▶ handle_state ├─▶ Tracker ──▶ readiness(): Ready | Degraded | Starting | Leaving | Fault
//! stop, drain ────▶ handle_leaving ┘      └───────▶ poll_timeout(): when a hold ends
//! ```
//!
//! Pure: `now` is an argument. What decides is only what a standby without traffic can measure too: listeners, workers,
//! and the servers' active checks. Faults of the interface, of the addresses and of a control thread that hangs are the
//! speaker's to see.
//!
//! The holds are asymmetric. Bad news counts at once on a Backup and after the hold on the Active; good news counts at
//! once on the Active and after the hold on a Backup. So an outage that both nodes see makes the Backup the worse one
//! first, and its end makes the Active the better one first: nothing moves. The same delay on both sides would keep the
//! difference between the two moments, and the address would move for nothing.

use std::{net::IpAddr, time::Duration};

use lb_proxy::{Health, status::BackendHealth};
use lb_vrrp::{Moment, Readiness, State};
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

/// What a tracker looks at.
#[derive(Clone, Debug)]
pub struct TrackerConfig {
    /// Frontends with a listener on an address of the group.
    pub frontends: Vec<String>,
    /// The group's addresses. A listener of `frontends` counts if it is on one of them or on all addresses.
    pub addresses: Vec<IpAddr>,
    /// Backends that a frontend of the group can reach, and what `[track.*]` looks at, with their holds.
    pub tracked: Vec<Tracked>,
    /// How long the first round of checks may take after the start of the process.
    pub first_round_limit: Duration,
}

/// Something that counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tracked {
    /// Its name.
    pub name: String,
    /// The delay of bad news on an Active and of good news on a Backup; a fault has none.
    pub hold: Duration,
    /// What it is.
    #[serde(default)]
    pub what: What,
}

/// What is tracked, and what its failure means.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub enum What {
    /// A backend: a degradation.
    #[default]
    Backend,
    /// A `[track.*]` whose failure is a degradation.
    Degradation,
    /// A `[track.*]` whose failure is a fault.
    Fault,
}

impl Tracked {
    /// A backend and a tracker may have one name.
    fn is(&self, other: &Self) -> bool {
        self.name == other.name && (self.what == What::Backend) == (other.what == What::Backend)
    }

    fn called(&self) -> String {
        match self.what {
            What::Backend => format!("backend {}", self.name),
            What::Degradation | What::Fault => format!("tracker {}", self.name),
        }
    }

    /// What its failure means, with the reason.
    fn fails(&self, reason: Option<&str>) -> String {
        let what = match self.what {
            What::Backend => "has no usable server",
            What::Degradation | What::Fault => "fails",
        };
        match reason {
            Some(reason) => format!("{} {what}: {reason}", self.called()),
            None => format!("{} {what}", self.called()),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    state: State,
    first_round: FirstRound,
    /// The node counts as eight degradations until then.
    starting_until: Option<Moment>,
    backends: Vec<Backend>,
    /// Degradations that a new file took away, and until when they count.
    gone: Vec<(Moment, Tracked)>,
    /// Labels of the group's listeners that are not bound, and the number of all.
    unbound: Vec<String>,
    listeners: usize,
    /// `(number, owed for)` of the workers that are stalled, and the number of all.
    stalled: Vec<(usize, Duration)>,
    workers: usize,
    leaving: Option<String>,
    drained: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
enum FirstRound {
    Awaited { until: Moment },
    Done,
}

/// What a tracker knows, for that of another process.
#[derive(Debug, Deserialize, Serialize)]
pub struct KnownTracker {
    state: State,
    first_round: FirstRound,
    starting_until: Option<Moment>,
    backends: Vec<(Tracked, Backend)>,
    gone: Vec<(Moment, Tracked)>,
}

/// What is known of a backend, and what of it counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Backend {
    usable: bool,
    since: Moment,
    counted_usable: bool,
    reason: Option<String>,
    counts: bool,
}

impl Tracker {
    /// At the start of the process.
    pub fn new(config: TrackerConfig, now: Moment) -> Self {
        let backends = config.tracked.iter().map(|tracked| Backend::starting(now, tracked, false)).collect();
        let first_round = FirstRound::Awaited { until: now + config.first_round_limit };
        Self {
            config,
            state: State::Initialize,
            first_round,
            starting_until: None,
            backends,
            gone: Vec::new(),
            unbound: Vec::new(),
            listeners: 0,
            stalled: Vec::new(),
            workers: 0,
            leaving: None,
            drained: None,
        }
    }

    /// For the process that takes the place of this one. Both have one clock.
    pub fn known(&self) -> KnownTracker {
        KnownTracker {
            state: self.state,
            first_round: self.first_round,
            starting_until: self.starting_until,
            backends: self.config.tracked.iter().cloned().zip(self.backends.iter().cloned()).collect(),
            gone: self.gone.clone(),
        }
    }

    /// Goes on as the one of the process before: holds go on, and nothing is news.
    pub fn go_on(&mut self, known: KnownTracker) {
        (self.state, self.first_round) = (known.state, known.first_round);
        (self.starting_until, self.gone) = (known.starting_until, known.gone);
        for (tracked, backend) in self.config.tracked.iter().zip(&mut self.backends) {
            match known.backends.iter().find(|(known, _)| known.is(tracked)) {
                Some((_, known)) => backend.clone_from(known),
                // That process did not know what a tracker is.
                None if tracked.what != What::Backend => {
                    let holds = known.state == State::Active;
                    (backend.usable, backend.counted_usable) = (holds, holds);
                }
                None => {}
            }
        }
    }

    /// Another configuration is in force. What is known of a backend stays known. One that is new, and one that is gone
    /// while it counts as a degradation, are news like any other: a node must neither lose nor win an address by being
    /// the first of two to have a new file.
    pub fn reconfigure(&mut self, now: Moment, config: TrackerConfig) {
        let active = self.state == State::Active;
        let before = std::mem::take(&mut self.backends).into_iter().zip(&self.config.tracked);
        let mut before: Vec<_> = before.map(|(backend, tracked)| (tracked.clone(), backend)).collect();
        let backend = |tracked: &Tracked| {
            let known = before.iter().position(|(known, _)| known.is(tracked));
            known.map_or_else(|| Backend::starting(now, tracked, active), |index| before.swap_remove(index).1)
        };
        self.backends = config.tracked.iter().map(backend).collect();
        let is_bad = |(tracked, backend): &(Tracked, Backend)| {
            tracked.what != What::Fault && backend.counts && !backend.counted_usable
        };
        let bad = before.into_iter().filter(is_bad);
        self.gone.extend(bad.map(|(tracked, _)| (now + tracked.hold, tracked)));
        self.gone.retain(|(_, gone)| config.tracked.iter().all(|tracked| !tracked.is(gone)));
        self.config = config;
        self.settle(now);
    }

    /// The proxy's health changed.
    pub fn handle_health(&mut self, now: Moment, health: &Health) {
        self.take_listeners(health);
        self.workers = health.stalled_workers.len();
        self.stalled = health
            .stalled_workers
            .iter()
            .enumerate()
            .filter_map(|(number, owed)| owed.map(|owed| (number, owed)))
            .collect();
        for (tracked, backend) in self.config.tracked.iter().zip(&mut self.backends) {
            let found = health.backends.iter().find(|found| found.name == tracked.name);
            if let Some(found) = found.filter(|_| tracked.what == What::Backend) {
                backend.take(now, found);
            }
        }
        if health.first_round_done {
            self.end_first_round(now);
        }
        self.settle(now);
    }

    /// What `[track.NAME]` looks at is well, or has failed for this reason.
    pub fn handle_condition(&mut self, now: Moment, name: &str, failed: Option<&str>) {
        for (tracked, condition) in self.config.tracked.iter().zip(&mut self.backends) {
            if tracked.what != What::Backend && tracked.name == name {
                condition.reason = failed.map(str::to_owned);
                condition.is(now, failed.is_none());
            }
        }
        self.settle(now);
    }

    /// The group's state changed.
    pub fn handle_state(&mut self, now: Moment, state: State) {
        self.state = state;
        self.settle(now);
    }

    /// The node is about to leave, or (`None`) stays after all.
    pub fn handle_leaving(&mut self, reason: Option<String>) {
        self.leaving = reason;
    }

    /// The node takes no part in elections for this reason, or (`None`) it does again.
    pub fn handle_drained(&mut self, reason: Option<String>) {
        self.drained = reason;
    }

    /// The moment of `poll_timeout` passed. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Moment) {
        if let FirstRound::Awaited { until } = self.first_round
            && now >= until
        {
            self.end_first_round(now);
        }
        self.settle(now);
    }

    /// When `handle_timeout` is wanted next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let first_round = match self.first_round {
            FirstRound::Awaited { until } => Some((until, "first round of checks")),
            FirstRound::Done => None,
        };
        let starting = self.starting_until.map(|until| (until, "hold of a start"));
        let holds = self.pending().map(|until| (until, "hold of a backend"));
        first_round.into_iter().chain(starting).chain(holds).min_by_key(|(at, _)| *at)
    }

    /// How good a holder of the group's addresses this node is.
    pub fn readiness(&self) -> Readiness {
        if let Some(reason) = self.fault() {
            return Readiness::Fault { reason };
        }
        if let Some(reason) = self.reason_to_leave() {
            return Readiness::Leaving { reason };
        }
        if self.starting_until.is_some() {
            let hold = seconds(self.longest_hold());
            return Readiness::Starting {
                reason: format!("what is good counts once it has lasted for {hold}"),
                degradations: self
                    .bad()
                    .map(|(tracked, found)| tracked.fails(found.reason.as_deref()))
                    .collect(),
            };
        }
        let reasons = self.degradations();
        if reasons.is_empty() { Readiness::Ready } else { Readiness::Degraded { reasons } }
    }

    fn fault(&self) -> Option<String> {
        if let Some(reason) = &self.drained {
            return Some(reason.clone());
        }
        if matches!(self.first_round, FirstRound::Awaited { .. }) {
            return Some("the first round of checks is not done".to_owned());
        }
        let mut tracked = self.config.tracked.iter().zip(&self.backends);
        let failing = tracked.find(|(tracked, found)| tracked.what == What::Fault && !found.counted_usable);
        if let Some((tracked, found)) = failing {
            return Some(tracked.fails(found.reason.as_deref()));
        }
        if self.workers > 0 && self.stalled.len() == self.workers {
            let longest = self.stalled.iter().map(|(_, owed)| *owed).max().unwrap_or_default();
            return Some(match self.workers {
                1 => format!("the only worker stalled for {}", seconds(longest)),
                n => format!("all {n} workers stalled, for up to {}", seconds(longest)),
            });
        }
        if self.listeners > 0 && self.unbound.len() == self.listeners {
            return Some(format!("no listener is bound ({})", self.unbound.join(", ")));
        }
        None
    }

    fn reason_to_leave(&self) -> Option<String> {
        if let Some(reason) = &self.leaving {
            return Some(reason.clone());
        }
        if let Some((number, owed)) = self.stalled.first() {
            return Some(format!("worker {number} stalled for {}", seconds(*owed)));
        }
        (!self.unbound.is_empty()).then(|| format!("not bound: {}", self.unbound.join(", ")))
    }

    /// What is bad on an Active as well, where good news counts at once.
    fn bad(&self) -> impl Iterator<Item = (&Tracked, &Backend)> {
        let degradations = self.config.tracked.iter().zip(&self.backends);
        degradations.filter(|(tracked, backend)| {
            tracked.what != What::Fault && backend.counts && !backend.counted_usable && !backend.usable
        })
    }

    fn degradations(&self) -> Vec<String> {
        let gone = self.gone.iter().map(|(_, tracked)| {
            let hold = seconds(tracked.hold);
            format!(
                "{} is gone from the file, which counts once that has lasted for {hold}",
                tracked.called()
            )
        });
        self.config
            .tracked
            .iter()
            .zip(&self.backends)
            .filter(|(tracked, _)| tracked.what != What::Fault)
            .filter(|(_, backend)| backend.counts && !backend.counted_usable)
            .map(|(tracked, backend)| {
                let again = match tracked.what {
                    What::Backend => "is usable again",
                    What::Degradation | What::Fault => "passes again",
                };
                if backend.usable {
                    let (called, hold) = (tracked.called(), seconds(tracked.hold));
                    return format!("{called} {again}, which counts once it has lasted for {hold}");
                }
                tracked.fails(backend.reason.as_deref())
            })
            .chain(gone)
            .collect()
    }

    fn take_listeners(&mut self, health: &Health) {
        let of_the_group = health.listeners.iter().filter(|listener| {
            let is_on_one = |ip: IpAddr| ip.is_unspecified() || self.config.addresses.contains(&ip);
            self.config.frontends.contains(&listener.frontend)
                && listener.address.is_some_and(|address| is_on_one(address.ip()))
        });
        self.listeners = 0;
        self.unbound.clear();
        for listener in of_the_group {
            self.listeners += 1;
            if !listener.bound {
                self.unbound.push(listener.label.clone());
            }
        }
    }

    fn end_first_round(&mut self, now: Moment) {
        if matches!(self.first_round, FirstRound::Awaited { .. }) {
            self.first_round = FirstRound::Done;
            let hold = self.longest_hold();
            self.starting_until = (!hold.is_zero()).then(|| now + hold);
        }
    }

    fn longest_hold(&self) -> Duration {
        let held = self.config.tracked.iter().filter(|tracked| tracked.what != What::Fault);
        held.map(|tracked| tracked.hold).max().unwrap_or_default()
    }

    /// Lets everything count whose time has come.
    fn settle(&mut self, now: Moment) {
        let active = self.state == State::Active;
        if active || self.starting_until.is_some_and(|until| now >= until) {
            self.starting_until = None;
        }
        self.gone.retain(|(until, _)| !active && *until > now);
        for (tracked, backend) in self.config.tracked.iter().zip(&mut self.backends) {
            // Good news is at once on the Active, bad news everywhere else; a fault waits for nothing.
            let at_once = backend.usable == active || tracked.what == What::Fault;
            if at_once || now >= backend.since + tracked.hold {
                backend.counted_usable = backend.usable;
            }
        }
        debug_assert!(self.pending().all(|until| until > now), "a hold that is over has been settled");
    }

    fn pending(&self) -> impl Iterator<Item = Moment> {
        self.config
            .tracked
            .iter()
            .zip(&self.backends)
            .filter(|(_, backend)| backend.usable != backend.counted_usable)
            .map(|(tracked, backend)| backend.since + tracked.hold)
            .chain(self.gone.iter().map(|(until, _)| *until))
    }
}

impl Backend {
    /// One of which nothing is known.
    fn starting(now: Moment, tracked: &Tracked, usable: bool) -> Self {
        let reason = (tracked.what != What::Backend).then(|| "it was not looked at yet".to_owned());
        Self { usable, since: now, counted_usable: usable, reason, counts: true }
    }

    fn take(&mut self, now: Moment, health: &BackendHealth) {
        self.counts = health.counts;
        // Its servers are new: no news yet.
        if health.pending {
            return;
        }
        self.reason.clone_from(&health.reason);
        self.is(now, health.usable > 0);
    }

    fn is(&mut self, now: Moment, usable: bool) {
        if usable != self.usable {
            self.usable = usable;
            self.since = now;
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
