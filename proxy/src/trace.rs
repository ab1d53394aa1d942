//! Exchanges shown as they pass, to whoever asks for them while they do.
//!
//! ```text
//! Traces ── is_on? (an atomic, per request) ── Tap: filter, bounded queue ──> Trace ──> who asked
//! ```
//! Nobody waits for a tracer: what its queue has no room for is lost, and counted. While nobody traces, an exchange costs
//! one look at an atomic.

mod exchange;
mod head;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::{Notify, mpsc};

pub(crate) use self::exchange::{Chosen, Tracing};
use crate::{Endpoint, limit::Padded, rules::Network, status::Steps};

/// Tracers at a time.
pub const MOST: usize = 8;

/// Events on their way to a tracer; more are lost.
const QUEUE: usize = 512;

/// Bytes of a head that are shown.
const HEAD: usize = 4_096;

/// Which exchanges are shown, and how.
#[derive(Clone, Debug, Default)]
pub struct TraceOptions {
    /// Of this frontend.
    pub frontend: Option<String>,
    /// Of clients in this network, after rules have corrected their addresses.
    pub client: Option<Network>,
    /// The trace is over after so many.
    pub count: Option<u64>,
    /// With the values of fields that let somebody in: Authorization, Proxy-Authorization, Cookie and Set-Cookie.
    pub secrets: bool,
}

/// Something that happened to an exchange.
#[derive(Clone, Debug)]
pub struct TraceEvent {
    /// The same for all events of an exchange, and for no other.
    pub exchange: u64,
    /// When.
    pub at: SystemTime,
    /// Where the client came in.
    pub frontend: String,
    /// The client, as rules have corrected it.
    pub client: Endpoint,
    /// What happened.
    pub what: Happened,
}

/// See [`TraceEvent`].
#[derive(Clone, Debug)]
pub enum Happened {
    /// A request (tcp: a connection) is here, and it is decided what becomes of it.
    Begun {
        /// As the client sent it; empty in mode tcp.
        head: Vec<u8>,
        /// In a clause: `default_backend app`.
        decision: String,
    },
    /// A server has answered (tcp: is connected).
    Answered {
        /// Its backend.
        backend: String,
        /// It.
        server: String,
        /// Why this one, in a clause: `roundrobin`.
        chosen: String,
        /// Further attempts to connect.
        retries: u32,
        /// How long that took until now.
        steps: Steps,
        /// As the server sent it; empty in mode tcp.
        head: Vec<u8>,
    },
    /// It is over.
    Ended {
        /// What the client was answered.
        status: Option<u16>,
        /// HAProxy's two letters.
        code: String,
        /// Milliseconds from its first byte.
        total: u64,
        /// Bytes to the client.
        sent: u64,
    },
}

/// Who traces, in a process.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    is_on: Padded<AtomicBool>,
    taps: Mutex<Vec<Arc<Tap>>>,
    exchanges: AtomicU64,
}

/// What the workers know of a tracer.
#[derive(Debug)]
struct Tap {
    options: TraceOptions,
    queue: mpsc::Sender<TraceEvent>,
    /// Exchanges that may begin.
    left: AtomicU64,
    /// Exchanges that have begun and are not over.
    open: AtomicU64,
    lost: AtomicU64,
    /// The last one is over.
    over: Notify,
}

/// Gets what happens, until it is dropped.
#[derive(Debug)]
pub struct Trace {
    tap: Arc<Tap>,
    events: mpsc::Receiver<TraceEvent>,
    is_over: bool,
    traces: Arc<Traces>,
}

impl Traces {
    /// Does anybody trace?
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// `None` if [`MOST`] trace already.
    pub(crate) fn begin(self: &Arc<Self>, options: TraceOptions) -> Option<Trace> {
        let (queue, events) = mpsc::channel(QUEUE);
        let left = AtomicU64::new(options.count.unwrap_or(u64::MAX));
        let (open, lost, over) = (AtomicU64::new(0), AtomicU64::new(0), Notify::new());
        let tap = Arc::new(Tap { options, queue, left, open, lost, over });
        self.change(|taps| {
            let is_free = taps.len() < MOST;
            if is_free {
                taps.push(Arc::clone(&tap));
            }
            is_free
        })
        .then(|| Trace { tap, events, is_over: false, traces: Arc::clone(self) })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Arc<Tap>>) -> T) -> T {
        let mut taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut taps);
        self.is_on.store(!taps.is_empty(), Ordering::Relaxed);
        changed
    }

    /// Those that want an exchange of this client.
    fn wanted(&self, frontend: &str, client: Endpoint) -> Vec<Arc<Tap>> {
        let taps = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        taps.iter().filter(|tap| tap.wants(frontend, client)).cloned().collect()
    }
}

impl Tap {
    fn wants(&self, frontend: &str, client: Endpoint) -> bool {
        let TraceOptions { frontend: own, client: network, .. } = &self.options;
        let is_there = || match (network, client.ip()) {
            (None, _) => true,
            (Some(network), Some(address)) => network.contains(address),
            (Some(_), None) => false,
        };
        if own.as_deref().is_some_and(|own| own != frontend) || !is_there() {
            return false;
        }
        // Before it takes one of those that are left: the last one is not over before it has begun.
        self.open.fetch_add(1, Ordering::SeqCst);
        let one_less = |left: u64| left.checked_sub(1);
        let is_wanted = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if !is_wanted {
            self.close();
        }
        is_wanted
    }

    fn close(&self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 && self.left.load(Ordering::SeqCst) == 0 {
            self.over.notify_one();
        }
    }

    fn send(&self, event: TraceEvent) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(event) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Trace {
    /// The next event; `None` when as many exchanges as were wanted are over.
    pub async fn next(&mut self) -> Option<TraceEvent> {
        if !self.is_over {
            tokio::select! {
                biased;
                event = self.events.recv() => return event,
                () = self.tap.over.notified() => self.is_over = true,
            }
        }
        self.events.try_recv().ok()
    }

    /// Events that were lost because nobody took them in time.
    pub fn lost(&self) -> u64 {
        self.tap.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.traces.change(|taps| taps.retain(|tap| !Arc::ptr_eq(tap, &self.tap)));
    }
}
