//! Listening on Unix-domain sockets.
//!
//! A socket appears under its name only when it is complete: with its rights and listening. So it is made under another
//! name in the same folder, and one that refuses connections under its own name is dead: a file that a process left
//! behind when it died is replaced; one whose process lives is not. The folder may be somebody else's, who can put
//! anything there at any time: so rights are given to the file that was made and not to what a name leads to, and a
//! rename never replaces what has not been looked at.
//! The kernel has no SO_REUSEPORT here, so all workers accept from one queue.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use nix::{
    fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2},
    unistd::{Gid, Group, Uid, User, fchownat, geteuid},
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::BACKLOG;
use crate::{
    config::{Owner, UnixAddress, UnixBind},
    file::with_reach,
    patience::{self, LIMIT},
};

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
    /// Whoever the machine asks for users and groups says nothing.
    #[error(
        "who owns {address} is not known within {} s; does the service for users and groups answer (nsswitch.conf)?",
        LIMIT.as_secs()
    )]
    Silent { address: UnixAddress },
    /// A step failed.
    #[error("can't {what} {address}: {source}")]
    Step { what: &'static str, address: UnixAddress, source: io::Error },
}

/// The file of a socket that this process made. Dropping it removes it, unless another socket is there by now.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Itself (O_PATH), wherever `path` leads. As long as it is open, no other file can get its inode.
    file: File,
    id: Id,
    is_left: AtomicBool,
}

/// Device and inode.
type Id = (u64, u64);

/// One listening socket: `count` handles on it, and its file, if it has one.
pub(crate) fn bind(
    wanted: &UnixBind,
    rights: Rights,
    count: usize,
) -> Result<(Vec<Socket>, Option<SocketFile>), UnixBindError> {
    let address = &wanted.address;
    let failed = |what| move |source| UnixBindError::Step { what, address: address.clone(), source };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).map_err(failed("make"))?;
    let file = match address.path() {
        Some(path) => Some(bind_file(&socket, path, address, rights)?),
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

fn bind_file(
    socket: &Socket,
    path: &Path,
    address: &UnixAddress,
    rights: Rights,
) -> Result<SocketFile, UnixBindError> {
    let failed = |what| move |source| UnixBindError::Step { what, address: address.clone(), source };
    left_behind(path, address)?;
    let unfinished = Unfinished(beside(path));
    let made = SockAddr::unix(&unfinished.0).and_then(|name| {
        // Left behind by a process that had our number.
        let _ = fs::remove_file(&unfinished.0);
        socket.bind(&name)
    });
    made.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed("bind")(io::Error::other("its folder does not exist")),
        _ => failed("bind")(with_reach(&unfinished.0, error)),
    })?;
    let (file, id) = open(&unfinished.0).map_err(failed("look at"))?;
    rights.give(&file).map_err(|(what, source)| failed(what)(source))?;
    socket.listen(BACKLOG).map_err(failed("listen on"))?;
    take(&unfinished.0, path, address)?;
    let file = SocketFile { path: path.to_owned(), file, id, is_left: AtomicBool::new(false) };
    if !file.is_there() {
        return Err(failed("bind")(another()));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    if is_open_to_all(folder) {
        tracing::warn!(
            folder = %folder.display(),
            "everybody may put another socket in the place of {address}: take the right to write in its folder from others (chmod o-w), or set the sticky bit (chmod +t)"
        );
    }
    Ok(file)
}

/// The file that was just made at `path`, and nothing that somebody else put there instead.
fn open(path: &Path) -> io::Result<(File, Id)> {
    let (file, found) = look_at(path)?;
    if found.uid() != geteuid().as_raw() {
        return Err(another());
    }
    let id = id(&found);
    Ok((file, id))
}

/// The socket at `path`, as a file.
fn look_at(path: &Path) -> io::Result<(File, Metadata)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let found = file.metadata()?;
    if found.file_type().is_socket() { Ok((file, found)) } else { Err(another()) }
}

fn another() -> io::Error {
    io::Error::other("somebody else changes what is in its folder")
}

/// Gives the finished socket its name. What is there already is replaced if nobody listens on it.
fn take(unfinished: &Path, path: &Path, address: &UnixAddress) -> Result<(), UnixBindError> {
    let failed = |source| UnixBindError::Step { what: "bind", address: address.clone(), source };
    match rename(unfinished, path, RenameFlags::RENAME_NOREPLACE) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => return other.map_err(failed),
    }
    let dead = left_behind(path, address)?;
    // Looking and replacing are two steps. An exchange shows what was replaced, and can be undone.
    rename(unfinished, path, RenameFlags::RENAME_EXCHANGE).map_err(failed)?;
    if fs::symlink_metadata(unfinished).is_ok_and(|found| Some(id(&found)) == dead) {
        return Ok(());
    }
    rename(unfinished, path, RenameFlags::RENAME_EXCHANGE).map_err(failed)?;
    Err(UnixBindError::Taken { address: address.clone() })
}

fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    renameat2(AT_FDCWD, from, AT_FDCWD, to, flags).map_err(|errno| match errno {
        nix::Error::EINVAL => io::Error::other(
            "its file system can't rename without replacing (renameat2); choose a folder on another one, as /run is",
        ),
        errno => errno.into(),
    })
}

/// May everybody remove what others have in it?
fn is_open_to_all(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| found.mode() & 0o1002 == 0o002)
}

/// Who may connect, as far as the configuration says so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights {
    mode: Option<u32>,
    user: Option<Uid>,
    group: Option<Gid>,
}

impl Rights {
    /// Looks the names up, which may take its time.
    pub(crate) fn of(wanted: &UnixBind) -> Result<Self, UnixBindError> {
        let (asked, address) = (wanted.clone(), &wanted.address);
        let look_up = move || {
            let user = asked.user.as_ref().map(user).transpose()?;
            let group = asked.group.as_ref().map(group).transpose()?;
            Ok(Self { mode: asked.mode, user, group })
        };
        let is_name = |owner: &Option<Owner>| matches!(owner, Some(Owner::Name(_)));
        if !is_name(&wanted.user) && !is_name(&wanted.group) {
            return look_up();
        }
        patience::within(&format!("owners of {address}"), look_up).unwrap_or_else(|error| {
            Err(match error.kind() {
                io::ErrorKind::TimedOut => UnixBindError::Silent { address: address.clone() },
                _ => {
                    UnixBindError::Step { what: "look up who owns", address: address.clone(), source: error }
                }
            })
        })
    }

    /// The error, and the step that failed.
    fn give(self, file: &File) -> Result<(), (&'static str, io::Error)> {
        let mut user = self.user;
        if let Some(mode) = self.mode {
            let failed = |error| ("set the mode of", error);
            let found = file.metadata().map_err(failed)?;
            match set_mode(file, mode) {
                // It was given away, and only its owner may do this (or CAP_FOWNER).
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    own(file, Some(geteuid()), None).map_err(failed)?;
                    set_mode(file, mode).map_err(failed)?;
                    user = user.or(Some(Uid::from_raw(found.uid())));
                }
                other => other.map_err(failed)?,
            }
        }
        if user.is_some() || self.group.is_some() {
            own(file, user, self.group).map_err(|error| ("give away", error))?;
        }
        Ok(())
    }
}

/// fchmod(2) takes no O_PATH descriptor; this link leads to the file itself.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(mode))
}

fn own(file: &File, user: Option<Uid>, group: Option<Gid>) -> io::Result<()> {
    fchownat(file, "", user, group, AtFlags::AT_EMPTY_PATH).map_err(Into::into)
}

impl SocketFile {
    /// Of a socket that the process before this one has made, and whose it is until [`Self::keep`].
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let (file, found) = look_at(path)?;
        let id = id(&found);
        Ok(Self { path: path.to_owned(), file, id, is_left: AtomicBool::new(true) })
    }

    /// Is this process's own.
    pub(crate) fn keep(&self) {
        self.is_left.store(false, Ordering::Relaxed);
    }

    /// Stays where it is when this is dropped: another process has the socket.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }

    /// Other rights for a socket that is there already.
    pub(crate) fn change(&self, rights: Rights) {
        if let Err((what, error)) = rights.give(&self.file) {
            tracing::warn!(path = %self.path.display(), %error, "can't {what} the socket");
        }
    }

    /// Or is another file at its path by now?
    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|found| id(&found) == self.id)
    }
}

/// The socket at `path`, if there is one; an error unless nobody listens on it any more.
fn left_behind(path: &Path, address: &UnixAddress) -> Result<Option<Id>, UnixBindError> {
    let failed = |source| UnixBindError::Step { what: "look at", address: address.clone(), source };
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !found.file_type().is_socket() {
        return Err(UnixBindError::NoSocket { path: path.to_owned() });
    }
    if is_alive(address).map_err(failed)? {
        return Err(UnixBindError::Taken { address: address.clone() });
    }
    Ok(Some(id(&found)))
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
        // It is gone if it was renamed, and another one's if it was exchanged.
        let _ = fs::remove_file(&self.0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left.load(Ordering::Relaxed)
            && self.is_there()
            && let Err(error) = fs::remove_file(&self.path)
        {
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

    fn bind(wanted: &UnixBind, count: usize) -> Result<(Vec<Socket>, Option<SocketFile>), UnixBindError> {
        super::bind(wanted, Rights::of(wanted)?, count)
    }

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
        let wanted = UnixBind { mode: Some(0o666), group: Some(group), ..at(&path) };
        let (sockets, file) = bind(&wanted, 3).unwrap();
        assert_eq!(sockets.len(), 3);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666, "whatever the umask");
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
    fn owners_are_found_by_name_and_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let owners = |user, group| {
            let rights = Rights::of(&UnixBind { user, group, ..at(&path) }).unwrap();
            (rights.user.map(Uid::as_raw), rights.group.map(Gid::as_raw))
        };
        let name = |name: &str| Some(Owner::Name(name.to_owned()));
        assert_eq!(owners(name("root"), Some(Owner::Id(7))), (Some(0), Some(7)));
        assert_eq!(owners(Some(Owner::Id(7)), name("root")), (Some(7), Some(0)));
        assert_eq!(owners(None, None), (None, None));
        let daemon =
            (User::from_name("daemon").unwrap().unwrap(), Group::from_name("daemon").unwrap().unwrap());
        let expected = (Some(daemon.0.uid.as_raw()), Some(daemon.1.gid.as_raw()));
        assert_eq!(owners(name("daemon"), name("daemon")), expected);
        assert_ne!(expected, (Some(0), Some(0)));
        if geteuid().is_root() {
            let wanted = UnixBind { user: name("daemon"), group: name("daemon"), ..at(&path) };
            let (_sockets, _file) = bind(&wanted, 1).unwrap();
            let found = fs::metadata(&path).unwrap();
            assert_eq!((Some(found.uid()), Some(found.gid())), expected);
        }
    }

    #[test]
    fn what_is_missing_on_the_machine_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = |wanted: &UnixBind| bind(wanted, 1).unwrap_err().to_string();
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
    fn rights_are_those_of_the_socket_also_when_its_path_leads_elsewhere_by_now() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("app.sock"), folder.path().join("victim"));
        fs::write(&victim, "").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        let (_sockets, file) = bind(&UnixBind { mode: Some(0o600), ..at(&path) }, 1).unwrap();
        let moved = folder.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        file.as_ref().unwrap().change(Rights { mode: Some(0o666), user: None, group: None });
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&victim), mode(&moved)), (0o600, 0o666));
        drop(file);
        assert!(path.is_symlink(), "somebody else's");
    }

    #[test]
    fn what_somebody_puts_in_the_place_of_a_new_socket_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        let _listener = UnixListener::bind(at("socket")).unwrap();
        fs::write(at("file"), "").unwrap();
        std::os::unix::fs::symlink(at("socket"), at("link")).unwrap();
        assert!(open(&at("socket")).is_ok());
        for name in ["file", "link"] {
            assert_eq!(open(&at(name)).unwrap_err().to_string(), another().to_string(), "{name}");
        }
    }

    #[test]
    fn folders_that_everybody_may_change_are_known() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, expected) in [(0o755, false), (0o775, false), (0o777, true), (0o1777, false)] {
            fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open_to_all(folder.path()), expected, "{mode:o}");
        }
    }

    #[test]
    fn dead_socket_is_replaced_by_one_of_those_that_come_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        for _ in 0..50 {
            drop(UnixListener::bind(&path).unwrap());
            let start = std::sync::Barrier::new(2);
            let one = || {
                start.wait();
                bind(&at(&path), 1).ok()
            };
            let bound = std::thread::scope(|scope| {
                let other = scope.spawn(one);
                [one(), other.join().unwrap()].into_iter().flatten().collect::<Vec<_>>()
            });
            assert!(bound.len() <= 1, "both have it");
            if !bound.is_empty() {
                UnixStream::connect(&path).unwrap();
            }
            drop(bound);
            let _ = fs::remove_file(&path);
        }
    }

    /// In the child of the test below.
    const WITH_FEW_RIGHTS: &str = "LB_TEST_FEW_RIGHTS";

    /// As under the unit that is shipped: it may give files away, and do nothing to those of others. Only root can show it.
    #[test]
    fn socket_gets_its_mode_and_its_user_with_the_right_to_give_away_alone() {
        if std::env::var_os(WITH_FEW_RIGHTS).is_none() {
            if !geteuid().is_root() {
                return;
            }
            let test = "socket_gets_its_mode_and_its_user_with_the_right_to_give_away_alone";
            let output = std::process::Command::new("setpriv")
                .args(["--bounding-set", "-all,+chown", "--inh-caps", "-all"])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", &format!("listener::unix::tests::{test}")])
                .env(WITH_FEW_RIGHTS, "1")
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.sock");
        let user = |id| Some(Owner::Id(id));
        let wanted = UnixBind { mode: Some(0o660), user: user(33), group: user(34), ..at(&path) };
        let (_sockets, file) = bind(&wanted, 1).unwrap();
        let rights = || {
            let found = fs::metadata(&path).unwrap();
            (found.permissions().mode() & 0o777, found.uid(), found.gid())
        };
        assert_eq!(rights(), (0o660, 33, 34));
        assert!(matches!(bind(&wanted, 1), Err(UnixBindError::Taken { .. } | UnixBindError::Step { .. })));
        assert_eq!(rights(), (0o660, 33, 34));
        // Later, too, when it belongs to somebody else; who keeps it if nothing else is said.
        let file = file.unwrap();
        file.change(Rights { mode: Some(0o666), user: None, group: None });
        assert_eq!(rights(), (0o666, 33, 34));
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
