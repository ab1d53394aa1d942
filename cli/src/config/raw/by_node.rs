//! A value that may differ by node: the value itself, or a table with the names of nodes as keys.

use crate::config::{
    diagnostic::Span,
    reader::{At, Value},
};

#[derive(Debug)]
pub(crate) enum ByNode<T> {
    All(At<T>),
    Each {
        /// `None` for a value that was reported.
        entries: Vec<(At<String>, Option<At<T>>)>,
        span: Span,
    },
}

impl<T> ByNode<T> {
    /// With `one` for each value.
    pub(crate) fn read(value: &Value<'_>, one: impl Fn(&Value<'_>) -> Option<At<T>>) -> Option<Self> {
        if !value.is_table() {
            return one(value).map(Self::All);
        }
        let entries = value.entries("a table")?;
        let entries = entries.iter().map(|(node, value)| (node.clone(), one(value))).collect();
        Some(Self::Each { entries, span: value.span })
    }

    pub(crate) fn span(&self) -> Span {
        match self {
            Self::All(at) => at.span,
            Self::Each { span, .. } => *span,
        }
    }

    /// All that could be read.
    pub(crate) fn values(&self) -> impl Iterator<Item = &At<T>> {
        let (all, each) = match self {
            Self::All(at) => (Some(at), &[][..]),
            Self::Each { entries, .. } => (None, entries.as_slice()),
        };
        all.into_iter().chain(each.iter().filter_map(|(_, at)| at.as_ref()))
    }
}
