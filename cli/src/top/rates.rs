//! How much passes in a second: all figures of a screen from the counters of the same two reports, so that they fit together.

use std::{collections::HashMap, time::Duration};

use crate::control::{Backend, Frontend, Server, Status, Timestamp};

/// Between two reports that are compared, at least: shorter times make figures that jump.
const SPAN: Duration = Duration::from_millis(900);

/// Of a frontend, in a second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Flow {
    pub(super) connections: u64,
    pub(super) requests: u64,
    /// Bytes; `None` until there are two reports.
    pub(super) received: Option<u64>,
    pub(super) sent: Option<u64>,
}

/// Counters of a report.
#[derive(Debug)]
struct Counted {
    at: Timestamp,
    /// Of a daemon that was started then: another one begins at 0, unless it goes on with what it was handed.
    started: Timestamp,
    frontends: HashMap<String, [u64; 4]>,
    servers: HashMap<(String, String), u64>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Rates {
    last: Counted,
    frontends: HashMap<String, Flow>,
    servers: HashMap<(String, String), u64>,
}

impl Rates {
    /// With the first report.
    pub(super) fn new(status: &Status) -> Self {
        Self { last: Counted::of(status), frontends: HashMap::new(), servers: HashMap::new() }
    }

    /// Goes on to the next report.
    pub(super) fn go_on(&mut self, status: &Status) {
        let passed = status.at.saturating_since(self.last.at);
        if passed < SPAN && status.started == self.last.started {
            return;
        }
        let now = Counted::of(status);
        let per_second = |before: u64, now: u64| {
            // Far below 2^53, and not negative.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
            let rate = (now.saturating_sub(before) as f64 / passed.as_secs_f64()).round() as u64;
            rate
        };
        let goes_on = now.started == self.last.started;
        let frontends = now.frontends.iter().filter(|_| goes_on).filter_map(|(name, now)| {
            let before = self.last.frontends.get(name)?;
            let [connections, requests, received, sent] =
                std::array::from_fn(|index| per_second(before[index], now[index]));
            let (received, sent) = (Some(received), Some(sent));
            Some((name.clone(), Flow { connections, requests, received, sent }))
        });
        self.frontends = frontends.collect();
        let servers = now.servers.iter().filter(|_| goes_on);
        let servers = servers
            .filter_map(|(name, now)| Some((name.clone(), per_second(*self.last.servers.get(name)?, *now))));
        self.servers = servers.collect();
        self.last = now;
    }

    /// Of a frontend; until there are two reports what the daemon has counted in the last second.
    pub(super) fn frontend(&self, frontend: &Frontend) -> Flow {
        let counted = Flow {
            connections: frontend.statistics.connection_rate.now,
            requests: frontend.statistics.request_rate.now,
            ..Flow::default()
        };
        self.frontends.get(&frontend.name).copied().unwrap_or(counted)
    }

    /// Requests (tcp: connections) of a server; until there are two reports as for a frontend.
    pub(super) fn server(&self, backend: &Backend, server: &Server) -> u64 {
        let found = self.servers.get(&(backend.name.clone(), server.name.clone()));
        found.copied().unwrap_or(server.statistics.traffic.rate.now)
    }
}

impl Counted {
    fn of(status: &Status) -> Self {
        let frontend = |frontend: &Frontend| {
            let counters =
                [frontend.connections_total, frontend.requests_total, frontend.bytes_in, frontend.bytes_out];
            (frontend.name.clone(), counters)
        };
        let servers = status.backends.iter().flat_map(|backend| {
            backend.servers.iter().map(|server| {
                let name = (backend.name.clone(), server.name.clone());
                (name, server.statistics.traffic.sessions_total)
            })
        });
        Self {
            at: status.at,
            started: status.started,
            frontends: status.frontends.iter().map(frontend).collect(),
            servers: servers.collect(),
        }
    }
}
