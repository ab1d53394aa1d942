//! What the daemon and the speaker share so that each finds out at once when the other ends: one page of memory.
//!
//! ```text
//! daemon                          page (memfd)                        speaker
//! holder thread ── locks ──▶ mutex of the daemon ◀── waits ── watcher thread
//! watcher thread ─ waits ──▶ mutex of the speaker ◀─ locks ── holder thread
//! link task ────── reads ──▶ heartbeat, advertisements ◀── writes ── driver
//! ```
//!
//! The mutexes are robust: when the thread that holds one dies, the kernel hands it to the waiter and says so. That takes
//! 0.1-0.3 ms, because it happens before the memory and the sockets of the dying process are torn down; a pidfd or the
//! end of a socket needs up to 270 ms for a process with much of both.

mod alive;
mod page;
mod process;

pub use alive::{Alive, End, watch};
pub use page::{GROUPS, Page, Side};
pub use process::{
    as_others, ignore, leave_terminal, may_run_before_others, prefer_over_others, prefer_starter,
    prefer_thread, stay_in_memory,
};
