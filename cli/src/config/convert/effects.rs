//! Keys that are taken and do nothing where they stand: who wrote them believes in something that doesn't happen. Only what
//! a section says itself is pointed out: what comes from `[defaults]` is meant for those to whom it means something.

mod backend;
mod frontend;

use lb_proxy::{
    config::{Backend, BackendCompression, Frontend, LogDestination, LogTarget},
    rules::Action,
    sample::Names,
};

use super::{reach::Sections, rules::start};
use crate::config::{
    diagnostic::{Report, Span},
    model::Group,
    raw::{self, LogEntry},
    reader::At,
};

/// Points them out, if nothing else is wrong: what could not be read may be what they wait for.
pub(super) fn warn(
    file: &raw::File,
    sections: &Sections<'_>,
    backends: &[Backend],
    groups: &[Group],
    names: &Names,
    report: &Report<'_>,
) {
    if report.has_errors() {
        return;
    }
    let idle = Idle { report };
    of_process(file, sections, backends, &idle);
    of_names(file, names, &idle);
    for (frontend, section) in &sections.frontends {
        frontend::warn(frontend, section, backends, names, &idle);
    }
    for (index, section) in &sections.backends {
        let uses = |frontend: &Frontend| frontend.backends().any(|id| id.0 == *index);
        let of_vip = |name: &str| groups.iter().any(|group| group.frontends.iter().any(|own| own == name));
        let mut users = sections.frontends.iter().filter(|(one, _)| uses(one)).peekable();
        let is_away = users.peek().is_some() && !users.any(|(one, _)| of_vip(&one.name));
        let is_of_this =
            |action: &Action| matches!(action, Action::Server { backend, .. } if backend.0 == *index);
        let mut frontends = sections.frontends.iter().filter(|(one, _)| uses(one));
        let is_chosen = backends[*index].rules.iter().flat_map(|rule| &rule.then).any(is_of_this)
            || frontends.any(|(one, _)| does(one, &[], is_of_this));
        let keeps_clients = keeps_clients(&backends[*index]) || is_chosen;
        backend::warn(&backends[*index], section, backend::Place { is_away, keeps_clients }, &idle);
    }
}

struct Idle<'r> {
    report: &'r Report<'r>,
}

impl Idle<'_> {
    /// `key`, if it is there, does nothing.
    fn key<T>(&self, at: Option<&At<T>>, key: &str, why: &str) {
        if let Some(at) = at {
            self.span(at.span, key, why);
        }
    }

    /// The same, if it is there and true.
    fn flag(&self, at: Option<&At<bool>>, key: &str, why: &str) {
        self.key(at.filter(|at| at.value), key, why);
    }

    fn span(&self, span: Span, key: &str, why: &str) {
        let is_long = self.report.source(span).contains('\n');
        let span = if is_long { start(span) } else { span };
        self.report.warning(span, format!("{key} has no effect: {why}"));
    }
}

/// `[global]` and `[cluster]`.
fn of_process(file: &raw::File, sections: &Sections<'_>, backends: &[Backend], idle: &Idle<'_>) {
    let frontends = || sections.frontends.iter().map(|(frontend, _)| *frontend);
    let is_compressed = frontends().any(|frontend| frontend.compression.is_some())
        || backends.iter().any(|backend| matches!(backend.compression, BackendCompression::Own(_)));
    if !is_compressed {
        let why = "nothing is compressed; write compression = true into a [frontend.*], or remove the key";
        idle.key(file.global.compression_cpu.as_ref(), "compression_cpu", why);
    }
    let logs = frontends().flat_map(|frontend| &frontend.log.targets);
    let logs = logs.chain(backends.iter().flat_map(|backend| &backend.log));
    let by_name = |target: &LogTarget| matches!(target.to, LogDestination::UdpName { .. });
    let of_global = file.global.log.iter().flat_map(|log| &log.value);
    let is_asked = logs.into_iter().any(by_name)
        || of_global.into_iter().any(|entry| matches!(entry, LogEntry::Target(target) if by_name(target)))
        || backends
            .iter()
            .flat_map(|backend| &backend.servers)
            .any(|server| server.address.fixed().is_none());
    if !is_asked {
        let why = "no server and no log is given by name; addresses need no nameserver";
        idle.key(file.global.nameservers.first(), "nameservers", why);
    }
    if file.vips.is_empty() {
        for node in file.cluster.iter().flat_map(|cluster| &cluster.nodes) {
            let why = "there is no [vip.*], so nodes have nothing to elect for; write one, or remove the key";
            idle.key(node.value.priority.as_ref(), "priority", why);
            idle.key(node.value.foreign.as_ref(), "foreign", why);
        }
    }
}

/// What no text names.
fn of_names(file: &raw::File, names: &Names, idle: &Idle<'_>) {
    for map in file.maps.iter().filter(|map| names.unused_maps().any(|unused| *unused == map.name.value)) {
        let name = &map.name.value;
        let why = format!("no text asks it; write {{request.host|map(\"{name}\")}} into one, or remove it");
        idle.span(map.name.span, &format!("[map.{name}]"), &why);
    }
    for section in &file.sections {
        let rules = section.value.rules.iter().chain(&section.value.response_rules);
        for action in rules.flat_map(|rule| &rule.then) {
            if let Some(name) = action.value.variable()
                && names.unread_variables().any(|unread| unread == name)
            {
                let why = format!("no text and no condition reads {{var.{name}}}");
                idle.span(action.span, "set_var", &why);
            }
        }
    }
}

/// Does something say which server a client has?
fn keeps_clients(backend: &Backend) -> bool {
    backend.cookie.is_some() || backend.stick.is_some()
}

/// `deny` of rules in mode tcp.
fn of_tcp_rules(section: &raw::Section, idle: &Idle<'_>) {
    for action in section.rules.iter().flat_map(|rule| &rule.then) {
        if matches!(action.value, raw::Action::Deny(_)) && idle.report.source(action.span) != "true" {
            let why = "in mode tcp the connection is closed without a word; write deny = true";
            idle.span(action.span, "the status of deny", why);
        }
    }
}

/// Do rules of this frontend, or of a backend that it reaches, do such a thing?
fn does(frontend: &Frontend, backends: &[Backend], test: impl Fn(&Action) -> bool) -> bool {
    let of_backends = frontend.backends().filter_map(|id| backends.get(id.0)).flat_map(|one| &one.rules);
    frontend.rules.iter().chain(of_backends).flat_map(|rule| &rule.then).any(test)
}
