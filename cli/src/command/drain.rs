//! `lbctl drain` and `lbctl resume`.

use std::path::PathBuf;

use super::{
    asking::{block_on, order},
    cut::cut,
};
use crate::{
    control::{DrainReport, DrainRequest, Ordered, ResumeReport, ResumeRequest, client::DEFAULT_SOCKET},
    exit::Exit,
    output::age::took_milliseconds,
};

/// Arguments of `lbctl drain`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Lets short exchanges finish (at most drain_timeout), gives the addresses to the other node, and takes no part in \
                  the election until `lbctl resume`. The node goes on with its own addresses. A drain outlives a reload and an \
                  upgrade, but no restart.\n\nExit codes: 0 drained, 1 refused (nobody could take over), no daemon or no answer, \
                  64 usage."
)]
pub struct DrainArguments {
    /// Give the addresses up also if nobody is known that could take over
    #[arg(long)]
    force: bool,
    /// Don't let exchanges finish
    #[arg(long)]
    now: bool,
    /// Print JSON: who took what, what was cut
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Arguments of `lbctl resume`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it takes part in the election, 1 refused, no daemon or no answer, 64 usage."
)]
pub struct ResumeArguments {
    /// Print JSON: by whom it was drained
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs `drain`.
pub fn run(arguments: &DrainArguments) -> Exit {
    let request = DrainRequest { force: arguments.force, now: arguments.now };
    block_on(order(&arguments.control, "/v1/drain", &request, arguments.json, drained))
}

/// Runs `resume`.
pub fn resume(arguments: &ResumeArguments) -> Exit {
    block_on(order(&arguments.control, "/v1/resume", &ResumeRequest {}, arguments.json, resumed))
}

fn drained(report: &DrainReport) -> String {
    let node = &report.node;
    let cut = cut(report.cut, report.unanswered);
    let took = took_milliseconds(report.milliseconds);
    let mut lines = vec![match report.groups.as_slice() {
        [] => format!("{node} is drained by {}; it held nothing", report.drained.by),
        _ => format!("{node} is drained after {took}, {cut}"),
    }];
    lines.extend(report.groups.iter().map(|given| format!("{}: {}", given.group, given.outcome)));
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.push("to take part in the election again: lbctl resume".to_owned());
    lines.join("\n")
}

fn resumed(report: &ResumeReport) -> String {
    if let Some(Ordered { what, by, .. }) = &report.called_off {
        return format!("{} goes on as before: the {what} by {by} is called off", report.node);
    }
    match &report.was {
        Some(was) => {
            format!("{} takes part in the election again; it was drained by {}", report.node, was.by)
        }
        None => format!("{} was not drained", report.node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{GivenAway, Timestamp};

    #[test]
    fn the_sentences_say_who_has_the_addresses_and_how_to_come_back() {
        let at = Timestamp::parse("2026-09-21T14:00:00Z").expect("RFC 3339");
        let by_root = Ordered { what: "drain".to_owned(), by: "root".to_owned(), at };
        let mut report = DrainReport {
            node: "lb1".to_owned(),
            milliseconds: 312,
            cut: 1,
            unanswered: 0,
            groups: vec![GivenAway {
                group: "default".to_owned(),
                outcome: "another node has taken it".to_owned(),
            }],
            drained: by_root.clone(),
            warnings: Vec::new(),
        };
        let back = "to take part in the election again: lbctl resume";
        assert_eq!(
            drained(&report),
            format!(
                "lb1 is drained after 312 ms, 1 connection was cut\ndefault: another node has taken it\n{back}"
            )
        );
        report.groups.clear();
        report.warnings = vec!["nobody".to_owned()];
        assert_eq!(
            drained(&report),
            format!("lb1 is drained by root; it held nothing\nwarning: nobody\n{back}")
        );
        let report = ResumeReport { node: "lb1".to_owned(), was: Some(by_root.clone()), called_off: None };
        assert_eq!(resumed(&report), "lb1 takes part in the election again; it was drained by root");
        let mut report = ResumeReport { was: None, ..report };
        assert_eq!(resumed(&report), "lb1 was not drained");
        report.called_off = Some(by_root);
        assert_eq!(resumed(&report), "lb1 goes on as before: the drain by root is called off");
    }
}
