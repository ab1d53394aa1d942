//! The control socket in the file system: one daemon per path, a dead one's socket replaced, 0660.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io,
    mem::ManuallyDrop,
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::{Gid, Group},
};
use tokio::net::UnixListener;

/// Members of this group may use the control socket, if it exists.
const GROUP: &str = "lbctl";

/// A bound control socket. Dropping it removes it.
#[derive(Debug)]
pub(in crate::daemon) struct ControlSocket {
    path: PathBuf,
    /// Held for the life of the process: who has it is alive. Never unlocked, because that would unlock it for another
    /// daemon that has the same open file.
    lock: ManuallyDrop<Flock<File>>,
    /// Another handle on what is listened on.
    listening: OwnedFd,
    is_left: AtomicBool,
}

/// There can't be a control socket.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum SocketError {
    /// Its daemon lives.
    #[error("another lbctl runs here: it holds {}; see: lbctl status --control {}", .0.display(), .0.display())]
    Taken(PathBuf),
    /// The folder or the file.
    #[error("can't {what} {}: {cause}; is it the right user, the right --runtime-dir?", path.display())]
    File {
        /// The step.
        what: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why. Not a `source`: the sentence has it already.
        cause: io::Error,
    },
}

impl ControlSocket {
    /// Creates the folder (0755) where it is missing and binds `path`. Must be called before other threads create
    /// files: it sets the umask for a moment, so that nobody connects before the mode is right.
    pub(in crate::daemon) fn bind(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |cause| SocketError::File { what, path, cause }
        };
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(folder)
                .map_err(failed("create", folder))?;
        }
        let lock_path = lock_path(path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => ManuallyDrop::new(lock),
            Err((_, Errno::EWOULDBLOCK)) => return Err(SocketError::Taken(path.to_owned())),
            Err((_, errno)) => return Err(failed("lock", &lock_path)(errno.into())),
        };
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(path).map_err(failed("remove the dead socket", path))?;
            }
            Ok(_) => {
                let source = io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is no socket");
                return Err(failed("replace", path)(source));
            }
            Err(_) => {}
        }
        let umask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(path);
        nix::sys::stat::umask(umask);
        let listener = bound.map_err(failed("bind", path))?;
        if let Ok(Some(group)) = Group::from_name(GROUP)
            && let Err(error) = nix::unistd::chown(path, None, Some(Gid::from_raw(group.gid.as_raw())))
        {
            tracing::warn!(%error, "the control socket can't be given to group {GROUP}: its members have no right to it");
        }
        fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed("chmod", path))?;
        let listening = listener.as_fd().try_clone_to_owned().map_err(failed("share", path))?;
        Ok((Self { path: path.to_owned(), lock, listening, is_left: AtomicBool::new(false) }, listener))
    }

    /// That of another daemon, with its lock.
    pub(in crate::daemon) fn take_over(
        path: &Path,
        [listening, lock]: [OwnedFd; 2],
    ) -> io::Result<(Self, UnixListener)> {
        // The same open file as in the other daemon, so it is locked already.
        let lock = Flock::lock(File::from(lock), FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::from(errno))?;
        let lock = ManuallyDrop::new(lock);
        let listener = UnixListener::from_std(listening.try_clone()?.into())?;
        Ok((Self { path: path.to_owned(), lock, listening, is_left: AtomicBool::new(false) }, listener))
    }

    pub(in crate::daemon) fn path(&self) -> &Path {
        &self.path
    }

    /// For another daemon: what is listened on, and the lock.
    pub(in crate::daemon) fn share(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.listening.try_clone()?, self.lock.try_clone()?.into()])
    }

    /// It is this daemon's.
    pub(in crate::daemon) fn keep(&self) {
        self.is_left.store(false, Ordering::Relaxed);
    }

    /// It is another daemon's: it stays when this is dropped.
    pub(in crate::daemon) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if !self.is_left.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}
