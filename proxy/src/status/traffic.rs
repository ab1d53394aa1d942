//! What went through frontends, backends and servers, as numbers; in the sense of HAProxy's statistics.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::StepTimes;
use crate::metrics::{CompressionCounters, Counter, ServerCounters};

/// What went through a server, or through a backend: then with what no server got.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Requests (http) or connections (tcp) now; of a backend with those in line.
    pub current: u64,
    /// The most that there were.
    pub peak: u64,
    /// Waiting for this server alone; of a backend: for any.
    pub queued: u64,
    /// The most that there were.
    pub queued_peak: u64,
    /// Requests (http) or connections (tcp) that came to the backend; of a server: each attempt to give it one.
    pub sessions_total: u64,
    /// Of these, per second.
    pub rate: PerSecond,
    /// How often the balance chose it.
    pub balanced_total: u64,
    /// Since the last one was given to it; `None` if none was.
    pub idle: Option<Duration>,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Responses by first digit (index 0 = others, 1..=5): of a backend those that were sent, of a server those that came.
    pub responses: [u64; 6],
    /// Requests that were given up because no server could be connected to, or none was free in time.
    pub connect_failures: u64,
    /// Further attempts to connect to the same server.
    pub retries: u64,
    /// Further attempts on another one.
    pub redispatches: u64,
    /// Responses that did not come, not in time, not whole, or were not valid.
    pub response_errors: u64,
    /// Exchanges that the server broke off or stood still in after its response had begun.
    pub server_aborts: u64,
    /// Responses that a rule refused.
    pub denied_responses: u64,
    /// Requests that a rule of the backend refused; of a server none.
    pub denied_requests: u64,
    /// Exchanges that the client ended.
    pub client_aborts: u64,
    /// Handshakes of TLS with servers.
    pub tls: Handshakes,
    /// How long exchanges took; `None` where no frontend has statistics to show it.
    pub steps: Option<StepTimes>,
}

impl Traffic {
    /// Adds what one worker has counted of responses.
    pub(crate) fn add_responses(&mut self, responses: &[Counter; 6]) {
        for (sum, counter) in self.responses.iter_mut().zip(responses) {
            *sum += counter.value();
        }
    }

    /// Adds what one worker has counted at one server, or at none.
    pub(crate) fn add(&mut self, counters: &ServerCounters) {
        self.balanced_total += counters.balanced.value();
        self.bytes_in += counters.bytes_in.value();
        self.bytes_out += counters.bytes_out.value();
        self.connect_failures += counters.connect_failures.value();
        self.retries += counters.retries.value();
        self.redispatches += counters.redispatches.value();
        self.response_errors += counters.response_errors.value();
        self.server_aborts += counters.server_aborts.value();
        self.denied_responses += counters.denied_responses.value();
        self.denied_requests += counters.denied_requests.value();
        self.client_aborts += counters.client_aborts.value();
        self.tls.completed += counters.tls.handshakes.value();
        self.tls.resumed += counters.tls.resumptions.value();
        self.tls.failed += counters.tls.failures.value();
    }
}

/// Of TLS with servers, without those of checks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Handshakes {
    /// That were completed.
    pub completed: u64,
    /// Of these, those that went on from an earlier session.
    pub resumed: u64,
    /// That failed or took too long.
    pub failed: u64,
}

/// What was compressed of responses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Compressed {
    /// Responses.
    pub responses: u64,
    /// Bytes of content that went in.
    pub bytes_in: u64,
    /// Bytes that came out.
    pub bytes_out: u64,
    /// Of those that went in, bytes that were passed on as they are: all compressors of a worker were in use, or had had their share of
    /// its time.
    pub bytes_bypassed: u64,
}

impl Compressed {
    /// What all workers have counted.
    pub(crate) fn sum<'c>(counters: impl Iterator<Item = &'c CompressionCounters>) -> Self {
        let mut sum = Self::default();
        for counters in counters {
            sum.responses += counters.responses.value();
            sum.bytes_in += counters.bytes_in.value();
            sum.bytes_out += counters.bytes_out.value();
            sum.bytes_bypassed += counters.bytes_bypassed.value();
        }
        sum
    }
}

/// How fast something happens.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PerSecond {
    /// In the last whole second.
    pub now: u64,
    /// The most that it was.
    pub max: u64,
}

/// How far a server is from up and down: up from `rise` on, at most `rise + fall - 1`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Level {
    /// Successes that make it up.
    pub rise: u32,
    /// Failures that take it down.
    pub fall: u32,
    /// Where it is.
    pub now: u32,
}

/// What a server has been through.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerHistory {
    /// Failed checks, without those of a server that was down already.
    pub failed_checks: u64,
    /// How often traffic had as many errors in a row as `observe` allows.
    pub observed_errors: u64,
    /// Its outages.
    pub outage: Outage,
}

/// When something was down.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outage {
    /// It is now.
    pub is_down: bool,
    /// Since when this is so.
    pub since: SystemTime,
    /// How often it went down.
    pub count: u64,
    /// How long it was down, without the time since `since`.
    before: Duration,
}

impl ServerHistory {
    /// Nothing yet.
    pub fn new(now: SystemTime) -> Self {
        Self { failed_checks: 0, observed_errors: 0, outage: Outage::new(now) }
    }
}

impl Outage {
    /// Up.
    pub fn new(now: SystemTime) -> Self {
        Self { is_down: false, since: now, count: 0, before: Duration::ZERO }
    }

    /// It is down or not. True if that is news.
    pub(crate) fn change(&mut self, is_down: bool, now: SystemTime) -> bool {
        if is_down == self.is_down {
            return false;
        }
        self.before = self.total(now);
        self.count += u64::from(is_down);
        self.is_down = is_down;
        self.since = now;
        true
    }

    /// How long it was down in all.
    pub fn total(&self, now: SystemTime) -> Duration {
        let last = now.duration_since(self.since).unwrap_or_default();
        if self.is_down { self.before + last } else { self.before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_counted_once_each_and_their_times_added_up() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let mut outage = Outage::new(at(0));
        outage.change(false, at(5));
        assert_eq!((outage.since, outage.count, outage.total(at(9))), (at(0), 0, Duration::ZERO));
        outage.change(true, at(10));
        outage.change(true, at(11));
        assert_eq!((outage.since, outage.count, outage.total(at(12))), (at(10), 1, Duration::from_secs(2)));
        outage.change(false, at(14));
        outage.change(true, at(20));
        assert_eq!((outage.count, outage.total(at(21))), (2, Duration::from_secs(5)));
        // A clock that was set back takes nothing away.
        assert_eq!(outage.total(at(3)), Duration::from_secs(4));
        outage.change(false, at(3));
        // One that was set forward by an hour while nothing was down adds nothing.
        outage.change(true, at(3_603));
        assert_eq!((outage.count, outage.total(at(3_605))), (3, Duration::from_secs(6)));
    }
}
