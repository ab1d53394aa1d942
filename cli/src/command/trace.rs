//! `lbctl trace`.

use std::path::PathBuf;

use super::{
    asking::{block_on, not_done},
    status::{paint, print},
};
use crate::{
    config::text,
    control::{
        LONGEST, TraceLine, TraceRequest,
        client::{Client, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::{self, text::printable_json},
};

/// Arguments of `lbctl trace`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The values of Authorization, Proxy-Authorization, Cookie and Set-Cookie are not shown, but with --secrets.\n\n\
                  Exit codes: 0 over, also by Ctrl-C; 1 no daemon, no answer or too many traces; 2 no such frontend; 64 usage."
)]
pub struct TraceArguments {
    /// Only exchanges of this frontend
    #[arg(add = super::completions::frontends())]
    frontend: Option<String>,
    /// Only clients in this network or with this address
    #[arg(long, value_name = "NET", value_parser = network)]
    client: Option<String>,
    /// End after N exchanges
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after SECONDS
    #[arg(long, value_name = "SECONDS", default_value_t = LONGEST, value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    seconds: u64,
    /// Show the values of fields that let somebody in, too
    #[arg(long)]
    secrets: bool,
    /// Print JSON: one line for each event
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

fn network(text: &str) -> Result<String, String> {
    text::network(text).map(|network| network.to_string())
}

/// Runs the verb.
pub fn run(arguments: &TraceArguments) -> Exit {
    block_on(async {
        tokio::select! {
            exit = show(arguments) => exit,
            _ = tokio::signal::ctrl_c() => Exit::Fine,
        }
    })
}

async fn show(arguments: &TraceArguments) -> Exit {
    let request = TraceRequest {
        frontend: arguments.frontend.clone(),
        client: arguments.client.clone(),
        count: arguments.count,
        seconds: arguments.seconds,
        secrets: arguments.secrets,
    };
    let mut lines = match Client::new(&arguments.control).lines("/v1/trace", &request).await {
        Ok(lines) => lines,
        Err(error) => return not_done(&error, arguments.json),
    };
    // The first line that is none of ours.
    let mut unreadable: Option<String> = None;
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => {
                eprintln!("lbctl: {}", end(unreadable.as_deref()));
                return Exit::Failure;
            }
            Err(error) => {
                eprintln!("lbctl: {error}");
                return Exit::Failure;
            }
        };
        let event = match serde_json::from_str::<TraceLine>(&line) {
            Ok(event) => event,
            // Of a daemon that is newer than this.
            Err(_) => {
                if arguments.json {
                    print(&(printable_json(&line) + "\n"), Exit::Fine);
                }
                unreadable.get_or_insert(line);
                continue;
            }
        };
        let text = if arguments.json {
            printable_json(&line) + "\n"
        } else {
            output::trace::render(&event, paint())
        };
        if print(&text, Exit::Fine) != Exit::Fine {
            return Exit::Fine;
        }
        if matches!(event, TraceLine::Over { .. }) {
            return Exit::Fine;
        }
    }
}

/// Why there is no more.
fn end(unreadable: Option<&str>) -> String {
    const SHOWN: usize = 80;
    let Some(line) = unreadable else { return "the daemon has ended".to_owned() };
    let shown: String = line.chars().take(SHOWN).collect();
    let more = if shown.len() < line.len() { ".." } else { "" };
    format!(
        "the answer has ended, and some of it is nothing that this lbctl can read: `{}`{more}",
        printable_json(&shown)
    )
}
