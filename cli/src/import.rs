//! Files of other programs turned into ours.
//!
//! ```text
//! bytes -> text -> lines of words -> sections -> what we mean by them -> document -> TOML
//!          source  lexer            section      convert, rules ...      document
//! ```
//! Everything that can't be said in our file is a note with its place. What comes out is read back by the very code that
//! `lbctl check` uses.

mod document;
pub mod haproxy;
mod notes;

pub(crate) use self::document::key;

use crate::config::Diagnostics;

/// What became of a file.
#[derive(Debug)]
pub struct Imported {
    /// Our file.
    pub toml: String,
    /// What the operator has to know, in the order of the source.
    pub notes: Diagnostics,
    /// How many of the notes are about something that is not in our file and would have to be.
    pub lost: usize,
    /// What must not be missed: rules that stop requests, and are not in our file.
    pub opened: Option<String>,
}
