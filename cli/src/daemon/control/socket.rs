//! The control socket in the file system: one daemon per path, a dead one's socket replaced, 0660.
//!
//! Whoever removes its file (a cleaner of `/run`, an operator) takes nothing away for long: the daemon looks at it each
//! second and makes another one ([`ControlSocket::restore`]). The lock goes on to say who lives.

use std::{
    borrow::Cow,
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::fd::{AsFd, OwnedFd},
    os::unix::{
        fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        net::UnixListener as StdListener,
    },
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    sys::stat::{Mode, fchmod},
    unistd::{Gid, Group, Uid, geteuid},
};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{net::UnixListener, sync::mpsc};

use super::listening::Listening;
use crate::privileges::name_of;

/// Members of this group may use the control socket, if it exists.
const GROUP: &str = "lbctl";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// A bound control socket. Dropping it removes its file, unless it is another daemon's.
#[derive(Debug)]
pub(in crate::daemon) struct ControlSocket {
    path: PathBuf,
    bound: Mutex<Bound>,
    /// Gets what is listened on after the file was removed.
    restored: mpsc::UnboundedSender<UnixListener>,
    is_left: AtomicBool,
}

#[derive(Debug)]
struct Bound {
    /// Who has it is alive. Closed and never unlocked, because that would unlock it for another daemon that has the same
    /// open file. `None` once another one serves.
    lock: Option<File>,
    /// Another handle on what is listened on.
    listening: Option<OwnedFd>,
    /// The socket's file, if it is there.
    file: Option<Id>,
}

/// Device and inode.
type Id = (u64, u64);

/// There can't be a control socket.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum SocketError {
    /// Its daemon lives.
    #[error("another lbctl runs here: it holds {}; see: lbctl status --control {}", .0.display(), .0.display())]
    Taken(PathBuf),
    /// The folder or the file.
    #[error("can't {what} {}: {cause}; {}", path.display(), advice(cause, path))]
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
    /// Creates the folder (0755) where it is missing and binds `path`.
    pub(in crate::daemon) fn bind(path: &Path) -> Result<(Self, Listening), SocketError> {
        let lock = lock(path)?;
        let listener = listen(path)?;
        Self::new(path, lock, listener).map_err(failed("share", path))
    }

    /// That of another daemon, with its lock.
    pub(in crate::daemon) fn take_over(
        path: &Path,
        [listening, lock]: [OwnedFd; 2],
    ) -> io::Result<(Self, Listening)> {
        // The same open file as in the other daemon, so it is locked already.
        Self::new(path, lock.into(), listening.into())
    }

    fn new(path: &Path, lock: File, listener: StdListener) -> io::Result<(Self, Listening)> {
        // Whose lock was removed can't know whose socket is there.
        let is_own = is_at(&lock_path(path), &id(&lock.metadata()?));
        let file = is_own.then(|| socket_at(path)).flatten();
        let listening = Some(listener.as_fd().try_clone_to_owned()?);
        let bound = Bound { lock: Some(lock), listening, file };
        let (restored, next) = mpsc::unbounded_channel();
        let listening = Listening::new(UnixListener::from_std(listener)?, next);
        let is_left = AtomicBool::new(false);
        Ok((Self { path: path.to_owned(), bound: Mutex::new(bound), restored, is_left }, listening))
    }

    pub(in crate::daemon) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes its file anew if somebody has removed it; whether that was so.
    ///
    /// # Errors
    /// It can't be made: nobody can reach this daemon.
    pub(in crate::daemon) fn restore(&self) -> Result<bool, SocketError> {
        let mut bound = self.bound();
        if bound.file.as_ref().is_some_and(|file| is_at(&self.path, file)) {
            return Ok(false);
        }
        bound.file = None;
        let found = bound.lock.as_ref().and_then(|lock| lock.metadata().ok());
        let is_locked = found.is_some_and(|lock| is_at(&lock_path(&self.path), &id(&lock)));
        if !is_locked {
            bound.lock = Some(lock(&self.path)?);
        }
        let failed = || failed("share", &self.path);
        let listener = listen(&self.path)?;
        bound.listening = Some(listener.as_fd().try_clone_to_owned().map_err(failed())?);
        bound.file = socket_at(&self.path);
        // It is taken as long as this daemon answers at all.
        let _ = self.restored.send(UnixListener::from_std(listener).map_err(failed())?);
        Ok(true)
    }

    /// For another daemon: what is listened on, and the lock.
    pub(in crate::daemon) fn share(&self) -> io::Result<[OwnedFd; 2]> {
        let bound = self.bound();
        match (&bound.listening, &bound.lock) {
            (Some(listening), Some(lock)) => Ok([listening.try_clone()?, lock.try_clone()?.into()]),
            _ => Err(io::Error::other("another daemon has it")),
        }
    }

    /// It is this daemon's.
    pub(in crate::daemon) fn keep(&self) {
        self.is_left.store(false, Ordering::Relaxed);
    }

    /// It is another daemon's: it stays when this is dropped.
    pub(in crate::daemon) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// The same, for good: when that daemon ends, the lock is free.
    pub(in crate::daemon) fn give_up(&self) {
        self.leave();
        let mut bound = self.bound();
        (bound.lock, bound.listening) = (None, None);
    }

    fn bound(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let is_own = self.bound().file.as_ref().is_some_and(|file| is_at(&self.path, file));
        if is_own && !self.is_left.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The lock of the daemon whose control socket `path` is; its folder is made where it is missing.
fn lock(path: &Path) -> Result<File, SocketError> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed("create", folder))?;
    }
    let lock_path = lock_path(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(failed("open", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(SocketError::Taken(path.to_owned())),
        Err(error) => Err(failed("lock", &lock_path)(error.into())),
    }
}

/// Listens at `path`, for whose lock the caller has. A socket that is there is a dead daemon's.
fn listen(path: &Path) -> Result<StdListener, SocketError> {
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
    let bind = || -> io::Result<StdListener> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        // The mode of a socket is that of its file (unix(7)): so nobody connects before the group is right.
        fchmod(&socket, Mode::from_bits_truncate(0o600))?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        Ok(StdListener::from(OwnedFd::from(socket)))
    };
    let listener = bind().map_err(failed("bind", path))?;
    if let Ok(Some(group)) = Group::from_name(GROUP)
        && let Err(error) = nix::unistd::chown(path, None, Some(Gid::from_raw(group.gid.as_raw())))
    {
        tracing::warn!(%error, "the control socket can't be given to group {GROUP}: its members have no right to it");
    }
    fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed("chmod", path))?;
    Ok(listener)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SocketError {
    let path = path.to_owned();
    move |cause| SocketError::File { what, path, cause }
}

/// What to do about it.
fn advice(cause: &io::Error, path: &Path) -> Cow<'static, str> {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room there (df, df -i), or choose another --runtime-dir".into()
        }
        io::ErrorKind::ReadOnlyFilesystem => "mount it for writing, or choose another --runtime-dir".into(),
        io::ErrorKind::InvalidInput => {
            "the path of a socket has at most 107 bytes: choose a shorter --runtime-dir or --control".into()
        }
        io::ErrorKind::PermissionDenied => denied(path).into(),
        _ if matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            "raise the limit on open files (LimitNOFILE=, ulimit -n)".into()
        }
        _ => "is it the right user, the right --runtime-dir?".into(),
    }
}

/// Root is denied as well: by then it has given away the right to pass over the rights of files.
fn denied(path: &Path) -> String {
    let now = geteuid();
    let owned = [path.to_owned(), folder_of(path)].into_iter().find_map(|of| {
        let owner = Uid::from_raw(fs::symlink_metadata(&of).ok()?.uid());
        (owner != now).then_some((of, owner))
    });
    match owned {
        Some((of, owner)) => format!(
            "lbctl runs as {}, and {} belongs to {}: choose a folder of its own by --runtime-dir or --control; or, if {} is \
             lbctl's alone, let it belong to {} with all that is in it",
            name_of(now),
            of.display(),
            name_of(owner),
            folder_of(path).display(),
            name_of(now),
        ),
        None => {
            closed(path, now).unwrap_or_else(|| "is it the right user, the right --runtime-dir?".to_owned())
        }
    }
}

/// Where the folder belongs to the right user, and its mode keeps that user out.
fn closed(path: &Path, user: Uid) -> Option<String> {
    let folder = folder_of(path);
    let mode = fs::metadata(&folder).ok()?.mode() & 0o7777;
    (mode & 0o300 != 0o300).then(|| {
        format!(
            "the folder is {}'s, whose mode {mode:04o} does not let it make files there: chmod u+rwx {}",
            name_of(user),
            folder.display()
        )
    })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

fn id(found: &Metadata) -> Id {
    (found.dev(), found.ino())
}

/// Is that file there?
fn is_at(path: &Path, file: &Id) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| id(&found) == *file)
}

fn socket_at(path: &Path) -> Option<Id> {
    let found = fs::symlink_metadata(path).ok()?;
    found.file_type().is_socket().then(|| id(&found))
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::net::UnixStream};

    use super::*;

    fn bind(path: &Path) -> (ControlSocket, Listening) {
        ControlSocket::bind(path).unwrap_or_else(|error| panic!("{error}"))
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").mode() & 0o777
    }

    /// Whoever connects is accepted.
    async fn answers(path: &Path, listening: &mut Listening) {
        UnixStream::connect(path).and_then(|mut client| client.write_all(b"x")).expect("it listens");
        listening.accept().await.readable().await.expect("the byte");
    }

    #[tokio::test]
    async fn a_socket_whose_file_or_folder_was_removed_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (run, path) = (folder.path().join("run"), folder.path().join("run/control.sock"));
        let (socket, mut listening) = bind(&path);
        assert!(!socket.restore().expect("nothing to do"));
        answers(&path, &mut listening).await;
        fs::remove_file(&path).expect("removed");
        assert!(socket.restore().expect("restored"));
        answers(&path, &mut listening).await;
        fs::remove_dir_all(&run).expect("removed");
        assert!(socket.restore().expect("restored"));
        answers(&path, &mut listening).await;
        assert_eq!((mode(&path), mode(&run)), (0o660, 0o755));
        // It is still the one daemon here, and so is the next process of an upgrade.
        assert!(matches!(ControlSocket::bind(&path), Err(SocketError::Taken(_))));
        let shared = socket.share().expect("shared");
        let (next, mut listening) = ControlSocket::take_over(&path, shared).expect("taken over");
        // It has connections left, and no part in this any more.
        socket.give_up();
        assert!(matches!(ControlSocket::bind(&path), Err(SocketError::Taken(_))));
        assert!(!next.restore().expect("nothing to do"));
        answers(&path, &mut listening).await;
        drop(next);
        assert!(!path.exists());
        let (_another, mut listening) = bind(&path);
        drop(socket);
        answers(&path, &mut listening).await;
    }

    #[tokio::test]
    async fn what_another_daemon_has_by_now_is_left_to_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/control.sock");
        let (first, _) = bind(&path);
        fs::remove_dir_all(path.parent().expect("a folder")).expect("removed");
        let (_second, mut listening) = bind(&path);
        assert!(matches!(first.restore(), Err(SocketError::Taken(_))));
        drop(first);
        answers(&path, &mut listening).await;
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/control.sock");
        let (socket, mut listening) = bind(&path);
        fs::remove_dir_all(path.parent().expect("a folder")).expect("removed");
        fs::write(folder.path().join("run"), "").expect("a file in its place");
        let why = socket.restore().expect_err("no folder").to_string();
        assert!(why.ends_with("is it the right user, the right --runtime-dir?"), "{why}");
        fs::remove_file(folder.path().join("run")).expect("removed");
        assert!(socket.restore().expect("restored"));
        answers(&path, &mut listening).await;
        let long = folder.path().join("x".repeat(120)).join("control.sock");
        let why = ControlSocket::bind(&long).expect_err("too long").to_string();
        assert!(
            why.ends_with(
                "the path of a socket has at most 107 bytes: choose a shorter --runtime-dir or --control"
            ),
            "{why}"
        );
        for (code, advice) in [
            (libc::ENOSPC, "make room there (df, df -i), or choose another --runtime-dir"),
            (libc::EDQUOT, "make room there (df, df -i), or choose another --runtime-dir"),
            (libc::EROFS, "mount it for writing, or choose another --runtime-dir"),
            (libc::EMFILE, "raise the limit on open files (LimitNOFILE=, ulimit -n)"),
            (libc::EACCES, "is it the right user, the right --runtime-dir?"),
        ] {
            assert_eq!(super::advice(&io::Error::from_raw_os_error(code), &path), advice);
        }
        // Nobody but root passes over it, and root not once it has given its rights away.
        let run = path.parent().expect("a folder");
        fs::set_permissions(run, Permissions::from_mode(0o500)).expect("changed");
        let why = advice(&io::Error::from_raw_os_error(libc::EACCES), &path);
        let expected =
            format!("'s, whose mode 0500 does not let it make files there: chmod u+rwx {}", run.display());
        assert!(why.starts_with("the folder is ") && why.ends_with(&expected), "{why}");
        fs::set_permissions(run, Permissions::from_mode(0o755)).expect("changed");
    }
}
