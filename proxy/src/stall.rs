//! Watches that the workers answer: each is asked again and again, and one that owes an answer for `stall_timeout`
//! is stalled. An idle worker answers; one that hangs in a system call, loops, or is stopped does not. A round is over when all
//! have answered anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::sleep;

use crate::{health::board::Board, worker::WorkerHandle};

/// Between two questions, in parts of the time after which one is overdue; and the limits of that.
const QUESTIONS: u32 = 10;
const EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));

/// Asks the workers for ever and publishes those that owe an answer; counts the `rounds`.
pub(crate) async fn watch(workers: Arc<[WorkerHandle]>, board: Arc<Board>, rounds: Arc<AtomicU64>) {
    let mut watched: Vec<_> = workers.iter().map(|_| Watched::new(Instant::now())).collect();
    let mut last = Instant::now();
    loop {
        let limit = board.node().config.stall_timeout;
        let every = (limit / QUESTIONS).clamp(EVERY.0, EVERY.1);
        let now = Instant::now();
        // Whatever held up this task may have held up the workers as well: that time is nobody's fault.
        let late = (now - last).saturating_sub(2 * every);
        last = now;
        if watched.iter().all(Watched::has_answered_anew) {
            watched.iter_mut().for_each(Watched::count);
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        let overdue: Vec<_> = workers
            .iter()
            .zip(&mut watched)
            .map(|(worker, watched)| {
                watched.excuse(late);
                watched.ask(now, every, |question, answered| {
                    worker.try_run(move |_| answered.store(question, Ordering::Relaxed))
                });
                watched.overdue(now, limit)
            })
            .collect();
        board.health().send_if_modified(|health| {
            for (index, (before, now)) in health.stalled_workers.iter().zip(&overdue).enumerate() {
                match (before, now) {
                    (None, Some(owed)) => tracing::error!(
                        worker = index,
                        owed = format!("{:.1} s", owed.as_secs_f64()),
                        "worker is stalled"
                    ),
                    (Some(_), None) => tracing::info!(worker = index, "worker answers again"),
                    _ => {}
                }
            }
            let changed = health.stalled_workers != overdue;
            health.stalled_workers = overdue;
            changed
        });
        // Where somebody is overdue before the next question, that is the moment to look.
        let next = watched.iter().map(|watched| watched.since + limit).filter(|at| *at > now).min();
        sleep(next.map_or(every, |at| (at - now).min(every))).await;
    }
}

struct Watched {
    answered: Arc<AtomicU64>,
    /// The last answer that belongs to a round that is over.
    counted: u64,
    asked: u64,
    /// When the last question was asked that has an answer: it was well then.
    since: Instant,
    /// When the last one was asked.
    last_asked: Instant,
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self { answered: Arc::default(), counted: 0, asked: 0, since: now, last_asked: now }
    }

    fn has_answered_anew(&self) -> bool {
        self.answered.load(Ordering::Relaxed) > self.counted
    }

    fn count(&mut self) {
        self.counted = self.answered.load(Ordering::Relaxed);
    }

    fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed) >= self.asked
    }

    fn excuse(&mut self, late: Duration) {
        self.since += late;
        self.last_asked += late;
    }

    /// Asks with `run`, which says whether it could, if no question is open and the last one is old enough.
    fn ask(&mut self, now: Instant, every: Duration, run: impl FnOnce(u64, Arc<AtomicU64>) -> bool) {
        if !self.is_answered() {
            return;
        }
        self.since = self.since.max(self.last_asked);
        // Looks come in between as well.
        if self.asked > 0 && now - self.last_asked < every {
            return;
        }
        // A full queue is an open question as well, but one that has to be asked again.
        if run(self.asked + 1, Arc::clone(&self.answered)) {
            self.asked += 1;
            self.last_asked = now;
        }
    }

    /// For how long it has been silent, if that is longer than `limit`.
    fn overdue(&self, now: Instant, limit: Duration) -> Option<Duration> {
        Some(now - self.since).filter(|silent| *silent >= limit)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);
    const EVERY: Duration = Duration::from_millis(100);

    /// A worker that answers at once but while it is `silent`; when it is found to be stalled, in milliseconds.
    fn found(silent: Range<u64>, ticks: impl Iterator<Item = u64>) -> Option<u64> {
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        let mut watched = Watched::new(begin);
        let mut last = begin;
        let mut asked = 0;
        for tick in ticks {
            let now = at(tick);
            if !silent.contains(&tick) {
                watched.answered.store(asked, Ordering::Relaxed);
            }
            watched.excuse((now - last).saturating_sub(2 * EVERY));
            last = now;
            watched.ask(now, EVERY, |question, answered| {
                asked = question;
                if !silent.contains(&tick) {
                    answered.store(question, Ordering::Relaxed);
                }
                true
            });
            if watched.overdue(now, LIMIT).is_some() {
                return Some(tick);
            }
        }
        None
    }

    #[test]
    fn worker_is_stalled_within_the_limit_of_its_last_breath_and_not_much_sooner() {
        for stops in 1001..1101 {
            let found = found(stops..u64::MAX, (0..3000).step_by(10)).unwrap();
            assert!((stops + 890..=stops + 1000).contains(&found), "stopped at {stops}, found at {found}");
        }
    }

    #[test]
    fn worker_that_answers_is_never_stalled() {
        assert_eq!(found(0..0, (0..10_000).step_by(100)), None);
        assert_eq!(found(901..1700, (0..10_000).step_by(100)), None, "silent for less");
    }

    #[test]
    fn worker_has_not_stalled_because_nobody_asked() {
        // The whole process was stopped for 8 s while a question was open, and the worker answers a moment after the watch runs.
        let ticks = (0..1000).step_by(100).chain((9000..12_000).step_by(100));
        assert_eq!(found(900..9150, ticks), None);
    }

    #[test]
    fn worker_whose_queue_is_full_for_too_long_is_stalled() {
        let begin = Instant::now();
        let mut watched = Watched::new(begin);
        for tick in 0..12 {
            let now = begin + EVERY * tick;
            watched.ask(now, EVERY, |_, _| false);
            assert_eq!(watched.overdue(now, LIMIT).is_some(), tick >= 10, "{tick}");
        }
    }
}
