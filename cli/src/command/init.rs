//! `lbctl init`.

use crate::exit::Exit;

/// Arguments of `lbctl init`.
#[derive(Debug, clap::Args)]
pub struct InitArguments {}

/// Runs the verb.
pub fn run(_arguments: &InitArguments) -> Exit {
    Exit::Failure
}
