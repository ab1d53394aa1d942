//! The same configuration here and in the installed HAProxy, the same requests to both: what servers and clients get is
//! the same, but where a case says how they differ. A test without HAProxy fails: it has shown nothing.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "what is looked at is text of our own")]

#[allow(dead_code, reason = "shared with the other loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

#[allow(dead_code, reason = "shared with the tests of HTTP")]
#[path = "http/peers.rs"]
mod peers;

#[path = "differential/haproxy.rs"]
mod haproxy;

#[path = "differential/program.rs"]
mod program;

#[path = "differential/nginx.rs"]
mod nginx;

#[path = "differential/compression.rs"]
mod compression;
#[path = "differential/cookies.rs"]
mod cookies;

#[path = "differential/counters.rs"]
mod counters;

#[path = "differential/events.rs"]
mod events;
#[path = "differential/exchanges.rs"]
mod exchanges;

#[path = "differential/heads.rs"]
mod heads;

#[path = "differential/log_texts.rs"]
mod log_texts;

#[path = "differential/logs.rs"]
mod logs;
#[path = "differential/modes.rs"]
mod modes;
#[path = "differential/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "differential/responses.rs"]
mod responses;
#[path = "differential/script.rs"]
mod script;
