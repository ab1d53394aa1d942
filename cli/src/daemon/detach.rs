//! The daemon in the background without a service manager (`lbctl run --daemon`).
//!
//! ```text
//! lbctl run --daemon ──starts──▶ lbctl run --detached    own session, stdin and stdout are nothing
//!   │ waits                        │ reads, binds: what is wrong goes to the terminal
//!   ◀───────── ready ──────────────┤ serves
//!  ends with 0                     └ ... stderr is nothing, and lbctl logs to syslog
//! ```
//! The process is started anew and not forked: nothing of the first one is left in it, and no thread is lost. A stderr that
//! was sent to a file stays, and is the log.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::fd::AsFd,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use lb_proxy::config::LogDestination;
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};

use super::{RunOptions, upgrade::program::Program};
use crate::{config::Config, exit::Exit, log};

/// What the new process says once it serves.
const READY: &str = "ready\n";

/// Starts the daemon and waits until it serves, or ends.
pub(super) fn start(options: &RunOptions) -> Exit {
    if options.file == Path::new("-") {
        eprintln!("lbctl: --daemon needs a file: standard input can't be read again at a reload");
        return Exit::Usage;
    }
    match start_and_wait(options) {
        Ok(Ok(())) => Exit::Fine,
        // It has said why.
        Ok(Err(status)) => match status.code().and_then(|code| u8::try_from(code).ok()) {
            Some(code) if code > 0 => Exit::Of(code),
            _ => {
                eprintln!("lbctl: the daemon has ended before it served: {status}");
                Exit::Failure
            }
        },
        Err(error) => {
            eprintln!("lbctl: can't start the daemon: {error}");
            Exit::Failure
        }
    }
}

fn start_and_wait(options: &RunOptions) -> io::Result<Result<(), ExitStatus>> {
    let (reader, writer) = io::pipe()?;
    let program = Program::find().path().map_err(io::Error::other)?;
    let mut command = Command::new(program);
    command.args(options.arguments()).arg("--detached").current_dir("/");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::from(writer)).spawn()?;
    // Its end of the pipe is the only one then.
    drop(command);
    let mut said = String::new();
    BufReader::new(reader).read_line(&mut said)?;
    if said == READY { Ok(Ok(())) } else { Ok(Err(child.wait()?)) }
}

/// Is stderr something that stays when whoever started the daemon is gone? Then it is the log.
pub(super) fn keeps_stderr() -> bool {
    let file = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|found| found.is_file())
}

/// Lets go of the stderr that this process was started with, where the one that started it reads that (`lbctl upgrade`): later nobody does.
pub(super) fn leave_stderr() -> io::Result<()> {
    if keeps_stderr() { Ok(()) } else { dup2_stderr(nothing()?).map_err(io::Error::from) }
}

/// Why a daemon without a terminal can't have the logs of `config`.
pub(super) fn complaint(config: &Config) -> Option<String> {
    let is_nowhere = |to: &LogDestination| match to {
        LogDestination::Stdout => Some("stdout"),
        LogDestination::Stderr if !keeps_stderr() => Some("stderr"),
        _ => None,
    };
    let found = config.log_targets().find_map(|log| is_nowhere(&log.to))?;
    Some(format!(
        "a log goes to {found}, and with --daemon there is none: let it go to a file or to syslog, or run in the foreground"
    ))
}

/// Who started this process, until it serves.
#[derive(Debug)]
pub(super) struct Waiting {
    ready: File,
    terminal: Option<File>,
}

impl Waiting {
    /// In a session of its own, which no terminal ends.
    pub(super) fn find() -> io::Result<Self> {
        // Fails only for a group leader, which a child is not.
        let _ = setsid();
        let ready = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        dup2_stdout(nothing()?)?;
        Ok(Self { ready, terminal: None })
    }

    /// What this process starts from now on has nothing of the terminal, which would wait for its end. Without descriptors for that
    /// it keeps it.
    pub(super) fn leave_terminal(&mut self) {
        if keeps_stderr() {
            return;
        }
        let own = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        if let (Ok(own), Ok(nothing)) = (own, nothing()) {
            self.terminal = dup2_stderr(nothing).ok().map(|()| own);
        }
    }

    /// Says what is wrong to who waits; a log that is a file has it already.
    pub(super) fn complain(&self, why: &str) {
        if let Some(mut terminal) = self.terminal.as_ref() {
            // Who waited may have gone away.
            let _ = writeln!(terminal, "lbctl: {why}");
        }
    }

    /// The daemon serves.
    pub(super) fn tell(mut self) {
        if self.terminal.is_some() && !log::syslog_listens() {
            self.complain(
                "nobody listens on /dev/log: until a syslog daemon does, nobody sees what lbctl says of itself; to have it in a \
                 file: lbctl run --daemon 2>>FILE",
            );
        }
        let _ = self.ready.write_all(READY.as_bytes());
    }
}

fn nothing() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}
