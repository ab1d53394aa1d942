//! The line in front of full servers: one per backend and shared by all workers, oldest first.
//!
//! Only who finds every usable server full comes here. A freed slot goes to the oldest in line, whichever server
//! freed it, so nobody waits behind a slow server while another one has room.

use std::collections::VecDeque;

use tokio::sync::oneshot;

/// Requests waiting for a slot. `G` is what they wait for.
#[derive(Debug)]
pub(crate) struct Queue<G> {
    next: u64,
    waiters: VecDeque<Waiter<G>>,
}

#[derive(Debug)]
struct Waiter<G> {
    number: u64,
    /// Whose turn it would have been.
    server: usize,
    grant: oneshot::Sender<G>,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place(u64);

impl<G> Default for Queue<G> {
    fn default() -> Self {
        Self { next: 0, waiters: VecDeque::new() }
    }
}

impl<G> Queue<G> {
    /// Goes to the end of the line; `server` is the one whose turn it would have been.
    pub(crate) fn push(&mut self, server: usize) -> (Place, oneshot::Receiver<G>) {
        let (grant, granted) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.waiters.push_back(Waiter { number, server, grant });
        (Place(number), granted)
    }

    /// Leaves the line, if still in it.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Ok(at) = self.waiters.binary_search_by_key(&place.0, |waiter| waiter.number) {
            self.waiters.remove(at);
        }
    }

    /// Gives `grant` to the oldest who still waits; back if nobody does.
    pub(crate) fn grant(&mut self, mut grant: G) -> Result<(), G> {
        while let Some(waiter) = self.waiters.pop_front() {
            match waiter.grant.send(grant) {
                Ok(()) => return Ok(()),
                Err(back) => grant = back,
            }
        }
        Err(grant)
    }

    /// Sends everyone away: their receivers fail.
    pub(crate) fn clear(&mut self) {
        self.waiters.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// How many of those in line would have gone to `server`.
    pub(crate) fn len_at(&self, server: usize) -> usize {
        self.waiters.iter().filter(|waiter| waiter.server == server).count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_in_line_is_served_first() {
        let mut queue = Queue::default();
        let mut line: Vec<_> = (0..3).map(|_| queue.push(0).1).collect();
        for number in 0..3 {
            assert_eq!(queue.grant(number), Ok(()));
        }
        for (number, granted) in line.iter_mut().enumerate() {
            assert_eq!(granted.try_recv(), Ok(number));
        }
        assert_eq!(queue.grant(7), Err(7));
    }

    #[test]
    fn who_left_or_is_gone_is_passed_over() {
        let mut queue = Queue::default();
        let (first, _kept) = queue.push(0);
        let (_, gone) = queue.push(0);
        let (_, mut third) = queue.push(0);
        queue.remove(first);
        drop(gone);
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.grant('x'), Ok(()));
        assert_eq!(third.try_recv(), Ok('x'));
        queue.remove(first);
        assert!(queue.is_empty());
    }

    #[test]
    fn clearing_the_line_tells_everyone() {
        let mut queue = Queue::<u8>::default();
        let (_, mut waiting) = queue.push(0);
        queue.clear();
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
