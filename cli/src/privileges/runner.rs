//! The process that runs commands: who it is, and how it is started and gives away what it has.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use lb_proxy::config::Owner;
use nix::unistd::{Uid, User, geteuid};
use rustix::thread::CapabilitySet;

use super::{
    EnterError, Start,
    account::{self, Account, AccountError},
    capabilities,
};
use crate::{
    config::{Config, model::Global},
    packets,
};

/// Made by the packages, for this.
const COMMANDS: &str = "lbctl-commands";

/// Where lbctl stays root, without that one.
const NOBODY: &str = "nobody";

/// The first is who it becomes, as the file or the default has it; as a [`Global`], which an [`Account`] is found by.
pub(super) fn whose(global: &Global) -> Result<Global, AccountError> {
    let owned = |user: Option<Owner>, group| Global { user, group, ..Global::default() };
    let Some(wanted) = &global.command_user else {
        if let Some(made) =
            User::from_name(COMMANDS).ok().flatten().filter(|_| capabilities::may_become_others())
        {
            return Ok(owned(Some(Owner::Id(made.uid.as_raw())), None));
        }
        let account = Account::find(global)?;
        return Ok(match account {
            Some(account) if !account.is_root() => owned(global.user.clone(), global.group.clone()),
            _ if geteuid().is_root() && account::root_is_real() => {
                owned(Some(Owner::Name(NOBODY.to_owned())), None)
            }
            _ => Global::default(),
        });
    };
    let wrong = |why: String| AccountError::Commands(why);
    let found = match wanted {
        Owner::Name(name) => User::from_name(name),
        Owner::Id(id) => User::from_uid(Uid::from_raw(*id)),
    };
    let found = found.map_err(|error| wrong(format!("can't look it up: {error}")))?.ok_or_else(|| {
        let shown = shown(wanted);
        wrong(format!("no user is called `{shown}` on this machine; make it with: useradd --system {shown}"))
    })?;
    if found.uid.is_root() {
        return Err(wrong("that is root, as whom no command is run; write another user".to_owned()));
    }
    if found.uid != geteuid() && !capabilities::may_become_others() {
        return Err(wrong(format!(
            "only root, or who has CAP_SETUID and CAP_SETGID as in the packaged unit, could run commands as {}; remove the key, and {} runs \
             them, who has started lbctl",
            found.name,
            account::name_of(geteuid())
        )));
    }
    Ok(owned(Some(Owner::Id(found.uid.as_raw())), None))
}

fn shown(owner: &Owner) -> String {
    match owner {
        Owner::Name(name) => name.clone(),
        Owner::Id(id) => id.to_string(),
    }
}

/// Starts it, where the file has or may soon have commands. To be called before anything is given away: it is in no jail.
pub(super) fn start(config: &Config, start: Start<'_>) -> Result<Option<OwnedFd>, EnterError> {
    let is_wanted = !config.groups.is_empty() || config.names_commands();
    if start.takes_over || !is_wanted || start.file == Path::new("-") {
        // The next process of an upgrade is given the one that is there.
        return Ok(None);
    }
    let whose = whose(&config.global)?;
    let spawn = || -> io::Result<OwnedFd> {
        let (ours, theirs) = packets::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg0("lbctl").arg("runner").arg(std::path::absolute(start.file)?);
        for (option, owner) in [("--user", &whose.user), ("--group", &whose.group)] {
            if let Some(owner) = owner {
                command.arg(option).arg(shown(owner));
            }
        }
        // Its end is that of the socket: nobody waits for it.
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(ours)
    };
    spawn().map(Some).map_err(EnterError::Runner)
}

/// Does `work` on a thread that is who runs commands; `None` where this process can't have one.
pub(super) fn as_who<T: Send>(global: &Global, work: impl FnOnce() -> T + Send) -> Option<T> {
    if !geteuid().is_root() {
        return None;
    }
    let account = Account::find(&whose(global).ok()?).ok()??;
    if account.is_own() || !account.is_here() {
        return None;
    }
    thread::scope(|scope| scope.spawn(|| account.thread_becomes_it().ok().map(|()| work())).join().ok()?)
}

/// What the process does first: it becomes `whose` and gives every capability away. Unlike the daemon it may start programs that
/// become somebody else, as sudo(8) does, where who started lbctl may.
///
/// # Errors
/// Why it must not run anything, in a sentence without a full stop.
pub(crate) fn enter(whose: &Global) -> Result<(), String> {
    let account = Account::find(whose).map_err(|error| error.to_string())?;
    if let Some(account) = account.filter(|account| !account.is_own() && account.is_here()) {
        let failed =
            |(what, error)| format!("who is to run commands, {}: can't {what}: {error}", account.name());
        account.take().map_err(failed)?;
    }
    if geteuid().is_root() && account::root_is_real() {
        return Err("no command is run as root: write command_user = \"..\" into [global]".to_owned());
    }
    let nothing = CapabilitySet::empty();
    let given = capabilities::bound(nothing).and_then(|()| capabilities::restrict(nothing));
    given.map_err(|error| format!("the process that runs commands can't give its rights away: {error}"))
}
