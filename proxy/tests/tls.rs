//! TLS to clients, over 127.0.0.1: rustls, OpenSSL and curl as clients.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the tests of the loopback")]
#[path = "loopback/rig.rs"]
mod rig;
#[allow(dead_code, reason = "shared with the tests of logs")]
#[path = "log/syslog.rs"]
mod syslog;

#[allow(dead_code, reason = "shared with the tests beside HAProxy")]
#[path = "differential/haproxy.rs"]
mod haproxy;
#[allow(dead_code, reason = "shared with the tests beside HAProxy")]
#[path = "differential/program.rs"]
mod program;

#[path = "tls/beside_haproxy.rs"]
mod beside_haproxy;
#[path = "tls/bytes.rs"]
mod bytes;
#[path = "tls/certificates.rs"]
mod certificates;
#[path = "tls/clients.rs"]
mod clients;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/hsts.rs"]
mod hsts;
#[path = "tls/introduction.rs"]
mod introduction;
#[path = "tls/names.rs"]
mod names;
#[path = "tls/openssl.rs"]
mod openssl;
#[path = "tls/peer.rs"]
mod peer;
#[path = "tls/records.rs"]
mod records;
#[path = "tls/secured.rs"]
mod secured;
#[path = "tls/servers.rs"]
mod servers;
#[path = "tls/tickets.rs"]
mod tickets;
