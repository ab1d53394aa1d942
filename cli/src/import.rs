//! Files of other programs turned into ours.
//!
//! ```text
//! bytes -> text -> lines of words -> sections -> what we mean by them -> document -> TOML
//!          source  lexer            section      convert, rules ...      document
//! ```
//! keepalived.conf makes the part about the pair ([`keepalived`]), haproxy.cfg the rest; both in one go make a whole file.
//! Everything that can't be said in our file is a note with its place. What comes out is read back by the very code that
//! `lbctl check` uses.

mod bytes;
mod document;
pub mod haproxy;
pub mod keepalived;
mod mail;
mod notes;

pub(crate) use self::document::key;

use std::net::IpAddr;

use self::document::{Document, Entry};
use crate::config::{self, Diagnostics, text};

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

/// An address that moves.
#[derive(Clone, Debug)]
pub struct Vip {
    /// As it is written in our file: with a prefix, if it has one.
    pub text: String,
    /// The address alone.
    pub address: IpAddr,
    /// The NAME of its `[vip.NAME]`.
    pub table: String,
}

/// Why there is no file of ours.
#[derive(Debug)]
pub enum Refused {
    /// The source can't be read: one place, one sentence.
    Source(Diagnostics),
    /// What was asked for does not fit what the source says: a sentence.
    Arguments(String),
    /// What was made is refused by our own reader. That is a fault of this program.
    Bug(Box<Bug>),
}

/// What was made, and what our own reader says about it.
#[derive(Debug)]
pub struct Bug {
    /// What the reader says about it.
    pub report: Diagnostics,
    /// What was made.
    pub toml: String,
}

/// A pair alone, without anything that it serves; `names` are those of the files that it is made from.
pub fn alone(pair: &keepalived::Pair, names: &str, output: &str) -> Result<String, Refused> {
    let mut document = Document {
        head: vec![
            format!("Made by `lbctl import` from {names}."),
            "Check it with `lbctl check`; every key is described in docs/configuration.md. Values that Keepalived has without a word,"
                .into(),
            "and lbctl would have otherwise, are written out: take them out where ours are the better ones.".into(),
        ],
        tables: pair.tables.clone(),
    };
    document.head.extend(
        pair.missing.iter().flat_map(|missing| [String::new(), format!("BEFORE IT SERVES: {missing}.")]),
    );
    if let Some(vip) = pair.vips.first() {
        let vip = document::Value::text(&vip.table);
        let lines = [
            "What is served on the addresses; `lbctl import haproxy.cfg keepalived.conf` makes one file of both:".to_owned(),
            "[listen.web]".to_owned(),
            format!("bind = {{ vip = {vip}, port = 80 }}"),
            "servers = [\"192.0.2.21:80\", \"192.0.2.22:80\"]".to_owned(),
        ];
        if let Some(last) = document.tables.last_mut() {
            last.entries.push(Entry::Blank);
            last.entries.extend(lines.map(Entry::Comment));
        }
    }
    let toml = document.to_string();
    match config::parse_alone(&toml, output) {
        Ok(_) => Ok(toml),
        Err(report) => Err(Refused::Bug(Box::new(Bug { report, toml }))),
    }
}

/// Letters, digits, `-`, `_` and `.`, beginning with a letter or a digit; no address.
fn clean(written: &str) -> String {
    let mut name: String = written
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(50)
        .collect();
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || text::name(&name).is_err() {
        name = format!("x{name}");
    }
    name
}

/// Does our file take this table, in one of a pair? Why not.
fn is_taken(table: &str) -> Result<(), String> {
    let file = format!(
        "[cluster]\nnode.a = \"192.0.2.1\"\nnode.b = \"192.0.2.2\"\n[vip.a]\nvrid = 1\naddresses = [\"192.0.2.3\"]\n{table}"
    );
    let first = |report: Diagnostics| {
        report.iter().next().map(|diagnostic| diagnostic.message.clone()).unwrap_or_default()
    };
    config::parse_alone(&file, "lb.toml").map(drop).map_err(first)
}

/// With a number behind it if it is taken.
fn unique(name: String, taken: impl Fn(&str) -> bool) -> String {
    if !taken(&name) {
        return name;
    }
    (2_u32..).map(|number| format!("{name}-{number}")).find(|name| !taken(name)).unwrap_or(name)
}

/// ` (lines 3 to 7)`
fn lines_of(first: Option<usize>, last: Option<usize>) -> String {
    match first.zip(last) {
        None => String::new(),
        Some((first, last)) if first == last => format!(" (line {first})"),
        Some((first, last)) => format!(" (lines {first} to {last})"),
    }
}
