//! `lbctl server`.

use std::{path::PathBuf, time::Duration};

use super::asking::{block_on, order};
use crate::{
    control::{ServerOrder, ServerReport, ServerRequest, Weight, client::DEFAULT_SOCKET},
    exit::Exit,
    output::{age::took, status::server_word},
};

/// Arguments of `lbctl server`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is ordered goes before the file and outlives a reload and an upgrade, but no restart. `lbctl status` and \
                  `lbctl diff` show it.\n\nExit codes: 0 done, 1 refused or no daemon, 2 no such server, 64 usage."
)]
pub struct ServerArguments {
    /// The server
    #[arg(value_name = "BACKEND/SERVER", add = super::completions::servers())]
    server: String,
    #[command(subcommand)]
    order: Order,
    /// Print JSON: the server before and now
    #[arg(long, global = true)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Order {
    /// Serve as the file says: takes drain and maint back
    Ready,
    /// Serve only clients that had it before (cookie, stick)
    Drain,
    /// Serve nobody; what goes through it is cut where the file says `on_marked_down`
    Maint,
    /// Have another share: 0..256, or 50% of that of the file; 100% takes it back
    Weight {
        /// 0..256, or a share like 50%
        weight: Weight,
    },
    /// Be checked now, whenever its next check is due
    Check {
        /// `now`
        #[arg(value_parser = ["now"], default_value = "now")]
        when: String,
    },
}

/// Runs the verb.
pub fn run(arguments: &ServerArguments) -> Exit {
    let wanted = match &arguments.order {
        Order::Ready => ServerOrder::Ready,
        Order::Drain => ServerOrder::Drain,
        Order::Maint => ServerOrder::Maint,
        Order::Weight { weight } => ServerOrder::Weight(*weight),
        Order::Check { .. } => ServerOrder::Check,
    };
    let is_check = wanted == ServerOrder::Check;
    let request = ServerRequest { server: arguments.server.clone(), order: wanted };
    block_on(order(&arguments.control, "/v1/server", &request, arguments.json, |report: &ServerReport| {
        sentence(report, is_check)
    }))
}

/// How it is now.
fn sentence(report: &ServerReport, is_check: bool) -> String {
    let (before, now) = (&report.before, &report.now);
    let mut text = format!("{}/{}: {}", report.backend, now.name, server_word(now));
    if server_word(before) != server_word(now) {
        text.push_str(&format!(", was {}", server_word(before)));
    }
    if before.weight != now.weight {
        text.push_str(&format!(", weight {}, was {}", now.weight, before.weight));
    }
    if let (true, Some(check)) = (is_check, &now.last_check) {
        let took = took(Duration::from_micros(check.microseconds));
        text.push_str(&format!("; {} in {took}", now.check_text()));
    } else if now.in_flight > 0 {
        text.push_str(&format!("; {} in flight", now.in_flight));
    }
    for note in &report.notes {
        text.push_str(&format!("\nnote: {note}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{control::ServerState, statistics::tests::server as example};

    #[test]
    fn the_sentence_says_how_the_server_is_and_how_it_was() {
        let before = example("web1");
        let mut report = ServerReport {
            backend: "app".to_owned(),
            before: before.clone(),
            now: before,
            notes: Vec::new(),
        };
        assert_eq!(sentence(&report, true), "app/web1: up; L7OK 200 in 1 ms");
        (report.now.state, report.now.weight) = (ServerState::Drain, 0);
        assert_eq!(sentence(&report, false), "app/web1: DRAIN, was up, weight 0, was 10; 3 in flight");
        (report.now.state, report.now.weight, report.now.in_flight) = (ServerState::Maintenance, 10, 0);
        report.notes.push("a note".to_owned());
        assert_eq!(sentence(&report, false), "app/web1: MAINT, was up\nnote: a note");
    }
}
