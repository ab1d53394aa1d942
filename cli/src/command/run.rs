//! `lbctl run`.

use crate::exit::Exit;

/// Arguments of `lbctl run`.
#[derive(Debug, clap::Args)]
pub struct RunArguments {}

/// Runs the verb.
pub fn run(_arguments: &RunArguments) -> Exit {
    Exit::Failure
}
