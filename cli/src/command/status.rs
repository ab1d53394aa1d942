//! `lbctl status`.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    time::Duration,
};

use super::asking::not_written;
use crate::{
    control::{
        Status,
        client::{Answer, Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::{self, Paint, text::printable_json},
};

/// How long a daemon may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Arguments of `lbctl status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 no problems, 1 no answer, 2 problems (they are the last lines), 64 usage."
)]
pub struct StatusArguments {
    /// Print JSON: the same facts, times in RFC 3339
    #[arg(long)]
    json: bool,
    /// Print again every SECONDS until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    watch: Option<Duration>,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "expected 0.1 to 3600 seconds".to_owned())
}

/// Runs the verb.
pub fn run(arguments: &StatusArguments) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("lbctl: can't start: {error}");
            return Exit::Failure;
        }
    };
    runtime.block_on(show(arguments))
}

async fn show(arguments: &StatusArguments) -> Exit {
    let client = Client::new(&arguments.control);
    let Some(period) = arguments.watch else {
        return match once(&client, arguments.json).await {
            Ok((text, exit)) => print(&text, exit),
            Err(error) => {
                eprintln!("lbctl: {error}");
                Exit::Failure
            }
        };
    };
    loop {
        let text = match once(&client, arguments.json).await {
            Ok((text, _)) => text,
            // It may come back: a restart is what one watches.
            Err(error) if arguments.json => {
                eprintln!("lbctl: {error}");
                String::new()
            }
            Err(error) => format!("lbctl: {error}\n"),
        };
        let clear = io::stdout().is_terminal() && !arguments.json;
        let text = if clear { format!("\x1b[H\x1b[2J{text}") } else { text };
        match write(&text) {
            Ok(()) => {}
            // It has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Fine,
            Err(error) => return not_written(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            _ = tokio::signal::ctrl_c() => return Exit::Fine,
        }
    }
}

async fn once(client: &Client, json: bool) -> Result<(String, Exit), ClientError> {
    let Answer { value: status, other_version } = client.get::<Status>("/v1/status", DEADLINE).await?;
    if let Some(version) = other_version {
        eprintln!(
            "lbctl: the daemon is version {version}, this is {}: restart it to use the new one",
            env!("CARGO_PKG_VERSION")
        );
    }
    let exit = if status.problems.is_empty() { Exit::Fine } else { Exit::Degraded };
    let text = if json {
        let text = serde_json::to_string(&status)
            .map_err(|error| ClientError::Unreadable { version: None, why: error.to_string() })?;
        printable_json(&text) + "\n"
    } else {
        output::status::render(&status, paint())
    };
    Ok((text, exit))
}

/// Colour for a person at a terminal who did not refuse it (no-color.org).
pub(super) fn paint() -> Paint {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if io::stdout().is_terminal() && !refused { Paint::Always } else { Paint::Never }
}

/// Prints and passes `exit` on; a reader that went away (`| head`) is a failure without a word.
pub(super) fn print(text: &str, exit: Exit) -> Exit {
    match write(text) {
        Ok(()) => exit,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Failure,
        Err(error) => not_written(&error),
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
