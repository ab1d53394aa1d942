//! `when`: what must hold for a rule to act, as written.

use lb_proxy::rules::{HostPattern, HostSet, Scheme, ValuePattern};

use super::{Side, pattern};
use crate::config::{
    reader::{At, Fields, Value},
    text,
};

/// A condition in which placeholders are not resolved yet.
#[derive(Debug)]
pub(crate) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// A placeholder and what it is compared with.
    Value(At<String>, Vec<ValuePattern>),
    /// Backends of which so few servers can be used.
    UsableBelow(Vec<(At<String>, u32)>),
    /// Anything else.
    Plain(lb_proxy::rules::Condition),
}

impl Condition {
    /// All that it is made of, but for placeholders and backends, which are looked up.
    pub(crate) fn plain(&self) -> Vec<&lb_proxy::rules::Condition> {
        match self {
            Self::All(list) | Self::Any(list) => list.iter().flat_map(Self::plain).collect(),
            Self::Not(condition) => condition.plain(),
            Self::Value(..) | Self::UsableBelow(_) => Vec::new(),
            Self::Plain(condition) => vec![condition],
        }
    }
}

/// The keys of `when`.
pub(super) const KEYS: [&str; 19] = [
    "host",
    "sni",
    "path",
    "path_prefix",
    "path_suffix",
    "path_regex",
    "method",
    "header",
    "query",
    "cookie",
    "value",
    "source",
    "port",
    "scheme",
    "usable_below",
    "all",
    "any",
    "not",
    "status",
];

const EXPECTED: &str = "a table of conditions, as in { path_prefix = \"/admin\" }";
const SCHEMES: [(&str, Scheme); 2] = [("http", Scheme::Http), ("https", Scheme::Https)];

/// A table, all of which must hold, or a list of such tables, one of which must.
pub(super) fn read_when(value: &Value<'_>, side: Side) -> Option<Condition> {
    if value.is_table() {
        return read_table(value, side);
    }
    read_list(value, side).map(Condition::Any)
}

fn read_list(value: &Value<'_>, side: Side) -> Option<Vec<Condition>> {
    let list = value.list(&format!("{EXPECTED}, or a list of them"))?;
    if list.is_empty() {
        value.mismatch("at least one table of conditions");
    }
    Some(list.iter().filter_map(|value| read_table(value, side)).collect())
}

fn read_table(value: &Value<'_>, side: Side) -> Option<Condition> {
    let fields = value.fields(format!("`{}`", value.name), EXPECTED)?;
    let span = fields.span;
    let report = fields.report;
    let all = read_all(&fields, side);
    let known = fields.is_read_whole();
    fields.finish(|key| elsewhere(key, side));
    if all.is_empty() && known {
        report.error(span, format!("`{}` is empty; leave it out for a rule that always acts", value.name));
    }
    Some(Condition::All(all))
}

/// In an order of our own: `check --effective` writes them in the same.
fn read_all(fields: &Fields<'_>, side: Side) -> Vec<Condition> {
    use lb_proxy::rules::Condition as Plain;
    let mut all = Vec::new();
    let mut plain = |condition: Plain| all.push(Condition::Plain(condition));
    if side == Side::Response
        && let Some(value) = fields.value("status")
    {
        plain(Plain::Status(pattern::numbers(value, 101..=999)));
    }
    read_target(fields, &mut plain);
    for (key, make) in pattern::NAMED {
        for (name, patterns) in fields.value(key).map(|value| pattern::named(&value)).unwrap_or_default() {
            plain(make(name.value, patterns));
        }
    }
    if let Some(value) = fields.value("source") {
        plain(Plain::Source(texts(value, "an address or a network, as in \"192.0.2.0/24\"", text::network)));
    }
    if let Some(value) = fields.value("port") {
        plain(Plain::Port(pattern::numbers(value, 1..=65_535)));
    }
    if let Some(scheme) = fields.choice("scheme", &SCHEMES) {
        plain(Plain::Scheme(scheme.value));
    }
    if side == Side::Frontend
        && let Some(value) = fields.value("usable_below")
    {
        let entries = value.pairs("a table of backends and numbers, as in { app = 1 }").unwrap_or_default();
        let few =
            |(backend, value): (At<String>, Value<'_>)| Some((backend, value.integer(1..=10_000)?.value));
        all.push(Condition::UsableBelow(entries.into_iter().filter_map(few).collect()));
    }
    for (placeholder, patterns) in
        fields.value("value").map(|value| pattern::named(&value)).unwrap_or_default()
    {
        all.push(Condition::Value(placeholder, patterns));
    }
    if let Some(list) = fields.value("all").and_then(|value| read_list(&value, side)) {
        all.push(Condition::All(list));
    }
    if let Some(list) = fields.value("any").and_then(|value| read_list(&value, side)) {
        all.push(Condition::Any(list));
    }
    if let Some(not) = fields.value("not").and_then(|value| read_when(&value, side)) {
        all.push(Condition::Not(Box::new(not)));
    }
    all
}

/// What only a request has.
fn read_target(fields: &Fields<'_>, plain: &mut impl FnMut(lb_proxy::rules::Condition)) {
    use lb_proxy::rules::Condition as Plain;
    if let Some(value) = fields.value("host") {
        plain(Plain::Host(hosts(value)));
    }
    if let Some(value) = fields.value("sni") {
        plain(Plain::Sni(hosts(value)));
    }
    for (key, read) in pattern::PATHS {
        if let Some(value) = fields.value(key) {
            plain(Plain::Path(pattern::paths(value, read)));
        }
    }
    if let Some(value) = fields.value("method") {
        plain(Plain::Method(texts(value, "a method, as in \"POST\"", pattern::method)));
    }
}

fn hosts(value: Value<'_>) -> HostSet {
    let expected = "a host name, as in \"www.example.com\" or \"*.example.com\"";
    HostSet::new(texts(value, expected, |text| HostPattern::parse(text).map_err(str::to_owned)))
}

fn elsewhere(key: &str, side: Side) -> Option<String> {
    if key == "usable_below" && side != Side::Frontend {
        return Some("it belongs into the `rules` of a frontend, which choose a backend".into());
    }
    (key == "status" && side != Side::Response).then(|| "it belongs into `response_rules`".into())
}

/// One text or a list of them.
fn texts<T>(value: Value<'_>, expected: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
    if value.is_empty_list() {
        value.mismatch(expected);
    }
    value.one_or_list().iter().filter_map(|value| value.parsed(expected, &parse)).map(|at| at.value).collect()
}
