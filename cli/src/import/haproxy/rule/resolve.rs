//! Conditions that are none with us: what they ask is part of what the rule does. `auth unless { http_auth(staff) }` is
//! `require_auth = "staff"`.

use super::{
    Context, Rule,
    limit::{self, Limit, Track},
};
use crate::import::{
    document::Value,
    haproxy::{
        cond::{Cond, Is},
        directive::Fault,
    },
};

/// The key of a condition on a password.
pub(in crate::import::haproxy) const AUTH: &str = "http_auth";

/// Keys that stand in no `when`.
fn is_part_of_action(cond: &Cond) -> bool {
    cond.mentions(&[AUTH]) || cond.mentions(&limit::OF_CONNECTIONS)
}

impl Context<'_> {
    /// What one rule comes to: several where one of several conditions is such a one.
    pub(super) fn resolve(&self, rule: Rule, tracks: &[Track]) -> Vec<Result<Limit, Fault>> {
        let acts = |key: &str| rule.does.iter().any(|(known, _)| known == key);
        if acts("require_auth") {
            return vec![self.require_auth(rule).map(Limit::Rule)];
        }
        if acts("set_source") {
            return vec![set_source(rule).map(Limit::Rule)];
        }
        if !is_part_of_action(&rule.cond) {
            return vec![Ok(Limit::Rule(rule))];
        }
        let mut rules: Vec<Result<Limit, Fault>> = Vec::new();
        for cond in rule.cond.clone().disjuncts() {
            let rule = Rule { cond: cond.clone(), ..rule.clone() };
            rules.push(if cond.mentions(&[AUTH]) {
                let why = "whether a password is good is asked by `http-request auth` alone: `auth unless { http_auth(LIST) }`";
                Err(Fault { span: Some(rule.span), why: why.into() })
            } else if cond.mentions(&limit::OF_CONNECTIONS) {
                limit::per_source(&rule, &cond.conjuncts(), tracks, self.tables)
            } else {
                Ok(Limit::Rule(rule))
            });
        }
        rules
    }

    /// `auth [realm R] unless { http_auth(LIST) }`
    fn require_auth(&self, rule: Rule) -> Result<Rule, Fault> {
        let fault = |why: String| Fault { span: Some(rule.span), why };
        let is_auth = |part: &Cond| matches!(part, Cond::Not(inner) if matches!(&**inner, Cond::Is(Is { key: AUTH, .. })));
        let (asked, rest): (Vec<Cond>, Vec<Cond>) =
            rule.cond.clone().conjuncts().into_iter().partition(is_auth);
        let (name, values) = match asked.as_slice() {
            [Cond::Not(inner)] if !rest.iter().any(is_part_of_action) => match &**inner {
                Cond::Is(Is { name: Some(name), values, .. }) => (name.as_str(), values),
                _ => return Err(fault("`auth` asks for a password of one list".into())),
            },
            _ => {
                let why = "`auth` asks those for a password who have not given a good one: `auth unless { http_auth(LIST) }`, with other conditions before it";
                return Err(fault(why.into()));
            }
        };
        let groups: Vec<String> = values
            .iter()
            .filter_map(|value| match value {
                Value::Text(group) if !group.is_empty() => Some(group.clone()),
                _ => None,
            })
            .collect();
        let (users, members) = self.users.of_list(name, &groups).map_err(fault)?;
        let realm = rule.does.into_iter().find_map(|(key, realm)| (key == "require_auth").then_some(realm));
        let mut entries = vec![("users".to_owned(), Value::Text(users))];
        if !members.is_empty() {
            let groups = members.into_iter().map(Value::Text).collect();
            entries.push(("groups".to_owned(), Value::one_or_list(groups)));
        }
        entries.extend(realm.map(|realm| ("realm".to_owned(), realm)));
        let does = vec![("require_auth".to_owned(), Value::Table(entries))];
        Ok(Rule { cond: Cond::all(rest), does, span: rule.span, note: rule.note })
    }
}

/// `set-src hdr(x-forwarded-for) if { src NETWORKS }`: those are the proxies that are trusted.
fn set_source(mut rule: Rule) -> Result<Rule, Fault> {
    let mut parts = rule.cond.conjuncts();
    let is_source = |part: &Cond| matches!(part, Cond::Is(Is { key: "source", .. }));
    let trusted = parts.iter().position(is_source).map(|at| parts.remove(at));
    let Some(Cond::Is(Is { values, .. })) = trusted else {
        let why = "`set-src` believes everybody; write set_source = { trusted = [..] } with the networks of the proxies in front";
        return Err(Fault { span: Some(rule.span), why: why.into() });
    };
    if parts.iter().any(is_part_of_action) {
        return Err(Fault { span: Some(rule.span), why: "its condition is none of ours".into() });
    }
    for (key, value) in &mut rule.does {
        if let ("set_source", Value::Table(entries)) = (key.as_str(), value) {
            entries.insert(0, ("trusted".to_owned(), Value::List(values.clone())));
        }
    }
    Ok(Rule { cond: Cond::all(parts), ..rule })
}
