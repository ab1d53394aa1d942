//! How long the steps of the last exchanges took on average, from sums that only grow.

use std::collections::VecDeque;

use crate::{metrics::StepCounters, status::Steps};

/// Exchanges in an average, as in HAProxy; more if more came between two samples.
const WINDOW: u64 = 1_024;

/// Exchanges between two marks, at least: the average covers at most so many more than the window.
const STEP: u64 = WINDOW / 8;

/// What was counted up to a moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sums {
    count: u64,
    milliseconds: [u64; 4],
}

/// The sums at moments of the past: one that is at least a window back, and those after it.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    marks: VecDeque<Sums>,
}

impl Sums {
    /// Adds what one worker has counted.
    pub(crate) fn add(&mut self, counters: &StepCounters) {
        self.count += counters.count.value();
        for (sum, counter) in self.milliseconds.iter_mut().zip(&counters.sums) {
            *sum += counter.value();
        }
    }

    /// How many, and the milliseconds of all their steps added up.
    pub(crate) fn totals(self) -> (u64, Steps) {
        (self.count, self.milliseconds.into())
    }

    fn since(&self, mark: &Self) -> u64 {
        self.count.saturating_sub(mark.count)
    }
}

impl Recent {
    /// The sums are `now` at this moment.
    pub(crate) fn sample(&mut self, now: Sums) {
        let last = self.marks.back().copied().unwrap_or_default();
        if now.count < last.count {
            // A server that was gone for a while counts anew.
            self.marks.clear();
        } else if now.since(&last) < STEP {
            return;
        }
        while self.marks.get(1).is_some_and(|mark| now.since(mark) >= WINDOW) {
            self.marks.pop_front();
        }
        self.marks.push_back(now);
    }

    /// Of the last exchanges; zeros if there was none. Rounded up, as HAProxy does.
    pub(crate) fn average(&self, now: Sums) -> Steps {
        let then = self.marks.iter().rev().find(|mark| now.since(mark) >= WINDOW);
        let then = then.copied().unwrap_or_default();
        let count = now.since(&then).max(1);
        let mut averages = now.milliseconds;
        for (average, before) in averages.iter_mut().zip(then.milliseconds) {
            *average = average.saturating_sub(before).div_ceil(count);
        }
        Steps::from(averages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` exchanges, each with these steps.
    fn grow(sums: &mut Sums, count: u64, steps: [u64; 4]) {
        sums.count += count;
        for (sum, step) in sums.milliseconds.iter_mut().zip(steps) {
            *sum += count * step;
        }
    }

    #[test]
    fn the_first_exchanges_are_all_in_the_average_which_is_rounded_up() {
        let (mut recent, mut sums) = (Recent::default(), Sums::default());
        assert_eq!(recent.average(sums), Steps::default());
        grow(&mut sums, 1, [0, 1, 20, 21]);
        recent.sample(sums);
        grow(&mut sums, 3, [0, 0, 40, 40]);
        assert_eq!(recent.average(sums).all(), [0, 1, 35, 36]);
    }

    #[test]
    fn what_is_more_than_a_window_ago_is_forgotten() {
        let (mut recent, mut sums) = (Recent::default(), Sums::default());
        for _ in 0..100 {
            grow(&mut sums, 100, [9, 9, 9, 27]);
            recent.sample(sums);
        }
        // A window of faster ones, and what one mark may be further back.
        for _ in 0..12 {
            grow(&mut sums, 100, [0, 1, 2, 3]);
            recent.sample(sums);
            assert!(recent.marks.len() <= 9, "{}", recent.marks.len());
        }
        assert_eq!(recent.average(sums).all(), [0, 1, 2, 3]);
    }

    #[test]
    fn between_two_samples_of_heavy_traffic_the_average_is_that_of_the_last_of_them() {
        let (mut recent, mut sums) = (Recent::default(), Sums::default());
        grow(&mut sums, 50_000, [5, 5, 5, 15]);
        recent.sample(sums);
        grow(&mut sums, 50_000, [0, 0, 1, 1]);
        recent.sample(sums);
        // Too few since then: those before are looked at as well.
        grow(&mut sums, 1_000, [0, 0, 1, 1]);
        assert_eq!(recent.average(sums).all(), [0, 0, 1, 1]);
        grow(&mut sums, 24, [0, 0, 1, 1]);
        assert_eq!(recent.average(sums).all(), [0, 0, 1, 1]);
    }

    #[test]
    fn sums_that_begin_anew_are_their_own_average() {
        let (mut recent, mut sums) = (Recent::default(), Sums::default());
        grow(&mut sums, 5_000, [5, 5, 5, 15]);
        recent.sample(sums);
        let mut sums = Sums::default();
        grow(&mut sums, 2, [1, 1, 1, 3]);
        recent.sample(sums);
        assert_eq!(recent.average(sums).all(), [1, 1, 1, 3]);
    }
}
