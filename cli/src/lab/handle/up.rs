//! Starting and ending a lab.

use std::{
    io::BufReader,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::Lab;
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
        let ready = read_line(&mut BufReader::new(stdout.context("stdout is piped")?));
        let lab = Self {
            name: init.name,
            socket: init.socket,
            program,
            keeper: (!options.detached).then_some(Keeper { pid, thread }),
        };
        match ready {
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
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.thread.join();
        }
        wait_until_gone(&self.socket)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        if let Ok(pid) = i32::try_from(keeper.pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = keeper.thread.join();
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
