//! Dropping those who want to connect, without a word: they try again a second later, when somebody else may listen.

use std::{io, os::fd::OwnedFd, sync::OnceLock};

use socket2::{SockFilter, Socket};

/// Classic BPF over a TCP header: drops a SYN without ACK and lets everything else pass, so that a handshake that is
/// under way ends well.
const SYN_FILTER: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),          // A = the flags (byte 13)
    SockFilter::new(0x54, 0, 0, 0x12),        // A &= SYN | ACK
    SockFilter::new(0x15, 0, 1, 0x02),        // A == SYN?
    SockFilter::new(0x06, 0, 0, 0),           // drop
    SockFilter::new(0x06, 0, 0, 0xffff_ffff), // pass
];

type Privileged = Box<dyn Fn(OwnedFd) -> io::Result<()> + Send + Sync>;

static PRIVILEGED: OnceLock<Privileged> = OnceLock::new();

/// Says who calls [`drop_newcomers`] where this thread may not. The first call counts, for the whole process: so do its
/// capabilities.
pub fn newcomers_are_dropped_by(privileged: impl Fn(OwnedFd) -> io::Result<()> + Send + Sync + 'static) {
    let _ = PRIVILEGED.set(Box::new(privileged));
}

/// From here on the kernel drops SYNs to this listening socket.
///
/// # Errors
/// Linux 6.16 and later let no filter be attached to a TCP socket without CAP_NET_ADMIN (EPERM).
pub fn drop_newcomers(socket: OwnedFd) -> io::Result<()> {
    Socket::from(socket).attach_filter(&SYN_FILTER)
}

/// The same, by whoever may.
pub(super) fn drop_at(socket: &Socket) -> io::Result<()> {
    match (socket.attach_filter(&SYN_FILTER), PRIVILEGED.get()) {
        (Err(error), Some(privileged)) if error.kind() == io::ErrorKind::PermissionDenied => {
            privileged(socket.try_clone()?.into())
        }
        (outcome, _) => outcome,
    }
}
