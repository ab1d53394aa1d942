//! How connections of either side are treated: TCP keep-alive, close modes, reuse, probes, slow clients.

use std::{ops::RangeInclusive, time::Duration};

use lb_proxy::{
    config::{ConnectionMode, HeaderNames, ReuseMode, Splice},
    http::message::is_editable,
};

use super::super::POSITIVE;
use crate::config::reader::{At, Fields, Value};

/// Of a frontend.
#[derive(Debug, Default)]
pub(crate) struct FrontendOptions {
    pub(crate) tcp_keepalive: Option<At<Keepalive>>,
    pub(crate) splice: Option<At<Splice>>,
    pub(crate) http_connection: Option<At<ConnectionMode>>,
    pub(crate) min_body_rate: Option<At<u32>>,
    pub(crate) wait_for_body: Option<At<bool>>,
    pub(crate) restrict_header_names: Option<At<HeaderNames>>,
    pub(crate) dontlognull: Option<At<bool>>,
    pub(crate) http_ignore_probes: Option<At<bool>>,
}

/// Of a backend.
#[derive(Debug, Default)]
pub(crate) struct BackendOptions {
    pub(crate) tcp_keepalive: Option<At<Keepalive>>,
    pub(crate) splice: Option<At<Splice>>,
    pub(crate) http_connection: Option<At<ConnectionMode>>,
    pub(crate) http_reuse: Option<At<ReuseMode>>,
    pub(crate) pool: Option<At<Pool>>,
    pub(crate) abortonclose: Option<At<AbortOnClose>>,
    pub(crate) retry_on: Option<At<RetryOn>>,
    pub(crate) retry_any_method: Option<At<bool>>,
    pub(crate) retry_budget: Option<At<u32>>,
    pub(crate) fullconn: Option<At<u32>>,
    /// `None` of `false`.
    pub(crate) server_name_header: Option<At<Option<String>>>,
}

/// `tcp_keepalive`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keepalive {
    Off,
    /// `true`, or a table of which every key may be left out.
    On {
        idle: Option<Duration>,
        interval: Option<Duration>,
        count: Option<u32>,
    },
}

/// `retry_on`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetryOn {
    pub(crate) failures: Vec<Failure>,
    pub(crate) statuses: Vec<u16>,
}

/// A word of `retry_on`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    Connect,
    Empty,
    Junk,
    Timeout,
}

/// `pool`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pool {
    pub(crate) idle: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) max_requests: Option<u32>,
}

/// Until when a client that ends its side has left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum AbortOnClose {
    Never,
    /// Its server is found.
    Unserved,
    /// It has its response.
    Always,
}

impl AbortOnClose {
    fn read(value: &Value<'_>) -> Option<At<Self>> {
        let found = match (value.as_bool(), value.as_str()) {
            (Some(false), _) => Self::Never,
            (Some(true), _) => Self::Unserved,
            (None, Some("always")) => Self::Always,
            (None, _) => {
                value.mismatch("true, false or \"always\"");
                return None;
            }
        };
        Some(At::new(found, value.span))
    }
}

/// Keys that a frontend has and a backend has not.
pub(super) const FRONTEND_KEYS: [&str; 5] =
    ["min_body_rate", "wait_for_body", "restrict_header_names", "dontlognull", "http_ignore_probes"];

/// Keys that a backend has and a frontend has not.
pub(super) const BACKEND_KEYS: [&str; 8] = [
    "http_reuse",
    "pool",
    "abortonclose",
    "retry_on",
    "retry_any_method",
    "retry_budget",
    "fullconn",
    "server_name_header",
];

const SPLICES: [(&str, Splice); 4] = [
    ("auto", Splice::Auto),
    ("request", Splice::Request),
    ("response", Splice::Response),
    ("never", Splice::Never),
];
const HEADER_NAMES: [(&str, HeaderNames); 3] =
    [("preserve", HeaderNames::Preserve), ("delete", HeaderNames::Delete), ("reject", HeaderNames::Reject)];
const CONNECTION_MODES: [(&str, ConnectionMode); 3] = [
    ("keep-alive", ConnectionMode::KeepAlive),
    ("server-close", ConnectionMode::ServerClose),
    ("close", ConnectionMode::Close),
];
const REUSE_MODES: [(&str, ReuseMode); 4] = [
    ("never", ReuseMode::Never),
    ("safe", ReuseMode::Safe),
    ("aggressive", ReuseMode::Aggressive),
    ("always", ReuseMode::Always),
];

/// What the kernel keeps: whole seconds in 15 bits (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`), and `MAX_TCP_KEEPCNT`.
const KEEPALIVE_TIME: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);
const KEEPALIVE_COUNT: RangeInclusive<u32> = 1..=127;

impl FrontendOptions {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        Self {
            tcp_keepalive: fields.value("tcp_keepalive").and_then(|value| Keepalive::read(&value)),
            splice: fields.choice("splice", &SPLICES),
            http_connection: fields.choice("http_connection", &CONNECTION_MODES),
            min_body_rate: fields.measured("min_body_rate", 0..=1_000_000_000, "bytes per second"),
            wait_for_body: fields.boolean("wait_for_body"),
            restrict_header_names: fields.choice("restrict_header_names", &HEADER_NAMES),
            dontlognull: fields.boolean("dontlognull"),
            http_ignore_probes: fields.boolean("http_ignore_probes"),
        }
    }
}

impl BackendOptions {
    /// `both` says that this section is a frontend as well, which has reported what is wrong with keys of both sides.
    pub(super) fn read(fields: &Fields<'_>, frontend: Option<&FrontendOptions>) -> Self {
        let (tcp_keepalive, splice, http_connection) = match frontend {
            Some(frontend) => (frontend.tcp_keepalive, frontend.splice, frontend.http_connection),
            None => (
                fields.value("tcp_keepalive").and_then(|value| Keepalive::read(&value)),
                fields.choice("splice", &SPLICES),
                fields.choice("http_connection", &CONNECTION_MODES),
            ),
        };
        Self {
            tcp_keepalive,
            splice,
            http_connection,
            http_reuse: fields.choice("http_reuse", &REUSE_MODES),
            pool: fields.value("pool").and_then(|value| Pool::read(&value)),
            abortonclose: fields.value("abortonclose").and_then(|value| AbortOnClose::read(&value)),
            retry_on: fields.value("retry_on").map(RetryOn::read),
            retry_any_method: fields.boolean("retry_any_method"),
            retry_budget: fields.measured("retry_budget", 0..=100, "percent"),
            fullconn: fields.measured("fullconn", 1..=10_000_000, "connections"),
            server_name_header: fields
                .value("server_name_header")
                .and_then(|value| server_name_header(&value)),
        }
    }
}

/// The name of a header, or false.
fn server_name_header(value: &Value<'_>) -> Option<At<Option<String>>> {
    if value.as_bool() == Some(false) {
        return Some(At::new(None, value.span));
    }
    let name = value.string("the name of a header, or false")?;
    if !is_editable(name.value.as_bytes()) {
        value.wrong(
            "is no header that can be set: those that frame content or belong to one connection are not",
        );
        return None;
    }
    Some(At::new(Some(name.value), value.span))
}

impl Keepalive {
    fn read(value: &Value<'_>) -> Option<At<Self>> {
        let keepalive = match value.as_bool() {
            Some(false) => Self::Off,
            Some(true) => Self::On { idle: None, interval: None, count: None },
            None => {
                let expected = "true, false or a table, as in tcp_keepalive = { idle = \"10m\" }";
                let fields = value.fields("`tcp_keepalive`".into(), expected)?;
                let idle = whole_seconds(&fields, "idle");
                let interval = whole_seconds(&fields, "interval");
                let count = fields.integer("count", KEEPALIVE_COUNT).map(|count| count.value);
                fields.finish(|_| None);
                Self::On { idle, interval, count }
            }
        };
        Some(At::new(keepalive, value.span))
    }
}

fn whole_seconds(fields: &Fields<'_>, key: &'static str) -> Option<Duration> {
    let time = fields.duration(key, KEEPALIVE_TIME)?;
    if time.value.subsec_nanos() != 0 {
        fields.report.error(time.span, format!("{key} is in whole seconds; the kernel keeps no others"));
    }
    Some(time.value)
}

const FAILURES: [(&str, Failure); 4] = [
    ("conn-failure", Failure::Connect),
    ("empty-response", Failure::Empty),
    ("junk-response", Failure::Junk),
    ("response-timeout", Failure::Timeout),
];

/// As in HAProxy.
const STATUSES: [u16; 13] = [401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504, 505];

impl RetryOn {
    fn read(value: Value<'_>) -> At<Self> {
        let (span, mut retry_on) = (value.span, Self::default());
        for value in value.one_or_list() {
            if let Some(status) = value.as_str().filter(|text| text.parse::<u16>().is_ok()) {
                value.wrong(&format!("is a text, and statuses are numbers: {status}, without quotes"));
                continue;
            }
            if !value.is_integer() {
                retry_on.failures.extend(value.choice(&FAILURES).map(|failure| failure.value));
                continue;
            }
            match value.as_u16().filter(|status| STATUSES.contains(status)) {
                Some(status) => retry_on.statuses.push(status),
                None => {
                    let known: Vec<_> = STATUSES.iter().map(u16::to_string).collect();
                    value.wrong(&format!("is no status to retry on; those are {}", known.join(", ")));
                }
            }
        }
        At::new(retry_on, span)
    }
}

impl Pool {
    fn read(value: &Value<'_>) -> Option<At<Self>> {
        let fields = value.fields("`pool`".into(), "a table, as in pool = { max_age = \"10m\" }")?;
        let pool = Self {
            idle: fields.duration("idle", POSITIVE).map(|at| at.value),
            max_age: fields.duration("max_age", POSITIVE).map(|at| at.value),
            max_requests: fields.integer("max_requests", 0..=u32::MAX).map(|at| at.value),
        };
        fields.finish(|_| None);
        Some(At::new(pool, value.span))
    }
}
