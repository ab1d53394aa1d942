//! Replaces what a regular expression matches, with bounded work and a bounded result.
//!
//! One search is linear in the text. Many searches of one text are not: each goes on where the last one ended, and may
//! look at all that is left before it settles for a short match, so unlucky expressions (`.*[^A-Z]|[A-Z]` on letters
//! alone) take steps in the square of the text. [`MAX_STEPS`] ends that. The crate does not say how far a search looked,
//! so a match is taken to have cost all that it may: all that was left of the text, or no more than the longest text
//! that the expression can match, where there is one.

use regex::bytes::Regex;

use crate::expression;

/// Bytes that all searches of one text may go over.
pub(crate) const MAX_STEPS: usize = 2 << 20;

/// A regular expression, and what its matches become.
#[derive(Clone, Debug)]
pub(crate) struct Substitute {
    regex: Regex,
    /// Bytes of the longest text that it matches; `None` has no end.
    longest_match: Option<usize>,
    pieces: Box<[Piece]>,
}

#[derive(Clone, Debug)]
enum Piece {
    Literal(Box<[u8]>),
    Group(usize),
}

/// The result was longer than wanted, or the searches would have gone over more than [`MAX_STEPS`] bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Excess;

impl Substitute {
    /// In `with`, `$1` and `${1}` are groups, also by name, and `$$` is a dollar.
    ///
    /// # Errors
    /// The first group that the expression has not.
    pub(crate) fn new(regex: Regex, with: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = with;
        while let Some(at) = rest.find('$') {
            literal.extend_from_slice(&rest.as_bytes()[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                literal.push(b'$');
                rest = after;
                continue;
            }
            let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            let (name, after) = match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some(braced) => braced,
                None => rest.split_at(rest.bytes().take_while(is_name).count()),
            };
            if name.is_empty() {
                literal.push(b'$');
                continue;
            }
            let group = match name.parse::<usize>() {
                Ok(number) => Some(number).filter(|number| *number < regex.captures_len()),
                Err(_) => regex.capture_names().position(|known| known == Some(name)),
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Group(group.ok_or_else(|| name.to_owned())?));
            rest = after;
        }
        literal.extend_from_slice(rest.as_bytes());
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        let longest_match = longest_match(&regex);
        Ok(Self { regex, longest_match, pieces: pieces.into() })
    }

    /// Appends `text` to the empty `out` with its first match, or `all` of them, replaced; false, and nothing appended,
    /// if there is none.
    ///
    /// # Errors
    /// What is in `out` is the beginning, at most `longest` bytes of it.
    pub(crate) fn apply(
        &self,
        text: &[u8],
        all: bool,
        longest: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Excess> {
        self.apply_within(&mut 0, text, all, longest, out)
    }

    /// The same for one of several texts, which share [`MAX_STEPS`]: `steps` are the bytes that searches went over.
    pub(crate) fn apply_within(
        &self,
        steps: &mut usize,
        text: &[u8],
        all: bool,
        longest: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Excess> {
        let mut put = |bytes: &[u8]| {
            let room = longest.saturating_sub(out.len()).min(bytes.len());
            out.extend_from_slice(&bytes[..room]);
            if room < bytes.len() { Err(Excess) } else { Ok(()) }
        };
        let mut searches = self.regex.captures_iter(text);
        let mut end = None;
        loop {
            let from = end.unwrap_or(0);
            let captures = searches.next();
            let whole = captures.as_ref().and_then(|captures| captures.get(0));
            *steps += match (&whole, self.longest_match) {
                (Some(whole), Some(longest)) => (whole.start() - from + longest).min(text.len() - from),
                _ => text.len() - from,
            };
            let (Some(captures), Some(whole)) = (&captures, whole) else { break };
            if *steps > MAX_STEPS {
                return Err(Excess);
            }
            put(&text[from..whole.start()])?;
            for piece in &self.pieces {
                match piece {
                    Piece::Literal(bytes) => put(bytes)?,
                    Piece::Group(group) => put(captures.get(*group).map_or(b"", |group| group.as_bytes()))?,
                }
            }
            end = Some(whole.end());
            if !all {
                break;
            }
        }
        if let Some(end) = end {
            put(&text[end..])?;
        }
        Ok(end.is_some())
    }
}

fn longest_match(regex: &Regex) -> Option<usize> {
    // Letters without regard to case, which may be longer than the written ones: `regex` does not tell if they count.
    let mut parser = expression::parser();
    parser.case_insensitive(true).build().parse(regex.as_str()).ok()?.properties().maximum_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substitute(pattern: &str, with: &str) -> Substitute {
        Substitute::new(expression::builder(pattern).build().unwrap(), with).unwrap()
    }

    fn replaced(pattern: &str, with: &str, text: &str) -> Option<String> {
        let mut out = Vec::new();
        let changed = substitute(pattern, with).apply(text.as_bytes(), true, 1000, &mut out).unwrap();
        changed.then(|| String::from_utf8(out).unwrap())
    }

    #[test]
    fn groups_stand_for_what_they_matched() {
        for (pattern, with, text, expected) in [
            ("b", "x", "abab", "axax"),
            ("^(.*)$", "$1!", "ab", "ab!"),
            ("(a)(b)", "$2$1", "abab", "baba"),
            ("(?<name>a)(b)?", "[${name}${2}]", "ab-a", "[ab]-[a]"),
            ("a", "$$1 ${0}x $ ${ $", "a", "$1 ax $ ${ $"),
            ("^", "x", "ab", "xab"),
            ("a*", "x", "b", "xbx"),
            ("a", "", "aba", "b"),
        ] {
            assert_eq!(replaced(pattern, with, text).as_deref(), Some(expected), "{pattern} {with}");
        }
        assert_eq!(replaced("c", "x", "ab"), None);
    }

    #[test]
    fn groups_that_are_not_there_are_told() {
        let regex = expression::builder("(a)").build().unwrap();
        for (with, group) in [("$2", "2"), ("${2}", "2"), ("$1x", "1x"), ("$name", "name"), ("${1 }", "1 ")] {
            let unknown = Substitute::new(regex.clone(), with).unwrap_err();
            assert_eq!(unknown, group, "{with}");
        }
    }

    /// The steps of replacing in `length` letters, how much of them was replaced, and if that was all.
    fn steps(pattern: &str, length: usize) -> (usize, usize, bool) {
        let (text, mut steps, mut out) = (vec![b'A'; length], 0, Vec::new());
        let result = substitute(pattern, "x").apply_within(&mut steps, &text, true, 1 << 20, &mut out);
        assert!(out.iter().all(|&byte| byte == b'x'), "what is beyond the bound is not there");
        (steps, out.len(), result.is_ok())
    }

    #[test]
    fn an_expression_that_takes_squared_time_is_ended() {
        let unlucky = ".*[^A-Z]|[A-Z]";
        assert_eq!(steps(unlucky, 2000), (2000 * 2001 / 2, 2000, true));
        for length in [1 << 13, 1 << 16, 1 << 20] {
            let (steps, replaced, is_whole) = steps(unlucky, length);
            assert!((MAX_STEPS..MAX_STEPS + length).contains(&steps), "{length}: {steps}");
            // Each search was made for one letter, and went over those that were left.
            let made: usize = (0..=replaced).map(|at| length - at).sum();
            assert_eq!((steps, is_whole), (made, false), "{length}");
        }
    }

    #[test]
    fn matches_of_a_known_length_are_not_limited() {
        for (pattern, longest) in [("A", 1), ("(?i)[a-f]{1,4}?", 4), ("(A)|(BCD)", 3)] {
            let (steps, replaced, is_whole) = steps(pattern, 1 << 17);
            assert!(steps <= (1 << 17) * longest, "{pattern}: {steps}");
            assert_eq!((replaced, is_whole), (1 << 17, true), "{pattern}");
        }
    }

    #[test]
    fn a_result_ends_where_it_is_too_long() {
        let text = vec![b'a'; 1000];
        for with in ["xyz", "$0$0$0"] {
            let mut out = Vec::new();
            assert_eq!(substitute("a", with).apply(&text, true, 2999, &mut out), Err(Excess));
            assert_eq!(out.len(), 2999, "{with}");
            out.clear();
            assert_eq!(substitute("a", with).apply(&text, true, 3000, &mut out), Ok(true));
        }
        let mut out = Vec::new();
        assert_eq!(substitute("b|^", "").apply(&text, false, 500, &mut out), Err(Excess));
        assert_eq!(out.len(), 500);
    }
}
