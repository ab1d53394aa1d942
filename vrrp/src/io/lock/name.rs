//! A name that one process at a time can have in a network namespace: an abstract Unix socket.
//!
//! Such names belong to the network namespace and not to a folder, so another runtime folder or another mount of `/run`
//! does not hide them. Anybody may take one, though: the kernel tells whose it is (SO_PEERCRED), and a stranger's is no
//! reason not to speak.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, connect, getsockopt, listen,
        socket, sockopt::PeerCredentials,
    },
    unistd::{Uid, geteuid},
};

use super::number::raised;

/// Those who ask whose it is wait here until [`Name::answer`], once a second.
const ASKING: i32 = 128;

/// Held until it is dropped or its process is gone.
#[derive(Debug)]
pub(super) struct Name(OwnedFd);

/// Why a name can't be had.
#[derive(Debug)]
pub(super) enum NameError {
    /// Root or our own user has it: another one of us. The process, if this namespace knows it.
    Ours { pid: Option<i32> },
    /// Somebody else has it, or does not say who it is.
    Stranger { who: String },
    /// The kernel refuses.
    Refused(io::Error),
}

impl Name {
    /// Takes `name`. Does not block.
    pub(super) fn take(name: &str) -> Result<Self, NameError> {
        let address = UnixAddr::new_abstract(name.as_bytes()).map_err(refused)?;
        match Self::bind(&address) {
            Ok(Some(name)) => Ok(name),
            Ok(None) => {
                let holder = Self::whose(&address);
                // It may have let go meanwhile, and nobody have answered; or somebody else have it by now.
                match (Self::bind(&address), holder) {
                    (Ok(Some(name)), _) => Ok(name),
                    (_, NameError::Stranger { .. }) => Err(Self::whose(&address)),
                    (_, holder) => Err(holder),
                }
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Takes `name` if nobody has it any more, without asking whose it is: the one who is just ending answers nobody.
    pub(super) fn take_free(name: &str) -> Option<Self> {
        Self::bind(&UnixAddr::new_abstract(name.as_bytes()).ok()?).ok()?
    }

    /// `None` if somebody has it.
    fn bind(address: &UnixAddr) -> nix::Result<Option<Self>> {
        let socket = raised(open()?);
        match bind(socket.as_raw_fd(), address) {
            Ok(()) => {}
            Err(Errno::EADDRINUSE) => return Ok(None),
            Err(error) => return Err(error),
        }
        listen(&socket, Backlog::new(ASKING)?)?;
        Ok(Some(Self(socket)))
    }

    /// Lets those go who asked whose it is; without that nobody could ask any more after a while.
    pub(super) fn answer(&self) {
        while let Ok(asking) = accept4(self.0.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            let _ = nix::unistd::close(asking);
        }
    }

    fn whose(address: &UnixAddr) -> NameError {
        let asked = open().and_then(|socket| {
            connect(socket.as_raw_fd(), address)?;
            getsockopt(&socket, PeerCredentials)
        });
        match asked {
            Ok(holder) if is_one_of_us(Uid::from_raw(holder.uid()), geteuid()) => {
                NameError::Ours { pid: Some(holder.pid()).filter(|pid| *pid > 0) }
            }
            Ok(holder) => {
                NameError::Stranger { who: format!("process {} of uid {}", holder.pid(), holder.uid()) }
            }
            Err(error) => NameError::Stranger { who: format!("somebody who does not answer ({error})") },
        }
    }
}

/// Whether a holder of this uid is taken for another lbctl by one that runs as `own`.
fn is_one_of_us(holder: Uid, own: Uid) -> bool {
    holder.is_root() || holder == own
}

fn open() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

fn refused(error: Errno) -> NameError {
    NameError::Refused(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(what: &str) -> String {
        format!("lb-vrrp-test-{}-{what}", std::process::id())
    }

    #[test]
    fn a_name_is_had_by_one_at_a_time_and_says_who_has_it() {
        let name = name("once");
        let held = Name::take(&name).unwrap();
        let own = std::process::id().cast_signed();
        assert!(matches!(Name::take(&name), Err(NameError::Ours { pid: Some(pid) }) if pid == own));
        drop(held);
        Name::take(&name).unwrap();
    }

    #[test]
    fn however_often_it_is_asked_for_it_says_who_has_it() {
        let name = name("often");
        let held = Name::take(&name).unwrap();
        for _ in 0..3 {
            for _ in 0..ASKING {
                assert!(matches!(Name::take(&name), Err(NameError::Ours { .. })));
            }
            held.answer();
        }
    }

    #[test]
    fn a_holder_that_does_not_answer_is_a_stranger() {
        let name = name("mute");
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let squatter = open().unwrap();
        bind(squatter.as_raw_fd(), &address).unwrap();
        assert!(matches!(Name::take(&name), Err(NameError::Stranger { .. })));
    }

    #[test]
    fn only_root_and_the_own_user_are_one_of_us() {
        let (root, own, other) = (Uid::from_raw(0), Uid::from_raw(990), Uid::from_raw(1000));
        assert!(is_one_of_us(root, own) && is_one_of_us(own, own) && is_one_of_us(root, root));
        assert!(!is_one_of_us(other, own) && !is_one_of_us(other, root) && !is_one_of_us(own, root));
    }
}
