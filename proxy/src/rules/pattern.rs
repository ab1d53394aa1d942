//! Regular expressions over bytes, in time linear in the text whatever a client sends.

use std::{fmt, ops::Range};

use regex::bytes::Regex;
use regex_syntax::hir::{Look, literal::Extractor};

use crate::{
    expression,
    http::message::{MAX_EDITS, TooLarge},
    substitute::{Excess, Substitute},
};

/// Bytes that a compiled expression may take, as the crate counts them.
const LARGEST: usize = 1 << 20;

/// A regular expression: the syntax of the crate `regex`, without look-around and back-references, over bytes ([`expression`]).
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// What is wrong, in one clause.
    pub message: String,
    /// Where in the expression, in bytes; `None` speaks of all of it.
    pub range: Option<Range<usize>>,
}

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// It is not well-formed, or its automaton would be larger than 1 MiB.
    pub fn new(source: &str) -> Result<Self, PatternError> {
        match expression::builder(source).size_limit(LARGEST).build() {
            Ok(regex) => Ok(Self { regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(PatternError {
                message: "takes more than 1 MiB when compiled; a repetition like `{1000}` may be why".into(),
                range: None,
            }),
            Err(_) => Err(fault(source)),
        }
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        self.regex.as_str()
    }

    /// Texts with one of which all begin in which it matches; none where that can't be told.
    pub fn beginnings(&self) -> Vec<Vec<u8>> {
        let Ok(hir) = expression::parser().build().parse(self.source()) else { return Vec::new() };
        if !hir.properties().look_set_prefix().contains(Look::Start) {
            return Vec::new();
        }
        let literals = Extractor::new().extract(&hir);
        let literals =
            literals.literals().unwrap_or_default().iter().map(|literal| literal.as_bytes().to_vec());
        let mut literals: Vec<Vec<u8>> = literals.collect();
        // Where case does not count, as it is mostly written.
        literals.sort_by_key(|literal| literal.iter().filter(|byte| byte.is_ascii_uppercase()).count());
        literals
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }
}

/// The crate's own parser says where a fault is.
fn fault(source: &str) -> PatternError {
    let wrong = |message: String, span: &regex_syntax::ast::Span| PatternError {
        message,
        range: Some(span.start.offset..span.end.offset.max(span.start.offset)),
    };
    match expression::parser().build().parse(source) {
        Err(regex_syntax::Error::Parse(error)) => wrong(error.kind().to_string(), error.span()),
        Err(regex_syntax::Error::Translate(error)) => wrong(error.kind().to_string(), error.span()),
        Err(_) | Ok(_) => PatternError { message: "is no regular expression".into(), range: None },
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source().fmt(formatter)
    }
}

/// An expression and what every match of it becomes: `$1` and `${1}` are its groups, `$$` is a dollar.
#[derive(Clone, Debug)]
pub struct Replacement {
    pattern: Pattern,
    with: String,
    substitute: Substitute,
}

impl Replacement {
    /// Pairs them.
    ///
    /// # Errors
    /// `with` names a group that the expression has not: the end of a sentence that begins with its text.
    pub fn new(pattern: Pattern, with: &str) -> Result<Self, String> {
        match Substitute::new(pattern.regex.clone(), with) {
            Ok(substitute) => Ok(Self { pattern, with: with.to_owned(), substitute }),
            Err(group) => {
                let last = pattern.regex.captures_len() - 1;
                Err(format!(
                    "names the group `{group}`, the expression has {last}; write `${{1}}` where a letter or digit follows, `$$` for a dollar"
                ))
            }
        }
    }

    /// The expression.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What a match becomes.
    pub fn with(&self) -> &str {
        &self.with
    }

    /// Appends `text` to the empty `out` with every match replaced; false, and nothing appended, if there is none. `steps`
    /// is what this has taken for the lines before it.
    ///
    /// # Errors
    /// It would take too many steps, or become longer than all edits of a head may be.
    pub(crate) fn apply(&self, steps: &mut usize, text: &[u8], out: &mut Vec<u8>) -> Result<bool, TooLarge> {
        self.substitute.apply_within(steps, text, true, MAX_EDITS, out).map_err(|Excess| TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_with_their_place() {
        for (source, range) in
            [("/a(b", 2..3), ("a[b", 1..2), ("a{2,1}", 1..6), ("(?=a)", 0..3), ("\\8", 0..2)]
        {
            let error = Pattern::new(source).unwrap_err();
            assert_eq!(error.range, Some(range), "{source}: {}", error.message);
        }
        let error = Pattern::new("(a{1000}){1000}").unwrap_err();
        assert!(error.message.contains("1 MiB"), "{}", error.message);
    }

    #[test]
    fn beginnings_are_those_of_all_that_matches() {
        let of = |source: &str| -> Vec<String> {
            let beginnings = Pattern::new(source).unwrap().beginnings();
            beginnings.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
        };
        assert_eq!(of("^/shop"), ["/shop"]);
        assert_eq!(of(r"^/shop\.old/(a|b)?"), ["/shop.old/a", "/shop.old/b", "/shop.old/"]);
        assert_eq!(of("^/(?:a|b)$"), ["/a", "/b"]);
        assert_eq!(of("(?i)^/a"), ["/a", "/A"]);
        for source in ["/shop", "^[^/]", "(?:^|/)a", "", "^", "^/a|b"] {
            assert!(of(source).iter().all(String::is_empty), "{source}: {:?}", of(source));
        }
    }

    #[test]
    fn any_byte_is_matched() {
        assert!(Pattern::new("^.*sqlmap").unwrap().is_match(b"\xe9 sqlmap"));
        assert!(!Pattern::new(r"^\d$").unwrap().is_match("\u{661}".as_bytes()));
        let error = Pattern::new("[\u{e9}]").unwrap_err();
        assert_eq!((error.message.as_str(), error.range), ("Unicode not allowed here", Some(1..3)));
    }

    #[test]
    fn several_lines_share_what_a_replacement_may_take() {
        let unlucky = Replacement::new(Pattern::new(".*[^A-Z]|[A-Z]").unwrap(), "x").unwrap();
        let (line, mut steps) = ([b'A'; 2000], 0);
        assert_eq!(unlucky.apply(&mut steps, &line, &mut Vec::new()), Ok(true));
        assert_eq!(unlucky.apply(&mut steps, &line, &mut Vec::new()), Err(TooLarge));
    }

    #[test]
    fn groups_of_a_replacement_are_checked() {
        let replacement = |pattern: &str, with: &str| Replacement::new(Pattern::new(pattern).unwrap(), with);
        assert!(replacement("(a)(b)", "$2$1 $$9 ${1}x $0 $").is_ok());
        assert!(replacement("(?<name>a)", "${name}").is_ok());
        for with in ["$2", "${2}", "$1x", "$name"] {
            assert!(replacement("(a)", with).is_err(), "{with}");
        }
    }
}
