//! `rules`: what requests are refused, answered, changed or sent elsewhere for, as written.

use lb_proxy::rules::AmbiguousPath;

use crate::config::{
    diagnostic::Span,
    reader::{At, Fields},
};

mod action;
mod condition;
mod pattern;
mod rate_limit;
mod require_auth;
mod respond;
mod status;

pub(crate) use self::pattern::within;

pub(crate) use self::{
    action::{Action, Destination, SourceFrom},
    condition::Condition,
    rate_limit::RateLimit,
    respond::Content,
};

/// One rule.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) span: Span,
    pub(crate) when: Condition,
    /// In the order of the file; what ends the list comes last.
    pub(crate) then: Vec<At<Action>>,
}

/// What is forwarded by rules: that decides which conditions and actions there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// Requests of a frontend.
    Frontend,
    /// Requests of a backend.
    Backend,
    /// Responses, of either.
    Response,
}

const AMBIGUOUS_PATHS: [(&str, AmbiguousPath); 3] = [
    ("normalize", AmbiguousPath::Normalize),
    ("refuse", AmbiguousPath::Refuse),
    ("pass", AmbiguousPath::Pass),
];

/// `rules` or `response_rules` of a section.
pub(super) fn read_all(fields: &Fields<'_>, key: &'static str, side: Side) -> Vec<Rule> {
    let Some(list) =
        fields.value(key).and_then(|value| value.list("a list of rules, as in [{ deny = 403 }]"))
    else {
        return Vec::new();
    };
    list.iter()
        .filter_map(|value| {
            let fields = value.fields(
                "a rule".into(),
                "a rule, as in { when = { path_prefix = \"/admin\" }, deny = 403 }",
            )?;
            Some(Rule::read(fields, side))
        })
        .collect()
}

/// `ambiguous_path` of a frontend.
pub(super) fn ambiguous_path(fields: &Fields<'_>) -> Option<At<AmbiguousPath>> {
    fields.choice("ambiguous_path", &AMBIGUOUS_PATHS)
}

impl Rule {
    fn read(fields: Fields<'_>, side: Side) -> Self {
        let when = fields.value("when").and_then(|value| condition::read_when(&value, side));
        let then = action::read_all(&fields, side);
        let span = fields.span;
        let report = fields.report;
        let is_idle = fields.has_nothing_but("when");
        fields.finish(|key| elsewhere(key, side));
        if is_idle {
            report.error(span, "the rule does nothing; write what it does, as in { deny = 403 }");
        }
        Self { span, when: when.unwrap_or(Condition::All(Vec::new())), then }
    }
}

fn elsewhere(key: &str, side: Side) -> Option<String> {
    if key == "backend" && side == Side::Backend {
        return Some("the backend is chosen by the rules of a frontend".into());
    }
    if side == Side::Response && key == "redirect" {
        let example = "respond = { status = 302, headers = { Location = \"/new\" } }";
        return Some(format!("redirect the request in `rules`, or write {example}"));
    }
    if side == Side::Response && action::REQUEST_KEYS.contains(&key) {
        return Some("a response has none; it belongs into `rules`".into());
    }
    if side != Side::Response && key == "set_status" {
        return Some("a request has none; it belongs into `response_rules`".into());
    }
    condition::KEYS.contains(&key).then(|| format!("it belongs into `when`: when = {{ {key} = .. }}"))
}
