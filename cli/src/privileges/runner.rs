//! The process that runs commands: who it is, and how it is started and gives away what it has.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{fs::MetadataExt, process::CommandExt},
    },
    path::{Path, PathBuf},
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

/// Who it becomes, as the file or the default has it; as a [`Global`], which an [`Account`] is found by. With it what the log is told,
/// where the default is not who it should be.
fn whose(global: &Global, file: &Path) -> Result<(Global, Option<String>), AccountError> {
    if let Some(named) = named(global)? {
        return Ok((named, None));
    }
    let usual = of_the_daemon(global)?;
    let Some(made) = made_for_it() else {
        return Ok((usual.unwrap_or_else(|| of(Some(Owner::Name(NOBODY.to_owned())), None)), None));
    };
    let Some((usual, why)) = usual.zip(hindrance_of(&made, file)) else { return Ok((made, None)) };
    // The daemon reads the file, or does not start. Whose commands would not be run either is no better.
    let user = Account::find(&usual)?.map_or_else(geteuid, |account| account.user);
    if !fs::metadata(file).is_ok_and(|found| [0, user.as_raw()].contains(&found.uid())) {
        return Ok((made, None));
    }
    let remark =
        format!("commands are run by the daemon's user, {}, who reads keys: {why}", account::name_of(user));
    Ok((usual, Some(remark)))
}

/// That of `command_user`, if the file has it.
pub(super) fn named(global: &Global) -> Result<Option<Global>, AccountError> {
    let Some(wanted) = &global.command_user else { return Ok(None) };
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
    Ok(Some(of(Some(Owner::Id(found.uid.as_raw())), None)))
}

/// That of the daemon; `None` where it is root.
fn of_the_daemon(global: &Global) -> Result<Option<Global>, AccountError> {
    let account = Account::find(global)?;
    Ok(match account {
        Some(account) if !account.is_root() => Some(of(global.user.clone(), global.group.clone())),
        _ if geteuid().is_root() && account::root_is_real() => None,
        _ => Some(Global::default()),
    })
}

/// That of the packages, where this process could become it.
fn made_for_it() -> Option<Global> {
    let made = User::from_name(COMMANDS).ok().flatten().filter(|_| capabilities::may_become_others())?;
    Some(of(Some(Owner::Id(made.uid.as_raw())), None))
}

fn of(user: Option<Owner>, group: Option<Owner>) -> Global {
    Global { user, group, ..Global::default() }
}

/// Why the user of the packages would run nothing of `file`, where it would be the default: one sentence without a full stop. Also of
/// those who may write the file, as far as another user would be trusted with that.
pub(super) fn hindrance(global: &Global, file: &Path) -> Option<String> {
    if global.command_user.is_some() { None } else { hindrance_of(&made_for_it()?, file) }
}

/// The same of `made`, who is that user.
fn hindrance_of(made: &Global, file: &Path) -> Option<String> {
    let account = Account::find(made).ok()??;
    // Who can't become it stays who he is; and what can't be looked at is found out later.
    if !account.is_here() {
        return None;
    }
    let reader = Reader { user: account.user.as_raw(), groups: account.groups().collect() };
    let (why, fix) = reader.obstacle(&way_to(file).ok()?)?;
    Some(format!("{COMMANDS} {why}; give them a user of their own: {fix}, and a restart"))
}

/// What stat(2) says of a file or a folder.
#[derive(Clone, Copy, Debug)]
struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
}

/// Of which class of users somebody is, as chmod(1) calls it, and how far its bits are to the left.
type Class = (char, u32);

const READ: (u32, char) = (4, 'r');
const ENTER: (u32, char) = (1, 'x');

/// Somebody whom this process is not. Of access lists nothing is known: whom one lets in has `command_user`.
#[derive(Debug)]
struct Reader {
    user: u32,
    groups: Vec<u32>,
}

impl Reader {
    fn class(&self, found: Rights) -> Class {
        if found.owner == self.user {
            ('u', 6)
        } else if self.groups.contains(&found.group) {
            ('g', 3)
        } else {
            ('o', 0)
        }
    }

    /// What chmod(1) is to be told so that he has the right; `None` where he has it.
    fn lacks(&self, found: Rights, right: (u32, char)) -> Option<String> {
        let (class, shift) = self.class(found);
        let (bit, letter) = right;
        ((found.mode >> shift) & bit == 0).then(|| format!("chmod {class}+{letter}"))
    }

    /// Why the file, which is the last of `way`, is of no use to him, and the command that mends it: what `runner/named.rs` would say.
    fn obstacle(&self, way: &[(PathBuf, Rights)]) -> Option<(String, String)> {
        let (last, folders) = way.split_last()?;
        let file = last.0.display();
        for (folder, found) in folders {
            if let Some(chmod) = self.lacks(*found, ENTER) {
                return Some((format!("can't read {file}"), format!("{chmod} {}", folder.display())));
            }
        }
        if let Some(chmod) = self.lacks(last.1, READ) {
            return Some((format!("can't read {file}"), format!("{chmod} {file}")));
        }
        let owner = last.1.owner;
        (owner != 0 && owner != self.user).then(|| {
            let owner = account::name_of(Uid::from_raw(owner));
            (format!("runs nothing of {file}, which {owner} may write"), format!("chown root {file}"))
        })
    }
}

/// The folders that lead to `file`, and where it is if that is a link, the outermost first; and the file itself.
fn way_to(file: &Path) -> io::Result<Vec<(PathBuf, Rights)>> {
    let (name, place) = (std::path::absolute(file)?, fs::canonicalize(file)?);
    let mut way: Vec<PathBuf> =
        name.ancestors().skip(1).chain(place.ancestors().skip(1)).map(Path::to_path_buf).collect();
    way.sort();
    way.dedup();
    way.push(place);
    let look = |path: PathBuf| -> io::Result<(PathBuf, Rights)> {
        let found = fs::metadata(&path)?;
        let rights = Rights { owner: found.uid(), group: found.gid(), mode: found.mode() };
        Ok((path, rights))
    };
    way.into_iter().map(look).collect()
}

fn shown(owner: &Owner) -> String {
    match owner {
        Owner::Name(name) => name.clone(),
        Owner::Id(id) => id.to_string(),
    }
}

/// Starts it, where the file has or may soon have commands. To be called before anything is given away: it is in no jail.
pub(super) fn start(
    config: &Config,
    start: Start<'_>,
    remarks: &mut Vec<String>,
) -> Result<Option<OwnedFd>, EnterError> {
    let is_wanted = !config.groups.is_empty() || config.names_commands();
    if start.takes_over || !is_wanted || start.file == Path::new("-") {
        // The next process of an upgrade is given the one that is there.
        return Ok(None);
    }
    let (whose, remark) = whose(&config.global, start.file)?;
    remarks.extend(remark.filter(|_| config.names_commands()));
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
pub(super) fn as_who<T: Send>(global: &Global, file: &Path, work: impl FnOnce() -> T + Send) -> Option<T> {
    if !geteuid().is_root() {
        return None;
    }
    let account = Account::find(&whose(global, file).ok()?.0).ok()??;
    if account.is_own() || !account.is_here() {
        return None;
    }
    thread::scope(|scope| scope.spawn(|| account.thread_becomes_it().ok().map(|()| work())).join().ok()?)
}

/// What the process does first: it becomes `whose` and gives every capability away. Unlike the daemon it may start programs that
/// become somebody else, as sudo(8) does, where who started lbctl may. Who can't become `whose` has nothing all the same, and is told why
/// it must not run anything, in a sentence without a full stop.
///
/// # Errors
/// It still has what it was given, and must end.
pub(crate) fn enter(whose: &Global) -> io::Result<Result<(), String>> {
    let entered = become_it(whose);
    let nothing = CapabilitySet::empty();
    capabilities::bound(nothing)?;
    capabilities::restrict(nothing)?;
    Ok(entered)
}

fn become_it(whose: &Global) -> Result<(), String> {
    let account = Account::find(whose).map_err(|error| error.to_string())?;
    if let Some(account) = account.filter(|account| !account.is_own() && account.is_here()) {
        let failed =
            |(what, error)| format!("who is to run commands, {}: can't {what}: {error}", account.name());
        account.take().map_err(failed)?;
    }
    if geteuid().is_root() && account::root_is_real() {
        return Err("no command is run as root: write command_user = \"..\" into [global]".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const READER: u32 = 4_000_000_001;
    const GROUP: u32 = 4_000_000_002;
    const DAEMON: u32 = 4_000_000_003;

    fn obstacle(folder: (u32, u32, u32), file: (u32, u32, u32)) -> Option<(String, String)> {
        let rights = |(owner, group, mode)| Rights { owner, group, mode };
        let way = [
            (PathBuf::from("/"), rights((0, 0, 0o40_755))),
            (PathBuf::from("/etc"), rights(folder)),
            (PathBuf::from("/etc/lb.toml"), rights(file)),
        ];
        Reader { user: READER, groups: vec![GROUP] }.obstacle(&way)
    }

    #[test]
    fn who_may_read_a_file_that_only_he_and_root_may_write_can_use_it() {
        let folder = (0, 0, 0o755);
        for file in [
            (0, 0, 0o100_644),
            (0, DAEMON, 0o644),
            (0, GROUP, 0o640),
            (READER, DAEMON, 0o600),
            (0, DAEMON, 0o604),
        ] {
            assert_eq!(obstacle(folder, file), None, "{file:?}");
        }
        for folder in [(0, GROUP, 0o750), (READER, 0, 0o100), (0, 0, 0o711), (0, DAEMON, 0o701)] {
            assert_eq!(obstacle(folder, (0, 0, 0o644)), None, "{folder:?}");
        }
    }

    #[test]
    fn what_keeps_somebody_from_a_file_is_named_with_what_mends_it() {
        let open = (0, 0, 0o755);
        for (folder, file, fix) in [
            (open, (0, DAEMON, 0o640), "chmod o+r /etc/lb.toml"),
            // The class that he is of counts, and no other one.
            (open, (0, GROUP, 0o604), "chmod g+r /etc/lb.toml"),
            (open, (READER, GROUP, 0o044), "chmod u+r /etc/lb.toml"),
            ((0, DAEMON, 0o750), (0, 0, 0o644), "chmod o+x /etc"),
            ((0, DAEMON, 0o754), (0, DAEMON, 0o640), "chmod o+x /etc"),
            ((0, GROUP, 0o705), (0, 0, 0o644), "chmod g+x /etc"),
        ] {
            let expected = Some(("can't read /etc/lb.toml".to_owned(), fix.to_owned()));
            assert_eq!(obstacle(folder, file), expected);
        }
        let why = format!("runs nothing of /etc/lb.toml, which {DAEMON} may write");
        assert_eq!(
            obstacle(open, (DAEMON, DAEMON, 0o644)),
            Some((why, "chown root /etc/lb.toml".to_owned()))
        );
    }

    #[test]
    fn way_to_a_file_has_the_folders_of_a_link_and_of_what_it_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(real.join(name)).unwrap();
        }
        let (link, file) = (real.join("a/lb.toml"), real.join("b/real.toml"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        let way = way_to(&link).unwrap();
        let paths: Vec<_> = way.iter().map(|(path, _)| path.as_path()).collect();
        assert_eq!(paths.first(), Some(&Path::new("/")));
        assert_eq!(paths.last(), Some(&file.as_path()));
        assert!(paths.contains(&real.join("a").as_path()) && paths.contains(&real.join("b").as_path()));
        assert!(!paths.contains(&link.as_path()), "it has no rights of its own");
        let rights = way.last().unwrap().1;
        assert_eq!((rights.owner, rights.mode & 0o777), (geteuid().as_raw(), 0o640));
        assert!(way_to(&real.join("none")).is_err());
    }
}
