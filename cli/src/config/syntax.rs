//! Text that is not TOML: what the parser says, in words that tell what to write.

use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::{Report, Span},
    reader,
};

/// Reports `errors`, the first of each line: what follows on the same line is mostly its consequence. True if the
/// recovered `table` can still be trusted: then nothing is worse than a key given twice.
pub(super) fn report(
    text: &str,
    table: &DeTable<'_>,
    errors: &[toml::de::Error],
    report: &Report<'_>,
) -> bool {
    if errors.is_empty() {
        return true;
    }
    if let Some(program) = foreign(text) {
        report.file_error(format!(
            "this is not TOML; it looks like a file of {program}. `lbctl init` prints a first file for lbctl"
        ));
        return false;
    }
    let mut errors: Vec<_> = errors
        .iter()
        .map(|error| (error.span().map_or(Span { start: 0, end: 0 }, reader::span), error))
        .collect();
    errors.sort_by_key(|(span, _)| *span);
    let mut lines: Vec<usize> = Vec::new();
    let trusted = errors.iter().all(|(_, error)| error.message() == "duplicate key");
    for (span, error) in errors {
        if report.is_full() {
            break;
        }
        let line = report.line(span);
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        if error.message() == "duplicate key" {
            report.error(span, duplicate(text, table, span, report));
            continue;
        }
        if let Some((open, message)) = unclosed(text, span, error.message()) {
            report.error(open, message);
            // Everything up to the end of the file was taken for a part of it.
            break;
        }
        let (span, message) = explain(text, span, error.message(), report);
        report.error(span, message);
    }
    trusted
}

/// The program that this file is for, if it is a well-known one.
fn foreign(text: &str) -> Option<&'static str> {
    let mut words = text.lines().map(|line| {
        let mut words = line.split_whitespace();
        (words.next().unwrap_or_default(), words.next())
    });
    words.find_map(|(first, second)| match (first, second) {
        ("global" | "defaults", None) => Some("HAProxy"),
        ("frontend" | "backend" | "listen", Some(name)) if !name.starts_with('=') => Some("HAProxy"),
        ("vrrp_instance" | "vrrp_script" | "global_defs" | "virtual_server", _) => Some("Keepalived"),
        _ => None,
    })
}

fn duplicate(text: &str, table: &DeTable<'_>, span: Span, report: &Report<'_>) -> String {
    let line = line_of(text, span.start);
    let first = text.lines().position(|other| other.trim() == line.trim()).map_or(0, |index| index + 1);
    if line.trim_start().starts_with('[') && first < report.line(span) {
        return format!(
            "{} begins a second time, first in line {first}; put all of it in one place",
            line.trim()
        );
    }
    let name = report.source(span);
    if line.trim_start().starts_with('[') {
        return format!("`{name}` is given a second time; remove one");
    }
    match nearest_before(table, name.trim_matches(['"', '\'']), span.start) {
        Some(first) => {
            let first = report.line(Span { start: first, end: first });
            format!("`{name}` is given a second time, first in line {first}; remove one")
        }
        None => format!("`{name}` is given a second time; remove one"),
    }
}

/// Where a key of this name was read last before `end`.
fn nearest_before(table: &DeTable<'_>, name: &str, end: usize) -> Option<usize> {
    let places = table.iter().flat_map(|(key, value)| {
        let here = (key.get_ref() == name && key.span().start < end).then(|| key.span().start);
        let below = match value.get_ref() {
            DeValue::Table(table) => nearest_before(table, name, end),
            _ => None,
        };
        [here, below]
    });
    places.flatten().max()
}

/// The bracket or brace that the parser still looks into at a line which is plainly the next key or table.
fn unclosed(text: &str, span: Span, message: &str) -> Option<(Span, &'static str)> {
    let (opening, closing, advice) = if message.contains("array") {
        ('[', ']', "this list is not closed; write `]` after its last value")
    } else if message.contains("inline table") || message.contains("key-value pairs") {
        ('{', '}', "this table is not closed; write `}` after its last value")
    } else {
        return None;
    };
    let before = text.get(..span.start)?;
    let (start, _) = before.rmatch_indices(opening).find(|(at, _)| {
        let is_value = line_of(text, *at).split('#').next().is_some_and(|line| line.contains('='));
        is_value && !before[*at..].contains(closing)
    })?;
    let line = line_of(text, span.start).trim();
    let end_of_file = text.get(span.start..).is_none_or(|rest| rest.trim().is_empty());
    let next_line = before[start..].contains('\n');
    (end_of_file || (next_line && (line.starts_with('[') || line.contains('='))))
        .then_some((Span { start, end: start + 1 }, advice))
}

/// The parser's words for the mistakes that are made most often, in ours.
fn explain(text: &str, span: Span, message: &str, report: &Report<'_>) -> (Span, String) {
    let line = line_of(text, span.start);
    let start =
        text.get(..span.start).map_or(0, |before| before.rfind('\n').map_or(0, |newline| newline + 1));
    let bare = bare_value(line)
        .map(|(at, value)| (Span { start: start + at, end: start + at + value.len() }, value));
    let numeric =
        ["invalid float", "invalid integer", "invalid date", "string values must be quoted", "invalid"];
    if let Some((place, value)) = bare
        && numeric.iter().any(|known| message.starts_with(known))
        && place.start <= span.start
        && span.start <= place.end
    {
        if report.is_hidden(place) {
            return (place, "this needs quotes".to_owned());
        }
        return (place, format!("{value} needs quotes; write \"{value}\""));
    }
    let message = match message {
        _ if text.get(span.start..).is_some_and(|rest| rest.starts_with(':')) => {
            "between a key and its value comes `=`, not `:`".to_owned()
        }
        _ if message.starts_with("missing comma") => "a comma is missing here".to_owned(),
        _ if message.starts_with("unclosed table") => {
            "this header is not closed; write `]` at its end".to_owned()
        }
        _ if message.starts_with("unexpected key or value") => {
            "nothing but a comment can follow here".to_owned()
        }
        _ if message.starts_with("key with no value") => "after a key come `=` and a value".to_owned(),
        _ if message.starts_with("invalid basic string") && span.start >= start + line.trim_end().len() => {
            "this text is not closed; write `\"` at its end".to_owned()
        }
        _ => message.trim_end_matches(", expected nothing").to_owned(),
    };
    (span, message)
}

/// What stands behind `=` on a line of the form `key = value` without quotes, and where.
fn bare_value(line: &str) -> Option<(usize, &str)> {
    let (key, rest) = line.split_once('=')?;
    let value = rest.split('#').next()?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "*.:_/-[]".contains(c);
    let opens = value.starts_with(['[', '{', '"', '\'']);
    (!value.is_empty() && !opens && value.chars().all(plain))
        .then(|| (key.len() + 1 + rest.find(value).unwrap_or(0), value))
}

fn line_of(text: &str, offset: usize) -> &str {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    &text[start..end]
}
