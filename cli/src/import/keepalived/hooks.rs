//! `notify_*`, `smtp_alert` and what they need: `[notify.NAME]`.

use std::{collections::BTreeSet, time::Duration};

use super::{
    nodes::Router,
    script,
    source::{Place, Sources},
    tree::Statement,
    vips::Context,
};
use crate::import::{
    self,
    document::{Entry, Table, Value, key, pair},
    unique,
};

/// A line of an instance or of a sync group.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    word: String,
    command: Vec<String>,
    /// The sync group that has it.
    group: Option<String>,
    place: Place,
}

/// What `global_defs` says of mail.
#[derive(Clone, Debug, Default)]
pub(super) struct Mail {
    pub(super) recipients: Vec<String>,
    pub(super) sender: Option<String>,
    pub(super) server: Option<String>,
    /// In seconds.
    pub(super) timeout: Option<u64>,
    pub(super) place: Option<Place>,
    /// Somebody is mailed when an address moves.
    pub(super) is_wanted: bool,
}

/// When Keepalived runs something: its word, the end of our name, the state that it says, and ours.
struct Moment {
    word: &'static str,
    name: &'static str,
    state: &'static str,
    event: (&'static str, &'static str),
}

const MOMENTS: [Moment; 4] = [
    Moment { word: "notify_master", name: "master", state: "MASTER", event: ("vip", "Active") },
    Moment { word: "notify_backup", name: "backup", state: "BACKUP", event: ("vip", "Backup") },
    Moment { word: "notify_fault", name: "fault", state: "FAULT", event: ("vip", "Initialize") },
    Moment { word: "notify_stop", name: "stop", state: "STOP", event: ("node", "stopping") },
];

/// For each of them.
const ALWAYS: &str = "notify";

impl Hook {
    pub(super) fn read(statement: &Statement, group: Option<&str>, sources: &Sources) -> Option<Self> {
        let (word, command) = (statement.keyword(), statement.argument()?);
        let hook = Self {
            word: word.to_owned(),
            command: script::arguments(&[&command.text]),
            group: group.map(str::to_owned),
            place: statement.place(),
        };
        if let Err(why) = script::is_taken(&hook.command) {
            sources.lost(command.place, format!("our file does not take its command: {why}"));
            return None;
        }
        let more = if word == ALWAYS {
            "it is given INSTANCE or GROUP, the name and the state, and not the priority; "
        } else if word == "notify_fault" {
            "Initialize is also what a vip is in when lbctl stops; "
        } else {
            ""
        };
        let message = format!(
            "`{word}`: {more}it runs as `command_user` of [global], which is never root, and has the event as JSON on its standard input"
        );
        sources.differ(hook.place, message);
        Some(hook)
    }

    /// What it runs then, if it does.
    fn at(&self, moment: &Moment, instance: &str) -> Option<Vec<String>> {
        if self.word == moment.word {
            return Some(self.command.clone());
        }
        let (kind, name) = self.group.as_deref().map_or(("INSTANCE", instance), |group| ("GROUP", group));
        let given = [kind, name, moment.state].map(str::to_owned);
        (self.word == ALWAYS).then(|| self.command.iter().cloned().chain(given).collect())
    }
}

impl Mail {
    /// What is said of it; false where it is something else.
    pub(super) fn statement(&mut self, statement: &Statement) -> bool {
        let argument = statement.argument();
        match (statement.keyword(), argument) {
            ("notification_email", _) => {
                self.recipients.extend(statement.list().iter().map(|word| word.text.clone()));
            }
            ("notification_email_from", Some(word)) => self.sender = Some(word.text.clone()),
            ("smtp_server", Some(word)) => {
                let host =
                    if word.text.contains(':') { format!("[{}]", word.text) } else { word.text.clone() };
                let port = statement.words.get(2).map(|port| format!(":{}", port.text)).unwrap_or_default();
                self.server = Some(host + &port);
            }
            ("smtp_connect_timeout", Some(word)) if word.text.parse::<u64>().is_ok() => {
                self.timeout = word.text.parse().ok();
            }
            ("smtp_alert" | "smtp_alert_vrrp", word) => {
                self.is_wanted |= is_on(word.map(|word| word.text.as_str()));
                return true;
            }
            _ => return false,
        }
        self.place.get_or_insert(statement.place());
        true
    }

    fn table(&self, sources: &Sources) -> Option<Table> {
        let place = self.place?;
        if !self.is_wanted {
            let message = "mail is left out: without `smtp_alert` nobody is mailed when an address moves; a [notify.NAME] with `smtp` \
                           would (docs/configuration.md)";
            sources.advise(place, message);
            return None;
        }
        let Some(first) = self.recipients.first() else {
            sources.lost(place, "mail is left out: `notification_email` names nobody");
            return None;
        };
        let server = self.server.clone().unwrap_or_else(|| {
            sources.advise(place, "there is no `smtp_server`: 127.0.0.1 is asked, as Keepalived does");
            "127.0.0.1".to_owned()
        });
        let mail = import::mail::Mail {
            name: "mail".to_owned(),
            server,
            sender: self.sender.as_ref().unwrap_or(first).clone(),
            recipients: self.recipients.clone(),
            timeout: self.timeout.map(Duration::from_secs),
            events: vec!["vip"],
            to: Vec::new(),
            names: Vec::new(),
            note: "Keepalived has neither TLS nor a login; ours is \"starttls\"",
        };
        match mail.table() {
            Ok(table) => {
                let message = "mail tells of each move of a vip; what follows within a minute is gathered in one (`mail_interval`)";
                sources.advise(place, message);
                Some(table)
            }
            Err(why) => {
                sources.lost(place, format!("our file does not take what is said of mail: {why}"));
                None
            }
        }
    }
}

/// Of a word that stands alone or with a truth behind it.
pub(super) fn is_on(word: Option<&str>) -> bool {
    !matches!(word, Some("off" | "false" | "no"))
}

/// The tables; `vips` has the name of the vip of each router.
pub(super) fn tables(routers: &[Router<'_>], vips: &[String], context: &Context<'_>) -> Vec<Table> {
    let (mut names, mut tables) = (BTreeSet::new(), Vec::new());
    for (router, vip) in routers.iter().zip(vips) {
        for moment in &MOMENTS {
            // Of all nodes; what several have is told once.
            let mut commands: Vec<(Vec<String>, &Hook, usize)> = Vec::new();
            for (node, instance) in router.instances.iter().enumerate() {
                for hook in instance.iter().flat_map(|instance| &instance.hooks) {
                    let Some(command) = hook.at(moment, &router.first().name) else { continue };
                    if commands.iter().any(|(known, ..)| *known == command) {
                        continue;
                    }
                    if commands.first().is_some_and(|(.., first)| *first != node) {
                        let message = "on the other node it is another command, and ours is one file: here each node runs both, so let them look where \
                                       they are (hostname)";
                        context.sources.differ(hook.place, message);
                    }
                    commands.push((command, hook, node));
                }
            }
            for (command, ..) in commands {
                let name = unique(format!("{vip}-{}", moment.name), |name| names.contains(name));
                names.insert(name.clone());
                tables.push(Table {
                    heading: format!("notify.{}", key(&name)),
                    comments: Vec::new(),
                    entries: entries(&command, moment, vip),
                });
            }
        }
    }
    let mut mails = context.members.iter().filter_map(|member| member.node.map(|node| &node.mail));
    tables.extend(mails.find(|mail| mail.place.is_some()).and_then(|mail| mail.table(context.sources)));
    tables
}

fn entries(command: &[String], moment: &Moment, vip: &str) -> Vec<Entry> {
    let list = |words: &[&str]| Value::List(words.iter().map(|word| Value::text(*word)).collect());
    let (kind, to) = moment.event;
    let mut entries = vec![
        pair("command", Value::List(command.iter().map(Value::text).collect()), None),
        pair("events", list(&[kind]), None),
        pair("to", list(&[to]), None),
    ];
    if kind == "vip" {
        entries.push(pair("names", list(&[vip]), None));
    }
    entries
}
