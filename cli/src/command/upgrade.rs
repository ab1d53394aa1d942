//! `lbctl upgrade`.

use std::{path::PathBuf, time::Duration};

use super::{
    asking::{block_on, print, refused},
    reload::MOST_SHOWN,
};
use crate::{
    config::text::duration,
    control::{
        UpgradeReport, UpgradeRequest,
        client::{Answer, Client, DEFAULT_SOCKET},
        lines,
    },
    exit::Exit,
    output::age::took_milliseconds,
};

/// The daemon waits for less than that for each part: one that needs longer hangs, or is none.
const LIMIT: Duration = Duration::from_secs(120);

/// Arguments of `lbctl upgrade`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Starts the program that is installed where the running one was started from, gives it the listening \
                  sockets, what is known of servers and clients, and the speaker, and returns when it is in charge. No \
                  connection is lost and no address moves. The process before ends when its last connection has ended, or \
                  after --limit.\n\nExit codes: 0 another process is in charge, 1 refused, no daemon, or no answer within 2 minutes, 64 usage, 78 the file \
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
        match client.post_within::<UpgradeReport>("/v1/upgrade", &UpgradeRequest { limit_ms }, LIMIT).await {
            Ok(Answer { value, .. }) => print(&value, arguments.json, sentences),
            Err(error) => refused(&error, arguments.json),
        }
    })
}

/// Who is in charge, and what is different in its file.
fn sentences(report: &UpgradeReport) -> String {
    let UpgradeReport { milliseconds, pid, version, version_before, hash, hash_before, changes } = report;
    let took = took_milliseconds(*milliseconds);
    let version = if version == version_before {
        format!("lbctl {version} again")
    } else {
        format!("lbctl {version} after {version_before}")
    };
    let mut said = vec![format!("process {pid} is in charge after {took}: {version}")];
    let short = |hash: &str| hash.get(..6).unwrap_or(hash).to_owned();
    let is_other = hash != hash_before;
    let file = format!("file {}, was {}", short(hash), short(hash_before));
    match changes.as_deref() {
        Some([]) if is_other => said.push(format!("{file}; what it means is the same")),
        None if is_other => said.push(format!("{file}; the program before can't tell what is different")),
        Some([]) | None => {}
        Some(changes) => {
            said.push(file);
            said.extend(lines(changes, MOST_SHOWN).iter().map(|line| format!("  {line}")));
        }
    }
    said.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Change, How};

    #[test]
    fn another_file_is_told_with_what_is_different() {
        let mut report = UpgradeReport {
            milliseconds: 19,
            pid: 4711,
            version: "0.2.0".to_owned(),
            version_before: "0.1.0".to_owned(),
            hash: "77aa0155".to_owned(),
            hash_before: "77aa0155".to_owned(),
            changes: Some(Vec::new()),
        };
        let first = "process 4711 is in charge after 19 ms: lbctl 0.2.0 after 0.1.0";
        assert_eq!(sentences(&report), first);
        report.hash_before = "8f31c2ff".to_owned();
        let same = format!("{first}\nfile 77aa01, was 8f31c2; what it means is the same");
        assert_eq!(sentences(&report), same);
        let added = Change { what: "server app/web3".to_owned(), how: How::Added, keys: Vec::new() };
        report.changes = Some(vec![added]);
        assert_eq!(sentences(&report), format!("{first}\nfile 77aa01, was 8f31c2\n  server app/web3 added"));
        report.changes = None;
        assert!(sentences(&report).ends_with("was 8f31c2; the program before can't tell what is different"));
    }
}
