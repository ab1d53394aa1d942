//! `lbctl speaker`: the second process of `lbctl run`.

use std::path::PathBuf;

use crate::{exit::Exit, speaker};

/// Arguments of `lbctl speaker`. The socket to the daemon is its stdin, the shared page its stdout.
#[derive(Debug, clap::Args)]
pub struct SpeakerArguments {
    /// Folder of the lock files
    #[arg(long)]
    runtime_dir: PathBuf,
    /// Without Landlock and seccomp
    #[arg(long)]
    unconfined: bool,
}

/// Runs the verb.
pub fn run(arguments: &SpeakerArguments) -> Exit {
    speaker::main(&arguments.runtime_dir, arguments.unconfined)
}
