//! `lbctl log`.

use std::path::PathBuf;

use super::asking::{block_on, print, refused};
use crate::{
    control::{
        NotOpened, ReopenReport,
        client::{Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::text::printable,
};

/// Arguments of `lbctl log`.
#[derive(Debug, clap::Args)]
pub struct LogArguments {
    #[command(subcommand)]
    verb: LogVerb,
}

#[derive(Debug, clap::Subcommand)]
enum LogVerb {
    /// Open the files of logs anew, by their names: for logrotate, after it has moved them away
    #[command(
        after_help = "SIGUSR2 to the daemon does the same.\n\nExit codes: 0 opened, 1 one can't be opened, no daemon or no answer, 64 usage."
    )]
    Reopen {
        /// Print the report as JSON
        #[arg(long)]
        json: bool,
        /// The control socket of the daemon
        #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
        control: PathBuf,
    },
}

/// Runs the verb.
pub fn run(arguments: &LogArguments) -> Exit {
    let LogVerb::Reopen { json, control } = &arguments.verb;
    block_on(async {
        match reopen(&Client::new(control)).await {
            Ok(report) => {
                let said = if *json || !report.files.is_empty() || report.failed.is_empty() {
                    print(&report, *json, sentence)
                } else {
                    Exit::Fine
                };
                for NotOpened { file, why } in &report.failed {
                    let what = printable(&format!("{file} can't be opened: {why}"));
                    eprintln!("lbctl: {what}; its lines wait, and lbctl tries again");
                }
                if report.failed.is_empty() { said } else { Exit::Failure }
            }
            Err(error) => refused(&error, *json),
        }
    })
}

async fn reopen(client: &Client) -> Result<ReopenReport, ClientError> {
    Ok(client.post("/v1/log/reopen", &()).await?.value)
}

fn sentence(report: &ReopenReport) -> String {
    match report.files.as_slice() {
        [] => "no log goes to a file".to_owned(),
        files => format!("opened anew: {}", files.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_named() {
        let said = |files: &[&str]| {
            let files = files.iter().map(|&file| file.to_owned()).collect();
            sentence(&ReopenReport { files, failed: Vec::new() })
        };
        assert_eq!(said(&[]), "no log goes to a file");
        assert_eq!(said(&["/var/log/a", "/var/log/b"]), "opened anew: /var/log/a, /var/log/b");
    }
}
