//! `[users.NAME]`: hashes are read, also those that stand in files, and members found.

use std::{collections::BTreeSet, path::Path};

use lb_proxy::{
    auth::PasswordHash,
    config::{Frontend, Group, User, UserList},
    rules::Action,
};

use super::answers;
use crate::config::{
    diagnostic::Report,
    raw::{self, Named},
    reader::At,
    text,
};

/// Of a file with users, in bytes.
const LARGEST: u64 = 1 << 20;

/// Bytes of a name.
const LONGEST_NAME: usize = 255;

/// In the order of the file.
pub(super) fn convert(file: &raw::File, report: &Report<'_>) -> Vec<UserList> {
    file.users.iter().map(|list| one(list, &file.folder, report)).collect()
}

fn one(raw: &Named<raw::Users>, folder: &Path, report: &Report<'_>) -> UserList {
    let mut users: Vec<User> = Vec::new();
    for (name, password) in &raw.value.users {
        if let Err(why) = check_name(&name.value) {
            report.error(name.span, format!("the name `{}` {why}", name.value.escape_debug()));
        }
        match PasswordHash::parse(&password.value) {
            Ok(hash) => users.push(User { name: name.value.clone(), hash, is_of_file: false }),
            Err(why) => {
                let message = format!("the password of `{}` {why}", name.value.escape_debug());
                report.error(password.span, message);
            }
        }
    }
    let mut is_whole = users.len() == raw.value.users.len();
    if let Some(file) = &raw.value.file {
        for why in read(&folder.join(&file.value), &mut users, report).err().unwrap_or_default() {
            is_whole = false;
            report.error(file.span, format!("\"{}\" {why}", file.value.escape_debug()));
        }
    }
    if users.is_empty() && is_whole {
        let message = format!(
            "`{}` has no user; write user.anna = \"$6$...\", what `openssl passwd -6` prints",
            raw.name.value
        );
        report.error(raw.name.span, message);
    }
    let find = |member: &At<String>| {
        let found = users.iter().position(|user| user.name == member.value);
        // One whose hash was reported is no further error.
        let is_known = raw.value.users.iter().any(|(name, _)| name.value == member.value);
        if found.is_none() && !is_known {
            let names: Vec<_> = users.iter().map(|user| user.name.as_str()).collect();
            let hint = text::suggestion(&member.value, &names, "user");
            let message = format!("no user is called `{}`{hint}", member.value.escape_debug());
            report.error(member.span, message);
        }
        found
    };
    let group = |(name, members): &(At<String>, Vec<At<String>>)| {
        let mut members: Vec<_> = members.iter().filter_map(find).collect();
        members.sort_unstable();
        members.dedup();
        Group { name: name.value.clone(), members }
    };
    let groups = raw.value.groups.iter().map(group).collect();
    let file = raw.value.file.as_ref().map(|file| file.value.clone());
    UserList { name: raw.name.value.clone(), file, users, groups }
}

/// The users of a file in htpasswd's form: `name:hash`, maybe with a comment behind another colon. Errors are ends of
/// sentences; none of them shows more of a line than the name.
fn read(path: &Path, users: &mut Vec<User>, report: &Report<'_>) -> Result<(), Vec<String>> {
    let bytes = answers::read_file(path, LARGEST, report).map_err(|why| vec![why])?;
    let text = String::from_utf8(bytes).map_err(|_| vec!["is not UTF-8 text".to_owned()])?;
    let mut errors = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut at = |why: String| errors.push(format!("line {}: {why}", number + 1));
        let Some((name, rest)) = line.split_once(':') else {
            at("has no colon; write name:hash".to_owned());
            continue;
        };
        let shown = name.escape_debug();
        if let Err(why) = check_name(name) {
            at(format!("the name `{shown}` {why}"));
        } else if users.iter().any(|user| user.name == name) {
            at(format!("`{shown}` is a user already; keep one"));
        } else {
            match PasswordHash::parse(rest.split(':').next().unwrap_or_default()) {
                Ok(hash) => users.push(User { name: name.to_owned(), hash, is_of_file: true }),
                Err(why) => at(format!("the password of `{shown}` {why}")),
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// RFC 7617 §2
fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        Err("is not 1..255 bytes long")
    } else if name.contains(':') {
        Err("has a colon, which ends a name where it is sent")
    } else if name.chars().any(|character| character.is_ascii_control()) {
        Err("has a control character")
    } else {
        Ok(())
    }
}

/// A list that no rule asks for is a mistake: nobody is kept out by it. So is a group of one that is asked for.
pub(super) fn warn_unused(
    file: &raw::File,
    frontends: &[Frontend],
    backends: &[lb_proxy::config::Backend],
    report: &Report<'_>,
) {
    if report.has_errors() {
        return;
    }
    let of_frontends = frontends.iter().flat_map(|frontend| &frontend.rules);
    let rules = of_frontends.chain(backends.iter().flat_map(|backend| &backend.rules));
    let of_rules = rules.flat_map(|rule| &rule.then).filter_map(|action| match action {
        Action::RequireAuth(wanted) | Action::AskAuth(wanted, ..) => Some(wanted),
        _ => None,
    });
    let of_pages = frontends.iter().filter_map(|frontend| frontend.statistics.as_ref()?.users.as_ref());
    let wanted: Vec<_> = of_rules.chain(of_pages).collect();
    for (index, list) in file.users.iter().enumerate() {
        let name = &list.name.value;
        let mut asked = wanted.iter().filter(|wanted| wanted.users() == index).peekable();
        if asked.peek().is_none() {
            let message =
                format!("no rule asks for the users `{name}`; write require_auth = \"{name}\" into one");
            report.warning(list.name.span, message);
            continue;
        }
        let named: BTreeSet<_> = asked.flat_map(|wanted| wanted.groups()).collect();
        for (at, (group, _)) in list.value.groups.iter().enumerate() {
            if !named.contains(&at) {
                let message = format!(
                    "no rule asks for the group `{0}`; write groups = [\"{0}\"] beside users = \"{name}\" into one",
                    group.value
                );
                report.warning(group.span, message);
            }
        }
    }
}
