//! `[backend.NAME]` and the second half of `[listen.NAME]`: servers and how they are checked.

use std::{net::SocketAddr, sync::Arc};

use lb_proxy::{
    config::{
        Backend, BackendId, BackendTimeouts, Check, Elsewhere, Mode, ProxyExtension, ProxyVersion, SendProxy,
        Server, ServerTls,
    },
    sample::Stage,
};

use super::{
    answers, balance,
    check::{self, Watching},
    log, rules, server_tls,
};
use crate::config::{
    diagnostic::{Report, Span},
    raw::{self, Given, Kind, Named, Section},
    reader::At,
    text,
};

const RETRIES: u32 = 3;

/// The backend that somewhere else is called by its name; an error if there is none.
pub(super) fn named(name: &At<String>, backends: &[Backend], report: &Report<'_>) -> Option<BackendId> {
    let found = backends.iter().position(|backend| backend.name == name.value);
    if found.is_none() {
        let names: Vec<_> = backends.iter().map(|backend| backend.name.as_str()).collect();
        let hint = text::suggestion(&name.value, &names, "backend");
        report.error(name.span, format!("no backend is called `{}`{hint}", name.value.escape_debug()));
    }
    found.map(BackendId)
}

/// In the order of the file, with the place of each name.
pub(super) fn convert(
    file: &raw::File,
    context: rules::Context<'_>,
    report: &Report<'_>,
) -> (Vec<Backend>, Vec<Span>) {
    let mut backends: Vec<Backend> = Vec::new();
    let known = server_tls::Known::default();
    let mut spans: Vec<Span> = Vec::new();
    for section in file.sections.iter().filter(|section| section.value.kind.is_backend()) {
        let name = &section.name;
        if let Some(earlier) = backends.iter().position(|backend| backend.name == name.value) {
            let line = spans.get(earlier).map_or(0, |span| report.line(*span));
            let message = format!(
                "the name `{}` is taken by the backend or listen in line {line}; choose another",
                name.value
            );
            report.error(name.span, message);
        }
        let mut backend = one(section, BackendId(backends.len()), file, (context, &known), report);
        backend.log = log::backend(&section.value, file);
        // A `[listen.*]` has been told of them as a frontend.
        let quiet = section.value.kind.is_frontend() && backend.mode == Mode::Tcp;
        if !quiet {
            backend.error_pages = answers::pages(&section.value, &[], backend.mode, &file.folder, report);
        }
        backends.push(backend);
        spans.push(name.span);
    }
    (backends, spans)
}

fn one(
    section: &Named<Section>,
    id: BackendId,
    file: &raw::File,
    (context, known): (rules::Context<'_>, &server_tls::Known),
    report: &Report<'_>,
) -> Backend {
    let (raw, defaults) = (&section.value, &file.defaults);
    let (own, other, built_in) = (&raw.timeout, &defaults.timeout, BackendTimeouts::default());
    let connect = value(&own.connect, &other.connect).unwrap_or(built_in.connect);
    let mode = value(&raw.mode, &defaults.mode).unwrap_or_default();
    let Watching { check, agent, observe, cut_when_down } = check::convert(section, defaults, mode, report);
    let balancing = balance::convert(section, defaults, mode, report);
    let tls = server_tls::Context { folder: &file.folder, mode, known, report };
    let servers = servers(section, file, (mode, check.as_ref()), tls, report);
    if let (Kind::Backend, Mode::Tcp, Some(rule)) = (raw.kind, mode, raw.response_rules.first()) {
        report.error(rule.span, rules::NO_RESPONSES);
    }
    Backend {
        name: section.name.value.clone(),
        mode,
        balance: balancing.balance,
        all_backups: balancing.all_backups,
        slowstart: balancing.slowstart,
        retries: value(&raw.retries, &defaults.retries).unwrap_or(RETRIES),
        redispatch: value(&raw.redispatch, &defaults.redispatch).unwrap_or(true),
        timeout: BackendTimeouts {
            connect,
            server: value(&own.server, &other.server).unwrap_or(built_in.server),
            queue: value(&own.queue, &other.queue).unwrap_or(connect),
            tunnel: value(&own.tunnel, &other.tunnel),
            server_fin: value(&own.server_fin, &other.server_fin),
        },
        source: Default::default(),
        options: super::options::backend(raw, defaults, mode, report),
        compression: super::compression::backend(raw, mode, report),
        forwarded: super::forwarded::backend(raw, mode, report),
        persist: value(&raw.persist, &defaults.persist).unwrap_or(false),
        cookie: super::persistence::cookie(section, defaults, mode, report),
        stick: super::persistence::stick(raw, defaults),
        readiness: check.is_some() && raw.readiness.as_ref().is_none_or(|readiness| readiness.value),
        log_health_checks: check.is_some()
            && value(&raw.log_health_checks, &defaults.log_health_checks).unwrap_or(false),
        check,
        agent,
        observe,
        cut_when_down,
        log: Vec::new(),
        error_pages: Vec::new(),
        // Those of a `[listen.*]` are its frontend's.
        rules: match raw.kind {
            Kind::Backend => {
                let stage = if mode == Mode::Tcp { Stage::Connection } else { Stage::Request };
                let servers = Some((id, servers.as_slice()));
                rules::Context { mode, servers, stage, ..context }.convert(&raw.rules)
            }
            Kind::Defaults | Kind::Frontend | Kind::Listen => Vec::new(),
        },
        response_rules: match raw.kind {
            Kind::Backend => {
                let stage = Stage::Response;
                rules::Context { stage, ..context }.convert(&raw.response_rules)
            }
            Kind::Defaults | Kind::Frontend | Kind::Listen => Vec::new(),
        },
        servers,
    }
}

/// What the section says, else what `[defaults]` says.
pub(super) fn value<T: Clone>(own: &Option<At<T>>, default: &Option<At<T>>) -> Option<T> {
    own.as_ref().or(default.as_ref()).map(|at| at.value.clone())
}

fn servers(
    section: &Named<Section>,
    file: &raw::File,
    (mode, check): (Mode, Option<&Check>),
    tls: server_tls::Context<'_>,
    report: &Report<'_>,
) -> Vec<Server> {
    let raw = &section.value.servers;
    if raw.is_empty() && section.value.servers_given == Given::Nothing {
        let message = format!(
            "`{}` has no servers; write servers = [\"192.0.2.21:80\"] or server.web1 = \"192.0.2.21:80\"",
            section.name.value
        );
        report.error(section.name.span, message);
    }
    let mut servers: Vec<Server> = Vec::new();
    for server in raw {
        let placeholder = || SocketAddr::from(([0, 0, 0, 0], 0)).into();
        let address = server.address.as_ref().map_or_else(placeholder, |at| at.value.clone());
        if let (Some(at), Some(twin)) = (&server.address, servers.iter().find(|twin| twin.address == address))
        {
            if twin.name == server.name.value {
                report.error(at.span, format!("server {address} is in the list already; remove one"));
            } else if address.fixed().is_some() {
                // Servers with one name spread over its addresses.
                report.warning(
                    at.span,
                    format!("{address} is also server `{}`; it gets a share for each name", twin.name),
                );
            }
        }
        let send_proxy = [&server.send_proxy, &section.value.send_proxy, &file.defaults.send_proxy];
        let send_proxy = send_proxy.into_iter().flatten().next().and_then(|at| at.value.clone());
        check_names(server, &section.value, send_proxy.as_ref(), mode, report);
        let Secured { tls, check_tls } = secured(server, (section, file), check, tls);
        let place = server.address.as_ref().map(|at| super::place(&file.name, at.span, report));
        servers.push(Server {
            name: server.name.value.clone(),
            address,
            place: place.unwrap_or_default(),
            source: None,
            http2: http2(server, (section, file), mode, tls.is_some(), report),
            tls,
            check_tls,
            check_sni: server.check_sni.as_ref().map(|at| at.value.clone()),
            check_proxy: check_proxy(server, send_proxy.as_ref(), check),
            send_proxy,
            check_at: check::elsewhere(server),
            own_check: check::own(server, check),
            weight: server.weight.as_ref().and_then(|weight| u16::try_from(weight.value).ok()).unwrap_or(1),
            backup: server.backup.as_ref().is_some_and(|backup| backup.value),
            disabled: server.disabled.as_ref().is_some_and(|disabled| disabled.value),
            maxconn: server.maxconn.as_ref().map(|maxconn| maxconn.value),
            minconn: minconn(server, report),
            cookie: server.cookie.as_ref().map(|cookie| cookie.value.clone()),
        });
    }
    if let (Some(first), true) = (raw.first(), servers.iter().all(|server| server.weight == 0)) {
        let span = first.weight.as_ref().map_or(first.name.span, |weight| weight.span);
        let message = format!(
            "every server of `{}` has weight 0: only those are served whose cookie, or a rule with `server`, names one",
            section.name.value
        );
        report.warning(span, message);
    }
    servers
}

/// With TLS it is agreed on there. What `[defaults]` says counts where it can be.
fn http2(
    server: &raw::Server,
    (section, file): (&Named<Section>, &raw::File),
    mode: Mode,
    is_secure: bool,
    report: &Report<'_>,
) -> bool {
    let own = server.http2.as_ref().or(section.value.http2.as_ref());
    let Some(at) = own.or(file.defaults.http2.as_ref()).filter(|at| at.value) else { return false };
    let message = match (mode, is_secure) {
        (Mode::Tcp, _) => "http2 needs mode = \"http\"; in mode tcp bytes are forwarded as they are",
        (Mode::Http, true) => {
            "http2 is for servers without TLS; with TLS it is agreed on: write tls = { alpn = [\"h2\", \"http/1.1\"] }"
        }
        (Mode::Http, false) => return true,
    };
    let is_told = server.http2.is_some()
        || section.value.servers.first().is_some_and(|first| first.name.span == server.name.span);
    if own.is_some() && is_told {
        report.error(at.span, message);
    }
    false
}

/// Only requests have ids.
fn check_names(
    server: &raw::Server,
    section: &Section,
    send: Option<&SendProxy>,
    mode: Mode,
    report: &Report<'_>,
) {
    let is_named = send.is_some_and(|send| send.extensions.contains(&ProxyExtension::UniqueId));
    if let (true, Mode::Tcp) = (is_named, mode) {
        let at = server.send_proxy.as_ref().or(section.send_proxy.as_ref());
        let span = at.map_or(server.name.span, |at| at.span);
        report.error(
            span,
            "`unique-id` needs mode = \"http\"; in mode tcp there are no requests that have an id",
        );
    }
}

/// As in HAProxy: checks begin like the traffic where they go to the same place, and elsewhere where the file says so.
fn check_proxy(
    server: &raw::Server,
    send: Option<&SendProxy>,
    check: Option<&Check>,
) -> Option<ProxyVersion> {
    let is_elsewhere = is_checked_elsewhere(server, check?);
    let is_wanted = server.check_send_proxy.as_ref().map_or(send.is_some() && !is_elsewhere, |at| at.value);
    is_wanted.then(|| send.map_or(ProxyVersion::V1, |send| send.version))
}

fn is_checked_elsewhere(server: &raw::Server, check: &Check) -> bool {
    server.check_address.is_some() || server.check_port.is_some() || check.at != Elsewhere::default()
}

/// How TLS is spoken to a server.
struct Secured {
    tls: Option<Arc<ServerTls>>,
    check_tls: Option<Arc<ServerTls>>,
}

/// What is said of TLS. Checks go the way of the traffic where they go to the same place, as in HAProxy.
fn secured(
    server: &raw::Server,
    (section, file): (&Named<Section>, &raw::File),
    check: Option<&Check>,
    context: server_tls::Context<'_>,
) -> Secured {
    let convert = |at: &At<Option<raw::ServerTls>>| {
        at.value.as_ref().and_then(|tls| context.convert(tls, at.span)).map(Arc::new)
    };
    let given = [&server.tls, &section.value.tls, &file.defaults.tls].into_iter().flatten().next();
    let tls = given.and_then(convert);
    let own_check = check.and(server.check_tls.as_ref());
    let check_tls = match (check, own_check) {
        (None, _) => None,
        (Some(check), None) => tls.clone().filter(|_| !is_checked_elsewhere(server, check)),
        (Some(_), Some(At { value: Some(own), .. })) if own.is_empty() && tls.is_some() => tls.clone(),
        (Some(_), Some(own)) => convert(own),
    };
    if let Some(at) = server.check_sni.as_ref().filter(|_| check_tls.is_none()) {
        context.report.warning(at.span, "has no effect: no TLS is spoken in checks of this server");
    }
    Secured { tls, check_tls }
}

fn minconn(server: &raw::Server, report: &Report<'_>) -> Option<u32> {
    let minconn = server.minconn.as_ref()?;
    match &server.maxconn {
        None => {
            report.error(minconn.span, "minconn is what is allowed of `maxconn` at first; give that, too")
        }
        Some(maxconn) if minconn.value > maxconn.value => {
            let (most, found) = (maxconn.value, minconn.value);
            let message = format!("minconn is 1..{most}, the server's maxconn; found {found}");
            report.error(minconn.span, message);
        }
        Some(_) => {}
    }
    Some(minconn.value)
}
