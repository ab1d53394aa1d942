//! A worker: one thread, one runtime, its own accept loops, connections, buffers, timers and idle upstreams.
//!
//! Workers share nothing but [`Node`]'s limits. The control side reaches a worker by sending it a closure
//! ([`WorkerHandle::run`]); there is no other way in.

use std::{
    cell::{Cell, Ref, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use crate::{
    buffer::BufferPool,
    config::{Backend, BackendId},
    connection::Registry,
    http::RetryBudget,
    listener::{AcceptLoops, binding::Sockets, spawn},
    metrics::Counters,
    node::{Node, Routing},
    sample::{self, Maps},
    tcp::splice::PipePool,
    upstream::{Preference, Search, balance::Usable, idle::IdleConnections},
    wheel::{TICK, Wheel},
};

/// Closures on their way to a worker; more than that wait with their senders.
const COMMANDS: usize = 64;

/// Between two looks at the idle upstream connections.
const SWEEP: Duration = Duration::from_secs(1);

/// What the tasks of one worker share.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    node: Arc<Node>,
    counters: Arc<Counters>,
    routing: RefCell<(u64, Arc<Routing>)>,
    maps: RefCell<(u64, Arc<Maps>)>,
    wheel: Rc<Wheel>,
    buffers: Rc<BufferPool>,
    scratch: RefCell<Scratch>,
    pipes: Rc<PipePool>,
    idle_upstreams: IdleConnections,
    /// By backend.
    retry_budgets: Box<[RetryBudget]>,
    registry: Rc<Registry>,
    accept_loops: AcceptLoops,
    /// Clients that are being told why they are refused.
    told: Cell<usize>,
    /// The tick of the wheel.
    draining_since: Cell<Option<u64>>,
}

/// Room for work on one head at a time; kept, so that nothing is allocated once it is large enough.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Edits of the head.
    pub(crate) edits: Vec<u8>,
    /// A value that is being made.
    pub(crate) work: Vec<u8>,
    /// For templates.
    pub(crate) sample: sample::Scratch,
}

/// The control side's way to a worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    pub(crate) counters: Arc<Counters>,
}

type Command = Box<dyn FnOnce(&Rc<Worker>) + Send>;

impl Worker {
    fn new(index: usize, node: Arc<Node>, counters: Arc<Counters>) -> Rc<Self> {
        let routing = RefCell::new((node.routing.version(), node.routing.load()));
        let maps = RefCell::new((node.maps.version(), node.maps.load()));
        let idle_upstreams = IdleConnections::new(&node.config);
        let budget = |backend: &Backend| RetryBudget::new(backend.options.retry.budget);
        let retry_budgets = node.config.backends.iter().map(budget).collect();
        Rc::new(Self {
            index,
            node,
            counters,
            routing,
            maps,
            wheel: Wheel::new(),
            buffers: Rc::default(),
            scratch: RefCell::default(),
            pipes: Rc::default(),
            idle_upstreams,
            retry_budgets,
            registry: Rc::default(),
            accept_loops: AcceptLoops::default(),
            told: Cell::new(0),
            draining_since: Cell::new(None),
        })
    }

    /// Its number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its timers.
    pub fn wheel(&self) -> &Rc<Wheel> {
        &self.wheel
    }

    /// Its buffers.
    pub fn buffers(&self) -> &Rc<BufferPool> {
        &self.buffers
    }

    /// Its counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Starts looking for a server on behalf of a request of `frontend` (the index that its events are counted under).
    pub fn search(self: &Rc<Self>, frontend: usize, backend: BackendId, preference: Preference) -> Search {
        Search::new(Rc::clone(self), frontend, backend, preference)
    }

    /// Should connections end after the exchange in flight?
    pub fn is_draining(&self) -> bool {
        self.draining_since.get().is_some()
    }

    pub(crate) fn set_draining(&self) {
        if !self.is_draining() {
            self.draining_since.set(Some(self.wheel.ticks()));
        }
    }

    pub(crate) fn draining_since(&self) -> Option<u64> {
        self.draining_since.get()
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Never held while anything waits.
    pub(crate) fn scratch(&self) -> &RefCell<Scratch> {
        &self.scratch
    }

    pub(crate) fn pipes(&self) -> &Rc<PipePool> {
        &self.pipes
    }

    pub(crate) fn idle_upstreams(&self) -> &IdleConnections {
        &self.idle_upstreams
    }

    pub(crate) fn retry_budget(&self, backend: BackendId) -> &RetryBudget {
        &self.retry_budgets[backend.0]
    }

    pub(crate) fn registry(&self) -> &Rc<Registry> {
        &self.registry
    }

    pub(crate) fn told(&self) -> &Cell<usize> {
        &self.told
    }

    pub(crate) fn accept_loops(&self) -> &AcceptLoops {
        &self.accept_loops
    }

    async fn run(self: Rc<Self>, mut commands: mpsc::Receiver<Command>, ended: oneshot::Receiver<()>) {
        tokio::task::spawn_local(turn_wheel(Rc::clone(&self)));
        let run_commands = async {
            while let Some(command) = commands.recv().await {
                command(&self);
            }
        };
        tokio::select! {
            () = run_commands => {}
            _ = ended => {}
        }
        // The loops hold the worker that holds them.
        self.accept_loops.clear();
    }

    /// Looks at the usable servers of a backend; clones the shared set only when it was swapped.
    pub(crate) fn with_usable<T>(&self, backend: BackendId, look: impl FnOnce(&Usable) -> T) -> T {
        let version = self.node.routing.version();
        if self.routing.borrow().0 != version {
            *self.routing.borrow_mut() = (version, self.node.routing.load());
        }
        look(&self.routing.borrow().1.backends[backend.0])
    }

    /// The maps as they are now; clones the shared set only when it was swapped.
    pub(crate) fn maps(&self) -> Ref<'_, Maps> {
        let version = self.node.maps.version();
        if self.maps.borrow().0 != version {
            *self.maps.borrow_mut() = (version, self.node.maps.load());
        }
        Ref::map(self.maps.borrow(), |(_, maps)| &**maps)
    }
}

impl WorkerHandle {
    /// Starts the thread `lbctl-worker-INDEX`, which accepts from `sockets` and runs until `ended` resolves.
    pub(crate) fn start(
        index: usize,
        node: Arc<Node>,
        sockets: Sockets,
        ended: oneshot::Receiver<()>,
    ) -> io::Result<(Self, thread::JoinHandle<()>)> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let counters = Arc::new(Counters::new(&node.config));
        let handle = Self { commands, counters: Arc::clone(&counters) };
        let (started, result) = std::sync::mpsc::channel();
        let body = move || {
            let runtime =
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        let _ = started.send(Err(error));
                        return;
                    }
                };
            runtime.block_on(async {
                let worker = Worker::new(index, node, counters);
                let accepting =
                    sockets.into_iter().try_for_each(|(frontend, socket)| spawn(&worker, frontend, socket));
                let _ = started.send(accepting);
                worker.run(received, ended).await;
            });
        };
        let thread = thread::Builder::new().name(format!("lbctl-worker-{index}")).spawn(body)?;
        match result.recv() {
            Ok(Ok(())) => Ok((handle, thread)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the thread ended")),
        }
    }

    /// Runs `command` on the worker; `None` if the worker has ended. Waits as long as the worker is busy: give the
    /// wait a limit.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        command: impl FnOnce(&Rc<Worker>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let command = Box::new(move |worker: &Rc<Worker>| {
            // Who asked may have given up.
            let _ = answer.send(command(worker));
        });
        self.commands.send(command).await.ok()?;
        answered.await.ok()
    }

    /// Sends `command` without waiting; false if the worker's queue is full or the worker has ended.
    pub(crate) fn try_run(&self, command: impl FnOnce(&Rc<Worker>) + Send + 'static) -> bool {
        self.commands.try_send(Box::new(command)).is_ok()
    }
}

/// The one timer of the runtime behind all deadlines of the worker.
async fn turn_wheel(worker: Rc<Worker>) {
    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut swept = Instant::now();
    loop {
        ticks.tick().await;
        worker.wheel.advance(started.elapsed());
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            worker.idle_upstreams.sweep(worker.wheel.ticks());
        }
    }
}
