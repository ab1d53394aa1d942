//! How servers are checked, as TOML.

use std::ops::RangeInclusive;

use lb_proxy::config::{
    AgentCheck, Backend, Check, CheckKind, HttpCheck, HttpExpect, HttpVersion, Layer, Observe, OnError,
    OwnCheck, Pace, Pattern, SequenceStep, SmtpGreeting,
};

use super::{append, line, list, quoted, time};

/// All of it but readiness.
pub(super) fn backend(out: &mut String, backend: &Backend) {
    match &backend.check {
        None => line(out, "check", false),
        Some(check) => write_check(out, check),
    }
    if let Some(agent) = &backend.agent {
        write_agent(out, agent);
    }
    if let Some(observe) = &backend.observe {
        write_observe(out, observe);
    }
    let sessions = if backend.cut_when_down { "shutdown-sessions" } else { "keep-sessions" };
    line(out, "on_marked_down", quoted(sessions));
}

fn write_check(out: &mut String, check: &Check) {
    match &check.kind {
        CheckKind::Tcp => line(out, "check.tcp", true),
        CheckKind::Http(http) => line(out, "check.http", write_http(http)),
        CheckKind::Mysql { user: None } => line(out, "check.mysql", "{}"),
        CheckKind::Mysql { user: Some(user) } => {
            line(out, "check.mysql", format!("{{ user = {} }}", quoted(user)));
        }
        CheckKind::Smtp { greeting, domain } => {
            let greeting = match greeting {
                SmtpGreeting::Helo => "HELO",
                SmtpGreeting::Ehlo => "EHLO",
            };
            let table = format!("{{ greeting = {}, domain = {} }}", quoted(greeting), quoted(domain));
            line(out, "check.smtp", table);
        }
        CheckKind::Pgsql { user } => line(out, "check.pgsql", format!("{{ user = {} }}", quoted(user))),
        CheckKind::Redis => line(out, "check.redis", true),
        CheckKind::Sequence(steps) => line(out, "check.sequence", list(steps.iter().map(step))),
    }
    if let Some(address) = check.at.address {
        line(out, "check.address", quoted(&address.to_string()));
    }
    if let Some(port) = check.at.port {
        line(out, "check.port", port);
    }
    line(out, "check.interval", time(check.pace.interval));
    line(out, "check.fast_interval", time(check.pace.fast));
    line(out, "check.down_interval", time(check.pace.down));
    line(out, "check.timeout", time(check.timeout));
    line(out, "check.rise", check.rise);
    line(out, "check.fall", check.fall);
    if matches!(check.kind, CheckKind::Http(_)) {
        line(out, "check.disable_on_404", check.disable_on_404);
    }
}

fn write_http(http: &HttpCheck) -> String {
    let version = match http.version {
        HttpVersion::Http10 => "HTTP/1.0",
        HttpVersion::Http11 => "HTTP/1.1",
    };
    let mut keys = vec![
        format!("method = {}", quoted(&http.method)),
        format!("path = {}", quoted(&http.path)),
        format!("version = {}", quoted(version)),
    ];
    keys.extend(http.host.as_ref().map(|host| format!("host = {}", quoted(host))));
    if !http.headers.is_empty() {
        let headers =
            http.headers.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)));
        keys.push(format!("headers = {{ {} }}", headers.collect::<Vec<_>>().join(", ")));
    }
    keys.extend(http.body.as_ref().map(|body| format!("body = {}", quoted(body))));
    keys.extend(expect(&http.expect).map(|table| format!("expect = {table}")));
    keys.extend(expect(&http.refuse).map(|table| format!("expect_not = {table}")));
    format!("{{ {} }}", keys.join(", "))
}

fn expect(expect: &HttpExpect) -> Option<String> {
    let mut keys = Vec::new();
    if !expect.status.is_empty() {
        let status = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
            (low, high) if low == high => low.to_string(),
            (low, high) => quoted(&format!("{low}-{high}")),
        };
        keys.push(format!("status = {}", list(expect.status.iter().map(status))));
    }
    keys.extend(expect.content.as_ref().map(|pattern| match pattern {
        Pattern::Bytes(bytes) | Pattern::Binary(bytes) => {
            format!("string = {}", quoted(&String::from_utf8_lossy(bytes)))
        }
        Pattern::Regex(regex) => format!("regex = {}", quoted(regex.as_str())),
    }));
    (!keys.is_empty()).then(|| format!("{{ {} }}", keys.join(", ")))
}

fn step(step: &SequenceStep) -> String {
    let (key, pattern) = match step {
        SequenceStep::Connect => return "{ connect = true }".to_owned(),
        SequenceStep::Send(bytes) => return bytes_of("send", bytes),
        SequenceStep::Expect(pattern) => ("expect", pattern),
        SequenceStep::Refuse(pattern) => ("expect_not", pattern),
    };
    match pattern {
        Pattern::Bytes(bytes) => bytes_of(key, bytes),
        Pattern::Binary(bytes) => hex_of(key, bytes),
        Pattern::Regex(regex) => format!("{{ {key}_regex = {} }}", quoted(regex.as_str())),
    }
}

/// As text where it is text.
fn bytes_of(key: &str, bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{{ {key} = {} }}", quoted(text)),
        Err(_) => hex_of(key, bytes),
    }
}

fn hex_of(key: &str, bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{{ {key}_hex = {} }}", quoted(&digits))
}

fn write_agent(out: &mut String, agent: &AgentCheck) {
    if let Some(address) = agent.address {
        line(out, "agent_check.address", quoted(&address.to_string()));
    }
    line(out, "agent_check.port", agent.port);
    line(out, "agent_check.interval", time(agent.interval));
    if !agent.send.is_empty() {
        line(out, "agent_check.send", quoted(&String::from_utf8_lossy(&agent.send)));
    }
}

fn write_observe(out: &mut String, observe: &Observe) {
    let layer = match observe.layer {
        Layer::Layer4 => "layer4",
        Layer::Layer7 => "layer7",
    };
    let on_error = match observe.on_error {
        OnError::FastInter => "fastinter",
        OnError::FailCheck => "fail-check",
        OnError::SuddenDeath => "sudden-death",
        OnError::MarkDown => "mark-down",
    };
    line(out, "observe.layer", quoted(layer));
    line(out, "observe.error_limit", observe.error_limit);
    line(out, "observe.on_error", quoted(on_error));
}

/// What a server has otherwise, behind other keys of its table.
pub(super) fn own(own: &OwnCheck) -> String {
    let mut text = String::new();
    if let Some(Pace { interval, fast, down }) = own.pace {
        let keys = [("interval", interval), ("fast_interval", fast), ("down_interval", down)];
        for (key, value) in keys {
            append(&mut text, format_args!(", check_{key} = {}", time(value)));
        }
    }
    for (key, value) in [("rise", own.rise), ("fall", own.fall)] {
        if let Some(value) = value {
            append(&mut text, format_args!(", check_{key} = {value}"));
        }
    }
    text
}
