//! `[defaults]`, `[frontend.NAME]`, `[backend.NAME]` and `[listen.NAME]`: one set of keys, of which each kind of
//! section takes its own. A key in the wrong section is told where it belongs.

use std::time::Duration;

use lb_proxy::{
    config::{Compression, Forwarded, Hsts, Mode, SendProxy},
    rules::AmbiguousPath,
};

use self::rules::Side;
use super::{
    POSITIVE,
    log::{self, LogEntry, TrafficLog},
};
use crate::config::reader::{At, Fields};

pub(crate) use self::cookie::name_of as cookie_name;
pub(crate) use self::{
    answers::{Monitor, Page, PageSource},
    balance::{BalanceBy, Balancing},
    bind::{Bind, BindAddress},
    check::{Check, CheckSettings},
    cookie::Cookie,
    observe::{Agent, Observing, OnMarkedDown, Watching},
    options::{AbortOnClose, BackendOptions, Failure, FrontendOptions, Keepalive, Pool, RetryOn},
    persistence::{PerSource, Stick},
    proxy_protocol::EXTENSIONS as PROXY_EXTENSIONS,
    rules::Rule,
    server::{Given, Server},
    server_tls::{OF_HOST, ServerTls},
    source::{Source, SourceSettings, interface},
    statistics::Statistics,
    tls::{Spoken, Tls, TlsCertificate, TlsClients, files_in},
    unique_id::UniqueId,
};

mod answers;
mod balance;
mod bind;
mod check;
mod compression;
mod cookie;
mod forwarded;
mod hsts;
mod observe;
mod options;
mod persistence;
mod proxy_protocol;
pub(crate) mod rules;
mod server;
mod server_tls;
mod source;
pub(crate) mod statistics;
mod tls;
mod unique_id;

/// Which of the four it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Defaults,
    Frontend,
    Backend,
    /// Frontend and backend in one.
    Listen,
}

#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) kind: Kind,
    pub(crate) mode: Option<At<Mode>>,
    /// The key is there and could not be read.
    pub(crate) mode_is_misread: bool,
    pub(crate) timeout: Timeouts,
    pub(crate) log: Option<At<Vec<LogEntry>>>,
    // Of a frontend:
    pub(crate) binds: Vec<Bind>,
    pub(crate) maxconn: Option<At<u32>>,
    pub(crate) forwardfor: Option<At<bool>>,
    pub(crate) hsts: Option<At<Option<Hsts>>>,
    pub(crate) default_backend: Option<At<String>>,
    /// The key is there, whatever its value.
    pub(crate) default_backend_given: bool,
    pub(crate) unique_id: Option<UniqueId>,
    pub(crate) ambiguous_path: Option<At<AmbiguousPath>>,
    // Of both:
    /// `None` inside is `false`.
    pub(crate) compression: Option<At<Option<Compression>>>,
    /// The same.
    pub(crate) forwarded: Option<At<Option<Forwarded>>>,
    // Of both; those of a `[listen.*]` are its frontend's:
    pub(crate) rules: Vec<Rule>,
    pub(crate) response_rules: Vec<Rule>,
    pub(crate) frontend_options: FrontendOptions,
    pub(crate) traffic_log: TrafficLog,
    pub(crate) per_source: Option<At<PerSource>>,
    pub(crate) error_pages: Vec<Page>,
    pub(crate) monitor: Option<Monitor>,
    pub(crate) statistics: Option<Statistics>,
    /// It is `[statistics]`.
    pub(crate) is_apart: bool,
    // Of a backend:
    pub(crate) log_health_checks: Option<At<bool>>,
    pub(crate) persist: Option<At<bool>>,
    pub(crate) cookie: Option<At<Cookie>>,
    pub(crate) stick: Option<At<Stick>>,
    pub(crate) source: Option<At<Source>>,
    /// Of servers.
    pub(crate) http2: Option<At<bool>>,
    /// Of servers; `None` inside is `false`.
    pub(crate) tls: Option<At<Option<ServerTls>>>,
    /// `None` inside is `false`.
    pub(crate) send_proxy: Option<At<Option<SendProxy>>>,
    pub(crate) backend_options: BackendOptions,
    pub(crate) balancing: Balancing,
    pub(crate) retries: Option<At<u32>>,
    pub(crate) redispatch: Option<At<bool>>,
    pub(crate) check: Option<At<Check>>,
    pub(crate) watching: Watching,
    pub(crate) readiness: Option<At<bool>>,
    pub(crate) hold: Option<At<Duration>>,
    pub(crate) servers: Vec<Server>,
    pub(crate) servers_given: Given,
}

/// `timeout`, of both sides.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    pub(crate) client: Option<At<Duration>>,
    pub(crate) client_handshake: Option<At<Duration>>,
    pub(crate) inspect: Option<At<Duration>>,
    pub(crate) http_request: Option<At<Duration>>,
    pub(crate) http_keep_alive: Option<At<Duration>>,
    pub(crate) client_fin: Option<At<Duration>>,
    pub(crate) tarpit: Option<At<Duration>>,
    pub(crate) connect: Option<At<Duration>>,
    pub(crate) server: Option<At<Duration>>,
    pub(crate) queue: Option<At<Duration>>,
    pub(crate) tunnel: Option<At<Duration>>,
    pub(crate) server_fin: Option<At<Duration>>,
}

const FRONTEND_KEYS: [&str; 9] = [
    "bind",
    "maxconn",
    "forwardfor",
    "hsts",
    "per_source",
    "default_backend",
    "ambiguous_path",
    "monitor_uri",
    "statistics",
];
const BACKEND_KEYS: [&str; 15] = [
    "source",
    "http2",
    "tls",
    "send_proxy",
    "log_health_checks",
    "retries",
    "redispatch",
    "persist",
    "cookie",
    "stick",
    "check",
    "readiness",
    "hold",
    "server",
    "servers",
];
const MODES: [(&str, Mode); 2] = [("http", Mode::Http), ("tcp", Mode::Tcp)];

impl Kind {
    pub(crate) fn is_frontend(self) -> bool {
        matches!(self, Self::Frontend | Self::Listen)
    }

    pub(crate) fn is_backend(self) -> bool {
        matches!(self, Self::Backend | Self::Listen)
    }

    /// Keys of frontends that have a meaning here.
    fn takes_frontend_keys(self) -> bool {
        self.is_frontend() || self == Self::Defaults
    }

    fn takes_backend_keys(self) -> bool {
        self.is_backend() || self == Self::Defaults
    }
}

impl Section {
    pub(crate) fn empty(kind: Kind) -> Self {
        Self {
            kind,
            mode: None,
            mode_is_misread: false,
            timeout: Timeouts::default(),
            log: None,
            log_health_checks: None,
            binds: Vec::new(),
            maxconn: None,
            forwardfor: None,
            forwarded: None,
            hsts: None,
            default_backend: None,
            default_backend_given: false,
            ambiguous_path: None,
            unique_id: None,
            compression: None,
            rules: Vec::new(),
            response_rules: Vec::new(),
            frontend_options: FrontendOptions::default(),
            traffic_log: TrafficLog::default(),
            per_source: None,
            persist: None,
            cookie: None,
            stick: None,
            source: None,
            http2: None,
            tls: None,
            send_proxy: None,
            backend_options: BackendOptions::default(),
            balancing: Balancing::default(),
            retries: None,
            redispatch: None,
            check: None,
            error_pages: Vec::new(),
            monitor: None,
            statistics: None,
            is_apart: false,
            watching: Watching::default(),
            readiness: None,
            hold: None,
            servers: Vec::new(),
            servers_given: Given::Nothing,
        }
    }

    pub(super) fn read(fields: Fields<'_>, kind: Kind) -> Self {
        let mut section = Self::empty(kind);
        section.mode = fields.choice("mode", &MODES);
        section.mode_is_misread = section.mode.is_none() && fields.value("mode").is_some();
        if let Some(table) = fields.fields("timeout", "a table, as in timeout = { connect = \"5s\" }") {
            section.timeout = Timeouts::read(table, kind);
        }
        section.error_pages = answers::pages(&fields);
        section.compression = fields.value("compression").and_then(|value| compression::read(&value));
        section.forwarded = fields.value("forwarded").and_then(|value| forwarded::read(&value));
        section.log = log::log(&fields, false);
        if kind.takes_frontend_keys() {
            section.maxconn = fields.measured("maxconn", 1..=10_000_000, "connections");
            section.forwardfor = fields.boolean("forwardfor");
            section.hsts = fields.value("hsts").and_then(|value| hsts::read(&value));
            section.statistics = statistics::read(&fields);
            section.per_source = fields.value("per_source").and_then(|value| PerSource::read(&value));
            section.frontend_options = FrontendOptions::read(&fields);
            section.traffic_log = TrafficLog::read(&fields);
        }
        if kind.is_frontend() {
            fields.require("bind", "bind = \"*:80\" or bind = { vip = \"web\", port = 80 }");
            section.monitor = answers::monitor(&fields);
            section.binds = fields.value("bind").map(Bind::read_all).unwrap_or_default();
        }
        if kind.is_frontend() {
            section.unique_id =
                fields.value("unique_id").and_then(|value| UniqueId::read(&value, &fields.title));
            section.ambiguous_path = rules::ambiguous_path(&fields);
            section.rules = rules::read_all(&fields, "rules", Side::Frontend);
        } else if kind == Kind::Backend {
            section.rules = rules::read_all(&fields, "rules", Side::Backend);
        }
        if kind != Kind::Defaults {
            section.response_rules = rules::read_all(&fields, "response_rules", Side::Response);
        }
        if kind == Kind::Frontend {
            let expected = "the name of a backend, as in \"app\"";
            section.default_backend_given = fields.value("default_backend").is_some();
            section.default_backend = fields.string("default_backend", expected);
        }
        if kind.takes_backend_keys() {
            let frontend = kind.takes_frontend_keys().then_some(&section.frontend_options);
            section.log_health_checks = fields.boolean("log_health_checks");
            section.backend_options = BackendOptions::read(&fields, frontend);
            section.persist = fields.boolean("persist");
            section.cookie = fields.value("cookie").and_then(|value| Cookie::read(&value));
            section.stick = fields.value("stick").and_then(|value| Stick::read(&value));
            section.source = fields.value("source").and_then(|value| Source::read(&value));
            section.http2 = fields.boolean("http2");
            section.tls = server_tls::read(&fields, "tls");
            section.send_proxy = proxy_protocol::send(&fields);
            section.balancing = Balancing::read(&fields);
            section.retries = fields.integer("retries", 0..=100);
            section.redispatch = fields.boolean("redispatch");
            section.watching = Watching::read(&fields);
            section.check = fields.value("check").and_then(|value| Check::read(&value, &fields.title));
        }
        if kind.is_backend() {
            section.readiness = fields.boolean("readiness");
            section.hold = fields.duration("hold", POSITIVE);
            (section.servers, section.servers_given) = server::read_all(&fields);
        }
        fields.finish(|key| elsewhere(key, kind));
        section
    }
}

/// Where a key belongs that this kind of section does not take.
fn elsewhere(key: &str, kind: Kind) -> Option<String> {
    if key != "server" && TIMEOUTS.iter().any(|(name, _)| *name == key) {
        return Some(format!("write timeout = {{ {key} = \"5s\" }}"));
    }
    match (kind, key) {
        (Kind::Listen, "default_backend") => Some("a [listen.*] has servers of its own".into()),
        (Kind::Defaults, "rules" | "response_rules") => {
            Some("it belongs into a [frontend.*], [backend.*] or [listen.*]".into())
        }
        (_, key)
            if FRONTEND_KEYS.contains(&key)
                || options::FRONTEND_KEYS.contains(&key)
                || log::TRAFFIC_KEYS.contains(&key) =>
        {
            Some("it belongs into a [frontend.*] or [listen.*]".into())
        }
        (_, key)
            if BACKEND_KEYS.contains(&key)
                || options::BACKEND_KEYS.contains(&key)
                || balance::KEYS.contains(&key)
                || observe::KEYS.contains(&key) =>
        {
            Some("it belongs into a [backend.*] or [listen.*]".into())
        }
        _ => None,
    }
}

/// Each timeout, and whether it is the frontend's.
const TIMEOUTS: [(&str, bool); 12] = [
    ("client", true),
    ("client_handshake", true),
    ("inspect", true),
    ("http_request", true),
    ("http_keep_alive", true),
    ("client_fin", true),
    ("tarpit", true),
    ("connect", false),
    ("server", false),
    ("queue", false),
    ("tunnel", false),
    ("server_fin", false),
];

impl Timeouts {
    fn read(fields: Fields<'_>, kind: Kind) -> Self {
        let mut timeouts = Self::default();
        if kind.takes_frontend_keys() {
            timeouts.client = fields.duration("client", POSITIVE);
            timeouts.client_handshake = fields.duration("client_handshake", POSITIVE);
            timeouts.inspect = fields.duration("inspect", POSITIVE);
            timeouts.http_request = fields.duration("http_request", POSITIVE);
            timeouts.http_keep_alive = fields.duration("http_keep_alive", POSITIVE);
            timeouts.client_fin = fields.duration("client_fin", POSITIVE);
            timeouts.tarpit = fields.duration("tarpit", POSITIVE);
        }
        if kind.takes_backend_keys() {
            timeouts.connect = fields.duration("connect", POSITIVE);
            timeouts.server = fields.duration("server", POSITIVE);
            timeouts.queue = fields.duration("queue", POSITIVE);
            timeouts.tunnel = fields.duration("tunnel", POSITIVE);
            timeouts.server_fin = fields.duration("server_fin", POSITIVE);
        }
        fields.finish(|key| {
            let (_, of_frontend) = TIMEOUTS.iter().find(|(name, _)| *name == key)?;
            let side = if *of_frontend { "frontend" } else { "backend" };
            Some(format!("it belongs into the `timeout` of a [{side}.*] or [listen.*]"))
        });
        timeouts
    }
}
