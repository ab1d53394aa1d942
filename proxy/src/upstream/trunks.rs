//! Connections to one server that requests share (HTTP/2).

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::sync::{Mutex, MutexGuard};

use crate::{
    http2::{ServerLane, Trunk},
    tls::PeerName,
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Trunks {
    open: RefCell<Vec<Rc<Trunk>>>,
    /// Of these, those that are without lanes.
    lonely: Rc<Cell<usize>>,
    /// One is made at a time: whoever comes meanwhile may have a place on it.
    gate: Mutex<()>,
    /// The server has agreed on HTTP/1.1 at last.
    is_refused: Cell<bool>,
}

impl Trunks {
    /// A place on one that `allowed` is true of and whose server was told `name`.
    pub(super) fn lane(
        &self,
        name: Option<&PeerName>,
        allowed: impl Fn(&Trunk) -> bool,
    ) -> Option<ServerLane> {
        let mut open = self.open.borrow_mut();
        if open.is_empty() {
            return None;
        }
        retain(&mut open, |trunk| is_of_use(trunk) && !trunk.is_private() && allowed(trunk));
        let trunk = open.iter().find(|trunk| trunk.has_room() && trunk.is_named(name))?;
        Some(ServerLane::of(trunk))
    }

    /// What came of a connection that was made: one of HTTP/2, or another.
    pub(super) fn add(&self, trunk: Option<&Rc<Trunk>>) {
        self.is_refused.set(trunk.is_none());
        if let Some(trunk) = trunk {
            trunk.share(&self.lonely);
            self.open.borrow_mut().push(Rc::clone(trunk));
        }
    }

    /// One that was made for a single request, which it has survived: others may have places on it as well.
    pub(super) fn adopt(&self, trunk: &Rc<Trunk>) {
        if trunk.is_open() && !trunk.is_shared() && !trunk.is_private() {
            self.add(Some(trunk));
        }
    }

    /// May there be one?
    pub(super) fn may_be(&self) -> bool {
        !self.is_refused.get()
    }

    /// To be held while one is made.
    pub(super) async fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// Gives those up that have had no request for so many ticks.
    pub(super) fn sweep(&self, now: u64, idle: u64) {
        retain(&mut self.open.borrow_mut(), |trunk| is_of_use(trunk) && trunk.quiet_for(now) < idle.max(1));
    }

    /// Gives all up: requests on them are served.
    pub(super) fn close(&self) {
        retain(&mut self.open.borrow_mut(), |_| false);
    }
}

fn is_of_use(trunk: &Trunk) -> bool {
    trunk.is_open() && trunk.is_shared()
}

fn retain(open: &mut Vec<Rc<Trunk>>, keep: impl Fn(&Trunk) -> bool) {
    open.retain(|trunk| {
        let stays = keep(trunk);
        if !stays {
            trunk.retire();
        }
        stays
    });
}
