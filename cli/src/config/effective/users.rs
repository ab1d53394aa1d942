//! `[users.NAME]`, as TOML. Hashes are printed, as the file has them.

use lb_proxy::{config::UserList, rules::RequireAuth, sample::VariableName};

use super::{key, line, list, quoted, section};

pub(super) fn users(out: &mut String, users: &UserList) {
    section(out, "users", Some(&users.name));
    if let Some(file) = &users.file {
        line(out, "file", quoted(file));
    }
    for user in users.users.iter().filter(|user| !user.is_of_file) {
        line(out, &format!("user.{}", key(&user.name)), quoted(user.hash.text()));
    }
    for group in &users.groups {
        let members = group.members.iter().filter_map(|member| users.users.get(*member));
        line(out, &format!("group.{}", key(&group.name)), list(members.map(|user| quoted(&user.name))));
    }
}

/// `require_auth` of a rule.
pub(super) fn require_auth(
    wanted: &RequireAuth,
    set_var: Option<&VariableName>,
    lists: &[UserList],
) -> String {
    let Some(users) = lists.get(wanted.users()) else { return String::new() };
    let groups = wanted.groups().iter().filter_map(|group| users.groups.get(*group));
    let groups: Vec<_> = groups.map(|group| quoted(&group.name)).collect();
    let groups = if groups.is_empty() { String::new() } else { format!(", groups = {}", list(groups)) };
    let then = match set_var {
        Some(name) => format!("set_var = {}", quoted(&name.to_string())),
        None => format!("realm = {}", quoted(wanted.realm())),
    };
    format!("{{ users = {}{groups}, {then} }}", quoted(&users.name))
}
