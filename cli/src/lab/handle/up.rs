//! Starting and ending a lab.

use std::{
    io::BufReader,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::{ChildStdout, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Lab, patience::PATIENCE};
use crate::lab::{
    hint::hint,
    options::Options,
    protocol::{Ready, Request, read_line, write_line},
};

/// The thread that started the lab's outermost process. The kernel ends the lab when this very thread ends
/// (PR_SET_PDEATHSIG is about threads), so it stays until the lab is down.
#[derive(Debug)]
pub(super) struct Keeper {
    pid: u32,
    thread: JoinHandle<()>,
}

impl Lab {
    /// Starts a lab and waits until it is up.
    ///
    /// # Errors
    /// A lab of this name is up, the kernel forbids namespaces, or something in the lab does not start.
    pub fn up(options: &Options) -> anyhow::Result<Self> {
        let init = options.init_options()?;
        let program = options.find_program()?;
        if let Ok(other) = Self::attach(&init.name)
            && let Ok(status) = other.status()
        {
            bail!(
                "a lab `{}` is up already (pid {}); {} ends it, --name starts another beside it",
                init.name,
                status.pid,
                hint(&init.name, "down")
            );
        }
        let mut command = Command::new(&program);
        command.args(["lab", "outer"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let parent = if options.detached { 0 } else { std::process::id() };
        command.args(["--parent", &parent.to_string()]);
        if options.detached {
            command.stderr(Stdio::null());
        }
        let (started, is_started) = mpsc::channel();
        let thread =
            thread::Builder::new().name("lab-keeper".to_owned()).spawn(move || match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok((child.id(), child.stdin.take(), child.stdout.take())));
                    let _ = child.wait();
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            })?;
        let (pid, stdin, stdout) =
            is_started.recv()?.with_context(|| format!("cannot run {}", program.display()))?;
        write_line(&mut stdin.context("stdin is piped")?, &init)?;
        let stdout = stdout.context("stdout is piped")?;
        let spoke = wait_for_line(&stdout, PATIENCE);
        let lab = Self {
            name: init.name,
            socket: init.socket,
            program,
            keeper: (!options.detached).then_some(Keeper { pid, thread }),
        };
        if !spoke? {
            // A SIGTERM waits until it listens, which may be never. What it started dies with it.
            send_signal(pid, Signal::SIGKILL);
            bail!("pid {pid} has not made the lab `{}` within {} s", lab.name, PATIENCE.as_secs());
        }
        match read_line(&mut BufReader::new(stdout)) {
            Ok(Ready::Up) => Ok(lab),
            Ok(Ready::Error { text }) => Err(anyhow!(text)),
            Err(_) => bail!("{} ended before the lab was up", lab.program.display()),
        }
    }

    /// Ends the lab, and waits until it is gone.
    ///
    /// # Errors
    /// It does not answer.
    pub fn down(mut self) -> anyhow::Result<()> {
        self.ask_done(&Request::Down, |_| {})?;
        if let Some(keeper) = self.keeper.take()
            && !keeper.has_ended_within(PATIENCE)
        {
            bail!("pid {} of the lab `{}` does not end", keeper.pid, self.name);
        }
        wait_until_gone(&self.socket)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        send_signal(keeper.pid, Signal::SIGTERM);
        if !keeper.has_ended_within(PATIENCE) {
            eprintln!("pid {} of the lab `{}` does not end", keeper.pid, self.name);
            send_signal(keeper.pid, Signal::SIGKILL);
        }
    }
}

impl Keeper {
    fn has_ended_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while !self.thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }
}

fn send_signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Waits for the line of a lab that starts, or for the end of the stream. `false`: neither came.
fn wait_for_line(stdout: &ChildStdout, limit: Duration) -> anyhow::Result<bool> {
    let timeout = PollTimeout::try_from(limit)?;
    loop {
        match poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(found) => return Ok(found > 0),
        }
    }
}

fn wait_until_gone(socket: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while socket.exists() {
        if Instant::now() >= deadline {
            bail!("{} is still there", socket.display());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_that_says_nothing_is_not_waited_for_without_end() {
        let mut silent = Command::new("sleep").arg("60").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = silent.stdout.take().unwrap();
        assert!(!wait_for_line(&stdout, Duration::from_millis(20)).unwrap());
        silent.kill().unwrap();
        silent.wait().unwrap();
        assert!(wait_for_line(&stdout, PATIENCE).unwrap(), "the end of the stream");
    }
}
