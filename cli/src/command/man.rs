//! `lbctl man`.

use std::{fs, io, path::PathBuf};

use clap::{Arg, Command, CommandFactory as _};

use super::Arguments;
use crate::exit::Exit;

mod page;

/// Arguments of `lbctl man`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "One page for the program and one for each verb: lbctl.1, lbctl-run.1 and so on. The packages have \
                  them. Without a package: lbctl man /usr/local/share/man/man1\n\nExit codes: 0 written, 1 not, 64 usage."
)]
pub struct ManArguments {
    /// The folder for all pages, which is made; without it the first page is printed
    folder: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &ManArguments) -> Exit {
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let Some(folder) = &arguments.folder else { return super::print_all(page::of(&command).as_bytes()) };
    match fs::create_dir_all(folder).and_then(|()| write(&command, folder)) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            eprintln!("lbctl man: can't write {}: {error}", folder.display());
            Exit::Failure
        }
    }
}

fn write(command: &Command, folder: &std::path::Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write(verb, folder)?;
    }
    fs::write(folder.join(format!("{}.1", page::name(command))), page::of(command))
}

/// `[--to NODE] [--json] FILE`: how the verb is written, without its own name.
fn synopsis(command: &Command) -> String {
    let shown =
        command.get_arguments().filter(|argument| !argument.is_hide_set() && argument.get_id() != "help");
    let (positional, options): (Vec<_>, Vec<_>) = shown.partition(|argument| argument.is_positional());
    let mut words: Vec<_> = options.into_iter().chain(positional).map(argument).collect();
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        words.push("VERB".to_owned());
    }
    words.join(" ")
}

/// In brackets, if it may be left out.
fn argument(argument: &Arg) -> String {
    let values = argument.get_num_args().filter(|values| values.takes_values());
    let name = || {
        let name = argument
            .get_value_names()
            .unwrap_or_default()
            .iter()
            .map(|name| name.as_str())
            .collect::<Vec<_>>();
        let more =
            if values.is_some_and(|values| values.max_values() > name.len().max(1)) { "..." } else { "" };
        name.join(" ") + more
    };
    if argument.is_positional() {
        return optional(!argument.is_required_set(), name());
    }
    let long = argument.get_long().map(|long| format!("--{long}"));
    let mut text = argument
        .get_short()
        .map(|short| format!("-{short}"))
        .into_iter()
        .chain(long)
        .collect::<Vec<_>>()
        .join("|");
    if let Some(values) = values {
        text = format!("{text} {}", optional(values.min_values() == 0, name()));
    }
    optional(!argument.is_required_set(), text)
}

fn optional(is_optional: bool, text: String) -> String {
    if is_optional { format!("[{text}]") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synopsis_has_the_values_of_options_and_what_may_be_left_out() {
        let mut command = Arguments::command();
        command.build();
        let of = |verb: &str| synopsis(command.find_subcommand(verb).unwrap());
        assert_eq!(of("switchover"), "[--to NODE] [--force] [--now] [--dry-run] [--json] [--control PATH]");
        assert_eq!(of("status"), "[--json] [--watch [SECONDS]] [--control PATH]");
        assert_eq!(of("server"), "[--json] [--control PATH] BACKEND/SERVER VERB");
        assert_eq!(of("completions"), "SHELL");
        assert!(
            of("run").ends_with("[-p|--pidfile PATH] [-D|--daemon] [--unconfined] [FILE]"),
            "{}",
            of("run")
        );
    }
}
