//! What happened: the last transitions and the counters.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::{Moment, Moments, State, Transition};

/// Transitions that `status` shows.
const KEPT: usize = 20;

#[derive(Debug, Default)]
pub(super) struct History {
    transitions: VecDeque<Transition>,
    counters: BTreeMap<&'static str, u64>,
}

impl History {
    pub(super) fn push(&mut self, transition: Transition) {
        if self.transitions.len() == KEPT {
            self.transitions.pop_front();
        }
        self.count(match transition.to {
            State::Initialize => "became_initialize",
            State::Backup => "became_backup",
            State::Active => "became_active",
        });
        self.transitions.push_back(transition);
    }

    /// Those of the speaker before this one, which has counted them.
    pub(super) fn go_on(&mut self, transitions: &[Transition]) {
        let skipped = transitions.len().saturating_sub(KEPT);
        self.transitions = transitions.iter().skip(skipped).cloned().collect();
    }

    pub(super) fn last(&self) -> Option<&Transition> {
        self.transitions.back()
    }

    /// The moments of the claim that is going on; `None` if the last transition was not a claim.
    pub(super) fn claim(&mut self) -> Option<&mut Moments> {
        self.transitions.back_mut().filter(|last| last.to == State::Active).map(|last| &mut last.moments)
    }

    pub(super) fn count(&mut self, name: &'static str) {
        let counter = self.counters.entry(name).or_default();
        *counter = counter.saturating_add(1);
    }

    pub(super) fn transitions(&self) -> Vec<Transition> {
        self.transitions.iter().cloned().collect()
    }

    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }
}

/// A duration for a reason: `1.2 s`, `308 ms`, `78 us`.
pub(super) fn spell(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000.. => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// Time since `then`, spelled.
pub(super) fn since(now: Moment, then: Moment) -> String {
    spell(now.saturating_since(then))
}
