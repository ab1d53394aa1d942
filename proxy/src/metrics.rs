//! Counters: one set per worker, written by that worker alone, added up when someone looks.
//!
//! ```text
//! worker 0: Counters ─┐
//! worker 1: Counters ─┼─ sum ─> Status
//! worker N: Counters ─┘
//! ```
//! What happens seldom and has a name of its own is an [`Event`]; its name is written here and nowhere else.

mod compression;
mod histogram;
pub(crate) mod named;
mod steps;
mod traffic;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{
    compression::CompressionCounters,
    histogram::{BOUNDS, CLASSES, Histogram},
    steps::StepCounters,
    traffic::{BackendCounters, BackendTotals, ServerCounters, TlsCounters},
};
use crate::config::{Backend, Config};

/// A number that only its worker adds to: a load and a store, no locked instruction. Anyone may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only from the worker that owns it.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Makes it `n`. Only from the worker that owns it.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Makes it at least `n`; was it less? Only from the worker that owns it.
    pub fn raise(&self, n: u64) -> bool {
        let is_new = self.value() < n;
        if is_new {
            self.set(n);
        }
        is_new
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where the bytes of a client's connection are counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow<'c> {
    pub(crate) frontend: &'c Counter,
    /// If one has to do with them.
    pub(crate) server: Option<&'c Counter>,
    /// Of the connection itself.
    pub(crate) own: &'c Cell<u64>,
}

impl Flow<'_> {
    /// Adds `n` everywhere.
    pub(crate) fn add(&self, n: u64) {
        self.frontend.add(n);
        self.server.inspect(|server| server.add(n));
        self.own.set(self.own.get().wrapping_add(n));
    }

    /// Of this connection.
    pub(crate) fn value(&self) -> u64 {
        self.own.get()
    }
}

macro_rules! events {
    ($(#[doc = $doc:literal] $event:ident = $name:literal,)*) => {
        /// Refusals, limits that were hit and errors of a frontend's traffic.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Event {
            $(#[doc = $doc] $event,)*
        }

        impl Event {
            /// All of them, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$event,)*];

            /// What it is called in status and metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)*
                }
            }

            /// What it is, as a sentence.
            pub const fn help(self) -> &'static str {
                match self {
                    $(Self::$event => $doc,)*
                }
                .trim_ascii()
            }
        }
    };
}

events! {
    /// The process was at its `maxconn`: a listener waited.
    ProcessFull = "process_full_total",
    /// The frontend was at its `maxconn`: a listener waited.
    FrontendFull = "frontend_full_total",
    /// Accepting failed (out of file descriptors, memory).
    AcceptError = "accept_errors_total",
    /// Handshakes of TLS with clients that were completed.
    TlsHandshake = "tls_handshakes_total",
    /// Of the handshakes, those that went on from an earlier session.
    TlsResumed = "tls_resumptions_total",
    /// Handshakes of TLS that failed or took too long; without those of clients that have sent nothing.
    TlsFailed = "tls_handshake_failures_total",
    /// Connections of HTTP/2 that were ended because their client broke a rule of the protocol.
    Http2Error = "http2_errors_total",
    /// Connections of HTTP/2 that were ended because their client did too much of what costs something and gets it nothing (resets, pings, empty frames).
    Http2Flood = "http2_floods_total",
    /// Streams of HTTP/2 that were ended because their client broke a rule; their connections went on.
    Http2StreamError = "http2_stream_errors_total",
    /// The process or the frontend was at three quarters of its `maxconn`: streams of HTTP/2 waited that were not the only ones of their connection.
    StreamWait = "http2_stream_waits_total",
    /// Questions of monitors that were answered here; not among the requests.
    Monitor = "monitor_requests_total",
    /// No backend or no usable server.
    NoServer = "no_server_total",
    /// A request had to wait for a slot of a full server.
    Queued = "queued_total",
    /// A request waited longer than `timeout.queue`.
    QueueTimeout = "queue_timeouts_total",
    /// All attempts to connect to a server failed.
    ConnectFailed = "connect_failures_total",
    /// A request travelled on a connection that had served another one.
    Reuse = "upstream_reuses_total",
    /// An idle connection was of no more use when a request came: ended or spoken on by the server, or too old.
    Stale = "upstream_stale_total",
    /// Further attempts to connect, on whatever server.
    Retry = "retries_total",
    /// Further attempts that were not made because the budget for them was used up.
    RetryRefused = "retries_refused_total",
    /// Requests sent again after a server had failed them (`retry_on`).
    Resend = "resends_total",
    /// Of the retries, those on another server.
    Redispatch = "redispatches_total",
    /// The client was silent for longer than its timeout.
    ClientTimeout = "client_timeouts_total",
    /// The server was silent for longer than its timeout.
    ServerTimeout = "server_timeouts_total",
    /// The client broke its connection.
    ClientAbort = "client_aborts_total",
    /// The server broke its connection.
    ServerAbort = "server_aborts_total",
    /// A request's head was not whole within `timeout.http_request`.
    RequestTimeout = "request_timeouts_total",
    /// Requests refused because they are not valid or beyond a limit.
    BadRequest = "bad_requests_total",
    /// Responses refused because they are not valid or beyond a limit.
    BadResponse = "bad_responses_total",
    /// Requests sent again because an idle connection had died.
    StaleRetry = "stale_retries_total",
    /// Connections that ended without a byte.
    NullConnection = "null_connections_total",
    /// Connections reset because their server went down.
    Cut = "cut_when_down_total",
    /// Requests that a rule refused.
    Denied = "denied_total",
    /// Responses that a rule refused.
    DeniedResponse = "denied_responses_total",
    /// Responses that rules made too large to be sent.
    FailedRewrite = "failed_rewrites_total",
    /// Requests that a rule let wait before it refused them (`tarpit`).
    Tarpitted = "tarpitted_total",
    /// Requests that a rule refused because their like came too often (`rate_limit`).
    RateLimited = "rate_limited_total",
    /// Requests answered with 401: a rule wants a name and a password, and theirs were none or not right.
    Unauthorized = "unauthorized_total",
    /// Requests refused because too many passwords were to be checked at once.
    AuthBusy = "auth_busy_total",
    /// Connections reset because their address left this node.
    Reset = "resets_total",
    /// Connections refused because their source had as many open as it may (`per_source.connections`).
    SourceConnections = "source_connection_refusals_total",
    /// Connections refused because their source opened them too fast (`per_source.connection_rate`).
    SourceRate = "source_rate_refusals_total",
    /// Connections closed because the PROXY header that they have to begin with did not come, or was none (`accept_proxy`).
    ProxyHeader = "proxy_header_errors_total",
    /// Bytes that the kernel moved from socket to socket (`splice`), both ways.
    Spliced = "spliced_bytes_total",
    /// Requests (tcp: connections) that went to the server that their client had before, by cookie or table.
    Persisted = "persisted_total",
    /// Requests (tcp: connections) whose client had a server that could not be had any more.
    PersistenceLost = "persistence_lost_total",
}

/// Failed attempts to bind one of a frontend's addresses; counted by the control side, which binds.
pub(crate) const BIND_ERRORS: &str = "bind_errors_total";

/// What a worker counts of a frontend.
#[derive(Debug)]
pub struct FrontendCounters {
    /// Connections accepted.
    pub connections: Counter,
    /// The most connections at a time, over all workers, that this one has seen.
    pub peak: Counter,
    /// Requests (http), connections (tcp).
    pub requests: Counter,
    /// Requests that came to nothing by their own fault: not valid, not whole in time, broken off.
    pub request_errors: Counter,
    /// Responses by first digit; index 0 = others.
    pub responses: [Counter; 6],
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// Compressed responses.
    pub compression: CompressionCounters,
    events: Box<[Counter]>,
}

/// Everything that one worker counts.
#[derive(Debug)]
pub struct Counters {
    /// By the index of the frontend.
    pub frontends: Box<[Arc<FrontendCounters>]>,
    /// By the index of the backend.
    pub backends: Box<[BackendCounters]>,
    /// How much later than it should its loop did something that was due: ten times a second.
    pub delays: Arc<Histogram>,
    /// Bytes of buffers that were not needed any more and went back to the allocator.
    pub(crate) dropped: Arc<Counter>,
}

impl Default for FrontendCounters {
    fn default() -> Self {
        Self {
            connections: Counter::default(),
            peak: Counter::default(),
            requests: Counter::default(),
            request_errors: Counter::default(),
            responses: Default::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            compression: CompressionCounters::default(),
            events: Event::ALL.iter().map(|_| Counter::default()).collect(),
        }
    }
}

impl FrontendCounters {
    /// Counts a response by the first digit of its status.
    pub fn response(&self, status: u16) {
        self.responses[class(status)].increment();
    }

    /// The counter of an event.
    pub fn event(&self, event: Event) -> &Counter {
        // `Event::ALL` and the enum come from one list, so every event has its place.
        &self.events[event as usize]
    }
}

impl Counters {
    /// For what `config` names: those that a configuration before it had under the same names, else new ones.
    pub(crate) fn new<'c>(
        config: &Config,
        frontend: impl Fn(&str) -> Option<Arc<FrontendCounters>>,
        backend: impl Fn(&str) -> Option<(&'c Backend, &'c BackendCounters)>,
        (delays, dropped): (Arc<Histogram>, Arc<Counter>),
    ) -> Self {
        Self {
            frontends: config.frontends.iter().map(|one| frontend(&one.name).unwrap_or_default()).collect(),
            backends: config
                .backends
                .iter()
                .map(|one| BackendCounters::new(one, backend(&one.name)))
                .collect(),
            delays,
            dropped,
        }
    }
}

/// The place of a status in an array by first digit; 0 for those that have none.
fn class(status: u16) -> usize {
    let digit = usize::from(status / 100);
    if digit <= 5 { digit } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_classes_are_counted_by_first_digit_and_odd_ones_as_others() {
        let counters = FrontendCounters::default();
        for status in [101, 200, 204, 301, 404, 503, 600, 42, 999] {
            counters.response(status);
        }
        assert_eq!(counters.responses.each_ref().map(Counter::value), [3, 1, 2, 1, 1, 1]);
    }

    #[test]
    fn a_peak_is_raised_by_what_is_higher_and_by_nothing_else() {
        let peak = Counter::default();
        assert_eq!([3, 2, 3, 4].map(|n| peak.raise(n)), [true, false, false, true]);
        assert_eq!(peak.value(), 4);
    }

    #[test]
    fn event_names_are_unique_and_end_in_their_unit() {
        let mut names: Vec<_> = Event::ALL.iter().map(|event| event.name()).collect();
        assert!(names.iter().all(|name| name.ends_with("_total")));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Event::ALL.len());
    }
}
