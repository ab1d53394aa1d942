//! Starts the workers and the checks, and is the handle on them.

mod end;
mod reload;

use std::{
    mem,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot, watch};

pub use self::reload::{Prepared, ReloadError, Reloaded};
use crate::{
    Config, Health, LogEvent, StateChange, Status, descriptors, drain,
    handover::Handover,
    health::{Tasks, board::Board},
    invalid::{self, InvalidMessage},
    limit::Limit,
    listener::binding::{BindFailure, Bindings},
    rates::SAMPLE_EVERY,
    sample::{MapError, Maps},
    slack, stall,
    status::{self, LogStatus},
    trace::{Trace, TraceOptions},
    worker::WorkerHandle,
};

/// How long the workers' threads may take to end after they were told to; one that hangs is left behind.
const END: Duration = Duration::from_secs(1);

/// How long the end waits for logs to be written.
const FLUSH: Duration = Duration::from_millis(500);

/// A log whose thread does not come to open its file anew is stuck.
const REOPENED_WITHIN: Duration = Duration::from_secs(2);

/// The running data plane. Dropping it stops the workers at once.
#[derive(Debug)]
pub struct Proxy {
    board: Arc<Board>,
    bindings: Arc<Bindings>,
    workers: Arc<[WorkerHandle]>,
    running: Mutex<Running>,
    /// In which all workers have answered.
    rounds: Arc<AtomicU64>,
    tasks: Tasks,
}

/// The workers, until they are told to end.
#[derive(Debug, Default)]
struct Running {
    threads: Vec<thread::JoinHandle<()>>,
    /// A worker ends when its sender is dropped.
    until: Vec<oneshot::Sender<()>>,
}

/// The data plane can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A map can't be read.
    #[error("{}", list(.0))]
    Maps(Vec<MapError>),
    /// Addresses that the process before did not have can't be listened on.
    #[error("{}", list(.0))]
    Bind(Vec<BindFailure>),
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
fn list(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Proxy {
    /// Binds every listener (one that can't be bound is reported in [`Health`] and [`Status`] and tried again once a
    /// second; it is never an error here), starts the workers, the checks and the watch over the workers. Must be
    /// called inside a tokio runtime: checks run on it.
    ///
    /// # Errors
    /// A map can't be read, or a worker's thread or its reactor can't be made; nothing keeps running then.
    pub fn start(config: Config) -> Result<Self, StartError> {
        Self::begin(config, None)
    }

    /// The same for a process that takes the place of another one: goes on with its listening sockets as far as `config`
    /// has them, and with what it knew.
    ///
    /// # Errors
    /// As for [`Self::start`]; and a listener can't be bound, and the process before did not fail to bind it as well.
    pub fn start_from(config: Config, before: Handover) -> Result<Self, StartError> {
        Self::begin(config, Some(before))
    }

    fn begin(mut config: Config, before: Option<Handover>) -> Result<Self, StartError> {
        let takes_over = before.is_some();
        let Handover { listeners, known } = before.unwrap_or_default();
        config.maxconn = descriptors::raise_limit(&config);
        let maps = Maps::load(&config.maps).map_err(StartError::Maps)?;
        let board = Board::new(config, maps, &known);
        let node = board.node();
        let (bindings, sockets) =
            Bindings::bind_all(&node.config, listeners, known.pauses(), board.health().clone());
        if takes_over {
            let failures = bindings.failures().into_iter();
            let new = failures.filter_map(|(place, why)| (!known.was_unbound(&place)).then_some(why));
            let new: Vec<_> = new.collect();
            if !new.is_empty() {
                return Err(StartError::Bind(new));
            }
        }
        let (mut workers, mut running) = (Vec::new(), Running::default());
        for (worker, sockets) in sockets.into_iter().enumerate() {
            let (run, ended) = oneshot::channel();
            let started = WorkerHandle::start(worker, Arc::clone(&node), sockets, bindings.paused(), ended);
            let (handle, thread) = started.map_err(|source| StartError::Thread { worker, source })?;
            workers.push(handle);
            running.threads.push(thread);
            running.until.push(run);
        }
        let mut proxy = Self {
            workers: workers.into(),
            board,
            bindings,
            running: Mutex::new(running),
            rounds: Arc::default(),
            tasks: Tasks::default(),
        };
        proxy.start_tasks();
        Ok(proxy)
    }

    fn start_tasks(&mut self) {
        self.board.set_workers(Arc::clone(&self.workers));
        self.board.begin();
        self.tasks.add(&tokio::spawn(Arc::clone(&self.bindings).retry(Arc::clone(&self.workers))));
        let (workers, rounds) = (Arc::clone(&self.workers), Arc::clone(&self.rounds));
        self.tasks.add(&tokio::spawn(stall::watch(workers, Arc::clone(&self.board), rounds)));
        // Before anybody is served: what the first samples are compared with.
        status::sample(&self.board.node(), Instant::now());
        self.tasks.add(&tokio::spawn(sample(Arc::clone(&self.board))));
        self.tasks.add(&tokio::spawn(sweep_tables(Arc::clone(&self.board))));
        self.tasks.add(&tokio::spawn(slack::give_back(Arc::clone(&self.board))));
    }

    /// Opens the files of logs anew, by their names: the old ones were moved away. How they are then; after two seconds
    /// it waits for none any more.
    pub async fn reopen_logs(&self) -> Vec<LogStatus> {
        self.board.node().loggers.reopen(REOPENED_WITHIN).await
    }

    /// Something happened to the process that its log should say.
    pub fn log(&self, event: &LogEvent<'_>) {
        self.board.node().loggers.process(event);
    }

    /// What an operator sees. Cheap; never waits for a worker.
    pub fn status(&self) -> Status {
        let generations = self.board.generations();
        status::collect(&generations, &self.bindings)
    }

    /// Begins to show exchanges as they pass, without ever slowing one down. `None` if [`trace::MOST`] are shown already.
    ///
    /// [`trace::MOST`]: crate::trace::MOST
    pub fn trace(&self, options: TraceOptions) -> Option<Trace> {
        self.board.node().traces.begin(options)
    }

    /// The last messages that were refused because they are not valid, oldest first, and how many workers did not answer
    /// within `limit`. They are asked when the future is polled.
    pub fn invalid_messages(
        &self,
        limit: Duration,
    ) -> impl Future<Output = (Vec<InvalidMessage>, usize)> + Send + use<> {
        invalid::collect(Arc::clone(&self.workers), limit)
    }

    /// What decides readiness; changes are published at once.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.board.health().subscribe()
    }

    /// Every change of state of a server or a backend from now on; `None` if somebody listens already. What is not taken in time
    /// is lost ([`Self::lost_transitions`]).
    pub fn transitions(&self) -> Option<mpsc::Receiver<StateChange>> {
        self.board.node().transitions.listen()
    }

    /// Changes that nobody took in time.
    pub fn lost_transitions(&self) -> u64 {
        self.board.node().transitions.lost()
    }

    /// How many rounds are over in which every worker has answered. While all is well there are two a second and more; the
    /// number stands still while one worker hangs.
    pub fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Client connections of the process.
    pub fn connections(&self) -> u64 {
        self.board.node().connections.taken().into()
    }

    /// How many exchanges are in flight, as far as workers say so within `limit`.
    pub async fn exchanges(&self, limit: Duration) -> usize {
        drain::exchanges(&self.workers, limit).await
    }

    /// Resets (RST) every client connection whose local address is one of `addresses`; returns when all workers have
    /// done so or `limit` has passed, with the number of connections reset so far.
    pub async fn reset_connections(&self, addresses: &[IpAddr], limit: Duration) -> usize {
        drain::reset_connections(&self.workers, addresses, limit).await
    }

    /// Keep-alive off, idle client connections closed; new ones are still served. Returns when the exchanges that were
    /// in flight are over and none is older than 1 s, or after `limit`, with the number of older ones left. The node is
    /// about to give its addresses away; [`Self::stay`] is the way back.
    pub async fn drain(&self, limit: Duration) -> usize {
        drain::drain(&self.workers, limit).await
    }

    /// After a drain, before the addresses leave: SYNs are dropped, not refused, so that newcomers connect to the next
    /// node a second later. Returns when no connection is left, or after `limit`, with the number of those that are.
    pub async fn hold_off(&self, limit: Duration) -> usize {
        drain::hold_off(&self.workers, limit).await
    }

    /// After [`Self::drain`] and [`Self::hold_off`]: the process goes on after all, or with its own addresses. Keep-alive is on
    /// again, and newcomers come in.
    pub async fn stay(&self) {
        drain::stay(&self.workers).await;
    }

    /// Takes traffic off `addresses` that are about to leave this node while it goes on with others: connections on them are
    /// closed as they become idle, and what is left after `limit` is reset. Returns how many that were.
    pub async fn leave(&self, addresses: &[IpAddr], limit: Duration) -> usize {
        drain::leave(&self.workers, addresses, limit).await
    }

    /// Stops accepting, lets exchanges in flight finish for at most `limit`, then ends the workers. Returns the number
    /// of client connections that were cut.
    pub async fn stop(&self, limit: Duration) -> u32 {
        self.wind_up(limit).await;
        self.finish().await
    }

    /// Stops accepting and lets exchanges in flight finish for at most `limit`; idle connections are closed.
    pub async fn wind_up(&self, limit: Duration) {
        self.bindings.remove_files();
        drain::finish(&self.limits(), &self.workers, limit).await;
    }

    /// Ends the workers; returns how many connections that cuts. It is the same whoever else holds this handle: to them
    /// everything is stopped.
    pub async fn finish(&self) -> u32 {
        let cut = drain::taken(&self.limits());
        self.board.end();
        self.tasks.end();
        let Running { threads, until } =
            mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        drop(until);
        let end = Instant::now() + END;
        while !threads.iter().all(thread::JoinHandle::is_finished) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.log_end();
        let node = self.board.node();
        status::tell_held_back(&node, Duration::MAX);
        // The workers have handed over their last lines.
        let _ = tokio::task::spawn_blocking(move || node.loggers.flush(FLUSH)).await;
        cut
    }
}

impl Proxy {
    pub(crate) fn workers(&self) -> &Arc<[WorkerHandle]> {
        &self.workers
    }

    pub(crate) fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    pub(crate) fn shared_board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Of all connections of the process.
    pub(crate) fn limits(&self) -> [Arc<Limit>; 2] {
        let node = self.board.node();
        [Arc::clone(&node.connections), Arc::clone(&node.connections_apart)]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.board.end();
        self.bindings.remove_files();
    }
}

async fn sample(board: Arc<Board>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + SAMPLE_EVERY, SAMPLE_EVERY);
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

#[cfg(test)]
mod tests;
