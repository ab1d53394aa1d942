//! `lbctl runner`: the process of `lbctl run` that runs commands.

use std::{
    env,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
};

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
    /// This one runs them; without it, it starts the one that does
    #[arg(long)]
    worker: bool,
}

fn owner(text: &str) -> Result<Owner, std::convert::Infallible> {
    Ok(text.parse().map_or_else(|_| Owner::Name(text.to_owned()), Owner::Id))
}

/// Runs the verb.
pub fn run(arguments: &RunnerArguments) -> Exit {
    let whose = Global { user: arguments.user.clone(), group: arguments.group.clone(), ..Global::default() };
    let worker = |socket: OwnedFd| {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lbctl").args(env::args_os().skip(1)).arg("--worker");
        command.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    runner::main(&arguments.file, &whose, (!arguments.worker).then_some(worker))
}
