//! What is known: each word of HAProxy's with what it becomes, how, and what is different then.
//!
//! The tables stand beside the functions that convert, by topic. A word more is a row more; the book prints the same
//! rows, and a test compares.

use super::{
    directive::{Directive, Done},
    lexer::Word,
};

/// One word, for the book.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// `timeout connect`
    pub name: &'static str,
    /// What it is in our file; empty if it is nowhere.
    pub becomes: &'static str,
    /// What is different then, or what to do without it.
    pub note: &'static str,
}

impl Known {
    /// Is `word` one of its names? Those are separated by commas; one that ends with `*` is of all that begin so.
    pub(super) fn names(&self, word: &str) -> bool {
        self.name.split(", ").any(|name| match name.strip_suffix('*') {
            Some(prefix) => word.starts_with(prefix),
            None => name == word,
        })
    }
}

/// A row: what a word does to `T`.
pub(super) struct Row<T> {
    pub(super) known: Known,
    /// Letters of the sections that take it: `d`, `f`, `l`, `b`; of the others it is ignored, as HAProxy does.
    pub(super) sections: &'static str,
    pub(super) how: How<T>,
}

/// What is done with it.
pub(super) enum How<T> {
    /// It is converted.
    By(fn(&mut T, &Directive<'_>) -> Done),
    /// Nothing has to be there in our file: the note says why.
    Needless,
    /// Our file has nothing like it: the note says what to do.
    Missing,
}

/// A word that is converted.
pub(super) const fn row<T>(
    name: &'static str,
    sections: &'static str,
    by: fn(&mut T, &Directive<'_>) -> Done,
    becomes: &'static str,
    note: &'static str,
) -> Row<T> {
    Row { known: Known { name, becomes, note }, sections, how: How::By(by) }
}

/// A word that nothing needs any more.
pub(super) const fn needless<T>(name: &'static str, sections: &'static str, why: &'static str) -> Row<T> {
    Row { known: Known { name, becomes: "", note: why }, sections, how: How::Needless }
}

/// A word that we have nothing for.
pub(super) const fn missing<T>(name: &'static str, sections: &'static str, instead: &'static str) -> Row<T> {
    Row { known: Known { name, becomes: "", note: instead }, sections, how: How::Missing }
}

/// The row whose words the line begins with, the longest one, and how many words these are.
pub(super) fn find<'r, T>(tables: &[&'r [Row<T>]], words: &[Word]) -> Option<(&'r Row<T>, usize)> {
    (1..=3.min(words.len())).rev().find_map(|count| {
        let begins = |name: &str| {
            name.split(' ').count() == count
                && name.split(' ').zip(words).all(|(part, word)| part == word.text)
        };
        let is_it = |row: &&Row<T>| row.known.name.split(", ").any(begins);
        tables.iter().flat_map(|table| *table).find(is_it).map(|row| (row, count))
    })
}
