//! `lbctl run`.

use std::path::PathBuf;

use crate::{
    config::DEFAULT_FILE,
    daemon::{self, RunOptions},
    exit::Exit,
};

/// Arguments of `lbctl run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It stays in the foreground and logs to stderr; LBCTL_LOG=debug says more. SIGUSR1 stops it like \
                  `lbctl stop`; so do SIGTERM and SIGINT, but a proxy alone (no [vip.*]) ends within 2 s then, whatever \
                  drain_timeout says; a second signal stops it at once. SIGHUP is `lbctl reload`.\n\nExit codes: 0 stopped as asked, 1 failed, 64 usage, 78 bad \
                  configuration."
)]
pub struct RunArguments {
    /// The configuration, the same on every node
    #[arg(default_value = DEFAULT_FILE)]
    file: PathBuf,
    /// Which node of the file this is, where neither its addresses nor its name tell
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The folder of control socket and locks [default: /run/lbctl]
    #[arg(long, value_name = "DIR")]
    runtime_dir: Option<PathBuf>,
    /// The control socket [default: control.sock in the runtime folder]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Write the number of the process to this file once it serves; removed at the end
    #[arg(short, long = "pidfile", value_name = "PATH")]
    pid_file: Option<PathBuf>,
    /// Go to the background, and return once it serves there; it logs to syslog, or to the file that stderr is (2>>FILE)
    #[arg(short = 'D', long)]
    daemon: bool,
    /// Without Landlock and the filter of system calls, to find out whether they are the trouble
    #[arg(long)]
    unconfined: bool,
    /// The process that --daemon starts
    #[arg(long, hide = true)]
    detached: bool,
    /// Take the place of the daemon on stdin
    #[arg(long, hide = true)]
    take_over: bool,
}

/// Runs the verb.
pub fn run(arguments: &RunArguments) -> Exit {
    daemon::run(&RunOptions {
        file: arguments.file.clone(),
        node: arguments.node.clone(),
        runtime_dir: arguments.runtime_dir.clone(),
        control: arguments.control.clone(),
        unconfined: arguments.unconfined,
        pid_file: arguments.pid_file.clone(),
        daemon: arguments.daemon,
        detached: arguments.detached,
        take_over: arguments.take_over,
    })
}
