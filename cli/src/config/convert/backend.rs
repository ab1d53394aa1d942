//! `[backend.NAME]` and the second half of `[listen.NAME]`: servers and how they are checked.

use std::{net::SocketAddr, time::Duration};

use lb_proxy::config::{Backend, BackendTimeouts, Check, CheckKind, Server};

use super::balance;

use crate::config::{
    diagnostic::{Report, Span},
    raw::{self, CheckSettings, HttpCheck, Named, Section},
    reader::At,
};

const RETRIES: u32 = 3;
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
const RISE: u32 = 2;
const FALL: u32 = 3;

/// In the order of the file, with the place of each name.
pub(super) fn convert(file: &raw::File, report: &Report<'_>) -> (Vec<Backend>, Vec<Span>) {
    let mut backends: Vec<Backend> = Vec::new();
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
        backends.push(one(section, &file.defaults, report));
        spans.push(name.span);
    }
    (backends, spans)
}

fn one(section: &Named<Section>, defaults: &Section, report: &Report<'_>) -> Backend {
    let raw = &section.value;
    let (own, other, built_in) = (&raw.timeout, &defaults.timeout, BackendTimeouts::default());
    let connect = value(&own.connect, &other.connect).unwrap_or(built_in.connect);
    let mode = value(&raw.mode, &defaults.mode).unwrap_or_default();
    let check = check(raw.check.as_ref(), defaults.check.as_ref());
    if check.is_none() {
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
    } else if let (Some(hold), Some(At { value: false, .. })) = (&raw.hold, &raw.readiness) {
        report.warning(hold.span, "hold has no effect with readiness = false");
    }
    let balancing = balance::convert(section, defaults, mode, check.is_some(), report);
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
        options: super::options::backend(raw, defaults, mode, report),
        persist: value(&raw.persist, &defaults.persist).unwrap_or(false),
        stick: super::persistence::stick(raw, defaults),
        readiness: check.is_some() && raw.readiness.as_ref().is_none_or(|readiness| readiness.value),
        check,
        servers: servers(section, report),
    }
}

/// What the section says, else what `[defaults]` says.
pub(super) fn value<T: Clone>(own: &Option<At<T>>, default: &Option<At<T>>) -> Option<T> {
    own.as_ref().or(default.as_ref()).map(|at| at.value.clone())
}

fn servers(section: &Named<Section>, report: &Report<'_>) -> Vec<Server> {
    let raw = &section.value.servers;
    if raw.is_empty() && !section.value.servers_given {
        let message = format!(
            "`{}` has no servers; write servers = [\"192.0.2.21:80\"] or server.web1 = \"192.0.2.21:80\"",
            section.name.value
        );
        report.error(section.name.span, message);
    }
    let mut servers: Vec<Server> = Vec::new();
    for server in raw {
        let address = server.address.as_ref().map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |at| at.value);
        if let (Some(at), Some(twin)) = (&server.address, servers.iter().find(|twin| twin.address == address))
        {
            if twin.name == server.name.value {
                report.error(at.span, format!("server {address} is in the list already"));
            } else {
                report.warning(
                    at.span,
                    format!("{address} is also server `{}`; it gets a share for each name", twin.name),
                );
            }
        }
        servers.push(Server {
            name: server.name.value.clone(),
            address,
            weight: server.weight.as_ref().and_then(|weight| u16::try_from(weight.value).ok()).unwrap_or(1),
            backup: server.backup.as_ref().is_some_and(|backup| backup.value),
            maxconn: server.maxconn.as_ref().map(|maxconn| maxconn.value),
            minconn: minconn(server, report),
        });
    }
    if let (Some(first), true) = (raw.first(), servers.iter().all(|server| server.weight == 0)) {
        let span = first.weight.as_ref().map_or(first.name.span, |weight| weight.span);
        report.error(
            span,
            format!("every server of `{}` has weight 0; nobody would get requests", section.name.value),
        );
    }
    servers
}

fn minconn(server: &raw::Server, report: &Report<'_>) -> Option<u32> {
    let minconn = server.minconn.as_ref()?;
    match &server.maxconn {
        None => {
            report.error(minconn.span, "minconn is what is allowed of `maxconn` at first; give that, too")
        }
        Some(maxconn) if minconn.value > maxconn.value => {
            let message = format!("minconn {} is more than maxconn {}", minconn.value, maxconn.value);
            report.error(minconn.span, message);
        }
        Some(_) => {}
    }
    Some(minconn.value)
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
    let http = if own.tcp { None } else { own.http.as_ref().or(default.http.as_ref()) };
    let interval = value(&own.interval, &default.interval).unwrap_or(CHECK_INTERVAL);
    Some(Check {
        kind: http.map_or(CheckKind::Tcp, kind),
        interval,
        timeout: value(&own.timeout, &default.timeout).unwrap_or(interval),
        rise: value(&own.rise, &default.rise).unwrap_or(RISE),
        fall: value(&own.fall, &default.fall).unwrap_or(FALL),
    })
}

fn kind(http: &HttpCheck) -> CheckKind {
    CheckKind::Http {
        method: http.method.as_ref().map_or("GET", |method| method.value).to_owned(),
        path: http.path.as_ref().map_or("/", |path| &path.value).to_owned(),
        host: http.host.as_ref().map(|host| host.value.clone()),
    }
}
