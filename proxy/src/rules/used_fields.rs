//! The fields of requests that a configuration uses.

use super::{Action, Rule};
use crate::{
    config::{Backend, Balance, Forwarded, Frontend, HashKey, LogFormat},
    sample::Wanted,
};

/// Names of the fields of requests that rules, logs and the choice of a server look at, and of those that rules write.
/// A client can't have them dropped: where a proxy in front has set `X-Real-IP`, `Connection: X-Real-IP` would make it
/// the client. Found out once per configuration, for all of it: one more that stays does no harm.
#[derive(Debug, Default)]
pub(crate) struct UsedFields(Box<[Box<[u8]>]>);

impl UsedFields {
    pub(super) fn new(frontends: &[Frontend], backends: &[Backend]) -> Self {
        let mut wanted = Wanted::default();
        for frontend in frontends {
            of_requests(&frontend.rules, &mut wanted);
            of_responses(&frontend.response_rules, &mut wanted);
            if let LogFormat::Template(template) = &frontend.log.format {
                template.want(&mut wanted);
            }
            if let Some(id) = &frontend.unique_id {
                id.template.want(&mut wanted);
            }
            // What a trusted proxy says: its clients may name it in `Connection`, and it may pass that on.
            of_forwarded(frontend.forwarded.as_ref(), &mut wanted);
        }
        for backend in backends {
            of_forwarded(backend.forwarded.own(), &mut wanted);
            of_requests(&backend.rules, &mut wanted);
            of_responses(&backend.response_rules, &mut wanted);
            if let Balance::Hash { key: HashKey::Header(name), .. } = &backend.balance {
                wanted.add_field(name.as_bytes());
            }
        }
        Self(wanted.fields.into())
    }

    /// Those that lbctl writes into requests whatever the rules are, under names of the configuration.
    pub(super) fn written(frontends: &[Frontend], backends: &[Backend]) -> Self {
        let told = frontends.iter().filter_map(|frontend| frontend.unique_id.as_ref()?.header.as_deref());
        let named = backends.iter().filter_map(|backend| backend.options.server_name_header.as_deref());
        Self(told.chain(named).map(|name| Box::from(name.as_bytes())).collect())
    }

    /// The fields of responses that rules on them look at or write.
    pub(super) fn of_responses(rules: &[Rule]) -> Self {
        let mut wanted = Wanted::default();
        add_headers(rules, &mut wanted);
        Self(wanted.fields.into())
    }

    /// Is `name` one of them, without regard to case?
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|used| used.eq_ignore_ascii_case(name))
    }
}

fn of_forwarded(forwarded: Option<&Forwarded>, wanted: &mut Wanted) {
    for header in forwarded.into_iter().flat_map(|forwarded| &forwarded.headers) {
        wanted.add_field(header.name().as_bytes());
    }
}

fn of_requests(rules: &[Rule], wanted: &mut Wanted) {
    add_headers(rules, wanted);
    of_responses(rules, wanted);
}

/// Those of conditions on the message that `rules` run on, and of edits.
fn add_headers(rules: &[Rule], wanted: &mut Wanted) {
    for rule in rules {
        rule.when.headers().into_iter().for_each(|name| wanted.add_field(name.as_bytes()));
        rule.then.iter().filter_map(Action::header).for_each(|name| wanted.add_field(name.as_bytes()));
    }
}

/// Conditions on fields and edits are about the response there.
fn of_responses(rules: &[Rule], wanted: &mut Wanted) {
    for rule in rules {
        rule.when.want(wanted);
        rule.then.iter().for_each(|action| action.want(wanted));
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::{
        config::{Forwarded, ForwardedHeader, ForwardedParameters, HashKind, Mode, UniqueId},
        rules::{
            Condition, Content, Destination, LimitedBy, NamedBackend, RateLimit, Redirect, Respond,
            SourceFrom, Text, Value, ValuePattern,
        },
        sample::{Expression, Names, Place, Stage, Template, Text as Kind},
        table::Rate,
    };

    fn used(name: &str) -> Text {
        let source = format!("{{request.header.{name}}}");
        Text::new(&source, template(&source))
    }

    fn template(source: &str) -> Template {
        Template::parse(source, &place(&Names::default())).unwrap()
    }

    fn place(names: &Names) -> Place<'_> {
        Place { stage: Stage::Request, backend: false, text: Kind::Field, names }
    }

    #[test]
    fn all_fields_that_a_configuration_looks_at_or_writes_are_used() {
        let header = |name: &str| Condition::Header(name.into(), vec![ValuePattern::Present]);
        let source = "{request.header.by-value}";
        let value = Expression::parse(source, &place(&Names::default())).unwrap();
        let value = Condition::Value(Value::new(source, value), vec![ValuePattern::Present]);
        let limit = |name: &str| {
            RateLimit::new(
                LimitedBy::Text(used(name)),
                Rate { count: NonZeroU32::MIN, per: Duration::from_secs(1) },
                NonZeroU32::MIN,
                64,
                429,
            )
        };
        let redirect = |to| Action::Redirect(Redirect::new(to, 302));
        let then = vec![
            Action::SetSource(SourceFrom::List {
                trusted: Vec::new(),
                unix: false,
                header: "set-source".into(),
            }),
            Action::SetSource(SourceFrom::Text(used("source-from"))),
            Action::AddHeader("added".into(), used("added-from")),
            Action::SetHeader("set".into(), used("set-from")),
            Action::DeleteHeader("deleted".into()),
            Action::SetPath(used("path")),
            Action::SetQuery(used("query")),
            Action::BackendNamed(NamedBackend::new(used("backend"), [], None)),
            Action::RateLimit(limit("limit")),
            redirect(Destination::Location(used("location"))),
            redirect(Destination::Prefix(used("prefix"))),
            Action::Respond(Respond {
                denies: false,
                status: 200,
                content: Content::Text { kind: "text/plain".into(), text: used("answer") },
                headers: vec![("of-answer".into(), used("answer-field"))],
            }),
        ];
        let when = Condition::All(vec![
            Condition::Any(vec![Condition::Not(Box::new(header("In-Condition"))), value]),
            header("second"),
        ]);
        let mut frontend = Frontend::new("front", Mode::Http, Vec::new());
        frontend.rules = vec![Rule { when, then }];
        frontend.log.format = LogFormat::Template(template("{request.header.logged}"));
        frontend.unique_id =
            Some(UniqueId { template: template("{request.header.id}"), header: Some("own-id".into()) });
        frontend.forwarded = Some(Forwarded {
            headers: vec![ForwardedHeader::For],
            trust: Vec::new(),
            parameters: ForwardedParameters::default(),
        });
        let mut backend = Backend::new("back", Mode::Http, Vec::new());
        backend.balance = Balance::Hash { key: HashKey::Header("hashed".into()), kind: HashKind::default() };
        backend.response_rules = vec![Rule {
            when: header("of-response"),
            then: vec![Action::SetHeader("also-of-response".into(), used("remembered"))],
        }];
        let used = UsedFields::new(&[frontend], &[backend]);
        for name in [
            "set-source",
            "source-from",
            "added",
            "added-from",
            "set",
            "set-from",
            "deleted",
            "path",
            "query",
            "backend",
            "limit",
            "location",
            "prefix",
            "answer",
            "answer-field",
            "in-condition",
            "BY-VALUE",
            "second",
            "logged",
            "id",
            "x-forwarded-for",
            "hashed",
            "remembered",
        ] {
            assert!(used.has(name.as_bytes()), "{name}");
        }
        for name in ["of-answer", "own-id", "of-response", "also-of-response", "other", "se", "sets"] {
            assert!(!used.has(name.as_bytes()), "{name}");
        }
    }
}
