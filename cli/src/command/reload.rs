//! `lbctl reload`.

use std::{path::PathBuf, time::Duration};

use super::{
    asking::{block_on, print, refused},
    cut::not_known,
};
use crate::{
    control::{
        ReloadReport, ReloadRequest,
        client::{Answer, Client, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::{age::took_milliseconds, text::printable_lines},
};

/// Changes that are named; `--json` has all of them.
pub(super) const MOST_SHOWN: usize = 20;

/// A file of thousands of names and maps takes seconds; a daemon that needs longer hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// Arguments of `lbctl reload`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Reads the file that `lbctl run` was given, brings all of it into force or nothing, and returns when all \
                  workers have it. No connection is lost. SIGHUP does the same.\n\nExit codes: 0 in force, 1 refused, no \
                  daemon or no answer within 5 minutes, 64 usage, 78 the file is bad: what `lbctl check` says is on stderr, and nothing has changed."
)]
pub struct ReloadArguments {
    /// Print JSON: what changed, how long it took
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &ReloadArguments) -> Exit {
    block_on(async {
        let client = Client::new(&arguments.control);
        match client.post_within::<ReloadReport>("/v1/reload", &ReloadRequest {}, LIMIT).await {
            Ok(Answer { value, other_version }) => {
                if let Some(version) = other_version {
                    eprintln!(
                        "lbctl: the daemon is version {version}, this is {}",
                        env!("CARGO_PKG_VERSION")
                    );
                }
                eprint!("{}", printable_lines(&value.warnings));
                print(&value, arguments.json, sentences)
            }
            Err(error) => refused(&error, arguments.json),
        }
    })
}

/// How long it took and what is different.
fn sentences(report: &ReloadReport) -> String {
    let digits = |hash: &str| hash.get(..6).unwrap_or(hash).to_owned();
    let took = took_milliseconds(report.milliseconds);
    let (now, before) = (digits(&report.hash), digits(&report.hash_before));
    let mut lines = vec![match (now == before, report.changes.is_empty()) {
        (true, true) => format!("reloaded in {took}: file {now} as before, nothing is different"),
        (true, false) => format!("reloaded in {took}: file {now} as before"),
        (false, true) => format!("reloaded in {took}: file {now}, was {before}; what it means is the same"),
        (false, false) => format!("reloaded in {took}: file {now}, was {before}"),
    }];
    lines.extend(report.lines(MOST_SHOWN).iter().map(|line| format!("  {line}")));
    match report.cut {
        0 => {}
        1 => lines.push("1 connection to an address that is gone was cut".to_owned()),
        n => lines.push(format!("{n} connections to addresses that are gone were cut")),
    }
    lines.extend(not_known(report.unanswered));
    lines.extend(
        report
            .late_workers
            .iter()
            .map(|worker| format!("worker {worker} hangs: it still has the file before, until it goes on")),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Change, How};

    fn report(hash: &str, changes: usize) -> ReloadReport {
        let change = |n| Change { what: format!("server app/web{n}"), how: How::Added, keys: Vec::new() };
        ReloadReport {
            milliseconds: 3,
            hash: hash.to_owned(),
            hash_before: "77aa0155".to_owned(),
            changes: (1..=changes).map(change).collect(),
            ..ReloadReport::default()
        }
    }

    #[test]
    fn what_changed_is_a_line_each() {
        let mut one = report("8f31c2ff", 1);
        assert_eq!(sentences(&one), "reloaded in 3 ms: file 8f31c2, was 77aa01\n  server app/web1 added");
        one.changes[0].how = How::Changed;
        one.changes[0].keys = vec!["maxconn".to_owned(), "weight".to_owned()];
        one.cut = 2;
        one.unanswered = 1;
        one.late_workers = vec![1];
        assert_eq!(
            sentences(&one),
            "reloaded in 3 ms: file 8f31c2, was 77aa01\n  server app/web1 changed (maxconn, weight)\n\
             2 connections to addresses that are gone were cut\n\
             a process before an upgrade does not answer, and what it cut is not known\n\
             worker 1 hangs: it still has the file before, until it goes on"
        );
    }

    #[test]
    fn nothing_new_is_said_and_a_thousand_changes_are_counted() {
        assert_eq!(
            sentences(&report("77aa0155", 0)),
            "reloaded in 3 ms: file 77aa01 as before, nothing is different"
        );
        assert_eq!(
            sentences(&report("8f31c2ff", 0)),
            "reloaded in 3 ms: file 8f31c2, was 77aa01; what it means is the same"
        );
        let thousand = sentences(&report("8f31c2ff", 1000));
        assert_eq!(thousand.lines().count(), 22);
        assert!(thousand.ends_with("  and 980 other changes"), "{thousand}");
    }
}
