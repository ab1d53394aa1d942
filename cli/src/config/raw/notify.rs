//! `[notify.NAME]`: who is told of what happens.

use std::{ops::RangeInclusive, time::Duration};

pub(crate) use self::url::Url;
use super::{command, proxy::files_in};
use crate::{
    config::reader::{At, Fields},
    control::EventKind,
};

mod url;

#[derive(Debug)]
pub(crate) struct Notify {
    pub(crate) command: Option<At<Vec<String>>>,
    pub(crate) url: Option<At<Url>>,
    pub(crate) headers_file: Option<At<String>>,
    pub(crate) ca_files: Vec<At<String>>,
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) events: Option<At<Vec<At<EventKind>>>>,
    pub(crate) to: Option<At<Vec<At<String>>>>,
    pub(crate) names: Option<At<Vec<At<String>>>>,
}

/// Those that come next wait for it.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);

const URL: &str = "a URL, as in \"https://hooks.example.com/lb\"";

const KINDS: [(&str, EventKind); 5] = [
    ("node", EventKind::Node),
    ("speaker", EventKind::Speaker),
    ("vip", EventKind::Vip),
    ("backend", EventKind::Backend),
    ("server", EventKind::Server),
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
            headers_file: fields.string("headers_file", "the path of a file, as in \"/etc/lbctl/headers\""),
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
