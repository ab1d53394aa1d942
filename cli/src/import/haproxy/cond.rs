//! Conditions: what lists of HAProxy's come down to, and how our `when` says it.

use crate::import::document::Value;

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cond {
    Always,
    Never,
    All(Vec<Cond>),
    Any(Vec<Cond>),
    Not(Box<Cond>),
    Is(Is),
}

/// One key of `when`: any of the values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Is {
    /// `path`
    pub(super) key: &'static str,
    /// Of the header, parameter, cookie or placeholder.
    pub(super) name: Option<String>,
    pub(super) values: Vec<Value>,
}

impl Cond {
    pub(super) fn is(key: &'static str, values: Vec<Value>) -> Self {
        if values.is_empty() { Self::Never } else { Self::Is(Is { key, name: None, values }) }
    }

    pub(super) fn named(key: &'static str, name: impl Into<String>, values: Vec<Value>) -> Self {
        if values.is_empty() { Self::Never } else { Self::Is(Is { key, name: Some(name.into()), values }) }
    }

    pub(super) fn all(list: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Self> = Vec::new();
        for one in list {
            match one {
                Self::Always => {}
                Self::Never => return Self::Never,
                Self::All(inner) => all.extend(inner),
                other if all.contains(&other) => {}
                other => all.push(other),
            }
        }
        match all.len() {
            0 => Self::Always,
            1 => all.remove(0),
            _ => Self::All(all),
        }
    }

    pub(super) fn any(list: impl IntoIterator<Item = Self>) -> Self {
        let mut any: Vec<Self> = Vec::new();
        for one in list {
            match one {
                Self::Never => {}
                Self::Always => return Self::Always,
                Self::Any(inner) => inner.into_iter().for_each(|one| add(&mut any, one)),
                other => add(&mut any, other),
            }
        }
        match any.len() {
            0 => Self::Never,
            1 => any.remove(0),
            _ => Self::Any(any),
        }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Always => Self::Never,
            Self::Never => Self::Always,
            Self::Not(inner) => *inner,
            // There are two.
            Self::Is(Is { key: "scheme", name: None, values }) if values == [Value::text("https")] => {
                Self::is("scheme", vec![Value::text("http")])
            }
            // A line that is there is none that is not.
            Self::Is(Is { key, name: Some(name), values }) if values == [Value::Flag(true)] => {
                Self::named(key, name, vec![Value::Flag(false)])
            }
            Self::Is(Is { key, name: Some(name), values }) if values == [Value::Flag(false)] => {
                Self::named(key, name, vec![Value::Flag(true)])
            }
            other => Self::Not(Box::new(other)),
        }
    }

    /// Those that must all hold.
    pub(super) fn conjuncts(self) -> Vec<Self> {
        match self {
            Self::All(list) => list,
            Self::Not(inner) => match *inner {
                Self::Any(list) => list.into_iter().map(Self::not).collect(),
                other => vec![other.not()],
            },
            other => vec![other],
        }
    }

    /// Those one of which must hold.
    pub(super) fn disjuncts(self) -> Vec<Self> {
        match self {
            Self::Any(list) => list,
            other => vec![other],
        }
    }

    /// Is one of these keys in it?
    pub(super) fn mentions(&self, keys: &[&str]) -> bool {
        match self {
            Self::Always | Self::Never => false,
            Self::All(list) | Self::Any(list) => list.iter().any(|one| one.mentions(keys)),
            Self::Not(inner) => inner.mentions(keys),
            Self::Is(is) => keys.contains(&is.key),
        }
    }

    /// The names under this key.
    pub(super) fn names_of<'c>(&'c self, key: &str, names: &mut Vec<&'c str>) {
        match self {
            Self::Always | Self::Never => {}
            Self::All(list) | Self::Any(list) => list.iter().for_each(|one| one.names_of(key, names)),
            Self::Not(inner) => inner.names_of(key, names),
            Self::Is(is) => names.extend(is.name.as_deref().filter(|_| is.key == key)),
        }
    }

    /// With something else in the place of each key.
    pub(super) fn replaced<E>(self, with: &mut impl FnMut(Is) -> Result<Self, E>) -> Result<Self, E> {
        let mut each = |list: Vec<Self>| -> Result<Vec<Self>, E> {
            list.into_iter().map(|one| one.replaced(with)).collect()
        };
        Ok(match self {
            Self::Always | Self::Never => self,
            Self::All(list) => Self::all(each(list)?),
            Self::Any(list) => Self::any(each(list)?),
            Self::Not(inner) => inner.replaced(with)?.not(),
            Self::Is(is) => with(is)?,
        })
    }

    /// What stands behind `when =`; nothing for what always holds.
    pub(super) fn when(&self) -> Option<Value> {
        match self {
            Self::Always => None,
            Self::Any(list) => Some(Value::List(list.iter().map(table).collect())),
            other => Some(table(other)),
        }
    }
}

/// Values of one key are one list.
fn add(any: &mut Vec<Cond>, one: Cond) {
    if let Cond::Is(one) = &one {
        let same = any.iter_mut().find_map(|known| match known {
            Cond::Is(known) if known.key == one.key && known.name == one.name => Some(known),
            _ => None,
        });
        if let Some(same) = same {
            same.values.extend(
                one.values.iter().filter(|value| !same.values.contains(value)).cloned().collect::<Vec<_>>(),
            );
            return;
        }
    }
    if !any.contains(&one) {
        any.push(one);
    }
}

/// A table in which every key stands once; what has no room stands in `all`.
fn table(cond: &Cond) -> Value {
    let one = std::slice::from_ref(cond);
    let parts = if let Cond::All(parts) = cond { parts.as_slice() } else { one };
    let mut entries: Vec<(String, Value)> = Vec::new();
    let mut rest = Vec::new();
    for part in parts {
        let (key, value) = entry(part);
        let known = entries.iter_mut().find(|(known, _)| *known == key);
        match (known, value) {
            (None, value) => entries.push((key, value)),
            (Some((_, Value::Table(inner))), Value::Table(more))
                if key != "not"
                    && more.iter().all(|(name, _)| inner.iter().all(|(known, _)| known != name)) =>
            {
                inner.extend(more);
            }
            (Some(_), _) => rest.push(table(part)),
        }
    }
    if !rest.is_empty() {
        // Nothing else makes this key.
        entries.push(("all".to_owned(), Value::List(rest)));
    }
    Value::Table(entries)
}

fn entry(cond: &Cond) -> (String, Value) {
    match cond {
        Cond::Is(Is { key, name: None, values }) => ((*key).to_owned(), Value::one_or_list(values.clone())),
        Cond::Is(Is { key, name: Some(name), values }) => {
            ((*key).to_owned(), Value::Table(vec![(name.clone(), Value::one_or_list(values.clone()))]))
        }
        Cond::Not(inner) => ("not".to_owned(), inner.when().unwrap_or(Value::Table(Vec::new()))),
        Cond::Any(list) => ("any".to_owned(), Value::List(list.iter().map(table).collect())),
        Cond::All(list) => ("all".to_owned(), Value::List(list.iter().map(table).collect())),
        // `all`, `any` and `not` leave none of these in a condition.
        Cond::Always | Cond::Never => ("all".to_owned(), Value::List(Vec::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Cond {
        Cond::is("path", vec![Value::text(path)])
    }

    fn header(name: &str, value: &str) -> Cond {
        Cond::named("header", name, vec![Value::text(value)])
    }

    #[test]
    fn conditions_are_written_as_short_as_they_can_be() {
        let method = || Cond::is("method", vec![Value::text("GET")]);
        let cases = [
            (path("/a"), "{ path = \"/a\" }"),
            (Cond::any([path("/a"), path("/b"), path("/a")]), "{ path = [\"/a\", \"/b\"] }"),
            (Cond::all([path("/a"), method()]), "{ path = \"/a\", method = \"GET\" }"),
            (Cond::all([header("A", "1"), header("B", "2")]), "{ header = { A = \"1\", B = \"2\" } }"),
            (
                Cond::all([header("A", "1"), header("A", "2")]),
                "{ header = { A = \"1\" }, all = [{ header = { A = \"2\" } }] }",
            ),
            (Cond::any([path("/a"), method()]), "[{ path = \"/a\" }, { method = \"GET\" }]"),
            (
                Cond::all([Cond::any([path("/a"), method()]), header("A", "1")]),
                "{ any = [{ path = \"/a\" }, { method = \"GET\" }], header = { A = \"1\" } }",
            ),
            (
                Cond::all([path("/a").not(), method().not()]),
                "{ not = { path = \"/a\" }, all = [{ not = { method = \"GET\" } }] }",
            ),
            (Cond::any([path("/a"), method()]).not(), "{ not = [{ path = \"/a\" }, { method = \"GET\" }] }"),
            (Cond::named("header", "A", vec![Value::Flag(true)]).not(), "{ header = { A = false } }"),
            (path("/a").not().not(), "{ path = \"/a\" }"),
            (
                Cond::all([Cond::all([path("/a"), path("/b")]), Cond::Always]),
                "{ path = \"/a\", all = [{ path = \"/b\" }] }",
            ),
        ];
        for (cond, text) in cases {
            assert_eq!(cond.when().unwrap().to_string(), text);
        }
        assert_eq!(Cond::all([]).when(), None);
        assert_eq!(Cond::all([path("/a"), Cond::Never]), Cond::Never);
        assert_eq!(Cond::any([path("/a"), Cond::Always]), Cond::Always);
        assert_eq!(Cond::any([]), Cond::Never);
    }
}
