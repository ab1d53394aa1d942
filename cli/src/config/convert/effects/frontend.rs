//! Of `[frontend.*]`, and of the first half of a `[listen.*]`.

use lb_proxy::{
    config::{Backend, ConnectionMode, Frontend, LogTarget, Mode, Severity},
    rules::{Action, AmbiguousPath, looks_at_client_hello, looks_at_path},
    sample::Names,
};

use super::{super::unique_id, Idle, does, keeps_clients, of_tcp_rules};
use crate::config::raw::{self, BindAddress, Keepalive, Kind, LogEntry, Section};

pub(super) fn warn(
    frontend: &Frontend,
    section: &Section,
    backends: &[Backend],
    names: &Names,
    idle: &Idle<'_>,
) {
    match frontend.mode {
        Mode::Tcp => tcp(frontend, section, backends, idle),
        Mode::Http => http(frontend, section, backends, names, idle),
    }
    log(frontend, section, idle);
    let is_unix = |bind: &raw::Bind| matches!(bind.address, BindAddress::Unix(_));
    let is_on = |at: &&crate::config::reader::At<Keepalive>| !matches!(at.value, Keepalive::Off);
    if !section.binds.is_empty() && section.binds.iter().all(is_unix) && section.kind == Kind::Frontend {
        let why = "this frontend listens on Unix sockets alone, whose ends are on one machine";
        idle.key(section.frontend_options.tcp_keepalive.as_ref().filter(is_on), "tcp_keepalive", why);
    }
    let chooses = does(frontend, backends, |action| matches!(action, Action::Server { .. }));
    if !chooses && !frontend.backends().filter_map(|id| backends.get(id.0)).any(keeps_clients) {
        for action in section.rules.iter().flat_map(|rule| &rule.then) {
            if matches!(action.value, raw::Action::IgnorePersistence) {
                let why = "no backend that this frontend reaches has a `cookie` or `stick`";
                idle.span(action.span, "ignore_persist", why);
            }
        }
    }
}

fn tcp(frontend: &Frontend, section: &Section, backends: &[Backend], idle: &Idle<'_>) {
    if !looks_at_client_hello(frontend, backends) {
        let why = "no rule of this frontend or of its backends has `sni` or {client_hello...}, so nothing is waited for";
        idle.key(section.timeout.inspect.as_ref(), "inspect", why);
    }
    idle.key(section.ambiguous_path.as_ref(), "ambiguous_path", "in mode tcp there are no paths");
    of_tcp_rules(section, idle);
}

fn http(frontend: &Frontend, section: &Section, backends: &[Backend], names: &Names, idle: &Idle<'_>) {
    if frontend.tls.is_empty() && frontend.hsts.is_some() {
        let why = "no `bind` of this frontend has `tls`, and over plain HTTP browsers don't listen to it";
        idle.key(section.hsts.as_ref(), "hsts", why);
    }
    let is_unwatched = !looks_at_path(frontend, backends);
    let ambiguous = section.ambiguous_path.as_ref().filter(|at| at.value != AmbiguousPath::default());
    let why = "no rule of this frontend or of its backends looks at the path, so every path is passed on as it came";
    idle.key(ambiguous.filter(|_| is_unwatched), "ambiguous_path", why);
    if !does(frontend, backends, |action| matches!(action, Action::Tarpit(_))) {
        let why = "no rule of this frontend or of its backends has `tarpit`";
        idle.key(section.timeout.tarpit.as_ref(), "tarpit", why);
    }
    if frontend.options.connection == ConnectionMode::Close {
        let why = "with http_connection = \"close\" no connection waits for a second request";
        idle.key(section.timeout.http_keep_alive.as_ref(), "http_keep_alive", why);
    }
    let is_named = names.wants_request_id() || unique_id::is_told(backends);
    if let Some(id) = section.unique_id.as_ref().filter(|id| id.header.is_none() && !is_named) {
        let why =
            "the id is sent in no header, and no text has {request.id}; write header = \"X-Request-Id\"";
        idle.span(id.span, "unique_id", why);
    }
}

fn log(frontend: &Frontend, section: &Section, idle: &Idle<'_>) {
    let log = &frontend.log;
    let wanted = section.frontend_options.dontlognull.as_ref().filter(|at| !at.value);
    if log.targets.is_empty() {
        let why = "this frontend logs nothing; write log = \"global\", or remove the key";
        idle.key(wanted, "dontlognull", why);
        for action in section.rules.iter().chain(&section.response_rules).flat_map(|rule| &rule.then) {
            if matches!(action.value, raw::Action::Log(_)) {
                idle.span(action.span, "log", "this frontend logs nothing");
            }
        }
    } else if frontend.mode == Mode::Http && frontend.options.ignore_probes {
        let why = "what is ignored is not logged either; write http_ignore_probes = false, or remove the key";
        idle.key(wanted, "dontlognull", why);
    }
    let hears = |target: &LogTarget| {
        target.level >= Severity::Info || (log.separate_errors && target.level >= Severity::Error)
    };
    // A `[listen.*]` speaks of its servers there as well.
    if let (Some(own), Kind::Frontend) = (&section.log, section.kind) {
        let is_own = own.value.iter().all(|entry| matches!(entry, LogEntry::Target(_)));
        if is_own && !own.value.is_empty() && !log.targets.iter().any(hears) {
            let why =
                "lines about traffic have the level `info`, which `level` leaves out; write level = \"info\"";
            idle.span(own.span, "log", why);
        }
    }
}
