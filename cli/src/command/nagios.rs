//! `lbctl nagios`.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use super::asking::not_written;
use crate::{
    control::{
        Status,
        client::{Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::nagios::{Level, Report, Thresholds, judge},
};

/// Arguments of `lbctl nagios`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes, as Nagios and its kin read them: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (also for wrong \
                  arguments). Without --backend also: nobody or two nodes hold an address, or this node can't: CRITICAL; what \
                  `lbctl status` calls a problem: at least WARNING."
)]
pub struct NagiosArguments {
    /// WARNING when fewer than PERCENT of a backend's servers are usable
    #[arg(short, long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    warning: u8,
    /// CRITICAL when fewer than PERCENT of a backend's servers are usable; 1 is none at all
    #[arg(short, long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    critical: u8,
    /// WARNING when a frontend has PERCENT of its maxconn or more
    #[arg(long, value_name = "PERCENT", default_value_t = 80, value_parser = clap::value_parser!(u8).range(1..=100))]
    sessions_warning: u8,
    /// CRITICAL when a frontend has PERCENT of its maxconn or more
    #[arg(long, value_name = "PERCENT", default_value_t = 90, value_parser = clap::value_parser!(u8).range(1..=100))]
    sessions_critical: u8,
    /// Look at the servers of this backend alone: not at frontends, addresses and problems; may be given several times
    #[arg(short, long, value_name = "NAME", add = super::completions::backends())]
    backend: Vec<String>,
    /// WARNING when this node is not in this role for each group of addresses
    #[arg(long, value_name = "ROLE", value_parser = ["active", "backup"], conflicts_with = "backend")]
    role: Option<String>,
    /// Wait for the daemon for so many seconds
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    timeout: u64,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb: one line, then more about it, to stdout.
pub fn run(arguments: &NagiosArguments) -> Exit {
    tell(&report(arguments))
}

/// Answers arguments that can't be read: also that is said on stdout, as Nagios shows nothing else.
pub(super) fn misused(error: &clap::Error) -> Exit {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (reason, help) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut report = Report::of(Level::Unknown, &reason.split_whitespace().collect::<Vec<_>>().join(" "));
    report.text.push_str(help.trim_start_matches('\n'));
    tell(&report)
}

fn tell(report: &Report) -> Exit {
    match io::stdout().lock().write_all(report.text.as_bytes()) {
        // Nagios shows nothing then, and must not show that all is well.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            not_written(&error);
            Exit::Of(Level::Unknown.code())
        }
        // Whoever does not read the line still has the code.
        Ok(()) | Err(_) => Exit::Of(report.level.code()),
    }
}

fn report(arguments: &NagiosArguments) -> Report {
    if arguments.critical > arguments.warning {
        return Report::of(Level::Unknown, "--critical is above --warning: fewer servers are worse");
    }
    if arguments.sessions_critical < arguments.sessions_warning {
        return Report::of(Level::Unknown, "--sessions-critical is below --sessions-warning");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Report::of(Level::Unknown, &format!("can't start: {error}")),
    };
    let client = Client::new(&arguments.control);
    let limit = Duration::from_secs(arguments.timeout);
    match runtime.block_on(client.get::<Status>("/v1/status", limit)) {
        Ok(answer) => judge(&answer.value, &arguments.thresholds()),
        // Nobody serves, as far as anybody here can tell.
        Err(error @ (ClientError::NotRunning { .. } | ClientError::Silent { .. })) => {
            Report::of(Level::Critical, &error.to_string())
        }
        Err(error) => Report::of(Level::Unknown, &error.to_string()),
    }
}

impl NagiosArguments {
    fn thresholds(&self) -> Thresholds<'_> {
        Thresholds {
            servers: [self.warning, self.critical],
            sessions: [self.sessions_warning, self.sessions_critical],
            backends: &self.backend,
            role: self.role.as_deref(),
        }
    }
}
