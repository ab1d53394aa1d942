//! Changes of the states of servers and backends, told one by one to whoever runs the proxy.
//!
//! Nobody waits for him: what his queue has no room for is lost, and counted.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::mpsc;

/// Changes on their way; more are lost.
const QUEUE: usize = 4_096;

/// A server or a backend has another state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StateChange {
    /// When.
    pub at: SystemTime,
    /// The backend.
    pub backend: String,
    /// The server in it; `None` where the backend itself has changed.
    pub server: Option<String>,
    /// What it was, as [`crate::status::ServerState::word`] says it; of a backend `up` or `down`.
    pub from: &'static str,
    /// What it is.
    pub to: &'static str,
    /// Why, in a clause; may be empty.
    pub reason: String,
}

/// Where all generations of a process say what changes.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    queue: OnceLock<mpsc::Sender<StateChange>>,
    lost: AtomicU64,
}

impl Transitions {
    /// `None` if somebody listens already.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<StateChange>> {
        let (queue, changes) = mpsc::channel(QUEUE);
        self.queue.set(queue).ok().map(|()| changes)
    }

    pub(crate) fn tell(&self, change: impl FnOnce() -> StateChange) {
        let Some(queue) = self.queue.get() else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(change()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: usize) -> StateChange {
        StateChange {
            at: SystemTime::UNIX_EPOCH,
            backend: "app".to_owned(),
            server: Some(format!("web{number}")),
            from: "up",
            to: "down",
            reason: String::new(),
        }
    }

    #[test]
    fn who_listens_gets_all_in_order_and_what_he_has_no_room_for_is_counted() {
        let transitions = Transitions::default();
        transitions.tell(|| panic!("nobody wants to know"));
        let mut changes = transitions.listen().expect("the first one");
        assert!(transitions.listen().is_none(), "there is one who listens");
        for number in 0..QUEUE + 3 {
            transitions.tell(|| change(number));
        }
        assert_eq!(transitions.lost(), 3);
        for number in 0..QUEUE {
            assert_eq!(changes.try_recv(), Ok(change(number)));
        }
        assert!(changes.try_recv().is_err());
    }
}
