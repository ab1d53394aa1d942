//! Processes that the bench starts: kept on processors of their own, ended with the value that stands for them, and what
//! the kernel says they have used.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::signal::{Signal, kill},
    unistd::{Pid, SysconfVar, sysconf},
};
use serde::{Deserialize, Serialize};

/// Processor time in seconds, of a process and all that it has started.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Cpu {
    /// To the nanosecond.
    pub(crate) all: f64,
    /// What the kernel tells in ticks, 10 ms each: good for shares.
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            all: self.all - earlier.all,
            user: self.user - earlier.user,
            system: self.system - earlier.system,
        }
    }
}

/// Memory in KiB, of a process and all that it has started.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Memory {
    /// Resident; what is shared counts for each process.
    pub(crate) resident: u64,
    /// Proportional: what is shared is divided by those that share it.
    pub(crate) proportional: u64,
}

/// A process; it and all that it has started end with this value.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
}

impl Running {
    /// Starts it on these processors (all if there are none); what it says on stderr goes to `log`, on stdout there as
    /// well, or to whoever asks for its [`Self::pipes`].
    pub(crate) fn start(
        command: &mut Command,
        processors: &[usize],
        log: &Path,
        talks: bool,
    ) -> anyhow::Result<Self> {
        let errors = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        if talks {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        } else {
            command.stdin(Stdio::null()).stdout(errors.try_clone()?);
        }
        command.stderr(errors);
        // A child begins where its parent's thread is; so does every thread that it starts later.
        let here = sched_getaffinity(Pid::from_raw(0))?;
        if !processors.is_empty() {
            let mut set = CpuSet::new();
            for processor in processors {
                set.set(*processor)?;
            }
            sched_setaffinity(Pid::from_raw(0), &set)?;
        }
        let child = command.spawn();
        sched_setaffinity(Pid::from_raw(0), &here)?;
        Ok(Self {
            child: child.with_context(|| format!("cannot start {}", command.get_program().display()))?,
        })
    }

    /// Both ends to talk to one that was started so; once.
    pub(crate) fn pipes(&mut self) -> anyhow::Result<(ChildStdin, ChildStdout)> {
        let pipes = (self.child.stdin.take(), self.child.stdout.take());
        let (Some(input), Some(output)) = pipes else { anyhow::bail!("its pipes are taken") };
        Ok((input, output))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    pub(crate) fn cpu(&self) -> Cpu {
        let hertz = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let mut sum = Cpu::default();
        for pid in family(self.child.id()) {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let (user, system) = ticks(&stat).unwrap_or_default();
            sum.user += user as f64 / hertz;
            sum.system += system as f64 / hertz;
            for thread in threads(pid) {
                let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
                let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
                sum.all += nanoseconds.unwrap_or_default() / 1e9;
            }
        }
        sum
    }

    pub(crate) fn memory(&self) -> Memory {
        let all = family(self.child.id()).into_iter();
        let texts = all.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok());
        texts.fold(Memory::default(), |sum, text| Memory {
            resident: sum.resident + kib(&text, "Rss:"),
            proportional: sum.proportional + kib(&text, "Pss:"),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The youngest last: whoever starts others anew is gone by then.
        for pid in family(self.child.id()) {
            if let Ok(pid) = i32::try_from(pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// A process and all that it has started, itself first.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        next += 1;
        for thread in threads(parent) {
            let children = fs::read_to_string(thread.join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

fn threads(pid: u32) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// User and system time in clock ticks of a line of `/proc/PID/stat`. The name in parentheses may have spaces, and
/// parentheses: fields count from behind the last one.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// What a line of `/proc/PID/smaps_rollup` says.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The processors that this process may use.
pub(crate) fn processors() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|one| set.is_set(*one).unwrap_or(false)).collect()
}

/// Asks until it is so, for at most `limit`.
pub(crate) fn wait_until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + limit;
    while !is_so() {
        if std::time::Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_read_behind_a_name_with_spaces_and_parentheses() {
        let stat = "4711 (a (b) c) S 1 4711 4711 0 -1 4194560 1 2 3 4 250 75 9 9 20 0 1 0 100 200 300";
        assert_eq!(ticks(stat), Some((250, 75)));
        assert_eq!(ticks("4711 (a"), None);
    }

    #[test]
    fn memory_is_read_from_its_line() {
        let text =
            "55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss:    5120 kB\nPss:    2048 kB\nPss_Dirty: 7 kB\n";
        assert_eq!((kib(text, "Rss:"), kib(text, "Pss:"), kib(text, "Swap:")), (5120, 2048, 0));
    }

    #[test]
    fn a_process_counts_with_what_it_has_started_and_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & wait"]);
        let running = Running::start(&mut shell, &[], &folder.path().join("log"), false).unwrap();
        let pid = running.child.id();
        assert!(wait_until(Duration::from_secs(10), || family(pid).len() == 2));
        let sleeper = family(pid)[1];
        assert!(running.memory().proportional > 0 && running.cpu().all > 0.0);
        drop(running);
        let is_gone =
            || fs::read_to_string(format!("/proc/{sleeper}/stat")).map_or(true, |stat| stat.contains(") Z"));
        assert!(wait_until(Duration::from_secs(10), is_gone));
    }
}
