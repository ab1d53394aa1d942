//! Frontends, backends and servers: a table each, and what has more than one number.

use lb_proxy::metrics::Event;

use super::{flag, number};
use crate::{
    control::{
        Backend, Certificate, Check, Compressed, Frontend, Server, ServerState, StepTimes, Steps, Traffic,
    },
    metrics::text::{Kind, Metric, Text, seconds},
};

/// A metric with one sample for each thing: its name, what it is, and its value, if there is one.
struct Field<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&T) -> Option<f64>,
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Field<T> {
    Field { name, kind: Kind::Gauge, help, value }
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Field<T> {
    Field { name, kind: Kind::Counter, help, value }
}

const FRONTEND: &[Field<Frontend>] = &[
    gauge("lbctl_frontend_up", "1 while it listens at all its addresses.", |one| {
        Some(flag(one.binds.iter().all(|bind| bind.error.is_none())))
    }),
    gauge(
        "lbctl_frontend_paused",
        "1 while it takes no new connections, by lbctl frontend or a signal.",
        |one| Some(flag(one.paused.is_some())),
    ),
    gauge("lbctl_frontend_connections", "Connections that are open.", |one| Some(number(one.connections))),
    gauge("lbctl_frontend_connections_peak", "The most that were open at a time.", |one| {
        Some(number(one.statistics.connections_peak))
    }),
    gauge("lbctl_frontend_connections_limit", "The most that may be open.", |one| Some(number(one.maxconn))),
    gauge("lbctl_frontend_full", "1 while clients wait because as many are open as may be.", |one| {
        Some(flag(one.full_since.is_some()))
    }),
    counter("lbctl_frontend_connections_total", "Connections that were accepted.", |one| {
        Some(number(one.connections_total))
    }),
    counter("lbctl_frontend_requests_total", "Requests; in mode tcp connections.", |one| {
        Some(number(one.requests_total))
    }),
    counter(
        "lbctl_frontend_request_errors_total",
        "Requests that came to nothing by their own fault: not valid, not whole in time, broken off.",
        |one| Some(number(one.statistics.request_errors)),
    ),
    counter("lbctl_frontend_received_bytes_total", "Bytes from clients.", |one| Some(number(one.bytes_in))),
    counter("lbctl_frontend_sent_bytes_total", "Bytes to clients.", |one| Some(number(one.bytes_out))),
    counter("lbctl_frontend_compressed_responses_total", "Responses that were compressed.", |one| {
        compressed(one, |compressed| compressed.responses)
    }),
    counter("lbctl_frontend_compression_input_bytes_total", "Bytes of content before compression.", |one| {
        compressed(one, |compressed| compressed.bytes_in)
    }),
    counter("lbctl_frontend_compression_output_bytes_total", "Bytes of content after compression.", |one| {
        compressed(one, |compressed| compressed.bytes_out)
    }),
    counter(
        "lbctl_frontend_compression_bypassed_bytes_total",
        "Bytes of content that were passed on as they are because compression had no time.",
        |one| compressed(one, |compressed| compressed.bytes_bypassed),
    ),
];

const BACKEND: &[Field<Backend>] = &[
    gauge("lbctl_backend_up", "1 while it has a usable server.", |one| {
        Some(flag(!one.statistics.outage.is_down))
    }),
    gauge("lbctl_backend_servers", "Its servers.", |one| Some(number(one.servers.len() as u64))),
    gauge("lbctl_backend_servers_usable", "Servers that a new client can be given to.", |one| {
        Some(number(one.servers.iter().filter(|server| server.is_usable()).count() as u64))
    }),
    gauge("lbctl_backend_sessions", "Requests at its servers and in line; in mode tcp connections.", |one| {
        traffic_of(one, |traffic| traffic.current)
    }),
    gauge("lbctl_backend_sessions_peak", "The most at a time.", |one| {
        traffic_of(one, |traffic| traffic.peak)
    }),
    gauge(
        "lbctl_backend_queued",
        "Requests that wait for a slot of a full server, of any or of one.",
        |one| Some(number(one.queued)),
    ),
    gauge("lbctl_backend_queued_peak", "The most that waited for any server.", |one| {
        traffic_of(one, |traffic| traffic.queued_peak)
    }),
    counter("lbctl_backend_sessions_total", "Requests that came to it; in mode tcp connections.", |one| {
        traffic_of(one, |traffic| traffic.sessions_total)
    }),
    counter("lbctl_backend_received_bytes_total", "Bytes from clients.", |one| {
        traffic_of(one, |traffic| traffic.bytes_in)
    }),
    counter("lbctl_backend_sent_bytes_total", "Bytes to clients.", |one| {
        traffic_of(one, |traffic| traffic.bytes_out)
    }),
    counter(
        "lbctl_backend_connect_failures_total",
        "Requests that were given up because no server could be connected to, or none was free in time.",
        |one| traffic_of(one, |traffic| traffic.connect_failures),
    ),
    counter("lbctl_backend_retries_total", "Further attempts to connect to the same server.", |one| {
        traffic_of(one, |traffic| traffic.retries)
    }),
    counter("lbctl_backend_redispatches_total", "Further attempts to connect to another server.", |one| {
        traffic_of(one, |traffic| traffic.redispatches)
    }),
    counter(
        "lbctl_backend_response_errors_total",
        "Responses that did not come, not in time, not whole, or were not valid.",
        |one| traffic_of(one, |traffic| traffic.response_errors),
    ),
    counter(
        "lbctl_backend_server_aborts_total",
        "Exchanges that the server broke off or stood still in after its response had begun.",
        |one| traffic_of(one, |traffic| traffic.server_aborts),
    ),
    counter("lbctl_backend_client_aborts_total", "Exchanges that the client ended.", |one| {
        traffic_of(one, |traffic| traffic.client_aborts)
    }),
    counter("lbctl_backend_denied_requests_total", "Requests that its rules refused.", |one| {
        traffic_of(one, |traffic| traffic.denied_requests)
    }),
    counter("lbctl_backend_denied_responses_total", "Responses that a rule refused.", |one| {
        traffic_of(one, |traffic| traffic.denied_responses)
    }),
    counter("lbctl_backend_outages_total", "How often it lost its last usable server.", |one| {
        Some(number(one.statistics.outage.count))
    }),
    counter("lbctl_backend_outage_seconds_total", "How long it had no usable server in all.", |one| {
        Some(number(one.statistics.outage.total_seconds))
    }),
];

const SERVER: &[Field<Server>] = &[
    gauge("lbctl_server_up", "1 while a new client can be given to it.", |one| Some(flag(one.is_usable()))),
    gauge("lbctl_server_backup", "1 if it is used only when no other is usable.", |one| {
        Some(flag(one.backup))
    }),
    gauge("lbctl_server_weight", "Its weight, as the file, its agent or an operator has it.", |one| {
        Some(one.weight.into())
    }),
    gauge(
        "lbctl_server_share_ratio",
        "The part of its weight that it gets: less than 1 in its slow start.",
        |one| Some(f64::from(one.share) / 100.0),
    ),
    gauge("lbctl_server_sessions", "Requests in flight; in mode tcp connections.", |one| {
        Some(number(one.in_flight))
    }),
    gauge("lbctl_server_sessions_peak", "The most at a time.", |one| traffic_at(one, |traffic| traffic.peak)),
    gauge("lbctl_server_sessions_limit", "The most that it may have; absent without maxconn.", |one| {
        one.maxconn.map(f64::from)
    }),
    gauge("lbctl_server_queued", "Requests that wait for this server alone.", |one| Some(number(one.queued))),
    gauge("lbctl_server_queued_peak", "The most that waited for it.", |one| {
        traffic_at(one, |traffic| traffic.queued_peak)
    }),
    counter(
        "lbctl_server_sessions_total",
        "Attempts to give it a request; in mode tcp a connection.",
        |one| traffic_at(one, |traffic| traffic.sessions_total),
    ),
    counter("lbctl_server_requests_total", "Requests that it was given; in mode tcp connections.", |one| {
        Some(number(one.requests_total))
    }),
    counter("lbctl_server_balanced_total", "How often the balance chose it.", |one| {
        traffic_at(one, |traffic| traffic.balanced_total)
    }),
    counter("lbctl_server_received_bytes_total", "Bytes from clients.", |one| {
        traffic_at(one, |traffic| traffic.bytes_in)
    }),
    counter("lbctl_server_sent_bytes_total", "Bytes to clients.", |one| {
        traffic_at(one, |traffic| traffic.bytes_out)
    }),
    counter("lbctl_server_connect_errors_total", "Attempts to connect that failed.", |one| {
        Some(number(one.connect_errors))
    }),
    counter(
        "lbctl_server_connect_failures_total",
        "Requests that were given up because no attempt to connect was successful.",
        |one| traffic_at(one, |traffic| traffic.connect_failures),
    ),
    counter("lbctl_server_retries_total", "Further attempts to connect to it.", |one| {
        traffic_at(one, |traffic| traffic.retries)
    }),
    counter(
        "lbctl_server_redispatches_total",
        "Attempts on another server after one on this failed.",
        |one| traffic_at(one, |traffic| traffic.redispatches),
    ),
    counter(
        "lbctl_server_response_errors_total",
        "Responses that did not come, not in time, not whole, or were not valid.",
        |one| traffic_at(one, |traffic| traffic.response_errors),
    ),
    counter(
        "lbctl_server_server_aborts_total",
        "Exchanges that the server broke off or stood still in after its response had begun.",
        |one| traffic_at(one, |traffic| traffic.server_aborts),
    ),
    counter("lbctl_server_client_aborts_total", "Exchanges that the client ended.", |one| {
        traffic_at(one, |traffic| traffic.client_aborts)
    }),
    counter(
        "lbctl_server_tls_handshakes_total",
        "Handshakes of TLS with it that were completed, without those of checks.",
        |one| traffic_at(one, |traffic| traffic.tls.completed),
    ),
    counter(
        "lbctl_server_tls_resumptions_total",
        "Of the handshakes with it, those that went on from an earlier session.",
        |one| traffic_at(one, |traffic| traffic.tls.resumed),
    ),
    counter(
        "lbctl_server_tls_handshake_failures_total",
        "Handshakes of TLS with it that failed or took too long; the attempt to connect has failed then.",
        |one| traffic_at(one, |traffic| traffic.tls.failed),
    ),
    counter("lbctl_server_denied_responses_total", "Responses that a rule refused.", |one| {
        traffic_at(one, |traffic| traffic.denied_responses)
    }),
    gauge(
        "lbctl_server_resolves",
        "1 while its name resolves; a last good answer is used all the same.",
        |one| Some(flag(one.name_problem.is_none())),
    ),
    gauge("lbctl_server_check_passed", "1 if the last check passed; absent before the first one.", |one| {
        check(one, |check| flag(check.passed))
    }),
    gauge("lbctl_server_check_duration_seconds", "How long the last check took.", |one| {
        check(one, |check| number(check.microseconds) / 1e6)
    }),
    gauge(
        "lbctl_server_last_check_timestamp_seconds",
        "When the last check ended, in seconds since 1970.",
        |one| check(one, |check| check.at.unix_seconds()),
    ),
    counter(
        "lbctl_server_check_failures_total",
        "Failed checks, without those of a server that was down.",
        |one| one.statistics.is_checked.then(|| number(one.statistics.failed_checks)),
    ),
    counter("lbctl_server_outages_total", "How often it went down.", |one| {
        Some(number(one.statistics.outage.count))
    }),
    counter("lbctl_server_outage_seconds_total", "How long it was down in all.", |one| {
        Some(number(one.statistics.outage.total_seconds))
    }),
];

/// Its milliseconds.
type Step = fn(Steps) -> u64;

/// The steps of exchanges, each with its name.
const STEPS: [(&str, &str, Step); 4] = [
    (
        "lbctl_server_queue_seconds",
        "Time in line, and in attempts to connect but the last, of exchanges that it answered (tcp: was connected for).",
        |steps| steps.queue,
    ),
    ("lbctl_server_connect_seconds", "Time until it was connected, of the same.", |steps| steps.connect),
    (
        "lbctl_server_response_seconds",
        "Time until the head of its response was whole, of the same.",
        |steps| steps.response,
    ),
    ("lbctl_server_total_seconds", "All the time that they took.", |steps| steps.total),
];

/// As `--json` has them.
const STATES: [&str; 8] =
    ["up", "down", "agent_down", "drain", "maintenance", "no_balance", "no_check", "unchecked"];

pub(super) fn frontends(text: &mut Text, frontends: &[Frontend]) {
    for Field { name, kind, help, value } in FRONTEND {
        let mut metric = text.metric(name, *kind, help);
        for one in frontends {
            sample_if(value(one), |value| metric.sample(&[("frontend", &one.name)], value));
        }
    }
    let help = "Responses by class.";
    let mut metric = text.metric("lbctl_frontend_responses_total", Kind::Counter, help);
    for one in frontends.iter().filter(|one| one.mode == "http") {
        metric.responses(&[("frontend", &one.name)], &one.responses);
    }
    for event in Event::ALL {
        // What is said of the frontend need not say so.
        let name = event.name().trim_start_matches("frontend_");
        let name = format!("lbctl_frontend_{name}");
        let mut metric = text.metric(&name, Kind::Counter, event.help());
        for one in frontends {
            let count = one.counters.get(event.name()).copied();
            sample_if(count, |count| metric.sample(&[("frontend", &one.name)], number(count)));
        }
    }
    let help =
        "When a certificate that it shows expires, or one of its chain before it, in seconds since 1970.";
    let mut metric = text.metric("lbctl_frontend_certificate_expires_timestamp_seconds", Kind::Gauge, help);
    for one in frontends {
        ends(&mut metric, ("frontend", &one.name), &one.certificates);
    }
    let help = "Failed attempts to listen at an address.";
    let mut metric = text.metric("lbctl_frontend_bind_errors_total", Kind::Counter, help);
    for one in frontends {
        let count = one.counters.get("bind_errors_total").copied().unwrap_or(0);
        metric.sample(&[("frontend", &one.name)], number(count));
    }
}

fn ends(metric: &mut Metric<'_>, of: (&str, &str), certificates: &[Certificate]) {
    for certificate in certificates {
        metric.sample(&[of, ("file", &certificate.file)], certificate.end().unix_seconds());
    }
}

pub(super) fn backends(text: &mut Text, backends: &[Backend]) {
    for Field { name, kind, help, value } in BACKEND {
        let mut metric = text.metric(name, *kind, help);
        for one in backends {
            sample_if(value(one), |value| metric.sample(&[("backend", &one.name)], value));
        }
    }
    let help = "When a certificate that its servers are shown expires, or one of its chain before it, in seconds since 1970.";
    let mut metric = text.metric("lbctl_backend_certificate_expires_timestamp_seconds", Kind::Gauge, help);
    for one in backends {
        ends(&mut metric, ("backend", &one.name), &one.certificates);
    }
    let help = "Responses to clients by class.";
    let mut metric = text.metric("lbctl_backend_responses_total", Kind::Counter, help);
    for one in backends.iter().filter(|one| one.statistics.mode == "http") {
        metric.responses(&[("backend", &one.name)], &one.statistics.traffic.responses);
    }
    let help = "How long exchanges took that a server answered, from the first byte of the request to the last of the \
                response; in mode tcp connections.";
    let mut metric = text.metric("lbctl_backend_request_duration_seconds", Kind::Histogram, help);
    for one in backends {
        if let Some(totals) = &one.statistics.totals {
            metric.histogram(&[("backend", &one.name)], totals);
        }
    }
}

pub(super) fn servers(text: &mut Text, backends: &[Backend]) {
    let servers = || backends.iter().flat_map(|one| one.servers.iter().map(move |server| (one, server)));
    for Field { name, kind, help, value } in SERVER {
        let mut metric = text.metric(name, *kind, help);
        for (backend, server) in servers() {
            sample_if(value(server), |value| metric.sample(&labels(backend, server), value));
        }
    }
    let help = "1 for how it is, as lbctl status --json says it.";
    let mut metric = text.metric("lbctl_server_state", Kind::Gauge, help);
    for (backend, server) in servers() {
        metric.states(&labels(backend, server), &STATES, Some(state(server.state)));
    }
    let help = "1 for how its last check ended, in HAProxy's words.";
    let mut metric = text.metric("lbctl_server_check_info", Kind::Gauge, help);
    for (backend, server) in servers() {
        if let Some(check) = &server.last_check {
            let [backend, server] = labels(backend, server);
            metric.sample(&[backend, server, ("code", &check.code)], 1.0);
        }
    }
    let help = "Its responses by class, whatever became of them.";
    let mut metric = text.metric("lbctl_server_responses_total", Kind::Counter, help);
    for (backend, server) in servers().filter(|(backend, _)| backend.statistics.mode == "http") {
        metric.responses(&labels(backend, server), &server.statistics.traffic.responses);
    }
    for (name, help, step) in STEPS {
        let mut metric = text.metric(name, Kind::Summary, help);
        for (backend, server) in servers() {
            if let Some(StepTimes { count, sum, .. }) = server.statistics.traffic.times {
                metric.summary(&labels(backend, server), seconds(step(sum)), count);
            }
        }
    }
}

fn sample_if<T>(value: Option<T>, sample: impl FnOnce(T)) {
    if let Some(value) = value {
        sample(value);
    }
}

fn labels<'l>(backend: &'l Backend, server: &'l Server) -> [(&'l str, &'l str); 2] {
    [("backend", &backend.name), ("server", &server.name)]
}

fn compressed(one: &Frontend, value: fn(&Compressed) -> u64) -> Option<f64> {
    (one.mode == "http").then(|| number(value(&one.statistics.compressed)))
}

fn traffic_of(one: &Backend, value: fn(&Traffic) -> u64) -> Option<f64> {
    Some(number(value(&one.statistics.traffic)))
}

fn traffic_at(one: &Server, value: fn(&Traffic) -> u64) -> Option<f64> {
    Some(number(value(&one.statistics.traffic)))
}

fn check(one: &Server, value: fn(&Check) -> f64) -> Option<f64> {
    one.last_check.as_ref().map(value)
}

fn state(state: ServerState) -> &'static str {
    match state {
        ServerState::Up => "up",
        ServerState::Down => "down",
        ServerState::AgentDown => "agent_down",
        ServerState::Drain => "drain",
        ServerState::Maintenance => "maintenance",
        ServerState::NoBalance => "no_balance",
        ServerState::NoCheck => "no_check",
        ServerState::Unchecked => "unchecked",
    }
}
