//! Another configuration for a proxy that runs: what changes, what goes on, and that nobody notices.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the other loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

#[allow(dead_code, reason = "shared with the tests of HTTP")]
#[path = "http/peers.rs"]
mod peers;

#[path = "reload/clients.rs"]
mod clients;
#[path = "reload/generations.rs"]
mod generations;
#[path = "reload/known.rs"]
mod known;
#[path = "reload/limits.rs"]
mod limits;
#[path = "reload/listeners.rs"]
mod listeners;
#[path = "reload/pauses.rs"]
mod pauses;
#[path = "reload/refused.rs"]
mod refused;
#[path = "reload/requests.rs"]
mod requests;
#[path = "reload/upstreams.rs"]
mod upstreams;
