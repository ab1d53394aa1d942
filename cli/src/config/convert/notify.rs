//! `[notify.NAME]`: how somebody is told, and of what.

mod mail;
mod means;

use std::time::Duration;

use lb_proxy::config::ResolverConfig;

use super::server_tls;
use crate::{
    config::{
        diagnostic::Report,
        model::{Means, Notify, Wants},
        raw::{self, Named},
        reader::At,
        text,
    },
    control::{AlarmName, EventKind},
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Mail servers take their time over strangers.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);

/// What each kind can be, as docs/operations.md lists it.
const STATES: [(EventKind, &[&str]); 7] = [
    (
        EventKind::Node,
        &[
            "running", "waiting", "drained", "stopping", "starting", "ready", "degraded", "leaving", "fault",
            "up", "silent", "stopped",
        ],
    ),
    (EventKind::Speaker, &["running"]),
    (EventKind::Vip, &["Initialize", "Backup", "Active"]),
    (EventKind::Backend, &["up", "down"]),
    (EventKind::Server, &["up", "down", "agent_down", "no_balance", "drain", "maintenance", "no_check"]),
    (EventKind::Certificate, &["valid", "expires_soon", "expires_very_soon", "expired"]),
    (EventKind::Alarm, &["on", "off"]),
];

/// In the order of the file.
pub(super) fn convert(file: &raw::File, resolver: &ResolverConfig, report: &Report<'_>) -> Vec<Notify> {
    let known = server_tls::Known::default();
    let context = means::Context { folder: &file.folder, resolver, known: &known, report };
    file.notifies.iter().filter_map(|named| one(named, file, context)).collect()
}

fn one(named: &Named<raw::Notify>, file: &raw::File, context: means::Context<'_>) -> Option<Notify> {
    let (raw, report) = (&named.value, context.report);
    let events: Vec<EventKind> = values(raw.events.as_ref());
    check_states(raw, &events, report);
    check_names(raw, &events, file, report);
    let means = context.convert(named)?;
    let timeout = match means {
        Means::Command(_) | Means::Webhook(_) => TIMEOUT,
        Means::Mail(_) => MAIL_TIMEOUT,
    };
    Some(Notify {
        name: named.name.value.clone(),
        means,
        timeout: raw.timeout.as_ref().map_or(timeout, |at| at.value),
        wants: Wants { events, to: values(raw.to.as_ref()), names: values(raw.names.as_ref()) },
    })
}

fn values<T: Clone>(list: Option<&At<Vec<At<T>>>>) -> Vec<T> {
    list.into_iter().flat_map(|list| &list.value).map(|at| at.value.clone()).collect()
}

/// One that can't come would never be told, and nobody would notice.
fn check_states(raw: &raw::Notify, events: &[EventKind], report: &Report<'_>) {
    let wanted = |kind: &EventKind| events.is_empty() || events.contains(kind);
    let known: Vec<&str> =
        STATES.iter().filter(|(kind, _)| wanted(kind)).flat_map(|(_, states)| *states).copied().collect();
    for state in raw.to.iter().flat_map(|to| &to.value) {
        if !known.contains(&state.value.as_str()) {
            let hint = text::suggestion(&state.value, &known, "state");
            let message = format!("`{}` is no state of these events{hint}", state.value.escape_debug());
            report.error(state.span, message);
        }
    }
}

fn check_names(raw: &raw::Notify, events: &[EventKind], file: &raw::File, report: &Report<'_>) {
    let wanted = |kind: EventKind| events.is_empty() || events.contains(&kind);
    // Those of a folder are not known here.
    if events.contains(&EventKind::Certificate) {
        return;
    }
    // A machine without [cluster] has the name that it has.
    let of_nodes = wanted(EventKind::Node) || wanted(EventKind::Speaker);
    if of_nodes && file.cluster.is_none() {
        return;
    }
    let mut known: Vec<String> = Vec::new();
    if of_nodes {
        let nodes = file.cluster.iter().flat_map(|cluster| &cluster.nodes);
        known.extend(nodes.map(|node| node.name.value.clone()));
    }
    if wanted(EventKind::Vip) {
        known.extend(file.vips.iter().map(|vip| vip.name.value.clone()));
    }
    let backends = file
        .sections
        .iter()
        .filter(|section| matches!(section.value.kind, raw::Kind::Backend | raw::Kind::Listen));
    for backend in backends {
        let name = &backend.name.value;
        if wanted(EventKind::Backend) {
            known.push(name.clone());
        }
        if wanted(EventKind::Server) {
            known.extend(backend.value.servers.iter().map(|server| format!("{name}/{}", server.name.value)));
        }
    }
    if wanted(EventKind::Alarm) {
        known.extend(AlarmName::ALL.map(|name| name.word().to_owned()));
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for name in raw.names.iter().flat_map(|names| &names.value) {
        if !known.contains(&name.value.as_str()) {
            let hint = text::suggestion(&name.value, &known, "name");
            let message = format!(
                "nothing that these events are about is called `{}`{hint}",
                name.value.escape_debug()
            );
            report.error(name.span, message);
        }
    }
}
