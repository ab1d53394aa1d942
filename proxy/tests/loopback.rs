//! The data plane in this process, over 127.0.0.1: real sockets, ports of the kernel's choice, scripted servers.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "loopback/rig.rs"]
mod rig;
#[allow(dead_code, reason = "shared with the tests of logs")]
#[path = "log/syslog.rs"]
mod syslog;

#[path = "loopback/balance.rs"]
mod balance;
#[path = "loopback/client_hello.rs"]
mod client_hello;
#[path = "loopback/health.rs"]
mod health;
#[path = "loopback/lifecycle.rs"]
mod lifecycle;
#[path = "loopback/limits.rs"]
mod limits;
#[path = "loopback/names.rs"]
mod names;
#[path = "loopback/outgoing.rs"]
mod outgoing;
#[path = "loopback/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "loopback/retry.rs"]
mod retry;
#[path = "loopback/said.rs"]
mod said;
#[path = "loopback/sources.rs"]
mod sources;
#[path = "loopback/splice.rs"]
mod splice;
#[path = "loopback/stick.rs"]
mod stick;
#[path = "loopback/tcp.rs"]
mod tcp;
#[path = "loopback/unix.rs"]
mod unix;
#[path = "loopback/watching.rs"]
mod watching;
