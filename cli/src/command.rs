//! The verbs: one file each, with its arguments, its help and what it does.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Command, CommandFactory as _, Parser, Subcommand};

use crate::{exit::Exit, privileges};

pub mod announce;
mod asking;
pub mod check;
pub mod completions;
mod cut;
pub mod diff;
pub mod doctor;
pub mod drain;
pub mod errors;
pub mod events;
pub mod frontend;
pub mod import;
pub mod init;
pub mod lab;
pub mod log;
pub mod man;
pub mod nagios;
pub mod release;
pub mod reload;
pub mod run;
pub mod runner;
pub mod server;
pub mod speaker;
pub mod status;
pub mod stop;
pub mod switchover;
pub mod top;
pub mod trace;
pub mod upgrade;

/// A pair of load balancers that is one thing.
#[derive(Debug, Parser)]
#[command(name = "lbctl", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check a configuration file: exit 0, or 78 with every error in it
    Check(check::CheckArguments),
    /// Print a commented first configuration file
    Init(init::InitArguments),
    /// Turn files of HAProxy's and Keepalived's into one of lbctl
    Import(import::ImportArguments),
    /// Run this node: the proxy and the speaker
    Run(run::RunArguments),
    /// Show who holds which address and why, and whether everything is healthy
    Status(status::StatusArguments),
    /// Watch the node on the terminal: rates, sessions, errors, servers, who holds the addresses
    Top(top::TopArguments),
    /// Show how what runs differs from the file
    Diff(diff::DiffArguments),
    /// Say what would stop a pair from working on this machine, and what to do about it
    Doctor(doctor::DoctorArguments),
    /// Bring a changed file into force: all of it or nothing, and no connection is lost
    Reload(reload::ReloadArguments),
    /// Let the program that is installed now take over: no connection is lost, and no address moves
    Upgrade(upgrade::UpgradeArguments),
    /// Give the addresses to the other node, which keeps them
    Switchover(switchover::SwitchoverArguments),
    /// Give the addresses to the other node and stay out of the election, until `resume`
    Drain(drain::DrainArguments),
    /// Tell the network once more where the addresses are, from the node that holds them
    Announce(announce::AnnounceArguments),
    /// Take part in the election again after `drain`
    Resume(drain::ResumeArguments),
    /// Finish what is in flight, give the address away, end
    Stop(stop::StopArguments),
    /// Take a server out of service and back while it runs, change its weight, check it now
    Server(server::ServerArguments),
    /// Refuse new connections to a frontend for a while, and take them again
    Frontend(frontend::FrontendArguments),
    /// Show the last requests and responses that were refused as invalid, with the byte that is wrong
    Errors(errors::ErrorsArguments),
    /// Show what has happened to nodes, vips, backends and servers, and what happens
    Events(events::EventsArguments),
    /// Show exchanges as they pass: heads, the server, why that one, how long it took
    Trace(trace::TraceArguments),
    /// Logs: open their files anew after a rotation
    Log(log::LogArguments),
    /// Say in one line if this node is well: a plugin of Nagios, with its exit codes and figures
    Nagios(nagios::NagiosArguments),
    /// Try the pair on this machine: two nodes, two servers and a client in network namespaces
    Lab(lab::LabArguments),
    /// Print completions for a shell
    Completions(completions::CompletionsArguments),
    /// Write the man pages
    Man(man::ManArguments),
    /// Remove addresses that a speaker has left; the packaged unit does it
    #[command(hide = true)]
    Release(release::ReleaseArguments),
    /// The process of `run` that runs commands; not for people
    #[command(hide = true)]
    Runner(runner::RunnerArguments),
    /// The second process of `run`; not for people
    #[command(hide = true)]
    Speaker(speaker::SpeakerArguments),
}

/// Verbs, options and what they take, as the program reads them.
#[must_use]
pub fn grammar() -> Command {
    Arguments::command()
}

/// Runs the program: arguments from the command line, errors to stderr.
pub fn main() -> ExitCode {
    completions::answer();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let is_plugin = std::env::args_os().nth(1).is_some_and(|verb| verb == "nagios");
            if is_plugin && error.use_stderr() {
                return nagios::misused(&error).into();
            }
            // Help and version are not errors; a terminal that went away must not make them one.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Fine }.into();
        }
    };
    let is_of_the_unit = matches!(arguments.verb, Verb::Reload(_) | Verb::Release(_));
    if let Some(error) = is_of_the_unit.then(privileges::stay).and_then(Result::err) {
        eprintln!("error: can't give away the rights that are not needed: {error}");
        return Exit::Failure.into();
    }
    match arguments.verb {
        Verb::Check(arguments) => check::run(&arguments),
        Verb::Init(arguments) => init::run(&arguments),
        Verb::Import(arguments) => import::run(&arguments),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Top(arguments) => top::run(&arguments),
        Verb::Diff(arguments) => diff::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Reload(arguments) => reload::run(&arguments),
        Verb::Upgrade(arguments) => upgrade::run(&arguments),
        Verb::Switchover(arguments) => switchover::run(&arguments),
        Verb::Drain(arguments) => drain::run(&arguments),
        Verb::Announce(arguments) => announce::run(&arguments),
        Verb::Resume(arguments) => drain::resume(&arguments),
        Verb::Stop(arguments) => stop::run(&arguments),
        Verb::Server(arguments) => server::run(&arguments),
        Verb::Frontend(arguments) => frontend::run(&arguments),
        Verb::Errors(arguments) => errors::run(&arguments),
        Verb::Events(arguments) => events::run(&arguments),
        Verb::Trace(arguments) => trace::run(&arguments),
        Verb::Log(arguments) => log::run(&arguments),
        Verb::Nagios(arguments) => nagios::run(&arguments),
        Verb::Lab(arguments) => lab::run(arguments),
        Verb::Completions(arguments) => completions::run(&arguments),
        Verb::Man(arguments) => man::run(&arguments),
        Verb::Release(arguments) => release::run(&arguments),
        Verb::Runner(arguments) => runner::run(&arguments),
        Verb::Speaker(arguments) => speaker::run(&arguments),
    }
    .into()
}

/// Writes what a verb was asked for to standard output.
fn print_all(bytes: &[u8]) -> Exit {
    match io::stdout().write_all(bytes) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            eprintln!("error: can't write to standard output: {error}");
            Exit::Failure
        }
    }
}
