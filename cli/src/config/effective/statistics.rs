//! `statistics` of a frontend.

use lb_proxy::config::{Statistics, UserList};

use super::{line, list, quoted};

pub(super) fn write(out: &mut String, statistics: &Statistics, lists: &[UserList]) {
    let mut table = format!("{{ uri = {}", quoted(&statistics.uri));
    if !statistics.allow.is_empty() {
        let networks = statistics.allow.iter().map(|network| quoted(&network.to_string()));
        table.push_str(&format!(", allow = {}", list(networks)));
    }
    if let Some(users) = statistics.users.as_ref().and_then(|wanted| lists.get(wanted.users())) {
        table.push_str(&format!(", users = {}", quoted(&users.name)));
    }
    if let Some(metrics) = &statistics.metrics {
        table.push_str(&format!(", metrics = {}", quoted(metrics)));
    }
    if statistics.is_public {
        table.push_str(", public = true");
    }
    line(out, "statistics", table + " }");
}
