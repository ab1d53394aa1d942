//! The line in front of full servers: one per backend and shared by all workers, oldest first.
//!
//! Only who finds every usable server full comes here. A freed slot goes to the oldest in line, whichever server
//! freed it, so nobody waits behind a slow server while another one has room. Who wants one server and no other waits
//! for that one alone and holds up nobody else.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

/// Requests waiting for a slot. `G` is what they wait for.
#[derive(Debug)]
pub(crate) struct Queue<G> {
    next: u64,
    /// By what they wait for; each oldest first, none empty.
    lines: BTreeMap<Wish, VecDeque<Waiter<G>>>,
}

/// What a request in line waits for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Wish {
    /// A slot of any server.
    Any,
    /// A slot of this server.
    Only(usize),
}

/// What there is for the oldest of those with one wish.
#[derive(Debug)]
pub(crate) enum Answer<G> {
    /// This.
    Grant(G),
    /// Nothing yet.
    Wait,
    /// Nothing ever: all with this wish are sent away, and their receivers fail.
    Leave,
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
pub(crate) struct Place {
    wish: Wish,
    number: u64,
}

impl<G> Default for Queue<G> {
    fn default() -> Self {
        Self { next: 0, lines: BTreeMap::new() }
    }
}

impl<G> Queue<G> {
    /// Goes to the end of the line; `server` is the one whose turn it would have been.
    pub(crate) fn push(&mut self, wish: Wish, server: usize) -> (Place, oneshot::Receiver<G>) {
        let (grant, granted) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.lines.entry(wish).or_default().push_back(Waiter { number, server, grant });
        (Place { wish, number }, granted)
    }

    /// Leaves the line, if still in it.
    pub(crate) fn remove(&mut self, place: Place) {
        let Some(line) = self.lines.get_mut(&place.wish) else { return };
        if let Ok(at) = line.binary_search_by_key(&place.number, |waiter| waiter.number) {
            line.remove(at);
        }
        if line.is_empty() {
            self.lines.remove(&place.wish);
        }
    }

    /// Gives to those in line what `answer` has for their wishes, the oldest first, until it has nothing for anybody.
    /// Returns what was granted to somebody who had just gone away.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(Wish) -> Answer<G>) -> Vec<G> {
        let mut refused = Vec::new();
        loop {
            let mut heads: Vec<_> =
                self.lines.iter().filter_map(|(&wish, line)| Some((line.front()?.number, wish))).collect();
            heads.sort_unstable();
            if !heads.iter().any(|&(_, wish)| self.serve_oldest(wish, &mut answer, &mut refused)) {
                return refused;
            }
        }
    }

    /// True if the line of this wish has changed.
    fn serve_oldest(
        &mut self,
        wish: Wish,
        answer: &mut impl FnMut(Wish) -> Answer<G>,
        refused: &mut Vec<G>,
    ) -> bool {
        match answer(wish) {
            Answer::Wait => return false,
            Answer::Leave => {
                self.lines.remove(&wish);
                return true;
            }
            Answer::Grant(grant) => {
                let Some(line) = self.lines.get_mut(&wish) else { return false };
                if let Some(waiter) = line.pop_front()
                    && let Err(back) = waiter.grant.send(grant)
                {
                    refused.push(back);
                }
                if line.is_empty() {
                    self.lines.remove(&wish);
                }
            }
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.values().map(VecDeque::len).sum()
    }

    /// How many of those in line would have gone to `server`.
    pub(crate) fn len_at(&self, server: usize) -> usize {
        self.lines.values().flatten().filter(|waiter| waiter.server == server).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many free slots of each server as given; `Any` takes from the first that has one.
    fn serve(queue: &mut Queue<usize>, free: &mut [u32]) -> Vec<usize> {
        queue.serve(|wish| {
            let servers = match wish {
                Wish::Any => 0..free.len(),
                Wish::Only(server) => server..server + 1,
            };
            let Some(server) = servers.into_iter().find(|&server| free[server] > 0) else {
                return Answer::Wait;
            };
            free[server] -= 1;
            Answer::Grant(server)
        })
    }

    #[test]
    fn oldest_in_line_is_served_first() {
        let mut queue = Queue::default();
        let mut line: Vec<_> = (0..3).map(|_| queue.push(Wish::Any, 0).1).collect();
        serve(&mut queue, &mut [2]);
        assert_eq!(line[0].try_recv(), Ok(0));
        assert_eq!(line[1].try_recv(), Ok(0));
        assert_eq!(line[2].try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn who_waits_for_one_server_holds_up_nobody_and_is_not_overtaken_there() {
        let mut queue = Queue::default();
        let (_, mut for_second) = queue.push(Wish::Only(1), 1);
        let (_, mut for_any) = queue.push(Wish::Any, 0);
        serve(&mut queue, &mut [1, 0]);
        assert_eq!(for_any.try_recv(), Ok(0));
        assert_eq!(for_second.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        let (_, mut late) = queue.push(Wish::Any, 0);
        serve(&mut queue, &mut [0, 1]);
        assert_eq!(for_second.try_recv(), Ok(1));
        assert_eq!(late.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(queue.len_at(0), 1);
    }

    #[test]
    fn who_left_or_is_gone_is_passed_over() {
        let mut queue = Queue::default();
        let (first, _kept) = queue.push(Wish::Any, 0);
        let (_, gone) = queue.push(Wish::Any, 0);
        let (_, mut third) = queue.push(Wish::Any, 0);
        queue.remove(first);
        drop(gone);
        assert_eq!(queue.len(), 2);
        assert_eq!(serve(&mut queue, &mut [2]), [0]);
        assert_eq!(third.try_recv(), Ok(0));
        queue.remove(first);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn who_waits_for_what_never_comes_is_told() {
        let mut queue = Queue::<usize>::default();
        let (_, mut lost) = queue.push(Wish::Only(3), 3);
        let (_, mut waiting) = queue.push(Wish::Any, 0);
        let answer = |wish| if wish == Wish::Only(3) { Answer::Leave } else { Answer::Wait };
        assert!(queue.serve(answer).is_empty());
        assert_eq!(lost.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Empty));
    }
}
