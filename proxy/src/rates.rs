//! Counters over time: what happened in the last seconds, from samples taken once a second.

mod answers;
mod rate;
mod recent;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub(crate) use self::{
    answers::{Answers, RecentAnswers},
    rate::Rate,
    recent::{Recent, Sums},
};

/// Between two samples.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Samples kept: a minute and the one before it.
const KEPT: usize = 61;

/// The samples of one frontend.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: VecDeque<Sample>,
    pub(crate) connections: Rate,
    pub(crate) requests: Rate,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    requests: u64,
    server_errors: u64,
}

impl Rates {
    pub(crate) fn sample(&mut self, at: Instant, requests: u64, server_errors: u64) {
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { at, requests, server_errors });
    }

    /// Over the last ten seconds (or since the start).
    pub(crate) fn requests_per_second(&self, now: Instant, requests: u64) -> f64 {
        let Some(then) = self.oldest_within(now, Duration::from_secs(10)) else { return 0.0 };
        let seconds = (now - then.at).as_secs_f64();
        if seconds <= 0.0 { 0.0 } else { (requests - then.requests) as f64 / seconds }
    }

    /// Over the last minute (or since the start).
    pub(crate) fn server_errors_per_minute(&self, now: Instant, server_errors: u64) -> u64 {
        self.oldest_within(now, Duration::from_secs(60)).map_or(0, |then| server_errors - then.server_errors)
    }

    fn oldest_within(&self, now: Instant, span: Duration) -> Option<&Sample> {
        // Half a sample's time more, since samples are never exactly a second apart.
        let span = span + SAMPLE_EVERY / 2;
        self.samples.iter().find(|sample| now.saturating_duration_since(sample.at) <= span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_cover_the_last_ten_seconds_and_the_last_minute() {
        let start = Instant::now();
        let mut rates = Rates::default();
        assert!(rates.requests_per_second(start, 5).abs() < 1e-9);
        // 10 requests and 1 error a second for 100 s, then silence.
        for second in 0..=100 {
            rates.sample(start + Duration::from_secs(second), 10 * second, second);
        }
        let now = start + Duration::from_secs(100);
        assert!((rates.requests_per_second(now, 1_000) - 10.0).abs() < 1e-9);
        assert_eq!(rates.server_errors_per_minute(now, 100), 60);
        for second in 101..=130 {
            rates.sample(start + Duration::from_secs(second), 1_000, 100);
        }
        let now = start + Duration::from_secs(130);
        assert!(rates.requests_per_second(now, 1_000).abs() < 1e-9);
        assert_eq!(rates.server_errors_per_minute(now, 100), 30);
    }
}
