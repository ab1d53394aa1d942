//! `check`, `agent_check`, `observe` and `on_marked_down` of a backend.

use std::time::Duration;

use lb_proxy::config::{
    Address, AgentCheck, Check, CheckKind, Elsewhere, Layer, Mode, Observe, OwnCheck, Pace,
};

use super::backend::value;
use crate::config::{
    diagnostic::Report,
    raw::{self, Agent, CheckSettings, Named, Observing, OnMarkedDown, Section},
    reader::At,
};

const INTERVAL: Duration = Duration::from_secs(2);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// Everything about how a backend learns of its servers.
pub(super) struct Watching {
    pub(super) check: Option<Check>,
    pub(super) agent: Option<AgentCheck>,
    pub(super) observe: Option<Observe>,
    pub(super) cut_when_down: bool,
}

pub(super) fn convert(
    section: &Named<Section>,
    defaults: &Section,
    mode: Mode,
    report: &Report<'_>,
) -> Watching {
    let raw = &section.value;
    let check = check(raw.check.as_ref(), defaults.check.as_ref());
    let agent = value(&raw.watching.agent_check, &defaults.watching.agent_check);
    effects(raw, check.as_ref(), report);
    let own = raw.watching.observe.as_ref();
    let observe = match own.or(defaults.watching.observe.as_ref()).map(|at| at.value) {
        // What `[defaults]` says reaches those for whom it has a meaning.
        Some(Observing::On(observe)) if own.is_some() || fits(observe, mode, check.as_ref()) => Some(observe),
        Some(Observing::On(_) | Observing::Off) | None => None,
    };
    if let (Some(at), Some(observe)) = (own, observe) {
        if check.is_none() {
            let message =
                "observe needs checks: without them a server that errors took down would never come back";
            report.error(at.span, message);
        } else if !fits(observe, mode, check.as_ref()) {
            report.error(at.span, "layer7 needs mode = \"http\"; in mode tcp write observe = \"layer4\"");
        }
    }
    let on_down = value(&raw.watching.on_marked_down, &defaults.watching.on_marked_down);
    let agent = agent.and_then(|agent| convert_agent(agent, check.as_ref()));
    check_unix(raw, check.as_ref(), agent.as_ref(), report);
    Watching { agent, check, observe, cut_when_down: on_down == Some(OnMarkedDown::ShutdownSessions) }
}

fn fits(observe: Observe, mode: Mode, check: Option<&Check>) -> bool {
    check.is_some() && (mode == Mode::Http || observe.layer == Layer::Layer4)
}

/// Keys that mean nothing beside the others.
fn effects(raw: &Section, check: Option<&Check>, report: &Report<'_>) {
    let Some(check) = check else {
        let unused = [
            ("readiness", raw.readiness.as_ref().map(|at| at.span)),
            ("hold", raw.hold.as_ref().map(|at| at.span)),
        ];
        for (key, span) in unused.into_iter().filter_map(|(key, span)| Some((key, span?))) {
            report.warning(
                span,
                format!("{key} has no effect: without checks this backend never counts for readiness"),
            );
        }
        for server in &raw.servers {
            let spans = [
                ("check_address", server.check_address.map(|at| at.span)),
                ("check_port", server.check_port.map(|at| at.span)),
                ("check_interval", server.check_interval.map(|at| at.span)),
                ("check_fast_interval", server.check_fast_interval.map(|at| at.span)),
                ("check_down_interval", server.check_down_interval.map(|at| at.span)),
                ("check_rise", server.check_rise.map(|at| at.span)),
                ("check_fall", server.check_fall.map(|at| at.span)),
            ];
            for (key, span) in spans {
                if let Some(span) = span {
                    let message = format!("{key} has no effect: the servers of this backend are not checked");
                    report.warning(span, message);
                }
            }
        }
        return;
    };
    if let (Some(hold), Some(At { value: false, .. })) = (&raw.hold, &raw.readiness) {
        report.warning(hold.span, "hold has no effect with readiness = false");
    }
    let own = raw.check.as_ref().map(|at| &at.value);
    if let Some(raw::Check::On(settings)) = own
        && let Some(At { value: true, span }) = settings.disable_on_404
        && !matches!(check.kind, CheckKind::Http(_))
    {
        report.error(span, "disable_on_404 needs a check that can see a 404; write http = { path = \"/\" }");
    }
}

/// What can't be asked of a server that no network reaches.
fn check_unix(raw: &Section, check: Option<&Check>, agent: Option<&AgentCheck>, report: &Report<'_>) {
    for server in &raw.servers {
        let Some(at) =
            server.address.as_ref().filter(|at| matches!(at.value.fixed(), Some(Address::Unix(_))))
        else {
            continue;
        };
        if agent.is_some_and(|agent| agent.address.is_none()) {
            report.error(
                at.span,
                "an agent is asked over TCP, and a Unix socket has no address; give agent_check one",
            );
        }
        let (own, of_all) = (elsewhere(server), check.map(|check| check.at).unwrap_or_default());
        let (address, port) = (own.address.or(of_all.address), own.port.or(of_all.port));
        if check.is_some() && address.is_some() != port.is_some() {
            let spans = [server.check_address.map(|at| at.span), server.check_port.map(|at| at.span)];
            let message = "a server on a Unix socket is checked there; elsewhere takes an address and a port, give both";
            report.error(spans.into_iter().flatten().next().unwrap_or(at.span), message);
        }
    }
}

fn convert_agent(agent: Agent, check: Option<&Check>) -> Option<AgentCheck> {
    let Agent::On { address, port, interval, send } = agent else { return None };
    let interval = interval.or(check.map(|check| check.pace.interval)).unwrap_or(INTERVAL);
    Some(AgentCheck { address, port: port.unwrap_or_default(), interval, timeout: interval, send })
}

/// How one server is checked.
pub(super) fn own(server: &raw::Server, check: Option<&Check>) -> OwnCheck {
    let value = |at: &Option<At<Duration>>| at.as_ref().map(|at| at.value);
    let [interval, fast, down] =
        [&server.check_interval, &server.check_fast_interval, &server.check_down_interval].map(value);
    let of_all = check.map(|check| check.pace);
    let pace = of_all.filter(|_| [interval, fast, down].iter().any(Option::is_some)).map(|of_all| {
        // One that is asked at another interval has the others from it, as in a check.
        let others = interval.map_or(of_all, Pace::steady);
        Pace {
            interval: others.interval,
            fast: fast.unwrap_or(others.fast),
            down: down.unwrap_or(others.down),
        }
    });
    let number = |at: &Option<At<u32>>| at.as_ref().map(|at| at.value);
    OwnCheck { pace, rise: number(&server.check_rise), fall: number(&server.check_fall) }
}

/// Where one server is checked.
pub(super) fn elsewhere(server: &raw::Server) -> Elsewhere {
    Elsewhere { address: server.check_address.map(|at| at.value), port: server.check_port.map(|at| at.value) }
}

/// The section's own settings go before those of `[defaults]`, key by key.
fn check(own: Option<&At<raw::Check>>, default: Option<&At<raw::Check>>) -> Option<Check> {
    let own = own.or(default).map(|at| &at.value);
    let empty = CheckSettings::default();
    let own = match own {
        Some(raw::Check::Off) => return None,
        Some(raw::Check::On(settings)) => settings,
        None => &empty,
    };
    let default = match default.map(|at| &at.value) {
        Some(raw::Check::On(settings)) => settings,
        Some(raw::Check::Off) | None => &empty,
    };
    let kind = value(&own.kind, &default.kind).unwrap_or(CheckKind::Tcp);
    let interval = value(&own.interval, &default.interval).unwrap_or(INTERVAL);
    // A default for http must not make a backend with another kind of check an error.
    let disable_on_404 = value(&own.disable_on_404, &default.disable_on_404).unwrap_or(false)
        && matches!(kind, CheckKind::Http(_));
    Some(Check {
        kind,
        at: own.elsewhere(default),
        pace: Pace {
            interval,
            fast: value(&own.fast_interval, &default.fast_interval).unwrap_or(interval),
            down: value(&own.down_interval, &default.down_interval).unwrap_or(interval),
        },
        timeout: value(&own.timeout, &default.timeout).unwrap_or(interval),
        rise: value(&own.rise, &default.rise).unwrap_or(RISE),
        fall: value(&own.fall, &default.fall).unwrap_or(FALL),
        disable_on_404,
    })
}
