//! Text with placeholders.

use super::{
    Expression, Facts, Place, TemplateError, Text, VariableId, Wanted, escape::Escaped, fetch::Fetch, parse,
};
use crate::http::headers::Sink;

/// Text with placeholders, compiled.
#[derive(Clone, Debug)]
pub struct Template {
    pub(super) source: Box<str>,
    pub(super) pieces: Box<[Piece]>,
    pub(super) text: Text,
}

#[derive(Clone, Debug)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Expression(Expression),
}

impl Template {
    /// Reads text with placeholders in braces; `{{` and `}}` are the characters themselves.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn parse(text: &str, place: &Place<'_>) -> Result<Self, TemplateError> {
        parse::template(text, place)
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, if it has no placeholder.
    pub fn as_literal(&self) -> Option<&[u8]> {
        match &*self.pieces {
            [] => Some(b""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Adds what it names of a request.
    pub(crate) fn want(&self, wanted: &mut Wanted) {
        for piece in &self.pieces {
            if let Piece::Expression(expression) = piece {
                expression.want(wanted);
            }
        }
    }

    /// What it names of a request that several may be there of, each once.
    pub(crate) fn repeated(&self) -> Vec<Repeated> {
        let mut all: Vec<Repeated> = Vec::new();
        for piece in &self.pieces {
            if let Piece::Expression(expression) = piece
                && let Some(one) = expression.fetch.repeated()
                && !all.contains(&one)
            {
                all.push(one);
            }
        }
        all
    }

    /// Is how the client begins TLS a part of it?
    pub(crate) fn looks_at_client_hello(&self) -> bool {
        self.pieces
            .iter()
            .any(|piece| matches!(piece, Piece::Expression(part) if part.looks_at_client_hello()))
    }

    /// Is the id of the request a part of it?
    pub fn uses_request_id(&self) -> bool {
        let id = Fetch::Variable(VariableId::REQUEST_ID);
        self.pieces.iter().any(|piece| matches!(piece, Piece::Expression(part) if part.fetch == id))
    }

    /// Writes the text. Values are made harmless for where the template stands ([`Text`]); one that is not there is
    /// empty.
    pub fn render(&self, facts: &Facts<'_>, out: &mut impl Sink) {
        let mut out = Escaped::new(out, self.text);
        for (at, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(text) => out.literal(text),
                Piece::Expression(expression) => expression.with(facts, |value| {
                    out.value(
                        value.unwrap_or_default(),
                        self.pieces[at + 1..].iter().find_map(Piece::as_literal),
                    );
                }),
            }
        }
    }
}

impl Piece {
    fn as_literal(&self) -> Option<&[u8]> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Expression(_) => None,
        }
    }
}

/// A part of a request that several may be there of, by name.
#[derive(Clone, Debug)]
pub(crate) enum Repeated {
    /// A field line.
    Field(Box<[u8]>),
    /// A parameter of the query.
    Parameter(Box<[u8]>),
    /// A cookie.
    Cookie(Box<[u8]>),
}

impl PartialEq for Repeated {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Field(one), Self::Field(other)) => one.eq_ignore_ascii_case(other),
            (Self::Parameter(one), Self::Parameter(other)) | (Self::Cookie(one), Self::Cookie(other)) => {
                one == other
            }
            _ => false,
        }
    }
}
