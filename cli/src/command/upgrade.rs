//! `lbctl upgrade`.

use std::{path::PathBuf, time::Duration};

use super::asking::{block_on, print, refused};
use crate::{
    config::text::duration,
    control::{
        UpgradeReport, UpgradeRequest,
        client::{Answer, Client, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::age::took_milliseconds,
};

/// Arguments of `lbctl upgrade`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Starts the program that is installed where the running one was started from, gives it the listening \
                  sockets, what is known of servers and clients, and the speaker, and returns when it is in charge. No \
                  connection is lost and no address moves. The process before ends when its last connection has ended, or \
                  after --limit.\n\nExit codes: 0 another process is in charge, 1 refused or no daemon, 64 usage, 78 the file \
                  is bad: what `lbctl check` says is on stderr. In all but the first, nothing has changed."
)]
pub struct UpgradeArguments {
    /// How long connections may go on in the process before
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = duration)]
    limit: Duration,
    /// Print JSON: process number, versions, how long it took
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &UpgradeArguments) -> Exit {
    block_on(async {
        let limit_ms = u64::try_from(arguments.limit.as_millis()).unwrap_or(u64::MAX);
        let client = Client::new(&arguments.control);
        match client.post::<UpgradeReport>("/v1/upgrade", &UpgradeRequest { limit_ms }).await {
            Ok(Answer { value, .. }) => print(&value, arguments.json, sentence),
            Err(error) => refused(&error),
        }
    })
}

fn sentence(report: &UpgradeReport) -> String {
    let UpgradeReport { milliseconds, pid, version, version_before } = report;
    let took = took_milliseconds(*milliseconds);
    let version = if version == version_before {
        format!("lbctl {version} again")
    } else {
        format!("lbctl {version} after {version_before}")
    };
    format!("process {pid} is in charge after {took}: {version}")
}
