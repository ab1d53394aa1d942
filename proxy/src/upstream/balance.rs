//! Who is next: pure choice over the usable servers of a backend.
//!
//! The order of round robin is computed once, when the usable set changes; a request then costs one addition to the
//! position, which all workers share. So two equal servers alternate strictly, whichever worker serves.

use std::{
    cmp::Ordering as Order,
    collections::BinaryHeap,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Preference, queue::Wish};
use crate::config::Balance;

/// The usable servers of a backend; indexes are those of the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Usable {
    servers: Box<[(usize, u32)]>,
    /// One whole round: each server as often as its weight (over the weights' common divisor), spread evenly.
    round: Box<[usize]>,
}

/// The outcome of a choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pick {
    /// This one; a slot of it has been taken.
    Server(usize),
    /// No slot is free; what to wait for, and whose turn it would have been.
    Full(Wish, usize),
    /// There is none.
    None,
}

impl Usable {
    /// From `(index, weight)` of what is usable. Weight 0 gets no new requests.
    pub(crate) fn new(servers: impl IntoIterator<Item = (usize, u16)>) -> Self {
        let servers: Box<[_]> = servers
            .into_iter()
            .filter(|&(_, weight)| weight > 0)
            .map(|(index, weight)| (index, u32::from(weight)))
            .collect();
        let round = round(&servers);
        Self { servers, round }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// May a request that has had this server before go there?
    pub(crate) fn keeps(&self, server: usize) -> bool {
        self.servers.iter().any(|&(index, _)| index == server)
    }

    /// The one server that a request wants, if it wants one that is usable and not to be avoided.
    pub(crate) fn wanted(&self, preference: Preference, avoid: &[usize]) -> Option<usize> {
        preference.server.filter(|&server| self.keeps(server) && !avoid.contains(&server))
    }

    /// Is there a usable server that is none of `these`?
    pub(crate) fn has_other_than(&self, these: &[usize]) -> bool {
        self.servers.iter().any(|(index, _)| !these.contains(index))
    }

    /// Chooses a server that is not to be avoided and of which `take` gets a slot. `load` is what is in flight there.
    pub(crate) fn pick(
        &self,
        balance: Balance,
        position: &AtomicUsize,
        avoid: &[usize],
        load: impl Fn(usize) -> u32,
        mut take: impl FnMut(usize) -> bool,
    ) -> Pick {
        if self.servers.is_empty() {
            return Pick::None;
        }
        let position = position.fetch_add(1, Ordering::Relaxed);
        let mut accept = |index: usize| !avoid.contains(&index) && take(index);
        let first = match balance {
            Balance::RoundRobin => self.round[position % self.round.len()],
            Balance::LeastConn => self.least(position, avoid, load),
        };
        if accept(first) {
            return Pick::Server(first);
        }
        let start = self.servers.iter().position(|&(index, _)| index == first).map_or(0, |at| at + 1);
        for step in 0..self.servers.len() {
            let (index, _) = self.servers[(start + step) % self.servers.len()];
            if accept(index) {
                return Pick::Server(index);
            }
        }
        Pick::Full(Wish::Any, first)
    }

    /// The fewest in flight per weight; ties in turn, by starting the search one further each time.
    fn least(&self, position: usize, avoid: &[usize], load: impl Fn(usize) -> u32) -> usize {
        let mut best: Option<(usize, u64, u64)> = None;
        for step in 0..self.servers.len() {
            let (index, weight) = self.servers[(position + step) % self.servers.len()];
            if avoid.contains(&index) {
                continue;
            }
            let (load, weight) = (u64::from(load(index)), u64::from(weight));
            if best.is_none_or(|(_, least, of)| load * of < least * weight) {
                best = Some((index, load, weight));
            }
        }
        best.map_or(self.servers[0].0, |(index, ..)| index)
    }
}

/// A server's next turn in the round: the `n`-th of its `weight` turns is due at (2n + 1) / 2 weight of the round.
#[derive(Eq, PartialEq)]
struct Turn {
    odd: u64,
    weight: u64,
    server: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Order {
        // The heap yields the greatest; the earliest turn is wanted, among equals the first server.
        (other.odd * self.weight).cmp(&(self.odd * other.weight)).then(other.server.cmp(&self.server))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

fn round(servers: &[(usize, u32)]) -> Box<[usize]> {
    let divisor = servers.iter().fold(0, |divisor, &(_, weight)| greatest_common_divisor(divisor, weight));
    if divisor == 0 {
        return Box::default();
    }
    let length: u64 = servers.iter().map(|&(_, weight)| u64::from(weight / divisor)).sum();
    let mut turns: BinaryHeap<_> = servers
        .iter()
        .map(|&(server, weight)| Turn { odd: 1, weight: u64::from(weight / divisor), server })
        .collect();
    let mut round = Vec::new();
    for _ in 0..length {
        let Some(mut turn) = turns.pop() else { break };
        round.push(turn.server);
        turn.odd += 2;
        turns.push(turn);
    }
    round.into_boxed_slice()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picks(usable: &Usable, balance: Balance, n: usize) -> Vec<usize> {
        let position = AtomicUsize::new(0);
        let pick = |_| match usable.pick(balance, &position, &[], |_| 0, |_| true) {
            Pick::Server(index) => index,
            Pick::Full(..) | Pick::None => unreachable!("nothing is full"),
        };
        (0..n).map(pick).collect()
    }

    #[test]
    fn equal_weights_alternate_strictly() {
        let usable = Usable::new([(0, 100), (1, 100)]);
        assert_eq!(picks(&usable, Balance::RoundRobin, 6), [0, 1, 0, 1, 0, 1]);
        let usable = Usable::new([(0, 1), (2, 1), (5, 1)]);
        assert_eq!(picks(&usable, Balance::RoundRobin, 6), [0, 2, 5, 0, 2, 5]);
    }

    #[test]
    fn weights_are_exact_over_a_round_and_spread_within_it() {
        let usable = Usable::new([(0, 5), (1, 1), (2, 1)]);
        assert_eq!(picks(&usable, Balance::RoundRobin, 7), [0, 0, 0, 1, 2, 0, 0]);
        let usable = Usable::new([(0, 12), (1, 26)]);
        let round = picks(&usable, Balance::RoundRobin, 19);
        assert_eq!(round.iter().filter(|&&index| index == 0).count(), 6);
        assert!(round.windows(4).all(|window| window.contains(&0) && window.contains(&1)));
    }

    #[test]
    fn weight_zero_gets_no_new_requests() {
        assert_eq!(picks(&Usable::new([(0, 0), (1, 1)]), Balance::RoundRobin, 3), [1, 1, 1]);
        assert!(Usable::new([(0, 0)]).is_empty());
    }

    #[test]
    fn full_and_avoided_servers_are_passed_over() {
        let usable = Usable::new([(0, 1), (1, 1), (2, 1)]);
        let position = AtomicUsize::new(0);
        let pick =
            |avoid: &[usize], full| usable.pick(Balance::RoundRobin, &position, avoid, |_| 0, |i| i != full);
        assert_eq!(pick(&[0], 1), Pick::Server(2));
        position.store(0, Ordering::Relaxed);
        assert_eq!(pick(&[], 0), Pick::Server(1));
        assert_eq!(pick(&[1, 2], 0), Pick::Full(Wish::Any, 1));
    }

    #[test]
    fn nothing_usable_is_told_from_everything_full() {
        let position = AtomicUsize::new(0);
        let full = Usable::new([(0, 1)]).pick(Balance::RoundRobin, &position, &[], |_| 0, |_| false);
        assert_eq!(full, Pick::Full(Wish::Any, 0));
        let none = Usable::default().pick(Balance::LeastConn, &position, &[], |_| 0, |_| true);
        assert_eq!(none, Pick::None);
    }

    #[test]
    fn leastconn_takes_the_fewest_per_weight_and_ties_in_turn() {
        let usable = Usable::new([(0, 1), (1, 2), (2, 1)]);
        let position = AtomicUsize::new(0);
        let pick = |loads: [u32; 3]| usable.pick(Balance::LeastConn, &position, &[], |i| loads[i], |_| true);
        assert_eq!(pick([3, 4, 3]), Pick::Server(1));
        assert_eq!(pick([1, 4, 2]), Pick::Server(0));
        let ties: Vec<_> = (0..3).map(|_| pick([0, 0, 0])).collect();
        assert_eq!(ties, [Pick::Server(2), Pick::Server(0), Pick::Server(1)]);
    }

    proptest::proptest! {
        #[test]
        fn every_server_gets_exactly_its_share_of_a_round(weights in proptest::collection::vec(0u16..=256, 1..20)) {
            let usable = Usable::new(weights.iter().copied().enumerate());
            let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            let picks = if total == 0 { vec![] } else { picks(&usable, Balance::RoundRobin, total) };
            for (index, &weight) in weights.iter().enumerate() {
                let count = picks.iter().filter(|&&pick| pick == index).count();
                proptest::prop_assert_eq!(count, usize::from(weight));
            }
        }
    }
}
