//! What a worker counts of the traffic of backends and servers.
//!
//! What a request does at a server is counted there, what it does at none under [`BackendCounters::unserved`], and the
//! backend's number is the sum. Only responses are counted for both: a rule may answer instead of the server.

use std::{ops::Deref, sync::Arc, time::Duration};

use super::{CompressionCounters, Counter, StepCounters, class, named::is_most, steps::raise};
use crate::{config::Backend, http::Termination, status::Steps};

/// What a worker counts of a backend and of its servers.
#[derive(Debug)]
pub struct BackendCounters {
    totals: Arc<BackendTotals>,
    /// In the order of the configuration.
    pub servers: Box<[Arc<ServerCounters>]>,
    /// Those of servers that the backend had once: what they did is a part of what the backend did.
    gone: Box<[Arc<ServerCounters>]>,
}

/// What a worker counts of a backend, whatever its servers.
#[derive(Debug, Default)]
pub struct BackendTotals {
    /// Requests (http) or connections (tcp) that were sent here.
    pub requests: Counter,
    /// The most at a time, in line and at servers over all workers, that this one has seen. It looks when a server has more
    /// than ever, or somebody has to wait.
    pub peak: Counter,
    /// Responses to clients by first digit; index 0 = others.
    pub responses: [Counter; 6],
    /// Compressed responses.
    pub compression: CompressionCounters,
    /// The most that each step of an exchange took, at whatever server; see [`StepCounters`].
    pub longest: [Counter; 4],
    /// What no server has to do with.
    pub unserved: ServerCounters,
}

/// What a worker counts of a server.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Requests (http) or connections (tcp) given to it.
    pub requests: Counter,
    /// How often the balance chose it at once; neither clients that persist on it nor those that waited are in this number.
    pub balanced: Counter,
    /// The most at a time, over all workers, that this one has seen.
    pub peak: Counter,
    /// The tick of this worker's wheel at which it was given the last one, plus one; 0 for never.
    pub last: Counter,
    /// Failed attempts to connect.
    pub connect_errors: Counter,
    /// Requests that were given up because no attempt was successful.
    pub connect_failures: Counter,
    /// Further attempts to connect to it.
    pub retries: Counter,
    /// Attempts on another server, after one on this failed.
    pub redispatches: Counter,
    /// Bytes from clients.
    pub bytes_in: Counter,
    /// Bytes to clients.
    pub bytes_out: Counter,
    /// Its responses by first digit, whatever became of them; index 0 = others.
    pub responses: [Counter; 6],
    /// Responses that did not come, not in time, not whole, or were not valid.
    pub response_errors: Counter,
    /// Exchanges that the server broke off or stood still in after its response had begun.
    pub server_aborts: Counter,
    /// Responses that a rule refused.
    pub denied_responses: Counter,
    /// Requests that a rule of the backend refused.
    pub denied_requests: Counter,
    /// Exchanges that the client ended.
    pub client_aborts: Counter,
    /// Of its connections.
    pub tls: TlsCounters,
    /// How long its exchanges took.
    pub steps: StepCounters,
}

/// What a worker counts of handshakes of TLS with a server, without those of checks.
#[derive(Debug, Default)]
pub struct TlsCounters {
    /// That were completed.
    pub handshakes: Counter,
    /// Of these, those that went on from an earlier session.
    pub resumptions: Counter,
    /// That failed or took too long.
    pub failures: Counter,
}

impl Deref for BackendCounters {
    type Target = BackendTotals;

    fn deref(&self) -> &BackendTotals {
        &self.totals
    }
}

impl BackendTotals {
    /// Counts a response by the first digit of its status.
    pub(crate) fn response(&self, status: u16) {
        self.responses[class(status)].increment();
    }
}

impl BackendCounters {
    /// For this configuration of the backend, after the one `before`, if it was there: what has a name goes on.
    pub(super) fn new(backend: &Backend, before: Option<(&Backend, &Self)>) -> Self {
        let Some((old, before)) = before else {
            return Self {
                totals: Arc::default(),
                servers: backend.servers.iter().map(|_| Arc::default()).collect(),
                gone: Box::default(),
            };
        };
        let named = |name: &str| old.servers.iter().position(|server| server.name == name);
        let servers = backend.servers.iter().map(|server| match named(&server.name) {
            Some(index) => Arc::clone(&before.servers[index]),
            None => Arc::default(),
        });
        let stays = |name: &str| backend.servers.iter().any(|server| server.name == name);
        let gone = old.servers.iter().zip(&before.servers).filter(|(server, _)| !stays(&server.name));
        let gone: Vec<_> = gone.map(|(_, counters)| Arc::clone(counters)).collect();
        // Of those that were gone before, nothing but a straggler still counts: one sum is enough for them.
        let sum = (!before.gone.is_empty()).then(|| Arc::new(ServerCounters::sum(&before.gone)));
        Self {
            totals: Arc::clone(&before.totals),
            servers: servers.collect(),
            gone: gone.into_iter().chain(sum).collect(),
        }
    }

    /// Everything that adds up to what the backend did.
    pub(crate) fn all(&self) -> impl Iterator<Item = &ServerCounters> {
        self.servers.iter().map(|counters| &**counters).chain(self.others())
    }

    /// Of that, what no server of the configuration has to do with.
    pub(super) fn others(&self) -> impl Iterator<Item = &ServerCounters> {
        self.gone.iter().map(|counters| &**counters).chain([&self.totals.unserved])
    }

    /// An exchange at this server took so long.
    pub(crate) fn took(&self, server: usize, steps: Steps, total: Duration) {
        self.of(Some(server)).steps.took(steps, total);
        raise(&self.totals.longest, steps);
    }

    /// Those of a server, or of what got none.
    pub fn of(&self, server: Option<usize>) -> &ServerCounters {
        server.and_then(|server| self.servers.get(server)).map_or(&self.totals.unserved, |server| server)
    }
}

impl ServerCounters {
    /// Without peaks and moments, which don't add up.
    fn sum(of: &[Arc<Self>]) -> Self {
        let sum = Self::default();
        for one in of {
            sum.additive().zip(one.additive()).for_each(|(sum, one)| sum.add(one.value()));
        }
        sum
    }

    fn additive(&self) -> impl Iterator<Item = &Counter> {
        self.named().into_iter().filter(|(name, _)| !is_most(name)).map(|(_, counter)| counter)
    }

    /// Attempts to give it a request (http) or a connection (tcp), as HAProxy counts a server's sessions.
    pub(crate) fn sessions(&self) -> u64 {
        self.requests.value() + self.connect_errors.value()
    }

    /// Counts a response by the first digit of its status.
    pub fn response(&self, status: u16) {
        self.responses[class(status)].increment();
    }

    /// Counts how an exchange failed.
    pub(crate) fn failed(&self, termination: Termination) {
        match termination {
            Termination::ClientAbortInQueue
            | Termination::ClientAbortInConnect
            | Termination::ClientAbortInResponse
            | Termination::ClientEndInResponse
            | Termination::ClientTimeoutInResponse
            | Termination::ClientAbortInData
            | Termination::ClientTimeoutInData => self.client_aborts.increment(),
            Termination::ServerAbortInHead
            | Termination::ServerTimeoutInHead
            | Termination::BadResponse
            | Termination::BadResponseData => self.response_errors.increment(),
            Termination::ServerAbortInData => {
                self.response_errors.increment();
                self.server_aborts.increment();
            }
            // As in HAProxy: what it has said was fine.
            Termination::ServerTimeoutInData => self.server_aborts.increment(),
            Termination::DeniedResponse(_) => self.denied_responses.increment(),
            Termination::Denied | Termination::Limited | Termination::Tarpitted => {
                self.denied_requests.increment();
            }
            // Not by the server, or counted by the search for one.
            Termination::ClientAbortInHead
            | Termination::ClientAbortInContent
            | Termination::ClientAbortInTarpit
            | Termination::ClientTimeoutInHead
            | Termination::BadRequest
            | Termination::BadRequestData
            | Termination::Answered
            | Termination::ReplacedResponse(_)
            | Termination::Challenged
            | Termination::AuthBusy
            | Termination::FailedRequestRewrite
            | Termination::FailedRewrite
            | Termination::ServerConnect
            | Termination::ServerConnectTimeout
            | Termination::NoResources
            | Termination::QueueTimeout => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::{Mode, Server};

    fn backend(servers: &[&str]) -> Backend {
        let server = |name: &&str| Server::new(*name, SocketAddr::from(([192, 0, 2, 1], 80)));
        Backend::new("back", Mode::Http, servers.iter().map(server).collect())
    }

    #[test]
    fn what_servers_did_is_never_taken_from_their_backend() {
        let configs = [&["a", "b"][..], &["b", "c"], &["c"], &["a", "c"], &[]].map(backend);
        let mut counters = BackendCounters::new(&configs[0], None);
        let mut expected = 0;
        for pair in configs.windows(2) {
            for (amount, server) in (1..).zip(&counters.servers) {
                server.requests.add(amount);
                server.responses[2].add(amount);
                server.steps.took([0, 0, 0, amount].into(), Duration::from_millis(amount));
                expected += amount;
            }
            counters.requests.add(1);
            counters = BackendCounters::new(&pair[1], Some((&pair[0], &counters)));
            let sum = |counter: fn(&ServerCounters) -> &Counter| -> u64 {
                counters.all().map(|one| counter(one).value()).sum()
            };
            assert_eq!(
                [sum(|one| &one.requests), sum(|one| &one.responses[2]), sum(|one| &one.steps.sums[3])],
                [expected; 3]
            );
        }
        assert_eq!(counters.requests.value(), 4);
        assert!(counters.gone.len() <= 3, "{}", counters.gone.len());
    }
}
