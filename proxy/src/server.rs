//! Starts the workers and the checks, and is the handle on them.

use std::{
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    task::{AbortHandle, JoinHandle},
};

use crate::{
    Config, Health, Status, descriptors, drain,
    health::board::Board,
    listener::binding::Bindings,
    rates::SAMPLE_EVERY,
    resolve,
    sample::{MapError, Maps},
    stall, status,
    worker::WorkerHandle,
};

/// In which the first checks of all servers begin.
const FIRST_ROUND: Duration = Duration::from_millis(250);

/// How long the workers' threads may take to end after they were told to; one that hangs is left behind.
const END: Duration = Duration::from_secs(1);

/// The running data plane. Dropping it stops the workers at once.
#[derive(Debug)]
pub struct Proxy {
    board: Arc<Board>,
    bindings: Arc<Bindings>,
    workers: Arc<[WorkerHandle]>,
    threads: Vec<thread::JoinHandle<()>>,
    /// A worker ends when its sender is dropped.
    running: Vec<oneshot::Sender<()>>,
    tasks: Tasks,
}

/// The data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A map can't be read.
    #[error("{}", list(.0))]
    Maps(Vec<MapError>),
    /// A thread could not be started.
    #[error("can't start worker {worker}")]
    Thread {
        /// Its number.
        worker: usize,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// One sentence after the other.
fn list(errors: &[MapError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Tasks of the control side; dropping it ends them.
#[derive(Debug, Default)]
struct Tasks(Vec<AbortHandle>);

impl Proxy {
    /// Binds every listener (one that can't be bound is reported in [`Health`] and [`Status`] and tried again once a
    /// second; it is never an error here), starts the workers, the checks and the watch over the workers. Must be
    /// called inside a tokio runtime: checks run on it.
    ///
    /// # Errors
    /// A map can't be read, or a worker's thread or its reactor can't be made; nothing keeps running then.
    pub fn start(mut config: Config) -> Result<Self, StartError> {
        config.maxconn = descriptors::raise_limit(config.maxconn);
        let maps = Maps::load(&config.maps).map_err(StartError::Maps)?;
        let board = Board::new(config);
        let node = board.node();
        node.maps.store(maps);
        let (bindings, sockets) = Bindings::bind_all(&node.config, board.health().clone());
        let (mut workers, mut threads, mut running) = (Vec::new(), Vec::new(), Vec::new());
        for (worker, sockets) in sockets.into_iter().enumerate() {
            let (run, ended) = oneshot::channel();
            let started = WorkerHandle::start(worker, Arc::clone(&node), sockets, ended);
            let (handle, thread) = started.map_err(|source| StartError::Thread { worker, source })?;
            workers.push(handle);
            threads.push(thread);
            running.push(run);
        }
        let mut proxy =
            Self { workers: workers.into(), board, bindings, threads, running, tasks: Tasks::default() };
        proxy.start_tasks();
        Ok(proxy)
    }

    fn start_tasks(&mut self) {
        self.board.set_workers(Arc::clone(&self.workers));
        for follower in resolve::followers(&self.board, &self.workers) {
            self.tasks.add(&tokio::spawn(follower));
        }
        let (node, seed) = (self.board.node(), seed());
        let total: usize = node.backends.iter().map(|backend| backend.servers.len()).sum();
        let mut delays = (0..total).map(|index| first_check_after(index, total));
        for backend in &node.backends {
            let slow_starts = Arc::clone(&self.board).slow_starts(Arc::clone(&backend.shared));
            self.tasks.add(&tokio::spawn(slow_starts));
            for (server, delay) in backend.servers.iter().zip(&mut delays) {
                let seed = seed ^ u64::from(server.number);
                let check = Arc::clone(&self.board).check(Arc::clone(server), seed, delay);
                self.tasks.add(&tokio::spawn(check));
                let ask_agent = Arc::clone(&self.board).ask_agent(Arc::clone(server), delay);
                self.tasks.add(&tokio::spawn(ask_agent));
            }
        }
        self.tasks.add(&tokio::spawn(Arc::clone(&self.bindings).retry(Arc::clone(&self.workers))));
        self.tasks.add(&tokio::spawn(stall::watch(Arc::clone(&self.workers), self.board.health().clone())));
        self.tasks.add(&tokio::spawn(sample(Arc::clone(&self.board))));
        self.tasks.add(&tokio::spawn(sweep_tables(Arc::clone(&self.board))));
    }

    /// Reads all maps anew and swaps them whole, for requests that come from now on. It blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with each file; the maps stay as they are then.
    pub fn reload_maps(&self) -> Result<(), Vec<MapError>> {
        let node = self.board.node();
        node.maps.store(Maps::load(&node.config.maps)?);
        Ok(())
    }

    /// What an operator sees. Cheap; never waits for a worker.
    pub fn status(&self) -> Status {
        status::collect(&self.board.node(), &self.bindings)
    }

    /// What decides readiness; changes are published at once.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.board.health().subscribe()
    }

    /// Resets (RST) every client connection whose local address is one of `addresses`; returns when all workers have
    /// done so or `limit` has passed, with the number of connections reset so far.
    pub async fn reset_connections(&self, addresses: &[IpAddr], limit: Duration) -> usize {
        drain::reset_connections(&self.workers, addresses, limit).await
    }

    /// Keep-alive off, idle client connections closed; new ones are still served. Returns when the exchanges that were
    /// in flight are over and none is older than 1 s, or after `limit`, with the number of older ones left. There is
    /// no way back: the node is about to give its addresses away.
    pub async fn drain(&self, limit: Duration) -> usize {
        drain::drain(&self.workers, limit).await
    }

    /// After a drain, before the addresses leave: SYNs are dropped, not refused, so that newcomers connect to the next
    /// node a second later. Returns when no connection is left, or after `limit`, with the number of those that are.
    pub async fn hold_off(&self, limit: Duration) -> usize {
        drain::hold_off(&self.workers, limit).await
    }

    /// Stops accepting, lets exchanges in flight finish for at most `limit`, then ends the workers. Returns the number
    /// of client connections that were cut.
    pub async fn stop(mut self, limit: Duration) -> u32 {
        let connections = Arc::clone(&self.board.node().connections);
        self.bindings.remove_files();
        drain::finish(&connections, &self.workers, limit).await;
        let cut = connections.taken();
        self.running.clear();
        let end = Instant::now() + END;
        while !self.threads.iter().all(thread::JoinHandle::is_finished) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        cut
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.bindings.remove_files();
    }
}

impl Tasks {
    fn add(&mut self, task: &JoinHandle<()>) {
        self.0.push(task.abort_handle());
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

async fn sample(board: Arc<Board>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    loop {
        ticks.tick().await;
        status::sample(&board.node(), Instant::now());
    }
}

/// Cleans the tables once a second. On a thread that is no worker: none of them waits for more than one lock.
async fn sweep_tables(board: Arc<Board>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    loop {
        ticks.tick().await;
        let node = board.node();
        node.tables.sweep(node.now());
    }
}

/// One server a millisecond, and all of them within [`FIRST_ROUND`]: many connections at once would look like an attack,
/// and the first round has to be over soon.
fn first_check_after(index: usize, total: usize) -> Duration {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let even = FIRST_ROUND / u32::try_from(total).unwrap_or(u32::MAX).max(1);
    even.min(Duration::from_millis(1)) * index
}

/// Differs between nodes and starts, so that their checks do not fall together.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests;
