//! `lbctl stop`.

use std::{path::PathBuf, time::Duration};

use super::{
    asking::{block_on, print, refused},
    cut::cut,
};
use crate::{
    control::{
        StopReport, StopRequest,
        client::{Answer, Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::age::took_milliseconds,
};

/// From the report to the end of the process.
const END: Duration = Duration::from_secs(10);

/// Arguments of `lbctl stop`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lets short exchanges finish (at most drain_timeout), gives the addresses away, and returns when the \
                  daemon has ended.\n\nExit codes: 0 stopped, 1 no daemon or no answer, 64 usage."
)]
pub struct StopArguments {
    /// Don't let exchanges finish
    #[arg(long)]
    now: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &StopArguments) -> Exit {
    block_on(async {
        match stop(arguments).await {
            Ok(report) => print(&report, arguments.json, sentence),
            Err(error) => refused(&error, arguments.json),
        }
    })
}

async fn stop(arguments: &StopArguments) -> Result<StopReport, ClientError> {
    let client = Client::new(&arguments.control);
    let Answer { value, other_version } =
        client.post::<StopReport>("/v1/stop", &StopRequest { now: arguments.now }).await?;
    if let Some(version) = other_version {
        eprintln!("lbctl: the daemon is version {version}, this is {}", env!("CARGO_PKG_VERSION"));
    }
    client.wait_for_the_end(&value, END).await?;
    Ok(value)
}

/// What happened, and what it cost.
fn sentence(report: &StopReport) -> String {
    let cut = cut(report.cut, report.unanswered);
    let groups: String =
        report.groups.iter().map(|given| format!("\n{}: {}", given.group, given.outcome)).collect();
    format!("stopped after {}, {cut}{groups}", took_milliseconds(report.milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::GivenAway;

    #[test]
    fn the_sentence_says_what_was_cut_and_who_took_what() {
        let mut report = StopReport { milliseconds: 1_250, ..StopReport::default() };
        assert_eq!(sentence(&report), "stopped after 1.2 s, nothing was cut");
        report.cut = 3;
        report.groups =
            vec![GivenAway { group: "default".to_owned(), outcome: "another node has taken it".to_owned() }];
        assert_eq!(
            sentence(&report),
            "stopped after 1.2 s, 3 connections were cut\ndefault: another node has taken it"
        );
    }
}
