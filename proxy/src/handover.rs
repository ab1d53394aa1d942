//! A process hands over to another one (`lbctl upgrade`): the listening sockets as they are, and what is known.
//!
//! ```text
//! the old one                                             the new one
//! Proxy::hand_over ── Handover { listeners, known } ──▶ Proxy::start_from
//! Proxy::retire: connections end after their exchange     accepts from the same queues
//! ```
//! A listening socket is open in both processes for a moment, so its queue is never without somebody who accepts from
//! it. What goes on is found by its name, as in a reload.

mod counts;
mod known;

use std::{collections::HashMap, net::SocketAddr, os::fd::OwnedFd, rc::Rc, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;

pub use counts::{Grown, Tally};
pub use known::Known;

use crate::{drain, server::Proxy, worker::Worker};

/// For a worker to give its sockets. One that hangs for longer keeps the process from handing over.
const ANSWER: Duration = Duration::from_secs(2);

/// What the next process begins with.
#[derive(Debug, Default)]
pub struct Handover {
    /// Every listening socket.
    pub listeners: Vec<Listener>,
    /// What is known under names.
    pub known: Known,
}

/// The sockets of one listening address.
#[derive(Debug)]
pub struct Listener {
    /// What the configuration has there: `tcp 192.0.2.10:80`, `unix /run/web.sock`, `inherited fd 5`.
    pub place: String,
    /// One for each worker (SO_REUSEPORT); all workers share the one of a Unix or an inherited socket.
    pub sockets: Vec<OwnedFd>,
}

impl Listener {
    /// Of one that listens on the network.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.place.strip_prefix("tcp ")?.parse().ok()
    }
}

/// The process can't hand over.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// It hangs, or has ended.
    #[error("worker {0} does not answer")]
    Worker(usize),
    /// Out of descriptors.
    #[error("can't share a listening socket: {0}")]
    Socket(#[from] std::io::Error),
}

impl Proxy {
    /// Shares the listening sockets and says what is known. Nothing has changed after it: both processes accept until this
    /// one is told to [`Self::retire`].
    ///
    /// # Errors
    /// A worker hangs, or there are no descriptors left.
    pub async fn hand_over(&self) -> Result<Handover, HandOverError> {
        let share = |worker: &Rc<Worker>| worker.accept_loops().share();
        let shared = self.workers().iter().map(|worker| timeout(ANSWER, worker.run(share)));
        let mut sockets: HashMap<u64, Vec<OwnedFd>> = HashMap::new();
        for (index, shared) in join_all(shared).await.into_iter().enumerate() {
            let shared = shared.ok().flatten().ok_or(HandOverError::Worker(index))?;
            for (number, socket) in shared? {
                sockets.entry(number).or_default().push(socket);
            }
        }
        let listeners = self.bindings().places().into_iter().filter_map(|place| {
            let mut sockets = sockets.remove(&place.number)?;
            if place.is_one_queue {
                sockets.truncate(1);
            }
            Some(Listener { place: place.name, sockets })
        });
        let listeners = listeners.collect();
        Ok(Handover { listeners, known: Known::of(self.board(), self.bindings()) })
    }

    /// This process is in charge, and the one before is about to retire: files of Unix sockets go when this one ends.
    pub fn take_charge(&self) {
        self.bindings().keep_files();
    }

    /// Another process has the listening sockets: nothing is accepted any more, and files of Unix sockets stay. Connections
    /// end after the exchange in flight, idle ones after one more (`Connection: close`), so that none is lost on its way.
    /// Returns when none is left, or after `limit`; then comes [`Self::finish`].
    pub fn retire(&self, limit: Duration) -> impl Future<Output = ()> + Send + '_ {
        // Whatever becomes of the future: the files are not this process's any more.
        self.bindings().leave_files();
        self.board().end();
        async move { drain::retire(&self.limits(), self.workers(), limit).await }
    }
}
