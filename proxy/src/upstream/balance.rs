//! Who is next: pure choice over the usable servers of a backend.
//!
//! What costs time (the order of a round, the points of a ring) is computed once, when the usable set changes. A request
//! then costs one addition to the position, which all workers share; so two equal servers alternate strictly, whichever
//! worker serves. Retries have a position of their own: they neither disturb that order nor all go to the server that
//! happens to follow the one that failed.

use std::sync::atomic::{AtomicUsize, Ordering};

use self::{
    ring::{Ring, Scale},
    round::round,
};
use super::{Preference, queue::Wish};
use crate::{
    config::{Address, Backend, Balance, HashKind},
    health::slowstart::Share,
    limit::Padded,
    splitmix,
};

pub(crate) mod hash;
mod ring;
mod round;

/// How far the second draw of [`Balance::Random`] goes on for a server other than the first.
const DRAW_AGAIN: usize = 8;

/// The usable servers of a backend; indexes are those of the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Usable {
    /// For new requests, by index: server and weight, in units of 1 / [`Share::FULL`].
    servers: Box<[(usize, u32)]>,
    /// One whole round: each server as often as its weight (over the weights' common divisor), spread evenly.
    round: Box<[usize]>,
    choice: Choice,
    /// For requests that had them before, by index.
    kept: Box<[usize]>,
    /// Those in their slow start.
    starting: Box<[(usize, Share)]>,
    /// Of every server, usable or not; `None` while its name has never resolved.
    addresses: Box<[Option<Address>]>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Choice {
    #[default]
    Round,
    Least,
    Random,
    First,
    Ring(Ring),
    Map,
}

/// The positions that the workers share.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    first: Padded<AtomicUsize>,
    retry: Padded<AtomicUsize>,
}

/// The outcome of a choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pick {
    /// This one; a slot of it has been taken.
    Server(usize),
    /// No slot is free; what to wait for.
    Full(Wish),
    /// There is none.
    None,
}

impl Usable {
    /// From those usable for new requests, and those usable for requests that had them before. Weight 0 gets no new
    /// requests.
    pub(crate) fn new(
        config: &Backend,
        new: impl IntoIterator<Item = (usize, Share)>,
        kept: impl IntoIterator<Item = usize>,
        addresses: impl IntoIterator<Item = Option<Address>>,
    ) -> Self {
        let new: Box<[_]> =
            new.into_iter().filter(|&(server, _)| config.servers[server].weight > 0).collect();
        let is_map = matches!(config.balance, Balance::Hash { kind: HashKind::Map, .. });
        let servers: Box<[_]> = new
            .iter()
            .map(|&(server, share)| {
                // A table that grew with a slow start would move almost every key at each of its steps.
                let share = if is_map { Share::default() } else { share };
                (server, share.of_weight(config.servers[server].weight))
            })
            .collect();
        let choice = match config.balance {
            Balance::RoundRobin => Choice::Round,
            Balance::LeastConn => Choice::Least,
            Balance::Random => Choice::Random,
            Balance::First => Choice::First,
            Balance::Hash { kind: HashKind::Map, .. } => Choice::Map,
            Balance::Hash { kind: HashKind::Consistent, .. } => Choice::Ring(ring(config, &servers)),
        };
        Self {
            round: round(&servers),
            servers,
            choice,
            kept: kept.into_iter().collect(),
            addresses: addresses.into_iter().collect(),
            starting: new.iter().filter(|(_, share)| !share.is_full()).copied().collect(),
        }
    }

    /// Servers that take new requests.
    pub(crate) fn count(&self) -> usize {
        self.servers.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Does this one take new requests?
    pub(crate) fn takes_new(&self, server: usize) -> bool {
        self.servers.iter().any(|&(index, _)| index == server)
    }

    /// Is there a usable server that is none of `these`?
    pub(crate) fn has_other_than(&self, these: &[usize]) -> bool {
        self.servers.iter().any(|(index, _)| !these.contains(index))
    }

    /// May a request that has had this server before go there?
    pub(crate) fn keeps(&self, server: usize) -> bool {
        self.kept.contains(&server)
    }

    /// Where a server is.
    pub(crate) fn address(&self, server: usize) -> Option<Address> {
        self.addresses.get(server).cloned().flatten()
    }

    /// `maxconn` of a server, smaller during its slow start, but never 0.
    pub(crate) fn maxconn(&self, server: usize, maxconn: u32) -> u32 {
        match self.starting.iter().find(|&&(index, _)| index == server) {
            Some((_, share)) => share.of_maxconn(maxconn),
            None => maxconn,
        }
    }

    /// The one server that a request wants, if it wants one that is usable and not to be avoided.
    pub(crate) fn wanted(&self, preference: Preference, avoid: &[usize]) -> Option<usize> {
        preference
            .server
            .filter(|&server| self.keeps(server) && !avoid.contains(&server))
            .or_else(|| self.by_hash(preference.hash?, avoid))
    }

    fn by_hash(&self, hash: u64, avoid: &[usize]) -> Option<usize> {
        match &self.choice {
            Choice::Ring(ring) => ring.find(hash, avoid),
            Choice::Map if !self.round.is_empty() => {
                let at = usize::try_from(hash % self.round.len() as u64).unwrap_or(0);
                self.first_on_round(at, self.round.len(), avoid)
            }
            Choice::Map | Choice::Round | Choice::Least | Choice::Random | Choice::First => None,
        }
    }

    /// Chooses a server that is not to be avoided and of which `take` gets a slot. `load` is what is in flight there.
    /// Something to avoid means that this is a retry.
    pub(crate) fn pick(
        &self,
        turns: &Turns,
        avoid: &[usize],
        load: impl Fn(usize) -> u32,
        mut take: impl FnMut(usize) -> bool,
    ) -> Pick {
        if self.servers.is_empty() {
            return Pick::None;
        }
        let mut accept = |index: usize| !avoid.contains(&index) && take(index);
        let first = self.first_choice(turns, avoid, load);
        if accept(first) {
            return Pick::Server(first);
        }
        let start = match self.choice {
            Choice::First => 0,
            _ => self.servers.iter().position(|&(index, _)| index == first).map_or(0, |at| at + 1),
        };
        for step in 0..self.servers.len() {
            let (index, _) = self.servers[(start + step) % self.servers.len()];
            if accept(index) {
                return Pick::Server(index);
            }
        }
        Pick::Full(Wish::Any)
    }

    fn first_choice(&self, turns: &Turns, avoid: &[usize], load: impl Fn(usize) -> u32) -> usize {
        if let Choice::First = self.choice {
            return self
                .servers
                .iter()
                .find(|(index, _)| !avoid.contains(index))
                .unwrap_or(&self.servers[0])
                .0;
        }
        let turn = if avoid.is_empty() { &turns.first } else { &turns.retry };
        let position = turn.fetch_add(1, Ordering::Relaxed);
        match self.choice {
            Choice::Least => self.least(position, avoid, load),
            Choice::Random => self.lighter_of_two(position, avoid, load),
            // Without its key a request goes in turn.
            Choice::Round | Choice::Ring(_) | Choice::Map | Choice::First => self.in_turn(position, avoid),
        }
    }

    fn in_turn(&self, position: usize, avoid: &[usize]) -> usize {
        if avoid.is_empty() {
            return self.round[position % self.round.len()];
        }
        let turns = || self.round.iter().filter(|server| !avoid.contains(server));
        let others = turns().count().max(1);
        turns().nth(position % others).copied().unwrap_or(self.round[0])
    }

    /// The fewest in flight per weight; ties in turn by weight, as far as those whose turn it is are among them.
    fn least(&self, position: usize, avoid: &[usize], load: impl Fn(usize) -> u32) -> usize {
        let loads = || {
            let others = self.servers.iter().filter(|(index, _)| !avoid.contains(index));
            others.map(|&(index, weight)| (index, u64::from(load(index)), u64::from(weight)))
        };
        let lighter = |(_, load, weight): (usize, u64, u64), (_, least, of): (usize, u64, u64)| {
            (load * of).cmp(&(least * weight))
        };
        let Some(least) = loads().min_by(|&a, &b| lighter(a, b)) else { return self.servers[0].0 };
        // Loads move while they are compared: what is no tie any more is not found, and the least one stands.
        let ties = || loads().filter(|&server| lighter(server, least).is_le());
        let turn = self.round[position % self.round.len()];
        if ties().any(|(index, ..)| index == turn) {
            return turn;
        }
        let count = ties().count().max(1);
        ties().nth(position % count).map_or(least.0, |(index, ..)| index)
    }

    /// The power of two choices: almost as even as the fewest of all, and no herd runs to a server that came back.
    fn lighter_of_two(&self, position: usize, avoid: &[usize], load: impl Fn(usize) -> u32) -> usize {
        let random = splitmix::mix(position as u64);
        let draw = |random: u64| usize::try_from(random % self.round.len() as u64).unwrap_or(0);
        let one = self.first_on_round(draw(random), self.round.len(), avoid).unwrap_or(self.round[0]);
        let again = draw(splitmix::mix(random));
        let Some(other) = (0..DRAW_AGAIN)
            .map(|step| self.round[(again + step) % self.round.len()])
            .find(|other| *other != one && !avoid.contains(other))
        else {
            return one;
        };
        let burden = |server: usize, other: usize| u64::from(load(server)) * u64::from(self.weight(other));
        if burden(other, one) < burden(one, other) { other } else { one }
    }

    fn weight(&self, server: usize) -> u32 {
        let at = self.servers.binary_search_by_key(&server, |&(index, _)| index);
        at.map_or(1, |at| self.servers[at].1)
    }

    fn first_on_round(&self, at: usize, steps: usize, avoid: &[usize]) -> Option<usize> {
        let (before, after) = self.round.split_at(at);
        after.iter().chain(before).take(steps).find(|server| !avoid.contains(server)).copied()
    }
}

fn ring(config: &Backend, servers: &[(usize, u32)]) -> Ring {
    let weights = config.servers.iter().map(|server| Share::default().of_weight(server.weight));
    let named = servers.iter().map(|&(index, weight)| (index, weight, config.servers[index].name.as_str()));
    Ring::new(Scale::new(weights), named)
}

#[cfg(test)]
mod tests;
