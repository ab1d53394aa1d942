//! Checks of one server that somebody asks for, and waits for.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

/// See the module. One task makes the checks; anybody may ask.
#[derive(Debug)]
pub(crate) struct Rounds {
    wanted: Notify,
    /// How many have begun.
    begun: AtomicU64,
    /// The number of the last that has ended, from 1.
    ended: watch::Sender<u64>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { wanted: Notify::new(), begun: AtomicU64::new(0), ended: watch::Sender::new(0) }
    }
}

impl Rounds {
    /// Somebody wants a check now.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A check begins; returns its number for [`Self::end`].
    pub(super) fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn end(&self, number: u64) {
        self.ended.send_replace(number);
    }

    /// Asks for a check, and returns when one has ended that began after this call.
    pub(super) async fn one_more(&self) {
        let mut ended = self.ended.subscribe();
        let number = self.begun.load(Ordering::SeqCst) + 1;
        self.wanted.notify_one();
        // The sender is `self`'s.
        let _ = ended.wait_for(|ended| *ended >= number).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::Pin, task::Poll};

    use super::*;

    async fn is_over(waiting: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn check_that_was_under_way_is_not_the_one_that_was_asked_for() {
        let rounds = Rounds::default();
        let under_way = rounds.begin();
        let mut asked = Box::pin(rounds.one_more());
        assert!(!is_over(&mut asked).await);
        rounds.end(under_way);
        assert!(!is_over(&mut asked).await);
        rounds.wanted().await;
        let next = rounds.begin();
        rounds.end(next);
        assert!(is_over(&mut asked).await);
    }
}
