//! How long things took, counted by classes of length.

use std::time::Duration;

use super::Counter;

/// Classes, the last of which is without a bound.
pub const CLASSES: usize = BOUNDS.len() + 1;

/// The longest of each class but the last, in milliseconds.
pub const BOUNDS: [u64; 15] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

/// What a worker counts.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many were of each class and of none before it.
    pub counts: [Counter; CLASSES],
    /// All of them added up.
    pub microseconds: Counter,
}

impl Histogram {
    /// Counts one. Only from the worker that owns it.
    pub(crate) fn took(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS.partition_point(|bound| bound * 1_000 < microseconds);
        self.counts[class].increment();
        self.microseconds.add(microseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_of_the_first_class_that_holds_it() {
        let histogram = Histogram::default();
        let times = [0, 1_000, 1_001, 2_000, 60_000_000, 60_000_001];
        times.iter().for_each(|time| histogram.took(Duration::from_micros(*time)));
        let counts = histogram.counts.each_ref().map(Counter::value);
        assert_eq!(counts, [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(histogram.microseconds.value(), times.iter().sum::<u64>());
    }
}
