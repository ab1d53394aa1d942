//! What went through frontends, backends and servers, in the sense of HAProxy's statistics. Times are in whole seconds
//! where nothing else is said.

use serde::{Deserialize, Serialize};

/// Of a frontend.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct FrontendStatistics {
    /// Where its section stands in the file, from 1; both halves of a `[listen.*]` at one place. 0 if that is not known.
    #[serde(default)]
    pub position: u32,
    /// The most connections that were open at a time.
    pub connections_peak: u64,
    /// Connections per second.
    pub connection_rate: PerSecond,
    /// Requests per second.
    pub request_rate: PerSecond,
    /// Requests that came to nothing by their own fault: not valid, not whole in time, broken off.
    pub request_errors: u64,
    /// Of its responses.
    pub compressed: Compressed,
}

/// Of a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct BackendStatistics {
    /// Where its section stands in the file, from 1; both halves of a `[listen.*]` at one place. 0 if that is not known.
    #[serde(default)]
    pub position: u32,
    /// `http` or `tcp`.
    pub mode: String,
    /// Connections at which servers with a `minconn` are allowed all of their `maxconn`.
    pub fullconn: u32,
    /// What went through it, and what got no server.
    pub traffic: Traffic,
    /// Of its servers' responses.
    pub compressed: Compressed,
    /// When it had no usable server.
    pub outage: Outage,
    /// How long exchanges took that a server answered (tcp: was connected for); `None` where no frontend has statistics.
    pub totals: Option<Histogram>,
}

/// Of a server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ServerStatistics {
    /// What went through it.
    pub traffic: Traffic,
    /// When it was down.
    pub outage: Outage,
    /// Failed checks, without those of a server that was down already.
    pub failed_checks: u64,
    /// How often traffic had as many errors in a row as `observe` allows; `None` without `observe`.
    pub observed_errors: Option<u64>,
    /// It is checked.
    pub is_checked: bool,
    /// How far from up and down it is; `None` if it is not checked, or not yet.
    pub level: Option<Level>,
    /// It takes new requests at this moment: usable, and no backup while others are.
    pub is_in_use: bool,
    /// The status of the last check's HTTP answer.
    pub check_status: Option<u16>,
    /// What its agent said last.
    pub agent: Option<String>,
}

/// Of a server, or of a backend.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
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
    /// Seconds since it got the last one; `None` if it got none.
    pub idle: Option<u64>,
    /// From clients.
    pub bytes_in: u64,
    /// To clients.
    pub bytes_out: u64,
    /// Responses by first digit (index 0 = others).
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
    #[serde(default)]
    pub denied_requests: u64,
    /// Exchanges that the client ended.
    pub client_aborts: u64,
    /// Handshakes of TLS with servers.
    pub tls: Handshakes,
    /// How long exchanges took that got a response (tcp: a connection to a server); `None` where no frontend has statistics.
    pub times: Option<StepTimes>,
}

/// Of TLS with servers, without those of checks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Handshakes {
    /// That were completed.
    pub completed: u64,
    /// Of these, those that went on from an earlier session.
    pub resumed: u64,
    /// That failed or took too long.
    pub failed: u64,
}

/// How long the steps of exchanges took.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StepTimes {
    /// On average, of about the last 1,024.
    pub average: Steps,
    /// The most that each ever took.
    pub longest: Steps,
    /// How many there were.
    #[serde(default)]
    pub count: u64,
    /// All of them added up.
    #[serde(default)]
    pub sum: Steps,
}

/// How long things took, by class of length.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Histogram {
    /// How many took at most 1, 2, 5, 10, 25, 50, 100, 250, 500 ms, 1, 2.5, 5, 10, 30, 60 s, and longer; each in one of these.
    pub counts: Vec<u64>,
    /// All of them added up.
    pub microseconds: u64,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Steps {
    /// In line, and in attempts to connect but the last.
    pub queue: u64,
    /// Until the server was connected.
    pub connect: u64,
    /// Until the head of the response was whole; 0 in mode tcp.
    pub response: u64,
    /// From its first byte (tcp: from when it was accepted) to its end.
    pub total: u64,
}

/// What was compressed of responses.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Compressed {
    /// Responses.
    pub responses: u64,
    /// Bytes of content that went in.
    pub bytes_in: u64,
    /// Bytes that came out.
    pub bytes_out: u64,
    /// Of those that went in, bytes that were passed on as they are: all compressors of a worker were in use.
    pub bytes_bypassed: u64,
}

/// How fast something happens.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PerSecond {
    /// In the last whole second.
    pub now: u64,
    /// The most that it was.
    pub max: u64,
}

/// How far a server is from up and down: up from `rise` on, at most `rise + fall - 1`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Level {
    /// Successes that make it up.
    pub rise: u32,
    /// Failures that take it down.
    pub fall: u32,
    /// Where it is.
    pub now: u32,
}

/// When something was down.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Outage {
    /// It is down now.
    pub is_down: bool,
    /// Since it is as it is.
    pub seconds: u64,
    /// How often it went down.
    pub count: u64,
    /// How long it was down in all.
    pub total_seconds: u64,
}
