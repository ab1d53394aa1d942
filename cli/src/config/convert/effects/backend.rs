//! Of `[backend.*]`, and of the second half of a `[listen.*]`.

use lb_proxy::config::{
    Address, Backend, Balance, ConnectionMode, Mode, Observe, OnError, RetryOptions, Server,
};

use super::{Idle, of_tcp_rules};
use crate::config::{
    raw::{Keepalive, Kind, RetryOn, Section},
    reader::At,
};

/// What is around a backend.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Those that use it are on no address of a vip.
    pub(super) is_away: bool,
    /// A cookie, a table or a rule says which server a client has.
    pub(super) keeps_clients: bool,
}

pub(super) fn warn(backend: &Backend, section: &Section, place: Place, idle: &Idle<'_>) {
    retries(backend, section, idle);
    limits(backend, section, idle);
    checks(backend, section, idle);
    if backend.mode == Mode::Tcp && section.kind == Kind::Backend {
        of_tcp_rules(section, idle);
    }
    if !place.keeps_clients {
        let why = "no client has a server to stay with; write a `cookie` or stick = { by = \"source\" }";
        idle.flag(section.persist.as_ref(), "persist", why);
        if section.kind == Kind::Backend {
            for action in section.rules.iter().flat_map(|rule| &rule.then) {
                if matches!(action.value, crate::config::raw::Action::IgnorePersistence) {
                    let why = "this backend has no `cookie` and no `stick`";
                    idle.span(action.span, "ignore_persist", why);
                }
            }
        }
    }
    let closing = match backend.options.connection {
        ConnectionMode::KeepAlive => None,
        ConnectionMode::ServerClose => Some("server-close"),
        ConnectionMode::Close => Some("close"),
    };
    if let Some(word) = closing {
        let why = format!("with http_connection = \"{word}\" no connection to a server is used again");
        idle.key(section.backend_options.http_reuse.as_ref(), "http_reuse", &why);
        idle.key(section.backend_options.pool.as_ref(), "pool", &why);
    }
    if backend.servers.iter().filter(|server| server.backup).count() < 2 {
        let why = "there are no two servers with backup = true that could share the requests";
        idle.flag(section.balancing.allbackups.as_ref(), "allbackups", why);
    }
    let is_unix = |server: &Server| matches!(server.address.fixed(), Some(Address::Unix(_)));
    let is_on = |at: &&At<Keepalive>| !matches!(at.value, Keepalive::Off);
    if backend.servers.iter().all(is_unix) && section.kind == Kind::Backend {
        let why = "its servers are on Unix sockets, whose ends are on one machine";
        idle.key(section.backend_options.tcp_keepalive.as_ref().filter(is_on), "tcp_keepalive", why);
    }
    if place.is_away {
        let why =
            "no frontend on an address of a [vip.*] uses this backend, so it never counts for readiness";
        idle.key(section.readiness.as_ref().filter(|at| !at.value), "readiness", why);
        idle.key(section.hold.as_ref().filter(|_| backend.readiness), "hold", why);
    }
}

fn retries(backend: &Backend, section: &Section, idle: &Idle<'_>) {
    let (own, retry) = (&section.backend_options, &backend.options.retry);
    let why = match (backend.retries, has_failures(retry)) {
        (0, _) => Some("with retries = 0 nothing is tried again"),
        (_, false) => Some("with retry_on = [] nothing is tried again"),
        _ => None,
    };
    if let Some(why) = why {
        let listed = |at: &&At<RetryOn>| !at.value.failures.is_empty() || !at.value.statuses.is_empty();
        idle.key(own.retry_on.as_ref().filter(listed), "retry_on", why);
        idle.key(section.retries.as_ref().filter(|at| at.value > 0), "retries", why);
        idle.key(own.retry_budget.as_ref(), "retry_budget", why);
        idle.flag(section.redispatch.as_ref(), "redispatch", why);
    }
    let resends =
        retry.empty_response || retry.junk_response || retry.response_timeout || !retry.statuses.is_empty();
    if backend.mode == Mode::Http && (why.is_some() || !resends) {
        let alone = "retry_on has only \"conn-failure\", where nothing was sent, whatever the method";
        idle.flag(own.retry_any_method.as_ref(), "retry_any_method", why.unwrap_or(alone));
    }
}

fn has_failures(retry: &RetryOptions) -> bool {
    retry.connect_failure
        || retry.empty_response
        || retry.junk_response
        || retry.response_timeout
        || !retry.statuses.is_empty()
}

fn limits(backend: &Backend, section: &Section, idle: &Idle<'_>) {
    let servers = || backend.servers.iter();
    if servers().all(|server| server.minconn.is_none()) {
        let why = "no server of this backend has a `minconn`, so each is allowed its `maxconn` at any time";
        idle.key(section.backend_options.fullconn.as_ref(), "fullconn", why);
    }
    // An agent may give one.
    let is_unlimited = servers().all(|server| server.maxconn.is_none()) && backend.agent.is_none();
    if is_unlimited {
        let why = "no server of this backend has a `maxconn`, so nobody waits in line";
        idle.key(section.timeout.queue.as_ref(), "queue", why);
    }
    if backend.balance != Balance::First {
        return;
    }
    let own = section.balancing.balance.as_ref().filter(|_| is_unlimited && backend.servers.len() > 1);
    if let Some(balance) = own {
        let message = "all requests go to the first server: \"first\" takes the next one when a server has its `maxconn`, \
                       and none has one";
        idle.report.warning(balance.span, message);
    }
    for server in &section.servers {
        let weight = server.weight.as_ref().filter(|at| at.value > 1);
        idle.key(weight, "weight", "balance = \"first\" goes by the order of the servers");
    }
}

fn checks(backend: &Backend, section: &Section, idle: &Idle<'_>) {
    let health_checks = section.log_health_checks.as_ref();
    let Some(check) = &backend.check else {
        let why = "the servers of this backend are not checked (check = false)";
        idle.flag(health_checks, "log_health_checks", why);
        return;
    };
    if backend.log.is_empty() {
        let why = "neither [global] nor this section has a `log`";
        idle.flag(health_checks, "log_health_checks", why);
    }
    let on_error = backend.observe.as_ref().map(|Observe { on_error, .. }| *on_error);
    if on_error == Some(OnError::FastInter) && check.pace.fast >= check.pace.interval {
        let why = "its on_error = \"fastinter\" makes the next check come after fast_interval, which is no shorter than \
                   interval; write check = { fast_interval = \"500ms\" }";
        idle.key(section.watching.observe.as_ref(), "observe", why);
    }
}
