//! A process that is nobody's child here, by a descriptor that never means another process.

use std::{
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::Path,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::sleep;

/// Between two looks at one that is to end.
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    descriptor: OwnedFd,
}

impl Process {
    /// The process with this number, whose parent has not waited for it yet.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, descriptor: pidfd_open(number, PidfdFlags::empty())? })
    }

    /// The one with this number in the pid namespace with this inode, as far as this process sees it.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find_in(namespace: u64, pid: u32) -> io::Result<Self> {
        if pid_namespace(Path::new("/proc/self")) == Some(namespace) {
            return Self::find(pid);
        }
        // Of a namespace below its own it sees the processes, under other numbers.
        let is_it = |process: &Path| {
            innermost_number(process) == Some(pid) && pid_namespace(process) == Some(namespace)
        };
        for entry in fs::read_dir("/proc")?.flatten() {
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|_| is_it(&entry.path())) {
                return Self::find(number);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// Its number, while it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.descriptor, signal)?)
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        while self.is_running() {
            sleep(LOOK).await;
        }
    }

    /// Its descriptor is readable from its end on (pidfd_open(2)).
    fn is_running(&self) -> bool {
        let mut ended = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, PollTimeout::ZERO) == Ok(0)
    }
}

/// The inode of the pid namespace of the process in this folder of /proc, if this process may see it.
pub(crate) fn pid_namespace(process: &Path) -> Option<u64> {
    fs::metadata(process.join("ns/pid")).ok().map(|found| found.ino())
}

/// The process's number in its own pid namespace.
fn innermost_number(process: &Path) -> Option<u32> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().next_back()?.parse().ok()
}
