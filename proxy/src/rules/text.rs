//! Text of a rule: what was written, and how it is computed.

use std::fmt;

use crate::{
    http::headers::Sink,
    sample::{Expression, Facts, Template},
};

/// Text with placeholders.
#[derive(Clone)]
pub struct Text {
    source: String,
    template: Template,
}

impl Text {
    /// `template` is what `source` was read as.
    pub fn new(source: impl Into<String>, template: Template) -> Self {
        Self { source: source.into(), template }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Has it the path in it?
    pub(crate) fn looks_at_path(&self) -> bool {
        names_path(&self.source)
    }

    pub(crate) fn render(&self, facts: &Facts<'_>, out: &mut impl Sink) {
        self.template.render(facts, out);
    }
}

/// One placeholder with its functions, for a condition.
#[derive(Clone)]
pub struct Value {
    source: String,
    expression: Expression,
}

impl Value {
    /// `expression` is what `source` was read as.
    pub fn new(source: impl Into<String>, expression: Expression) -> Self {
        Self { source: source.into(), expression }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Is it made of the path?
    pub(crate) fn looks_at_path(&self) -> bool {
        names_path(&self.source)
    }

    pub(crate) fn with<R>(&self, facts: &Facts<'_>, then: impl FnOnce(Option<&[u8]>) -> R) -> R {
        self.expression.with(facts, then)
    }
}

fn names_path(source: &str) -> bool {
    source.contains("request.path") || source.contains("request.target")
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}
