//! The words behind an address: `bind` and `server` take them in any order, some with a value.

use crate::import::haproxy::{
    directive::{Directive, shown},
    lexer::Word,
    table::{How, Row},
};
use crate::{
    config::{diagnostic::Span, text},
    import::notes::Notes,
};

/// A word that may stand there.
pub(super) struct Parameter<T: 'static> {
    pub(super) row: Row<T>,
    /// Words behind it that are its own.
    pub(super) takes: usize,
}

pub(super) const fn with<T>(takes: usize, row: Row<T>) -> Parameter<T> {
    Parameter { row, takes }
}

/// Applies all of them to `target`. What is not in our file is told; the rest of the line is.
pub(super) fn apply<T>(
    kind: &str,
    table: &'static [Parameter<T>],
    mut words: &[Word],
    target: &mut T,
    notes: &Notes<'_>,
) -> bool {
    let mut whole = true;
    while let Some((first, rest)) = words.split_first() {
        let Some(parameter) = table.iter().find(|parameter| parameter.row.known.names(&first.text)) else {
            let names = table.iter().flat_map(|parameter| parameter.row.known.name.split(", "));
            let hint = text::nearest(&first.text, names).map(|name| format!("; did you mean `{name}`?"));
            let hint = hint.unwrap_or_default();
            notes.lost(
                first.span,
                format!("`{}` is no word of `{kind}` that is known here{hint}", shown(&first.text)),
            );
            whole = false;
            words = rest;
            continue;
        };
        let (arguments, after) = rest.split_at(parameter.takes.min(rest.len()));
        words = after;
        let (name, note) = (first.text.as_str(), parameter.row.known.note);
        let last = arguments.last().unwrap_or(first);
        let span = Span { start: first.span.start, end: last.span.end };
        let directive = Directive { span, keyword: name, arguments, negated: false, notes };
        let result = match &parameter.row.how {
            _ if arguments.len() < parameter.takes => {
                Err(format!("`{name}` takes a value, and there is none").into())
            }
            How::By(convert) => convert(target, &directive),
            How::Needless => {
                directive.advise(format!("`{name}` is left out: {note}"));
                Ok(())
            }
            How::Missing => Err(format!("`{name}`: {note}").into()),
        };
        if let Err(fault) = result {
            whole = false;
            notes.lost(fault.span.unwrap_or(span), fault.why);
        }
    }
    whole
}
