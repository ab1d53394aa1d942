//! What belongs to a name and not to a configuration: the limits, counts, lines and knowledge that every generation of
//! the configuration shares which has the name.
//!
//! A connection that began under one configuration and one that began under the next count for the same limits, wait in
//! the same line, and learn from the same checks.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::Notify;

use super::{Asker, Grant};
use crate::{
    config::{Backend, Server},
    health::{Rounds, orders::ServerOrders, passive::Watch, server::ServerHealth},
    limit::{Limit, Padded},
    rates::{Rate, Rates, Recent, RecentAnswers},
    refusals::Refusals,
    status::Outage,
    upstream::{balance::Turns, queue::Queue},
};

/// No `maxconn`.
const UNLIMITED: u32 = u32::MAX;

/// Numbers of servers, never used twice in a process.
static NUMBERS: AtomicU32 = AtomicU32::new(0);

/// A frontend.
#[derive(Debug)]
pub(crate) struct FrontendShared {
    /// Its client connections.
    pub(crate) connections: Limit,
    /// Streams of those that are not the only one of theirs.
    streams: Padded<AtomicU32>,
    /// Requests that came to no backend.
    pub(crate) refusals: Refusals,
    /// Control's: what happened lately.
    rates: Mutex<Rates>,
}

/// A backend.
#[derive(Debug)]
pub(crate) struct BackendShared {
    pub(crate) name: String,
    pub(crate) turns: Turns,
    /// Requests that came to no server.
    pub(crate) refusals: Refusals,
    /// A server of it came back.
    pub(crate) came_back: Notify,
    /// See [`crate::config::BackendOptions::fullconn`].
    fullconn: AtomicU32,
    /// Length of the line, readable without its lock.
    waiting: Padded<AtomicUsize>,
    line: Mutex<Queue<Grant, Asker>>,
    history: Mutex<BackendHistory>,
}

/// What a backend has been through, as the control side has seen it.
#[derive(Debug)]
pub(crate) struct BackendHistory {
    /// Requests (http) or connections (tcp) that came to it.
    pub(crate) rate: Rate,
    /// The most at a time, of the moments at which it was looked at.
    pub(crate) peak: u64,
    /// How long the last exchanges took.
    pub(crate) steps: Recent,
    /// Which of them were its servers'.
    pub(crate) answers: RecentAnswers,
    /// When it had no usable server.
    pub(crate) outage: Outage,
}

/// A server of a backend.
#[derive(Debug)]
pub(crate) struct ServerShared {
    /// Its own, whatever its index in one configuration or the next.
    pub(crate) number: u32,
    pub(crate) name: String,
    /// Its backend's name.
    pub(crate) backend: String,
    /// [`UNLIMITED`] without one.
    maxconn: AtomicU32,
    minconn: AtomicU32,
    /// What traffic has seen of it.
    pub(crate) watch: Watch,
    /// Checks that somebody waits for.
    pub(crate) rounds: Rounds,
    in_flight: Padded<AtomicU32>,
    /// Control's; a worker only looks, and seldom.
    health: Mutex<ServerHealth>,
    /// Control's: what happened lately.
    rates: Mutex<ServerRates>,
}

/// What a server did lately.
#[derive(Debug, Default)]
pub(crate) struct ServerRates {
    /// Attempts to give it something.
    pub(crate) sessions: Rate,
    /// How long the last exchanges took.
    pub(crate) steps: Recent,
}

impl FrontendShared {
    pub(crate) fn new(maxconn: u32) -> Self {
        Self {
            connections: Limit::new(maxconn),
            streams: Padded::default(),
            refusals: Refusals::default(),
            rates: Mutex::default(),
        }
    }

    /// Takes room for a stream beside others of its connection, as long as there are no more of them and of connections than
    /// three quarters of `maxconn`; give it back with [`Self::release_stream`].
    pub(crate) fn try_take_stream(&self) -> bool {
        let most = self.connections.spare().saturating_sub(self.connections.taken());
        let more = |streams| (streams < most).then_some(streams + 1);
        self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(crate) fn release_stream(&self) {
        let before = self.streams.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0);
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BackendShared {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            turns: Turns::default(),
            refusals: Refusals::default(),
            came_back: Notify::new(),
            fullconn: AtomicU32::new(1),
            waiting: Padded::default(),
            line: Mutex::default(),
            history: Mutex::new(BackendHistory {
                rate: Rate::default(),
                peak: 0,
                steps: Recent::default(),
                answers: RecentAnswers::default(),
                outage: Outage::new(SystemTime::now()),
            }),
        }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, BackendHistory> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fullconn(&self) -> u32 {
        self.fullconn.load(Ordering::Relaxed)
    }

    pub(super) fn set_fullconn(&self, fullconn: u32) {
        self.fullconn.store(fullconn, Ordering::Relaxed);
    }

    /// Is there a line?
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// How long it is.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The line, locked. Whoever changes it calls [`Self::serve_line`] (or [`Self::recount`]) afterwards.
    pub(crate) fn line(&self) -> MutexGuard<'_, Queue<Grant, Asker>> {
        // A panic elsewhere can't leave a line half changed: its methods don't panic between two changes.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the length of `line`, which is this backend's.
    pub(crate) fn recount(&self, line: &Queue<Grant, Asker>) {
        self.waiting.store(line.len(), Ordering::SeqCst);
    }

    /// Hands out free slots to those in line, the oldest first; sends those away who wait for a server that is not
    /// usable any more.
    pub(crate) fn serve_line(&self) {
        let mut line = self.line();
        // Those who have just come count for what servers are allowed.
        self.recount(&line);
        loop {
            let refused = line.serve(Asker::answer);
            if refused.is_empty() {
                break;
            }
            // Put back and not dropped: that would serve the line again, whose lock we hold.
            refused.into_iter().for_each(Grant::put_back);
        }
        self.recount(&line);
    }
}

impl ServerShared {
    /// Of which nothing is known.
    pub(super) fn new(config: &Server, backend: &Backend) -> Self {
        let mut health =
            ServerHealth::new(backend.check.is_some(), SystemTime::now(), config.address.fixed().cloned());
        health.orders = ServerOrders::of(config);
        let shared = Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            name: config.name.clone(),
            backend: backend.name.clone(),
            maxconn: AtomicU32::new(UNLIMITED),
            minconn: AtomicU32::new(UNLIMITED),
            watch: Watch::default(),
            rounds: Rounds::default(),
            in_flight: Padded::default(),
            health: Mutex::new(health),
            rates: Mutex::default(),
        };
        shared.set_limits(config, &shared.health());
        shared
    }

    /// From now on its limits are those of `config` and of its agent, also for connections of configurations before.
    pub(crate) fn set_limits(&self, config: &Server, health: &ServerHealth) {
        self.maxconn.store(health.maxconn(config).unwrap_or(UNLIMITED), Ordering::Relaxed);
        self.minconn.store(config.minconn.unwrap_or(UNLIMITED), Ordering::Relaxed);
    }

    /// `maxconn`, and `minconn` if there is one.
    pub(super) fn limits(&self) -> Option<(u32, Option<u32>)> {
        let some = |limit: &AtomicU32| Some(limit.load(Ordering::Relaxed)).filter(|&max| max != UNLIMITED);
        Some((some(&self.maxconn)?, some(&self.minconn)))
    }

    /// Requests (http) or connections (tcp) there.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a slot if fewer than `max` are taken.
    pub(super) fn try_take(&self, max: Option<u32>) -> bool {
        let Some(max) = max else {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
            return true;
        };
        let more = |taken| (taken < max).then_some(taken + 1);
        self.in_flight.fetch_update(Ordering::SeqCst, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn free(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0);
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, ServerRates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of it, locked.
    pub(crate) fn health(&self) -> MutexGuard<'_, ServerHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
