//! How long things may take. The defaults are those of a file that says nothing.

use std::time::Duration;

/// Timeouts on the client's side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FrontendTimeouts {
    /// Inactivity (HAProxy `timeout client`).
    pub client: Duration,
    /// What has to be said before anything else: a PROXY header, a handshake of TLS, each (HAProxy `timeout client-hs`). Then the connection is closed.
    pub client_handshake: Duration,
    /// How long a connection waits for its ClientHello where a rule asks for that (HAProxy `tcp-request inspect-delay`); then
    /// rules run without. Only in mode tcp.
    pub inspect: Duration,
    /// A whole head, from its first byte (HAProxy `timeout http-request`): 408.
    pub http_request: Duration,
    /// Between two requests (HAProxy `timeout http-keep-alive`): closed without a word.
    pub http_keep_alive: Duration,
    /// Inactivity of a client once one direction of its connection has ended (HAProxy `timeout client-fin`); `None`:
    /// as before.
    pub client_fin: Option<Duration>,
    /// How long a request waits that a rule holds on purpose (HAProxy `timeout tarpit`).
    pub tarpit: Duration,
}

impl Default for FrontendTimeouts {
    fn default() -> Self {
        Self {
            client: Duration::from_secs(50),
            client_handshake: Duration::from_secs(10),
            inspect: Duration::from_secs(5),
            http_request: Duration::from_secs(10),
            http_keep_alive: Duration::from_secs(15),
            client_fin: None,
            tarpit: Duration::from_secs(5),
        }
    }
}

/// Timeouts on the servers' side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackendTimeouts {
    /// One attempt to connect.
    pub connect: Duration,
    /// Inactivity of a server; before its head: 504. Also for the whole head, from its first byte.
    pub server: Duration,
    /// In the queue of a full server: 503.
    pub queue: Duration,
    /// Inactivity of both sides once bytes are only passed on: mode tcp, and after a switch to WebSocket (HAProxy
    /// `timeout tunnel`); `None`: those of client and server.
    pub tunnel: Option<Duration>,
    /// Inactivity of a server once one direction of its connection has ended (HAProxy `timeout server-fin`); `None`:
    /// as before.
    pub server_fin: Option<Duration>,
}

impl Default for BackendTimeouts {
    fn default() -> Self {
        let connect = Duration::from_secs(5);
        Self { connect, server: Duration::from_secs(50), queue: connect, tunnel: None, server_fin: None }
    }
}
