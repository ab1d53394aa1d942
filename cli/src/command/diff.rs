//! `lbctl diff`.

use std::{path::PathBuf, time::Duration};

use super::asking::{block_on, print, refused};
use crate::{
    control::{
        DiffReport,
        client::{Client, DEFAULT_SOCKET},
    },
    exit::Exit,
};

/// A file of ten thousand servers takes its time.
const DEADLINE: Duration = Duration::from_secs(30);

/// Arguments of `lbctl diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Shows what a reload would change, and what was ordered while the daemon runs (lbctl server, lbctl frontend). \
                  Changes nothing.\n\nExit codes, as those of diff: 0 no difference, 1 differences, 2 no daemon or no answer, \
                  64 usage, 78 the file is bad: what `lbctl check` says is on stderr."
)]
pub struct DiffArguments {
    /// Print JSON: the same facts
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &DiffArguments) -> Exit {
    block_on(async {
        match Client::new(&arguments.control).get::<DiffReport>("/v1/diff", DEADLINE).await {
            Ok(answer) => match print(&answer.value, arguments.json, sentences) {
                Exit::Fine if answer.value.is_none() => Exit::Fine,
                Exit::Fine => Exit::Of(1),
                _ => Exit::Of(2),
            },
            Err(error) => match refused(&error, arguments.json) {
                Exit::Failure => Exit::Of(2),
                exit => exit,
            },
        }
    })
}

/// What is different, a line each.
fn sentences(report: &DiffReport) -> String {
    let digits = |hash: &str| hash.get(..6).unwrap_or(hash).to_owned();
    let (now, file) = (digits(&report.hash), digits(&report.hash_of_file));
    let mut lines = Vec::new();
    match (now == file, report.changes.is_empty()) {
        (true, true) => lines.push(format!("file {file} is what runs")),
        (false, true) => lines.push(format!("file {file} means the same as {now}, which runs")),
        (_, false) => {
            lines.push(format!("file {file} is not what runs ({now}); lbctl reload would change:"));
            lines.extend(report.changes.iter().map(|change| format!("  {change}")));
        }
    }
    if let Some(why) = &report.refused {
        lines.push(format!("  but it would be refused: {why}"));
    }
    if !report.orders.is_empty() {
        lines.push("ordered while it runs:".to_owned());
        lines.extend(report.orders.iter().map(|order| format!("  {}", order.sentence(report.at))));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Change, How, InForce, Ordered, Timestamp};

    fn time(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("RFC 3339")
    }

    #[test]
    fn each_difference_is_a_line() {
        let mut report = DiffReport {
            at: time("2026-09-21T14:03:00Z"),
            path: "lb.toml".to_owned(),
            hash: "8f31c2ff".to_owned(),
            hash_of_file: "8f31c2ff".to_owned(),
            changes: Vec::new(),
            refused: None,
            orders: Vec::new(),
        };
        assert!(report.is_none());
        assert_eq!(sentences(&report), "file 8f31c2 is what runs");
        report.hash_of_file = "77aa0155".to_owned();
        assert_eq!(sentences(&report), "file 77aa01 means the same as 8f31c2, which runs");
        report.changes =
            vec![Change { what: "server app/web3".to_owned(), how: How::Added, keys: Vec::new() }];
        report.refused = Some("threads".to_owned());
        let ordered =
            Ordered { what: "drain".to_owned(), by: "root".to_owned(), at: time("2026-09-21T14:00:00Z") };
        let back = "lbctl server app/web1 ready".to_owned();
        report.orders = vec![InForce { of: "app/web1".to_owned(), ordered, back }];
        assert!(!report.is_none());
        assert_eq!(
            sentences(&report),
            "file 77aa01 is not what runs (8f31c2); lbctl reload would change:\n  server app/web3 added\n  \
             but it would be refused: threads\nordered while it runs:\n  \
             app/web1 has `drain` by root for 3 m; to take it back: lbctl server app/web1 ready"
        );
    }
}
