//! Consistent hashing: each server owns points on a ring, a hash belongs to the next point.
//!
//! A server's points depend on its name and its weight alone. So a server that is lost gives its share to the others
//! and moves nothing between them, one whose weight changes gains or loses in proportion, and two nodes with one file
//! that see the same servers up send a key to the same server, also after the file was sorted anew.

use super::hash::hash;
use crate::splitmix::mix;

/// Points of a whole ring, roughly.
const POINTS: usize = 8192;

/// Points of a server of average weight, fewest and most. With 160 the shares are within 8 % of what they should be
/// (one standard deviation), with 2,048 within 2 %.
const FEWEST: usize = 160;
const MOST: usize = 2048;

/// The ring.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Ring {
    /// Point and server, by point.
    points: Box<[(u32, u32)]>,
}

/// How many points a weight is worth: the same for the life of a configuration, whichever servers are usable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Scale {
    per_server: u64,
    servers: u64,
    total_weight: u64,
}

impl Scale {
    /// From the weights of all servers, usable or not.
    pub(super) fn new(weights: impl Iterator<Item = u32> + Clone) -> Self {
        let servers = weights.clone().filter(|&weight| weight > 0).count().max(1);
        let per_server = (POINTS / servers).clamp(FEWEST, MOST);
        let total_weight = weights.map(u64::from).sum::<u64>().max(1);
        Self { per_server: per_server as u64, servers: servers as u64, total_weight }
    }

    fn points(self, weight: u32) -> u64 {
        (u64::from(weight) * self.per_server * self.servers).div_ceil(self.total_weight)
    }
}

impl Ring {
    /// From index, weight (in the unit of `scale`) and name of each server.
    pub(super) fn new<'n>(scale: Scale, servers: impl Iterator<Item = (usize, u32, &'n str)>) -> Self {
        let mut points = Vec::new();
        for (server, weight, name) in servers {
            let Ok(index) = u32::try_from(server) else { continue };
            let name = hash(name.as_bytes());
            points.extend((0..scale.points(weight)).map(|number| (point(mix(name ^ mix(number))), index)));
        }
        points.sort_unstable();
        Self { points: points.into_boxed_slice() }
    }

    /// The server of `hash`; if that is to be avoided, the next one on the ring, so that a key also has the same
    /// second choice every time.
    pub(super) fn find(&self, hash: u64, avoid: &[usize]) -> Option<usize> {
        let start = self.points.partition_point(|&(at, _)| at < point(hash));
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|&(_, server)| server as usize).find(|server| !avoid.contains(server))
    }
}

fn point(hash: u64) -> u32 {
    (hash >> 32) as u32
}
