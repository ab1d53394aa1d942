//! `[frontend.NAME]` and the first half of `[listen.NAME]`: where clients come in.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lb_proxy::{
    config::{Alpn, Backend, BackendId, Bind, Frontend, FrontendTimeouts, InheritedBind, Mode, UnixBind},
    sample::Stage,
};

use super::{
    answers,
    backend::{self, value},
    compression, forwarded, log, options, persistence, rules, statistics, tls, unique_id,
};
use crate::config::{
    diagnostic::Report,
    raw::{self, Action, BindAddress, Kind, Named, Rule, Section},
    text,
};

/// Connections of [statistics], beside those of the process.
const MAXCONN_APART: u32 = 64;

/// For a request there.
const BEGUN_WITHIN: Duration = Duration::from_secs(2);

/// In the order of the file.
pub(super) fn convert(
    file: &raw::File,
    global_maxconn: u32,
    backends: &[Backend],
    context: rules::Context<'_>,
    report: &Report<'_>,
) -> Vec<Frontend> {
    let mut frontends: Vec<Frontend> = Vec::new();
    for section in sections(file) {
        if frontends.iter().any(|frontend| frontend.name == section.name.value) {
            let name = &section.name.value;
            report.error(
                section.name.span,
                format!("the name `{name}` is that of another frontend or listen already"),
            );
        }
        frontends.push(one(section, file, global_maxconn, backends, context, report));
    }
    if frontends.is_empty() && !report.has_errors() {
        report.file_warning("there is no [frontend.*] and no [listen.*]: this node would serve nobody");
    }
    frontends
}

/// Those that listen, in the order of the file.
pub(super) fn sections(file: &raw::File) -> impl Iterator<Item = &Named<Section>> {
    file.sections.iter().filter(|section| section.value.kind.is_frontend())
}

fn one(
    section: &Named<Section>,
    file: &raw::File,
    global_maxconn: u32,
    backends: &[Backend],
    context: rules::Context<'_>,
    report: &Report<'_>,
) -> Frontend {
    let raw = &section.value;
    // What is for those who look after the node is as it is, whatever services need: of `[defaults]` only the log reaches it.
    let none = Section::empty(Kind::Defaults);
    let defaults = if raw.is_apart { &none } else { &file.defaults };
    let mode = value(&raw.mode, &defaults.mode).unwrap_or_default();
    if let Some(maxconn) = raw.maxconn.as_ref().filter(|maxconn| maxconn.value > global_maxconn) {
        let message =
            format!("maxconn {} is never reached: that of [global] is {global_maxconn}", maxconn.value);
        report.warning(maxconn.span, message);
    }
    if mode == Mode::Tcp {
        if let Some(rule) = raw.response_rules.first() {
            report.error(rule.span, rules::NO_RESPONSES);
        }
        check_tcp(raw, report);
    } else {
        if let Some(inspect) = &raw.timeout.inspect {
            report.warning(inspect.span, "inspect has no effect in mode http");
        }
    }
    let (own, other) = (&raw.timeout, &defaults.timeout);
    let built_in = FrontendTimeouts::default();
    // In mode tcp nothing uses these, so `[defaults]` doesn't reach them either.
    let http = |own, default| value(own, default).filter(|_| mode == Mode::Http);
    // Whoever is slow to say what he wants keeps those out who look after the node.
    let begun_within = |limit: Duration| if raw.is_apart { limit.min(BEGUN_WITHIN) } else { limit };
    let default_backend = default_backend(section, file, mode, backends, report);
    let rules = {
        let stage = if mode == Mode::Tcp { Stage::Connection } else { Stage::Request };
        let servers = default_backend.map(|id| (id, &*backends[id.0].servers));
        rules::Context { mode, backends: Some(backends), servers, stage, ..context }.convert(&raw.rules)
    };
    Frontend {
        name: section.name.value.clone(),
        mode,
        binds: raw.binds.iter().flat_map(|bind| binds(bind, file, report)).collect(),
        unix: raw.binds.iter().filter_map(unix).collect(),
        inherited: inherited(raw, report),
        tls: by_place(raw, file, |bind| tls::of_bind(bind, mode, file, report)),
        http2: by_place(raw, file, |bind| http2(bind, mode, report)).into_keys().collect(),
        without_websocket: by_place(raw, file, |bind| without_websocket(bind, mode, report))
            .into_keys()
            .collect(),
        maxconn: if raw.is_apart {
            MAXCONN_APART
        } else {
            value(&raw.maxconn, &defaults.maxconn).unwrap_or(global_maxconn).min(global_maxconn)
        },
        timeout: FrontendTimeouts {
            client: value(&own.client, &other.client).unwrap_or(built_in.client),
            client_handshake: begun_within(
                value(&own.client_handshake, &other.client_handshake).unwrap_or(built_in.client_handshake),
            ),
            inspect: value(&own.inspect, &other.inspect).unwrap_or(built_in.inspect),
            http_request: begun_within(
                http(&own.http_request, &other.http_request).unwrap_or(built_in.http_request),
            ),
            http_keep_alive: http(&own.http_keep_alive, &other.http_keep_alive)
                .unwrap_or(built_in.http_keep_alive),
            client_fin: value(&own.client_fin, &other.client_fin),
            tarpit: http(&own.tarpit, &other.tarpit)
                .or_else(|| http(&own.connect, &other.connect))
                .unwrap_or(built_in.tarpit),
        },
        options: options::frontend(raw, defaults, mode, report),
        compression: compression::frontend(raw, defaults, mode, report),
        forwardfor: mode == Mode::Http && value(&raw.forwardfor, &defaults.forwardfor).unwrap_or(false),
        forwarded: forwarded::frontend(raw, defaults, mode, report),
        hsts: value(&raw.hsts, &defaults.hsts).flatten().filter(|_| mode == Mode::Http),
        per_source: persistence::per_source(raw, defaults),
        log: log::frontend(raw, file, mode, context.names, report),
        unique_id: unique_id::convert(raw.unique_id.as_ref(), mode, context.names, report),
        error_pages: answers::pages(raw, &defaults.error_pages, mode, &file.folder, report),
        monitor: answers::monitor(raw, mode, backends, report),
        default_backend,
        statistics: statistics::convert(section, defaults, mode, &rules, context),
        rules,
        response_rules: rules::Context { stage: Stage::Response, ..context }.convert(&raw.response_rules),
        is_apart: raw.is_apart,
        ambiguous_path: raw
            .ambiguous_path
            .as_ref()
            .filter(|_| mode == Mode::Http)
            .map(|at| at.value)
            .unwrap_or_default(),
    }
}

/// Keys that mean nothing where bytes are only forwarded.
fn check_tcp(raw: &Section, report: &Report<'_>) {
    if let Some(forwardfor) = raw.forwardfor.as_ref().filter(|forwardfor| forwardfor.value) {
        report.error(
            forwardfor.span,
            "forwardfor needs mode = \"http\"; in mode tcp bytes are forwarded as they are",
        );
    }
    if let Some(hsts) = raw.hsts.as_ref().filter(|hsts| hsts.value.is_some()) {
        report.error(hsts.span, "hsts needs mode = \"http\"; in mode tcp bytes are forwarded as they are");
    }
    let timeouts = [
        ("http_request", &raw.timeout.http_request),
        ("http_keep_alive", &raw.timeout.http_keep_alive),
        ("tarpit", &raw.timeout.tarpit),
    ];
    for (key, timeout) in timeouts {
        if let Some(timeout) = timeout {
            report.warning(timeout.span, format!("{key} has no effect in mode tcp"));
        }
    }
}

/// In the order of [`Frontend::tls`].
fn by_place<T: Clone>(
    raw: &Section,
    file: &raw::File,
    of: impl Fn(&raw::Bind) -> Option<T>,
) -> BTreeMap<usize, T> {
    let (mut addresses, mut unix, mut inherited) = (Vec::new(), Vec::new(), Vec::new());
    for bind in &raw.binds {
        let found = of(bind);
        match &bind.address {
            BindAddress::Address { .. } => addresses.push(found),
            BindAddress::Vip { vip, .. } => {
                let known = file.vips.iter().find(|known| known.name.value == vip.value);
                addresses.extend(vec![found; known.map_or(0, |vip| vip.value.served().count())]);
            }
            BindAddress::Unix(_) => unix.push(found),
            BindAddress::Inherited(_) => inherited.push(found),
        }
    }
    tls::by_place(addresses.into_iter().chain(unix).chain(inherited))
}

/// May a client begin with HTTP/2 there?
fn http2(bind: &raw::Bind, mode: Mode, report: &Report<'_>) -> Option<()> {
    let wanted = bind.http2.as_ref()?;
    if mode == Mode::Tcp {
        report.error(wanted.span, "http2 needs mode = \"http\"; in mode tcp bytes are forwarded as they are");
    }
    wanted.value.then_some(())
}

/// Is no stream of HTTP/2 a WebSocket there?
fn without_websocket(bind: &raw::Bind, mode: Mode, report: &Report<'_>) -> Option<()> {
    let wanted = bind.http2_websocket.as_ref()?;
    let speaks_http2 = match &bind.tls {
        Some(tls) => tls.alpn.as_ref().is_none_or(|alpn| alpn.value.contains(&Alpn::H2)),
        None => bind.http2.as_ref().is_some_and(|http2| http2.value),
    };
    if mode == Mode::Tcp || !speaks_http2 {
        let message = "http2_websocket is of listeners with HTTP/2, in mode http: with `h2` in tls.alpn, or without TLS and with http2 = true";
        report.error(wanted.span, message);
    }
    (!wanted.value).then_some(())
}

fn unix(bind: &raw::Bind) -> Option<UnixBind> {
    let BindAddress::Unix(unix) = &bind.address else { return None };
    Some(UnixBind { accept_proxy: bind.accept_proxy.clone(), ..unix.clone() })
}

/// Two listeners on one passed socket would take each other's clients.
fn inherited(raw: &Section, report: &Report<'_>) -> Vec<InheritedBind> {
    let mut found: Vec<InheritedBind> = Vec::new();
    for bind in &raw.binds {
        let BindAddress::Inherited(one) = &bind.address else { continue };
        if found.iter().any(|found| found.socket == *one) {
            report.error(bind.span, format!("{one} is in the list already; remove one"));
        }
        found.push(InheritedBind { socket: one.clone(), accept_proxy: bind.accept_proxy.clone() });
    }
    found
}

/// One entry may stand for several addresses.
fn binds(raw: &raw::Bind, file: &raw::File, report: &Report<'_>) -> Vec<Bind> {
    match &raw.address {
        BindAddress::Address { text, address } => {
            vec![Bind { label: text.clone(), address: *address, accept_proxy: raw.accept_proxy.clone() }]
        }
        BindAddress::Unix(_) | BindAddress::Inherited(_) => Vec::new(),
        BindAddress::Vip { vip, port } => {
            let Some(known) = file.vips.iter().find(|known| known.name.value == vip.value) else {
                let names: Vec<_> = file.vips.iter().map(|vip| vip.name.value.as_str()).collect();
                let hint = text::suggestion(&vip.value, &names, "vip");
                report.error(vip.span, format!("no vip is called `{}`{hint}", vip.value.escape_debug()));
                return Vec::new();
            };
            let bind = |address: IpAddr| Bind {
                label: format!("{}:{port}", vip.value),
                address: SocketAddr::new(address, *port),
                accept_proxy: raw.accept_proxy.clone(),
            };
            known.value.served().map(bind).collect()
        }
    }
}

/// What its rules send nowhere gets 503, or is closed in mode tcp, and is meant to.
fn chooses_a_backend(rules: &[Rule]) -> bool {
    rules.iter().flat_map(|rule| &rule.then).any(|action| matches!(action.value, Action::Backend(_)))
}

fn answers_all(action: &Action) -> bool {
    matches!(action, Action::Deny(_) | Action::Tarpit(_) | Action::Redirect { .. } | Action::Respond { .. })
}

fn default_backend(
    section: &Named<Section>,
    file: &raw::File,
    mode: Mode,
    backends: &[Backend],
    report: &Report<'_>,
) -> Option<BackendId> {
    if section.value.kind == Kind::Listen {
        return backends.iter().position(|backend| backend.name == section.name.value).map(BackendId);
    }
    let Some(wanted) = &section.value.default_backend else {
        let value = &section.value;
        let answers = mode == Mode::Http && value.statistics.is_some();
        if !value.default_backend_given && !answers && !chooses_a_backend(&value.rules) {
            let is_answered = value.rules.iter().any(|rule| {
                let all = matches!(&rule.when, raw::Condition::All(list) if list.is_empty());
                all && rule.then.iter().any(|action| answers_all(&action.value))
            });
            let would = match mode {
                Mode::Http if is_answered => return None,
                Mode::Http if value.rules.is_empty() => "answer every request with 503",
                Mode::Http => "answer what no rule answers with 503",
                Mode::Tcp => "close every connection",
            };
            let message = format!(
                "`{}` has no `default_backend`, and no rule chooses a backend; it would {would}",
                section.name.value
            );
            report.warning(section.name.span, message);
        }
        return None;
    };
    let found = backend::named(wanted, backends, report)?;
    let misread = file.sections.iter().any(|other| {
        let concerned = other.name.value == wanted.value || other.name.value == section.name.value;
        concerned && other.value.mode_is_misread
    });
    if let Some(backend) = backends.get(found.0).filter(|backend| backend.mode != mode && !misread) {
        let message = format!(
            "frontend `{}` is in mode {}, its backend `{}` in mode {}; write the same `mode` in both",
            section.name.value,
            mode.name(),
            backend.name,
            backend.mode.name()
        );
        report.error(wanted.span, message);
    }
    Some(found)
}
