//! The HTTP session over 127.0.0.1: raw clients on one side, scripted raw servers on the other.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the other loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

#[path = "http/old_kernel.rs"]
mod old_kernel;
#[path = "http/orders.rs"]
mod orders;
#[path = "http/peers.rs"]
mod peers;
#[allow(dead_code, reason = "shared with the tests of logs")]
#[path = "log/syslog.rs"]
mod syslog;
#[path = "http/witness.rs"]
mod witness;

#[path = "http/answers.rs"]
mod answers;
#[path = "http/balance.rs"]
mod balance;
#[path = "http/bodies.rs"]
mod bodies;
#[path = "http/chunks.rs"]
mod chunks;
#[path = "http/closing.rs"]
mod closing;
#[path = "http/compression.rs"]
mod compression;
#[path = "http/cookies.rs"]
mod cookies;
#[path = "http/counters.rs"]
mod counters;
#[path = "http/invalid.rs"]
mod invalid;
#[path = "http/keep_alive.rs"]
mod keep_alive;
#[path = "http/modes.rs"]
mod modes;
#[path = "http/moved.rs"]
mod moved;
#[path = "http/rate_limit.rs"]
mod rate_limit;
#[path = "http/refusals.rs"]
mod refusals;
#[path = "http/refused_responses.rs"]
mod refused_responses;
#[path = "http/resends.rs"]
mod resends;
#[path = "http/retries.rs"]
mod retries;
#[path = "http/servers.rs"]
mod servers;
#[path = "http/smuggling.rs"]
mod smuggling;
#[path = "http/statistics.rs"]
mod statistics;
#[path = "http/tarpit.rs"]
mod tarpit;
#[path = "http/timeouts.rs"]
mod timeouts;
#[path = "http/traces.rs"]
mod traces;
#[path = "http/unserved.rs"]
mod unserved;
#[path = "http/upgrade.rs"]
mod upgrade;
