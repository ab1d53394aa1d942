//! `lbctl switchover`.

use std::{path::PathBuf, time::Duration};

use super::{
    asking::{block_on, order},
    cut::cut,
};
use crate::{
    control::{Moved, SwitchoverReport, SwitchoverRequest, client::DEFAULT_SOCKET},
    exit::Exit,
    output::age::{milliseconds, took_milliseconds},
};

/// Arguments of `lbctl switchover`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asked for on the node that holds the addresses. Lets short exchanges finish (at most drain_timeout), gives the \
                  addresses away, and returns when the new holder has announced them. They stay there, whatever `preempt` says, \
                  until that node degrades or somebody asks again.\n\nExit codes: 0 done (with --dry-run: it would be), 1 \
                  refused (nobody could take over), no daemon or no answer, 2 no such node, 64 usage."
)]
pub struct SwitchoverArguments {
    /// To this node; the other one of a pair by default
    #[arg(long, value_name = "NODE", add = super::completions::peers())]
    to: Option<String>,
    /// Try it also if nobody is known that could take over
    #[arg(long)]
    force: bool,
    /// Don't let exchanges finish
    #[arg(long)]
    now: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON: who took what, the gap, what was cut
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &SwitchoverArguments) -> Exit {
    let request = SwitchoverRequest {
        to: arguments.to.clone(),
        force: arguments.force,
        now: arguments.now,
        dry_run: arguments.dry_run,
    };
    block_on(order(&arguments.control, "/v1/switchover", &request, arguments.json, sentences))
}

fn sentences(report: &SwitchoverReport) -> String {
    let mut lines: Vec<String> = report.groups.iter().map(|moved| line(moved, report.dry_run)).collect();
    if !report.dry_run {
        let cut = cut(report.cut, report.unanswered);
        lines.push(format!("after {}, {cut}", took_milliseconds(report.milliseconds)));
    }
    lines.extend(report.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.join("\n")
}

fn line(moved: &Moved, is_dry: bool) -> String {
    let group = &moved.group;
    match (&moved.to, moved.gap_us.map(Duration::from_micros)) {
        (Some(to), _) if is_dry => format!("{group}: {to} would take it"),
        (None, _) if is_dry => format!("{group}: nobody is known to be ready; it would be tried"),
        (Some(to), Some(gap)) => format!("{group}: {to} holds it, nobody did for {} ms", milliseconds(gap)),
        (Some(to), None) => format!("{group}: {to} holds it"),
        (None, _) => format!("{group}: another node has taken it, and has not said yet that it announced it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentences_say_who_holds_what_and_what_it_cost() {
        let moved = |to: Option<&str>, gap_us| Moved {
            group: "default".to_owned(),
            to: to.map(str::to_owned),
            gap_us,
        };
        let mut report = SwitchoverReport {
            node: "lb1".to_owned(),
            dry_run: false,
            milliseconds: 312,
            cut: 0,
            unanswered: 0,
            groups: vec![moved(Some("lb2"), Some(2_100))],
            warnings: Vec::new(),
        };
        assert_eq!(
            sentences(&report),
            "default: lb2 holds it, nobody did for 2.1 ms\nafter 312 ms, nothing was cut"
        );
        report.groups = vec![moved(None, None)];
        report.cut = 2;
        assert!(sentences(&report).ends_with("after 312 ms, 2 connections were cut"));
        report.dry_run = true;
        assert_eq!(sentences(&report), "default: nobody is known to be ready; it would be tried");
        report.groups = vec![moved(Some("lb2"), None)];
        report.warnings = vec!["lb2 has another file".to_owned()];
        assert_eq!(sentences(&report), "default: lb2 would take it\nwarning: lb2 has another file");
    }
}
