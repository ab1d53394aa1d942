//! What is said about a source while it is converted.

use std::{cell::RefCell, collections::BTreeSet};

use crate::config::{
    Diagnostics,
    diagnostic::{Report, Span},
};

/// More notes than this are counted and not shown.
const MOST: usize = 10_000;

/// Collects notes. Those about what is lost, or not the same, are counted: with `--strict` one of them is enough to write nothing.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    report: Report<'a>,
    /// Each once, however many sections it comes from.
    lost: RefCell<BTreeSet<(Span, String)>>,
    /// Lines whose rules stop requests or responses in the source, and are not in our file.
    open: RefCell<BTreeSet<usize>>,
    strict: bool,
}

impl<'a> Notes<'a> {
    pub(crate) fn new(text: &'a str, strict: bool) -> Self {
        Self {
            report: Report::with_limit(text, MOST),
            lost: RefCell::default(),
            open: RefCell::default(),
            strict,
        }
    }

    /// Converted, or left out because nothing needs it; the operator should look.
    pub(crate) fn advise(&self, span: Span, message: impl Into<String>) {
        self.report.warning(span, message);
    }

    /// Not in our file, and it would have to be.
    pub(crate) fn lost(&self, span: Span, message: impl Into<String>) {
        self.count(span, format!("not converted: {}", message.into()));
    }

    /// In our file, and something else happens.
    pub(crate) fn differ(&self, span: Span, message: impl Into<String>) {
        self.count(span, format!("not the same: {}", message.into()));
    }

    fn count(&self, span: Span, message: String) {
        self.lost.borrow_mut().insert((span, message.clone()));
        if self.strict {
            self.report.error(span, message);
        } else {
            self.report.warning(span, message);
        }
    }

    /// Of what stands at `span`, or at a place of its own: in our file, and for some requests something else.
    pub(crate) fn inexact(&self, found: &RefCell<Vec<(Option<Span>, String)>>, span: Span) {
        for (at, why) in found.take() {
            self.lost(at.unwrap_or(span), why);
        }
    }

    /// As `lost`, of a rule that stops what it is about: without it that goes on. `span` is what is wrong with it.
    pub(crate) fn open(&self, rule: Span, span: Span, message: impl Into<String>) {
        self.open.borrow_mut().insert(self.report.line(rule));
        self.lost(span, format!("{}; what it stops there would be let through here", message.into()));
    }

    /// What the operator must not miss, once all is converted: `2 rules that .. are missing (lines 3 and 7): ..`
    pub(crate) fn opened(&self) -> Option<String> {
        const SHOWN: usize = 10;
        let open = self.open.borrow();
        let lines: Vec<String> = open.iter().take(SHOWN).map(usize::to_string).collect();
        let more = open.len().saturating_sub(SHOWN);
        let lines = match lines.as_slice() {
            [] => return None,
            [one] => {
                return Some(format!(
                    "a rule that refuses, answers or redirects is missing (line {one}): what it stops there is let through here"
                ));
            }
            _ if more > 0 => format!("{} and {more} more", lines.join(", ")),
            [all @ .., last] => format!("{} and {last}", all.join(", ")),
        };
        let count = open.len();
        Some(format!(
            "{count} rules that refuse, answer or redirect are missing (lines {lines}): what they stop there is let through here"
        ))
    }

    /// What stands there is a secret, and is nowhere shown.
    pub(crate) fn hide(&self, span: Span) {
        self.report.hide(span);
    }

    /// What the source has at `span`.
    pub(crate) fn source(&self, span: Span) -> &'a str {
        self.report.source(span)
    }

    /// The line that `span` begins in, without the white space around it and what is hidden.
    pub(crate) fn line_text(&self, span: Span) -> String {
        self.report.line_text(span)
    }

    /// The line of `span`, counted from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.report.line(span)
    }

    /// The notes, and how many are about what is lost.
    pub(crate) fn finish(self, file: &str) -> (Diagnostics, usize) {
        let lost = self.lost.borrow().len();
        (self.report.finish(file), lost)
    }
}
