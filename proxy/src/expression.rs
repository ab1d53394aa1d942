//! Regular expressions are over bytes, wherever somebody writes one: `.` and `[^a]` match any byte, `\d` and `\w` ASCII alone.
//!
//! What clients send is bytes. Were it read as text, one byte that is no UTF-8 would end every `.*`, and keep a request from
//! a rule that refuses it; and letters and digits of other scripts would get through where `\w` and `\d` are asked for.
//! Who wants characters says so in the expression: `(?u)`.

use regex::bytes::{RegexBuilder, RegexSetBuilder};

/// Begins an expression. It has no limit of size yet.
#[expect(clippy::disallowed_methods, reason = "the one place that builds them")]
pub fn builder(source: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(source);
    builder.unicode(false);
    builder
}

/// Begins several that are asked together, likewise.
#[expect(clippy::disallowed_methods, reason = "the one place that builds them")]
pub(crate) fn set_builder(sources: Vec<String>) -> RegexSetBuilder {
    let mut builder = RegexSetBuilder::new(sources);
    builder.unicode(false);
    builder
}

/// Parses as [`builder`] does.
pub(crate) fn parser() -> regex_syntax::ParserBuilder {
    let mut parser = regex_syntax::ParserBuilder::new();
    parser.utf8(false).unicode(false);
    parser
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_and_classes_are_ascii() {
        let cases: &[(&str, &[u8], bool)] = &[
            ("^.*sqlmap", b"\xe9 sqlmap", true),
            ("^[^;]*sqlmap", b"\xff\xfe sqlmap", true),
            (r"^\W+sqlmap", b"\xe9 sqlmap", true),
            (r"^\S+$", b"\xe9", true),
            (r"\bsqlmap", b"\xe9sqlmap", true),
            (r"^\d+$", "\u{661}".as_bytes(), false),
            (r"^\w+$", "\u{e9}".as_bytes(), false),
            (r"^\s$", "\u{2003}".as_bytes(), false),
            ("(?i)^k$", "\u{212a}".as_bytes(), false),
            ("(?i)^K$", b"k", true),
            ("^\u{e9}$", "\u{e9}".as_bytes(), true),
            (r"^[\x80-\xff]+$", "\u{e9}".as_bytes(), true),
            (r"(?u)^\w$", "\u{e9}".as_bytes(), true),
        ];
        for &(source, text, is_match) in cases {
            let regex = builder(source).build().unwrap();
            assert_eq!(regex.is_match(text), is_match, "{source} {text:?}");
        }
    }
}
