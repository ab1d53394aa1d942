//! A pair of nodes in a lab of its own: what runs on them, and when it is as it was again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lb_tests::{order::other, processes, processes::Process, program};
use lbctl::lab::{BALANCERS, Lab, Options};
use serde_json::Value;

use crate::{
    cases::Case,
    files::{self, System},
};

/// For a pair to be well again: a start, its checks, its hold.
const LIMIT: Duration = Duration::from_secs(60);
const FILE: &str = "/run/keepalived.conf";

/// A pair that is up.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) system: System,
    pub(crate) interval: u32,
    threads: u32,
    /// How much of Keepalived's log is that of an earlier process, by node.
    old: Mutex<BTreeMap<String, usize>>,
}

impl Pair {
    /// Starts it, and waits until both nodes are well.
    ///
    /// # Errors
    /// They don't get so.
    pub(crate) fn start(system: System, case: Case, interval: u32) -> anyhow::Result<Self> {
        // With one worker all of them stand still when it does.
        let threads = if case == Case::Workers { 1 } else { 2 };
        let options = match system {
            System::Lbctl => Options::default().configuration(&files::lbctl(interval, threads, false)),
            System::Keepalived | System::KeepalivedTuned => Options::default().without_daemons(),
        };
        let lab = Lab::up(&options)?;
        let pair = Self { lab, system, interval, threads, old: Mutex::default() };
        pair.restore().context("the pair does not come up")?;
        Ok(pair)
    }

    /// The one holder.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn holder(&self) -> anyhow::Result<String> {
        self.lab.wait_for_holder(LIMIT)
    }

    pub(crate) fn processes(&self, node: &str) -> Vec<Process> {
        processes::of(&self.lab, node)
    }

    /// Starts what does not run, and waits until one node holds the address and the other one could take over at once.
    ///
    /// # Errors
    /// Not within a minute.
    pub(crate) fn restore(&self) -> anyhow::Result<()> {
        match self.system {
            System::Lbctl => {
                for node in BALANCERS {
                    self.lab.heal(node)?;
                }
                self.lab.wait_until_all_ready()?;
                wait("the other node is ready", || {
                    let holder = self.holder()?;
                    let status = self.status(&holder)?;
                    let node = &status["groups"][0]["nodes"][1];
                    Ok(node["state"] == "Backup" && node["ready"] == "yes" && node["silent"] == false)
                })
            }
            System::Keepalived | System::KeepalivedTuned => {
                for node in BALANCERS {
                    self.start_missing(node)?;
                }
                wait("Keepalived is well", || {
                    let holders = self.lab.holders()?;
                    let [holder] = holders.as_slice() else { return Ok(false) };
                    Ok(self.state(holder)?.contains("MASTER")
                        && self.state(other(holder))?.contains("BACKUP"))
                })?;
                // A script that was looked at anew, and the announcements that come five seconds after a move.
                thread::sleep(Duration::from_millis(u64::from(self.interval) * 4 + 500));
                Ok(())
            }
        }
    }

    /// What `lbctl status --json` says.
    pub(crate) fn status(&self, node: &str) -> anyhow::Result<Value> {
        let output = self.lab.exec(node, [program::lbctl().as_str(), "status", "--json"])?;
        Ok(serde_json::from_str(&output.stdout).unwrap_or_default())
    }

    /// Writes the file of `node` again, with an address more or without, and has it reloaded.
    ///
    /// # Errors
    /// It is refused.
    pub(crate) fn reload(&self, node: &str, more: bool) -> anyhow::Result<()> {
        match self.system {
            System::Lbctl => {
                let text = files::lbctl(self.interval, self.threads, more);
                self.lab.write_file(node, "/run/lab.toml", &text)?;
                let output = self.lab.exec(node, [program::lbctl().as_str(), "reload"])?;
                if !output.success() {
                    bail!("{node} does not reload: {}", output.stderr);
                }
            }
            System::Keepalived | System::KeepalivedTuned => {
                let text = files::keepalived(self.system, node, self.interval, more);
                self.lab.write_file(node, FILE, &text)?;
                let all = self.processes(node);
                keepers(&all).for_each(|parent| parent.signal(nix::sys::signal::Signal::SIGHUP));
            }
        }
        Ok(())
    }

    fn start_missing(&self, node: &str) -> anyhow::Result<()> {
        let all = self.processes(node);
        if !all.iter().any(|process| process.program() == "haproxy") {
            self.lab.write_file(node, "/run/haproxy.cfg", &files::haproxy())?;
            let haproxy = program::find("haproxy");
            let words = [haproxy.as_os_str(), "-db".as_ref(), "-f".as_ref(), "/run/haproxy.cfg".as_ref()];
            let _ = self.lab.spawn(node, "haproxy", words)?;
        }
        if keepers(&all).next().is_none() {
            let old = self.lab.log(node, "keepalived").unwrap_or_default().len();
            self.old.lock().unwrap_or_else(PoisonError::into_inner).insert(node.to_owned(), old);
            self.lab.write_file(node, FILE, &files::keepalived(self.system, node, self.interval, false))?;
            let keepalived = program::find("keepalived");
            let keepalived = keepalived.to_str().context("UTF-8")?;
            let words = [
                keepalived,
                "--dont-fork",
                "--log-console",
                "--vrrp",
                "--pid=/run/keepalived.pid",
                "--vrrp_pid=/run/vrrp.pid",
                "--use-file",
                FILE,
            ];
            let _ = self.lab.spawn(node, "keepalived", words)?;
        }
        Ok(())
    }

    /// The last state that the Keepalived of a node has entered.
    fn state(&self, node: &str) -> anyhow::Result<String> {
        let log = self.lab.log(node, "keepalived")?;
        let old =
            self.old.lock().unwrap_or_else(PoisonError::into_inner).get(node).copied().unwrap_or_default();
        let mut lines = log.get(old..).unwrap_or_default().lines();
        Ok(lines.rfind(|line| line.contains("Entering ")).unwrap_or_default().to_owned())
    }
}

/// Keepalived's first process; the one that speaks VRRP is its child.
pub(crate) fn keepers(all: &[Process]) -> impl Iterator<Item = &Process> {
    let ours = |process: &&Process| process.program() == "keepalived";
    all.iter().filter(ours).filter(move |process| {
        let is_child = |other: &Process| other.pid == process.parent && other.program() == "keepalived";
        !all.iter().any(is_child)
    })
}

/// Waits until something is so.
fn wait(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let end = Instant::now() + LIMIT;
    while !is_so()? {
        if Instant::now() >= end {
            bail!("not within {} s: {what}", LIMIT.as_secs());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
