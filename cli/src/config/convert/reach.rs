//! Who reaches whom: from a group's addresses over frontends to the backends that count for its readiness, and from a section
//! of the file to those that it sends requests to.

use std::{net::IpAddr, time::Duration};

use lb_proxy::{
    config::{Backend, Frontend},
    rules::Action,
};
use lb_vrrp::Family;

use crate::config::{
    diagnostic::{Report, Span},
    model::{Group, GroupBackend},
    raw::{self, Kind, Section},
};

/// Bad news on an Active counts after this long at the earliest.
const SHORTEST_HOLD: Duration = Duration::from_secs(3);

/// Fills in the frontends and backends of `groups`.
pub(super) fn convert(
    file: &raw::File,
    frontends: &[Frontend],
    backends: &[Backend],
    backend_spans: &[Span],
    groups: &mut [Group],
    report: &Report<'_>,
) {
    for group in groups {
        let vips: Vec<_> =
            file.vips.iter().filter(|vip| super::group::name(&vip.value) == group.name).collect();
        let addresses = vips.iter().flat_map(|vip| &vip.value.addresses);
        let addresses: Vec<_> = addresses.map(|at| at.value.address).collect();
        let serving =
            frontends.iter().filter(|frontend| addresses.iter().any(|address| serves(frontend, *address)));
        for frontend in serving {
            group.frontends.push(frontend.name.clone());
            for backend in frontend.backends().filter_map(|id| backends.get(id.0)) {
                if group.backends.iter().all(|counted| counted.name != backend.name) {
                    group.backends.extend(counts(backend, file));
                }
            }
        }
    }
    if report.has_errors() {
        // What is missing here may be the very value that was reported.
        return;
    }
    for vip in &file.vips {
        let families = [(Family::Ipv4, "an IPv4"), (Family::Ipv6, "an IPv6")];
        let of = |family| vip.value.served().filter(move |address| Family::of(*address) == family);
        let unserved = |family| {
            let is_served = |address| frontends.iter().any(|frontend| serves(frontend, address));
            of(family).next().is_some() && !of(family).any(is_served)
        };
        let known = families.iter().filter(|(family, _)| of(*family).next().is_some()).count();
        let without: Vec<_> = families.iter().filter(|(family, _)| unserved(*family)).collect();
        let which = match without.as_slice() {
            [] => continue,
            [(_, which)] if known == 2 => *which,
            _ => "an",
        };
        let name = &vip.name.value;
        let message = format!(
            "no frontend listens on {which} address of [vip.{name}]; bind one to {{ vip = \"{name}\", port = 80 }}"
        );
        report.warning(vip.name.span, message);
    }
    // Where there is no frontend at all, that is what has been said.
    let uses = |frontend: &Frontend, index| {
        let mut asked = frontend.monitor.iter().flat_map(|monitor| &monitor.fail_if);
        frontend.backends().any(|id| id.0 == index) || asked.any(|too_few| too_few.backend.0 == index)
    };
    for (index, (backend, span)) in backends.iter().zip(backend_spans).enumerate() {
        if !frontends.is_empty() && !frontends.iter().any(|frontend| uses(frontend, index)) {
            report.warning(*span, format!("no frontend uses the backend `{}`", backend.name));
        }
        // A name that a request makes may be that of any backend.
        let by_name =
            |frontend: &Frontend| !chosen(frontend, index) && frontend.backends().any(|id| id.0 == index);
        let only_by_name = frontends.iter().any(by_name) && !frontends.iter().any(|one| chosen(one, index));
        let is_empty =
            backend.servers.is_empty() && backend.rules.is_empty() && backend.error_pages.is_empty();
        // A `listen` that answers by itself.
        let answers = |frontend: &Frontend| frontend.statistics.is_some() || !frontend.rules.is_empty();
        let is_answered = frontends.iter().any(|one| one.name == backend.name && answers(one));
        if is_empty && !only_by_name && !is_answered {
            let message =
                format!("`{}` has no servers, no rules and no pages: nobody is served there", backend.name);
            report.warning(*span, message);
        }
    }
}

/// Frontends and backends with the sections that they were made from.
pub(super) struct Sections<'s> {
    pub(super) frontends: Vec<(&'s Frontend, &'s Section)>,
    /// By their index.
    pub(super) backends: Vec<(usize, &'s Section)>,
}

impl<'s> Sections<'s> {
    pub(super) fn new(file: &'s raw::File, frontends: &'s [Frontend], backends: &[Backend]) -> Self {
        let find = |name: &str, is_one: fn(Kind) -> bool| {
            let mut sections = file.sections.iter().filter(|section| is_one(section.value.kind));
            sections.find(|section| section.name.value == name).map(|section| &section.value)
        };
        let with_section = |one: &'s Frontend| Some((one, find(&one.name, Kind::is_frontend)?));
        let backends = backends.iter().enumerate();
        Self {
            frontends: frontends.iter().filter_map(with_section).collect(),
            backends: backends
                .filter_map(|(index, one)| Some((index, find(&one.name, Kind::is_backend)?)))
                .collect(),
        }
    }

    /// The frontends that send requests to the backend `index`.
    pub(super) fn users(&self, index: usize) -> impl Iterator<Item = &'s Section> {
        let users = self.frontends.iter().filter(move |(user, _)| user.backends().any(|id| id.0 == index));
        users.map(|(_, section)| *section)
    }

    /// The backends that `frontend` sends requests to.
    pub(super) fn of(&self, frontend: &Frontend) -> impl Iterator<Item = &'s Section> {
        let backends = self.backends.iter();
        let used = backends.filter(|(index, _)| frontend.backends().any(|id| id.0 == *index));
        used.map(|(_, section)| *section)
    }
}

/// Does the file itself name the backend `index` in this frontend?
fn chosen(frontend: &Frontend, index: usize) -> bool {
    let is_it = |action: &Action| matches!(action, Action::Backend(id) if id.0 == index);
    let mut actions = frontend.rules.iter().flat_map(|rule| &rule.then);
    frontend.default_backend.is_some_and(|id| id.0 == index) || actions.any(is_it)
}

fn serves(frontend: &Frontend, address: IpAddr) -> bool {
    frontend
        .binds
        .iter()
        .map(|bind| bind.address.ip())
        .any(|bound| bound == address || (bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4()))
}

/// A backend without checks has no news to hold.
fn counts(backend: &Backend, file: &raw::File) -> Option<GroupBackend> {
    let check = backend.check.as_ref().filter(|_| backend.readiness)?;
    let sections = file.sections.iter().filter(|section| section.value.kind.is_backend());
    let given = sections
        .filter(|section| section.name.value == backend.name)
        .find_map(|section| section.value.hold.as_ref());
    let own = backend.servers.iter().filter_map(|server| server.own_check.pace);
    let longest = own.map(|pace| pace.longest()).max().unwrap_or_default().max(check.pace.longest());
    let default = (2 * longest + check.timeout).max(SHORTEST_HOLD);
    Some(GroupBackend { name: backend.name.clone(), hold: given.map_or(default, |hold| hold.value) })
}
