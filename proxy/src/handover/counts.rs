//! Counters by their names: what a process has counted, and what it counts after it has handed over. Its connections still
//! end, and the process in charge shows the sum.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize};

use super::Known;
use crate::{
    config::BackendId,
    health::board::Board,
    metrics::{
        BackendCounters,
        named::{Named, is_most},
    },
    node::Node,
    server::Proxy,
    worker::Worker,
};

/// Counters by their names. One that the other program does not have is lost.
pub(super) type Counts = BTreeMap<String, u64>;

/// How many go into one piece: 2 kB each at most.
const PIECE: usize = 32;

/// Whose they are.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(super) enum Of {
    Frontend(String),
    Backend(String),
    /// What no server of the backend has to do with.
    Others(String),
    Server {
        backend: String,
        name: String,
    },
}

/// Counters that have grown.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Grown {
    of: Of,
    /// Of what is a maximum, all of it.
    by: Counts,
}

/// Remembers what the next process was told of the counters.
#[derive(Debug)]
pub struct Tally {
    board: Arc<Board>,
    told: BTreeMap<Of, Counts>,
}

impl Tally {
    /// Has `tell` pass on what has grown, piece by piece. It returns false if it can't: then it is told the next time.
    pub fn tell(&mut self, mut tell: impl FnMut(&[Grown]) -> bool) {
        let mut grown = Vec::new();
        for (of, counts) in all(&self.board.node()) {
            let by = grown_by(&counts, self.told.get(&of));
            if !by.is_empty() {
                grown.push((Grown { of, by }, counts));
            }
        }
        while !grown.is_empty() {
            let piece = grown.drain(..grown.len().min(PIECE));
            let (piece, now): (Vec<_>, Vec<_>) = piece.unzip();
            if !tell(&piece) {
                return;
            }
            self.told.extend(piece.into_iter().map(|grown| grown.of).zip(now));
        }
    }
}

impl Proxy {
    /// For a process that has passed on `known` and goes on counting.
    pub fn tally(&self, known: &Known) -> Tally {
        Tally { board: Arc::clone(self.shared_board()), told: known.counts().collect() }
    }

    /// Counts what a process before this one has counted since.
    pub async fn count(&self, grown: Vec<Grown>) {
        // Counters are their worker's alone, so one of the workers does it.
        if let Some(worker) = self.workers().first() {
            worker.run(move |worker| grown.iter().for_each(|grown| add(worker, grown))).await;
        }
    }
}

fn add(worker: &Rc<Worker>, Grown { of, by }: &Grown) {
    let (node, counters) = (worker.node(), worker.counters());
    let backend =
        |name: &str| node.backend_named(name).map(|id| (node.backend(id), &counters.backends[id.0]));
    let named = match of {
        Of::Frontend(name) => {
            let index = node.config.frontends.iter().position(|frontend| frontend.name == *name);
            index.map(|index| counters.frontends[index].named())
        }
        Of::Backend(name) => backend(name).map(|(_, counters)| counters.named()),
        Of::Others(name) => backend(name).map(|(_, counters)| counters.unserved.named()),
        Of::Server { backend: of, name } => backend(of).map(|(config, counters)| {
            // What a server did is part of what its backend did, also if it is gone.
            counters.of(config.servers.iter().position(|server| server.name == *name)).named()
        }),
    };
    for (name, counter) in named.into_iter().flatten() {
        match by.get(name) {
            Some(most) if is_most(name) => {
                counter.raise(*most);
            }
            Some(more) => counter.add(*more),
            None => {}
        }
    }
}

fn grown_by(now: &Counts, told: Option<&Counts>) -> Counts {
    let grown = now.iter().filter_map(|(name, count)| {
        let before = told.and_then(|told| told.get(name)).copied().unwrap_or(0);
        let by = if is_most(name) { *count } else { count.wrapping_sub(before) };
        (*count != before).then(|| (name.clone(), by))
    });
    grown.collect()
}

/// Of everything in the configuration in force.
fn all(node: &Node) -> BTreeMap<Of, Counts> {
    let mut all = BTreeMap::new();
    for (index, config) in node.config.frontends.iter().enumerate() {
        all.insert(Of::Frontend(config.name.clone()), of_frontend(node, index));
    }
    for (index, config) in node.config.backends.iter().enumerate() {
        let (id, name) = (BackendId(index), &config.name);
        all.insert(Of::Backend(name.clone()), of_backend(node, id));
        all.insert(Of::Others(name.clone()), of_others(node, id));
        for (at, server) in config.servers.iter().enumerate() {
            let of = Of::Server { backend: name.clone(), name: server.name.clone() };
            all.insert(of, of_server(node, id, at));
        }
    }
    all
}

pub(super) fn of_frontend(node: &Node, index: usize) -> Counts {
    sum(node.counters.iter().map(|counters| counters.frontends[index].named()))
}

pub(super) fn of_backend(node: &Node, id: BackendId) -> Counts {
    sum(node.counters.iter().map(|counters| counters.backends[id.0].named()))
}

pub(super) fn of_others(node: &Node, id: BackendId) -> Counts {
    sum(node.counters.iter().map(|counters| BackendCounters::named_of_others(&counters.backends[id.0])))
}

pub(super) fn of_server(node: &Node, id: BackendId, index: usize) -> Counts {
    sum(node.counters.iter().map(|counters| counters.backends[id.0].servers[index].named()))
}

/// Over all workers.
fn sum<'c>(workers: impl Iterator<Item = Named<'c>>) -> Counts {
    let mut counts = Counts::new();
    for (name, counter) in workers.flatten() {
        let count = counts.entry(name.to_owned()).or_default();
        *count =
            if is_most(name) { counter.value().max(*count) } else { counter.value().saturating_add(*count) };
    }
    counts
}

pub(super) fn set(counts: &Counts, counters: &Named<'_>) {
    for (name, counter) in counters {
        if let Some(count) = counts.get(*name) {
            counter.set(*count);
        }
    }
}
