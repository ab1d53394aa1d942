//! Listening sockets that whoever started this process has opened: adopted, never bound again.
#![allow(unsafe_code, reason = "a descriptor known by its number alone can't be borrowed in a safe way")]

use std::{
    env, fs, io,
    ops::Range,
    os::fd::{BorrowedFd, OwnedFd, RawFd},
    sync::OnceLock,
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{Socket, Type};

use crate::{
    Endpoint,
    config::{Inherited, TcpKeepalive},
};

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;

/// What was open when the program began, above stderr.
static PASSED: OnceLock<Vec<RawFd>> = OnceLock::new();

/// What of it is kept. Until that is known, whatever is open may be adopted.
static KEPT: OnceLock<Vec<RawFd>> = OnceLock::new();

/// Notes what this process was given: a number that nothing was passed with is soon that of something which the program opens
/// itself. To be called before it opens anything. Takes `/proc`.
pub fn note_passed_descriptors() {
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    PASSED.get_or_init(|| {
        let listed: Vec<RawFd> =
            fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(number).collect();
        // The descriptor that listed them is among them, and gone.
        let is_open = |fd: &RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok();
        listed.into_iter().filter(|fd| *fd >= FIRST && is_open(fd)).collect()
    });
}

/// Closes what was passed and is neither one of systemd's sockets nor named by the file: locks, pipes and secrets of whoever
/// started the program, which would stay open as long as it runs, also where it may open nothing itself. From then on no
/// other socket is adopted. To be called once the file is known, and after [`note_passed_descriptors`].
pub fn close_unnamed_descriptors<'a>(named: impl IntoIterator<Item = &'a Inherited>) {
    let variable = |name| env::var(name).unwrap_or_default();
    let of_systemd = of_systemd(&variable("LISTEN_PID"), &variable("LISTEN_FDS"));
    let mut kept: Vec<RawFd> = named
        .into_iter()
        .filter_map(|one| match one {
            Inherited::Descriptor(fd) => Some(*fd),
            Inherited::Named(_) => None,
        })
        .chain(of_systemd.into_iter().flatten())
        .collect();
    let passed = PASSED.get().map_or(&[][..], |passed| passed);
    kept.retain(|fd| passed.contains(fd));
    for fd in passed {
        if kept.contains(fd) {
            // SAFETY: it was open when the program began, and nothing has closed it since.
            let borrowed = unsafe { BorrowedFd::borrow_raw(*fd) };
            // No program that this one starts may keep it open. The only error is one of a number that is not open.
            let _ = fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        } else {
            // There is nothing to do about an error: it is closed all the same (close(2)).
            let _ = nix::unistd::close(*fd);
        }
    }
    KEPT.get_or_init(|| kept);
}

/// Why a socket can't be adopted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdoptError {
    /// It was not open at the start, or is not.
    #[error(
        "no socket was passed as descriptor {fd}; whoever starts lbctl has to pass a listening one with this number"
    )]
    NotPassed { fd: RawFd },
    /// It is open and something else.
    #[error("descriptor {fd} is no listening TCP or Unix socket")]
    Other { fd: RawFd },
    /// Nothing of this name was passed.
    #[error(
        "no socket called `{name}` was passed (LISTEN_FDS, LISTEN_FDNAMES); is FileDescriptorName={name} in the .socket unit?"
    )]
    Unnamed { name: String },
    /// The system refused.
    #[error("can't adopt descriptor {fd}: {source}")]
    System { fd: RawFd, source: io::Error },
}

/// `count` handles on one socket. All workers accept from its one queue.
pub(crate) fn adopt(
    inherited: &Inherited,
    count: usize,
    keepalive: Option<&TcpKeepalive>,
) -> Result<Vec<Socket>, AdoptError> {
    let fd = match inherited {
        Inherited::Descriptor(fd) => *fd,
        Inherited::Named(name) => {
            let variable = |name| env::var(name).unwrap_or_default();
            let (pid, names) = (variable("LISTEN_PID"), variable("LISTEN_FDNAMES"));
            named(name, &pid, &variable("LISTEN_FDS"), &names)
                .ok_or_else(|| AdoptError::Unnamed { name: name.clone() })?
        }
    };
    if KEPT.get().is_some_and(|kept| !kept.contains(&fd)) {
        return Err(AdoptError::NotPassed { fd });
    }
    // SAFETY: the number comes from the operator. If nothing is open under it, the first call fails with EBADF and
    // touches nothing; if something else is, it is duplicated and dropped again. The borrow ends with this function.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let failed = |source| AdoptError::System { fd, source };
    let first: OwnedFd = match borrowed.try_clone_to_owned() {
        Ok(owned) => owned,
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => return Err(AdoptError::NotPassed { fd }),
        Err(error) => return Err(failed(error)),
    };
    let first = Socket::from(first);
    let endpoint = first.local_addr().ok().and_then(|address| Endpoint::of_socket(&address));
    let is_listening = first.r#type().ok() == Some(Type::STREAM) && first.is_listener().unwrap_or(false);
    let Some(endpoint) = endpoint.filter(|_| is_listening) else { return Err(AdoptError::Other { fd }) };
    first.set_nonblocking(true).map_err(failed)?;
    if endpoint != Endpoint::Unix {
        first.set_tcp_nodelay(true).map_err(failed)?;
        if let Some(keepalive) = keepalive {
            keepalive.set(&first).map_err(failed)?;
        }
    }
    (0..count).map(|_| first.try_clone()).collect::<io::Result<_>>().map_err(failed)
}

/// The descriptor of a name, as sd_listen_fds_with_names(3) has it.
fn named(name: &str, pid: &str, count: &str, names: &str) -> Option<RawFd> {
    of_systemd(pid, count)?.zip(names.split(':')).find(|(_, one)| *one == name).map(|(fd, _)| fd)
}

/// The descriptors that systemd has passed to this process.
fn of_systemd(pid: &str, count: &str) -> Option<Range<RawFd>> {
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    Some(FIRST..FIRST.checked_add(count.parse().ok()?)?)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn listening_socket_is_adopted_for_every_worker() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sockets = adopt(&Inherited::Descriptor(listener.as_raw_fd()), 3, None).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(sockets.len(), 3);
        assert!(sockets.iter().all(|one| one.local_addr().unwrap().as_socket() == Some(address)));
    }

    #[test]
    fn what_is_no_listening_socket_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let file = fs::File::open("/dev/null").unwrap();
        for fd in [client.as_raw_fd(), file.as_raw_fd()] {
            let error = adopt(&Inherited::Descriptor(fd), 1, None).unwrap_err();
            assert_eq!(error.to_string(), format!("descriptor {fd} is no listening TCP or Unix socket"));
        }
        let error = adopt(&Inherited::Descriptor(100_000), 1, None).unwrap_err();
        assert!(error.to_string().starts_with("no socket was passed as descriptor 100000;"), "{error}");
    }

    #[test]
    fn names_are_those_of_systemd_and_only_for_this_process() {
        let pid = std::process::id().to_string();
        assert_eq!(named("https", &pid, "2", "http:https"), Some(4));
        assert_eq!(named("ssh", &pid, "2", "http:https:ssh"), None);
        assert_eq!(named("http", &pid, "", "http"), None);
        assert_eq!(named("http", "1", "1", "http"), None);
    }
}
