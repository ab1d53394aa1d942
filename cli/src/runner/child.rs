//! One command: started without a shell, read, ended.

use std::{
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::{
        signal::{Signal, kill, killpg},
        wait::WaitStatus,
    },
    unistd::{Pid, pipe2},
};
use tokio::{
    io::AsyncReadExt,
    net::unix::pipe::Receiver,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    client::Order,
    protocol::{Ended, How},
};

/// What is kept of what it writes; the rest is read and thrown away.
const KEPT: usize = 4 << 10;

/// Characters of its first line that are told.
const TOLD: usize = 200;

/// Between two attempts to end one that does not end.
const AGAIN: Duration = Duration::from_secs(1);

/// So that the kernel ends it before lbctl, where memory is short. From -1000 to 1000.
const OOM_SCORE: &str = "500";

/// So often that is tried, with so long between: one that has become somebody else by then (sudo) stays as it is.
const SCORE_LOOKS: usize = 50;
const SCORE_LOOK: Duration = Duration::from_millis(1);

/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One that runs.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    output: Receiver,
}

/// Starts it; why not, in a sentence without a full stop.
pub(super) fn start(order: &Order) -> Result<Child, String> {
    let Some((program, arguments)) = order.command.split_first() else {
        return Err("there is no command".to_owned());
    };
    let started = || -> io::Result<Child> {
        let (output, written) = pipe2(OFlag::O_CLOEXEC)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("PATH", PATH).current_dir("/").process_group(0);
        command.stdin(input(&order.input)?).stdout(written.try_clone()?).stderr(written);
        let process = command.spawn()?;
        // With it the last writing end of this process is gone.
        drop(command);
        let pid = Pid::from_raw(i32::try_from(process.id()).map_err(io::Error::other)?);
        Ok(Child { pid, output: Receiver::from_owned_fd(output)? })
    };
    started().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no {program}, or not what its first line names"),
        io::ErrorKind::PermissionDenied => format!(
            "user {} may not run {program}: is it executable?",
            crate::privileges::name_of(nix::unistd::geteuid())
        ),
        io::ErrorKind::ExecutableFileBusy => format!("{program} is being written"),
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            format!("{program} is no program; the first line of a script is #!/bin/sh, or what reads it")
        }
        _ => format!("can't run {program}: {error}"),
    })
}

/// Tells the kernel how willingly to end it. While the program is being loaded, the file of a process that nobody looks into is root's, or
/// hidden (ProtectProc= of the unit).
pub(super) async fn score(pid: Pid) {
    for _ in 0..SCORE_LOOKS {
        match fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE) {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound) =>
            {
                sleep(SCORE_LOOK).await;
            }
            Ok(()) | Err(_) => return,
        }
    }
}

/// A pipe that has all of it, and then ends. `text` fits into a pipe, so nobody waits.
fn input(text: &str) -> io::Result<Stdio> {
    if text.is_empty() {
        return Ok(Stdio::null());
    }
    let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
    let flags = rustix::fs::fcntl_getfl(&write)?;
    rustix::fs::fcntl_setfl(&write, flags | rustix::fs::OFlags::NONBLOCK)?;
    fs::File::from(write).write_all(text.as_bytes())?;
    Ok(read.into())
}

impl Child {
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    /// Reads what it writes until it has ended, which `ended` says, and ends it after `limit`.
    pub(super) async fn watch(self, mut ended: oneshot::Receiver<WaitStatus>, limit: Duration) -> Ended {
        let Self { pid, mut output } = self;
        let mut kept = Vec::new();
        let reading = read(&mut output, &mut kept);
        let outcome = timeout(limit, async {
            tokio::select! {
                status = &mut ended => status.ok(),
                () = reading => (&mut ended).await.ok(),
            }
        })
        .await;
        let how = match outcome {
            Ok(Some(WaitStatus::Exited(_, code))) => How::Exit(code),
            Ok(Some(WaitStatus::Signaled(_, signal, _))) => How::Signal(signal as i32),
            // Nothing else ends a process.
            Ok(_) => How::Signal(0),
            Err(_) => {
                // What the kernel can't end now (a disk that does not answer) or may not (another user's) counts as running for as long.
                loop {
                    let _ = killpg(pid, Signal::SIGKILL);
                    if timeout(AGAIN, &mut ended).await.is_ok() {
                        break How::TimedOut;
                    }
                }
            }
        };
        // What it wrote last may not have been read, nor may the runtime know of it.
        while kept.len() < KEPT {
            let mut room = [0; KEPT];
            match rustix::io::read(&output, &mut room) {
                Ok(length) if length > 0 => kept.extend(room.get(..length).unwrap_or_default()),
                Ok(_) | Err(_) => break,
            }
        }
        Ended { how, output: told(&kept) }
    }
}

/// Until it is closed.
async fn read(output: &mut Receiver, kept: &mut Vec<u8>) {
    let mut room = vec![0; KEPT];
    while let Ok(length) = output.read(&mut room).await {
        if length == 0 {
            return;
        }
        let space = KEPT.saturating_sub(kept.len()).min(length);
        kept.extend(room.get(..space).unwrap_or_default());
        if space == 0 {
            // Whoever writes without an end waits, and others get their turn.
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Its first line that says something.
fn told(kept: &[u8]) -> String {
    let text = String::from_utf8_lossy(kept);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(TOLD).collect()
}

/// Ends children of this process that are none of `ours`: what commands have left behind. Their children come here in their turn.
pub(super) fn end_strays(ours: impl Fn(Pid) -> bool) {
    for pid in all().into_iter().filter(|pid| !ours(*pid)) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// All children of this process.
pub(super) fn all() -> Vec<Pid> {
    // A kernel without that file (CONFIG_PROC_CHILDREN) does not say.
    let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_says_something_is_told_without_what_a_terminal_obeys() {
        assert_eq!(told(b"\n  \nCRITICAL \x1b[31m- no route\nmore\n"), "CRITICAL ?[31m- no route");
        assert_eq!(told(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(told(b""), "");
        assert_eq!(told(&[b'a'; 4096]).len(), TOLD);
    }
}
