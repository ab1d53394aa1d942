//! Turns of a worker's loop: at each the runtime asks the kernel what has come to its sockets.

use std::{
    cell::Cell,
    future::Future,
    mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

thread_local! {
    static TURNS: Cell<u64> = const { Cell::new(0) };
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// For so long what the kernel has said is taken for how things are: about as long as what is sent is under way.
const RECENT: Duration = Duration::from_millis(1);

/// The kernel was asked. A thread whose runtime never says so counts no turns.
pub(crate) fn count() {
    TURNS.set(TURNS.get().wrapping_add(1));
    LAST.set(Some(Instant::now()));
}

/// Was the kernel asked after this turn, and just now?
pub(crate) fn was_asked_since(turn: u64) -> bool {
    turn != so_far() && LAST.get().is_some_and(|last| last.elapsed() < RECENT)
}

/// How many there were on this thread.
pub(crate) fn so_far() -> u64 {
    TURNS.get()
}

/// The task that is polled has more to do, and is polled again in the next turn: one that had itself woken would keep the kernel from being
/// asked for as long as it has.
pub(crate) fn go_on(context: &mut Context<'_>) {
    // The first poll registers the task with those that the runtime wakes when it has asked.
    let (Poll::Pending | Poll::Ready(())) = pin!(tokio::task::yield_now()).poll(context);
}

/// Ready when all tasks that have something to do at this moment have done it. What all of a turn have to send goes out in one go then: whom
/// it is sent to finds the next one there when it is done with the first, and need not be woken for each (decision 56).
pub(crate) fn behind_the_others() -> BehindTheOthers {
    behind_the_others_if(true)
}

/// The same, or ready at once.
pub(crate) fn behind_the_others_if(is_waiting: bool) -> BehindTheOthers {
    BehindTheOthers { is_behind: !is_waiting }
}

/// See [`behind_the_others`].
#[derive(Debug)]
pub(crate) struct BehindTheOthers {
    is_behind: bool,
}

impl Future for BehindTheOthers {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if mem::replace(&mut self.is_behind, true) {
            return Poll::Ready(());
        }
        // Tasks run in the order in which they were woken.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
