//! Lines into words, and words into statements with blocks in braces.

use super::{
    expand::Line,
    source::{Place, Unreadable},
};
use crate::config::diagnostic::Span;

/// Blocks in blocks; Keepalived has four.
const DEEPEST: usize = 30;

/// A word without its quotes.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) place: Place,
    /// It had some, so a brace is none.
    is_quoted: bool,
}

/// `word word ..`, and what stands in braces behind it.
#[derive(Debug)]
pub(super) struct Statement {
    /// At least one.
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Self>>,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        &self.words[0].text
    }

    /// What follows the first word.
    pub(super) fn argument(&self) -> Option<&Word> {
        self.words.get(1)
    }

    /// From its first word to its last, on its first line.
    pub(super) fn place(&self) -> Place {
        let first = self.words[0].place;
        let last = self.words.iter().rev().find(|word| word.place.file == first.file);
        let end = last.map_or(first.span.end, |word| word.place.span.end).max(first.span.end);
        Place { file: first.file, span: Span { start: first.span.start, end } }
    }

    /// What stands in the block; nothing where there is none.
    pub(super) fn inner(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// All words of the statement and its block, as in a list over several lines.
    pub(super) fn list(&self) -> Vec<&Word> {
        self.words[1..].iter().chain(self.inner().iter().flat_map(|inner| &inner.words)).collect()
    }
}

/// The statements of a whole file.
pub(super) fn read(lines: &[Line]) -> Result<Vec<Statement>, Unreadable> {
    // The file itself, and each block that is open; the place is that of the brace.
    let mut open: Vec<(Vec<Statement>, Option<Place>)> = vec![(Vec::new(), None)];
    for line in lines {
        let mut words: Vec<Word> = Vec::new();
        for word in split(line)? {
            match word.text.as_str() {
                "{" if !word.is_quoted => {
                    if open.len() > DEEPEST {
                        let message = format!("blocks are in each other more than {DEEPEST} times");
                        return Err(Unreadable { place: word.place, message });
                    }
                    flush(&mut open, &mut words);
                    let begins = open.last().and_then(|(statements, _)| statements.last());
                    if begins.is_none_or(|statement| statement.block.is_some()) {
                        let message = "no word stands before this `{` that it could belong to".to_owned();
                        return Err(Unreadable { place: word.place, message });
                    }
                    open.push((Vec::new(), Some(word.place)));
                }
                "}" if !word.is_quoted => {
                    flush(&mut open, &mut words);
                    let inner = if open.len() > 1 { open.pop() } else { None };
                    let outer = open.last_mut().and_then(|(statements, _)| statements.last_mut());
                    let (Some((inner, _)), Some(outer)) = (inner, outer) else {
                        let message = "this `}` has no `{`".to_owned();
                        return Err(Unreadable { place: word.place, message });
                    };
                    outer.block = Some(inner);
                }
                _ => words.push(word),
            }
        }
        flush(&mut open, &mut words);
    }
    match open.pop() {
        Some((_, Some(place))) => {
            Err(Unreadable { place, message: "this `{` is never closed with a `}`".to_owned() })
        }
        last => Ok(last.map(|(statements, _)| statements).unwrap_or_default()),
    }
}

fn flush(open: &mut [(Vec<Statement>, Option<Place>)], words: &mut Vec<Word>) {
    if let (false, Some((statements, _))) = (words.is_empty(), open.last_mut()) {
        statements.push(Statement { words: std::mem::take(words), block: None });
    }
}

/// The words of a line. Quotes keep white space together; in them a `\` stands before what would end them.
fn split(line: &Line) -> Result<Vec<Word>, Unreadable> {
    let mut words = Vec::new();
    let mut word: Option<(usize, String, bool)> = None;
    let mut quote: Option<(char, usize)> = None;
    let mut letters = line.text.char_indices().peekable();
    while let Some((at, c)) = letters.next() {
        match (quote, c) {
            (Some((open, _)), c) if c == open => quote = None,
            (Some(_), '\\') if matches!(letters.peek(), Some((_, '"' | '\'' | '\\'))) => {
                if let (Some((_, next)), Some((_, text, _))) = (letters.next(), &mut word) {
                    text.push(next);
                }
            }
            (Some(_), c) => {
                if let Some((_, text, _)) = &mut word {
                    text.push(c);
                }
            }
            (None, '"' | '\'') => {
                quote = Some((c, at));
                word.get_or_insert_with(|| (at, String::new(), true)).2 = true;
            }
            (None, c) if c.is_whitespace() => words.extend(end(line, word.take(), at)),
            (None, c) => word.get_or_insert_with(|| (at, String::new(), false)).1.push(c),
        }
    }
    if let Some((_, at)) = quote {
        let message = "this quote is never closed on its line".to_owned();
        return Err(Unreadable { place: line.place(at, at + 1), message });
    }
    words.extend(end(line, word.take(), line.text.len()));
    Ok(words.into_iter().flat_map(braces).collect())
}

fn end(line: &Line, word: Option<(usize, String, bool)>, at: usize) -> Option<Word> {
    word.map(|(start, text, is_quoted)| Word { text, place: line.place(start, at), is_quoted })
}

/// `VI_1{` and `192.0.2.10}` are two words each.
fn braces(word: Word) -> Vec<Word> {
    let part = |text: &str, start: usize| {
        let at = word.place.span.start + start;
        let span = Span { start: at, end: (at + text.len()).min(word.place.span.end).max(at) };
        Word { text: text.to_owned(), place: Place { span, ..word.place }, is_quoted: false }
    };
    let split = |at: usize| vec![part(&word.text[..at], 0), part(&word.text[at..], at)];
    let count = |brace| word.text.matches(brace).count();
    match word.text.len() {
        _ if word.is_quoted => vec![word],
        length if length > 1 && word.text.ends_with('{') && count('{') == 1 => split(length - 1),
        length if length > 1 && word.text.ends_with('}') && count('{') == 0 && count('}') == 1 => {
            split(length - 1)
        }
        length if length > 1 && word.text.starts_with('{') && count('}') == 0 && count('{') == 1 => split(1),
        _ => vec![word],
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write, path::Path};

    use super::*;
    use crate::import::keepalived::{expand, source::Sources};

    fn shown(statements: &[Statement], out: &mut String) {
        for statement in statements {
            let words: Vec<_> = statement.words.iter().map(|word| word.text.as_str()).collect();
            write!(out, "{}", words.join("|")).expect("a String takes everything");
            if let Some(block) = &statement.block {
                out.push('(');
                shown(block, out);
                out.push(')');
            }
            out.push(';');
        }
    }

    fn tree(text: &str) -> String {
        let mut sources = Sources::default();
        let file = sources.add("k.conf", text.as_bytes(), Path::new("")).expect("text");
        let lines = expand::lines(&sources, file, None);
        match lines.and_then(|lines| read(&lines)) {
            Ok(statements) => {
                let mut out = String::new();
                shown(&statements, &mut out);
                out
            }
            Err(unreadable) => {
                format!("{}: {}", unreadable.place.span.start, unreadable.message)
            }
        }
    }

    #[test]
    fn blocks_are_found_wherever_their_braces_stand() {
        for (text, expected) in [
            ("a b {\n c d\n e {\n f\n }\n}\n", "a|b(c|d;e(f;););"),
            ("a b\n{\n c\n}\n", "a|b(c;);"),
            ("a { b } c\n", "a(b;);c;"),
            ("a{b}\n", "a{b};"),
            ("a VI_1{\n b 1.2.3.4}\n", "a|VI_1(b|1.2.3.4;);"),
            ("a { }\n", "a();"),
            ("s \"x -w %{y} '{z}'\" {\n}\n", "s|x -w %{y} '{z}'();"),
            ("s 'a \"b\" c'\"d\" \"\\\"e\\\"\"\n", "s|a \"b\" cd|\"e\";"),
            ("s \"{\" \"}\"\n", "s|{|};"),
        ] {
            assert_eq!(tree(text), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_together_has_a_place() {
        for (text, expected) in [
            ("a {\n b\n", "2: this `{` is never closed with a `}`"),
            ("a {\n}\n}\n", "6: this `}` has no `{`"),
            ("{\n", "0: no word stands before this `{` that it could belong to"),
            ("a { } { }\n", "6: no word stands before this `{` that it could belong to"),
            ("s \"a b\nc\"\n", "2: this quote is never closed on its line"),
        ] {
            assert_eq!(tree(text), expected, "{text}");
        }
        let deep = format!("{}\n", "a { ".repeat(40));
        assert!(tree(&deep).contains("more than 30 times"), "{}", tree(&deep));
    }
}
