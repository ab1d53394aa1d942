//! `userlist`, and the names and passwords of `stats auth`: as `[users.NAME]`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use lb_proxy::auth::PasswordHash;
use sha2::{Digest, Sha256};

use super::{
    directive::{Fault, shown},
    lexer::Word,
    section::{Line, Section},
    table::{Row, row},
};
use crate::import::{
    clean,
    document::{Value, key},
    haproxy::directive::{Directive, Done},
    notes::Notes,
    unique,
};

/// Passwords in clear text that are hashed; each takes milliseconds.
const MOST_PASSWORDS: usize = 500;

/// A `userlist`, or what stands for one.
#[derive(Clone, Debug, Default)]
pub(super) struct Userlist {
    /// HAProxy's name.
    pub(super) name: String,
    users: Vec<User>,
    /// Group and member.
    groups: BTreeSet<(String, String)>,
}

#[derive(Clone, Debug)]
struct User {
    name: Word,
    password: Password,
}

#[derive(Clone, Debug)]
enum Password {
    Hash(String),
    Clear(String),
}

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Userlist>] = &[
    row("user", "", user, "`user.NAME`", "Of `password` a hash with SHA-256, SHA-512, bcrypt or yescrypt; what `insecure-password` has is hashed."),
    row("group", "", group, "`group.NAME`", ""),
];

impl Userlist {
    /// A section `userlist`.
    pub(super) fn read(name: &Word, section: &Section, notes: &Notes<'_>) -> Self {
        let mut list = Self { name: name.text.clone(), ..Self::default() };
        for line in &section.lines {
            if let Err(fault) = list.line(line, notes) {
                notes.lost(fault.span.unwrap_or(line.span()), fault.why);
            }
        }
        list
    }

    fn line(&mut self, line: &Line, notes: &Notes<'_>) -> Done {
        // Whatever it is: somebody wrote a password there.
        line.words.iter().skip(2).for_each(|word| notes.hide(word.span));
        let Some((first, arguments)) = line.words.split_first() else { return Ok(()) };
        let found = ROWS.iter().find(|row| row.known.names(&first.text));
        let Some(Row { how: super::table::How::By(convert), .. }) = found else {
            let why = format!("`{}` is no word of a `userlist`; `user` and `group` are", shown(&first.text));
            return Err(Fault::at(first, why));
        };
        let directive =
            Directive { span: line.span(), keyword: &first.text, arguments, negated: false, notes };
        convert(self, &directive)
    }

    /// `name:password`, as `stats auth` has it.
    pub(super) fn add_clear(&mut self, word: &Word) -> Done {
        let Some((name, password)) = word.text.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err("`stats auth` takes a name and a password with a colon between them".into());
        };
        check_name(name)?;
        self.users.retain(|user| user.name.text != name);
        self.users.push(User {
            name: Word { text: name.to_owned(), span: word.span },
            password: Password::Clear(password.to_owned()),
        });
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

/// `user NAME [password HASH | insecure-password TEXT] [groups A,B]`
fn user(list: &mut Userlist, directive: &Directive<'_>) -> Done {
    let (name, rest) = directive.arguments.split_first().ok_or("`user` takes a name")?;
    let mut password = None;
    for pair in rest.chunks(2) {
        let [word, value] = pair else {
            return Err(Fault::at(&pair[0], "a word behind the name of a user takes a value"));
        };
        match word.text.as_str() {
            "password" => password = Some(Password::Hash(value.text.clone())),
            "insecure-password" => password = Some(Password::Clear(value.text.clone())),
            "groups" => {
                let groups = value.text.split(',').filter(|group| !group.is_empty());
                list.groups.extend(groups.map(|group| (group.to_owned(), name.text.clone())));
            }
            _ => {
                return Err(Fault::at(
                    name,
                    "a user has `password`, `insecure-password` and `groups`, and nothing else",
                ));
            }
        }
    }
    check_name(&name.text).map_err(|why| Fault::at(name, why))?;
    if list.users.iter().any(|user| user.name.text == name.text) {
        return Err(Fault::at(name, format!("`{}` is a user of this list already", shown(&name.text))));
    }
    let Some(password) = password else {
        directive
            .advise(format!("`{}` has no password, and nobody is let in by this name", shown(&name.text)));
        return Ok(());
    };
    if let Password::Hash(text) = &password
        && let Err(why) = PasswordHash::parse(text)
    {
        return Err(Fault::at(name, format!("the password of `{}` {why}", shown(&name.text))));
    }
    list.users.push(User { name: name.clone(), password });
    Ok(())
}

/// As our file takes them.
fn check_name(name: &str) -> Result<(), String> {
    let is_good =
        (1..=255).contains(&name.len()) && !name.contains(|c: char| c == ':' || c.is_ascii_control());
    if is_good { Ok(()) } else { Err(format!("`{}` is no name of a user", shown(name))) }
}

/// `group NAME [users A,B]`
fn group(list: &mut Userlist, directive: &Directive<'_>) -> Done {
    match directive.arguments {
        [_] => Ok(()),
        [name, word, members] if word.text == "users" => {
            list.groups.extend(members.text.split(',').map(|user| (name.text.clone(), user.to_owned())));
            Ok(())
        }
        _ => Err("`group` takes a name, and maybe `users` and their names with commas between them".into()),
    }
}

/// The lists of the file, and which of them our file needs.
#[derive(Debug)]
pub(super) struct Users<'l> {
    lists: &'l [Userlist],
    /// By our name. Those of `stats auth` are made where they are needed.
    used: RefCell<BTreeMap<String, Userlist>>,
}

impl<'l> Users<'l> {
    pub(super) fn new(lists: &'l [Userlist]) -> Self {
        Self { lists, used: RefCell::default() }
    }

    /// The name that our file has for a list of HAProxy's, with those of `groups` that have a member.
    pub(super) fn of_list(&self, name: &str, groups: &[String]) -> Result<(String, Vec<String>), String> {
        let Some(list) = self.lists.iter().find(|list| list.name == name) else {
            return Err(format!("no `userlist` is called `{}`", shown(name)));
        };
        if list.is_empty() {
            return Err(format!("the `userlist {}` has no user that our file can have", shown(name)));
        }
        let has_member = |wanted: &&String| {
            let is_user = |name: &String| list.users.iter().any(|user| user.name.text == *name);
            list.groups.iter().any(|(group, member)| group == *wanted && is_user(member))
        };
        let with_members: Vec<_> = groups.iter().filter(has_member).cloned().collect();
        if with_members.is_empty() && !groups.is_empty() {
            return Err(format!("none of these groups of `userlist {}` has a user", shown(name)));
        }
        Ok((self.put(clean(name), list)?, with_members))
    }

    /// The name of a list that is of no section.
    pub(super) fn of_statistics(&self, list: &Userlist) -> Result<String, String> {
        self.put("statistics".to_owned(), list)
    }

    fn put(&self, name: String, list: &Userlist) -> Result<String, String> {
        let mut used = self.used.borrow_mut();
        let same = |other: &Userlist| {
            let words = |list: &Userlist| list.users.iter().map(|user| user.name.span).collect::<Vec<_>>();
            other.name == list.name && words(other) == words(list)
        };
        let name = unique(name, |name| used.get(name).is_some_and(|other| !same(other)));
        used.entry(name.clone()).or_insert_with(|| list.clone());
        let is_clear = |user: &&User| matches!(user.password, Password::Clear(_));
        if used.values().flat_map(|list| &list.users).filter(is_clear).count() > MOST_PASSWORDS {
            used.remove(&name);
            let why = format!(
                "more than {MOST_PASSWORDS} passwords in clear text; write hashes, as `mkpasswd` prints"
            );
            return Err(why);
        }
        Ok(name)
    }

    /// Our name and the entries of each list that is used. Clear passwords are hashed with salts made of `seed`.
    pub(super) fn tables(&self, seed: [u8; 16], notes: &Notes<'_>) -> Vec<(String, Vec<(String, Value)>)> {
        for list in self.lists {
            if !self.used.borrow().values().any(|used| used.name == list.name)
                && let Some(user) = list.users.first()
            {
                let why = format!(
                    "nothing asks for the users of `userlist {}`: they are left out",
                    shown(&list.name)
                );
                notes.advise(user.name.span, why);
            }
        }
        let mut tables = Vec::new();
        for (name, list) in self.used.borrow().iter() {
            let mut entries = Vec::new();
            let mut members: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
            for user in &list.users {
                let user_name = &user.name.text;
                let text = match &user.password {
                    Password::Hash(text) => Some(text.clone()),
                    Password::Clear(password) => {
                        let hash = PasswordHash::of(password.as_bytes(), salt(seed, name, user_name));
                        hash.map(|hash| hash.text().to_owned())
                    }
                };
                entries.extend(text.map(|text| (format!("user.{}", key(user_name)), Value::Text(text))));
                for (group, _) in list.groups.iter().filter(|(_, member)| member == user_name) {
                    members.entry(group).or_default().push(Value::text(user_name));
                }
            }
            let groups = members
                .into_iter()
                .map(|(group, members)| (format!("group.{}", key(group)), Value::List(members)));
            entries.extend(groups);
            tables.push((name.clone(), entries));
        }
        tables
    }
}

/// Another one for each user of each list.
fn salt(seed: [u8; 16], list: &str, user: &str) -> [u8; 12] {
    let digest =
        Sha256::new().chain_update(seed).chain_update(list).chain_update([0]).chain_update(user).finalize();
    let mut salt = [0; 12];
    salt.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    salt
}
