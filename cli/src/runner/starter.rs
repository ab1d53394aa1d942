//! Stands beside the process that runs commands: whatever ends that one, another one has its place.
//!
//! ```text
//! daemon ── Join, a socket ──▶ starter ── the same ──▶ worker      daemon ◀── Run, Ended, on that socket ──▶ worker
//! ```
//! The daemon can't start it anew from within its jail. This process does nothing else, so it has nothing to die of.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::net::UnixDatagram as StdSocket,
    process::{Child, Command},
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};
use tokio::{
    io::Interest,
    net::UnixDatagram,
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{
    clear, deaf,
    protocol::{FromRunner, MESSAGE_MAX, ToRunner},
};
use crate::packets;

/// From one start to the next, at least.
const PAUSE: Duration = Duration::from_millis(200);

/// Who stops a worker (SIGSTOP) for longer has ended it: what it runs waits for nobody, and no tracker of the node says anything.
const STOPPED: Duration = Duration::from_secs(1);

/// The process that runs commands.
struct Worker {
    child: Child,
    socket: UnixDatagram,
}

/// Until the last daemon has closed `home`. `command`: what starts a worker, on a socket that becomes its stdin.
pub(super) async fn keep_one(home: OwnedFd, command: impl Fn(OwnedFd) -> Command) -> io::Result<()> {
    // What a worker leaves behind that dies is ended here.
    prctl::set_child_subreaper(true)?;
    let _deaf = deaf()?;
    let home = socket(home)?;
    let mut worker: Option<Worker> = None;
    let mut not_before = Instant::now();
    let mut changed = signal(SignalKind::child())?;
    let mut look: Option<Instant> = None;
    let mut room = vec![0; MESSAGE_MAX];
    loop {
        let asked = home.async_io(Interest::READABLE, || packets::receive(&home, &mut room));
        let (message, descriptors) = tokio::select! {
            // It says nothing: this is its end.
            () = ended(worker.as_ref()) => {
                end(&mut worker).await;
                continue;
            }
            _ = changed.recv() => {
                let is_stopped = worker.as_ref().is_some_and(Worker::is_stopped);
                look = is_stopped.then(|| Instant::now() + STOPPED);
                continue;
            }
            () = until(look) => {
                look = None;
                if worker.as_ref().is_some_and(Worker::is_stopped) {
                    end(&mut worker).await;
                }
                continue;
            }
            asked = asked => match asked {
                Ok(Some(asked)) => asked,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Ok(None) | Err(_) => break,
            },
        };
        match message {
            ToRunner::Join => {
                for theirs in descriptors.into_iter().take(1) {
                    if worker.as_ref().is_some_and(|worker| worker.joins(&theirs)) {
                        continue;
                    }
                    end(&mut worker).await;
                    sleep_until(not_before).await;
                    not_before = Instant::now() + PAUSE;
                    // Who wanted it sees its end closed, and asks again.
                    worker = Worker::start(&command).ok().filter(|worker| worker.joins(&theirs));
                }
            }
            // A daemon from before there was this process.
            ToRunner::Run { number, .. } => {
                let why = format!("it was started for a newer version; {}", crate::service::restart());
                let _ = packets::send(&home, &FromRunner::Refused { number, why }, &[]);
            }
        }
    }
    if let Some(Worker { mut child, socket }) = worker {
        // It ends by itself, with all that it runs.
        drop(socket);
        let _ = child.wait();
    }
    clear().await;
    Ok(())
}

fn socket(descriptor: OwnedFd) -> io::Result<UnixDatagram> {
    let socket = StdSocket::from(descriptor);
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

async fn ended(worker: Option<&Worker>) {
    match worker {
        Some(Worker { socket, .. }) => {
            let mut room = [0; 1];
            let _ = socket
                .async_io(Interest::READABLE, || packets::receive::<FromRunner>(socket, &mut room))
                .await;
        }
        None => std::future::pending().await,
    }
}

/// It is dead, or as good as that.
async fn end(worker: &mut Option<Worker>) {
    if let Some(Worker { mut child, .. }) = worker.take() {
        let _ = child.kill();
        let _ = child.wait();
        clear().await;
    }
}

impl Worker {
    fn start(command: impl Fn(OwnedFd) -> Command) -> io::Result<Self> {
        let (ours, theirs) = packets::pair()?;
        Ok(Self { socket: socket(ours)?, child: command(theirs).spawn()? })
    }

    /// Not by a debugger, which goes on with it. Where processes are hidden (ProtectProc= of the unit), /proc does not have it: nobody
    /// looks into its memory.
    fn is_stopped(&self) -> bool {
        let Ok(pid) = i32::try_from(self.child.id()) else { return false };
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        matches!(waitid(Id::Pid(Pid::from_raw(pid)), flags), Ok(WaitStatus::Stopped(..)))
    }

    fn joins(&self, theirs: &OwnedFd) -> bool {
        packets::send(&self.socket, &ToRunner::Join, &[theirs.as_fd()]).is_ok()
    }
}
