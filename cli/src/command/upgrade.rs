//! `lbctl upgrade`.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use crate::{
    config::text::duration,
    control::{
        UpgradeReport, UpgradeRequest,
        client::{Answer, Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::age::took,
};

/// The status of an answer that says what is wrong with the file.
const BAD_FILE: u16 = 422;

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
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lbctl: can't start: {error}");
            return Exit::Failure;
        }
    };
    let client = Client::new(&arguments.control);
    let limit_ms = u64::try_from(arguments.limit.as_millis()).unwrap_or(u64::MAX);
    match runtime.block_on(client.post::<UpgradeReport>("/v1/upgrade", &UpgradeRequest { limit_ms })) {
        Ok(Answer { value, .. }) => print(&value, arguments.json),
        Err(ClientError::Refused(report)) if report.status == BAD_FILE => {
            eprintln!("{}", report.detail);
            Exit::Configuration
        }
        Err(error) => {
            eprintln!("lbctl: {error}");
            Exit::Failure
        }
    }
}

fn print(report: &UpgradeReport, as_json: bool) -> Exit {
    let text = if as_json {
        serde_json::to_string_pretty(report).map_err(io::Error::other)
    } else {
        Ok(sentence(report))
    };
    match text.and_then(|text| writeln!(io::stdout(), "{text}")) {
        // A reader that went away (`| head`) has seen what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("lbctl: can't write to stdout: {error}");
            Exit::Failure
        }
        Ok(()) | Err(_) => Exit::Fine,
    }
}

fn sentence(report: &UpgradeReport) -> String {
    let UpgradeReport { milliseconds, pid, version, version_before } = report;
    let took = took(Duration::from_millis(*milliseconds));
    let version = if version == version_before {
        format!("lbctl {version} again")
    } else {
        format!("lbctl {version} after {version_before}")
    };
    format!("process {pid} is in charge after {took}: {version}")
}
