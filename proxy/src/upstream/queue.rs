//! The line in front of full servers: one per backend and shared by all workers, oldest first.
//!
//! Only who finds every usable server full comes here. A freed slot goes to the oldest in line, whichever server
//! freed it, so nobody waits behind a slow server while another one has room. Who wants one server and no other waits
//! for that one alone and holds up nobody else.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;

/// Requests waiting for a slot. `G` is what they wait for, `A` knows what there is for them.
#[derive(Debug)]
pub(crate) struct Queue<G, A> {
    next: u64,
    /// By the generation of the configuration, whose indexes a wish has, and what they wait for; none empty.
    lines: BTreeMap<(u64, Wish), Line<G, A>>,
    /// Of those who wait for any server, or by its number for one alone.
    counts: BTreeMap<Option<u32>, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// The most that ever waited.
    peak: usize,
    /// How many got what they waited for.
    served: u64,
}

/// Requests with one wish.
#[derive(Debug)]
struct Line<G, A> {
    /// The number of the one server that they wait for.
    alone: Option<u32>,
    asker: A,
    /// Oldest first.
    waiters: VecDeque<Waiter<G>>,
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
    /// How many had been served when it came.
    before: u64,
    grant: oneshot::Sender<Granted<G>>,
}

/// What a request in line has got.
#[derive(Debug)]
pub(crate) struct Granted<G> {
    pub(crate) what: G,
    /// As [`Queue::remove`] has it.
    pub(crate) turn: u64,
}

/// A place in the line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Place {
    line: (u64, Wish),
    alone: Option<u32>,
    number: u64,
    before: u64,
}

impl<G, A> Default for Queue<G, A> {
    fn default() -> Self {
        Self { next: 0, lines: BTreeMap::new(), counts: BTreeMap::new() }
    }
}

impl<G, A> Queue<G, A> {
    /// Goes to the end of the line; `alone` is the number of the server of a wish for one.
    pub(crate) fn push(
        &mut self,
        generation: u64,
        wish: Wish,
        alone: Option<u32>,
        asker: impl FnOnce() -> A,
    ) -> (Place, oneshot::Receiver<Granted<G>>) {
        let (grant, granted) = oneshot::channel();
        let (number, line) = (self.next, (generation, wish));
        self.next += 1;
        let new = || Line { alone, asker: asker(), waiters: VecDeque::new() };
        let before = self.counts.entry(alone).or_default().served;
        self.lines.entry(line).or_insert_with(new).waiters.push_back(Waiter { number, before, grant });
        let (now, peak) = self.waiting_for(alone);
        self.counts.entry(alone).or_default().peak = now.max(peak);
        (Place { line, alone, number, before }, granted)
    }

    /// Leaves the line, if still in it. Whose turn it would have been: one more than were served while it waited.
    pub(crate) fn remove(&mut self, place: Place) -> u64 {
        self.leave(place);
        self.counts.get(&place.alone).map_or(0, |counts| counts.served) - place.before + 1
    }

    fn leave(&mut self, place: Place) {
        let Some(Line { waiters, .. }) = self.lines.get_mut(&place.line) else { return };
        if let Ok(at) = waiters.binary_search_by_key(&place.number, |waiter| waiter.number) {
            waiters.remove(at);
        }
        if waiters.is_empty() {
            self.lines.remove(&place.line);
        }
    }

    /// Gives to those in line what `answer` has for their wishes, the oldest first, until it has nothing for anybody.
    /// Returns what was granted to somebody who had just gone away.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(&A, Wish) -> Answer<G>) -> Vec<G> {
        let mut refused = Vec::new();
        loop {
            let oldest =
                |(&key, line): (&(u64, Wish), &Line<G, A>)| Some((line.waiters.front()?.number, key));
            let mut heads: Vec<_> = self.lines.iter().filter_map(oldest).collect();
            heads.sort_unstable();
            if !heads.iter().any(|&(_, line)| self.serve_oldest(line, &mut answer, &mut refused)) {
                return refused;
            }
        }
    }

    /// True if this line has changed.
    fn serve_oldest(
        &mut self,
        key: (u64, Wish),
        answer: &mut impl FnMut(&A, Wish) -> Answer<G>,
        refused: &mut Vec<G>,
    ) -> bool {
        let Some(line) = self.lines.get_mut(&key) else { return false };
        match answer(&line.asker, key.1) {
            Answer::Wait => return false,
            Answer::Leave => {
                self.lines.remove(&key);
                return true;
            }
            Answer::Grant(what) => {
                if let Some(waiter) = line.waiters.pop_front() {
                    let counts = self.counts.entry(line.alone).or_default();
                    let turn = counts.served - waiter.before + 1;
                    counts.served += 1;
                    if let Err(back) = waiter.grant.send(Granted { what, turn }) {
                        refused.push(back.what);
                    }
                }
                if line.waiters.is_empty() {
                    self.lines.remove(&key);
                }
            }
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.values().map(|line| line.waiters.len()).sum()
    }

    /// How many wait for any server, or for the one with this number alone, and the most that ever did.
    pub(crate) fn waiting_for(&self, alone: Option<u32>) -> (usize, usize) {
        let lines = self.lines.values().filter(|line| line.alone == alone);
        let now = lines.map(|line| line.waiters.len()).sum();
        (now, self.counts.get(&alone).map_or(0, |counts| counts.peak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many free slots of each server as given; `Any` takes from the first that has one.
    fn serve(queue: &mut Queue<usize, ()>, free: &mut [u32]) -> Vec<usize> {
        queue.serve(|(), wish| {
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

    /// What somebody in line has got by now.
    fn got<G>(receiver: &mut oneshot::Receiver<Granted<G>>) -> Result<G, oneshot::error::TryRecvError> {
        receiver.try_recv().map(|granted| granted.what)
    }

    fn push(queue: &mut Queue<usize, ()>, wish: Wish) -> (Place, oneshot::Receiver<Granted<usize>>) {
        let alone = if let Wish::Only(server) = wish { Some(u32::try_from(server).unwrap()) } else { None };
        queue.push(1, wish, alone, || ())
    }

    #[test]
    fn oldest_in_line_is_served_first() {
        let mut queue = Queue::default();
        let mut line: Vec<_> = (0..3).map(|_| push(&mut queue, Wish::Any).1).collect();
        serve(&mut queue, &mut [2]);
        assert_eq!(got(&mut line[0]), Ok(0));
        assert_eq!(got(&mut line[1]), Ok(0));
        assert_eq!(got(&mut line[2]), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn who_waits_for_one_server_holds_up_nobody_and_is_not_overtaken_there() {
        let mut queue = Queue::default();
        let (_, mut for_second) = push(&mut queue, Wish::Only(1));
        let (_, mut for_any) = push(&mut queue, Wish::Any);
        serve(&mut queue, &mut [1, 0]);
        assert_eq!(got(&mut for_any), Ok(0));
        assert_eq!(got(&mut for_second), Err(oneshot::error::TryRecvError::Empty));
        let (_, mut late) = push(&mut queue, Wish::Any);
        serve(&mut queue, &mut [0, 1]);
        assert_eq!(got(&mut for_second), Ok(1));
        assert_eq!(got(&mut late), Err(oneshot::error::TryRecvError::Empty));
        assert_eq!((queue.waiting_for(None), queue.waiting_for(Some(1))), ((1, 1), (0, 1)));
        assert_eq!(queue.waiting_for(Some(0)), (0, 0), "who waits for any is at none");
    }

    #[test]
    fn the_oldest_is_first_whatever_its_generation_and_each_is_answered_by_its_own() {
        let mut queue = Queue::default();
        let mut line: Vec<_> =
            [2, 1, 2].map(|generation| queue.push(generation, Wish::Any, None, move || generation).1).into();
        let mut left = 2;
        let refused = queue.serve(|&asker, _| {
            if left == 0 {
                return Answer::Wait;
            }
            left -= 1;
            Answer::Grant(asker)
        });
        assert!(refused.is_empty());
        assert_eq!((got(&mut line[0]), got(&mut line[1])), (Ok(2), Ok(1)));
        assert_eq!(got(&mut line[2]), Err(oneshot::error::TryRecvError::Empty));
    }

    #[test]
    fn who_left_or_is_gone_is_passed_over() {
        let mut queue = Queue::default();
        let (first, _kept) = push(&mut queue, Wish::Any);
        let (_, gone) = push(&mut queue, Wish::Any);
        let (_, mut third) = push(&mut queue, Wish::Any);
        queue.remove(first);
        drop(gone);
        assert_eq!(queue.len(), 2);
        assert_eq!(serve(&mut queue, &mut [2]), [0]);
        assert_eq!(got(&mut third), Ok(0));
        queue.remove(first);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn turn_is_one_more_than_were_served_meanwhile_whoever_gave_up() {
        let mut queue = Queue::default();
        let mut line: Vec<_> = (0..4).map(|_| push(&mut queue, Wish::Any)).collect();
        assert_eq!([queue.remove(line[3].0), queue.remove(line[0].0)], [1, 1]);
        serve(&mut queue, &mut [2]);
        let turns: Vec<_> = line[1..3].iter_mut().map(|(_, got)| got.try_recv().unwrap().turn).collect();
        assert_eq!(turns, [1, 2]);
        let (late, _) = push(&mut queue, Wish::Any);
        assert_eq!(queue.remove(late), 1);
    }

    #[test]
    fn who_waits_for_what_never_comes_is_told() {
        let mut queue = Queue::<usize, ()>::default();
        let (_, mut lost) = push(&mut queue, Wish::Only(3));
        let (_, mut waiting) = push(&mut queue, Wish::Any);
        let answer = |_: &(), wish| if wish == Wish::Only(3) { Answer::Leave } else { Answer::Wait };
        assert!(queue.serve(answer).is_empty());
        assert_eq!(got(&mut lost), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(got(&mut waiting), Err(oneshot::error::TryRecvError::Empty));
    }
}
