//! `[users.NAME]`: who may be asked for a password.

use crate::config::reader::{At, Fields};

#[derive(Debug)]
pub(crate) struct Users {
    pub(crate) file: Option<At<String>>,
    /// Names and what stands for their passwords, in the order of the file.
    pub(crate) users: Vec<(At<String>, At<String>)>,
    /// Names and members, in the order of the file.
    pub(crate) groups: Vec<(At<String>, Vec<At<String>>)>,
}

const USERS: &str = "a table of names and hashes, as in user.anna = \"$6$...\"";
const GROUPS: &str = "a table of names and members, as in group.admins = [\"anna\"]";

impl Users {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let file = fields.string("file", "the path of a file with lines name:hash, as in \"staff.htpasswd\"");
        let entries = fields.value("user").and_then(|value| value.pairs(USERS)).unwrap_or_default();
        let mut users = Vec::new();
        for (name, value) in entries {
            match value.as_str() {
                Some(text) => users.push((name, At::new(text.to_owned(), value.span))),
                None => fields.report.error(
                    value.span,
                    format!(
                        "the password of `{}` is a text, what `openssl passwd -6` prints",
                        name.value.escape_debug()
                    ),
                ),
            }
        }
        let entries = fields.value("group").and_then(|value| value.pairs(GROUPS)).unwrap_or_default();
        let groups = entries.into_iter().map(|(name, value)| {
            if value.is_empty_list() {
                let name = name.value.escape_debug();
                let message = format!(
                    "the group `{name}` has no user; write group.{name} = [\"anna\"], or leave it out"
                );
                value.report_at(value.span, &message);
            }
            let members = value.one_or_list();
            let members =
                members.iter().filter_map(|value| value.string("the name of a user, or a list of them"));
            (name, members.collect())
        });
        let groups = groups.collect();
        fields.finish(|_| None);
        Self { file, users, groups }
    }
}
