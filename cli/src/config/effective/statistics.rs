//! `statistics` of a frontend, and `[statistics]`.

use lb_proxy::config::{Statistics, UserList};

use super::{line, list, quoted};

/// Of a frontend.
pub(super) fn write(out: &mut String, statistics: &Statistics, lists: &[UserList]) {
    let keys = keys(statistics, lists).into_iter().map(|(key, value)| format!("{key} = {value}"));
    line(out, "statistics", format!("{{ {} }}", keys.collect::<Vec<_>>().join(", ")));
}

/// What both have.
pub(super) fn keys(statistics: &Statistics, lists: &[UserList]) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    if statistics.has_page() {
        keys.push(("uri", quoted(&statistics.uri)));
    }
    if let Some(metrics) = &statistics.metrics {
        keys.push(("metrics", quoted(metrics)));
    }
    if !statistics.allow.is_empty() {
        let networks = statistics.allow.iter().map(|network| quoted(&network.to_string()));
        keys.push(("allow", list(networks)));
    }
    if let Some(users) = statistics.users.as_ref().and_then(|wanted| lists.get(wanted.users())) {
        keys.push(("users", quoted(&users.name)));
    }
    if statistics.is_public {
        keys.push(("public", "true".to_owned()));
    }
    keys
}
