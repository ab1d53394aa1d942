//! A verb that prints lines until it is ended.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use nix::sys::signal::Signal;

use crate::harness::{Daemon, PATIENCE, lbctl};

/// It, and the lines that it prints.
pub(crate) struct Streaming {
    child: Child,
    pub(crate) lines: Receiver<String>,
}

impl Streaming {
    pub(crate) fn start(daemon: &Daemon, verb: &str, arguments: &[&str]) -> Self {
        let mut command = lbctl();
        command.arg(verb).args(arguments).arg("--control").arg(&daemon.socket);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("piped");
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line).ok())
        });
        Self { child, lines }
    }

    /// The next line.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line")
    }

    /// All that is still to come, and the exit code.
    pub(crate) fn finish(mut self) -> (Vec<String>, Option<i32>) {
        let code = self.child.wait().expect("ended").code();
        (self.lines.iter().collect(), code)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("signalled");
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
