//! Where logs go, and what frontends say of their traffic.

use lb_proxy::config::{Capture, CapturedHeader, Frontend, LogDestination, LogFormat, LogTarget, Severity};

use super::{line, list, quoted};
use crate::config::raw::LOG_WIRES;

pub(super) fn targets(out: &mut String, targets: &[LogTarget]) {
    if targets.is_empty() {
        line(out, "log", false);
    } else {
        line(out, "log", list(targets.iter().map(target)));
    }
}

pub(super) fn traffic(out: &mut String, frontend: &Frontend) {
    let log = &frontend.log;
    targets(out, &log.targets);
    if log.targets.is_empty() {
        return;
    }
    let format = match &log.format {
        LogFormat::Http => "httplog",
        LogFormat::Tcp => "tcplog",
        LogFormat::Clf => "clf",
        LogFormat::Json => "json",
        LogFormat::Template(template) => template.source(),
    };
    line(out, "log_format", quoted(format));
    line(out, "log_asap", log.asap);
    line(out, "dontlog_normal", log.dontlog_normal);
    line(out, "log_separate_errors", log.separate_errors);
    if log.capture != Capture::default() {
        line(out, "capture", capture(&log.capture));
    }
}

fn capture(capture: &Capture) -> String {
    let header = |header: &CapturedHeader| {
        format!("{{ name = {}, length = {} }}", quoted(&header.name), header.length)
    };
    let headers = |key: &str, headers: &[CapturedHeader]| {
        (!headers.is_empty()).then(|| format!("{key} = {}", list(headers.iter().map(header))))
    };
    let cookie = capture.cookie.as_ref().map(|cookie| {
        let key = if cookie.is_prefix { "prefix" } else { "name" };
        format!("cookie = {{ {key} = {}, length = {} }}", quoted(&cookie.name), cookie.length)
    });
    let parts = [
        headers("request_headers", &capture.request_headers),
        headers("response_headers", &capture.response_headers),
        cookie,
    ];
    format!("{{ {} }}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn target(target: &LogTarget) -> String {
    let to = match &target.to {
        LogDestination::Udp(address) => format!("syslog = {}", quoted(&address.to_string())),
        LogDestination::UdpName { host, port } => format!("syslog = {}", quoted(&format!("{host}:{port}"))),
        LogDestination::Unix(path) => format!("syslog = {}", quoted(&path.to_string_lossy())),
        LogDestination::File(path) => format!("file = {}", quoted(&path.to_string_lossy())),
        LogDestination::Stdout => "stdout = true".to_owned(),
        LogDestination::Stderr => "stderr = true".to_owned(),
    };
    let wire = LOG_WIRES.iter().find(|(_, wire)| *wire == target.wire);
    let level = |level| Severity::ALL.iter().find(|(_, known)| *known == level).map_or("", |(name, _)| name);
    let sample = target.sample.as_ref().map(|sample| {
        let ranges: Vec<_> = sample
            .ranges
            .iter()
            .map(|range| match (range.start(), range.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            })
            .collect();
        format!(", sample = {}", quoted(&format!("{}:{}", ranges.join(","), sample.of)))
    });
    format!(
        "{{ {to}, format = {}, facility = {}, level = {}, min_level = {}, length = {}, tag = {}{}{} }}",
        quoted(wire.map_or("", |(name, _)| name)),
        quoted(&target.facility.to_string()),
        quoted(level(target.level)),
        quoted(level(target.min_level)),
        target.length,
        quoted(&target.tag),
        target.hostname.as_ref().map(|name| format!(", hostname = {}", quoted(name))).unwrap_or_default(),
        sample.unwrap_or_default()
    )
}
