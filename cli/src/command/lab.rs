//! `lbctl lab`.

use crate::exit::Exit;

/// Arguments of `lbctl lab`.
#[derive(Debug, clap::Args)]
pub struct LabArguments {}

/// Runs the verb.
pub fn run(_arguments: &LabArguments) -> Exit {
    Exit::Failure
}
