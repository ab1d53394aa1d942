//! `lbctl status`.

use crate::exit::Exit;

/// Arguments of `lbctl status`.
#[derive(Debug, clap::Args)]
pub struct StatusArguments {}

/// Runs the verb.
pub fn run(_arguments: &StatusArguments) -> Exit {
    Exit::Failure
}
