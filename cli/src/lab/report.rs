//! What the clients saw.

use std::{collections::BTreeMap, time::Duration};

use lb_vrrp::Moment;

use super::load::{Outcome, Sample};

/// The samples of a load, in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    samples: Vec<Sample>,
}

impl Report {
    /// Of these samples.
    #[must_use]
    pub fn new(mut samples: Vec<Sample>) -> Self {
        samples.sort_by_key(Sample::end);
        Self { samples }
    }

    /// All samples, by the moment they ended.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Requests.
    #[must_use]
    pub fn total(&self) -> usize {
        self.samples.len()
    }

    /// Requests that were answered with 200.
    #[must_use]
    pub fn ok(&self) -> usize {
        self.samples.iter().filter(|sample| sample.is_ok()).count()
    }

    /// Requests that were not.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.total() - self.ok()
    }

    /// The longest that an answered request took.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        self.samples
            .iter()
            .filter(|sample| sample.is_ok())
            .map(|sample| sample.wait)
            .max()
            .unwrap_or_default()
    }

    /// Answered requests by server.
    #[must_use]
    pub fn per_server(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            if let Outcome::Ok(server) = &sample.outcome {
                *counts.entry(server.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Why requests failed, and how many for each reason.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for sample in &self.samples {
            if let Outcome::Failed(reason) = &sample.outcome {
                *counts.entry(reason.clone()).or_insert(0) += 1;
            }
        }
        counts
    }

    /// The longest stretch without an answered request around or after `event`: it begins with the last answer before
    /// the event at the earliest. A stretch that had not ended when the load did lasts until the last sample.
    #[must_use]
    pub fn gap_around(&self, event: Moment) -> Duration {
        let answers: Vec<Moment> =
            self.samples.iter().filter(|sample| sample.is_ok()).map(Sample::end).collect();
        let before = answers.iter().rev().find(|answer| **answer <= event).copied();
        let mut from = before.or_else(|| self.samples.first().map(|sample| sample.at)).unwrap_or(event);
        let mut longest = Duration::ZERO;
        let last = self.samples.last().map(Sample::end);
        for answer in answers.iter().filter(|answer| **answer > event).copied().chain(last) {
            longest = longest.max(answer.saturating_since(from));
            from = answer;
        }
        longest
    }

    /// The part of it that began in `from..to`.
    #[must_use]
    pub fn between(&self, from: Moment, to: Moment) -> Self {
        let samples =
            self.samples.iter().filter(|sample| sample.at >= from && sample.at < to).cloned().collect();
        Self { samples }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, wait_ms: u64, outcome: Outcome) -> Sample {
        Sample { at: Moment::from_nanos(at_ms * 1_000_000), wait: Duration::from_millis(wait_ms), outcome }
    }

    fn ok(at_ms: u64, wait_ms: u64) -> Sample {
        sample(at_ms, wait_ms, Outcome::Ok("web1".to_owned()))
    }

    fn failed(at_ms: u64, wait_ms: u64) -> Sample {
        sample(at_ms, wait_ms, Outcome::Failed("503".to_owned()))
    }

    #[test]
    fn gap_runs_from_the_last_answer_before_the_event_to_the_first_after_it() {
        let report = Report::new(vec![ok(0, 1), ok(10, 1), failed(20, 5), ok(40, 2), ok(50, 1)]);
        assert_eq!(report.gap_around(Moment::from_nanos(15_000_000)), Duration::from_millis(31));
    }

    #[test]
    fn gap_without_an_answer_afterwards_lasts_until_the_end() {
        let report = Report::new(vec![ok(0, 1), failed(20, 5), failed(100, 20)]);
        assert_eq!(report.gap_around(Moment::from_nanos(2_000_000)), Duration::from_millis(119));
    }

    #[test]
    fn gap_before_the_event_does_not_count() {
        let report = Report::new(vec![ok(0, 1), ok(500, 1), ok(510, 1), ok(520, 1)]);
        assert_eq!(report.gap_around(Moment::from_nanos(502_000_000)), Duration::from_millis(10));
    }

    #[test]
    fn counts_tell_answers_from_failures() {
        let report = Report::new(vec![ok(0, 7), failed(1, 90), ok(2, 3)]);
        assert_eq!((report.total(), report.ok(), report.failed()), (3, 2, 1));
        assert_eq!(report.longest_wait(), Duration::from_millis(7));
        assert_eq!(report.per_server(), BTreeMap::from([("web1".to_owned(), 2)]));
        assert_eq!(report.failures(), BTreeMap::from([("503".to_owned(), 1)]));
    }
}
