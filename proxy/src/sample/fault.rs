//! What is wrong with a template.

use std::{fmt, ops::Range};

use super::{FUNCTIONS, PLACEHOLDERS, fetch::Since};

/// What is wrong with a template, and where in its text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TemplateError {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong. `Display` is one clause with what to write instead, without a full stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// `{` without `}`.
    Open,
    /// `}` without `{`.
    Close,
    /// `{}`
    Empty,
    /// No such placeholder.
    Placeholder {
        /// As written.
        name: String,
        /// What could be written here.
        known: Vec<String>,
    },
    /// It exists, but not at this place.
    NotHere {
        /// Its name.
        name: String,
        /// Where it exists.
        since: Since,
    },
    /// What stands for NAME is none.
    Name {
        /// As written.
        name: String,
        /// What kind of name.
        kind: &'static str,
    },
    /// No rule sets this variable.
    Variable {
        /// As written.
        name: String,
        /// Those that are set, with `var.`.
        known: Vec<String>,
    },
    /// No such function.
    Function {
        /// As written.
        name: String,
    },
    /// The function takes other arguments.
    Arguments {
        /// How it is used.
        usage: &'static str,
        /// What is wrong with them.
        why: String,
    },
    /// No such map.
    Map {
        /// As written.
        name: String,
        /// Those of the file.
        known: Vec<String>,
    },
    /// Something that is no `|` stands after a placeholder or a function.
    Syntax,
    /// A control byte in the text itself.
    Control,
    /// A byte of the text itself that may not be in a request's target or a location.
    NotUri {
        /// The character.
        character: char,
    },
    /// It has more than text: one placeholder is wanted and nothing around it.
    NotOne,
}

impl TemplateError {
    pub(super) fn new(range: Range<usize>, fault: Fault) -> Self {
        Self { range, fault }
    }
}

impl Fault {
    /// For "did you mean": what was written, and what could have been.
    pub fn candidates(&self) -> Option<(&str, Vec<&str>)> {
        match self {
            Self::Placeholder { name, known }
            | Self::Variable { name, known }
            | Self::Map { name, known } => Some((name, known.iter().map(String::as_str).collect())),
            Self::Function { name } => Some((name, FUNCTIONS.iter().map(|function| function.name).collect())),
            Self::Open
            | Self::Close
            | Self::Empty
            | Self::NotHere { .. }
            | Self::Name { .. }
            | Self::Arguments { .. }
            | Self::Syntax
            | Self::Control
            | Self::NotUri { .. }
            | Self::NotOne => None,
        }
    }

    pub(super) fn placeholder(name: &str, variables: impl Iterator<Item = String>) -> Self {
        let known = PLACEHOLDERS.iter().map(|row| row.name.to_owned()).chain(variables).collect();
        Self::Placeholder { name: name.to_owned(), known }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connection => "everywhere",
            Self::ClientHello => "in the rules and logs of frontends in mode tcp",
            Self::Request => "from the head of a request on, in mode http",
            Self::Head => "in the rules of requests",
            Self::Backend => {
                "from the choice of the backend on: in the rules of a backend and in those of responses"
            }
            Self::Server => "where a response is worked on, and in logs",
            Self::Response => "where a response is worked on, and in logs of mode http",
            Self::Log => "in `log_format`",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => formatter.write_str("a `{` has no `}`; for the character itself write `{{`"),
            Self::Close => formatter.write_str("a `}` has no `{`; for the character itself write `}}`"),
            Self::Empty => {
                formatter.write_str("no placeholder between the braces; write one, as in `{client.ip}`")
            }
            Self::Placeholder { name, .. } => {
                write!(formatter, "no placeholder is called `{}`", name.escape_debug())
            }
            Self::NotHere { name, since } => {
                write!(formatter, "`{name}` does not exist here; it does {since}")
            }
            Self::Name { name, kind } => write!(formatter, "`{}` is no {kind}", name.escape_debug()),
            Self::Variable { name, .. } => {
                write!(
                    formatter,
                    "no rule sets the variable of `{}` for this place; write a `set_var`",
                    name.escape_debug()
                )
            }
            Self::Function { name } => write!(formatter, "no function is called `{}`", name.escape_debug()),
            Self::Arguments { usage, why } => write!(formatter, "{why}; write `{usage}`"),
            Self::Map { name, .. } => write!(formatter, "no map is called `{}`", name.escape_debug()),
            Self::Syntax => {
                formatter.write_str("only `|` and a function may follow, as in `{request.path|lower}`")
            }
            Self::Control => formatter.write_str("control characters can't be sent here; take it out"),
            Self::NotUri { character } => {
                write!(
                    formatter,
                    "`{}` can't be in a URI; write it percent-encoded",
                    character.escape_debug()
                )
            }
            Self::NotOne => {
                formatter.write_str("one placeholder is wanted and nothing else, as in `{client.ip}`")
            }
        }
    }
}

impl std::error::Error for TemplateError {}

impl fmt::Display for TemplateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(formatter)
    }
}
