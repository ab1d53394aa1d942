//! `require_auth`, as written.

use super::{action::Action, rate_limit};
use crate::config::reader::{At, Value};

const EXPECTED: &str =
    "the name of a [users.*], or a table, as in { users = \"staff\", groups = [\"admins\"] }";

/// The name of a list, or `{ users = .., groups = .., realm = .., set_var = .. }`.
pub(super) fn require_auth(value: &Value<'_>) -> Option<Action> {
    if let Some(users) = value.as_str() {
        let users = At::new(users.to_owned(), value.span);
        return Some(Action::RequireAuth { users, groups: Vec::new(), realm: None, set_var: None });
    }
    let mut fields = value.fields("`require_auth`".into(), EXPECTED)?;
    fields.span = value.span;
    fields.require("users", "users = \"staff\", the name of a [users.*]");
    let users = fields.string("users", "the name of a [users.*], as in \"staff\"");
    let groups = fields.value("groups").map(|value| {
        if value.is_empty_list() {
            value.mismatch("at least one group; leave it out for every user");
        }
        let groups = value.one_or_list();
        groups.iter().filter_map(|value| value.string("the name of a group, or a list of them")).collect()
    });
    let realm = fields.value("realm").and_then(|value| {
        value.parsed("a text, as in \"Administration\"", |text| {
            let is_shown = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if is_shown {
                Ok(text.to_owned())
            } else {
                Err("is not what every client shows; write printable ASCII".to_owned())
            }
        })
    });
    let set_var = fields.string("set_var", "the name of a variable, as in \"is_staff\"");
    if let (Some(realm), Some(_)) = (&realm, &set_var) {
        fields.report.error(realm.span, "with set_var nobody is asked, so no client shows it");
    }
    let set_var = set_var.and_then(|name| rate_limit::of_request(&name, &fields));
    fields.finish(|_| None);
    let realm = realm.map(|realm| realm.value);
    Some(Action::RequireAuth { users: users?, groups: groups.unwrap_or_default(), realm, set_var })
}
