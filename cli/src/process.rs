//! A process that is nobody's child here, by a descriptor that never means another process.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
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

    /// Its number, while it runs.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.descriptor, Signal::KILL)?)
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
