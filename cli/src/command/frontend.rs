//! `lbctl frontend`.

use std::path::PathBuf;

use super::asking::{block_on, order};
use crate::{
    control::{FrontendOrder, FrontendReport, FrontendRequest, client::DEFAULT_SOCKET},
    exit::Exit,
    output::text::thousands,
};

/// Arguments of `lbctl frontend`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Connections that are open go on. A pause outlives a reload and an upgrade, but no restart. SIGTTOU pauses all \
                  frontends, SIGTTIN resumes all.\n\nExit codes: 0 done, 1 refused or no daemon, 2 no such frontend, 64 usage."
)]
pub struct FrontendArguments {
    /// The frontend (or `[listen.*]`)
    #[arg(value_name = "NAME", add = super::completions::frontends())]
    frontend: String,
    /// pause: refuse new connections; resume: take them again
    order: Order,
    /// Print JSON: the frontend as it is now
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Order {
    Pause,
    Resume,
}

/// Runs the verb.
pub fn run(arguments: &FrontendArguments) -> Exit {
    let wanted = match arguments.order {
        Order::Pause => FrontendOrder::Pause,
        Order::Resume => FrontendOrder::Resume,
    };
    let request = FrontendRequest { frontend: arguments.frontend.clone(), order: wanted };
    block_on(order(&arguments.control, "/v1/frontend", &request, arguments.json, sentence))
}

/// How it is now.
fn sentence(report: &FrontendReport) -> String {
    let now = &report.now;
    let connections = match now.connections {
        0 => "no connection is open".to_owned(),
        1 => "1 connection goes on".to_owned(),
        n => format!("{} connections go on", thousands(n)),
    };
    let listens = now.binds.iter().map(|bind| bind.label.as_str()).collect::<Vec<_>>().join(", ");
    let name = &now.name;
    match (&now.paused, report.was_paused) {
        (Some(_), false) => format!("{name}: paused, new connections are refused; {connections}"),
        (Some(paused), true) => format!("{name}: is paused already, by {}; {connections}", paused.by),
        (None, true) => format!("{name}: listens again on {listens}"),
        (None, false) => format!("{name}: was not paused; it listens on {listens}"),
    }
}
