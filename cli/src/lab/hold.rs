//! Holds one thread of another process still: what a worker that hangs looks like from outside. The kernel lets the
//! thread go when this process ends.

use anyhow::Context as _;
use nix::{
    sys::ptrace,
    unistd::{Pid, pause},
};

/// Arguments of the hidden verb `lbctl lab hold`.
#[derive(Debug, clap::Args)]
pub struct HoldArguments {
    /// Thread id.
    #[arg(long)]
    thread: i32,
}

/// Runs the process; it never ends by itself.
///
/// # Errors
/// The kernel does not let this process trace the thread.
pub fn run(arguments: &HoldArguments) -> anyhow::Result<()> {
    let thread = Pid::from_raw(arguments.thread);
    ptrace::seize(thread, ptrace::Options::empty()).context("cannot trace the thread")?;
    ptrace::interrupt(thread).context("cannot stop the thread")?;
    loop {
        pause();
    }
}
