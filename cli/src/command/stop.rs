//! `lbctl stop`.

use crate::exit::Exit;

/// Arguments of `lbctl stop`.
#[derive(Debug, clap::Args)]
pub struct StopArguments {}

/// Runs the verb.
pub fn run(_arguments: &StopArguments) -> Exit {
    Exit::Failure
}
