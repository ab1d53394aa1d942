//! Listening sockets that whoever started this process has opened: adopted, never bound again.
#![allow(unsafe_code, reason = "a descriptor known by its number alone can't be borrowed in a safe way")]

use std::{
    env, fs, io,
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

/// Sockets that were open when the program began. Until that is noted, whichever are open now.
static PASSED: OnceLock<Vec<RawFd>> = OnceLock::new();

/// Notes which sockets this process was given: a number that nothing was passed with is soon that of a socket which the
/// program opens itself. To be called before it opens any; from then on no other socket is adopted. Takes `/proc`.
pub fn note_passed_sockets() {
    // The descriptor that lists them is a folder, and gone again afterwards.
    let socket = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let is_socket = fs::read_link(entry.path()).ok()?.to_str()?.starts_with("socket:");
        is_socket.then(|| entry.file_name().to_str()?.parse().ok())?
    };
    PASSED.get_or_init(|| fs::read_dir("/proc/self/fd").into_iter().flatten().filter_map(socket).collect());
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
    if PASSED.get().is_some_and(|passed| !passed.contains(&fd)) {
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
    // No program that this one starts may keep it open.
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(|error| failed(error.into()))?;
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
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    let count: usize = count.parse().ok()?;
    let index = names.split(':').take(count).position(|one| one == name)?;
    RawFd::try_from(index).ok().map(|index| FIRST + index)
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
