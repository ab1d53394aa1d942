//! `mailers` and `email-alert`: `[notify.NAME]` with `smtp`.

use std::{collections::BTreeSet, time::Duration};

use super::{
    directive::{Directive, Done, Fault, shown},
    finish::{Finished, World},
    lexer::Word,
    proxy::Proxy,
    section::{Kind, Line, Section},
    table::{Row, needless, row},
    values,
};
use crate::import::{clean, document::Table, mail::Mail, notes::Notes, unique};

/// HAProxy's, where a section says none.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A section `mailers`.
#[derive(Debug)]
pub(super) struct Mailers {
    name: Word,
    /// Each is sent everything.
    servers: Vec<Word>,
    timeout: Duration,
}

/// What a section says of mail.
#[derive(Clone, Debug, Default)]
pub(super) struct Alerts {
    mailers: Option<Word>,
    from: Option<Word>,
    to: Option<Word>,
    level: Option<Word>,
}

/// What a mail is about: two with the same are told by one table.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Wanted<'a> {
    mailers: &'a str,
    from: &'a str,
    to: &'a str,
    events: Vec<&'static str>,
    states: Vec<&'static str>,
}

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("email-alert mailers", "dflb", |proxy, line| set(&mut proxy.alerts.mailers, line), "`smtp` of `[notify.NAME]`", "One table for each `mailer`, and one for all sections that say the same."),
    row("email-alert from", "dflb", |proxy, line| set(&mut proxy.alerts.from, line), "`sender`", ""),
    row("email-alert to", "dflb", |proxy, line| set(&mut proxy.alerts.to, line), "`recipients`", ""),
    row("email-alert level", "dflb", level, "`to` and `events`", "`alert`, the default, is what goes down; from `notice` on also what comes back. `emerg` is a backend without servers."),
    needless("email-alert myhostname", "dflb", "a mail server is told the node's address"),
];

fn set(place: &mut Option<Word>, directive: &Directive<'_>) -> Done {
    *place = Some(directive.only()?.clone());
    Ok(())
}

fn level(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    events(&word.text)
        .ok_or_else(|| Fault::at(word, format!("`{}` is no level of the log", shown(&word.text))))?;
    set(&mut proxy.alerts.level, directive)
}

/// Kinds and states of what HAProxy says at this level and above.
fn events(level: &str) -> Option<(Vec<&'static str>, Vec<&'static str>)> {
    match level {
        "emerg" => Some((vec!["backend"], vec!["down"])),
        "alert" | "crit" | "err" | "warning" => Some((vec!["server", "backend"], vec!["down"])),
        "notice" | "info" | "debug" => Some((vec!["server", "backend"], Vec::new())),
        _ => None,
    }
}

impl Mailers {
    pub(super) fn read(name: &Word, section: &Section, notes: &Notes<'_>) -> Self {
        let mut mailers = Self { name: name.clone(), servers: Vec::new(), timeout: TIMEOUT };
        for line in &section.lines {
            if let Err(fault) = mailers.line(line) {
                notes.lost(fault.span.unwrap_or(line.span()), fault.why);
            }
        }
        mailers
    }

    fn line(&mut self, line: &Line) -> Done {
        match (&*line.texts(), &*line.words) {
            (["mailer", _, _], [.., address]) => self.servers.push(address.clone()),
            (["timeout", "mail", _], [.., time]) => self.timeout = values::time(time)?,
            (_, words) => {
                let word = words.first().map_or("", |word| word.text.as_str());
                let why = "lines of `mailers` are `mailer NAME ADDRESS:PORT` and `timeout mail TIME`";
                return Err(format!("`{}`: {why}", shown(word)).into());
            }
        }
        Ok(())
    }
}

impl Alerts {
    /// HAProxy sends nothing where one of them is missing.
    fn wanted(&self) -> Option<Wanted<'_>> {
        let level = self.level.as_ref().map_or("alert", |word| word.text.as_str());
        let (events, states) = events(level)?;
        let [mailers, from, to] =
            [&self.mailers, &self.from, &self.to].map(|word| word.as_ref().map(|word| word.text.as_str()));
        Some(Wanted { mailers: mailers?, from: from?, to: to?, events, states })
    }
}

/// Of all sections that have servers.
pub(super) fn tables(world: &World<'_>, sections: &[Finished]) -> Vec<Table> {
    let mut groups: Vec<(Wanted<'_>, Vec<&Finished>)> = Vec::new();
    let serving: Vec<_> =
        sections.iter().filter(|one| one.kind != Kind::Frontend && !one.servers.is_empty()).collect();
    for section in &serving {
        let Some(member) = world.file.proxies.iter().find(|member| member.proxy.name == section.name) else {
            continue;
        };
        let alerts = &member.proxy.alerts;
        let Some(wanted) = alerts.wanted() else {
            let given = [&alerts.mailers, &alerts.from, &alerts.to].into_iter().flatten();
            for word in given {
                let why = "no mail is sent without `email-alert mailers`, `from` and `to`: it is left out";
                world.notes.advise(word.span, why);
            }
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == wanted) {
            Some((_, members)) => members.push(section),
            None => groups.push((wanted, vec![section])),
        }
    }
    let (mut names, mut tables) = (BTreeSet::new(), Vec::new());
    for (wanted, members) in groups {
        let Some(mailers) = world.file.mailers.iter().find(|mailers| mailers.name.text == wanted.mailers)
        else {
            let named = world.file.proxies.iter().filter_map(|member| member.proxy.alerts.mailers.as_ref());
            for word in named.filter(|word| word.text == wanted.mailers) {
                world.notes.lost(word.span, format!("no `mailers {}` is in the file", shown(wanted.mailers)));
            }
            continue;
        };
        let of = |section: &&Finished| {
            let servers = section.servers.iter().map(|server| format!("{}/{}", section.name, server.name));
            std::iter::once(section.name.clone()).chain(servers).collect::<Vec<_>>()
        };
        let is_all = members.len() == serving.len();
        for server in &mailers.servers {
            let name = unique(clean(&mailers.name.text), |name| names.contains(name));
            names.insert(name.clone());
            let mail = Mail {
                name,
                server: server.text.clone(),
                sender: wanted.from.to_owned(),
                recipients: vec![wanted.to.to_owned()],
                timeout: Some(mailers.timeout),
                events: wanted.events.clone(),
                to: wanted.states.clone(),
                names: if is_all { Vec::new() } else { members.iter().flat_map(of).collect() },
                note: "HAProxy has neither TLS nor a login for mail; ours is \"starttls\"",
            };
            match mail.table() {
                Ok(table) => tables.push(table),
                Err(why) => world
                    .notes
                    .lost(server.span, format!("our file does not take what is said of mail: {why}")),
            }
        }
    }
    for mailers in &world.file.mailers {
        if !tables.iter().any(|table: &Table| table.heading.contains(&clean(&mailers.name.text))) {
            world.notes.advise(mailers.name.span, "no section with servers is told of by it: it is left out");
        }
    }
    tables
}
