//! `[notify.NAME]`: who is told of what happens.

use std::{ops::RangeInclusive, time::Duration};

pub(crate) use self::url::Url;
use super::{command, proxy::files_in};
use crate::{
    config::model::Security,
    config::reader::{At, Fields},
    control::EventKind,
};

mod mail;
mod url;

#[derive(Debug)]
pub(crate) struct Notify {
    pub(crate) command: Option<At<Vec<String>>>,
    pub(crate) url: Option<At<Url>>,
    pub(crate) url_file: Option<At<String>>,
    pub(crate) headers_file: Option<At<String>>,
    pub(crate) smtp: Option<At<(String, Option<u16>)>>,
    pub(crate) security: Option<At<Security>>,
    pub(crate) sender: Option<At<String>>,
    pub(crate) recipients: Option<At<Vec<At<String>>>>,
    pub(crate) user: Option<At<String>>,
    pub(crate) password_file: Option<At<String>>,
    pub(crate) mail_interval: Option<At<Duration>>,
    pub(crate) ca_files: Vec<At<String>>,
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) events: Option<At<Vec<At<EventKind>>>>,
    pub(crate) to: Option<At<Vec<At<String>>>>,
    pub(crate) names: Option<At<Vec<At<String>>>>,
}

/// Those that come next wait for it.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

const URL: &str = "a URL, as in \"https://hooks.example.com/lb\"";

const SMTP: &str = "a mail server, as in \"mail.example.com:587\"";
const MAILBOX: &str = "a mail address, as in \"lbctl@example.com\"";
const RECIPIENTS: &str = "a list of mail addresses, as in [\"ops@example.com\"]";

const MAIL_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// The words of many mail programs.
pub(crate) const SECURITY: [(&str, Security); 3] =
    [("starttls", Security::Starttls), ("tls", Security::Tls), ("none", Security::None)];

const KINDS: [(&str, EventKind); 7] = [
    ("node", EventKind::Node),
    ("speaker", EventKind::Speaker),
    ("vip", EventKind::Vip),
    ("backend", EventKind::Backend),
    ("server", EventKind::Server),
    ("certificate", EventKind::Certificate),
    ("alarm", EventKind::Alarm),
];

impl Notify {
    pub(super) fn read(fields: Fields<'_>) -> Self {
        let notify = Self {
            command: fields.value("command").and_then(|value| command::read(&value)),
            url: fields.value("url").and_then(|value| {
                if value.as_str().is_some_and(|text| text.contains('@')) {
                    value.report().hide(value.span);
                }
                value.parsed(URL, Url::read)
            }),
            url_file: fields.string("url_file", "the path of a file, as in \"/etc/lbctl/hook-url\""),
            headers_file: fields.string("headers_file", "the path of a file, as in \"/etc/lbctl/headers\""),
            smtp: fields.value("smtp").and_then(|value| value.parsed(SMTP, mail::server)),
            security: fields.choice("security", &SECURITY),
            sender: fields.value("sender").and_then(|value| value.parsed(MAILBOX, mail::mailbox)),
            recipients: list(&fields, "recipients", RECIPIENTS, mail::mailbox),
            user: fields.string("user", "the name of a user, as in \"lbctl\""),
            password_file: fields
                .string("password_file", "the path of a file, as in \"/etc/lbctl/mail-password\""),
            mail_interval: fields.duration("mail_interval", MAIL_INTERVAL),
            ca_files: files_in(&fields, "ca_file"),
            timeout: fields.duration("timeout", TIMEOUT),
            events: list(&fields, "events", "a list of kinds, as in [\"vip\", \"node\"]", |word| {
                KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind).ok_or_else(|| {
                    let known: Vec<_> = KINDS.iter().map(|(name, _)| *name).collect();
                    format!("is no kind of event; there are {}", known.join(", "))
                })
            }),
            to: list(&fields, "to", "a list of states, as in [\"Active\", \"down\"]", |word| {
                Ok(word.to_owned())
            }),
            names: list(&fields, "names", "a list of names, as in [\"web\"]", |word| Ok(word.to_owned())),
        };
        fields.finish(|key| match key {
            "script" | "exec" | "hook" => Some("write command = [\"/usr/local/bin/tell\"]".into()),
            "webhook" | "uri" => Some("write url = \"https://hooks.example.com/lb\"".into()),
            "headers" | "header" => {
                Some("they stand in a file, one a line: headers_file = \"/etc/lbctl/headers\"".into())
            }
            "from" => Some("the sender of a mail is sender = \"lbctl@example.com\"".into()),
            "mail" | "email" | "mail_to" | "recipient" => {
                Some("write recipients = [\"ops@example.com\"]".into())
            }
            "server" | "smtp_server" | "host" => Some("write smtp = \"mail.example.com:587\"".into()),
            "starttls" | "tls" => Some("write security = \"starttls\", \"tls\" or \"none\"".into()),
            "password" => {
                Some("it stands in a file of its own: password_file = \"/etc/lbctl/mail-password\"".into())
            }
            "event" | "on" | "kinds" => Some("write events = [\"vip\"]".into()),
            "name" => Some("write names = [\"web\"]".into()),
            _ => None,
        });
        notify
    }
}

fn list<T>(
    fields: &Fields<'_>,
    key: &'static str,
    expected: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<At<Vec<At<T>>>> {
    let value = fields.value(key)?;
    let (span, is_empty) = (value.span, value.is_empty_list());
    let list = value.list(expected)?;
    if is_empty {
        value.mismatch(&format!("{expected}; without the key it is all"));
    }
    Some(At::new(list.iter().filter_map(|one| one.parsed("a text", &read)).collect(), span))
}
