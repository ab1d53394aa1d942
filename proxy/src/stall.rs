//! Watches that the workers answer: each is asked again and again, and one that owes an answer for a second is
//! stalled. An idle worker answers; one that hangs in a system call, loops, or is stopped does not. A round is over when all
//! have answered anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{status::Health, worker::WorkerHandle};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(250);

/// From then on an answer is overdue.
const STALLED: Duration = Duration::from_secs(1);

struct Watched {
    answered: Arc<AtomicU64>,
    /// The last answer that belongs to a round that is over.
    counted: u64,
    asked: u64,
    since: Instant,
}

/// Asks the workers for ever and publishes those that owe an answer; counts the `rounds`.
pub(crate) async fn watch(
    workers: Arc<[WorkerHandle]>,
    health: watch::Sender<Health>,
    rounds: Arc<AtomicU64>,
) {
    let mut watched: Vec<_> = workers.iter().map(|_| Watched::new()).collect();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if watched.iter().all(Watched::has_answered_anew) {
            watched.iter_mut().for_each(Watched::count);
            rounds.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        let overdue: Vec<_> =
            workers.iter().zip(&mut watched).map(|(worker, watched)| watched.ask(worker, now)).collect();
        health.send_if_modified(|health| {
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
    }
}

impl Watched {
    fn new() -> Self {
        Self { answered: Arc::default(), counted: 0, asked: 0, since: Instant::now() }
    }

    fn has_answered_anew(&self) -> bool {
        self.answered.load(Ordering::Relaxed) > self.counted
    }

    fn count(&mut self) {
        self.counted = self.answered.load(Ordering::Relaxed);
    }

    /// Asks if no question is open, else tells for how long it has been overdue.
    fn ask(&mut self, worker: &WorkerHandle, now: Instant) -> Option<Duration> {
        if self.answered.load(Ordering::Relaxed) < self.asked {
            return Some(now - self.since).filter(|&waited| waited >= STALLED);
        }
        let (question, answered) = (self.asked + 1, Arc::clone(&self.answered));
        // A full queue is an open question as well, but one that has to be asked again.
        if worker.try_run(move |_| answered.store(question, Ordering::Relaxed)) {
            self.asked = question;
            self.since = now;
            return None;
        }
        Some(now - self.since).filter(|&waited| waited >= STALLED)
    }
}
