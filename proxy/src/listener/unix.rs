//! Listening on Unix-domain sockets.
//!
//! A socket appears under its name only when it is complete: with its rights and listening. So it is made under another
//! name in the same folder. A file that a process left behind when it died is replaced; one whose process lives is not.
//! The kernel has no SO_REUSEPORT here, so all workers accept from one queue.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::unistd::{Gid, Group, Uid, User, chown};
use socket2::{Domain, SockAddr, Socket, Type};

use super::BACKLOG;
use crate::config::{Owner, UnixAddress, UnixBind};

/// There can't be a socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnixBindError {
    /// Somebody listens there.
    #[error("{address} is taken by another process; `ss -xlp` names it: stop it or choose another path")]
    Taken { address: UnixAddress },
    /// It would be lost.
    #[error("{} exists and is no socket; remove it or choose another path", path.display())]
    NoSocket { path: PathBuf },
    /// The file names somebody whom the machine does not know.
    #[error("no {kind} is called `{name}` on this machine")]
    Unknown { kind: &'static str, name: String },
    /// A step failed.
    #[error("can't {what} {address}: {source}")]
    Step { what: &'static str, address: UnixAddress, source: io::Error },
}

/// The file of a socket that this process made. Dropping it removes it, unless another socket is there by now. Drop it
/// before the socket: as long as that is open, no other file can get its inode.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: Id,
}

/// Device and inode.
type Id = (u64, u64);

/// One listening socket: `count` handles on it, and its file, if it has one.
pub(crate) fn bind(
    wanted: &UnixBind,
    count: usize,
) -> Result<(Vec<Socket>, Option<SocketFile>), UnixBindError> {
    let address = &wanted.address;
    let failed = |what| move |source| UnixBindError::Step { what, address: address.clone(), source };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(failed("make"))?;
    let file = match address.path() {
        Some(path) => Some(bind_file(&socket, path, wanted)?),
        None => {
            let bound = socket.bind(&address.to_socket().map_err(failed("bind"))?);
            bound.and_then(|()| socket.listen(BACKLOG)).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => UnixBindError::Taken { address: address.clone() },
                _ => failed("bind")(error),
            })?;
            None
        }
    };
    let sockets =
        (0..count).map(|_| socket.try_clone()).collect::<io::Result<_>>().map_err(failed("share"))?;
    Ok((sockets, file))
}

fn bind_file(socket: &Socket, path: &Path, wanted: &UnixBind) -> Result<SocketFile, UnixBindError> {
    let address = &wanted.address;
    let failed = |what| move |source| UnixBindError::Step { what, address: address.clone(), source };
    let rights = Rights::of(wanted)?;
    make_way(path, address)?;
    let unfinished = Unfinished(beside(path));
    let made = SockAddr::unix(&unfinished.0).and_then(|name| {
        // Left behind by a process that had our number.
        let _ = fs::remove_file(&unfinished.0);
        socket.bind(&name)
    });
    made.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("bind")(io::Error::other("its folder does not exist")),
        _ => failed("bind")(error),
    })?;
    rights.give(&unfinished.0).map_err(|(what, source)| failed(what)(source))?;
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    let id = id(&fs::symlink_metadata(&unfinished.0).map_err(failed("look at"))?);
    // A link never replaces what has come there meanwhile.
    match fs::hard_link(&unfinished.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(UnixBindError::Taken { address: address.clone() });
        }
        // Not every file system has links, and not everybody may link what belongs to another user.
        Err(_) => fs::rename(&unfinished.0, path).map_err(failed("bind"))?,
    }
    Ok(SocketFile { path: path.to_owned(), id })
}

/// Who may connect, as far as the configuration says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    mode: Option<u32>,
    user: Option<Uid>,
    group: Option<Gid>,
}

impl Rights {
    pub(crate) fn of(wanted: &UnixBind) -> Result<Self, UnixBindError> {
        let user = wanted.user.as_ref().map(user).transpose()?;
        let group = wanted.group.as_ref().map(group).transpose()?;
        Ok(Self { mode: wanted.mode, user, group })
    }

    /// The error, and the step that failed.
    fn give(self, path: &Path) -> Result<(), (&'static str, io::Error)> {
        if self.user.is_some() || self.group.is_some() {
            chown(path, self.user, self.group).map_err(|errno| ("give away", errno.into()))?;
        }
        if let Some(mode) = self.mode {
            fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(|error| ("set the mode of", error))?;
        }
        Ok(())
    }
}

impl SocketFile {
    /// Other rights for a socket that is there already.
    pub(crate) fn change(&self, rights: Rights) {
        if let Err((what, error)) = rights.give(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "can't {what} the socket");
        }
    }
}

/// Removes a socket that nobody listens on any more.
fn make_way(path: &Path, address: &UnixAddress) -> Result<(), UnixBindError> {
    let failed = |what| move |source| UnixBindError::Step { what, address: address.clone(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at")(error)),
    };
    if !found.file_type().is_socket() {
        return Err(UnixBindError::NoSocket { path: path.to_owned() });
    }
    if is_alive(address).map_err(failed("look at"))? {
        return Err(UnixBindError::Taken { address: address.clone() });
    }
    // Only the one that was found dead.
    let is_same = fs::symlink_metadata(path).is_ok_and(|now| id(&now) == id(&found));
    if is_same {
        fs::remove_file(path).map_err(failed("replace"))?;
    }
    Ok(())
}

/// Does anybody listen there?
fn is_alive(address: &UnixAddress) -> io::Result<bool> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&address.to_socket()?) {
        Ok(()) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ENOENT) => Ok(false),
            // Its queue is full, or it is a socket of another type.
            Some(libc::EAGAIN | libc::EPROTOTYPE) => Ok(true),
            _ => Err(error),
        },
    }
}

/// A name in the same folder that nobody else uses, of at most [`UnixBind::TEMPORARY`] bytes.
fn beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) % 0x1000;
    path.with_file_name(format!(".{:x}.{number:x}", std::process::id()))
}

/// A socket on its way to its name.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone if it was renamed.
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the socket can't be removed");
        }
    }
}

fn id(file: &Metadata) -> Id {
    (file.dev(), file.ino())
}

fn user(owner: &Owner) -> Result<Uid, UnixBindError> {
    let known = |name: &str| User::from_name(name).ok().flatten().map(|user| user.uid);
    number(owner, "user", Uid::from_raw, known)
}

fn group(owner: &Owner) -> Result<Gid, UnixBindError> {
    let known = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid);
    number(owner, "group", Gid::from_raw, known)
}

fn number<T>(
    owner: &Owner,
    kind: &'static str,
    raw: impl Fn(u32) -> T,
    known: impl Fn(&str) -> Option<T>,
) -> Result<T, UnixBindError> {
    match owner {
        Owner::Id(id) => Ok(raw(*id)),
        Owner::Name(name) => known(name).ok_or_else(|| UnixBindError::Unknown { kind, name: name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    fn at(path: &Path) -> UnixBind {
        UnixAddress::new(path.to_str().unwrap()).unwrap().into()
    }

    /// The names of what is in a folder.
    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn socket_has_its_rights_and_nothing_else_is_left_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let group = Owner::Id(nix::unistd::getgid().as_raw());
        let wanted = UnixBind { mode: Some(0o620), group: Some(group), ..at(&path) };
        let (sockets, file) = bind(&wanted, 3).unwrap();
        assert_eq!(sockets.len(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o620);
        assert_eq!(names(folder.path()), ["app.sock"]);
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn socket_of_a_dead_process_is_replaced_and_one_of_a_living_process_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let other = UnixListener::bind(&path).unwrap();
        let error = bind(&at(&path), 1).unwrap_err().to_string();
        let expected = format!(
            "unix:{} is taken by another process; `ss -xlp` names it: stop it or choose another path",
            path.display()
        );
        assert_eq!(error, expected);
        drop(other);
        assert!(path.exists(), "its process did not remove it");
        let _bound = bind(&at(&path), 1).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn file_of_somebody_else_stays_at_the_beginning_and_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        fs::write(&path, "not a socket").unwrap();
        let error = bind(&at(&path), 1).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{} exists and is no socket; remove it or choose another path", path.display())
        );
        fs::remove_file(&path).unwrap();
        let (_sockets, file) = bind(&at(&path), 1).unwrap();
        fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        drop(file);
        assert!(path.exists(), "the other one's");
    }

    #[test]
    fn what_is_missing_on_the_machine_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |bind: &UnixBind| super::bind(bind, 1).unwrap_err().to_string();
        let path = folder.path().join("app.sock");
        let nobody = |name: &str| Some(Owner::Name(name.to_owned()));
        let user = UnixBind { user: nobody("no-such-user"), ..at(&path) };
        assert_eq!(error(&user), "no user is called `no-such-user` on this machine");
        let group = UnixBind { group: nobody("no-such-group"), ..at(&path) };
        assert_eq!(error(&group), "no group is called `no-such-group` on this machine");
        let deep = folder.path().join("none/app.sock");
        assert_eq!(
            error(&at(&deep)),
            format!("can't bind unix:{}: its folder does not exist", deep.display())
        );
    }

    #[test]
    fn abstract_name_is_in_no_folder_and_is_taken_once() {
        let name = format!("@lbctl-test-{}", std::process::id());
        let wanted = UnixBind::from(UnixAddress::new(&name).unwrap());
        let bound = bind(&wanted, 2).unwrap();
        assert!(bound.1.is_none());
        assert!(matches!(bind(&wanted, 1), Err(UnixBindError::Taken { .. })));
    }
}
