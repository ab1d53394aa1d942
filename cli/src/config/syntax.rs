//! Text that is not TOML: what the parser says, as diagnostics.

use super::{
    diagnostic::{Report, Span},
    reader,
};

/// Reports `errors`, the first of each line: what follows on the same line is mostly its consequence. True if the
/// recovered tables can still be trusted: then nothing is worse than a key given twice.
pub(super) fn report(errors: &[toml::de::Error], report: &Report<'_>) -> bool {
    let mut lines: Vec<usize> = Vec::new();
    let mut trusted = true;
    for error in errors {
        let span = error.span().map_or(Span { start: 0, end: 0 }, reader::span);
        let line = report.line(span);
        if lines.contains(&line) {
            continue;
        }
        lines.push(line);
        trusted &= error.message() == "duplicate key";
        report.error(span, error.message());
    }
    trusted
}
