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
    limit::Limit,
    wheel::TICK,
    worker::{Worker, WorkerHandle},
};

/// Exchanges younger than this are short.
const SHORT: Duration = Duration::from_secs(1);

/// How long a worker may take to say what it has in flight when time is up.
const ANSWER: Duration = Duration::from_millis(100);

/// For the next request of an idle connection, at the beginning of a drain.
const GRACE: Duration = Duration::from_millis(250);

/// For the last packet of a handshake, once newcomers are dropped.
const SETTLE: Duration = Duration::from_millis(10);

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

/// How many exchanges are in flight, as far as workers answer within `limit`.
pub(crate) async fn exchanges(workers: &[WorkerHandle], limit: Duration) -> usize {
    let counts = workers
        .iter()
        .map(|worker| timeout(limit, worker.run(|worker| worker.registry().busy_since(u64::MAX))));
    join_all(counts).await.into_iter().filter_map(|count| count.ok().flatten()).sum()
}

/// Turns keep-alive off, and closes what is still idle after a moment. Returns when what was in flight at the beginning is over and
/// nothing is older than [`SHORT`], or after `limit`; with the number of exchanges that are still older.
pub(crate) async fn drain(workers: &[WorkerHandle], limit: Duration) -> usize {
    let start = Instant::now();
    let deadline = start + limit;
    let begin = workers.iter().map(|worker| worker.run(|worker| worker.set_draining()));
    let _ = timeout_at(deadline, join_all(begin)).await;
    // A connection that is closed while its next request is on the way costs that request. One more answer, with
    // `Connection: close`, costs nothing; so only those that stay idle are closed.
    let _ = open_after(workers, start + GRACE.min(limit / 4)).await;
    let close = workers.iter().map(|worker| worker.run(|worker| worker.registry().close_served(|_| true)));
    let _ = timeout_at(deadline, join_all(close)).await;
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

/// Ends the connections of listeners that are gone as a drain does: after a moment for a request that is on its way.
pub(crate) async fn close_orphans(workers: &[WorkerHandle]) {
    sleep(GRACE).await;
    let close = workers.iter().map(|worker| {
        worker.run(|worker| {
            let loops = worker.accept_loops();
            worker.registry().close_served(|listener| loops.frontend_of(listener).is_none());
        })
    });
    join_all(close).await;
}

/// Closes what is idle on `addresses` until nothing is left there, or for `limit`; then resets the rest. Returns how many
/// were reset.
pub(crate) async fn leave(workers: &[WorkerHandle], addresses: &[IpAddr], limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    // As in a drain: the next request of an idle connection may be on its way.
    sleep(GRACE.min(limit)).await;
    let left: Arc<[IpAddr]> = addresses.iter().map(IpAddr::to_canonical).collect();
    loop {
        let counts = workers.iter().map(|worker| {
            let left = Arc::clone(&left);
            let count = worker.run(move |worker| worker.registry().leave(&left));
            timeout_at(deadline.max(Instant::now() + ANSWER), count)
        });
        let open: usize = join_all(counts).await.into_iter().filter_map(|count| count.ok().flatten()).sum();
        if open == 0 {
            return 0;
        }
        if Instant::now() >= deadline {
            return reset_connections(workers, addresses, ANSWER).await;
        }
        sleep(LOOK).await;
    }
}

/// Takes a drain and a hold-off back: keep-alive is on, newcomers come in.
pub(crate) async fn stay(workers: &[WorkerHandle]) {
    let orders = workers.iter().map(|worker| {
        worker.run(|worker| {
            worker.end_draining();
            worker.accept_loops().admit_newcomers();
        })
    });
    // One that hangs does so when it goes on.
    let _ = timeout(ANSWER, join_all(orders)).await;
}

/// Exchanges that began before the drain, or are no longer [`SHORT`].
fn old_exchanges(worker: &Worker) -> usize {
    let now = worker.wheel().ticks();
    let short = u64::try_from(SHORT.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
    let began = worker.draining_since().unwrap_or(now);
    worker.registry().busy_since(began.max(now.saturating_sub(short)))
}

/// Newcomers are dropped by the kernel, not refused. Returns when no connection is left, or after `limit`; with the
/// number of those that are left.
pub(crate) async fn hold_off(workers: &[WorkerHandle], limit: Duration) -> usize {
    let deadline = Instant::now() + limit;
    let begin = workers.iter().map(|worker| worker.run(|worker| worker.accept_loops().drop_newcomers()));
    let _ = timeout_at(deadline, join_all(begin)).await;
    // Handshakes that are under way end first, and their requests arrive.
    sleep(SETTLE.min(limit)).await;
    open_after(workers, deadline).await
}

/// Waits until no connection is open, or for `deadline`; returns how many are.
async fn open_after(workers: &[WorkerHandle], deadline: Instant) -> usize {
    loop {
        let answer_by = deadline.max(Instant::now() + ANSWER);
        let counts = workers.iter().map(|worker| {
            let count = worker.run(|worker| {
                worker.accept_loops().accept_queued();
                worker.registry().open()
            });
            timeout_at(answer_by, count)
        });
        let open = join_all(counts).await.into_iter().filter_map(|count| count.ok().flatten()).sum();
        if open == 0 || Instant::now() >= deadline {
            return open;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// Stops accepting, and waits until no connection is left or `limit` has passed.
pub(crate) async fn finish(limits: &[Arc<Limit>], workers: &[WorkerHandle], limit: Duration) {
    let start = Instant::now();
    let deadline = start + limit;
    let orders = workers.iter().map(|worker| {
        worker.run(|worker| {
            worker.set_draining();
            worker.accept_loops().stop();
            worker.registry().close_served(|_| true);
        })
    });
    // Without a limit as well: until then workers take permits to see whether somebody is in a queue, and those would be counted.
    let _ = timeout_at(start + limit.max(ANSWER), join_all(orders)).await;
    // The first request of a new connection may be on its way.
    none_left(limits, start + GRACE.min(limit / 4)).await;
    let close = workers.iter().map(|worker| worker.run(|worker| worker.registry().close_idle()));
    let _ = timeout_at(deadline, join_all(close)).await;
    none_left(limits, deadline).await;
}

/// Stops accepting and leaves what is queued to who has the sockets as well. Connections end after their exchange, and idle
/// ones after one more: one that is closed while its next request is on the way would cost that request. Returns when none
/// is left, or after `limit`.
pub(crate) async fn retire(limits: &[Arc<Limit>], workers: &[WorkerHandle], limit: Duration) {
    let deadline = Instant::now() + limit;
    let orders = workers.iter().map(|worker| {
        worker.run(|worker| {
            worker.retire();
            worker.accept_loops().clear();
        })
    });
    let _ = timeout_at(deadline, join_all(orders)).await;
    none_left(limits, deadline).await;
    let close = workers.iter().map(|worker| worker.run(|worker| worker.registry().close_idle()));
    let _ = timeout(ANSWER, join_all(close)).await;
    none_left(limits, Instant::now() + ANSWER).await;
}

/// How many connections there are.
pub(crate) fn taken(limits: &[Arc<Limit>]) -> u32 {
    limits.iter().map(|limit| limit.taken()).sum()
}

/// Waits until no connection is left, or for `deadline`.
async fn none_left(limits: &[Arc<Limit>], deadline: Instant) {
    while taken(limits) > 0 && Instant::now() < deadline {
        sleep(LOOK).await;
    }
}
