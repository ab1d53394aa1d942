//! What the book says of a key's value and of its default is what the program takes and does.

use std::{collections::BTreeSet, path::Path};

use lbctl::config;

use super::{
    reference,
    says::{Context, Default, Value, literal, parts},
    table::{Row, TABLES, companions, file, rows, set_in},
};

/// Keys whose values can't be told alone, and why.
const APART: &[(&str, &str)] = &[
    // A frontend and its backend have the same; tried in [defaults] and [listen.NAME].
    ("[frontend.NAME]", "mode"),
    ("[backend.NAME]", "mode"),
    // What it is by itself goes by `ca_file`; the good and the bad files have its values.
    ("[frontend.NAME] bind.tls", "verify"),
];

/// A row in the table that it describes.
struct Tried<'a> {
    heading: &'a str,
    template: &'a str,
    row: &'a Row,
    /// All rows under the heading.
    rows: &'a [Row],
    folder: &'a Path,
}

impl Tried<'_> {
    /// A file with these keys, and with those that must be there besides.
    fn file(&self, settings: &[String], context: &Context) -> String {
        let mut all = settings.to_vec();
        all.extend(companions(self.heading, &self.row.key).iter().map(|&with| with.to_owned()));
        if let Context::With(with) = context {
            all.push(if with.contains(" = ") { with.clone() } else { self.example(with) });
        }
        let is_set = |all: &[String], key: &str| all.iter().any(|setting| key_of(setting) == key);
        let either = |row: &&Row| Default::read(&row.default) == Default::Either;
        if !self.rows.iter().filter(either).any(|row| is_set(&all, &row.key)) {
            let other = self.rows.iter().filter(either).find(|row| row.key != self.row.key);
            all.extend(other.filter(|_| !either(&self.row)).map(|row| row.example.clone()));
        }
        for row in self.rows.iter().filter(|row| Default::read(&row.default) == Default::Required) {
            if row.key != self.row.key && !is_set(&all, &row.key) {
                all.push(row.example.clone());
            }
        }
        let text = file(self.template, &all, self.folder);
        match context {
            Context::Anywhere | Context::With(_) => text,
            Context::ModeTcp => {
                let has_backend = !text.contains("[frontend.web]") || text.contains("default_backend");
                let text = set_in(&text, "defaults", "mode = \"tcp\"");
                if has_backend { text } else { set_in(&text, "frontend.web", "default_backend = \"app\"") }
            }
            Context::ForeignNode => text.replace(
                "node.lb2 = \"192.0.2.12\"",
                "node.lb2 = { address = \"192.0.2.12\", foreign = \"keepalived\" }",
            ),
        }
    }

    fn example(&self, key: &str) -> String {
        self.rows.iter().find(|row| row.key == key).unwrap().example.clone()
    }

    fn set(&self, value: &str) -> String {
        format!("{} = {value}", self.row.key)
    }

    /// What `check --effective` makes of the file.
    fn effective(&self, settings: &[String], context: &Context) -> Result<String, String> {
        effective(&self.file(settings, context))
    }

    fn with(&self, value: &str, context: &Context) -> Result<String, String> {
        self.effective(&[self.set(value)], context)
    }

    /// Refused, with these words in an error.
    fn refused(&self, value: &str, words: &[&str], context: &Context) -> Result<(), String> {
        let text = self.file(&[self.set(value)], context);
        let Err(report) = config::parse(&text, "lb.toml") else { return Err(format!("{value} is taken")) };
        let names = |message: &str| words.iter().all(|word| message.contains(word));
        if report.iter().any(|diagnostic| names(&diagnostic.message)) {
            return Ok(());
        }
        Err(format!("{value} is refused without {words:?}: {report}"))
    }

    /// The example is taken, and changes something.
    fn try_example(&self) -> Result<(), String> {
        let with = self.effective(std::slice::from_ref(&self.row.example), &Context::Anywhere)?;
        let Ok(without) = self.effective(&[], &Context::Anywhere) else { return Ok(()) };
        let default = parts(&self.row.default).into_iter().next().and_then(|(_, default)| literal(default));
        let is_default = default.is_some_and(|value| self.set(&value) == self.row.example);
        if is_default == (with == without) { Ok(()) } else { Err("the example changes nothing".into()) }
    }

    fn try_default(&self, context: &Context, default: &Default) -> Result<(), String> {
        let without = self.effective(&[], context);
        let same = |settings: &[String], other: Result<String, String>| {
            let (with, without) = (self.effective(settings, context)?, other?);
            same_lines(&with, &without)
        };
        match default {
            Default::Required | Default::Either | Default::NeededWith(_) if without.is_err() => Ok(()),
            Default::Required | Default::Either | Default::NeededWith(_) => Err("can be left out".into()),
            Default::OfItsKeys => same(&[self.set("{}")], without),
            Default::Value(value) => same(&[self.set(value)], without),
            Default::Same(key, None) => {
                let sibling = self.example(key);
                let value = value_of(&sibling).to_owned();
                same(&[sibling.clone(), self.set(&value)], self.effective(&[sibling], context))
            }
            Default::Same(key, Some(section)) => {
                let sibling = other_example(section, key);
                let value = value_of(&sibling).to_owned();
                let set = |settings: &[String]| {
                    effective(&set_in(&self.file(settings, context), section, &sibling))
                };
                let (with, without) = (set(&[self.set(&value)])?, set(&[])?);
                same_lines(&with, &without)
            }
            Default::Elsewhere => without.map(drop),
            Default::Words => self.hides_nothing(&without?),
        }
    }

    /// Words that stand for no value must not stand for one that the program knows.
    fn hides_nothing(&self, without: &str) -> Result<(), String> {
        let with = self.effective(std::slice::from_ref(&self.row.example), &Context::Anywhere)?;
        let with: BTreeSet<_> = with.lines().collect();
        let names = |line: &&str| {
            let key = line.split(" = ").next().unwrap_or_default();
            !line.starts_with('#') && key.rsplit('.').next() == Some(&self.row.key)
        };
        match without.lines().filter(|line| !with.contains(line)).find(names) {
            Some(line) => Err(format!("the default is `{line}`")),
            None => Ok(()),
        }
    }

    fn try_value(&self, context: &Context, value: &Value) -> Result<(), String> {
        match value {
            Value::As(key) => {
                let row = self.rows.iter().find(|row| row.key == *key).unwrap();
                self.try_value(context, &Value::read(&row.value, |_| None))
            }
            Value::Words => Ok(()),
            Value::Choice { of, all } => {
                let effects = of.iter().map(|value| self.with(value, context));
                let effects = effects.collect::<Result<BTreeSet<_>, _>>()?;
                if effects.len() < of.len() {
                    return Err(format!("two of {of:?} are the same"));
                }
                let names: Vec<_> = of.iter().map(String::as_str).collect();
                if *all { self.refused("\"zzzzzzzz\"", &names, context) } else { Ok(()) }
            }
            Value::Numbers { shown, low, high, is_time, step } => {
                let example = value_of(&self.row.example);
                let write = |number: i128| match example.chars().next() {
                    _ if *is_time => format!("\"{number}ms\""),
                    Some('"') => format!("\"{}\"", "a".repeat(usize::try_from(number).unwrap())),
                    Some('[') if !example.starts_with("[2") => {
                        let item = example.trim_matches(['[', ']']);
                        format!("[{}]", vec![item; usize::try_from(number).unwrap()].join(", "))
                    }
                    _ => number.to_string(),
                };
                let (low, high) = (i128::from(*low), i128::from(*high));
                if self.with(&write(low), context)? == self.with(&write(high), context)? {
                    return Err("both ends are the same".into());
                }
                if low > 0 || !(*is_time || example.starts_with(['"', '['])) {
                    self.refused(&write(low - 1), &[shown], context)?;
                }
                self.refused(&write(high + 1), &[shown], context)?;
                step.map_or(Ok(()), |step| self.refused(&write(low + i128::from(step) / 2), &[], context))
            }
        }
    }

    fn try_all(&self) -> Result<(), String> {
        self.try_example()?;
        for (context, default) in parts(&self.row.default) {
            self.try_default(&context, &Default::read(default)).map_err(|why| format!("{default}: {why}"))?;
        }
        for (context, value) in parts(&self.row.value) {
            let sibling = |key: &str| {
                let with = companions(self.heading, &self.row.key).iter().find(|with| key_of(with) == key)?;
                Some(value_of(with).to_owned())
            };
            self.try_value(&context, &Value::read(value, sibling))
                .map_err(|why| format!("{value}: {why}"))?;
        }
        Ok(())
    }
}

fn effective(text: &str) -> Result<String, String> {
    config::parse(text, "lb.toml")
        .map(|config| config::effective(&config))
        .map_err(|report| format!("{report}{text}"))
}

/// The lines of what the default is said to be, and of what it is.
fn same_lines(said: &str, is: &str) -> Result<(), String> {
    let differing = said.lines().zip(is.lines()).find(|(said, is)| said != is);
    match differing {
        Some((said, is)) => Err(format!("`{said}` would be `{is}`")),
        None if said.lines().count() != is.lines().count() => Err("something is missing".into()),
        None => Ok(()),
    }
}

/// `node` of `node.lb1 = "192.0.2.11"`.
fn key_of(setting: &str) -> &str {
    setting.split([' ', '.']).next().unwrap_or_default()
}

fn value_of(setting: &str) -> &str {
    setting.split_once(" = ").unwrap_or_default().1
}

/// The example of a key in another section.
fn other_example(section: &str, key: &str) -> String {
    let reference = reference();
    let (heading, last) = match key.split_once('.') {
        Some((table, last)) => (format!("[backend.NAME] {table}"), last),
        None => (format!("[{section}]"), key),
    };
    let row = rows(&reference, &heading).into_iter().find(|row| row.key == last).unwrap();
    row.example.replacen(last, key, 1)
}

/// Tables that say no more than where their keys are explained have the example and the values from there.
fn explained(heading: &str, reference: &str) -> Vec<Row> {
    let of: &[&str] = match heading {
        "[defaults]" | "[listen.NAME]" => &["[frontend.NAME]", "[backend.NAME]"],
        "[defaults] timeout" => &["[frontend.NAME] timeout", "[backend.NAME] timeout"],
        _ => return rows(reference, heading),
    };
    let others: Vec<_> = of.iter().flat_map(|heading| rows(reference, heading)).collect();
    let mut rows = rows(reference, heading);
    for row in &mut rows {
        let other = others.iter().find(|other| other.key == row.key);
        let other = other.unwrap_or_else(|| panic!("{heading}: {} is explained nowhere", row.key));
        assert_eq!(row.example, other.example, "{heading}");
        if row.value.starts_with("as in a ") {
            row.value.clone_from(&other.value);
        }
    }
    rows
}

/// Examples, defaults, ranges and choices.
#[test]
fn what_the_book_says_of_values_is_what_is_taken() {
    let reference = reference();
    let folder = tempfile::tempdir().unwrap();
    let (mut tried, mut wrong) = (BTreeSet::new(), Vec::new());
    for (heading, template) in TABLES.iter().copied() {
        let rows = explained(heading, &reference);
        for row in &rows {
            if APART.contains(&(heading, &row.key)) || !tried.insert((heading, row.key.clone())) {
                continue;
            }
            let one = Tried { heading, template, row, rows: &rows, folder: folder.path() };
            if let Err(why) = one.try_all() {
                wrong.push(format!("{heading}, {}: {why}", row.key));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(tried.len() > 250, "{} keys found", tried.len());
}
