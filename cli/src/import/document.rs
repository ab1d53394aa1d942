//! TOML with comments, as it is written by hand: tables, one entry to a line, rules one below the other.

use std::fmt;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(u64),
    Flag(bool),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
}

/// The file.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Comments at its beginning.
    pub(crate) head: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

/// One `[heading]` with what stands below it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// `listen.web`, with quotes where they are needed.
    pub(crate) heading: String,
    /// Above the heading.
    pub(crate) comments: Vec<String>,
    pub(crate) entries: Vec<Entry>,
}

/// A line, or several.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// An empty line.
    Blank,
    Comment(String),
    Pair {
        key: String,
        value: Value,
        /// Behind the value.
        note: Option<String>,
    },
    /// A list of tables, each below its comments.
    Rules {
        key: &'static str,
        rules: Vec<(Vec<String>, Value)>,
    },
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// One value as it is, several as a list.
    pub(crate) fn one_or_list(mut values: Vec<Self>) -> Self {
        if values.len() == 1 { values.remove(0) } else { Self::List(values) }
    }

    pub(crate) fn table<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The values of a list; of anything else itself.
    pub(crate) fn parts(&self) -> &[Self] {
        if let Self::List(values) = self { values } else { std::slice::from_ref(self) }
    }

    /// What a table has by that name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        let Self::Table(entries) = self else { return None };
        entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Integer(number)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::List(values) => {
                f.write_str("[")?;
                for value in values {
                    write!(f, "{separator}{value}")?;
                    separator = ", ";
                }
                f.write_str("]")
            }
            Self::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Self::Table(entries) => {
                f.write_str("{ ")?;
                for (name, value) in entries {
                    write!(f, "{separator}{} = {value}", key(name))?;
                    separator = ", ";
                }
                f.write_str(" }")
            }
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.head {
            comment(f, "", line)?;
        }
        for table in &self.tables {
            writeln!(f)?;
            for line in &table.comments {
                comment(f, "", line)?;
            }
            writeln!(f, "[{}]", table.heading)?;
            for entry in &table.entries {
                entry.fmt(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => writeln!(f),
            Self::Comment(text) => comment(f, "", text),
            Self::Pair { key, value, note: None } => writeln!(f, "{key} = {value}"),
            Self::Pair { key, value, note: Some(note) } => {
                writeln!(f, "{key} = {value}  # {}", harmless(note))
            }
            Self::Rules { key, rules } => {
                writeln!(f, "{key} = [")?;
                for (comments, rule) in rules {
                    for line in comments {
                        comment(f, "  ", line)?;
                    }
                    writeln!(f, "  {rule},")?;
                }
                writeln!(f, "]")
            }
        }
    }
}

fn comment(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    if text.is_empty() { writeln!(f, "{indent}#") } else { writeln!(f, "{indent}# {}", harmless(text)) }
}

/// TOML allows no control characters in comments, and a comment must stay one line.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// In single quotes where that spares escapes, as regular expressions need.
fn quoted(text: &str) -> String {
    let plain = !text.contains('\'') && !text.chars().any(char::is_control);
    if plain && text.contains(['\\', '"']) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `name = value  # note`
pub(crate) fn pair(name: &str, value: Value, note: Option<&str>) -> Entry {
    Entry::Pair { key: name.to_owned(), value, note: note.map(str::to_owned) }
}

/// A key, in quotes if it needs them.
pub(crate) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_they_were() {
        let texts =
            ["", "plain", "a\"b", "it's", "^/a\\.b$", "'\"\\", "a\nb\r\t\u{1}\u{7f}ü", "{client.ip}", "#"];
        for text in texts {
            let file = format!("{} = {}\n", key(text), Value::text(text));
            let table: toml::Table = file.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(table.get(text).and_then(|value| value.as_str()), Some(text), "{file}");
        }
    }

    #[test]
    fn a_document_is_toml_whatever_its_comments_say() {
        let pair = |note: Option<&str>| Entry::Pair {
            key: "maxconn".into(),
            value: Value::Integer(5),
            note: note.map(str::to_owned),
        };
        let rule = Value::table([("deny", Value::Integer(403)), ("when", Value::Table(Vec::new()))]);
        let document = Document {
            head: vec!["a\nb".into()],
            tables: vec![Table {
                heading: "global".into(),
                comments: vec!["\u{0}".into(), String::new()],
                entries: vec![
                    Entry::Comment("\r[x]".into()),
                    pair(Some("why\nnot")),
                    Entry::Rules { key: "rules", rules: vec![(vec!["1: \u{7}".into()], rule)] },
                ],
            }],
        };
        let text = document.to_string();
        let table: toml::Table = text.parse().unwrap();
        assert_eq!(table["global"]["maxconn"].as_integer(), Some(5), "{text}");
        assert_eq!(table["global"]["rules"][0]["deny"].as_integer(), Some(403), "{text}");
    }
}
