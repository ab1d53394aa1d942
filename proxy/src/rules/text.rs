//! Text of a rule: what was written, and how it is computed.

use std::fmt;

use super::action::Written;
use crate::{
    http::headers::Sink,
    sample::{Expression, Facts, Repeated, Template, Wanted},
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

    /// Is it the same for every request?
    pub fn is_literal(&self) -> bool {
        self.template.as_literal().is_some()
    }

    /// Is it made of how the client begins TLS?
    pub(super) fn looks_at_client_hello(&self) -> bool {
        self.template.looks_at_client_hello()
    }

    /// Has it the path in it?
    pub(crate) fn looks_at_path(&self) -> bool {
        names_path(&self.source)
    }

    /// Is it made of what a rule wrote there?
    pub(super) fn is_made_of(&self, written: Written<'_>) -> bool {
        is_made_of(&self.source, written)
    }

    /// Adds what it names of a request.
    pub(super) fn want(&self, wanted: &mut Wanted) {
        self.template.want(wanted);
    }

    /// What it names of a request that several may be there of, each once.
    pub(super) fn repeated(&self) -> Vec<Repeated> {
        self.template.repeated()
    }

    pub(crate) fn render(&self, facts: &Facts<'_>, out: &mut impl Sink) {
        self.template.render(facts, out);
    }
}

/// One placeholder with its functions, for a condition. Boxed, so that conditions of other kinds, of which a large file has thousands, are not
/// as large.
#[derive(Clone)]
pub struct Value(Box<OfValue>);

#[derive(Clone)]
struct OfValue {
    source: String,
    expression: Expression,
}

impl Value {
    /// `expression` is what `source` was read as.
    pub fn new(source: impl Into<String>, expression: Expression) -> Self {
        Self(Box::new(OfValue { source: source.into(), expression }))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Is it made of how the client begins TLS?
    pub(super) fn looks_at_client_hello(&self) -> bool {
        self.0.expression.looks_at_client_hello()
    }

    /// Is it made of the path?
    pub(crate) fn looks_at_path(&self) -> bool {
        names_path(&self.0.source)
    }

    /// Adds what it names of a request.
    pub(super) fn want(&self, wanted: &mut Wanted) {
        self.0.expression.want(wanted);
    }

    /// The field of a response that it is about.
    pub(super) fn response_field(&self) -> Option<&str> {
        self.0.expression.response_field().and_then(|name| std::str::from_utf8(name).ok())
    }

    /// See [`Expression::any`].
    pub(super) fn any(&self, facts: &Facts<'_>, test: &dyn Fn(&[u8]) -> bool) -> Option<bool> {
        self.0.expression.any(facts, test)
    }
}

/// Is a text with this source made of what a rule wrote there?
pub(super) fn is_made_of(source: &str, written: Written<'_>) -> bool {
    match written {
        Written::Variable => source.contains("var."),
        Written::Header(name) => source.to_ascii_lowercase().contains(&name.to_ascii_lowercase()),
        Written::Query => source.contains("request.query"),
    }
}

fn names_path(source: &str) -> bool {
    ["request.path", "request.target", "request.base"].iter().any(|name| source.contains(name))
}

impl fmt::Debug for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source.fmt(formatter)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}
