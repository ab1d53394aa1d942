//! One speaker per network namespace, interface and virtual router: a name in the network namespace, whatever the runtime
//! folder, and a lock file in that folder, which holds even where a stranger has taken the name.

use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::{Family, Moment, Vrid};

mod name;
mod number;

pub use number::make_room_for_locks;

use name::{Name, NameError};
use number::raised;

/// How often a lock that another process holds is tried. At 10 ms between advertisements a successor has 15 ms for its whole start.
const RETRY: Duration = Duration::from_millis(1);

/// How often it is asked whose it is meanwhile: within the patience, fewer times than a holder that is just ending keeps waiting.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Held until it is dropped or its process is gone; the kernel lets go of it after the last thread has ended.
#[derive(Debug)]
pub(super) struct RouterLock {
    name: Option<Name>,
    _file: Flock<File>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("another lbctl speaks for vrid {vrid} on {interface} in this network namespace ({holder})")]
    Taken { vrid: Vrid, interface: String, holder: String },
    #[error("the lock file {path} can't be used: {error}", path = path.display())]
    File { path: PathBuf, error: io::Error },
}

impl RouterLock {
    /// Takes the lock; with a sentence if a stranger has its name. A predecessor that is just ending gets `patience`; this
    /// blocks for so long.
    pub(super) fn take(
        folder: &Path,
        interface: &str,
        index: u32,
        (vrid, family): (Vrid, Family),
        patience: Duration,
    ) -> Result<(Self, Option<String>), LockError> {
        let until = Moment::now() + patience;
        let taken = |holder| LockError::Taken { vrid, interface: interface.to_owned(), holder };
        let router = router(index, vrid, family);
        let (name, squatter) = Self::take_name(&router, until).map_err(taken)?;
        let path = path(folder, &router)
            .map_err(|error| LockError::File { path: PathBuf::from("/proc/thread-self/ns/net"), error })?;
        let file_error = |error| LockError::File { path: path.clone(), error };
        // Who may read a file may lock it: nobody else is to keep us from speaking.
        let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let mut file = File::from(raised(options.map_err(file_error)?.into()));
        // One that an earlier version left.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(file_error)?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok((Self { name, _file: held }, squatter)),
                Err((again, Errno::EWOULDBLOCK)) if Moment::now() < until => {
                    file = again;
                    thread::sleep(RETRY);
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(taken(format!("{} is locked", path.display())));
                }
                Err((_, error)) => return Err(file_error(error.into())),
            }
        }
    }

    /// Wanted once a second.
    pub(super) fn answer(&self) {
        if let Some(name) = &self.name {
            name.answer();
        }
    }

    /// The name, or who keeps it from us and is none of us; the error is one of us.
    fn take_name(router: &str, until: Moment) -> Result<(Option<Name>, Option<String>), String> {
        let name = format!("lbctl/speaker/{router}").replace('-', "/");
        let mut tried = Name::take(&name);
        let mut asked = Moment::now();
        while matches!(tried, Err(NameError::Ours { .. })) && Moment::now() < until {
            thread::sleep(RETRY);
            if let Some(free) = Name::take_free(&name) {
                tried = Ok(free);
            } else if Moment::now().saturating_since(asked) >= ASK_AGAIN {
                // A stranger may have been quicker than us when the one of us let go.
                tried = Name::take(&name);
                asked = Moment::now();
            }
        }
        let unheld = |why: String| {
            format!(
                "{why} keeps the name @{name} from us: an lbctl with another runtime folder would not be refused"
            )
        };
        match tried {
            Ok(name) => Ok((Some(name), None)),
            Err(NameError::Ours { pid: Some(pid) }) => Err(format!("process {pid}")),
            Err(NameError::Ours { pid: None }) => Err("in another PID namespace".to_owned()),
            Err(NameError::Stranger { who }) => Ok((None, Some(unheld(who)))),
            Err(NameError::Refused(error)) => Ok((None, Some(unheld(error.to_string())))),
        }
    }
}

/// What there is one speaker of. The number of a virtual router is one of its family.
fn router(index: u32, vrid: Vrid, family: Family) -> String {
    match family {
        Family::Ipv4 => format!("{index}-{vrid}"),
        Family::Ipv6 => format!("{index}-{vrid}-ipv6"),
    }
}

/// Interface indices repeat in other namespaces, so the namespace is part of the name. The file stays behind: removing
/// it would let a third process lock a new file of the same name.
fn path(folder: &Path, router: &str) -> io::Result<PathBuf> {
    let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(folder.join(format!("speaker-{namespace}-{router}.lock")))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use nix::sys::socket::{
        AddressFamily, Backlog, Shutdown, SockFlag, SockType, UnixAddr, accept, bind, listen, shutdown,
        socket,
    };

    use super::*;

    /// A stranger who takes it when one of us lets go is told of, and keeps nobody from speaking.
    #[test]
    fn holder_that_becomes_a_stranger_is_not_waited_for() {
        let router = format!("test-{}", std::process::id());
        let name = format!("lbctl/speaker/{router}").replace('-', "/");
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let flags = SockFlag::SOCK_CLOEXEC;
        let held = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        bind(held.as_raw_fd(), &address).unwrap();
        listen(&held, Backlog::new(8).unwrap()).unwrap();
        let until = Moment::now() + Duration::from_secs(60);
        let waits = thread::spawn(move || RouterLock::take_name(&router, until));
        // It has asked, and been told that it is one of us.
        let asking = accept(held.as_raw_fd()).unwrap();
        // Bound on, and nobody who answers.
        shutdown(held.as_raw_fd(), Shutdown::Both).unwrap();
        let (name, squatter) = waits.join().unwrap().unwrap();
        assert!(name.is_none());
        assert!(squatter.unwrap().starts_with("somebody who does not answer"));
        nix::unistd::close(asking).unwrap();
    }

    #[test]
    fn nobody_else_may_open_the_lock_file_and_so_lock_it() {
        let folder = std::env::temp_dir().join(format!("lb-vrrp-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let vrid = Vrid::new(51).unwrap();
        let left = path(&folder, "7-51").unwrap();
        std::fs::write(&left, "").unwrap();
        std::fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        let (lock, squatter) =
            RouterLock::take(&folder, "eth1", 7, (vrid, Family::Ipv4), Duration::ZERO).unwrap();
        assert_eq!(squatter, None);
        assert_eq!(std::fs::metadata(&left).unwrap().permissions().mode() & 0o777, 0o600);
        // Another family is another virtual router.
        let ipv6 = RouterLock::take(&folder, "eth1", 7, (vrid, Family::Ipv6), Duration::ZERO);
        assert!(ipv6.is_ok(), "{ipv6:?}");
        drop(lock);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
