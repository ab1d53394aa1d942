//! Conditions on paths that no request can meet, since paths are compared in normal form and without parameters.

use lb_proxy::{
    config::Mode,
    rules::{self, AmbiguousPath, PathPattern},
};

use super::{reach::Sections, rules::start};
use crate::config::{
    diagnostic::Report,
    raw::{Kind, Section},
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
    for rule in section.rules.iter().chain(&section.response_rules) {
        let mut patterns = Vec::new();
        for condition in rule.when.plain() {
            if let rules::Condition::Path(paths) = condition {
                patterns.extend(paths);
            }
        }
        if patterns.iter().any(|pattern| has_semicolon(pattern)) {
            let message = "the `;` in a condition of this rule is never met: paths are compared without parameters, /a;b is /a (unless ambiguous_path = \"pass\")";
            report.warning(start(rule.span), message);
        }
        for text in patterns.iter().filter_map(|pattern| literal(pattern)) {
            let instead = match rules::normal_form(text) {
                Some(normal) if normal == text => continue,
                Some(normal) => format!("which is `{normal}`"),
                None => "and this one has none".to_owned(),
            };
            let message = format!(
                "`{}` in a condition of this rule is never met: paths are compared in normal form, {instead} (unless ambiguous_path = \"pass\")",
                text.escape_debug()
            );
            report.warning(start(rule.span), message);
        }
    }
}

/// A whole path, from its beginning.
fn literal(pattern: &PathPattern) -> Option<&str> {
    match pattern {
        PathPattern::Exact(text) | PathPattern::Prefix(text) if !text.contains(';') => Some(text),
        _ => None,
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
