//! What a check asks: one of `tcp`, `http`, `mysql`, `smtp`, `pgsql`, `redis`, `sequence`.

use lb_proxy::config::{CheckKind, SmtpGreeting};

use super::{http, sequence};
use crate::config::reader::{At, Fields, Value};

const GREETINGS: [(&str, SmtpGreeting); 2] = [("HELO", SmtpGreeting::Helo), ("EHLO", SmtpGreeting::Ehlo)];

/// The one kind that a check has; more than one are an error.
pub(super) fn read(fields: &Fields<'_>) -> Option<At<CheckKind>> {
    let kinds = [
        ("tcp", plain(fields, "tcp", CheckKind::Tcp)),
        ("http", table(fields, "http", "a table, as in http = { path = \"/health\" }", http::read)),
        ("mysql", table(fields, "mysql", "a table, as in mysql = { user = \"check\" }", mysql)),
        ("smtp", table(fields, "smtp", "a table, as in smtp = { greeting = \"EHLO\" }", smtp)),
        ("pgsql", table(fields, "pgsql", "a table, as in pgsql = { user = \"check\" }", pgsql)),
        ("redis", plain(fields, "redis", CheckKind::Redis)),
        ("sequence", fields.value("sequence").and_then(|value| sequence::read(&value))),
    ];
    let mut found = kinds.into_iter().filter_map(|(name, kind)| Some((name, kind?)));
    let (first, kind) = found.next()?;
    if let Some((second, _)) = found.next() {
        let message = format!("a check is `{first}` or `{second}`, not both; remove one");
        fields.report.error(kind.span, message);
    }
    Some(kind)
}

/// `redis = true`.
fn plain(fields: &Fields<'_>, key: &'static str, kind: CheckKind) -> Option<At<CheckKind>> {
    let value = fields.boolean(key)?;
    if !value.value {
        let message = format!("{key} is true or left out; for no check at all write check = false");
        fields.report.error(value.span, message);
        return None;
    }
    Some(At::new(kind, value.span))
}

fn table(
    fields: &Fields<'_>,
    key: &'static str,
    expected: &str,
    read: impl Fn(Fields<'_>) -> Option<CheckKind>,
) -> Option<At<CheckKind>> {
    let value = fields.value(key)?;
    let inner = value.fields(format!("`{key}` of {}", fields.title), expected)?;
    Some(At::new(read(inner)?, value.span))
}

fn mysql(fields: Fields<'_>) -> Option<CheckKind> {
    // The name travels in one packet; MySQL has 80 bytes for it.
    let user =
        fields.value("user").and_then(|value| word(&value, "the name of a user without a password", 80));
    fields.finish(|key| (key == "password").then(|| "a check logs in without one".into()));
    Some(CheckKind::Mysql { user: user.map(|user| user.value) })
}

fn smtp(fields: Fields<'_>) -> Option<CheckKind> {
    let greeting = fields.choice("greeting", &GREETINGS);
    let domain =
        fields.value("domain").and_then(|value| word(&value, "a name, as in \"lb.example.com\"", 255));
    fields.finish(|key| match key {
        "helo" | "HELO" => Some("write greeting = \"HELO\"".into()),
        "ehlo" | "EHLO" => Some("write greeting = \"EHLO\"".into()),
        _ => None,
    });
    Some(CheckKind::Smtp {
        greeting: greeting.map(|greeting| greeting.value).unwrap_or_default(),
        domain: domain.map_or_else(|| "localhost".to_owned(), |domain| domain.value),
    })
}

fn pgsql(fields: Fields<'_>) -> Option<CheckKind> {
    fields.require("user", "user = \"check\"; it need not exist");
    let user = fields.value("user").and_then(|value| word(&value, "the name of a user", 63));
    fields.finish(|_| None);
    user.map(|user| CheckKind::Pgsql { user: user.value })
}

/// Printable ASCII without spaces, which no protocol can misunderstand.
fn word(value: &Value<'_>, expected: &str, longest: usize) -> Option<At<String>> {
    value.parsed(expected, |text| match text {
        _ if !(1..=longest).contains(&text.len()) => Err(format!("is no name of 1..{longest} bytes")),
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("has a space or another character that can't stand here".into())
        }
        _ => Ok(text.to_owned()),
    })
}
