//! `lbctl speaker`.

use crate::exit::Exit;

/// Arguments of `lbctl speaker`.
#[derive(Debug, clap::Args)]
pub struct SpeakerArguments {}

/// Runs the verb.
pub fn run(_arguments: &SpeakerArguments) -> Exit {
    Exit::Failure
}
