//! How many of a backend's latest answers were not its servers'.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::SAMPLE_EVERY;
use crate::metrics::BackendCounters;

/// What is looked back at.
const SPAN: Duration = Duration::from_secs(10);

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Answers {
    /// Responses that were sent to clients.
    pub(crate) all: u64,
    /// Of these, 502 and 504 because the server's did not come, or made no sense.
    pub(crate) made_up: u64,
}

impl Answers {
    /// What all workers have counted.
    pub(crate) fn sum<'c>(counters: impl Iterator<Item = &'c BackendCounters>) -> Self {
        let mut sum = Self::default();
        for counters in counters {
            sum.all += counters.responses.iter().map(|count| count.value()).sum::<u64>();
            for one in counters.all() {
                sum.made_up += one.response_errors.value().saturating_sub(one.server_aborts.value());
            }
        }
        sum
    }
}

/// Samples of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct RecentAnswers(VecDeque<(Instant, Answers)>);

impl RecentAnswers {
    /// Once a second.
    pub(crate) fn sample(&mut self, at: Instant, answers: Answers) {
        self.0.retain(|(then, _)| at.saturating_duration_since(*then) <= SPAN + SAMPLE_EVERY / 2);
        self.0.push_back((at, answers));
    }

    /// Those of the last ten seconds, when the counts are `answers` now.
    pub(crate) fn latest(&self, now: Instant, answers: Answers) -> Answers {
        let is_recent = |then: &Instant| now.saturating_duration_since(*then) <= SPAN + SAMPLE_EVERY / 2;
        let before = self.0.iter().find(|(then, _)| is_recent(then)).map_or(answers, |(_, before)| *before);
        Answers {
            all: answers.all.saturating_sub(before.all),
            made_up: answers.made_up.saturating_sub(before.made_up),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_last_ten_seconds_alone_are_told() {
        let (start, mut recent) = (Instant::now(), RecentAnswers::default());
        let at = |second| start + Duration::from_secs(second);
        // Three a second, of which one is made up until the 20th; then silence.
        for second in 0..=20 {
            recent.sample(at(second), Answers { all: 3 * second, made_up: second });
        }
        let end = Answers { all: 60, made_up: 20 };
        assert_eq!(recent.latest(at(20), end), Answers { all: 30, made_up: 10 });
        assert_eq!(recent.latest(at(25), end), Answers { all: 15, made_up: 5 });
        assert_eq!(recent.latest(at(31), end), Answers::default());
        assert_eq!(RecentAnswers::default().latest(at(0), end), Answers::default());
    }
}
