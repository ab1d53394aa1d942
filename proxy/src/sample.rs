//! Text that is computed per request: templates with placeholders, functions, variables and maps.
//!
//! ```text
//! "https://{request.host}{request.path|lower}" ── Template::parse (once, for a Place) ──> pieces: literals, Expressions
//!                                                                                             │
//! Facts (client, request, response, variables ...) ── Template::render ───────────────────────┴──> bytes, made safe
//! ```
//! An [`Expression`] is one placeholder with its functions; conditions and keys use it without the text around it. All
//! names are checked when the configuration is read: a placeholder that does not exist at its place is an error there
//! and never an empty string later. What a client wrote can't break out of where it is put: see [`place::Text`].

mod address;
pub mod base64;
mod encode;
mod escape;
mod expression;
mod facts;
mod fault;
mod fetch;
mod function;
mod hash;
mod log;
mod map;
mod parse;
pub mod place;
mod scratch;
mod template;
mod text;
mod time;
mod variables;
mod wanted;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    address::first as first_address,
    escape::numbered,
    fetch::Value,
    log::{LogFact, LogFacts, Moment},
    template::Repeated,
    text::ShortText,
    wanted::Wanted,
};
pub use self::{
    expression::Expression,
    facts::{Facts, Host, RequestFacts, ResponseFacts},
    fault::{Fault, TemplateError},
    fetch::{PLACEHOLDERS, Placeholder, Since},
    function::{FUNCTIONS, Signature},
    log::{LOG_WORDS, LogWord},
    map::{MapError, MapFile, MapKind, Maps},
    place::{Names, Place, Stage, Text},
    scratch::Scratch,
    template::Template,
    variables::{Scope, VariableId, VariableName, Variables},
};
