//! HTTP/2 over 127.0.0.1, with and without TLS: frames written by hand, what servers receive, and what clients get.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[allow(dead_code, reason = "shared with the tests of the loopback")]
#[path = "loopback/rig.rs"]
mod rig;

#[allow(dead_code, reason = "shared with the tests of TLS")]
#[path = "tls/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "shared with the tests of TLS")]
#[path = "tls/peer.rs"]
mod peer;

#[path = "differential/haproxy.rs"]
mod haproxy;
#[path = "differential/program.rs"]
mod program;

#[path = "http2/beside_haproxy.rs"]
mod beside_haproxy;
#[path = "http2/client.rs"]
mod client;
#[path = "http2/conformance.rs"]
mod conformance;
#[path = "http2/edited.rs"]
mod edited;
#[path = "http2/edited_cases.rs"]
mod edited_cases;
#[path = "http2/exchanges.rs"]
mod exchanges;
#[path = "http2/frames.rs"]
mod frames;
#[path = "http2/lifetime.rs"]
mod lifetime;
#[path = "http2/limits.rs"]
mod limits;
#[path = "http2/places.rs"]
mod places;
#[path = "http2/rules.rs"]
mod rules;
#[path = "tls/secured.rs"]
#[allow(dead_code, reason = "shared with the tests of TLS")]
mod secured;
#[path = "http2/server.rs"]
mod server;
#[path = "http2/servers.rs"]
mod servers;
#[path = "http2/servers_own.rs"]
mod servers_own;
#[path = "http2/servers_reload.rs"]
mod servers_reload;
#[path = "http2/servers_rules.rs"]
mod servers_rules;
#[path = "http2/servers_sharing.rs"]
mod servers_sharing;
#[path = "http2/servers_streams.rs"]
mod servers_streams;
#[path = "http2/servers_tls.rs"]
mod servers_tls;
#[path = "http2/servers_trailers.rs"]
mod servers_trailers;
#[path = "http2/smuggling.rs"]
mod smuggling;
#[path = "http2/tunnels.rs"]
mod tunnels;
#[path = "http2/websocket.rs"]
mod websocket;
