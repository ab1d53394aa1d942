//! Frontends, backends and servers: a metric for each column, and a few that are no column.

use std::collections::HashMap;

use crate::{
    control::{Backend, Frontend, Server, Status, Steps},
    metrics::text::{Kind, Metric, Text},
    statistics::{Cell, Column, Kind as RowKind, Row},
};

use Column as C;
use Kind::{Counter, Gauge};
use RowKind::{Backend as B, Frontend as F, Server as S};

/// A metric that is a column: what rows have it, its name behind `haproxy_frontend_` and so on.
struct Field {
    of: &'static [RowKind],
    name: &'static str,
    kind: Kind,
    column: Column,
    /// The column has milliseconds.
    is_milliseconds: bool,
}

const fn field(of: &'static [RowKind], name: &'static str, kind: Kind, column: Column) -> Field {
    Field { of, name, kind, column, is_milliseconds: false }
}

const fn time(of: &'static [RowKind], name: &'static str, column: Column) -> Field {
    Field { of, name, kind: Gauge, column, is_milliseconds: true }
}

/// In HAProxy's order.
const FIELDS: &[Field] = &[
    field(&[B, S], "current_queue", Gauge, C::Qcur),
    field(&[B, S], "max_queue", Gauge, C::Qmax),
    field(&[F, B, S], "current_sessions", Gauge, C::Scur),
    field(&[F, B, S], "max_sessions", Gauge, C::Smax),
    field(&[F, B, S], "limit_sessions", Gauge, C::Slim),
    field(&[F, B, S], "sessions_total", Counter, C::Stot),
    field(&[F, B, S], "bytes_in_total", Counter, C::Bin),
    field(&[F, B, S], "bytes_out_total", Counter, C::Bout),
    field(&[F, B], "requests_denied_total", Counter, C::Dreq),
    field(&[F, B, S], "responses_denied_total", Counter, C::Dresp),
    field(&[F], "request_errors_total", Counter, C::Ereq),
    field(&[B, S], "connection_errors_total", Counter, C::Econ),
    field(&[B, S], "response_errors_total", Counter, C::Eresp),
    field(&[B, S], "retry_warnings_total", Counter, C::Wretr),
    field(&[B, S], "redispatch_warnings_total", Counter, C::Wredis),
    field(&[B, S], "weight", Gauge, C::Weight),
    field(&[B], "active_servers", Gauge, C::Act),
    field(&[B], "backup_servers", Gauge, C::Bck),
    field(&[S], "check_failures_total", Counter, C::Chkfail),
    field(&[B, S], "check_up_down_total", Counter, C::Chkdown),
    field(&[B, S], "check_last_change_seconds", Gauge, C::Lastchg),
    field(&[B, S], "downtime_seconds_total", Counter, C::Downtime),
    field(&[S], "queue_limit", Gauge, C::Qlimit),
    field(&[S], "current_throttle", Gauge, C::Throttle),
    field(&[B, S], "loadbalanced_total", Counter, C::Lbtot),
    field(&[F], "limit_session_rate", Gauge, C::RateLim),
    field(&[F, B, S], "max_session_rate", Gauge, C::RateMax),
    field(&[F], "http_requests_rate_max", Gauge, C::ReqRateMax),
    field(&[F, B], "http_requests_total", Counter, C::ReqTot),
    field(&[B, S], "client_aborts_total", Counter, C::CliAbrt),
    field(&[B, S], "server_aborts_total", Counter, C::SrvAbrt),
    field(&[F, B], "http_comp_bytes_in_total", Counter, C::CompIn),
    field(&[F, B], "http_comp_bytes_out_total", Counter, C::CompOut),
    field(&[F, B], "http_comp_bytes_bypassed_total", Counter, C::CompByp),
    field(&[F, B], "http_comp_responses_total", Counter, C::CompRsp),
    field(&[B, S], "last_session_seconds", Gauge, C::Lastsess),
    time(&[B, S], "queue_time_average_seconds", C::Qtime),
    time(&[B, S], "connect_time_average_seconds", C::Ctime),
    time(&[B, S], "response_time_average_seconds", C::Rtime),
    time(&[B, S], "total_time_average_seconds", C::Ttime),
    field(&[F], "connections_rate_max", Gauge, C::RateMax),
    field(&[F], "connections_total", Counter, C::Stot),
];

/// The columns of responses by class.
const RESPONSES: [(&str, Column); 6] = [
    ("1xx", C::Hrsp1xx),
    ("2xx", C::Hrsp2xx),
    ("3xx", C::Hrsp3xx),
    ("4xx", C::Hrsp4xx),
    ("5xx", C::Hrsp5xx),
    ("other", C::HrspOther),
];

/// Its milliseconds.
type Step = fn(Steps) -> u64;

const LONGEST: [(&str, Step); 4] = [
    ("max_queue_time_seconds", |steps| steps.queue),
    ("max_connect_time_seconds", |steps| steps.connect),
    ("max_response_time_seconds", |steps| steps.response),
    ("max_total_time_seconds", |steps| steps.total),
];

/// How a server may be, in HAProxy's order.
const SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// How a check may end, in HAProxy's order.
const CHECK_STATES: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK",
    "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

/// What the report says beside the rows, by name.
struct Found<'s> {
    frontends: HashMap<&'s str, &'s Frontend>,
    backends: HashMap<&'s str, &'s Backend>,
}

pub(super) fn write(text: &mut Text, status: &Status, rows: &[Row]) {
    let found = Found {
        frontends: status.frontends.iter().map(|one| (one.name.as_str(), one)).collect(),
        backends: status.backends.iter().map(|one| (one.name.as_str(), one)).collect(),
    };
    for (kind, prefix) in [(F, "haproxy_frontend_"), (B, "haproxy_backend_"), (S, "haproxy_server_")] {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.kind == kind).collect();
        for field in FIELDS.iter().filter(|field| field.of.contains(&kind)) {
            field_of(text, prefix, field, &rows);
        }
        states(text, prefix, &rows);
        responses(text, prefix, &rows);
        if kind != F {
            longest(text, prefix, &rows);
        }
    }
    frontends(text, &found, rows);
    backends(text, &found, rows);
    servers(text, &found, rows);
}

fn field_of(text: &mut Text, prefix: &str, field: &Field, rows: &[&Row]) {
    let (name, help) = (format!("{prefix}{}", field.name), help(field.column));
    let mut metric = text.metric(&name, field.kind, &help);
    let is_http_only =
        matches!(field.column, C::ReqTot | C::ReqRateMax | C::CompIn | C::CompOut | C::CompByp | C::CompRsp);
    for row in rows.iter().filter(|row| !is_http_only || is_http(row)) {
        let value = match row.cell(field.column) {
            Cell::Number(number) if field.is_milliseconds => *number as f64 / 1e3,
            Cell::Number(number) => *number as f64,
            // As HAProxy has it of a server.
            Cell::Empty if row.kind == S => f64::NAN,
            Cell::Empty | Cell::Text(_) => continue,
        };
        sample(&mut metric, row, value);
    }
}

fn help(column: Column) -> String {
    format!("Column {} of HAProxy's statistics.", column.name())
}

fn states(text: &mut Text, prefix: &str, rows: &[&Row]) {
    let name = format!("{prefix}status");
    let mut metric = text.metric(&name, Gauge, "1 for how it is.");
    for row in rows {
        let states = if row.kind == S { &SERVER_STATES[..] } else { &SERVER_STATES[..2] };
        metric.states(&labels(row), states, Some(state(row)));
    }
}

/// Of a row, in the words of the exporter.
fn state(row: &Row) -> &'static str {
    let word = word(row, C::Status);
    let known = |state: &&&str| word.starts_with(**state);
    match (row.kind, word) {
        (F, "STOP") | (B, "DOWN") => "DOWN",
        (F | B, _) => "UP",
        // Servers that nobody checks are taken as up.
        (S, _) => SERVER_STATES.iter().find(known).copied().unwrap_or("UP"),
    }
}

fn responses(text: &mut Text, prefix: &str, rows: &[&Row]) {
    let name = format!("{prefix}http_responses_total");
    let mut metric = text.metric(&name, Counter, "Responses by class.");
    for row in rows.iter().filter(|row| is_http(row)) {
        for (code, column) in RESPONSES {
            if let Cell::Number(count) = row.cell(column) {
                let mut labels = labels(row);
                labels.push(("code", code));
                metric.sample(&labels, *count as f64);
            }
        }
    }
}

fn longest(text: &mut Text, prefix: &str, rows: &[&Row]) {
    for (name, step) in LONGEST {
        let name = format!("{prefix}{name}");
        let mut metric = text.metric(&name, Gauge, "The most that this step of an exchange took.");
        for row in rows {
            let longest = row.longest.map(|longest| step(longest) as f64 / 1e3);
            // As of its average: nothing is measured where no frontend has statistics, and then nobody asks.
            sample(&mut metric, row, longest.unwrap_or(f64::NAN));
        }
    }
}

fn frontends(text: &mut Text, found: &Found<'_>, rows: &[Row]) {
    let counters = [
        (
            "haproxy_frontend_denied_connections_total",
            "Connections that were refused because of their source.",
            &["source_connection_refusals_total", "source_rate_refusals_total"][..],
        ),
        (
            "haproxy_frontend_failed_header_rewriting_total",
            "Responses that rules made too large.",
            &["failed_rewrites_total"],
        ),
    ];
    for (name, help, names) in counters {
        let mut metric = text.metric(name, Counter, help);
        for row in rows.iter().filter(|row| row.kind == F) {
            let Some(one) = found.frontends.get(word(row, C::Pxname)) else { continue };
            let count = names.iter().filter_map(|name| one.counters.get(*name)).sum::<u64>();
            sample(&mut metric, row, count as f64);
        }
    }
}

fn backends(text: &mut Text, found: &Found<'_>, rows: &[Row]) {
    let of_backends = || rows.iter().filter(|row| row.kind == B);
    let of_servers = |backend: &Row| {
        let name = word(backend, C::Pxname).to_owned();
        rows.iter().filter(move |row| row.kind == S && word(row, C::Pxname) == name)
    };
    let help = "Weights of the servers that take new requests, without slow starts.";
    let mut weight = text.metric("haproxy_backend_uweight", Gauge, help);
    for row in of_backends() {
        let Some(one) = found.backends.get(word(row, C::Pxname)) else { continue };
        let in_use = one.servers.iter().filter(|server| server.statistics.is_in_use);
        let sum: u32 = in_use.map(|server| u32::from(server.weight)).sum();
        sample(&mut weight, row, sum.into());
    }
    // HAProxy has the same under two names.
    for name in ["haproxy_backend_agg_server_status", "haproxy_backend_agg_server_check_status"] {
        let mut metric = text.metric(name, Gauge, "Servers by how they are.");
        for row in of_backends() {
            let states: Vec<_> = of_servers(row).map(state).collect();
            aggregate(&mut metric, row, &SERVER_STATES, &states);
        }
    }
    let mut metric =
        text.metric("haproxy_backend_agg_check_status", Gauge, "Servers by how their last check ended.");
    for row in of_backends() {
        let codes: Vec<_> = of_servers(row).map(|server| word(server, C::CheckStatus)).collect();
        aggregate(&mut metric, row, &CHECK_STATES, &codes);
    }
}

fn aggregate(metric: &mut Metric<'_>, row: &Row, states: &[&str], found: &[&str]) {
    for state in states {
        let count = found.iter().filter(|one| *one == state).count();
        let mut labels = labels(row);
        labels.push(("state", state));
        metric.sample(&labels, count as f64);
    }
}

fn servers(text: &mut Text, found: &Found<'_>, rows: &[Row]) {
    let of_servers = || rows.iter().filter(|row| row.kind == S);
    let checked = || of_servers().filter(|row| *row.cell(C::CheckStatus) != Cell::Empty);
    let mut metric = text.metric("haproxy_server_check_status", Gauge, "1 for how the last check ended.");
    for row in checked() {
        metric.states(&labels(row), &CHECK_STATES, Some(word(row, C::CheckStatus)));
    }
    let code = help(C::CheckCode);
    let mut metric = text.metric("haproxy_server_check_code", Gauge, &code);
    for row in checked() {
        let code = match row.cell(C::CheckCode) {
            Cell::Number(code) => *code as f64,
            // Where the row has none the exporter has this.
            Cell::Empty | Cell::Text(_) => 0.0,
        };
        sample(&mut metric, row, code);
    }
    let mut metric =
        text.metric("haproxy_server_check_duration_seconds", Gauge, "How long the last check took.");
    for row in checked() {
        if let Cell::Number(milliseconds) = row.cell(C::CheckDuration) {
            sample(&mut metric, row, *milliseconds as f64 / 1e3);
        }
    }
    let mut metric = text.metric("haproxy_server_uweight", Gauge, "Its weight, without a slow start.");
    for row in of_servers() {
        if let Some(server) = server(found, row) {
            sample(&mut metric, row, server.weight.into());
        }
    }
}

fn server<'s>(found: &Found<'s>, row: &Row) -> Option<&'s Server> {
    let backend = found.backends.get(word(row, C::Pxname))?;
    backend.servers.iter().find(|server| server.name == word(row, C::Svname))
}

fn sample(metric: &mut Metric<'_>, row: &Row, value: f64) {
    metric.sample(&labels(row), value);
}

fn labels(row: &Row) -> Vec<(&str, &str)> {
    let mut labels = vec![("proxy", word(row, C::Pxname))];
    if row.kind == S {
        labels.push(("server", word(row, C::Svname)));
    }
    labels
}

fn word(row: &Row, column: Column) -> &str {
    match row.cell(column) {
        Cell::Text(word) => word,
        Cell::Empty | Cell::Number(_) => "",
    }
}

/// Rows of mode tcp have no responses.
fn is_http(row: &Row) -> bool {
    *row.cell(C::Hrsp2xx) != Cell::Empty
}
