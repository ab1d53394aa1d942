//! The processes of a node, by the numbers that this process has for them.

use std::fs;

use lbctl::lab::Lab;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number here; inside the lab it has another.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its words, each with a NUL behind it.
    pub command: String,
}

impl Process {
    /// The program that it runs, without its folder.
    #[must_use]
    pub fn program(&self) -> &str {
        let path = self.command.split('\0').next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// Is it `lbctl run`?
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.command.contains("\0run\0")
    }

    /// Is it the speaker of a daemon?
    #[must_use]
    pub fn is_speaker(&self) -> bool {
        self.command.contains("\0speaker\0")
    }

    /// Sends it a signal. One that has ended already is none that has to be told.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.pid), signal);
    }
}

/// Those that run in the network namespace of `node`.
///
/// # Panics
/// The lab is gone.
#[must_use]
pub fn of(lab: &Lab, node: &str) -> Vec<Process> {
    let status = lab.status().unwrap_or_else(|error| panic!("{error:#}"));
    let namespace = status.node(node).unwrap_or_else(|| panic!("no node is called {node}")).network_namespace;
    let link = format!("net:[{namespace}]");
    let all = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let found = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
        if found.as_os_str() != link.as_str() {
            return None;
        }
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        // What has ended and is not taken note of yet is no process any more.
        let is_alive = fields.next()? != "Z";
        let parent = fields.next()?.parse().ok()?;
        is_alive.then_some(Process { pid, parent, command })
    })
    .collect()
}
