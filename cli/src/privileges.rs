//! What the processes may do once they run: as little as they need.
//!
//! ```text
//! whoever starts it ── enter ──▶ the user of the file, no_new_privs
//!                                 ├── launcher      starts speakers and the next daemon, has their capabilities
//!                                 └── all others    CAP_NET_BIND_SERVICE
//! speaker ── enter_speaker ──▶ CAP_NET_ADMIN, CAP_NET_RAW
//! ```
//! Capabilities and no_new_privs belong to threads: `enter` is called while there is one, and the others inherit them.
//! docs/decisions/0027-least-privilege.md has the reasons.

mod account;
mod capabilities;
mod folder;
mod launcher;

use std::{io, path::Path};

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use rustix::thread::set_no_new_privs;

pub use account::AccountError;
pub use launcher::{Launcher, Purpose};

pub(crate) use capabilities::may_lock_memory;

use crate::config::{Config, model::Global};
use account::Account;
use capabilities::Plan;

/// SCHED_RR priorities that a speaker without CAP_SYS_NICE may take, as the packaged unit has it.
const REAL_TIME: rlim_t = 20;

/// Where the daemon works.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Of the locks.
    pub runtime_dir: &'a Path,
    /// The control socket.
    pub control: &'a Path,
}

/// What came of it.
#[derive(Debug)]
pub struct Entered {
    /// Starts programs.
    pub launcher: Launcher,
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

/// Becomes the user of the file and keeps what the daemon needs. To be called before the first thread is started, which
/// inherits it.
///
/// # Errors
/// Everything that would leave the process with more than `config` says.
pub fn enter(config: &Config, places: Places<'_>) -> Result<Entered, EnterError> {
    raise_limits();
    let mut remarks = Vec::new();
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
    capabilities::bound(plan.launcher())?;
    if let Some(account) = &account {
        folder::give(places, account)?;
        capabilities::kept_while(|| account.become_it().map_err(EnterError::from))?;
    }
    set_no_new_privs(true).map_err(io::Error::from)?;
    let launcher = Launcher::start(plan)?;
    capabilities::restrict(plan.daemon)?;
    Ok(Entered { launcher, user: account.map(|account| account.name().to_owned()), remarks })
}

/// Why nobody here can be who the file wants the processes to be.
pub(crate) fn unknown_account(global: &Global) -> Option<String> {
    Account::find(global).err().map(|error| error.to_string())
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

/// The speaker's memory and priority, for which it has no rights of its own later. Best effort: the unit has its own limits.
fn raise_limits() {
    let unlimited = libc::RLIM_INFINITY;
    for (limit, value) in [(Resource::RLIMIT_MEMLOCK, unlimited), (Resource::RLIMIT_RTPRIO, REAL_TIME)] {
        let _ = setrlimit(limit, value, value);
    }
}
