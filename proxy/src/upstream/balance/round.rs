//! One whole round of a weighted round robin, computed once when the usable servers change.

use std::{cmp::Ordering, collections::BinaryHeap};

/// The longest round. Larger weights are scaled down to fit: their proportions are then kept to 1 in 1,000 or better
/// for up to 60 servers.
const LONGEST: u64 = 65_536;

/// A server's next turn in the round: the `n`-th of its `weight` turns is due at (2n + 1) / 2 weight of the round.
#[derive(Eq, PartialEq)]
struct Turn {
    odd: u64,
    weight: u64,
    server: usize,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap yields the greatest; the earliest turn is wanted, among equals the first server.
        (other.odd * self.weight).cmp(&(self.odd * other.weight)).then(other.server.cmp(&self.server))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Each server as often as its weight (over the weights' common divisor), spread evenly. No weight is 0.
pub(super) fn round(servers: &[(usize, u32)]) -> Box<[usize]> {
    let divisor = servers.iter().fold(0, |divisor, &(_, weight)| greatest_common_divisor(divisor, weight));
    if divisor == 0 {
        return Box::default();
    }
    let total: u64 = servers.iter().map(|&(_, weight)| u64::from(weight / divisor)).sum();
    let turns = |weight: u32| {
        let turns = u64::from(weight / divisor);
        if total > LONGEST { (turns * LONGEST / total).max(1) } else { turns }
    };
    let length: u64 = servers.iter().map(|&(_, weight)| turns(weight)).sum();
    let mut due: BinaryHeap<_> =
        servers.iter().map(|&(server, weight)| Turn { odd: 1, weight: turns(weight), server }).collect();
    let mut round = Vec::new();
    for _ in 0..length {
        let Some(mut turn) = due.pop() else { break };
        round.push(turn.server);
        turn.odd += 2;
        due.push(turn);
    }
    round.into_boxed_slice()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
