//! How the book speaks of values and defaults. What is told in another way is told to people alone.

/// A column of the book in parts: what holds anywhere, and what holds `with` or `in` something (`"100ms"; with
/// `version = 2`: `"1s"``).
pub(super) fn parts(cell: &str) -> Vec<(Context, &str)> {
    cell.split("; ").map(context).collect()
}

/// Where a part of a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Context {
    Anywhere,
    ModeTcp,
    ForeignNode,
    /// Beside another key of the same table: a whole setting, or the example of a key.
    With(String),
}

fn context(text: &str) -> (Context, &str) {
    if let Some(rest) = text.strip_prefix("else: ") {
        return (Context::Anywhere, rest);
    }
    if let Some(rest) = text.strip_prefix("in mode tcp: ") {
        return (Context::ModeTcp, rest);
    }
    if let Some(rest) = text.strip_prefix("if a node is foreign: ") {
        return (Context::ForeignNode, rest);
    }
    let with = text.strip_prefix("with `").and_then(|rest| rest.split_once("`: "));
    with.map_or((Context::Anywhere, text), |(with, rest)| (Context::With(with.to_owned()), rest))
}

/// What stands in the place of a value that the file doesn't have.
#[derive(Debug, PartialEq)]
pub(super) enum Default {
    /// It must be given.
    Required,
    /// `one of these`: at least one such key of the table must be given.
    Either,
    /// ``needed with `vip` ``
    NeededWith(String),
    /// `those of its keys`
    OfItsKeys,
    /// ``that of `maxconn` in `[global]` ``, with the section if it is another one.
    Same(String, Option<String>),
    /// A value in TOML.
    Value(String),
    /// `as in a [frontend](#frontendname)`: tried there.
    Elsewhere,
    /// Something that no value says.
    Words,
}

impl Default {
    pub(super) fn read(text: &str) -> Self {
        if text.is_empty() {
            return Self::Required;
        }
        if text.starts_with("as in a [") {
            return Self::Elsewhere;
        }
        if text == "one of these" {
            return Self::Either;
        }
        if text == "those of its keys" {
            return Self::OfItsKeys;
        }
        if let Some(key) = text.strip_prefix("needed with `") {
            return Self::NeededWith(key.trim_end_matches('`').to_owned());
        }
        if let Some((key, rest)) = text.strip_prefix("that of `").and_then(|rest| rest.split_once('`')) {
            let section = rest.strip_prefix(" in `[").and_then(|rest| rest.strip_suffix("]`"));
            return Self::Same(key.to_owned(), section.map(str::to_owned));
        }
        literal(text).map_or(Self::Words, Self::Value)
    }
}

/// The value that a text begins with.
pub(super) fn literal(text: &str) -> Option<String> {
    let word = match text.strip_prefix('`') {
        Some(rest) => rest.split('`').next()?,
        None => text.split([',', ' ']).next()?,
    };
    format!("x = {word}").parse::<toml::Table>().ok().map(|_| word.to_owned())
}

/// What a key takes.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// From one number to another, in milliseconds if they are durations. `step` is what values are a multiple of.
    Numbers { shown: String, low: u64, high: u64, is_time: bool, step: Option<u64> },
    /// These, and nothing else if they are `all`.
    Choice { of: Vec<String>, all: bool },
    /// The same as another key of the table.
    As(String),
    /// Told to people alone.
    Words,
}

impl Value {
    /// `sibling` is the number that a companion sets for a key of the same table.
    pub(super) fn read(text: &str, sibling: impl Fn(&str) -> Option<String>) -> Self {
        if let Some(key) = text.strip_prefix("as `").and_then(|rest| rest.strip_suffix('`')) {
            return Self::As(key.to_owned());
        }
        if let Some(range) = range(text, sibling) {
            return range;
        }
        let words: Vec<_> = text.split(", ").flat_map(|word| word.split(" or ")).collect();
        let of: Vec<_> = words.iter().filter_map(|word| literal(word)).collect();
        match of.len() {
            0 | 1 => Self::Words,
            count => Self::Choice { all: count == words.len(), of },
        }
    }
}

fn range(text: &str, sibling: impl Fn(&str) -> Option<String>) -> Option<Value> {
    if let Some((_, rest)) = text.split_once("at most ") {
        let shown = rest.split(' ').next()?.to_owned();
        let high = number(&shown)?.0;
        return Some(Value::Numbers { shown, low: 0, high, is_time: false, step: None });
    }
    let (low, rest) = text.split_once("..")?;
    // `text of 1..48 characters`
    let low = low.rsplit(' ').next()?;
    let (high, rest) = rest.split_once([' ', ',']).unwrap_or((rest, ""));
    let high = match high.strip_prefix('`').and_then(|key| key.strip_suffix('`')) {
        Some(key) => sibling(key)?,
        None => high.to_owned(),
    };
    let ((from, is_time), (to, _)) = (number(low)?, number(&high)?);
    let step = match rest.split_once("steps of ") {
        Some((_, step)) => Some(number(step)?.0),
        None => rest.contains("whole seconds").then_some(1_000),
    };
    const UNITS: [&str; 6] = ["percent", "bytes per second", "bytes", "bits", "connections", "directories"];
    let unit = UNITS.iter().find(|unit| rest.starts_with(**unit)).map(|unit| format!(" {unit}"));
    let shown = format!("{low}..{high}{}", unit.unwrap_or_default());
    Some(Value::Numbers { shown, low: from, high: to, is_time, step })
}

/// A number, or a duration in milliseconds.
fn number(text: &str) -> Option<(u64, bool)> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    if let Ok(number) = text.parse() {
        return Some((number, false));
    }
    let (number, factor) =
        UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let (whole, hundredths) = number.split_once('.').unwrap_or((number, "0"));
    Some((whole.parse::<u64>().ok()? * factor + hundredths.parse::<u64>().ok()? * factor / 100, true))
}
