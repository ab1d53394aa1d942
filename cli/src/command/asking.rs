//! What verbs that ask the daemon have in common.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    control::client::{Answer, Client, ClientError},
    exit::Exit,
    output::text::{printable_json, printable_lines},
};

/// The status of an answer that says what is wrong with the file.
const BAD_FILE: u16 = 422;

/// Does `work` on a runtime for it.
pub(super) fn block_on(work: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("lbctl: can't start: {error}");
            Exit::Failure
        }
    }
}

/// Says why the daemon does not do what reads the file: what `lbctl check` prints, or a sentence. Whoever wants JSON gets that as
/// well, of a refusal.
pub(super) fn refused(error: &ClientError, as_json: bool) -> Exit {
    print_refusal(error, as_json);
    match error {
        ClientError::Refused(report) if report.status == BAD_FILE => {
            eprintln!("{}", report.detail);
            Exit::Configuration
        }
        error => {
            eprintln!("lbctl: {error}");
            Exit::Failure
        }
    }
}

/// The status of an answer about something that is not there.
const MISSING: u16 = 404;

/// Gives the daemon an order and prints what came of it.
pub(super) async fn order<T: Serialize + DeserializeOwned>(
    control: &Path,
    path: &str,
    request: &impl Serialize,
    as_json: bool,
    sentences: impl FnOnce(&T) -> String,
) -> Exit {
    match Client::new(control).post::<T>(path, request).await {
        Ok(Answer { value, other_version }) => {
            if let Some(version) = other_version {
                eprintln!("lbctl: the daemon is version {version}, this is {}", env!("CARGO_PKG_VERSION"));
            }
            print(&value, as_json, sentences)
        }
        Err(error) => not_done(&error, as_json),
    }
}

/// Says why the daemon does not do what is about one of its things, which may not be there.
pub(super) fn not_done(error: &ClientError, as_json: bool) -> Exit {
    match error {
        ClientError::Refused(report) if report.status == MISSING => {
            print_refusal(error, as_json);
            eprintln!("lbctl: {}", report.detail);
            Exit::Degraded
        }
        error => refused(error, as_json),
    }
}

fn print_refusal(error: &ClientError, as_json: bool) {
    if let (ClientError::Refused(report), true) = (error, as_json) {
        print(report, true, |_| String::new());
    }
}

/// Prints a report as JSON or in `sentences`.
pub(super) fn print<T: Serialize>(report: &T, as_json: bool, sentences: impl FnOnce(&T) -> String) -> Exit {
    let text = if as_json {
        match serde_json::to_string_pretty(report) {
            Ok(text) => text.lines().map(printable_json).collect::<Vec<_>>().join("\n"),
            Err(error) => {
                eprintln!("lbctl: {error}");
                return Exit::Failure;
            }
        }
    } else {
        printable_lines(&sentences(report))
    };
    say(&text)
}

/// Prints a line or more. A disk that is full is a failure; a reader that went away (`| head`) has seen what it wanted.
pub(super) fn say(text: &str) -> Exit {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => not_written(&error),
        Ok(()) | Err(_) => Exit::Fine,
    }
}

/// Says that what was asked for is not all on stdout, although what was ordered is done.
pub(super) fn not_written(error: &io::Error) -> Exit {
    eprintln!("lbctl: can't write to stdout: {error}");
    Exit::Failure
}
