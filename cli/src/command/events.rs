//! `lbctl events`.

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    asking::{block_on, not_done},
    status::{paint, print},
};
use crate::{
    control::{
        EventLine,
        client::{Client, ClientError, DEFAULT_SOCKET, Lines},
    },
    exit::Exit,
    output::{self, text::printable_json},
};

/// For another daemon to be there after the one that was read from.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts.
const AGAIN: Duration = Duration::from_millis(200);

/// Arguments of `lbctl events`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 over, also by Ctrl-C or because lbctl was stopped; 1 no daemon, no answer or too many readers; 64 usage."
)]
pub struct EventsArguments {
    /// Go on with what happens, until interrupted; also past an upgrade or a restart
    #[arg(long, short)]
    follow: bool,
    /// Begin after the event with this number
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Print JSON: one line for each event, as hooks read it
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &EventsArguments) -> Exit {
    block_on(async {
        tokio::select! {
            exit = show(arguments) => exit,
            _ = tokio::signal::ctrl_c() => Exit::Fine,
        }
    })
}

/// How a stream of lines has ended.
enum End {
    Exit(Exit),
    /// The daemon is gone, and has not said why.
    Gone,
}

async fn show(arguments: &EventsArguments) -> Exit {
    let client = Client::new(&arguments.control);
    let mut after = arguments.after;
    let mut lines = match ask(&client, arguments.follow, after).await {
        Ok(lines) => lines,
        Err(error) => return not_done(&error, arguments.json),
    };
    loop {
        match copy(&mut lines, arguments, &mut after).await {
            End::Exit(exit) => return exit,
            End::Gone if !arguments.follow => {
                eprintln!("lbctl: the daemon has ended");
                return Exit::Failure;
            }
            End::Gone => {}
        }
        // An upgrade: another process answers by now, or will in a moment.
        let end = Instant::now() + PATIENCE;
        lines = loop {
            match ask(&client, true, after).await {
                Ok(lines) => break lines,
                Err(error) if Instant::now() >= end => return not_done(&error, arguments.json),
                Err(_) => sleep(AGAIN).await,
            }
        };
    }
}

async fn ask(client: &Client, follow: bool, after: Option<u64>) -> Result<Lines, ClientError> {
    let after = after.map(|after| format!("after={after}"));
    let query: Vec<_> = follow.then(|| "follow=true".to_owned()).into_iter().chain(after).collect();
    client.read_lines(&format!("/v1/events?{}", query.join("&"))).await
}

/// Prints them until they end; `after` is the number of the last one.
async fn copy(lines: &mut Lines, arguments: &EventsArguments, after: &mut Option<u64>) -> End {
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return End::Gone,
            Err(error) => {
                eprintln!("lbctl: {error}");
                return End::Exit(Exit::Failure);
            }
        };
        // One that can't be read is of a daemon that is newer than this.
        let event = serde_json::from_str::<EventLine>(&line).ok();
        match &event {
            Some(EventLine::Event(event)) => *after = Some(event.number),
            Some(EventLine::Over { .. }) if !arguments.follow => return End::Exit(Exit::Fine),
            Some(EventLine::Lost { .. } | EventLine::Over { .. }) | None => {}
        }
        let text = match &event {
            _ if arguments.json => printable_json(&line) + "\n",
            Some(event) => output::events::render(event, paint()),
            None => continue,
        };
        if print(&text, Exit::Fine) != Exit::Fine || matches!(event, Some(EventLine::Over { .. })) {
            return End::Exit(Exit::Fine);
        }
    }
}
