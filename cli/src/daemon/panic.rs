//! A panic outside the workers ends the process at once: half a daemon would keep the address and serve nobody, while
//! the speaker resigns for a dead one within a millisecond.
//!
//! A worker's panic is the data plane's own business: it loses a connection or, at worst, a worker, and that is a fault
//! the tracker knows.

use std::{io::Write, panic, thread};

/// What the data plane calls its threads.
const WORKER: &str = "lbctl-worker";

/// Replaces the process's panic hook.
pub(super) fn abort_outside_workers() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if name.starts_with(WORKER) {
            tracing::error!(thread = name, "panic: {info}");
            return;
        }
        // Past the log's queue, of which nothing would be written any more, and without a backtrace, which takes longer
        // than the other node needs to take over. The core dump has it.
        let _ = writeln!(std::io::stderr(), "<2>lbctl: panic in thread {name}: {info}");
        std::process::abort();
    }));
}
