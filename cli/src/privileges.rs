//! What the processes may do once they run: as little as they need.
//!
//! ```text
//! whoever starts it ── enter ──▶ the user of the file, no_new_privs, Landlock, seccomp
//!                                 ├── launcher      starts speakers and the next daemon, has their capabilities
//!                                 ├── guard         CAP_NET_ADMIN: takes the addresses of a dead speaker away
//!                                 └── all others    CAP_NET_BIND_SERVICE, start nothing
//! whoever starts it ── runner ──▶ the user of commands, no capability; runs what the file names
//! speaker ── enter_speaker ──▶ CAP_NET_ADMIN, CAP_NET_RAW, its locks
//! ```
//! All of this belongs to threads: `enter` is called while there is one, and the others inherit it.
//! docs/decisions/0027-least-privilege.md has the reasons.

mod account;
mod calls;
mod capabilities;
mod files;
mod filter;
mod folder;
mod launcher;
mod oom;
mod runner;

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, mpsc::sync_channel},
    thread,
};

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use rustix::thread::set_no_new_privs;

pub use account::AccountError;
pub use launcher::{Launcher, Purpose};

pub(crate) use account::name_of;
pub(crate) use capabilities::may_lock_memory;
pub(crate) use runner::enter as enter_runner;

use crate::{
    config::{Config, model::Global},
    keeper::prefer_thread,
};
use account::Account;
use capabilities::Plan;

/// SCHED_RR priorities that a speaker without CAP_SYS_NICE may take, as the packaged unit has it.
const REAL_TIME: rlim_t = 20;

/// RLIMIT_MEMLOCK in bytes, as the kernel has it by itself.
const PLAIN_MEMLOCK: rlim_t = 8 << 20;

/// How willingly the kernel ends this process, from -1000 to 1000.
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// Says to the next daemon of an upgrade that it has what this one has given away: neither Landlock nor seccomp takes
/// anything back, and each time more is another layer.
pub const CONFINED: &str = "LBCTL_CONFINED";

/// How the daemon is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// By which path the program was started, if that is known.
    pub program: Option<&'a Path>,
    /// The configuration.
    pub file: &'a Path,
    /// Of the locks.
    pub runtime_dir: &'a Path,
    /// The control socket.
    pub control: &'a Path,
    /// The file with the number of the process.
    pub pid_file: Option<&'a Path>,
    /// It takes the place of another daemon.
    pub takes_over: bool,
    /// Neither Landlock nor seccomp: for trouble.
    pub is_unconfined: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Entered {
    /// Starts programs.
    pub launcher: Launcher,
    /// To the process that runs commands, where the file may name some.
    pub runner: Option<OwnedFd>,
    /// Who reads the file from now on, if that is another user than before.
    pub user: Option<String>,
    /// Sentences for the log.
    pub remarks: Vec<String>,
}

/// The process can't give its rights away.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It can't be who the file wants.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// No process that runs commands.
    #[error("can't start the process that runs commands: {0}")]
    Runner(io::Error),
    /// A step that the kernel refuses.
    #[error("can't give away the rights that are not needed: {0}")]
    Failed(#[from] io::Error),
    /// The folder of the locks or of the control socket.
    #[error("can't give {folder} to {user}: {error}")]
    Folder {
        /// Its path.
        folder: String,
        /// Whose it is to be.
        user: String,
        /// Why.
        error: io::Error,
    },
}

/// Becomes the user of the file and keeps what the daemon needs: capabilities, files, system calls. To be called before the
/// first thread is started, which inherits it. What a kernel does not have of Landlock and seccomp is a remark: a service that
/// runs is worth more.
///
/// # Errors
/// Everything that would leave the process with more than `config` says.
pub fn enter(config: &Config, start: Start<'_>) -> Result<Entered, EnterError> {
    raise_limits();
    let mut remarks = Vec::new();
    remarks.extend(root_warning(&config.global));
    let account = Account::find(&config.global)?.filter(|account| !account.is_own());
    let account = account.filter(|account| {
        let is_here = account.is_here();
        if !is_here {
            remarks
                .push(format!("this user namespace has no user {}: lbctl stays who it is", account.name()));
        }
        is_here
    });
    let stays_root = account.as_ref().is_none_or(Account::is_root) && nix::unistd::geteuid().is_root();
    let plan = Plan::new(capabilities::permitted()?, !config.groups.is_empty(), stays_root);
    let runner = runner::start(config, start, &mut remarks)?;
    // The next process of an upgrade has that of the one before, and no way to another one.
    let wants_score = !config.groups.is_empty() && !start.takes_over;
    let score = wants_score.then(oom::Score::find).flatten().map(Arc::new);
    capabilities::bound(plan.launcher())?;
    if let Some(account) = &account {
        folder::give(config, start, account)?;
        capabilities::kept_while(|| account.become_it().map_err(EnterError::from))?;
    } else if stays_root && !start.takes_over {
        // An earlier start may have given them to a user. Whoever needs one that can't be had says why.
        let _ = folder::give(config, start, &Account::own());
    }
    set_no_new_privs(true).map_err(io::Error::from)?;
    if start.is_unconfined {
        remarks.push("lbctl runs without Landlock and seccomp, as --unconfined wants it".to_owned());
    } else if !start.takes_over || std::env::var_os(CONFINED).is_none() {
        folder::make(start);
        remarks.extend(files::confine(config, start));
        remarks.extend(calls::forbid().err().map(unfiltered));
    }
    let launcher = Launcher::start(plan, score.clone())?;
    capabilities::restrict(plan.daemon)?;
    if let Some(Err(error)) = score.map(|score| score.raise()) {
        remarks
            .push(format!("where memory is short the kernel may end the speaker before the daemon: {error}"));
    }
    if !start.is_unconfined {
        // After the last one of these, which it refuses.
        remarks.extend(calls::forbid_programs().err().map(unfiltered));
        remarks.dedup();
    }
    Ok(Entered { launcher, runner, user: account.map(|account| account.name().to_owned()), remarks })
}

/// Does `work` on a thread that has the rights to files which the daemon has once it runs; `None` where those of this process
/// can't be told to be others. `speaks`: the file has addresses.
///
/// # Errors
/// The kernel does not let it become who the file wants.
pub(crate) fn as_daemon<T: Send>(
    global: &Global,
    speaks: bool,
    work: impl FnOnce() -> T + Send,
) -> Option<io::Result<T>> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let account = Account::find(global).ok()?.filter(|account| !account.is_own());
    let become_it = move || -> io::Result<()> {
        match account.filter(Account::is_here) {
            Some(account) if !account.is_root() => account.thread_becomes_it(),
            _ => capabilities::restrict(Plan::new(capabilities::permitted()?, speaks, true).daemon),
        }
    };
    thread::scope(|scope| {
        let done = scope.spawn(|| become_it().map(|()| work())).join();
        Some(done.unwrap_or_else(|_| Err(io::Error::other("the thread that looked has died"))))
    })
}

/// Does `work` on a thread that is who runs commands; `None` where this process can't have one.
pub(crate) fn as_who_runs_commands<T: Send>(
    global: &Global,
    file: &Path,
    work: impl FnOnce() -> T + Send,
) -> Option<T> {
    runner::as_who(global, file, work)
}

/// Why commands of `file` are not run by the user that the packages make for them, where it would be the default.
pub(crate) fn hindrance_of_commands(global: &Global, file: &Path) -> Option<String> {
    runner::hindrance(global, file)
}

/// For the other verbs of a unit that gives [`runner`] the right to become another user: they have no use for it.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn stay() -> io::Result<()> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { capabilities::stay() }
}

/// What is to be known where the processes stay root.
pub(crate) fn root_warning(global: &Global) -> Option<String> {
    let account = Account::find(global).ok()?;
    let stays = account.is_none_or(|account| account.is_root());
    (stays && nix::unistd::geteuid().is_root() && account::root_is_real()).then(|| {
        "lbctl stays root, so who gets into it can use root's sockets (systemd, a container engine) and is out of the jail: \
         write user = \"lbctl\" into [global] (useradd --system lbctl)"
            .to_owned()
    })
}

/// Is root here root of the machine?
pub(crate) fn root_is_real() -> bool {
    account::root_is_real()
}

/// Why nobody here can be who the file wants the processes to be.
pub(crate) fn unknown_account(global: &Global) -> Option<String> {
    let commands = || runner::named(global).err();
    Account::find(global).err().or_else(commands).map(|error| error.to_string())
}

/// What a speaker keeps while it asks to be run before others.
///
/// # Errors
/// The kernel refuses.
pub fn enter_starting_speaker() -> io::Result<()> {
    set_no_new_privs(true)?;
    capabilities::bound(capabilities::of_a_starting_speaker())?;
    capabilities::restrict(capabilities::permitted()? & capabilities::of_a_starting_speaker())
}

/// What a speaker keeps. To be called before its first thread is started, which inherits it.
///
/// # Errors
/// The kernel refuses.
pub fn enter_speaker() -> io::Result<()> {
    capabilities::restrict(capabilities::permitted()? & capabilities::of_a_speaker())
}

/// Starts the thread of the daemon that may take addresses away and nothing else, and is run before others; `work` is all that it
/// does, with what `prepare` has made there.
///
/// # Errors
/// The kernel refuses it, or does not let it give everything else away, without which it does nothing; or `prepare` fails.
pub fn start_guard<T>(
    launcher: &Launcher,
    is_unconfined: bool,
    prepare: impl FnOnce() -> io::Result<T> + Send + 'static,
    work: impl FnOnce(T) + Send + 'static,
) -> io::Result<()> {
    let (ready, is_ready) = sync_channel(1);
    let guard = move || {
        prefer_thread();
        let may = capabilities::permitted().map(|permitted| permitted & capabilities::of_a_guard());
        let prepared = may.and_then(capabilities::restrict).and_then(|()| prepare());
        if !is_unconfined {
            // A kernel without it has said so.
            let _ = calls::forbid_programs();
        }
        match prepared {
            Ok(prepared) => {
                let _ = ready.send(Ok(()));
                work(prepared);
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    };
    let start = move || thread::Builder::new().name("guard".to_owned()).spawn(guard).map(drop);
    launcher.run(Purpose::Here, start)??;
    is_ready.recv().map_err(io::Error::other)?
}

/// The files and system calls that a speaker keeps; the next thing to do. `runtime_dir`: of its locks. Returns what the
/// kernel refused, in words; the daemon says of itself what this kernel has not.
#[must_use]
pub fn confine_speaker(runtime_dir: &Path) -> Vec<String> {
    let files = files::confine_speaker(runtime_dir).err().map(|error| format!("no Landlock: {error}"));
    // The daemon's filters are there already.
    let calls = calls::forbid_programs_of_a_speaker().err().map(unfiltered);
    files.into_iter().chain(calls).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "a function of what `map` gives")]
fn unfiltered(why: io::Error) -> String {
    format!("lbctl runs without a filter of system calls (seccomp): {why}")
}

/// What commands get in the place of what the daemon, its unit or [`raise_limits`] have for the speaker: without it one could take the
/// processor from the speaker, and keep memory that others need. Lowering needs no right.
pub(crate) fn enter_plain() {
    for limit in [Resource::RLIMIT_RTPRIO, Resource::RLIMIT_NICE] {
        let _ = setrlimit(limit, 0, 0);
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) {
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft.min(PLAIN_MEMLOCK), hard.min(PLAIN_MEMLOCK));
    }
}

/// The same for the score by which the kernel ends one or the other first where memory is short. What this process starts has its score for
/// a moment, and keeps it where it becomes somebody else at once (sudo). To be called before the process says that nobody looks into it,
/// which takes its own file of the score away.
pub(crate) fn enter_plain_score() {
    let score = || -> Option<i32> { std::fs::read_to_string(OOM_SCORE).ok()?.trim().parse().ok() };
    if score().is_some_and(|score| score < 0) {
        let _ = std::fs::write(OOM_SCORE, "0");
    }
}

/// The speaker's memory and priority, for which it has no rights of its own later. Best effort: the unit has its own limits.
fn raise_limits() {
    let unlimited = libc::RLIM_INFINITY;
    for (limit, value) in [(Resource::RLIMIT_MEMLOCK, unlimited), (Resource::RLIMIT_RTPRIO, REAL_TIME)] {
        let _ = setrlimit(limit, value, value);
    }
}
