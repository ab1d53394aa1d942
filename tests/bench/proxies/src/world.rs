//! A world for the bench: namespaces of its own, so that no port, no address and no process of the machine is in its way,
//! and everything that it starts ends with it, whatever happens.
//!
//! ```text
//!  bench ── unshare ──▶ bench, PID 1: proxies, origin, clients
//!    └─ SIGINT, SIGTERM: kills unshare, and the kernel the rest
//! ```

use std::{
    env, fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
};

use anyhow::Context as _;
use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::{Pid, geteuid},
};

/// Set inside; its value is the folder for everything that is needed for a run only.
const INSIDE: &str = "LBCTL_BENCH_FOLDER";

/// Inside: the folder.
pub(crate) fn folder() -> Option<PathBuf> {
    env::var_os(INSIDE).map(PathBuf::from)
}

/// Runs this program again inside, with the same arguments. Root does it as root, anybody else in a user namespace.
pub(crate) fn enter() -> anyhow::Result<ExitCode> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    // Before any thread begins. A child is told again: the standard library lets it have all signals.
    signals.thread_block()?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(env::current_exe()?).args(env::args_os().skip(1)).env(INSIDE, folder.path());
    let mut child = command.spawn().context("unshare (util-linux) is missing")?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    thread::spawn(move || {
        if signals.wait().is_ok() {
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let status = child.wait()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Inside, first: brings the loopback up, and lets a client connect often.
pub(crate) fn settle() -> anyhow::Result<()> {
    crate::roots::said(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    // A connection of its own for each exchange leaves its port in TIME_WAIT.
    for (name, value) in [("ip_local_port_range", "10000 65000"), ("tcp_tw_reuse", "1")] {
        let file = Path::new("/proc/sys/net/ipv4").join(name);
        fs::write(&file, value).with_context(|| format!("cannot set {}", file.display()))?;
    }
    Ok(())
}
