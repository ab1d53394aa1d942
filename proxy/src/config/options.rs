//! How connections of either side are treated. The defaults are those of a file that says nothing.

use std::{num::NonZeroU32, time::Duration};

/// What a frontend does with its clients' connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrontendOptions {
    /// Probes of the kernel on silent connections (HAProxy `option clitcpka`).
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Bytes of content per second below which a client is too slow, after its head's time
    /// ([`super::FrontendTimeouts::http_request`]): 408. `None`: any.
    pub min_body_rate: Option<NonZeroU32>,
    /// What happens after a response.
    pub connection: ConnectionMode,
    /// Nothing is logged of a connection that ended without a byte (HAProxy `option dontlognull`).
    pub dontlognull: bool,
    /// Nothing is answered to a connection that ended, or ran out of time, without a byte (HAProxy
    /// `option http-ignore-probes`).
    pub ignore_probes: bool,
}

impl Default for FrontendOptions {
    fn default() -> Self {
        Self {
            tcp_keepalive: None,
            min_body_rate: NonZeroU32::new(500),
            connection: ConnectionMode::default(),
            dontlognull: true,
            ignore_probes: true,
        }
    }
}

/// What a backend does with the connections to its servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackendOptions {
    /// Probes of the kernel on silent connections (HAProxy `option srvtcpka`).
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// What happens after a response.
    pub connection: ConnectionMode,
    /// Who may use an idle connection, and for how long.
    pub pool: PoolOptions,
    /// A client that ends its side while its request looks for a server is gone (HAProxy `option abortonclose`);
    /// `None`: in mode http, not in mode tcp.
    pub abortonclose: Option<bool>,
}

/// How the kernel finds out that a silent peer is gone. What is `None` is the system's (`net.ipv4.tcp_keepalive_*`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TcpKeepalive {
    /// Silence before the first probe; whole seconds.
    pub idle: Option<Duration>,
    /// Between two probes; whole seconds.
    pub interval: Option<Duration>,
    /// Probes without an answer after which the connection is broken; 1..=127.
    pub count: Option<u32>,
}

/// What happens to a connection after a response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ConnectionMode {
    /// It stays open on both sides (HAProxy `option http-keep-alive`).
    #[default]
    KeepAlive,
    /// The server's is closed, the client's stays (HAProxy `option http-server-close`).
    ServerClose,
    /// It is closed: a frontend closes that of the client, a backend that of the server (HAProxy `option httpclose`).
    Close,
}

/// Idle connections to servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PoolOptions {
    /// Who may use one (HAProxy `http-reuse`).
    pub reuse: ReuseMode,
    /// One that was idle for longer is closed. Below what servers allow (5 s is common), so that it is seldom the
    /// server who ends it, at the moment when a request is on its way.
    pub idle: Duration,
    /// One that was opened longer ago is not used again.
    pub max_age: Duration,
    /// One that has served so many requests is not used again (HAProxy `max-reuse`); `None`: no limit.
    pub max_requests: Option<NonZeroU32>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            reuse: ReuseMode::default(),
            idle: Duration::from_secs(4),
            max_age: Duration::from_secs(3600),
            max_requests: None,
        }
    }
}

/// Who may use an idle connection that served somebody else.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ReuseMode {
    /// Nobody: each client's connection has connections to servers of its own.
    Never,
    /// A client's first request only if it could be sent again on a fresh one; later ones always.
    #[default]
    Safe,
    /// A client's first request also on a connection that was used again before.
    Aggressive,
    /// Everybody.
    Always,
}
