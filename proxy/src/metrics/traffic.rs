//! What a worker counts of the traffic of backends and servers.
//!
//! What a request does at a server is counted there, what it does at none under [`BackendCounters::unserved`], and the
//! backend's number is the sum. Only responses are counted for both: a rule may answer instead of the server.

use super::{CompressionCounters, Counter, class};
use crate::{config::Backend, http::Termination};

/// What a worker counts of a backend.
#[derive(Debug)]
pub struct BackendCounters {
    /// Requests (http) or connections (tcp) that were sent here.
    pub requests: Counter,
    /// The most at a time, in line and at servers over all workers, that this one has seen. It looks when a server has more
    /// than ever, or somebody has to wait.
    pub peak: Counter,
    /// Responses to clients by first digit; index 0 = others.
    pub responses: [Counter; 6],
    /// Compressed responses.
    pub compression: CompressionCounters,
    /// In the order of the configuration.
    pub servers: Box<[ServerCounters]>,
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
    /// Of these, those that had begun.
    pub server_aborts: Counter,
    /// Responses that a rule refused.
    pub denied_responses: Counter,
    /// Exchanges that the client ended.
    pub client_aborts: Counter,
}

impl BackendCounters {
    pub(super) fn new(backend: &Backend) -> Self {
        Self {
            requests: Counter::default(),
            peak: Counter::default(),
            responses: Default::default(),
            compression: CompressionCounters::default(),
            servers: backend.servers.iter().map(|_| ServerCounters::default()).collect(),
            unserved: ServerCounters::default(),
        }
    }

    /// Counts a response by the first digit of its status.
    pub(crate) fn response(&self, status: u16) {
        self.responses[class(status)].increment();
    }

    /// Those of a server, or of what got none.
    pub fn of(&self, server: Option<usize>) -> &ServerCounters {
        server.and_then(|server| self.servers.get(server)).unwrap_or(&self.unserved)
    }
}

impl ServerCounters {
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
            Termination::ClientAbortInConnect
            | Termination::ClientAbortInResponse
            | Termination::ClientAbortInData
            | Termination::ClientTimeoutInData => self.client_aborts.increment(),
            Termination::ServerAbortInHead
            | Termination::ServerTimeoutInHead
            | Termination::BadResponse
            | Termination::BadResponseData => self.response_errors.increment(),
            Termination::ServerAbortInData | Termination::ServerTimeoutInData => {
                self.response_errors.increment();
                self.server_aborts.increment();
            }
            Termination::DeniedResponse(_) => self.denied_responses.increment(),
            // Not by the server, or counted by the search for one.
            Termination::ClientAbortInHead
            | Termination::ClientTimeoutInHead
            | Termination::BadRequest
            | Termination::Denied
            | Termination::Answered
            | Termination::Challenged
            | Termination::AuthBusy
            | Termination::FailedRewrite
            | Termination::Limited
            | Termination::Tarpitted
            | Termination::ServerConnect
            | Termination::ServerConnectTimeout
            | Termination::QueueTimeout => {}
        }
    }
}
