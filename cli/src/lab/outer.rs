//! The outermost process of a lab: it makes the namespaces while it has a single thread, starts the init inside them,
//! and removes the socket when everything is over. It does nothing else.
//!
//! ```text
//! lbctl lab up ── lab outer ── lab init (PID 1 of the namespace) ── lbctl run, web servers, commands
//!        SIGTERM by the kernel ─┘      └─ SIGKILL by the kernel, and with it everything in the namespace
//! ```
//! Each process is told by the kernel when its parent dies (PR_SET_PDEATHSIG), so it does not matter which of them is
//! killed, or how.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getegid, geteuid, getppid},
};

use super::{options::InitOptions, protocol};

/// Arguments of the hidden verb `lbctl lab outer`. A line with the options of the lab comes on stdin.
#[derive(Debug, clap::Args)]
pub struct OuterArguments {
    /// Process whose end is the lab's end; 0 for a lab of its own.
    #[arg(long)]
    parent: i32,
}

/// Runs the process. What went wrong is written to stdout as the one line that the parent waits for.
///
/// # Errors
/// The line could not be written.
pub fn run(arguments: &OuterArguments) -> anyhow::Result<()> {
    match try_run(arguments) {
        Ok(()) => Ok(()),
        Err(error) => {
            protocol::write_line(&mut io::stdout(), &protocol::Ready::Error { text: format!("{error:#}") })
        }
    }
}

fn try_run(arguments: &OuterArguments) -> anyhow::Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD]);
    signals.thread_set_mask().context("cannot block signals")?;
    let mut options: InitOptions = protocol::read_line(&mut io::stdin().lock())?;
    options.outer_pid = std::process::id();
    enter_namespaces()?;
    die_with(arguments.parent, Signal::SIGTERM)?;

    // The init reads end of file here when this process ends, should the kernel's signal have come too early to count.
    let (lifeline, mut held) = io::pipe()?;
    let socket = options.socket.clone();
    let child = Command::new(std::env::current_exe()?)
        .args(["lab", "init"])
        .process_group(0)
        .stdin(Stdio::from(lifeline))
        .spawn()
        .context("cannot start the lab's init")?;
    let init = Pid::from_raw(i32::try_from(child.id())?);
    protocol::write_line(&mut held, &options)?;
    // Whoever waits for the line of the init must see the end of the file when the init is gone.
    nix::unistd::dup2_stdout(fs::OpenOptions::new().write(true).open("/dev/null")?)?;
    wait_for(init, &signals);
    remove_socket(&socket);
    Ok(())
}

/// Returns when the init is gone, which it is at the latest when this process was told to end.
fn wait_for(init: Pid, signals: &SigSet) {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => match waitpid(init, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                Ok(_) | Err(_) => return,
            },
            Ok(_) => {
                let _ = kill(init, Signal::SIGKILL);
            }
            Err(_) => {}
        }
    }
}

pub(super) fn remove_socket(socket: &PathBuf) {
    let _ = fs::remove_file(socket);
    // The folder goes with the last lab; while another one lives it is not empty, and stays. One that is about to listen
    // in it has locked it.
    let Some(folder) = socket.parent() else { return };
    let locked = fs::File::open(folder).map(|file| Flock::lock(file, FlockArg::LockExclusive));
    if let Ok(Ok(_lock)) = locked {
        let _ = fs::remove_dir(folder);
    }
}

/// Asks the kernel for `signal` when the parent ends. A parent that was gone before is noticed as well.
///
/// # Errors
/// The parent is gone.
pub(crate) fn die_with(parent: i32, signal: Signal) -> anyhow::Result<()> {
    if parent == 0 {
        return Ok(());
    }
    prctl::set_pdeathsig(signal).context("cannot ask for a signal at the parent's end")?;
    if getppid().as_raw() != parent {
        bail!("the process that wanted the lab is gone");
    }
    Ok(())
}

const WANTED: CloneFlags = CloneFlags::CLONE_NEWPID
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// New namespaces: directly where this process may, else inside a user namespace in which the user is root.
fn enter_namespaces() -> anyhow::Result<()> {
    let (user, group) = (geteuid(), getegid());
    if user.is_root() {
        match unshare(WANTED) {
            Ok(()) => return Ok(()),
            Err(Errno::EPERM) => {}
            Err(error) => return Err(error).context("the kernel refuses new namespaces"),
        }
    }
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|error| anyhow::anyhow!("the kernel refuses a user namespace ({error}); {}", advice()))?;
    // gid_map may be written without privileges only where setgroups is denied (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny").context("cannot write /proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))
        .with_context(|| format!("cannot map user {user} into the user namespace; {}", advice()))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1")).context("cannot map the group")?;
    unshare(WANTED).map_err(|error| {
        anyhow::anyhow!(
            "the kernel refuses network namespaces inside a user namespace ({error}); {}",
            advice()
        )
    })
}

/// Names the setting that forbids user namespaces, if one does.
fn advice() -> String {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    let says = |path: &str, value: &str| read(path).is_some_and(|text| text == value);
    if says("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1") {
        "AppArmor forbids them to plain users: run the lab with sudo, or set \
         kernel.apparmor_restrict_unprivileged_userns=0 with sysctl"
            .to_owned()
    } else if says("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        "kernel.unprivileged_userns_clone is 0: run the lab with sudo, or set it to 1 with sysctl".to_owned()
    } else if says("/proc/sys/user/max_user_namespaces", "0") {
        "user.max_user_namespaces is 0: run the lab with sudo, or raise it with sysctl".to_owned()
    } else {
        "run the lab with sudo; inside a container, start the container with --privileged".to_owned()
    }
}
