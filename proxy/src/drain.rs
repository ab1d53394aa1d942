//! Taking traffic away: reset what is on an address, drain, stop.

use std::{
    net::IpAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{
    node::Node,
    wheel::TICK,
    worker::{Worker, WorkerHandle},
};

/// Exchanges younger than this are short.
const SHORT: Duration = Duration::from_secs(1);

/// How long a worker may take to say what it has in flight when time is up.
const ANSWER: Duration = Duration::from_millis(100);

/// Between two looks at what is still in flight.
const LOOK: Duration = Duration::from_millis(10);

/// Resets every client connection on `addresses`; returns how many within `limit`.
pub(crate) async fn reset_connections(
    workers: &[WorkerHandle],
    addresses: &[IpAddr],
    limit: Duration,
) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let addresses: Arc<[IpAddr]> = addresses.iter().map(IpAddr::to_canonical).collect();
    let orders = workers.iter().map(|worker| {
        let (count, addresses) = (Arc::clone(&count), Arc::clone(&addresses));
        async move {
            let reset = move |worker: &Rc<Worker>| {
                // What the kernel has accepted for us belongs to us as well.
                worker.accept_loops().accept_queued();
                worker.registry().reset(&addresses, &count)
            };
            if let Some(done) = worker.run(reset).await {
                // The sender is dropped, or sends, when the last connection of the round is closed.
                let _ = done.await;
            }
        }
    });
    // All workers at once: one that is stalled must not hold the others up.
    let _ = timeout(limit, join_all(orders)).await;
    count.load(Ordering::Relaxed)
}

/// Turns keep-alive off and closes idle connections. Returns when what was in flight at the beginning is over and
/// nothing is older than [`SHORT`], or after `limit`; with the number of exchanges that are still older.
pub(crate) async fn drain(workers: &[WorkerHandle], limit: Duration) -> usize {
    let start = Instant::now();
    let deadline = start + limit;
    let begin = workers.iter().map(|worker| {
        worker.run(|worker| {
            worker.set_draining();
            worker.registry().close_idle();
        })
    });
    let _ = timeout_at(deadline, join_all(begin)).await;
    let mut left = vec![0; workers.len()];
    loop {
        let answer_by = deadline.max(Instant::now() + ANSWER);
        let counts =
            workers.iter().map(|worker| timeout_at(answer_by, worker.run(|worker| old_exchanges(worker))));
        for (left, count) in left.iter_mut().zip(join_all(counts).await) {
            // A worker that does not answer has as many as before; they are reset later like all else.
            *left = count.ok().flatten().unwrap_or(*left);
        }
        let left = left.iter().sum();
        if left == 0 || Instant::now() >= deadline {
            return left;
        }
        sleep(LOOK).await;
    }
}

/// Exchanges that began before the drain, or are no longer [`SHORT`].
fn old_exchanges(worker: &Worker) -> usize {
    let now = worker.wheel().ticks();
    let short = u64::try_from(SHORT.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
    let began = worker.draining_since().unwrap_or(now);
    worker.registry().busy_since(began.max(now.saturating_sub(short)))
}

/// Stops accepting, and waits until no connection is left or `limit` has passed.
pub(crate) async fn finish(node: &Node, workers: &[WorkerHandle], limit: Duration) {
    let deadline = Instant::now() + limit;
    let orders = workers.iter().map(|worker| {
        worker.run(|worker| {
            worker.set_draining();
            worker.accept_loops().stop();
            worker.registry().close_idle();
        })
    });
    let _ = timeout_at(deadline, join_all(orders)).await;
    while node.connections.taken() > 0 && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}
