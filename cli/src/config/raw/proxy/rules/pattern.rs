//! What texts of a request are compared with, as written: texts, `true` and `false`, regular expressions, ranges.

use std::ops::RangeInclusive;

use lb_proxy::rules::{Condition, PathPattern, Pattern, ValuePattern};

use crate::config::{
    diagnostic::{Report, Span},
    reader::{At, Value},
};

/// How one text becomes a pattern of a path.
type ReadPath = fn(&Value<'_>) -> Option<PathPattern>;

/// The conditions on paths.
pub(super) const PATHS: [(&str, ReadPath); 4] = [
    ("path", |value| path(value).map(PathPattern::Exact)),
    ("path_prefix", |value| path(value).map(PathPattern::Prefix)),
    ("path_suffix", |value| suffix(value).map(PathPattern::Suffix)),
    ("path_regex", |value| regex(value).map(PathPattern::Regex)),
];

/// Makes a condition of a name and patterns.
type Make = fn(String, Vec<ValuePattern>) -> Condition;

/// The conditions on what has a name.
pub(super) const NAMED: [(&str, Make); 3] =
    [("header", Condition::Header), ("query", Condition::Query), ("cookie", Condition::Cookie)];

const EXPECTED: &str = "a text, true (it is there), false (it is not), { prefix = .. }, { suffix = .. }, { contains = .. } or { regex = .. }";

/// How one text becomes a pattern.
type ReadValue = fn(&Value<'_>) -> Option<ValuePattern>;

const TABLES: [(&str, ReadValue); 4] = [
    ("prefix", |value| text(value, "a text").map(ValuePattern::Prefix)),
    ("suffix", |value| text(value, "a text").map(ValuePattern::Suffix)),
    ("contains", |value| text(value, "a text").map(ValuePattern::Contains)),
    ("regex", |value| regex(value).map(ValuePattern::Regex)),
];

/// Patterns of a path, one or a list.
pub(super) fn paths(value: Value<'_>, read: ReadPath) -> Vec<PathPattern> {
    if value.is_empty_list() {
        value.mismatch("a path, as in \"/admin\"");
    }
    value.one_or_list().iter().filter_map(read).collect()
}

/// Names and what each is compared with.
pub(super) fn named(value: &Value<'_>) -> Vec<(At<String>, Vec<ValuePattern>)> {
    let expected = "a table of names and values, as in { \"X-Name\" = \"value\" }";
    let Some(entries) = value.pairs(expected) else { return Vec::new() };
    entries.into_iter().map(|(name, value)| (name, values(value))).collect()
}

fn values(value: Value<'_>) -> Vec<ValuePattern> {
    if value.is_empty_list() {
        value.mismatch(EXPECTED);
    }
    value.one_or_list().iter().flat_map(one).collect()
}

fn one(value: &Value<'_>) -> Vec<ValuePattern> {
    if let Some(present) = value.as_bool() {
        return vec![if present { ValuePattern::Present } else { ValuePattern::Absent }];
    }
    if let Some(text) = value.as_str() {
        return vec![ValuePattern::Exact(text.to_owned())];
    }
    let Some(fields) = value.fields(format!("`{}`", value.name), EXPECTED) else { return Vec::new() };
    let mut patterns = Vec::new();
    for (key, read) in TABLES {
        if let Some(value) = fields.value(key) {
            patterns.extend(value.one_or_list().iter().filter_map(read));
        }
    }
    fields.finish(|_| None);
    patterns
}

fn text(value: &Value<'_>, expected: &str) -> Option<String> {
    value.string(expected).map(|at| at.value)
}

fn path(value: &Value<'_>) -> Option<String> {
    let read = |text: &str| {
        if !text.starts_with('/') {
            return Err("is no path; paths begin with `/`".to_owned());
        }
        if text.contains(['?', '#']) {
            return Err(
                "has a query; write the path alone, and `query = { name = \"value\" }` beside it".into()
            );
        }
        Ok(text.to_owned())
    };
    let path = value.parsed("a path, as in \"/admin\"", read)?;
    warn_of_star(&path, false, value.report());
    Some(path.value)
}

fn suffix(value: &Value<'_>) -> Option<String> {
    let suffix = value.string("the end of a path, as in \".png\"")?;
    warn_of_star(&suffix, true, value.report());
    Some(suffix.value)
}

/// A star is a character like others here. Elsewhere it stands for any text, so whoever writes one may mean that.
fn warn_of_star(path: &At<String>, is_end: bool, report: &Report<'_>) {
    let text = &path.value;
    let Some(at) = text.find('*') else { return };
    let regex = |text: &str| regex_syntax::escape(text).replace("\\*", ".*");
    let instead = match text.trim_matches('*') {
        _ if is_end && text.rfind('*') == Some(0) && text.len() > 1 => {
            format!("path_suffix = \"{}\"", text[1..].escape_debug())
        }
        _ if is_end => format!("path_regex = '{}$'", regex(text)),
        beginning if at + 1 == text.len() && beginning.ends_with('/') => {
            let elements = beginning.trim_end_matches('/');
            let elements = if elements.is_empty() { "/" } else { elements };
            format!("path_prefix = \"{}\"", elements.escape_debug())
        }
        beginning if at + 1 == text.len() => {
            let (path, regex) = (beginning.escape_debug(), regex(beginning));
            format!(
                "path_prefix = \"{path}\" (it and what is below it) or path_regex = '^{regex}' (whatever begins so)"
            )
        }
        _ => format!("path_regex = '^{}$'", regex(text)),
    };
    let message =
        format!("the `*` in `{}` stands for itself alone; for any text write {instead}", text.escape_debug());
    report.warning(path.span, message);
}

/// Methods are tokens, and written in capitals (RFC 9110 §9.1).
pub(super) fn method(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err("is no method; write \"GET\", \"POST\" ...".into());
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err(format!("has small letters, methods have none; write \"{}\"", text.to_ascii_uppercase()));
    }
    Ok(text.to_owned())
}

/// A regular expression; faults are shown where they are.
pub(super) fn regex(value: &Value<'_>) -> Option<Pattern> {
    let source = value.string("a regular expression, as in '^/user/[0-9]+$'")?;
    match Pattern::new(&source.value) {
        Ok(pattern) => Some(pattern),
        Err(fault) => {
            let span = fault.range.map_or(source.span, |range| within(&source, range, value.report()));
            value.report().error(span, format!("the regular expression does not compile: {}", fault.message));
            None
        }
    }
}

/// The place of a part of a text, if the file has the text as it is; else the place of the text.
pub(crate) fn within(text: &At<String>, range: std::ops::Range<usize>, report: &Report<'_>) -> Span {
    let written = report.source(text.span);
    let quotes = [
        ("'''\n", "'''"),
        ("\"\"\"\n", "\"\"\""),
        ("'''", "'''"),
        ("\"\"\"", "\"\"\""),
        ("'", "'"),
        ("\"", "\""),
    ];
    let start = quotes.iter().find_map(|(open, close)| {
        let inner = written.strip_prefix(open)?.strip_suffix(close)?;
        (inner == text.value).then_some(text.span.start + open.len())
    });
    // A fault at the very end is shown under the last character.
    let last = text.value.char_indices().last().map_or(0, |(at, _)| at);
    let from = range.start.min(last);
    match start {
        Some(start) => {
            Span { start: start + from, end: start + range.end.min(text.value.len()).max(from + 1) }
        }
        None => text.span,
    }
}

/// Numbers and ranges of them, one or a list: 80, "8000-8999".
pub(super) fn numbers(value: Value<'_>, allowed: RangeInclusive<u16>) -> Vec<RangeInclusive<u16>> {
    let (low, high) = (*allowed.start(), *allowed.end());
    let expected = format!("{low}..{high}, or a range of them as in \"{low}-{high}\"");
    let read = |text: &str| {
        let bounds = text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
        match bounds {
            Some((from, to)) if from <= to && low <= from && to <= high => Ok(from..=to),
            _ => Err(format!("is no range; write two numbers of {low}..{high}, as in \"{low}-{high}\"")),
        }
    };
    if value.is_empty_list() {
        value.mismatch(&expected);
    }
    let one = |value: &Value<'_>| {
        if value.as_str().is_some() {
            return value.parsed(&expected, read).map(|at| at.value);
        }
        let number = value.integer(u32::from(low)..=u32::from(high))?;
        u16::try_from(number.value).ok().map(|number| number..=number)
    };
    value.one_or_list().iter().filter_map(one).collect()
}
