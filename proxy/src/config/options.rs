//! How connections of either side are treated. The defaults are those of a file that says nothing.

use std::{io, num::NonZeroU32, os::fd::AsFd, time::Duration};

use socket2::SockRef;

/// Which bytes the kernel may move from socket to socket without copying them, where that is worth it. A direction is spliced
/// where the frontend and the backend both allow it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Splice {
    /// Both directions (HAProxy `option splice-auto`).
    #[default]
    Auto,
    /// From clients to servers (HAProxy `option splice-request`).
    Request,
    /// From servers to clients (HAProxy `option splice-response`).
    Response,
    /// None: all bytes are copied.
    Never,
}

impl Splice {
    pub(crate) fn allows_requests(self) -> bool {
        matches!(self, Self::Auto | Self::Request)
    }

    pub(crate) fn allows_responses(self) -> bool {
        matches!(self, Self::Auto | Self::Response)
    }
}

/// What becomes of headers whose names have other characters than letters, digits and `-`: to CGI and its like `X_User` is
/// `X-User`. Rules of the frontend see them as they came (HAProxy `option http-restrict-req-hdr-names`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HeaderNames {
    /// Servers get them.
    #[default]
    Preserve,
    /// They are deleted.
    Delete,
    /// The request is answered with 403.
    Reject,
}

/// What a frontend does with its clients' connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FrontendOptions {
    /// Probes of the kernel on silent connections (HAProxy `option clitcpka`).
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Which bytes may be spliced.
    pub splice: Splice,
    /// Bytes of content per second below which a client is too slow, after its head's time
    /// ([`super::FrontendTimeouts::http_request`]): 408. `None`: any.
    pub min_body_rate: Option<NonZeroU32>,
    /// A server is looked for when the content of a request is here, or as much of it as fits a buffer (HAProxy
    /// `option http-buffer-request`).
    pub wait_for_body: bool,
    /// Which names of headers servers get.
    pub header_names: HeaderNames,
    /// What happens after a response.
    pub connection: ConnectionMode,
    /// Nothing is logged of a connection that ended without a byte of its client (HAProxy `option dontlognull`).
    pub dontlognull: bool,
    /// Nothing is answered to a connection that ended, or ran out of time, without a byte (HAProxy
    /// `option http-ignore-probes`).
    pub ignore_probes: bool,
}

impl Default for FrontendOptions {
    fn default() -> Self {
        Self {
            tcp_keepalive: None,
            splice: Splice::default(),
            min_body_rate: NonZeroU32::new(500),
            wait_for_body: false,
            header_names: HeaderNames::default(),
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
    /// Which bytes may be spliced.
    pub splice: Splice,
    /// What happens after a response.
    pub connection: ConnectionMode,
    /// Who may use an idle connection, and for how long.
    pub pool: PoolOptions,
    /// Which failures are met with another attempt.
    pub retry: RetryOptions,
    /// Connections of this backend at which servers with a `minconn` are allowed all of their `maxconn` (HAProxy
    /// `fullconn`); `None`: a tenth of the `maxconn` of all frontends that may send here,
    /// by default or by a rule.
    pub fullconn: Option<u32>,
    /// A client that ends its side while its request looks for a server is gone (HAProxy `option abortonclose`);
    /// `None`: in mode http, not in mode tcp.
    pub abortonclose: Option<bool>,
    /// One that ends its side while it has no whole response is, too (what HAProxy's option does as well); in mode http.
    pub aborts_awaiting: bool,
    /// A server gets its name in this field, which replaces any other of that name (HAProxy `http-send-name-header`);
    /// [editable](crate::http::message::is_editable).
    pub server_name_header: Option<Box<str>>,
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

impl TcpKeepalive {
    /// Turns it on. What a listening socket has, those accepted from it have as well.
    ///
    /// # Errors
    /// The system's, as for a value that it does not take.
    pub(crate) fn set(&self, socket: &impl AsFd) -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_keepalive(true)?;
        let mut settings = socket2::TcpKeepalive::new();
        if let Some(idle) = self.idle {
            settings = settings.with_time(idle);
        }
        if let Some(interval) = self.interval {
            settings = settings.with_interval(interval);
        }
        if let Some(count) = self.count {
            settings = settings.with_retries(count);
        }
        socket.set_tcp_keepalive(&settings)
    }
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

/// Which failures of a server are met with another attempt (HAProxy `retry-on`). After a connection was made, only
/// requests that fit one buffer whole, and as far as the budget goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RetryOptions {
    /// No connection could be made.
    pub connect_failure: bool,
    /// It ended before a byte of the response.
    pub empty_response: bool,
    /// What it sent is no head of a response, or not a whole one.
    pub junk_response: bool,
    /// No head within [`super::BackendTimeouts::server`].
    pub response_timeout: bool,
    /// It answered with one of these.
    pub statuses: Box<[u16]>,
    /// Also requests that are not idempotent (RFC 9110 section 9.2.2).
    pub any_method: bool,
    /// Further attempts, in percent of the requests of this backend, beyond the first retry of a connect failure; 100
    /// and more: no limit.
    pub budget: u32,
}

impl RetryOptions {
    /// Is there a failure after the connection was made that is met with another attempt?
    pub(crate) fn resends(&self) -> bool {
        self.empty_response || self.junk_response || self.response_timeout || !self.statuses.is_empty()
    }
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            connect_failure: true,
            empty_response: false,
            junk_response: false,
            response_timeout: false,
            statuses: Box::default(),
            any_method: false,
            budget: 20,
        }
    }
}
