//! The processes of a lab. PID 1 inherits every orphan, so one thread reaps whatever ends and keeps the outcome of those
//! that someone asks about.

use std::{
    collections::HashMap,
    io,
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use super::node::Node;

/// How a process ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ended {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal, if one killed it.
    pub signal: Option<i32>,
}

/// All processes that the lab started.
pub(crate) struct Processes {
    /// Those not forgotten; `None` while alive. The lock is held while one is started, so that the reaper can't take a
    /// process before it is in the table, and while one is signalled, so that its id can't belong to another.
    table: Mutex<HashMap<i32, Option<Ended>>>,
    changed: Condvar,
}

impl Processes {
    /// Starts the reaper.
    pub(crate) fn start() -> io::Result<Arc<Self>> {
        let processes = Arc::new(Self { table: Mutex::default(), changed: Condvar::new() });
        let reaper = Arc::clone(&processes);
        thread::Builder::new().name("reaper".to_owned()).spawn(move || reaper.reap())?;
        Ok(processes)
    }

    /// Starts `command` on `node`.
    pub(crate) fn spawn(&self, node: &Node, mut command: Command) -> io::Result<i32> {
        let mut table = self.table();
        let child = node.run(move || command.spawn())??;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        table.insert(pid, None);
        Ok(pid)
    }

    /// Somebody else has started it; it is an orphan, or about to be one.
    pub(crate) fn adopt(&self, pid: i32) {
        self.table().entry(pid).or_insert(None);
    }

    /// Is it alive?
    pub(crate) fn is_alive(&self, pid: i32) -> bool {
        matches!(self.table().get(&pid), Some(None))
    }

    /// Sends a signal to the process, or to its whole group. `false` if it has ended.
    pub(crate) fn signal(&self, pid: i32, signal: Signal, group: bool) -> bool {
        let table = self.table();
        let target = Pid::from_raw(if group { -pid } else { pid });
        matches!(table.get(&pid), Some(None)) && kill(target, signal).is_ok()
    }

    /// Kills what is left of the group of a process, even if the process itself has ended.
    pub(crate) fn kill_group(&self, pid: i32) {
        let _table = self.table();
        let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
    }

    /// Waits for its end, at most for `limit`.
    pub(crate) fn wait(&self, pid: i32, limit: Option<Duration>) -> Option<Ended> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut table = self.table();
        loop {
            match table.get(&pid) {
                Some(Some(ended)) => return Some(*ended),
                Some(None) => {}
                None => return None,
            }
            table = match deadline {
                None => self.changed.wait(table).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now())?;
                    self.changed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Nobody will ask about it again.
    pub(crate) fn forget(&self, pid: i32) {
        self.table().remove(&pid);
    }

    fn reap(&self) {
        loop {
            // Looks first and takes later, under the lock.
            let found = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
            let mut table = self.table();
            let (pid, ended) = match found.as_ref().map(WaitStatus::pid) {
                Ok(Some(pid)) => match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    Ok(WaitStatus::Exited(pid, code)) => (pid, Ended { code: Some(code), signal: None }),
                    Ok(WaitStatus::Signaled(pid, signal, _)) => {
                        (pid, Ended { code: None, signal: Some(signal as i32) })
                    }
                    Ok(_) | Err(_) => continue,
                },
                Err(Errno::ECHILD) => {
                    drop(table);
                    thread::sleep(Duration::from_millis(5));
                    continue;
                }
                Ok(None) | Err(_) => continue,
            };
            if let Some(entry) = table.get_mut(&pid.as_raw()) {
                *entry = Some(ended);
                self.changed.notify_all();
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<i32, Option<Ended>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
