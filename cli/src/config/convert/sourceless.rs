//! What asks for the client's address where no client has one: in a frontend that listens on Unix sockets alone, and in a
//! backend that only such frontends use.

use lb_proxy::rules;

use super::{reach::Sections, rules::start};
use crate::config::{
    diagnostic::Report,
    raw::{Action, Bind, BindAddress, Condition, Kind, Rule, Section, SourceFrom},
};

const OF_FRONTEND: &str = "this frontend listens on Unix sockets alone, whose clients have no address";
const OF_BACKEND: &str =
    "whatever uses this backend listens on Unix sockets alone, whose clients have no address";

/// Points it out.
pub(super) fn warn(sections: &Sections<'_>, report: &Report<'_>) {
    for (frontend, section) in &sections.frontends {
        if !is_unix_alone(section) {
            continue;
        }
        if let Some(per_source) = &section.per_source {
            report.warning(start(per_source.span), format!("per_source limits nobody: {OF_FRONTEND}"));
        }
        if finds(&section.rules) {
            continue;
        }
        section.rules.iter().for_each(|rule| warn_of(rule, OF_FRONTEND, report));
        // What a backend finds is there on the way back.
        if !sections.of(frontend).any(|backend| finds(&backend.rules)) {
            if let Some(at) = section.forwardfor.as_ref().filter(|at| at.value) {
                report.warning(at.span, format!("forwardfor adds no line: {OF_FRONTEND}"));
            }
            section.response_rules.iter().for_each(|rule| warn_of(rule, OF_FRONTEND, report));
        }
    }
    for (index, section) in &sections.backends {
        let mut users = sections.users(*index).peekable();
        let has_none = users.peek().is_some() && users.all(|user| is_unix_alone(user) && !finds(&user.rules));
        if !has_none || finds(&section.rules) {
            continue;
        }
        if let Some(stick) = &section.stick {
            report.warning(start(stick.span), format!("stick knows nobody: {OF_BACKEND}"));
        }
        if section.kind != Kind::Listen {
            let rules = section.rules.iter().chain(&section.response_rules);
            rules.for_each(|rule| warn_of(rule, OF_BACKEND, report));
        }
    }
}

fn is_unix_alone(section: &Section) -> bool {
    let is_unix = |bind: &Bind| matches!(bind.address, BindAddress::Unix(_)) && bind.accept_proxy.is_none();
    !section.binds.is_empty() && section.binds.iter().all(is_unix)
}

/// May one of them find an address? Then it is there for the others.
fn finds(rules: &[Rule]) -> bool {
    let mut actions = rules.iter().flat_map(|rule| &rule.then);
    actions.any(|action| {
        matches!(action.value, Action::SetSource(SourceFrom::List { unix: true, .. } | SourceFrom::Text(_)))
    })
}

fn warn_of(rule: &Rule, why: &str, report: &Report<'_>) {
    if asks_source(&rule.when, false) {
        report.warning(start(rule.span), format!("the condition on source in this rule never holds: {why}"));
    }
    if asks_source(&rule.when, true) {
        report.warning(start(rule.span), format!("the `not` source in this rule always holds: {why}"));
    }
    for action in &rule.then {
        match &action.value {
            Action::RateLimit(limit) if limit.by.as_ref().is_some_and(|by| by.value == "source") => {
                report.warning(start(action.span), format!("rate_limit by source limits nobody: {why}"));
            }
            Action::SetSource(_) => {
                report.warning(start(action.span), format!("set_source trusts nobody: {why}"));
            }
            _ => {}
        }
    }
}

/// Is there a condition on the source, under an odd number of `not` if it is `negated`?
fn asks_source(condition: &Condition, negated: bool) -> bool {
    match condition {
        Condition::All(list) | Condition::Any(list) => list.iter().any(|one| asks_source(one, negated)),
        Condition::Not(condition) => asks_source(condition, !negated),
        Condition::Value(..) | Condition::UsableBelow(_) => false,
        Condition::Plain(plain) => !negated && matches!(plain, rules::Condition::Source(_)),
    }
}
