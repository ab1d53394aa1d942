//! `balance` and what goes with it: who is next.

use std::{num::NonZeroUsize, time::Duration};

use lb_proxy::config::{HashKey, HashKind, UriPart};

use super::super::POSITIVE;
use crate::config::reader::{At, Fields, Value};

/// Who is next, of a backend.
#[derive(Debug, Default)]
pub(crate) struct Balancing {
    pub(crate) balance: Option<At<BalanceBy>>,
    pub(crate) hash_type: Option<At<HashKind>>,
    pub(crate) allbackups: Option<At<bool>>,
    pub(crate) slowstart: Option<At<Duration>>,
}

/// `balance`.
#[derive(Clone, Debug)]
pub(crate) enum BalanceBy {
    RoundRobin,
    LeastConn,
    Random,
    First,
    Hash(HashKey),
}

pub(super) const KEYS: [&str; 4] = ["balance", "hash_type", "allbackups", "slowstart"];

const WORDS: [(&str, BalanceBy); 6] = [
    ("roundrobin", BalanceBy::RoundRobin),
    ("leastconn", BalanceBy::LeastConn),
    ("random", BalanceBy::Random),
    ("first", BalanceBy::First),
    ("source", BalanceBy::Hash(HashKey::Source)),
    (
        "uri",
        BalanceBy::Hash(HashKey::Uri(UriPart { whole: false, path_only: false, length: None, depth: None })),
    ),
];

const HASH_TYPES: [(&str, HashKind); 2] = [("consistent", HashKind::Consistent), ("map", HashKind::Map)];

const TABLE: &str =
    "a table with one of `uri`, `header` and `query`, as in balance = { header = \"X-User\" }";

impl Balancing {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        Self {
            balance: fields.value("balance").and_then(|value| BalanceBy::read(&value)),
            hash_type: fields.choice("hash_type", &HASH_TYPES),
            allbackups: fields.boolean("allbackups"),
            slowstart: fields.duration("slowstart", POSITIVE),
        }
    }
}

impl BalanceBy {
    fn read(value: &Value<'_>) -> Option<At<Self>> {
        if !value.is_table() {
            if let Some(word @ ("header" | "query" | "hdr" | "url_param")) = value.as_str() {
                let key = if matches!(word, "header" | "hdr") { "header" } else { "query" };
                value.wrong(&format!("needs a name; write balance = {{ {key} = \"NAME\" }}"));
                return None;
            }
            let names: Vec<_> = WORDS.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
            let at = value.choice(&names)?;
            return Some(At::new(WORDS.get(at.value)?.1.clone(), at.span));
        }
        let fields = value.fields("`balance`".into(), TABLE)?;
        let uri = fields.fields("uri", "a table, as in { depth = 2 }").map(uri_part);
        let header = fields.value("header").map(|value| name(&value, field_name));
        let query = fields.value("query").map(|value| name(&value, query_name));
        let report = fields.report;
        fields.finish(|_| None);
        let keys = [
            uri.map(|part| Some(HashKey::Uri(part))),
            header.map(|name| Some(HashKey::Header(name?.to_ascii_lowercase().into()))),
            query.map(|name| Some(HashKey::Query(name?.into()))),
        ];
        let mut given = keys.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(key), None) => Some(At::new(Self::Hash(key?), value.span)),
            (Some(_), Some(_)) => {
                report.error(value.span, format!("balance is {TABLE}; found several of them"));
                None
            }
            (None, _) => {
                if value.is_empty_table() {
                    value.mismatch(TABLE);
                }
                None
            }
        }
    }
}

fn name(value: &Value<'_>, parse: impl Fn(&str) -> Result<String, String>) -> Option<String> {
    value.parsed("a name, as in \"X-User\"", parse).map(|name| name.value)
}

fn uri_part(fields: Fields<'_>) -> UriPart {
    let count = |key, unit| {
        let count = fields.measured(key, 1..=8192, unit)?;
        usize::try_from(count.value).ok().and_then(NonZeroUsize::new)
    };
    let part = UriPart {
        whole: fields.boolean("whole").is_some_and(|at| at.value),
        path_only: fields.boolean("path_only").is_some_and(|at| at.value),
        length: count("length", "bytes"),
        depth: count("depth", "directories"),
    };
    fields.finish(|key| (key == "len").then(|| "it is called `length` here".into()));
    part
}

/// RFC 9110 §5.1: a token.
fn field_name(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(is_token) {
        return Err("is no name of a header; write one, as in \"X-User\"".into());
    }
    Ok(text.to_owned())
}

/// As it stands in a query.
fn query_name(text: &str) -> Result<String, String> {
    if text.is_empty()
        || text.len() > 255
        || !text.chars().all(|c| c.is_ascii_graphic() && !"=&?#".contains(c))
    {
        return Err("is no name of a parameter; write it as it stands in a query, as in \"user\"".into());
    }
    Ok(text.to_owned())
}
