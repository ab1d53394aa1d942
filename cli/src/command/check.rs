//! `lbctl check`.

use crate::exit::Exit;

/// Arguments of `lbctl check`.
#[derive(Debug, clap::Args)]
pub struct CheckArguments {}

/// Runs the verb.
pub fn run(_arguments: &CheckArguments) -> Exit {
    Exit::Failure
}
