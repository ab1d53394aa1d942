//! `statistics`: who may see the page, and what it hides.

use lb_proxy::{
    config::{Mode, Statistics},
    rules::{Action, Condition, PathPattern, Rule, ValuePattern},
};

use super::rules;
use crate::config::{
    diagnostic::{Report, Span},
    raw::{self, Named, Section},
};

/// Of a frontend in this mode, with these rules.
pub(super) fn convert(
    section: &Named<Section>,
    defaults: &Section,
    mode: Mode,
    rules: &[Rule],
    context: rules::Context<'_>,
) -> Option<Statistics> {
    let report = context.report;
    let own = section.value.statistics.as_ref();
    if mode == Mode::Tcp {
        if let Some(raw::Statistics::At(page)) = own {
            report.error(page.span, "statistics need mode = \"http\"; [statistics] listens on its own");
        }
        return None;
    }
    let raw::Statistics::At(page) = own.or(defaults.statistics.as_ref())? else { return None };
    let uri = page.uri.as_ref().or(page.metrics.as_ref())?;
    let public = page.public.as_ref().filter(|public| public.value);
    let limits = [("allow", !page.allow.is_empty()), ("users", page.users.is_some())];
    if let (Some(public), Some((other, _))) = (public, limits.into_iter().find(|(_, is_given)| *is_given)) {
        let message = format!("public = true lets everybody in, and `{other}` does not; keep one of them");
        report.error(public.span, message);
    }
    let statistics = Statistics {
        uri: uri.value.clone(),
        allow: page.allow.iter().map(|network| network.value).collect(),
        users: page.users.as_ref().and_then(|users| context.require_auth(users, &[], None)),
        is_public: public.is_some(),
        metrics: page.metrics.as_ref().map(|metrics| metrics.value.clone()),
    };
    if statistics.is_open_by_omission() && page.users.is_none() {
        report.warning(page.span, open(&section.name.value, &uri.value));
    }
    hidden(section, rules, &statistics, uri.span, report);
    half_guarded(rules, &statistics, uri.span, report);
    if let Some(metrics) =
        page.metrics.as_ref().filter(|metrics| page.uri.is_some() && metrics.value == uri.value)
    {
        let message = format!("the metrics would hide the page, which is at {} as well", uri.value);
        report.error(metrics.span, message);
    }
    Some(statistics)
}

/// What `check` warns of and `status` notes.
pub(crate) fn open(frontend: &str, uri: &str) -> String {
    format!(
        "anybody who reaches the frontend `{frontend}` can read its statistics at {uri}; set `users` or `allow` there, or \
         public = true if that is meant"
    )
}

/// What is said of a rule that sends requests to a backend by their path, where the page takes all of them.
pub(crate) fn hidden_route(rules: &[Rule], statistics: &Statistics) -> Option<String> {
    let sends = |rule: &&Rule| rule.then.iter().any(Action::chooses_backend);
    let paths = rules.iter().filter(sends).flat_map(|rule| paths(&rule.when));
    let path = paths.into_iter().find(|path| statistics.has_page() && statistics.takes(path))?;
    Some(format!(
        "the statistics take all that begins with {}, so what a rule sends to a backend by a path that begins with {} never gets there",
        statistics.uri,
        String::from_utf8_lossy(&path).escape_debug()
    ))
}

/// Requests that a rule or the default backend is meant for, and that the page takes.
fn hidden(
    section: &Named<Section>,
    rules: &[Rule],
    statistics: &Statistics,
    span: Span,
    report: &Report<'_>,
) {
    let uri = &statistics.uri;
    if let Some(message) = hidden_route(rules, statistics) {
        report.warning(span, message);
    }
    let has_backend = section.value.kind == raw::Kind::Listen || section.value.default_backend_given;
    if uri == "/" && has_backend && statistics.has_page() {
        report
            .warning(span, "the statistics at / hide everything that this frontend would send to a backend");
    }
}

/// A rule refuses the path of the statistics to somebody, and there are others that begin so.
fn half_guarded(rules: &[Rule], statistics: &Statistics, span: Span, report: &Report<'_>) {
    if !statistics.allow.is_empty() || statistics.users.is_some() || !statistics.has_page() {
        return;
    }
    let uri = &statistics.uri;
    let refuses = |action: &Action| {
        let asks = matches!(action, Action::RequireAuth(_) | Action::RateLimit(_));
        asks || matches!(
            action,
            Action::Deny(_) | Action::Tarpit(_) | Action::Redirect(_) | Action::Respond(_)
        )
    };
    let bare = |path: &[u8]| path.strip_suffix(b"/").unwrap_or(path).to_vec();
    let is_it = |path: Vec<u8>| bare(&path) == bare(uri.as_bytes());
    let guards = |rule: &Rule| rule.then.iter().any(refuses) && paths(&rule.when).into_iter().any(is_it);
    if rules.iter().any(guards) {
        let message = format!(
            "the statistics are also at {uri}x and whatever else begins with {uri}, which the rule on that path is not about; \
             write `allow` or `users` here"
        );
        report.warning(span, message);
    }
}

/// Those with one of which all paths begin that a part of the condition is about.
fn paths(when: &Condition) -> Vec<Vec<u8>> {
    const OF_PATH: [&str; 2] = ["{request.path}", "{request.target}"];
    match when {
        Condition::All(list) | Condition::Any(list) => list.iter().flat_map(paths).collect(),
        Condition::Path(patterns) => patterns.iter().flat_map(PathPattern::beginnings).collect(),
        Condition::Value(value, patterns) if OF_PATH.contains(&value.source()) => {
            patterns.iter().flat_map(ValuePattern::beginnings).collect()
        }
        _ => Vec::new(),
    }
}
