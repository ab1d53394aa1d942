//! `statistics` of a frontend.

use lb_proxy::config::{Statistics, UserList};

use super::{line, list, quoted};

pub(super) fn write(out: &mut String, statistics: &Statistics, lists: &[UserList]) {
    let page = statistics.has_page().then(|| format!("uri = {}", quoted(&statistics.uri)));
    let metrics = statistics.metrics.as_ref().map(|metrics| format!("metrics = {}", quoted(metrics)));
    let mut table = format!("{{ {}", page.into_iter().chain(metrics).collect::<Vec<_>>().join(", "));
    if !statistics.allow.is_empty() {
        let networks = statistics.allow.iter().map(|network| quoted(&network.to_string()));
        table.push_str(&format!(", allow = {}", list(networks)));
    }
    if let Some(users) = statistics.users.as_ref().and_then(|wanted| lists.get(wanted.users())) {
        table.push_str(&format!(", users = {}", quoted(&users.name)));
    }
    if statistics.is_public {
        table.push_str(", public = true");
    }
    line(out, "statistics", table + " }");
}
