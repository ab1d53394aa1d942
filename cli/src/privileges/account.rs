//! The user and the group that the file names, and becoming them.

use std::{ffi::CString, fs, io};

use lb_proxy::config::Owner;
use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist, setgroups, setresgid, setresuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::config::model::Global;

/// A user with its groups.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Account {
    pub(super) user: Uid,
    pub(super) group: Gid,
    /// Its supplementary groups.
    groups: Vec<Gid>,
    /// To be shown.
    name: String,
}

/// The processes can't be who the file wants.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The machine does not know the name.
    #[error("[global] {kind}: no {kind} is called `{name}` on this machine; make it with: {fix} {name}")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// As the file has it.
        name: String,
        /// The command that makes one.
        fix: &'static str,
    },
    /// `command_user`: one sentence.
    #[error("[global] command_user: {0}")]
    Commands(String),
    /// A number without an entry has no group.
    #[error("[global] user: nobody has the number {0} on this machine, so write its `group` as well")]
    NoGroup(u32),
    /// Nobody but root becomes somebody else.
    #[error(
        "[global] user: {wanted} is wanted, and {now} has started lbctl; start it as root, or as {wanted} with the rights \
         of docs/operations.md (in systemd's unit: User={wanted})"
    )]
    NotRoot {
        /// The user of the file.
        wanted: String,
        /// Who this process is.
        now: String,
    },
    /// The system does not say, or does not let.
    #[error("[global] user: can't {what}: {error}")]
    Failed {
        /// The step.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

impl Account {
    /// That of the file, if it names one.
    pub(super) fn find(global: &Global) -> Result<Option<Self>, AccountError> {
        let failed = |what| move |error: nix::Error| AccountError::Failed { what, error: error.into() };
        let group = match &global.group {
            None => None,
            Some(Owner::Id(id)) => Some(Gid::from_raw(*id)),
            Some(Owner::Name(name)) => {
                let found = Group::from_name(name).map_err(failed("look its group up"))?;
                let unknown =
                    || AccountError::Unknown { kind: "group", name: name.clone(), fix: "groupadd --system" };
                Some(found.ok_or_else(unknown)?.gid)
            }
        };
        let found = match &global.user {
            None => return Ok(group.map(Self::own_in)),
            Some(Owner::Name(name)) => {
                let found = User::from_name(name).map_err(failed("look it up"))?;
                let unknown =
                    || AccountError::Unknown { kind: "user", name: name.clone(), fix: "useradd --system" };
                Some(found.ok_or_else(unknown)?)
            }
            Some(Owner::Id(id)) => User::from_uid(Uid::from_raw(*id)).map_err(failed("look it up"))?,
        };
        Ok(Some(match (found, &global.user) {
            (Some(user), _) => {
                let group = group.unwrap_or(user.gid);
                let name = CString::new(user.name.clone()).unwrap_or_default();
                let groups = getgrouplist(&name, group).map_err(failed("look its groups up"))?;
                Self { user: user.uid, group, groups, name: user.name }
            }
            (None, Some(Owner::Id(id))) => {
                let group = group.ok_or(AccountError::NoGroup(*id))?;
                Self { user: Uid::from_raw(*id), group, groups: vec![group], name: id.to_string() }
            }
            (None, _) => return Ok(None),
        }))
    }

    /// Whose this process is.
    pub(super) fn own() -> Self {
        Self::own_in(getegid())
    }

    fn own_in(group: Gid) -> Self {
        Self { user: geteuid(), group, groups: vec![group], name: name_of(geteuid()) }
    }

    /// Is this process it already? Then its supplementary groups are what whoever started it has chosen.
    pub(super) fn is_own(&self) -> bool {
        geteuid() == self.user && getegid() == self.group
    }

    /// Whether this process's user namespace has the account; without it nobody can become it.
    pub(super) fn is_here(&self) -> bool {
        let has = |file: &str, id| fs::read_to_string(file).is_ok_and(|map| maps(&map, id));
        let may_choose = fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow");
        may_choose
            && has("/proc/self/uid_map", self.user.as_raw())
            && has("/proc/self/gid_map", self.group.as_raw())
    }

    /// Makes this process, of which no other thread runs, the account's.
    pub(super) fn become_it(&self) -> Result<(), AccountError> {
        if !geteuid().is_root() {
            return Err(AccountError::NotRoot { wanted: self.name.clone(), now: name_of(geteuid()) });
        }
        self.take().map_err(|(what, error)| AccountError::Failed { what, error })
    }

    /// The same for whoever has the capabilities to it; else the step that failed, and why.
    pub(super) fn take(&self) -> Result<(), (&'static str, io::Error)> {
        let failed = |what| move |error: nix::Error| (what, error.into());
        setgroups(&self.groups).map_err(failed("take its groups"))?;
        setresgid(self.group, self.group, self.group).map_err(failed("take its group"))?;
        setresuid(self.user, self.user, self.user).map_err(failed("become it"))
    }

    /// Makes this thread the account's, and no other one.
    pub(super) fn thread_becomes_it(&self) -> io::Result<()> {
        let id = |gid: &Gid| rustix::process::Gid::from_raw(gid.as_raw());
        let groups: Vec<_> = self.groups.iter().map(id).collect();
        set_thread_groups(&groups)?;
        let (group, user) = (id(&self.group), rustix::process::Uid::from_raw(self.user.as_raw()));
        set_thread_res_gid(group, group, group)?;
        Ok(set_thread_res_uid(user, user, user)?)
    }

    /// The numbers of its groups, as it has them once a process has become it.
    pub(super) fn groups(&self) -> impl Iterator<Item = u32> {
        [self.group].into_iter().chain(self.groups.iter().copied()).map(Gid::as_raw)
    }

    pub(super) fn is_root(&self) -> bool {
        self.user.is_root()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Does a map of user_namespaces(7) have the number?
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(first)), _, Some(Ok(count))) => {
                (first..first.saturating_add(count)).contains(&u64::from(id))
            }
            _ => false,
        }
    })
}

/// Is root here root of the machine, and not somebody who is called so in a user namespace of theirs?
pub(super) fn root_is_real() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// A user's name, or its number.
pub(crate) fn name_of(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(user: Option<Owner>, group: Option<Owner>) -> Global {
        Global { user, group, ..Global::default() }
    }

    fn name(name: &str) -> Option<Owner> {
        Some(Owner::Name(name.to_owned()))
    }

    #[test]
    fn file_without_user_and_group_changes_nothing() {
        assert_eq!(Account::find(&global(None, None)).unwrap(), None);
    }

    #[test]
    fn user_brings_its_group_unless_the_file_names_another() {
        let root = Account::find(&global(name("root"), None)).unwrap().unwrap();
        assert_eq!((root.user.as_raw(), root.group.as_raw()), (0, 0));
        let other = Account::find(&global(name("root"), Some(Owner::Id(4_711)))).unwrap().unwrap();
        assert_eq!((other.user.as_raw(), other.group.as_raw()), (0, 4_711));
        assert!(other.groups.contains(&Gid::from_raw(4_711)));
    }

    #[test]
    fn group_alone_is_the_only_one_left() {
        let found = Account::find(&global(None, Some(Owner::Id(4_711)))).unwrap().unwrap();
        assert_eq!((found.user, found.group), (geteuid(), Gid::from_raw(4_711)));
        assert_eq!(found.groups, [Gid::from_raw(4_711)]);
    }

    #[test]
    fn who_is_unknown_is_named_with_what_to_do() {
        let why = |global| Account::find(&global).unwrap_err().to_string();
        assert_eq!(
            why(global(name("no-such-user"), None)),
            "[global] user: no user is called `no-such-user` on this machine; make it with: useradd --system no-such-user"
        );
        assert_eq!(
            why(global(None, name("no-such-group"))),
            "[global] group: no group is called `no-such-group` on this machine; make it with: groupadd --system \
             no-such-group"
        );
        assert_eq!(
            why(global(Some(Owner::Id(4_000_000_000)), None)),
            "[global] user: nobody has the number 4000000000 on this machine, so write its `group` as well"
        );
        let both =
            Account::find(&global(Some(Owner::Id(4_000_000_000)), Some(Owner::Id(7)))).unwrap().unwrap();
        assert_eq!((both.user.as_raw(), both.groups), (4_000_000_000, vec![Gid::from_raw(7)]));
    }

    #[test]
    fn map_of_a_user_namespace_has_the_numbers_of_its_ranges() {
        let whole = "         0          0 4294967295\n";
        assert!(maps(whole, 0) && maps(whole, 990) && maps(whole, 4_000_000_000));
        let one = "0 1000 1\n";
        assert!(maps(one, 0) && !maps(one, 1) && !maps(one, 1000));
        let two = "0 1000 1\n1 100000 65536\n";
        assert!(maps(two, 65_536) && !maps(two, 65_537));
        assert!(!maps("", 0));
    }
}
