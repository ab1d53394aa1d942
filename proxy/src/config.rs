//! What the data plane is told: plain data without text forms. Whoever builds it has checked it.

mod answers;
mod balance;
mod check;
mod compression;
mod forwarded;
mod hsts;
mod log;
mod options;
mod persistence;
mod proxy_protocol;
mod server;
mod source;
mod timeouts;
mod tls;
mod unique_id;
mod unix;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

pub use crate::{
    inquiry::Desk,
    resolve::ResolverConfig,
    sample::{MapFile, MapKind},
};

pub use self::{
    answers::{ErrorPage, Monitor, PageSource, Statistics, TooFew, Wanted},
    balance::{Balance, HashKey, HashKind, UriPart},
    check::{
        AgentCheck, Check, CheckKind, Elsewhere, HttpCheck, HttpExpect, HttpVersion, Layer, Observe, OnError,
        OwnCheck, Pace, Pattern, SequenceStep, SmtpGreeting,
    },
    compression::{Algorithm, BackendCompression, Compression, MediaRange},
    forwarded::{
        BackendForwarded, Forwarded, ForwardedHeader, ForwardedName, ForwardedNode, ForwardedParameters,
    },
    hsts::Hsts,
    log::{
        AccessLog, Capture, CapturedCookie, CapturedHeader, EventFormat, Facility, LogDestination, LogFormat,
        LogSample, LogTarget, LogWire, Severity,
    },
    options::{
        BackendOptions, ConnectionMode, FrontendOptions, HeaderNames, PoolOptions, RetryOptions, ReuseMode,
        Splice, TcpKeepalive,
    },
    persistence::{Cookie, CookieMode, SameSite, Stick},
    proxy_protocol::{AcceptProxy, ProxyExtension, ProxyVersion, SendProxy},
    server::{Address, Place, Server, ServerAddress},
    source::Source,
    timeouts::{BackendTimeouts, FrontendTimeouts},
    tls::{Alpn, ServerTls, ServerVerify, Sni, TicketSecret, Tls, TlsClients, TlsFiles, TlsVersion},
    unique_id::UniqueId,
    unix::{Owner, UnixAddress, UnixAddressError, UnixBind},
    users::{Group, User, UserList},
};
use crate::{
    rules::{Action, AmbiguousPath, Rule},
    table::SourceLimits,
};

/// Everything.
#[derive(Clone, Debug)]
pub struct Config {
    /// Workers; one thread and one runtime each.
    pub threads: NonZeroUsize,
    /// Client connections of the whole process. At the limit listeners stop accepting.
    pub maxconn: u32,
    /// Percent of a worker's time that compression may take, 0..=100.
    pub compression_cpu: u8,
    /// A worker that does not answer for so long is stalled; 100 ms to 10 s.
    pub stall_timeout: Duration,
    /// How this node is called, for templates.
    pub node: String,
    /// What happens to the process.
    pub log: Vec<LogTarget>,
    /// Who knows the addresses of servers that are given by name.
    pub resolver: ResolverConfig,
    /// The files of maps; they are read at the start.
    pub maps: Vec<MapFile>,
    /// Who may be asked for a password.
    pub users: Vec<UserList>,
    /// Who answers requests for [`Frontend::statistics`]; `None` is who did under the configuration before, and without
    /// one they get 503.
    pub desk: Option<Desk>,
    /// By what this node and others seal tickets of TLS, so that a client's session goes on at any of them. `None`: by keys
    /// that this process alone has.
    pub ticket_secret: Option<TicketSecret>,
    /// In the order of the file.
    pub frontends: Vec<Frontend>,
    /// In the order of the file.
    pub backends: Vec<Backend>,
}

/// Index into [`Config::backends`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BackendId(pub usize);

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Bytes, both ways, half-close kept.
    Tcp,
    /// HTTP/1.0 and HTTP/1.1.
    #[default]
    Http,
}

impl Mode {
    /// As files and reports have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

/// Where clients come in.
#[derive(Clone, Debug)]
pub struct Frontend {
    /// Unique among frontends.
    pub name: String,
    /// The mode of its backend is the same.
    pub mode: Mode,
    /// Its addresses.
    pub binds: Vec<Bind>,
    /// Its Unix-domain sockets. Who comes over one has no address ([`crate::Endpoint`]).
    pub unix: Vec<UnixBind>,
    /// Sockets that are open and listening when this process starts.
    pub inherited: Vec<InheritedBind>,
    /// Those of its listeners that speak TLS, by their place among [`Self::binds`], [`Self::unix`] and [`Self::inherited`] in
    /// this order.
    pub tls: BTreeMap<usize, Arc<Tls>>,
    /// Those of its listeners without TLS where a client may begin with HTTP/2 (RFC 9113 §3.3), by their place likewise.
    pub http2: BTreeSet<usize>,
    /// Those of its listeners with HTTP/2 where no stream is a WebSocket (RFC 8441), by their place likewise.
    pub without_websocket: BTreeSet<usize>,
    /// Client connections of this frontend; the excess waits in the kernel's queue.
    pub maxconn: u32,
    /// Inactivity of a client, and the limit on reading a request's head and on idling between requests.
    pub timeout: FrontendTimeouts,
    /// Appends an X-Forwarded-For line with the client's address.
    pub forwardfor: bool,
    /// What servers are told in fields of requests of who has sent them. Only in mode http.
    pub forwarded: Option<Forwarded>,
    /// What those who come over TLS are told of coming again. Only in mode http.
    pub hsts: Option<Hsts>,
    /// What is done with its clients' connections.
    pub options: FrontendOptions,
    /// How responses are compressed, unless the backend says otherwise; `None`: they are not. Only in mode http.
    pub compression: Option<Compression>,
    /// What one client may do; `None` counts no sources.
    pub per_source: Option<SourceLimits>,
    /// The ids of its requests; `None` makes none.
    pub unique_id: Option<UniqueId>,
    /// What is logged of its traffic.
    pub log: AccessLog,
    /// Pages of its own, unless the backend has one.
    pub error_pages: Vec<ErrorPage>,
    /// A question that is answered here.
    pub monitor: Option<Monitor>,
    /// Where the statistics are.
    pub statistics: Option<Statistics>,
    /// Where requests go that no rule sends elsewhere. `None` answers 503.
    pub default_backend: Option<BackendId>,
    /// In order, before those of the backend.
    pub rules: Vec<Rule>,
    /// What rules that look at the path make of one that can be read in two ways.
    pub ambiguous_path: AmbiguousPath,
    /// For responses, after those of the backend.
    pub response_rules: Vec<Rule>,
    /// It is for those who look after this process: its connections do not count for `maxconn` of the process, and whoever its
    /// statistics do not allow is turned away before a word is said.
    pub is_apart: bool,
}

impl Frontend {
    /// Where its requests may go: the default first, then what its rules name. Some may come twice.
    pub fn backends(&self) -> impl Iterator<Item = BackendId> {
        let actions = || self.rules.iter().flat_map(|rule| &rule.then);
        let chosen = actions().filter_map(|action| match action {
            Action::Backend(backend) => Some(*backend),
            _ => None,
        });
        let named = actions().filter_map(|action| match action {
            Action::BackendNamed(named) => Some(named.backends()),
            _ => None,
        });
        self.default_backend.into_iter().chain(chosen).chain(named.flatten())
    }
}

/// One listening address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bind {
    /// As the file has it: `web:80`, `*:80`.
    pub label: String,
    /// Bound with IP_FREEBIND, so that a standby is bound as well.
    pub address: SocketAddr,
    /// Whose connections begin with a PROXY header; `None`: nobody's.
    pub accept_proxy: Option<AcceptProxy>,
}

/// A listening socket that this process was given, and what is spoken there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InheritedBind {
    /// Which one.
    pub socket: Inherited,
    /// Whose connections begin with a PROXY header; `None`: nobody's.
    pub accept_proxy: Option<AcceptProxy>,
}

impl From<Inherited> for InheritedBind {
    fn from(socket: Inherited) -> Self {
        Self { socket, accept_proxy: None }
    }
}

/// A listening socket that this process was given.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Inherited {
    /// By its number.
    Descriptor(i32),
    /// By its name among those of systemd (LISTEN_FDS, LISTEN_FDNAMES).
    Named(String),
}

impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Descriptor(fd) => write!(f, "fd {fd}"),
            Self::Named(name) => write!(f, "socket {name}"),
        }
    }
}

/// Servers that can stand in for each other.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Unique among backends.
    pub name: String,
    /// The mode of the frontends that use it.
    pub mode: Mode,
    /// Who is next.
    pub balance: Balance,
    /// When only backup servers are left, all of them are used and not the first one alone (HAProxy `option
    /// allbackups`).
    pub all_backups: bool,
    /// A server that comes back gets its weight and its `maxconn` over this time; zero is at once.
    pub slowstart: Duration,
    /// Attempts after the first (HAProxy `retries`).
    pub retries: u32,
    /// A retry goes to another server at once if one is usable (HAProxy `option redispatch`).
    pub redispatch: bool,
    /// Timeouts on the servers' side.
    pub timeout: BackendTimeouts,
    /// Where connections to its servers come from, unless a server has its own.
    pub source: Source,
    /// What is done with the connections to its servers.
    pub options: BackendOptions,
    /// How its responses are compressed. Only in mode http.
    pub compression: BackendCompression,
    /// What its servers are told in fields of requests of who has sent them.
    pub forwarded: BackendForwarded,
    /// A client that had a server goes there even while it is down (HAProxy `option persist`).
    pub persist: bool,
    /// Clients stay with the server that their cookie names; only in mode http.
    pub cookie: Option<Cookie>,
    /// Clients stay with the server that they had; `None` remembers nobody.
    pub stick: Option<Stick>,
    /// Active checks; `None` takes every server for usable.
    pub check: Option<Check>,
    /// What servers say of themselves, asked apart from the checks.
    pub agent: Option<AgentCheck>,
    /// Errors of real traffic that count like failed checks. Only with `check`.
    pub observe: Option<Observe>,
    /// Connections through a server that goes down are cut (HAProxy `on-marked-down shutdown-sessions`).
    pub cut_when_down: bool,
    /// What happens to its servers.
    pub log: Vec<LogTarget>,
    /// Each check whose outcome is another one than before has a line there, too (HAProxy `option log-health-checks`).
    pub log_health_checks: bool,
    /// Pages of its own.
    pub error_pages: Vec<ErrorPage>,
    /// False leaves this backend out of the node's readiness.
    pub readiness: bool,
    /// For requests that come here, after those of the frontend. None chooses a backend.
    pub rules: Vec<Rule>,
    /// For responses of its servers, before those of the frontend.
    pub response_rules: Vec<Rule>,
    /// In the order of the file.
    pub servers: Vec<Server>,
}

impl Config {
    /// Is a backend one section with the frontend of its name (`[listen.*]`)?
    pub(crate) fn is_listen(&self, backend: BackendId) -> bool {
        let name = &self.backends[backend.0].name;
        self.frontends.iter().any(|one| one.name == *name && one.default_backend == Some(backend))
    }

    /// A tenth of the connections that can come to a backend, by default or by a rule; rounded up, at least one.
    pub fn fullconn(&self, backend: BackendId) -> u32 {
        let uses = |frontend: &&Frontend| frontend.backends().any(|used| used == backend);
        let sum = self.frontends.iter().filter(uses).fold(0_u32, |sum, one| sum.saturating_add(one.maxconn));
        sum.div_ceil(10).max(1)
    }
}

impl Backend {
    /// So many failed checks in a row take the server down.
    pub fn fall_of(&self, server: &Server) -> u32 {
        let of_all = self.check.as_ref().map_or(1, |check| check.fall);
        server.own_check.fall.filter(|_| self.check.is_some()).unwrap_or(of_all)
    }

    /// Where connections to a server come from.
    pub fn source(&self, server: usize) -> &Source {
        self.servers[server].source.as_ref().unwrap_or(&self.source)
    }
}

impl Frontend {
    /// One with every default of the configuration file and no backend.
    pub fn new(name: impl Into<String>, mode: Mode, binds: Vec<Bind>) -> Self {
        Self {
            name: name.into(),
            mode,
            binds,
            unix: Vec::new(),
            inherited: Vec::new(),
            tls: BTreeMap::new(),
            http2: BTreeSet::new(),
            without_websocket: BTreeSet::new(),
            maxconn: 20_000,
            timeout: FrontendTimeouts::default(),
            forwardfor: false,
            forwarded: None,
            hsts: None,
            // Where servers speak first, a client that says nothing may be one that was not served.
            options: FrontendOptions { dontlognull: mode == Mode::Http, ..FrontendOptions::default() },
            compression: None,
            per_source: None,
            unique_id: None,
            log: AccessLog::default(),
            error_pages: Vec::new(),
            monitor: None,
            statistics: None,
            default_backend: None,
            rules: Vec::new(),
            ambiguous_path: AmbiguousPath::default(),
            response_rules: Vec::new(),
            is_apart: false,
        }
    }

    /// May a client without TLS begin with HTTP/2 at its listener at this place, from 1?
    pub(crate) fn begins_http2(&self, place: usize) -> bool {
        self.http2.contains(&among_listeners(place))
    }

    /// May a stream be a WebSocket there?
    pub(crate) fn offers_websocket(&self, place: usize) -> bool {
        !self.without_websocket.contains(&among_listeners(place))
    }
}

/// Logs count listeners from 1, and [`Frontend::tls`] and the like from 0.
fn among_listeners(place: usize) -> usize {
    debug_assert!(place > 0, "listeners count from 1");
    place.saturating_sub(1)
}

impl Backend {
    /// One with every default of the configuration file and no checks.
    pub fn new(name: impl Into<String>, mode: Mode, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            mode,
            balance: Balance::default(),
            all_backups: false,
            slowstart: Duration::ZERO,
            retries: 3,
            redispatch: true,
            timeout: BackendTimeouts::default(),
            source: Source::default(),
            options: BackendOptions::default(),
            compression: BackendCompression::default(),
            forwarded: BackendForwarded::default(),
            persist: false,
            cookie: None,
            stick: None,
            check: None,
            agent: None,
            observe: None,
            log: Vec::new(),
            log_health_checks: false,
            error_pages: Vec::new(),
            cut_when_down: false,
            readiness: true,
            rules: Vec::new(),
            response_rules: Vec::new(),
            servers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Condition;

    #[test]
    fn fullconn_is_a_tenth_of_all_frontends_that_may_choose_the_backend() {
        let [first, second, third] = [BackendId(0), BackendId(1), BackendId(2)];
        let sends = |to| Rule { when: Condition::ALWAYS, then: vec![Action::Backend(to)] };
        let frontend = |maxconn, default_backend, rules| Frontend {
            maxconn,
            default_backend,
            rules,
            ..Frontend::new("front", Mode::Http, Vec::new())
        };
        let config = Config {
            threads: NonZeroUsize::MIN,
            maxconn: 1000,
            compression_cpu: 100,
            stall_timeout: Duration::from_secs(1),
            node: String::new(),
            resolver: ResolverConfig::default(),
            maps: Vec::new(),
            users: Vec::new(),
            desk: None,
            ticket_secret: None,
            log: Vec::new(),
            frontends: vec![
                frontend(1000, Some(first), vec![sends(second), sends(second), sends(first)]),
                frontend(95, Some(first), Vec::new()),
                frontend(40, None, vec![sends(second)]),
            ],
            backends: Vec::new(),
        };
        // 1095, 1040 and 0, rounded up as by HAProxy; each frontend counts once.
        assert_eq!([first, second, third].map(|backend| config.fullconn(backend)), [110, 104, 1]);
    }
}
