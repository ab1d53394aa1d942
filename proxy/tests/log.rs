//! Lines of logs over 127.0.0.1: what is said of each way in which an exchange can end, and what happens when the place that
//! lines go to is broken.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "what is looked at is text of our own")]

#[allow(dead_code, reason = "shared with the other loopback tests")]
#[path = "loopback/rig.rs"]
mod rig;

#[allow(dead_code, reason = "shared with the tests of the session")]
#[path = "http/peers.rs"]
mod peers;

#[path = "log/syslog.rs"]
mod syslog;

#[path = "log/answered.rs"]
mod answered;
#[path = "log/captures.rs"]
mod captures;
#[path = "log/content.rs"]
mod content;
#[path = "log/cookies.rs"]
mod cookies;
#[path = "log/events.rs"]
mod events;
#[path = "log/killed.rs"]
mod killed;
#[path = "log/letters.rs"]
mod letters;
#[path = "log/lines.rs"]
mod lines;
#[path = "log/proxy_header.rs"]
mod proxy_header;
#[path = "log/reload.rs"]
mod reload;
#[path = "log/targets.rs"]
mod targets;
#[path = "log/tcp.rs"]
mod tcp;
#[path = "log/templates.rs"]
mod templates;
#[path = "log/terminations.rs"]
mod terminations;
#[path = "log/times.rs"]
mod times;
