//! What a worker has for as long as its thread runs, and the thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{Worker, handle::Command};
use crate::{
    buffer::BufferPool,
    connection::Registry,
    http::{Compressors, Rooms},
    http2::{self, Lane},
    invalid::InvalidMessages,
    listener::AcceptLoops,
    log::WorkerLog,
    node::Node,
    sample,
    tcp::splice::PipePool,
    tls::{self, PeerNames, TlsStream},
    wheel::{TICK, Wheel},
};

/// Between two looks at the idle upstream connections, and at what is unused.
const SWEEP: Duration = Duration::from_secs(1);

/// What the tasks of one worker share, whatever the configuration.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) index: usize,
    /// The worker under the configuration in force. It holds the core, so it is taken out at the end.
    current: RefCell<Option<Rc<Worker>>>,
    pub(super) wheel: Rc<Wheel>,
    pub(super) buffers: Rc<BufferPool>,
    pub(super) heads: Rc<BufferPool>,
    pub(super) scratch: RefCell<Scratch>,
    pub(super) pipes: Rc<PipePool>,
    pub(super) compressors: Rc<Compressors>,
    pub(super) rooms: Rc<Rooms<TcpStream>>,
    pub(super) tls_rooms: Rc<Rooms<TlsStream>>,
    pub(super) lane_rooms: Rc<Rooms<Lane>>,
    pub(super) http2_pools: Rc<http2::Pools>,
    /// Whom requests ask for, for servers that are told.
    pub(super) peer_names: RefCell<PeerNames>,
    /// For records of TLS.
    pub(super) record_buffers: Rc<BufferPool>,
    pub(super) registry: Rc<Registry>,
    pub(super) accept_loops: AcceptLoops,
    pub(super) log: WorkerLog,
    pub(super) invalid: InvalidMessages,
    /// Clients that are being told why they are refused.
    pub(super) told: Cell<usize>,
    /// The tick of the wheel.
    pub(super) draining_since: Cell<Option<u64>>,
    /// Another process has the listeners.
    pub(super) is_retired: Cell<bool>,
}

/// Room for work on one head at a time; kept, so that nothing is allocated once it is large enough.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Edits of the head.
    pub(crate) edits: Vec<u8>,
    /// A value that is being made.
    pub(crate) work: Vec<u8>,
    /// The target of a request as rules look at it, if that is not as it is.
    pub(crate) compared: Vec<u8>,
    /// For templates.
    pub(crate) sample: sample::Scratch,
}

impl Core {
    /// With the worker that `node` makes of it.
    pub(super) fn new(index: usize, node: Arc<Node>) -> (Rc<Self>, Rc<Worker>) {
        let buffers: Rc<BufferPool> = Rc::default();
        let heads = Rc::new(BufferPool::for_heads(Rc::clone(&buffers)));
        let core = Rc::new(Self {
            index,
            current: RefCell::default(),
            wheel: Wheel::new(),
            http2_pools: Rc::new(http2::Pools::new(Rc::clone(&buffers), Rc::clone(&heads))),
            buffers,
            heads,
            scratch: RefCell::default(),
            pipes: Rc::default(),
            compressors: Rc::default(),
            rooms: Rc::default(),
            tls_rooms: Rc::default(),
            lane_rooms: Rc::default(),
            peer_names: RefCell::default(),
            record_buffers: Rc::new(BufferPool::of(tls::LONGEST_RECORD)),
            registry: Rc::default(),
            accept_loops: AcceptLoops::default(),
            log: WorkerLog::default(),
            invalid: InvalidMessages::default(),
            told: Cell::new(0),
            draining_since: Cell::new(None),
            is_retired: Cell::new(false),
        });
        let worker = Worker::new(&core, node);
        *core.current.borrow_mut() = Some(Rc::clone(&worker));
        (core, worker)
    }

    /// Gives back what was not needed lately; how many bytes of buffers.
    fn sweep(&self) -> usize {
        self.rooms.sweep();
        self.tls_rooms.sweep();
        self.lane_rooms.sweep();
        self.buffers.sweep() + self.heads.sweep() + self.record_buffers.sweep() + self.http2_pools.sweep()
    }

    /// `None` at the end.
    pub(super) fn current(&self) -> Option<Rc<Worker>> {
        self.current.borrow().clone()
    }

    pub(super) fn set_current(&self, worker: Rc<Worker>) {
        *self.current.borrow_mut() = Some(worker);
    }

    /// Runs until `ended` resolves or nobody sends commands any more.
    pub(super) async fn run(
        self: Rc<Self>,
        mut commands: mpsc::Receiver<Command>,
        ended: oneshot::Receiver<()>,
    ) {
        tokio::task::spawn_local(turn_wheel(Rc::clone(&self)));
        let run_commands = async {
            while let Some(command) = commands.recv().await {
                if let Some(worker) = self.current() {
                    command(&worker);
                }
            }
        };
        tokio::select! {
            () = run_commands => {}
            _ = ended => {}
        }
        // Both hold the core that holds them.
        self.accept_loops.clear();
        self.current.take();
    }
}

/// The one timer of the runtime behind all deadlines of the worker.
async fn turn_wheel(core: Rc<Core>) {
    let started = Instant::now();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut swept = Instant::now();
    // The same whatever generation is in force.
    let Some(delays) = core.current().map(|worker| Arc::clone(&worker.counters().delays)) else { return };
    loop {
        let due = ticks.tick().await;
        delays.took(due.elapsed());
        core.wheel.advance(started.elapsed());
        core.log.flush();
        if swept.elapsed() >= SWEEP {
            swept = Instant::now();
            let dropped = core.sweep();
            if let Some(worker) = core.current() {
                worker.counters().dropped.add(dropped as u64);
                worker.idle_upstreams().sweep(core.wheel.ticks(), worker.spare());
            }
        }
    }
}
