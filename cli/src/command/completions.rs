//! `lbctl completions`, and what the scripts that it prints ask: they call `lbctl` with what is on the line so far
//! (`LBCTL_COMPLETE=bash lbctl -- lbctl server app/w`), so that names are those of the daemon that runs.

mod names;

use std::{env, ffi::OsString};

use clap::{Command, CommandFactory as _};
use clap_complete::{CompleteEnv, Shell, env::Shells};

use super::Arguments;
use crate::exit::Exit;

pub(super) use names::{backends, frontends, peers, proxies, servers};

/// The environment variable with which a script of a shell asks.
const ASKED_BY: &str = "LBCTL_COMPLETE";

/// Arguments of `lbctl completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The packages have them. Without a package, for bash:\n  lbctl completions bash > \
                  /usr/share/bash-completion/completions/lbctl\nThe scripts ask lbctl, which must be in the PATH; names of \
                  servers, backends, frontends and nodes are those of the daemon that runs.\n\nExit codes: 0 printed, 1 not, 64 usage.")]
pub struct CompletionsArguments {
    /// For which one
    shell: Shell,
}

/// Runs the verb.
pub fn run(arguments: &CompletionsArguments) -> Exit {
    let (shells, name) = (Shells::builtins(), arguments.shell.to_string());
    let mut script = Vec::new();
    let written = match shells.completer(&name) {
        Some(shell) => shell.write_registration(ASKED_BY, "lbctl", "lbctl", "lbctl", &mut script),
        None => Ok(()),
    };
    if let Err(error) = written {
        eprintln!("lbctl: can't make the script: {error}");
        return Exit::Failure;
    }
    if arguments.shell == Shell::Zsh {
        // A file of $fpath is run as the function of its name at the first completion, which is to be answered as well.
        script.extend_from_slice(b"\n[ \"$funcstack[1]\" = _lbctl ] && _clap_dynamic_completer_lbctl\n");
    }
    super::print_all(&script)
}

/// Answers a script, and ends the process; returns if no script has asked.
pub(super) fn answer() {
    CompleteEnv::with_factory(|| offered(&Line::typed())).var(ASKED_BY).complete();
}

/// What somebody has typed.
#[derive(Debug, Default)]
struct Line {
    /// Up to the word that is to be completed.
    before: Vec<String>,
    /// What there is of that.
    last: String,
}

impl Line {
    fn typed() -> Self {
        let text = |word: OsString| word.to_string_lossy().into_owned();
        let mut before: Vec<_> = env::args_os().skip_while(|word| word != "--").skip(1).map(text).collect();
        // fish passes the words up to the cursor; the others all of them, and which it is.
        let index = env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
        let index = index.unwrap_or(before.len().saturating_sub(1));
        let last = before.get(index).cloned().unwrap_or_default();
        before.truncate(index);
        Self { before, last }
    }

    /// The value of `--name` in it.
    fn value(&self, name: &str) -> Option<&str> {
        let mut words = self.before.iter();
        while let Some(word) = words.next() {
            let Some(rest) = word.strip_prefix(name) else { continue };
            match rest.strip_prefix('=') {
                Some(value) => return Some(value),
                None if rest.is_empty() => return words.next().map(String::as_str),
                None => {}
            }
        }
        None
    }

    /// Its next word is the server of `lbctl server`: verbs come after that.
    fn wants_server(&self) -> bool {
        let mut words = self.before.iter().skip(1);
        let mut is_server = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--control" => drop(words.next()),
                word if word.starts_with('-') => {}
                "server" if !is_server => is_server = true,
                _ => return false,
            }
        }
        is_server
    }
}

/// What is offered there: options where one is begun, or where there is nothing else.
fn offered(line: &Line) -> Command {
    let mut command = for_people(&Arguments::command());
    if line.wants_server() {
        command = command.mut_subcommand("server", |server| without_verbs(&server));
    }
    if line.last.starts_with('-') { command } else { with_options_last(command) }
}

fn without_verbs(command: &Command) -> Command {
    Command::new("server").args(command.get_arguments().cloned()).disable_help_subcommand(true)
}

/// The engine offers what is hidden if it has found nothing else.
fn with_options_last(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_option = !argument.is_positional();
            argument.hide(is_option)
        })
        .mut_subcommands(with_options_last)
}

/// `command` without what is hidden.
fn for_people(command: &Command) -> Command {
    // It needs names that last, and this process ends once it has printed them.
    let name: &'static str = command.get_name().to_owned().leak();
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(for_people);
    let mut shown = Command::new(name).args(arguments).subcommands(verbs);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned().leak() as &str);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(before: &str, last: &str) -> Line {
        Line { before: before.split(' ').map(str::to_owned).collect(), last: last.to_owned() }
    }

    #[test]
    fn server_is_asked_for_before_its_verbs() {
        for before in [
            "lbctl server",
            "lbctl server --json",
            "lbctl server --control /run/x",
            "lbctl server --control=/run/x",
        ] {
            assert!(line(before, "").wants_server(), "{before}");
        }
        for before in
            ["lbctl", "lbctl frontend", "lbctl server app/web1", "lbctl server --json app/web1 weight"]
        {
            assert!(!line(before, "").wants_server(), "{before}");
        }
    }

    #[test]
    fn daemon_that_is_asked_is_the_one_of_the_line() {
        assert_eq!(line("lbctl server --control /run/x", "").value("--control"), Some("/run/x"));
        assert_eq!(line("lbctl server --control=/run/x --json", "").value("--control"), Some("/run/x"));
        assert_eq!(line("lbctl server --controls /run/x", "").value("--control"), None);
        assert_eq!(line("lbctl server --control", "").value("--control"), None);
    }
}
