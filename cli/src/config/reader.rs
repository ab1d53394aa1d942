//! Typed reading of spanned TOML tables: every wrong or unknown key is reported, and reading goes on.
//!
//! [`Fields`] is a table whose keys are fixed, [`Value`] any value with the name it is reported by. A getter returns
//! `None` both for an absent key and for one whose value was reported.

use std::{cell::RefCell, ops::RangeInclusive, time::Duration};

use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::{Report, Span},
    text,
};

/// A value and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// A table whose keys are fixed.
pub(crate) struct Fields<'a> {
    table: &'a DeTable<'a>,
    /// Its key in the file: where a missing key is reported.
    pub(crate) span: Span,
    /// How it is called in messages: `[backend.app]`.
    pub(crate) title: String,
    known: RefCell<Vec<&'static str>>,
    pub(crate) report: &'a Report<'a>,
}

/// Any value.
pub(crate) struct Value<'a> {
    /// How it is called in messages.
    pub(crate) name: String,
    pub(crate) span: Span,
    value: &'a DeValue<'a>,
    report: &'a Report<'a>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(table: &'a DeTable<'a>, span: Span, title: String, report: &'a Report<'a>) -> Self {
        Self { table, span, title, known: RefCell::default(), report }
    }

    /// The value of `key`, which is known from now on.
    pub(crate) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&key) {
            known.push(key);
        }
        let value = self.table.get(key)?;
        Some(Value {
            name: key.into(),
            span: span(value.span()),
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// The value of `key` is there and of no use, so it was reported.
    pub(crate) fn is_misfit(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| !value.get_ref().is_table() && !value.get_ref().is_array())
    }

    /// Reports an absent `key`; `hint` says what to write. A mistyped one is left to [`Fields::finish`].
    pub(crate) fn require(&self, key: &'static str, hint: &str) {
        let mistyped = || self.table.keys().any(|other| text::nearest(other.get_ref(), [key]).is_some());
        if !self.table.contains_key(key) && !mistyped() {
            self.report.error(self.span, format!("{} has no `{key}`; write {hint}", self.title));
        }
    }

    pub(crate) fn string(&self, key: &'static str, expected: &str) -> Option<At<String>> {
        self.value(key)?.string(expected)
    }

    pub(crate) fn boolean(&self, key: &'static str) -> Option<At<bool>> {
        self.value(key)?.boolean()
    }

    pub(crate) fn integer(&self, key: &'static str, range: RangeInclusive<u32>) -> Option<At<u32>> {
        self.value(key)?.integer(range)
    }

    /// The same of something that is counted in `unit`.
    pub(crate) fn measured(
        &self,
        key: &'static str,
        range: RangeInclusive<u32>,
        unit: &str,
    ) -> Option<At<u32>> {
        self.value(key)?.number(range, &format!(" {unit}"))
    }

    pub(crate) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        self.value(key)?.duration(range)
    }

    pub(crate) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<At<T>> {
        self.value(key)?.choice(choices)
    }

    /// A table with fixed keys under `key`.
    pub(crate) fn fields(&self, key: &'static str, expected: &str) -> Option<Fields<'a>> {
        let title = format!("`{key}` of {}", self.title);
        self.value(key)?.fields(title, expected)
    }

    /// The keys of a table whose keys are names, in the order of the file.
    pub(crate) fn named(&self, key: &'static str, expected: &str) -> Vec<(At<String>, Value<'a>)> {
        self.value(key).and_then(|value| value.entries(expected)).unwrap_or_default()
    }

    /// Every key was asked for: none is left for [`Fields::finish`] to report.
    pub(crate) fn is_read_whole(&self) -> bool {
        let known = self.known.borrow();
        self.table.keys().all(|key| known.contains(&key.get_ref().as_ref()))
    }

    /// There is no key but `key`.
    pub(crate) fn has_nothing_but(&self, only: &str) -> bool {
        self.table.keys().all(|key| key.get_ref() == only)
    }

    /// Reports every key that no getter asked for. `elsewhere` explains keys that belong to another section.
    pub(crate) fn finish(self, elsewhere: impl Fn(&str) -> Option<String>) {
        let known = self.known.into_inner();
        for (key, _) in self.table.iter() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let what = if self.title == "the file" { "section" } else { "key" };
            let place = if self.title == "the file" { String::new() } else { format!(" in {}", self.title) };
            let hint = if let Some(hint) = elsewhere(name) {
                format!("; {hint}")
            } else if let Some(near) = text::nearest(name, known.iter().copied()) {
                format!("; did you mean `{near}`?")
            } else {
                let mut known = known.clone();
                known.sort_unstable();
                format!("; {what}s are {}", text::listing(&known))
            };
            self.report
                .error(span(key.span()), format!("unknown {what} `{}`{place}{hint}", name.escape_debug()));
        }
    }
}

impl<'a> Value<'a> {
    /// Reports that this is not what was expected: `vrid is 1..255, found 510`.
    pub(crate) fn mismatch(&self, expected: &str) {
        self.report.error(self.span, format!("{} is {expected}, found {}", self.name, self.found()));
    }

    /// Reports the value with the end of a sentence about it.
    pub(crate) fn wrong(&self, why: &str) {
        let found = self.found();
        // A long or hidden one is not repeated: the line below the sentence has it.
        let subject = if found == "a string" { "this text" } else { &found };
        self.report.error(self.span, format!("{subject} {why}"));
    }

    /// Reports something else about it, in a whole sentence.
    pub(crate) fn report_at(&self, span: Span, message: &str) {
        self.report.error(span, message);
    }

    pub(crate) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    pub(crate) fn is_empty_table(&self) -> bool {
        matches!(self.value, DeValue::Table(table) if table.is_empty())
    }

    /// It is a table with at least one of these keys.
    pub(crate) fn has_some_of(&self, keys: &[&str]) -> bool {
        matches!(self.value, DeValue::Table(table) if keys.iter().any(|key| table.contains_key(*key)))
    }

    pub(crate) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    pub(crate) fn report(&self) -> &'a Report<'a> {
        self.report
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    pub(crate) fn is_empty_list(&self) -> bool {
        matches!(self.value, DeValue::Array(list) if list.is_empty())
    }

    pub(crate) fn as_str(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    pub(crate) fn string(&self, expected: &str) -> Option<At<String>> {
        let Some(text) = self.value.as_str() else {
            self.mismatch(expected);
            return None;
        };
        Some(At::new(text.to_owned(), self.span))
    }

    /// A string in a text form of its own.
    pub(crate) fn parsed<T>(
        &self,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let text = self.string(expected)?;
        match parse(&text.value) {
            Ok(value) => Some(At::new(value, self.span)),
            Err(why) => {
                self.wrong(&why);
                None
            }
        }
    }

    pub(crate) fn boolean(&self) -> Option<At<bool>> {
        let Some(value) = self.value.as_bool() else {
            self.mismatch("true or false");
            return None;
        };
        Some(At::new(value, self.span))
    }

    pub(crate) fn as_u16(&self) -> Option<u16> {
        u16::try_from(self.as_number()?).ok()
    }

    fn as_number(&self) -> Option<i128> {
        let integer = self.value.as_integer()?;
        i128::from_str_radix(integer.as_str(), integer.radix()).ok()
    }

    pub(crate) fn integer(&self, range: RangeInclusive<u32>) -> Option<At<u32>> {
        self.number(range, "")
    }

    fn number(&self, range: RangeInclusive<u32>, unit: &str) -> Option<At<u32>> {
        let number = self
            .as_number()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            self.mismatch(&format!("{}..{}{unit}", range.start(), range.end()));
        }
        Some(At::new(number?, self.span))
    }

    pub(crate) fn duration(&self, range: RangeInclusive<Duration>) -> Option<At<Duration>> {
        if let Some(number) = self.value.as_integer().map(|number| number.as_str()) {
            let name = &self.name;
            self.report.error(
                self.span,
                format!(
                    "{name} is a duration with a unit, found {number}; write \"{number}s\" or \"{number}ms\""
                ),
            );
            return None;
        }
        let duration = self.parsed("a duration with a unit, as in \"5s\" or \"250ms\"", text::duration)?;
        if !range.contains(&duration.value) {
            let (low, high) = (text::write_duration(*range.start()), text::write_duration(*range.end()));
            self.mismatch(&format!("{low}..{high}"));
            return None;
        }
        Some(duration)
    }

    pub(crate) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<At<T>> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let found = self.value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
        let Some((_, value)) = found else {
            let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
            let expected = quoted.join(" or ");
            match self.value.as_str().and_then(|text| text::nearest(text, names)) {
                Some(near) => self.report.error(
                    self.span,
                    format!("{} is {expected}, found {}; did you mean \"{near}\"?", self.name, self.found()),
                ),
                None => self.mismatch(&expected),
            }
            return None;
        };
        Some(At::new(*value, self.span))
    }

    /// The values of a list.
    pub(crate) fn list(&self, expected: &str) -> Option<Vec<Value<'a>>> {
        let DeValue::Array(list) = self.value else {
            self.mismatch(expected);
            return None;
        };
        Some(list.iter().map(|item| self.item(item)).collect())
    }

    /// The values of a list, or the value itself.
    pub(crate) fn one_or_list(self) -> Vec<Value<'a>> {
        match self.value {
            DeValue::Array(list) => list.iter().map(|item| self.item(item)).collect(),
            _ => vec![self],
        }
    }

    /// A table with fixed keys.
    pub(crate) fn fields(&self, title: String, expected: &str) -> Option<Fields<'a>> {
        let DeValue::Table(table) = self.value else {
            self.mismatch(expected);
            return None;
        };
        Some(Fields::new(table, self.span, title, self.report))
    }

    /// A table whose keys are names, in the order of the file.
    pub(crate) fn entries(&self, expected: &str) -> Option<Vec<(At<String>, Value<'a>)>> {
        let entries = self.pairs(expected)?;
        for (name, _) in &entries {
            if let Err(why) = text::name(&name.value) {
                self.report.error(name.span, format!("the name `{}` {why}", name.value.escape_debug()));
            }
        }
        Some(entries)
    }

    /// A table whose keys are anything, in the order of the file.
    pub(crate) fn pairs(&self, expected: &str) -> Option<Vec<(At<String>, Value<'a>)>> {
        let DeValue::Table(table) = self.value else {
            self.mismatch(expected);
            return None;
        };
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| {
                let name = key.get_ref().to_string();
                let value = Value {
                    name: name.clone(),
                    span: span(value.span()),
                    value: value.get_ref(),
                    report: self.report,
                };
                (At::new(name, span(key.span())), value)
            })
            .collect();
        entries.sort_by_key(|(name, _)| name.span);
        Some(entries)
    }

    fn item(&self, item: &'a toml::Spanned<DeValue<'a>>) -> Value<'a> {
        Value { name: self.name.clone(), span: span(item.span()), value: item.get_ref(), report: self.report }
    }

    /// The value as the file has it, if that is short and not hidden, else what kind of value it is.
    fn found(&self) -> String {
        let kind = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(list) if list.is_empty() => "an empty list",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let source = self.report.source(self.span);
        let scalar = !matches!(self.value, DeValue::Array(_) | DeValue::Table(_));
        let short = !source.is_empty() && source.len() <= 60 && !source.contains(|c: char| c.is_control());
        if scalar && short && !self.report.is_hidden(self.span) { source.to_owned() } else { kind.to_owned() }
    }
}

/// The parser's form of a span.
pub(crate) fn span(range: std::ops::Range<usize>) -> Span {
    Span { start: range.start, end: range.end }
}
