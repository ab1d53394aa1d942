//! `lbctl runner`: the process of `lbctl run` that runs commands.

use std::path::PathBuf;

use lb_proxy::config::Owner;

use crate::{config::model::Global, exit::Exit, runner};

/// Arguments of `lbctl runner`. The socket to the daemon is its stdin.
#[derive(Debug, clap::Args)]
pub struct RunnerArguments {
    /// The configuration
    file: PathBuf,
    /// Who runs them
    #[arg(long, value_parser = owner)]
    user: Option<Owner>,
    /// With which group
    #[arg(long, value_parser = owner)]
    group: Option<Owner>,
}

fn owner(text: &str) -> Result<Owner, std::convert::Infallible> {
    Ok(text.parse().map_or_else(|_| Owner::Name(text.to_owned()), Owner::Id))
}

/// Runs the verb.
pub fn run(arguments: &RunnerArguments) -> Exit {
    let whose = Global { user: arguments.user.clone(), group: arguments.group.clone(), ..Global::default() };
    runner::main(&arguments.file, &whose)
}
