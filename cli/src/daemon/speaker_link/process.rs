//! The process of a speaker: a child of this daemon, or of the one before it.

use std::{
    future::pending,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{process::Child, time::sleep};

/// Between two looks at a process that was killed and is nobody's child here.
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(in crate::daemon) enum SpeakerProcess {
    /// A child.
    Own(Child),
    /// Somebody else's, by a descriptor that never means another process.
    Adopted { pid: u32, process: OwnedFd },
}

impl SpeakerProcess {
    /// The process with this number, whose parent has not waited for it yet.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::daemon) fn adopt(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let process = pidfd_open(number, PidfdFlags::empty())?;
        Ok(Self::Adopted { pid, process })
    }

    /// Its number, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Own(child) => child.id(),
            Self::Adopted { pid, .. } => Some(*pid),
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Own(child) => child.start_kill(),
            Self::Adopted { process, .. } => Ok(pidfd_send_signal(process, Signal::KILL)?),
        }
    }

    /// Waits until it has ended, and takes its remains away; never ends for one that is nobody's child here, whose end its
    /// mutex and its socket tell.
    pub(super) async fn reaped(&mut self) {
        match self {
            Self::Own(child) => drop(child.wait().await),
            Self::Adopted { .. } => pending().await,
        }
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&mut self) {
        match self {
            Self::Own(child) => drop(child.wait().await),
            Self::Adopted { process, .. } => {
                while is_running(process) {
                    sleep(LOOK).await;
                }
            }
        }
    }
}

/// Its descriptor is readable from its end on (pidfd_open(2)).
fn is_running(process: &OwnedFd) -> bool {
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut ended, PollTimeout::ZERO) == Ok(0)
}
