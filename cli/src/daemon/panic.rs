//! A panic outside the data plane's threads ends the process at once: half a daemon would keep the address and serve nobody, while
//! the speaker resigns for a dead one within a millisecond.
//!
//! A worker's panic is the data plane's own business: it loses a connection or, at worst, a worker, and that is a fault
//! the tracker knows. So is that of a thread that checks passwords: another one takes its place.

use std::{io::Write, panic, thread};

use crate::log;

/// What the data plane calls the threads that it can lose.
const EXPENDABLE: [&str; 2] = ["lbctl-worker", "lbctl-password"];

/// Replaces the process's panic hook.
pub(super) fn abort_outside_workers() {
    panic::set_hook(Box::new(|info| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if is_expendable(name) {
            tracing::error!(thread = name, "panic: {info}");
            return;
        }
        // Past the log's queue, of which nothing would be written any more, and without a backtrace, which takes longer
        // than the other node needs to take over. The core dump has it.
        let words = log::last_words(&format!("panic in thread {name}: {info}"));
        let _ = writeln!(std::io::stderr(), "<2>{words}");
        std::process::abort();
    }));
}

fn is_expendable(thread: &str) -> bool {
    EXPENDABLE.iter().any(|name| thread.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_the_data_plane_replaces_ends_no_daemon() {
        for (thread, expendable) in [
            ("lbctl-worker-0", true),
            ("lbctl-password-3", true),
            ("lbctl-health", false),
            ("main", false),
            ("unnamed", false),
        ] {
            assert_eq!(is_expendable(thread), expendable, "{thread}");
        }
    }
}
