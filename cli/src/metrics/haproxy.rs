//! Metrics under the names and labels of the exporter that HAProxy 2.6 has built in, from the rows of the statistics.
//!
//! A test compares with the installed HAProxy; what it has and we have not is told, with the reason, in `docs/metrics.md`.

mod proxies;

use super::{
    Process,
    text::{Kind, Text},
};
use crate::{
    control::{Frontend, Phase, Status},
    statistics::rows,
};

/// Of a table's name, `backend app, stick`.
const STICK: [&str; 2] = ["backend ", ", stick"];

pub(super) fn write(text: &mut Text, status: &Status, process: &Process) {
    self::process(text, status, process);
    proxies::write(text, status, &rows(status));
    sticktables(text, status);
}

fn process(text: &mut Text, status: &Status, process: &Process) {
    let sum = |of: fn(&Frontend) -> u64| status.frontends.iter().map(of).sum::<u64>() as f64;
    let event =
        |name: &str| status.frontends.iter().filter_map(|one| one.counters.get(name)).sum::<u64>() as f64;
    let (shaken, resumed) = (event("tls_handshakes_total"), event("tls_resumptions_total"));
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        text.gauge(&format!("haproxy_process_{name}"), help, value);
    };
    gauge("nbthread", "Threads that serve clients.", Some(status.delays.len() as f64));
    gauge("nbproc", "Always 1.", Some(1.0));
    gauge("relative_process_id", "Always 1.", Some(1.0));
    let uptime = status.at.saturating_since(status.started).as_secs() as f64;
    gauge("uptime_seconds", "How long the daemon has run.", Some(uptime));
    gauge("max_fds", "The most file descriptors that may be open.", process.max_fds.map(|fds| fds as f64));
    gauge("max_connections", "maxconn.", Some(status.maxconn as f64));
    gauge("current_connections", "Connections of clients.", Some(status.connections as f64));
    gauge(
        "current_connection_rate",
        "Connections in the last second.",
        Some(sum(|one| one.statistics.connection_rate.now)),
    );
    let is_stopping = matches!(status.phase, Phase::Stopping { .. });
    gauge("stopping", "1 while it stops.", Some(f64::from(u8::from(is_stopping))));
    let bound = |one: &Frontend| one.binds.iter().filter(|bind| bind.error.is_none()).count() as u64;
    gauge("listeners", "Addresses that it listens at.", Some(sum(bound)));
    let reuse = if shaken > 0.0 { (100.0 * resumed / shaken).floor() } else { 0.0 };
    gauge(
        "frontend_ssl_reuse",
        "Percent of the handshakes with clients that went on from a session.",
        Some(reuse),
    );
    gauge("start_time_seconds", "When it started, since 1970.", Some(status.started.unix_seconds().floor()));
    let mut counter = |name: &str, help: &str, value: f64| {
        text.counter(&format!("haproxy_process_{name}"), help, value);
    };
    counter("connections_total", "Connections of clients.", sum(|one| one.connections_total));
    let requests = |one: &Frontend| if one.mode == "http" { one.requests_total } else { 0 };
    counter("requests_total", "Requests.", sum(requests));
    let of_servers = status.backends.iter().map(|one| one.statistics.traffic.tls);
    let to_servers: u64 = of_servers.map(|tls| tls.completed + tls.failed).sum();
    let of_clients = shaken + event("tls_handshake_failures_total");
    counter(
        "ssl_connections_total",
        "Handshakes of TLS with clients and servers.",
        of_clients + to_servers as f64,
    );
    let lost = status.logs.iter().map(|log| log.lost_total).sum::<u64>();
    counter("dropped_logs_total", "Lines of logs that were lost.", lost as f64);
    counter("bytes_out_total", "Bytes to clients.", sum(|one| one.bytes_out));
    let mut info = text.metric("haproxy_process_build_info", Kind::Gauge, "Always 1; the version of lbctl.");
    info.sample(&[("version", &status.version)], 1.0);
}

fn sticktables(text: &mut Text, status: &Status) {
    let named = || {
        status.tables.iter().filter_map(|table| {
            let name = table.name.strip_prefix(STICK[0])?.strip_suffix(STICK[1])?;
            Some((table, [("name", name), ("type", "ip")]))
        })
    };
    let mut size = text.metric("haproxy_sticktable_size", Kind::Gauge, "The most that it holds.");
    named().for_each(|(table, labels)| size.sample(&labels, table.size as f64));
    let mut used = text.metric("haproxy_sticktable_used", Kind::Gauge, "Entries in it.");
    named().for_each(|(table, labels)| used.sample(&labels, table.entries as f64));
}
