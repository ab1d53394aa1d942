//! What asks for the client's address where no client has one: in a frontend that listens on Unix sockets alone.

use lb_proxy::rules;

use super::rules::start;
use crate::config::{
    diagnostic::Report,
    raw::{Action, BindAddress, Condition, Rule, Section},
};

const WHY: &str = "this frontend listens on Unix sockets alone, whose clients have no address";

/// Points it out.
pub(super) fn warn(section: &Section, report: &Report<'_>) {
    let is_unix = |bind: &BindAddress| matches!(bind, BindAddress::Unix(_));
    if section.binds.is_empty() || !section.binds.iter().all(|bind| is_unix(&bind.address)) {
        return;
    }
    if let Some(per_source) = &section.per_source {
        report.warning(start(per_source.span), format!("per_source limits nobody: {WHY}"));
    }
    let rules = || section.rules.iter().chain(&section.response_rules);
    // Where one may find an address, it is there for the others.
    let finds = |action: &Action| matches!(action, Action::SetSource { unix: true, .. });
    if !rules().any(|rule| rule.then.iter().any(|action| finds(&action.value))) {
        rules().for_each(|rule| warn_of(rule, report));
    }
}

fn warn_of(rule: &Rule, report: &Report<'_>) {
    if asks_source(&rule.when) {
        report.warning(start(rule.span), format!("the condition on source in this rule never holds: {WHY}"));
    }
    for action in &rule.then {
        match &action.value {
            Action::RateLimit(limit) if limit.by.as_ref().is_some_and(|by| by.value == "source") => {
                report.warning(start(action.span), format!("rate_limit by source limits nobody: {WHY}"));
            }
            Action::SetSource { .. } => {
                report.warning(start(action.span), format!("set_source trusts nobody: {WHY}"));
            }
            _ => {}
        }
    }
}

fn asks_source(condition: &Condition) -> bool {
    match condition {
        Condition::All(list) | Condition::Any(list) => list.iter().any(asks_source),
        Condition::Not(condition) => asks_source(condition),
        Condition::Value(..) => false,
        Condition::Plain(plain) => matches!(plain, rules::Condition::Source(_)),
    }
}
