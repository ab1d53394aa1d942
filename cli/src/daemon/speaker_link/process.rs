//! The process of a speaker: a child of this daemon, or of the one before it.

use std::{future::pending, io, process::ExitStatus};

use tokio::process::Child;

use crate::process::Process;

/// See the module.
#[derive(Debug)]
pub(in crate::daemon) enum SpeakerProcess {
    /// A child.
    Own(Child),
    /// Somebody else's.
    Adopted(Process),
}

impl SpeakerProcess {
    /// The process with this number, whose parent has not waited for it yet.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::daemon) fn adopt(pid: u32) -> io::Result<Self> {
        Process::find(pid).map(Self::Adopted)
    }

    /// Its number, while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Own(child) => child.id(),
            Self::Adopted(process) => Some(process.pid()),
        }
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Own(child) => child.start_kill(),
            Self::Adopted(process) => process.kill(),
        }
    }

    /// Waits until it has ended, and takes its remains away; never ends for one that is nobody's child here, whose end its
    /// mutex and its socket tell.
    pub(super) async fn reaped(&mut self) {
        match self {
            Self::Own(child) => drop(child.wait().await),
            Self::Adopted(_) => pending().await,
        }
    }

    /// Waits until it has ended. How, only its parent learns.
    pub(super) async fn ended(&mut self) -> Option<ExitStatus> {
        match self {
            Self::Own(child) => child.wait().await.ok(),
            Self::Adopted(process) => {
                process.ended().await;
                None
            }
        }
    }
}
