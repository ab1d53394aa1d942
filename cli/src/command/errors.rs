//! `lbctl errors`.

use std::{path::PathBuf, time::Duration};

use super::{
    asking::{block_on, refused},
    status::{paint, print},
};
use crate::{
    config::text,
    control::{
        ErrorsReport,
        client::{Client, ClientError, DEFAULT_SOCKET},
    },
    exit::Exit,
    output::{self, text::printable_json},
};

/// How long a daemon may take to answer: it waits a second for its workers.
const DEADLINE: Duration = Duration::from_secs(4);

/// Arguments of `lbctl errors`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The bytes are as they came, with passwords and cookies that are in them.\n\n\
                  Exit codes: 0 shown (also if there are none), 1 no daemon or no answer, 2 no such frontend or backend, 64 usage.")]
pub struct ErrorsArguments {
    /// Only those of this frontend, or of servers of this backend
    #[arg(add = super::completions::proxies())]
    name: Option<String>,
    /// Print JSON: the same facts
    #[arg(long)]
    json: bool,
    /// The control socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    control: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &ErrorsArguments) -> Exit {
    block_on(async {
        let client = Client::new(&arguments.control);
        let mut report = match ask(&client).await {
            Ok(report) => report,
            Err(error) => return refused(&error, arguments.json),
        };
        if let Some(name) = &arguments.name
            && let Err(why) = keep(&mut report, name)
        {
            eprintln!("lbctl: {why}");
            return Exit::Degraded;
        }
        let text = if arguments.json {
            match serde_json::to_string(&report) {
                Ok(text) => printable_json(&text) + "\n",
                Err(error) => {
                    eprintln!("lbctl: can't write the answer: {error}");
                    return Exit::Failure;
                }
            }
        } else {
            output::errors::render(&report, paint())
        };
        print(&text, Exit::Fine)
    })
}

async fn ask(client: &Client) -> Result<ErrorsReport, ClientError> {
    Ok(client.get::<ErrorsReport>("/v1/errors", DEADLINE).await?.value)
}

/// Leaves those that have to do with `name`. Also one that the file does not have any more may have some.
fn keep(report: &mut ErrorsReport, name: &str) -> Result<(), String> {
    let names: Vec<&str> = report.frontends.iter().chain(&report.backends).map(String::as_str).collect();
    let is_known = names.contains(&name);
    let near = text::nearest(name, names.iter().copied());
    let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    report.messages.retain(|message| message.frontend == name || message.backend.as_deref() == Some(name));
    if is_known || !report.messages.is_empty() {
        return Ok(());
    }
    Err(format!("there is no frontend or backend `{name}`{hint}"))
}
