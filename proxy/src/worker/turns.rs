//! Turns of a worker's loop: at each the runtime asks the kernel what has come to its sockets.

use std::cell::Cell;

thread_local! {
    static TURNS: Cell<u64> = const { Cell::new(0) };
}

/// The kernel was asked. A thread whose runtime never says so counts no turns.
pub(crate) fn count() {
    TURNS.set(TURNS.get().wrapping_add(1));
}

/// How many there were on this thread.
pub(crate) fn so_far() -> u64 {
    TURNS.get()
}
