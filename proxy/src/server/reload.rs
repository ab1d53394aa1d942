//! Another configuration for a proxy that runs: all of it or nothing, and no connection is lost.
//!
//! ```text
//! prepare: maps, new listeners, the generation; every worker takes the new sockets ── an error ──> nothing has changed
//! commit:  board: known servers go on ── bindings ── each worker swaps ── lines are served ── tasks begin and end
//! ```
//! Whatever can fail does so in [`Proxy::prepare`].

use std::{panic, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{task::spawn_blocking, time::timeout};

use super::{Proxy, list};
use crate::{
    Config, descriptors, drain,
    health::board::Board,
    listener::{
        Assignment, Watched,
        binding::{BindFailure, Bindings, Plan, PlanError, Sockets, TURN},
        watch,
    },
    node::{Lineage, Node},
    sample::{MapError, Maps},
    worker::{Swap, Worker, WorkerHandle},
};

/// For a worker to answer. One that hangs for longer is stalled.
const ANSWER: Duration = Duration::from_secs(2);

/// The proxy goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// Maps can't be read.
    #[error("{}", list(.0))]
    Maps(Vec<MapError>),
    /// Addresses can't be listened on.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Bind(Vec<BindFailure>),
    /// Another one is neither committed nor dropped.
    #[error("the reload before is not over within {} s: try again", TURN.as_secs())]
    Busy,
    /// Threads are made at the start.
    #[error("{running} threads run, and {wanted} are wanted: that takes another process")]
    Threads {
        /// Now.
        running: usize,
        /// In the new configuration.
        wanted: usize,
    },
    /// A worker can't take part.
    #[error("worker {worker} {why}")]
    Worker {
        /// Its number.
        worker: usize,
        /// What about it.
        why: String,
    },
}

/// Another configuration, ready to come into force. Dropping it leaves everything as it is.
#[derive(Debug)]
pub struct Prepared {
    board: Arc<Board>,
    bindings: Arc<Bindings>,
    workers: Arc<[WorkerHandle]>,
    node: Arc<Node>,
    plan: Plan,
    /// By worker.
    new: Vec<Vec<(Assignment, Watched)>>,
}

/// It is in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reloaded {
    /// Counts the configurations since the start, from 1.
    pub generation: u64,
    /// Workers that hang and go over to it as soon as they don't.
    pub late_workers: Vec<usize>,
    /// Names of the maps whose files say something else than before.
    pub maps: Vec<String>,
}

impl Proxy {
    /// Makes `config` ready to come into force: reads its maps (on a thread for that), binds its new listeners. A second one
    /// waits for the first to be committed or dropped, for 10 s.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub async fn prepare(&self, mut config: Config) -> Result<Prepared, ReloadError> {
        let (running, wanted) = (self.workers.len(), config.threads.get());
        if running != wanted {
            return Err(ReloadError::Threads { running, wanted });
        }
        config.maxconn = descriptors::raise_limit(&config);
        config.desk = config.desk.or_else(|| self.board.node().config.desk.clone());
        let files = config.maps.clone();
        let maps = spawn_blocking(move || Maps::load(&files)).await;
        let maps = maps
            .unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
            .map_err(ReloadError::Maps)?;
        let mut plan = self.bindings.plan(&config).await.map_err(|error| match error {
            PlanError::Busy => ReloadError::Busy,
            PlanError::Bind(failures) => ReloadError::Bind(failures),
        })?;
        // After the plan: whoever has one has the turn, and no other generation comes in between.
        let generation = self.board.node().generation + 1;
        let node = Node::new(generation, config, maps, Lineage(&self.board.generations()));
        let sockets = std::mem::take(&mut plan.new);
        let taken = self.workers.iter().zip(sockets).map(|(worker, sockets)| take(worker, sockets));
        let mut new = Vec::new();
        for (worker, taken) in join_all(taken).await.into_iter().enumerate() {
            new.push(taken.map_err(|why| ReloadError::Worker { worker, why })?);
        }
        let (board, bindings) = (Arc::clone(&self.board), Arc::clone(&self.bindings));
        Ok(Prepared { board, bindings, workers: Arc::clone(&self.workers), node, plan, new })
    }

    /// [`Self::prepare`] and [`Prepared::commit`].
    ///
    /// # Errors
    /// As for [`Self::prepare`].
    pub async fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        Ok(self.prepare(config).await?.commit().await)
    }
}

impl Prepared {
    /// Brings it into force; returns when it is so on all workers. It is not to be stopped half-way.
    pub async fn commit(self) -> Reloaded {
        let Self { board, bindings, workers, node, plan, new } = self;
        let stay = plan.stay.clone();
        let before = board.node();
        let adopted = board.adopt(&node);
        let turn = bindings.adopt(plan);
        board.follow(&adopted);
        let paused = bindings.paused();
        let swaps = new.into_iter().enumerate().map(|(index, new)| {
            let (stay, paused) = (stay.clone(), Arc::clone(&paused));
            let swap = Swap { node: Arc::clone(&node), stay, new, paused };
            let workers = Arc::clone(&workers);
            // On its own: it reaches a worker that hangs as well, when that goes on.
            let swapped =
                tokio::spawn(async move { workers[index].run(move |worker| worker.swap(swap)).await });
            async { timeout(ANSWER, swapped).await.is_ok() }
        });
        let done = join_all(swaps).await;
        let late_workers = done.iter().enumerate().filter(|(_, done)| !**done).map(|(worker, _)| worker);
        let late_workers = late_workers.collect();
        // Slots may be free that were not before, and servers gone that somebody waits for.
        for state in node.backends.iter().chain(&before.backends) {
            state.shared.serve_line();
            state.shared.came_back.notify_one();
        }
        drop(turn);
        let generation = node.generation;
        tokio::spawn(async move { drain::close_orphans(&workers).await });
        Reloaded { generation, late_workers, maps: other_maps(&before, &node) }
    }
}

/// Maps of both whose contents are different.
fn other_maps(before: &Node, node: &Node) -> Vec<String> {
    let digest = |node: &Node, name: &str| {
        let index = node.config.maps.iter().position(|map| map.name == name)?;
        node.maps.digest(index)
    };
    let names = node.config.maps.iter().map(|map| &map.name);
    let is_other = |name: &&String| digest(before, name).is_some_and(|old| digest(node, name) != Some(old));
    names.filter(is_other).cloned().collect()
}

/// Has a worker's runtime watch its new sockets.
async fn take(worker: &WorkerHandle, sockets: Sockets) -> Result<Vec<(Assignment, Watched)>, String> {
    let watch = move |_: &Rc<Worker>| {
        let watched = sockets.into_iter().map(|(assignment, socket)| Ok((assignment, watch(socket)?)));
        watched.collect::<std::io::Result<Vec<_>>>()
    };
    match timeout(ANSWER, worker.run(watch)).await {
        Ok(Some(Ok(watched))) => Ok(watched),
        Ok(Some(Err(error))) => Err(format!("can't watch a socket: {error}")),
        Ok(None) => Err("has ended".to_owned()),
        Err(_) => Err(format!("does not answer within {} s", ANSWER.as_secs())),
    }
}
