//! What else is learned of servers, and what follows from their going down: `agent_check`, `observe`, `on_marked_down`.

use std::{net::IpAddr, time::Duration};

use lb_proxy::config::{Layer, Observe, OnError};

use super::check;
use crate::config::reader::{At, Fields, Value};

/// The keys, for hints.
pub(super) const KEYS: [&str; 3] = ["agent_check", "observe", "on_marked_down"];

/// Of a backend.
#[derive(Debug, Default)]
pub(crate) struct Watching {
    pub(crate) agent_check: Option<At<Agent>>,
    pub(crate) observe: Option<At<Observing>>,
    pub(crate) on_marked_down: Option<At<OnMarkedDown>>,
}

/// `agent_check`.
#[derive(Clone, Debug)]
pub(crate) enum Agent {
    /// `agent_check = false`.
    Off,
    On {
        address: Option<IpAddr>,
        port: Option<u16>,
        interval: Option<Duration>,
        send: Vec<u8>,
    },
}

/// `observe`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Observing {
    /// `observe = false`.
    Off,
    On(Observe),
}

/// `on_marked_down`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnMarkedDown {
    KeepSessions,
    ShutdownSessions,
}

/// HAProxy's `error-limit`.
const ERROR_LIMIT: u32 = 10;

const LAYERS: [(&str, Layer); 2] = [("layer4", Layer::Layer4), ("layer7", Layer::Layer7)];
const ON_ERROR: [(&str, OnError); 4] = [
    ("fastinter", OnError::FastInter),
    ("fail-check", OnError::FailCheck),
    ("sudden-death", OnError::SuddenDeath),
    ("mark-down", OnError::MarkDown),
];
const ON_MARKED_DOWN: [(&str, OnMarkedDown); 2] =
    [("keep-sessions", OnMarkedDown::KeepSessions), ("shutdown-sessions", OnMarkedDown::ShutdownSessions)];

impl Watching {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        Self {
            agent_check: fields.value("agent_check").and_then(|value| agent(&value, &fields.title)),
            observe: fields.value("observe").and_then(|value| observe(&value, &fields.title)),
            on_marked_down: fields.choice("on_marked_down", &ON_MARKED_DOWN),
        }
    }
}

fn agent(value: &Value<'_>, section: &str) -> Option<At<Agent>> {
    if value.as_bool() == Some(false) {
        return Some(At::new(Agent::Off, value.span));
    }
    let expected = "false or a table, as in agent_check = { port = 8888 }";
    let fields = value.fields(format!("`agent_check` of {section}"), expected)?;
    fields.require("port", "port = 8888");
    let send = fields.value("send").and_then(|value| value.parsed("a text, as in \"state\\n\"", check::text));
    let agent = Agent::On {
        address: check::address(&fields, "address").map(|at| at.value),
        port: check::port(&fields, "port").map(|at| at.value),
        interval: fields.duration("interval", check::INTERVAL).map(|at| at.value),
        send: send.map(|send| send.value).unwrap_or_default(),
    };
    fields.finish(|key| match key {
        "inter" => Some("write interval = \"2s\"".into()),
        "addr" => Some("write address = \"192.0.2.31\"".into()),
        _ => None,
    });
    Some(At::new(agent, value.span))
}

fn observe(value: &Value<'_>, section: &str) -> Option<At<Observing>> {
    if value.as_bool() == Some(false) {
        return Some(At::new(Observing::Off, value.span));
    }
    let defaults = |layer| Observe { layer, error_limit: ERROR_LIMIT, on_error: OnError::default() };
    if !value.is_table() {
        let layer = value.choice(&LAYERS)?;
        return Some(At::new(Observing::On(defaults(layer.value)), value.span));
    }
    let fields = value.fields(format!("`observe` of {section}"), "a table")?;
    fields.require("layer", "layer = \"layer7\" or layer = \"layer4\"");
    let layer = fields.choice("layer", &LAYERS);
    let error_limit = fields.integer("error_limit", 1..=1_000_000);
    let on_error = fields.choice("on_error", &ON_ERROR);
    fields.finish(|_| None);
    let mut observe = defaults(layer?.value);
    if let Some(limit) = error_limit {
        observe.error_limit = limit.value;
    }
    if let Some(then) = on_error {
        observe.on_error = then.value;
    }
    Some(At::new(Observing::On(observe), value.span))
}
