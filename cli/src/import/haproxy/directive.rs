//! A line while it is converted: its arguments, and what can be wrong with it.

use super::lexer::Word;
use crate::{config::diagnostic::Span, import::notes::Notes};

/// A line behind its keyword.
#[derive(Clone, Copy)]
pub(super) struct Directive<'l> {
    /// Of the line, or of the part of it that a parameter is.
    pub(super) span: Span,
    /// `option httplog`, without `no`.
    pub(super) keyword: &'l str,
    pub(super) arguments: &'l [Word],
    /// It began with `no`.
    pub(super) negated: bool,
    pub(super) notes: &'l Notes<'l>,
}

/// Why something is not in our file. `span` is the line's if it is `None`.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Option<Span>,
    pub(super) why: String,
}

/// Converted, or why not.
pub(super) type Done = Result<(), Fault>;

impl Fault {
    pub(super) fn at(word: &Word, why: impl Into<String>) -> Self {
        Self { span: Some(word.span), why: why.into() }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self { span: None, why }
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Self {
        Self::from(why.to_owned())
    }
}

impl<'l> Directive<'l> {
    /// The argument at a place.
    pub(super) fn get(&self, index: usize) -> Option<&'l str> {
        self.arguments.get(index).map(|word| word.text.as_str())
    }

    /// The one argument.
    pub(super) fn only(&self) -> Result<&'l Word, Fault> {
        match self.arguments {
            [word] => Ok(word),
            [] => Err(format!("`{}` takes an argument, and there is none", self.keyword).into()),
            [_, more, ..] => Err(Fault::at(
                more,
                format!("`{}` takes one argument; `{}` is more", self.keyword, shown(&more.text)),
            )),
        }
    }

    /// The first argument.
    pub(super) fn first(&self) -> Result<&'l Word, Fault> {
        self.arguments
            .first()
            .ok_or_else(|| format!("`{}` takes an argument, and there is none", self.keyword).into())
    }

    /// Something to know about it.
    pub(super) fn advise(&self, message: impl Into<String>) {
        self.notes.advise(self.span, message);
    }

    /// A part of it is not in our file; the rest is.
    pub(super) fn lose(&self, word: &Word, why: impl Into<String>) {
        self.notes.lost(word.span, why);
    }
}

/// A text of the source within a message.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    let dots = if short.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", short.escape_debug())
}
