//! What the control interface has refused, for `lbctl status --json`.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Counted since the start of the daemon.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Counters {
    /// Requests that got a problem for an answer.
    pub(super) refused: AtomicU64,
    /// Connections whose head was no HTTP, or too large.
    pub(super) bad_heads: AtomicU64,
    /// Connections that sent no whole head in time, idle ones among them.
    pub(super) timeouts: AtomicU64,
    /// Connections that were closed because there are too many.
    pub(super) crowded_out: AtomicU64,
    /// Statuses that were not read in time, and taken back since there were too many.
    pub(super) taken_back: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes on from what the process before has counted.
    pub(in crate::daemon) fn go_on(&self, known: &BTreeMap<String, u64>) {
        for (name, counter) in self.all() {
            counter.fetch_add(known.get(name).copied().unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// By the name that the status shows.
    pub(in crate::daemon) fn by_name(&self) -> impl Iterator<Item = (String, u64)> {
        self.all().into_iter().map(|(name, counter)| (name.to_owned(), counter.load(Ordering::Relaxed)))
    }

    fn all(&self) -> [(&'static str, &AtomicU64); 5] {
        [
            ("control_refused", &self.refused),
            ("control_bad_heads", &self.bad_heads),
            ("control_timeouts", &self.timeouts),
            ("control_crowded_out", &self.crowded_out),
            ("control_statuses_unread", &self.taken_back),
        ]
    }
}
