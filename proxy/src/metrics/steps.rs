//! What a worker counts of how long the steps of exchanges took.

use std::time::Duration;

use super::{Counter, Histogram};
use crate::status::Steps;

/// Of exchanges that got a response (tcp: a connection to the server), in the order of `Steps::all`.
#[derive(Debug, Default)]
pub struct StepCounters {
    /// Exchanges.
    pub count: Counter,
    /// Milliseconds of each step, added up.
    pub sums: [Counter; 4],
    /// The most that a step took.
    pub longest: [Counter; 4],
    /// How long they took in all.
    pub totals: Histogram,
}

impl StepCounters {
    /// Counts an exchange whose steps took so long, and all of it this.
    pub(crate) fn took(&self, steps: Steps, total: Duration) {
        self.count.increment();
        self.totals.took(total);
        for (sum, milliseconds) in self.sums.iter().zip(steps.all()) {
            sum.add(milliseconds);
        }
        raise(&self.longest, steps);
    }
}

/// Makes each at least as long.
pub(super) fn raise(longest: &[Counter; 4], steps: Steps) {
    for (longest, milliseconds) in longest.iter().zip(steps.all()) {
        longest.raise(milliseconds);
    }
}
