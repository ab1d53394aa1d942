//! Whether rules look at the path, or at a copy of it, or at a copy of that.

use super::{Action, RateLimit, Rule, Text, action::Written};
use crate::config::{Backend, Frontend};

/// Does a rule of `frontend`, or of one of `backends` that it may choose, look at the path or at a copy of it? Then the path
/// is settled as its `ambiguous_path` says.
pub fn looks_at_path(frontend: &Frontend, backends: &[Backend]) -> bool {
    let of_backends = frontend.backends().filter_map(|backend| backends.get(backend.0));
    let of_backends = of_backends.flat_map(|backend| backend.rules.iter().chain(&backend.response_rules));
    let own = frontend.rules.iter().chain(&frontend.response_rules);
    path_matters(&own.chain(of_backends).collect::<Vec<_>>())
}

/// Does a condition, a limit or the name of a backend look at the path, or at where rules have copied it to?
fn path_matters(rules: &[&Rule]) -> bool {
    let actions = || rules.iter().flat_map(|rule| &rule.then);
    // Where the path may be. In the order of the file or not: variables of a connection outlive a request.
    let mut places: Vec<Written<'_>> = Vec::new();
    loop {
        let known = places.len();
        let is_copy =
            |text: &Text| text.looks_at_path() || places.iter().any(|place| text.is_made_of(*place));
        let written = actions().filter_map(Action::writes);
        let copies = written.filter(|(place, text)| !places.contains(place) && is_copy(text));
        let copies: Vec<_> = copies.map(|(place, _)| place).collect();
        places.extend(copies);
        if places.len() == known {
            break;
        }
    }
    let limits = |test: &dyn Fn(&RateLimit) -> bool| {
        actions().any(|action| matches!(action, Action::RateLimit(limit) if test(limit)))
    };
    let names = |test: &dyn Fn(&Text) -> bool| {
        actions().any(|action| matches!(action, Action::BackendNamed(named) if test(named.name())))
    };
    rules.iter().any(|rule| rule.when.looks_at_path())
        || limits(&RateLimit::looks_at_path)
        || names(&Text::looks_at_path)
        || places.into_iter().any(|place| {
            rules.iter().any(|rule| rule.when.looks_at(place))
                || limits(&|limit| limit.looks_at(place))
                || names(&|text| text.is_made_of(place))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::{Condition, NamedBackend, ValuePattern},
        sample::{Names, Place, Stage, Template, Text as Kind},
    };

    fn text(source: &str) -> Text {
        let names = Names::default();
        let place = Place { stage: Stage::Request, backend: false, text: Kind::Field, names: &names };
        Text::new(source, Template::parse(source, &place).unwrap())
    }

    fn always(action: Action) -> Rule {
        Rule { when: Condition::All(Vec::new()), then: vec![action] }
    }

    fn set(name: &str, source: &str) -> Rule {
        always(Action::SetHeader(name.into(), text(source)))
    }

    fn asks(name: &str) -> Rule {
        let when = Condition::Header(name.into(), vec![ValuePattern::Present]);
        Rule { when, then: vec![Action::Deny(403)] }
    }

    #[test]
    fn name_of_a_backend_that_is_made_of_the_path_looks_at_it() {
        let named = |source: &str| always(Action::BackendNamed(NamedBackend::new(text(source), [], None)));
        for (rules, expected) in [
            (vec![named("{request.path|field(2, '/')}")], true),
            (vec![set("X-A", "{request.path}"), named("{request.header.x-a}")], true),
            (vec![set("X-A", "{request.path}"), named("{request.host}")], false),
        ] {
            assert_eq!(path_matters(&rules.iter().collect::<Vec<_>>()), expected, "{rules:?}");
        }
    }

    #[test]
    fn a_copy_of_a_copy_is_the_path() {
        let query = || always(Action::SetQuery(text("a={request.header.x-a}")));
        for (rules, expected) in [
            (vec![set("X-A", "{request.path}"), asks("X-A")], true),
            (vec![set("X-A", "{request.path}"), set("X-B", "{request.header.x-a}"), asks("X-B")], true),
            (vec![set("X-B", "{request.query.a}"), query(), set("X-A", "{request.path}"), asks("x-b")], true),
            (vec![set("X-A", "{request.path}"), set("X-B", "{request.header.x-c}"), asks("X-B")], false),
            (vec![set("X-A", "{request.path}"), asks("X-B")], false),
        ] {
            assert_eq!(path_matters(&rules.iter().collect::<Vec<_>>()), expected, "{rules:?}");
        }
    }
}
