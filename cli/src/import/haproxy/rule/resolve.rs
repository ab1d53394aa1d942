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

/// The key of a condition on how many servers a backend has.
pub(in crate::import::haproxy) const USABLE: &str = "usable_below";

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
        if acts("set_source") && !rule.cond.mentions(&["source"]) {
            let message = "`set-src` believes whoever comes, and each client can write what it wants: add a condition on `src`, the networks of the proxies in front";
            self.notes.advise(rule.span, message);
        }
        if !is_part_of_action(&rule.cond) {
            return vec![Ok(Limit::Rule(rule))];
        }
        let mut rules: Vec<Result<Limit, Fault>> = Vec::new();
        for cond in rule.cond.clone().disjuncts() {
            let rule = Rule { cond: cond.clone(), ..rule.clone() };
            if cond.mentions(&[AUTH]) && !cond.mentions(&limit::OF_CONNECTIONS) {
                match self.asked(rule) {
                    Ok((asked, rule)) => {
                        rules.extend(asked.into_iter().chain([rule]).map(|rule| Ok(Limit::Rule(rule))));
                    }
                    Err(fault) => rules.push(Err(fault)),
                }
                continue;
            }
            rules.push(if cond.mentions(&limit::OF_CONNECTIONS) {
                limit::per_source(&rule, &cond.conjuncts(), tracks, self.tables)
            } else {
                Ok(Limit::Rule(rule))
            });
        }
        rules
    }

    /// With variables in the place of passwords, and the rules that set them.
    fn asked(&self, rule: Rule) -> Result<(Vec<Rule>, Rule), Fault> {
        let mut asked: Vec<Rule> = Vec::new();
        let cond = rule.cond.clone().replaced(&mut |is: Is| {
            let Is { key: AUTH, name: Some(name), values } = &is else { return Ok(Cond::Is(is)) };
            let (users, members) = self
                .users
                .of_list(name, &groups(values))
                .map_err(|why| Fault { span: Some(rule.span), why })?;
            let variable = [std::slice::from_ref(&users), &members].concat().join("_");
            let variable: String = format!("is_{variable}")
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
                .collect();
            let mut entries = vec![("users".to_owned(), Value::Text(users))];
            if !members.is_empty() {
                let groups = members.into_iter().map(Value::Text).collect();
                entries.push(("groups".to_owned(), Value::one_or_list(groups)));
            }
            entries.push(("set_var".to_owned(), Value::text(&variable)));
            let does = vec![("require_auth".to_owned(), Value::Table(entries))];
            if !asked.iter().any(|known| known.does == does) {
                asked.push(Rule { cond: Cond::Always, does, span: rule.span, note: None });
            }
            Ok::<_, Fault>(Cond::named("value", format!("{{var.{variable}}}"), vec![Value::Flag(true)]))
        })?;
        Ok((asked, Rule { cond, ..rule }))
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
        let groups = groups(values);
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

/// Those of `http_auth_group`; none of `http_auth`.
fn groups(values: &[Value]) -> Vec<String> {
    let texts = values.iter().filter_map(|value| match value {
        Value::Text(group) if !group.is_empty() => Some(group.clone()),
        _ => None,
    });
    texts.collect()
}
