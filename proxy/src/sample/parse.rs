//! The text form of templates.
//!
//! ```text
//! template   = *( character / "{{" / "}}" / "{" expression "}" )
//! expression = placeholder *( "|" function )
//! function   = name [ "(" [ argument *( "," argument ) ] ")" ]
//! argument   = number / DQUOTE text DQUOTE / "'" text "'"
//! ```
//! A backslash before the quote is the quote itself; others stay, for regular expressions. White space may stand around
//! every part of an expression.

use std::ops::Range;

use super::{
    Expression, FUNCTIONS, Fault, Place, Placeholder, Template, TemplateError, Text, VariableName, escape,
    fetch::{Fetch, Since},
    function::Function,
    place::Stage,
    template::Piece,
};
use crate::http::head;

/// An argument of a function.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Argument {
    Number(i64),
    Text(String),
}

pub(super) fn template(text: &str, place: &Place<'_>) -> Result<Template, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(character) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with("{{") || rest.starts_with("}}") {
            push_literal(&mut literal, &rest[..1], at, place)?;
            at += 2;
        } else if character == '{' {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(Box::from(std::mem::take(&mut literal).as_bytes())));
            }
            let mut parser = Parser { text, at: at + 1, open: at, place };
            pieces.push(Piece::Expression(parser.expression()?));
            at = parser.at;
        } else if character == '}' {
            return Err(TemplateError::new(at..at + 1, Fault::Close));
        } else {
            let end = at + character.len_utf8();
            push_literal(&mut literal, &text[at..end], at, place)?;
            at = end;
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(Box::from(literal.as_bytes())));
    }
    Ok(Template { source: text.into(), pieces: pieces.into(), text: place.text })
}

fn push_literal(literal: &mut String, text: &str, at: usize, place: &Place<'_>) -> Result<(), TemplateError> {
    if let Some((_, character)) = escape::unfit(place.text, text) {
        let fault = match place.text {
            Text::Field | Text::Log => Fault::Control,
            _ => Fault::NotUri { character },
        };
        return Err(TemplateError::new(at..at + text.len(), fault));
    }
    literal.push_str(text);
    Ok(())
}

pub(super) fn expression(text: &str, place: &Place<'_>) -> Result<Expression, TemplateError> {
    let not_one = || TemplateError::new(0..text.len(), Fault::NotOne);
    if !text.starts_with('{') || text.starts_with("{{") {
        return Err(not_one());
    }
    let mut parser = Parser { text, at: 1, open: 0, place };
    let expression = parser.expression()?;
    if parser.at < text.len() { Err(not_one()) } else { Ok(expression) }
}

struct Parser<'t> {
    text: &'t str,
    /// The next byte.
    at: usize,
    /// The brace of this expression.
    open: usize,
    place: &'t Place<'t>,
}

impl<'t> Parser<'t> {
    /// After the opening brace, up to and with the closing one.
    fn expression(&mut self) -> Result<Expression, TemplateError> {
        let (name, range) = self.word();
        let mut functions = Vec::new();
        if name.is_empty() {
            let fault = match self.peek() {
                None => Fault::Open,
                Some('}') => Fault::Empty,
                Some(_) => return Err(self.at_next(Fault::placeholder("", std::iter::empty()))),
            };
            return Err(TemplateError::new(self.open..(self.at + 1).min(self.text.len()), fault));
        }
        let fetch = self.fetch(name).map_err(|fault| TemplateError::new(range, fault))?;
        if fetch == Fetch::RequestHost {
            functions.push(Function::Lower);
        }
        if self.place.text == Text::Key {
            functions.extend(fetch.spelling());
        }
        loop {
            self.skip_space();
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    let source = self.text[self.open..self.at].into();
                    return Ok(Expression { source, fetch, functions: functions.into() });
                }
                Some('|') => {
                    self.at += 1;
                    functions.push(match self.function()? {
                        Function::Json if self.place.text == Text::Log => Function::JsonOfLog,
                        function => function,
                    });
                }
                Some(_) => return Err(self.at_next(Fault::Syntax)),
                None => return Err(TemplateError::new(self.open..self.open + 1, Fault::Open)),
            }
        }
    }

    fn fetch(&self, name: &str) -> Result<Fetch, Fault> {
        let names = self.place.names;
        let variables = || names.variables(self.place.stage);
        if let Some(written) = name.strip_prefix("var.") {
            let unknown = || Fault::Variable { name: name.to_owned(), known: variables().collect() };
            let variable = VariableName::parse(written).ok_or_else(unknown)?;
            let id = names.variable(&variable).ok_or_else(unknown)?;
            if variable.scope == super::Scope::Response && self.place.stage < Stage::Response {
                return Err(Fault::NotHere { name: name.to_owned(), since: Since::Response });
            }
            if variable.scope == super::Scope::Request && self.place.stage < Stage::Request {
                return Err(Fault::NotHere { name: name.to_owned(), since: Since::Request });
            }
            if !names.is_readable(&variable, self.place.stage) {
                return Err(unknown());
            }
            return Ok(Fetch::Variable(id));
        }
        let unknown = || Fault::placeholder(name, variables());
        let (row, argument) = Placeholder::find(name).ok_or_else(unknown)?;
        if !row.since.exists(self.place) {
            return Err(Fault::NotHere { name: name.to_owned(), since: row.since });
        }
        if row.name == "request.id" {
            names.want_request_id();
        }
        let is_token = head::is_token(argument.as_bytes());
        let kind = match row.name {
            "request.header.NAME" | "response.header.NAME" if !is_token => "name of a header",
            "request.cookie.NAME" if !is_token => "name of a cookie",
            _ => return Fetch::new(row, argument).ok_or_else(unknown),
        };
        Err(Fault::Name { name: argument.to_owned(), kind })
    }

    fn function(&mut self) -> Result<Function, TemplateError> {
        let (name, range) = self.word();
        let arguments = self.arguments()?;
        let unknown = || TemplateError::new(range.clone(), Fault::Function { name: name.to_owned() });
        let row = FUNCTIONS.iter().find(|row| row.name == name).ok_or_else(unknown)?;
        Function::new(row, &arguments, self.place.names)
            .map_err(|fault| TemplateError::new(range.start..self.at, fault))
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, TemplateError> {
        let mut arguments = Vec::new();
        if self.peek() != Some('(') {
            return Ok(arguments);
        }
        self.at += 1;
        loop {
            self.skip_space();
            match self.peek() {
                Some(')') if arguments.is_empty() => {
                    self.at += 1;
                    return Ok(arguments);
                }
                Some(quote @ ('"' | '\'')) => arguments.push(self.quoted(quote)?),
                Some(character) if character == '-' || character.is_ascii_digit() => {
                    arguments.push(self.number()?);
                }
                Some(_) => return Err(self.at_next(unquoted())),
                None => return Err(TemplateError::new(self.open..self.open + 1, Fault::Open)),
            }
            self.skip_space();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(')') => {
                    self.at += 1;
                    return Ok(arguments);
                }
                Some(_) => return Err(self.at_next(unquoted())),
                None => return Err(TemplateError::new(self.open..self.open + 1, Fault::Open)),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Argument, TemplateError> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(character) = self.next() {
            match character {
                // Only what can't be written otherwise: `\d` of a regular expression stays as it is.
                '\\' if self.peek().is_some_and(|next| next == quote) => text.extend(self.next()),
                '\\' if self.peek() == Some('\\') => {
                    self.at += 1;
                    text.push_str("\\\\");
                }
                character if character == quote => return Ok(Argument::Text(text)),
                character => text.push(character),
            }
        }
        let why = "a quote is not closed".to_owned();
        let fault = Fault::Arguments { usage: "default(\"none\")", why };
        Err(TemplateError::new(start..start + 1, fault))
    }

    fn number(&mut self) -> Result<Argument, TemplateError> {
        let rest = &self.text[self.at..];
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let sign = usize::from(rest.starts_with('-'));
        let end = sign + digits(&rest[sign..]);
        let range = self.at..self.at + end.max(1);
        self.at += end;
        rest[..end].parse().map(Argument::Number).map_err(|_| TemplateError::new(range, unquoted()))
    }

    /// Up to what ends a name, without the white space around it.
    fn word(&mut self) -> (&'t str, Range<usize>) {
        self.skip_space();
        let start = self.at;
        let rest = &self.text[start..];
        let ends = |c: char| matches!(c, '|' | '{' | '}' | '(' | ')' | ',') || c.is_whitespace();
        self.at += rest.find(ends).unwrap_or(rest.len());
        (&self.text[start..self.at], start..self.at)
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn at_next(&self, fault: Fault) -> TemplateError {
        let length = self.peek().map_or(0, char::len_utf8);
        TemplateError::new(self.at..self.at + length, fault)
    }
}

fn unquoted() -> Fault {
    let why = "arguments are numbers, or text in quotes".to_owned();
    Fault::Arguments { usage: "field(2, \":\")", why }
}
