//! How fast a counter grows.

use std::time::Instant;

use crate::status::PerSecond;

/// From one sample to the next.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    last: Option<(Instant, u64)>,
    found: PerSecond,
}

impl Rate {
    /// The counter is `total` at `now`.
    pub(crate) fn sample(&mut self, now: Instant, total: u64) {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            let grown = total.saturating_sub(before);
            // Rounded up: what happened once in a second that took a little longer did happen.
            let rate = if seconds > 0.0 { (grown as f64 / seconds).ceil() as u64 } else { grown };
            self.found = PerSecond { now: rate.min(grown), max: self.found.max.max(rate.min(grown)) };
        }
        self.last = Some((now, total));
    }

    pub(crate) fn per_second(&self) -> PerSecond {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second_and_the_highest_is_kept() {
        let (start, mut rate) = (Instant::now(), Rate::default());
        let mut at = |milliseconds, total| {
            rate.sample(start + Duration::from_millis(milliseconds), total);
            (rate.per_second().now, rate.per_second().max)
        };
        assert_eq!(at(0, 1_000), (0, 0));
        assert_eq!(at(1_001, 1_001), (1, 1));
        assert_eq!(at(2_000, 1_301), (300, 300));
        // A sample that came late covers more than a second.
        assert_eq!(at(5_000, 1_601), (100, 300));
        assert_eq!(at(6_000, 1_601), (0, 300));
    }
}
