//! One speaker per network namespace, interface and virtual router: a lock file.

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

use crate::{Moment, Vrid};

/// How often a lock that another process holds is tried.
const RETRY: Duration = Duration::from_millis(5);

/// Held until it is dropped or its process is gone; the kernel lets go of it after the last thread has ended.
#[derive(Debug)]
pub(super) struct RouterLock {
    _held: Flock<File>,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("another lbctl speaks for vrid {vrid} on {interface} in this network namespace ({path} is locked)", path = path.display())]
    Taken { vrid: Vrid, interface: String, path: PathBuf },
    #[error("the lock file {path} can't be used: {error}", path = path.display())]
    File { path: PathBuf, error: io::Error },
}

impl RouterLock {
    /// Takes the lock. A predecessor that is just ending gets `patience`; this blocks for so long.
    pub(super) fn take(
        folder: &Path,
        interface: &str,
        index: u32,
        vrid: Vrid,
        patience: Duration,
    ) -> Result<Self, LockError> {
        let path = path(folder, index, vrid)
            .map_err(|error| LockError::File { path: PathBuf::from("/proc/thread-self/ns/net"), error })?;
        let file_error = |error| LockError::File { path: path.clone(), error };
        // Who may read a file may lock it: nobody else is to keep us from speaking.
        let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let mut file = options.map_err(file_error)?;
        // One that an earlier version left.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(file_error)?;
        let until = Moment::now() + patience;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok(Self { _held: held }),
                Err((again, Errno::EWOULDBLOCK)) if Moment::now() < until => {
                    file = again;
                    thread::sleep(RETRY);
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(LockError::Taken { vrid, interface: interface.to_owned(), path });
                }
                Err((_, error)) => return Err(file_error(error.into())),
            }
        }
    }
}

/// Interface indices repeat in other namespaces, so the namespace is part of the name. The file stays behind: removing
/// it would let a third process lock a new file of the same name.
fn path(folder: &Path, index: u32, vrid: Vrid) -> io::Result<PathBuf> {
    let namespace = std::fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(folder.join(format!("speaker-{namespace}-{index}-{vrid}.lock")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_may_open_the_lock_file_and_so_lock_it() {
        let folder = std::env::temp_dir().join(format!("lb-vrrp-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let vrid = Vrid::new(51).unwrap();
        let left = path(&folder, 7, vrid).unwrap();
        std::fs::write(&left, "").unwrap();
        std::fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        let lock = RouterLock::take(&folder, "eth1", 7, vrid, Duration::ZERO).unwrap();
        assert_eq!(std::fs::metadata(&left).unwrap().permissions().mode() & 0o777, 0o600);
        drop(lock);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
