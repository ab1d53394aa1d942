//! `lbctl completions`.

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;

use super::Arguments;
use crate::exit::Exit;

/// Arguments of `lbctl completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The packages have them. Without a package, for bash:\n  lbctl completions bash > \
                  /usr/share/bash-completion/completions/lbctl\n\nExit codes: 0 printed, 1 not, 64 usage.")]
pub struct CompletionsArguments {
    /// For which one
    shell: Shell,
}

/// Runs the verb.
pub fn run(arguments: &CompletionsArguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut for_people(&Arguments::command()), "lbctl", &mut script);
    super::print_all(&script)
}

/// `command` without what is hidden: clap_complete offers that as well.
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
