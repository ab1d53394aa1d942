//! Conditions that wait for a `;` in a path that is compared without parameters.

use lb_proxy::{
    config::Mode,
    rules::{self, AmbiguousPath, PathPattern},
};

use super::{reach::Sections, rules::start};
use crate::config::{
    diagnostic::Report,
    raw::{Condition, Kind, Rule, Section},
};

/// Points them out.
pub(super) fn warn(sections: &Sections<'_>, report: &Report<'_>) {
    for (frontend, section) in &sections.frontends {
        if frontend.mode == Mode::Http && frontend.ambiguous_path != AmbiguousPath::Pass {
            warn_of(section, report);
        }
    }
    for (index, section) in &sections.backends {
        let mut users = sections.users(*index).peekable();
        let is_pass =
            |user: &Section| user.ambiguous_path.as_ref().is_some_and(|at| at.value == AmbiguousPath::Pass);
        if section.kind != Kind::Listen && users.peek().is_some() && !users.any(is_pass) {
            warn_of(section, report);
        }
    }
}

fn warn_of(section: &Section, report: &Report<'_>) {
    let rules = section.rules.iter().chain(&section.response_rules);
    for rule in rules.filter(|rule: &&Rule| waits(&rule.when)) {
        let message = "the `;` in a condition of this rule is never met: paths are compared without parameters, /a;b is /a (unless ambiguous_path = \"pass\")";
        report.warning(start(rule.span), message);
    }
}

fn waits(condition: &Condition) -> bool {
    match condition {
        Condition::All(list) | Condition::Any(list) => list.iter().any(waits),
        Condition::Not(condition) => waits(condition),
        Condition::Value(..) => false,
        Condition::Plain(plain) => match plain {
            rules::Condition::Path(patterns) => patterns.iter().any(has_semicolon),
            _ => false,
        },
    }
}

fn has_semicolon(pattern: &PathPattern) -> bool {
    match pattern {
        PathPattern::Exact(text) | PathPattern::Prefix(text) | PathPattern::Suffix(text) => {
            text.contains(';')
        }
        PathPattern::Regex(pattern) => pattern.source().contains(';'),
    }
}
