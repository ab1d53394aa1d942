//! Who is at the other end of the control socket, and what they may.

use nix::unistd::{Uid, User, geteuid};
use tokio::net::UnixStream;

/// Who connected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// `None`: the kernel does not say.
    pub(super) user: Option<Uid>,
    /// Root and the daemon's own user may do all that the socket offers. Whoever else is let in by the socket's group may
    /// read: monitoring is in it.
    pub(super) may_change: bool,
}

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        match stream.peer_cred() {
            Ok(credentials) => Self::with_id(Uid::from_raw(credentials.uid()), geteuid()),
            Err(_) => Self { user: None, may_change: false },
        }
    }

    fn with_id(uid: Uid, own: Uid) -> Self {
        Self { user: Some(uid), may_change: uid.is_root() || uid == own }
    }

    /// The user's name, for the reason in the log.
    pub(super) fn name(self) -> String {
        let Some(uid) = self.user else { return "somebody".to_owned() };
        match User::from_uid(uid) {
            Ok(Some(user)) => user.name,
            Ok(None) | Err(_) => format!("uid {uid}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_daemons_own_user_may_change_things_and_nobody_else() {
        let may = |uid, own| Peer::with_id(Uid::from_raw(uid), Uid::from_raw(own)).may_change;
        assert!(may(0, 998) && may(998, 998) && may(0, 0));
        assert!(!may(1000, 998) && !may(1000, 0) && !may(u32::MAX - 1, 0));
        assert_eq!(Peer::with_id(Uid::from_raw(0), Uid::from_raw(0)).name(), "root");
    }
}
