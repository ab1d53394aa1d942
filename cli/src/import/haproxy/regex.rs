//! Expressions of PCRE as the crate `regex` takes them: linear in the text, without look-around and back-references.

use regex_syntax::ast::{self, Ast};

use super::{
    directive::{Fault, shown},
    lexer::Word,
};

/// An address of IPv4 with something behind it.
pub(super) const IPV4_WITH_REST: &str = r"^([0-9]+(?:\.[0-9]+){3})[^0-9.].*$";

/// Bytes of a compiled expression, as our rules allow.
const LARGEST: usize = 1 << 20;

/// The expression of a word; `fold` is HAProxy's `-i`.
pub(super) fn convert(word: &Word, fold: bool) -> Result<String, Fault> {
    let pattern = adapt(&word.text, fold);
    match compile(&pattern) {
        Ok(_) => Ok(pattern),
        Err(why) => Err(Fault::at(word, format!("the expression `{}` {why}", shown(&word.text)))),
    }
}

/// `Err` is a clause.
pub(super) fn compile(pattern: &str) -> Result<::regex::bytes::Regex, String> {
    lb_proxy::expression::builder(pattern).size_limit(LARGEST).build().map_err(|error| match error {
        ::regex::Error::CompiledTooBig(_) => "is too large".to_owned(),
        error => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            format!("can't be used: {why}")
        }
    })
}

/// What means the same with other words.
pub(super) fn adapt(pattern: &str, fold: bool) -> String {
    let mut out = String::new();
    if fold {
        out.push_str("(?i)");
    }
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    let mut range = Range::None;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next();
                match escaped {
                    // A backspace.
                    Some('b') if in_class => out.push_str("\\x08"),
                    Some('Z') => out.push_str("\\z"),
                    // In PCRE these are the characters themselves, here they would begin something.
                    Some(c @ ('<' | '>')) => out.push(c),
                    Some(c) => out.extend(['\\', c]),
                    None => out.push_str("\\\\"),
                }
                range =
                    if escaped.is_some_and(|c| "dDsSwW".contains(c)) { Range::None } else { range.next() };
            }
            '[' if !in_class => {
                (in_class, range) = (true, Range::None);
                out.push(c);
                // `[]a]` and `[^]a]` begin with the bracket itself.
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                    range = range.next();
                }
            }
            // `[:alpha:]` is the same here; another bracket in a class would begin one more.
            '[' if chars.peek() == Some(&':') => {
                out.push(c);
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
                range = Range::None;
            }
            '[' => {
                out.push_str("\\[");
                range = range.next();
            }
            ']' if in_class => {
                in_class = false;
                out.push(c);
            }
            // Two of these would be an operation on sets here.
            '&' | '~' if in_class && chars.peek() == Some(&c) => {
                out.extend(['\\', c]);
                range = range.next();
            }
            '-' if in_class && range == Range::Begun && chars.peek() != Some(&']') => {
                out.push(c);
                range = Range::Open;
            }
            '-' if in_class => {
                if out.ends_with('-') || chars.peek() == Some(&'-') {
                    out.push('\\');
                }
                out.push(c);
                range = range.next();
            }
            // A class is one of bytes.
            c if in_class && !c.is_ascii() => {
                c.to_string().bytes().for_each(|byte| out.push_str(&format!("\\x{byte:02X}")));
                range = Range::Begun;
            }
            '{' if !in_class && !is_repetition(chars.clone()) => out.push_str("\\{"),
            c => {
                out.push(c);
                range = range.next();
            }
        }
    }
    out
}

/// Where a class is: what `-` is there.
#[derive(Clone, Copy, PartialEq)]
enum Range {
    /// No character stands before that a range could begin with.
    None,
    Begun,
    /// `-` stands behind it.
    Open,
}

impl Range {
    /// Behind one more character.
    fn next(self) -> Self {
        if self == Self::Open { Self::None } else { Self::Begun }
    }
}

/// Does `{` begin `{2}`, `{2,}` or `{2,3}`? Else it is the brace itself.
fn is_repetition(chars: impl Iterator<Item = char>) -> bool {
    let inner: String = chars.take_while(|c| *c != '}').take(16).collect();
    let (low, high) = inner.split_once(',').unwrap_or((&inner, ""));
    !low.is_empty()
        && low.bytes().all(|byte| byte.is_ascii_digit())
        && high.bytes().all(|byte| byte.is_ascii_digit())
}

/// The text itself as an expression.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// `\1` of a replacement is `${1}`, and a dollar is two.
pub(super) fn replacement(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek().copied()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                chars.next();
                out.push_str(&format!("${{{digit}}}"));
            }
            ('\\', Some('\\')) => {
                chars.next();
                out.push('\\');
            }
            ('$', _) => out.push_str("$$"),
            (c, _) => out.push(c),
        }
    }
    out
}

/// The same expression about any value between commas of a list: `begin` and `end` are those of a value, and nothing in it
/// is a comma.
pub(super) fn between_commas(pattern: &str, begin: &str, end: &str) -> String {
    let mut parts = Parts { pattern, found: Vec::new() };
    let Ok(ast) = ast::parse::Parser::new().parse(pattern) else { return pattern.to_owned() };
    let Ok(()) = ast::visit(&ast, &mut parts);
    let mut out = String::new();
    let mut rest = 0;
    for (part, span) in &parts.found {
        let text = &pattern[span.start.offset..span.end.offset];
        out.push_str(&pattern[rest..span.start.offset]);
        match part {
            Part::Begin => out.push_str(begin),
            Part::End => out.push_str(end),
            Part::Any => out.push_str(r"[^,\n]"),
            Part::Class => out.push_str(&format!("[{text}--,]")),
            Part::Comma => out.push_str(r"[^\s\S]"),
        }
        rest = span.end.offset;
    }
    out + &pattern[rest..]
}

/// What means something else in a part of a line.
enum Part {
    Begin,
    End,
    Any,
    /// A class with a comma in it.
    Class,
    Comma,
}

struct Parts<'p> {
    pattern: &'p str,
    found: Vec<(Part, ast::Span)>,
}

impl ast::Visitor for &mut Parts<'_> {
    type Output = ();
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<(), Self::Err> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        use ast::AssertionKind::{EndLine, EndText, StartLine, StartText};
        let part = match ast {
            Ast::Dot(_) => Part::Any,
            Ast::Literal(literal) if literal.c == ',' => Part::Comma,
            Ast::Assertion(one) if matches!(one.kind, StartLine | StartText) => Part::Begin,
            Ast::Assertion(one) if matches!(one.kind, EndLine | EndText) => Part::End,
            Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => {
                let span = ast.span();
                let class = compile(&self.pattern[span.start.offset..span.end.offset]);
                if !class.is_ok_and(|class| class.is_match(b",")) {
                    return Ok(());
                }
                Part::Class
            }
            _ => return Ok(()),
        };
        self.found.push((part, *ast.span()));
        Ok(())
    }
}

/// The same expression over the whole text: HAProxy replaces all of a value that matches somewhere.
pub(super) fn whole(pattern: &str) -> String {
    let (flags, body) = match pattern.strip_prefix("(?i)") {
        Some(body) => ("(?i)", body),
        None => ("", pattern),
    };
    let escaped_end = body.chars().rev().skip(1).take_while(|c| *c == '\\').count() % 2 == 1;
    let begins = body.starts_with('^') || body.starts_with(".*");
    let ends = (body.ends_with('$') || body.ends_with(".*") || body.ends_with("(.*)")) && !escaped_end;
    if begins && ends && !body.contains('|') {
        return pattern.to_owned();
    }
    format!("{flags}^(?s:.*?)(?:{body})(?s:.*)$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::Span;

    fn word(text: &str) -> Word {
        Word { text: text.to_owned(), span: Span { start: 0, end: text.len() } }
    }

    #[test]
    fn what_pcre_writes_otherwise_is_written_anew() {
        let cases = [
            (r"^/user/[0-9]+$", r"^/user/[0-9]+$"),
            (r"\.(gif|png)$", r"\.(gif|png)$"),
            (r"a{2,3}b{x}", r"a{2,3}b\{x}"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a]", r"[^\]a]"),
            (r"[[:alpha:]_[]", r"[[:alpha:]_\[]"),
            (r"end\Z", r"end\z"),
            (r"\<b\>", r"<b>"),
            (r"a\/b\-c\_d", r"a\/b\-c\_d"),
            ("x\\", "x\\\\"),
            (r"[+--]", r"[+-\-]"),
            (r"[--/]", r"[\--/]"),
            (r"[a-z--9]", r"[a-z\--9]"),
            (r"[a-z-]--", r"[a-z-]--"),
            (r"[a&&b~~-]", r"[a\&&b\~~-]"),
            (r"[\b]\b", r"[\x08]\b"),
            ("[\u{e9}-]\u{e9}", "[\\xC3\\xA9-]\u{e9}"),
        ];
        for (pcre, ours) in cases {
            assert_eq!(convert(&word(pcre), false).unwrap(), ours, "{pcre}");
        }
        assert_eq!(convert(&word("a"), true).unwrap(), "(?i)a");
        for (pattern, text) in
            [("[+--]", "+,-"), ("[--/]", "-./"), ("[a-z--9]", "az-.9"), ("[a&&b]", "&ab"), ("[!--/]", "!-/")]
        {
            let regex = compile(&convert(&word(pattern), false).unwrap()).unwrap();
            let matched: Vec<u8> = (0..=255).filter(|byte| regex.is_match(&[*byte])).collect();
            assert!(text.bytes().all(|byte| matched.contains(&byte)), "{pattern}: {matched:?}");
        }
        for pattern in ["(?=a)", r"(a)\1", "(", "[", "(?<!a)b", "a{1000}{1000}{1000}"] {
            assert!(convert(&word(pattern), false).is_err(), "{pattern}");
        }
    }

    #[test]
    fn replacements_name_their_groups() {
        assert_eq!(replacement(r"/new/\1$x\\n\0"), r"/new/${1}$$x\n${0}");
        assert_eq!(escape("/a.b?c-d"), r"/a\.b\?c-d");
    }

    #[test]
    fn values_between_commas_are_matched_one_by_one() {
        for (pattern, text, is_match) in [
            ("mozilla.*safari", "mozilla x safari", true),
            ("mozilla.*safari", "mozilla (a, b) safari", false),
            ("^b$", "a, b ,c", true),
            ("^(a|b)$|^c", "x, b", true),
            ("^(a|b)$|^c", "x, bc", false),
            ("^(a|b)$|^c", "x,cd", true),
            (r"a\$$", "a$, b", true),
            ("a[^x]b", "a,b", false),
            ("a[^x]b", "a-b", true),
            (r"a\Sb", "a,b", false),
            (r"a\Sb", "a.b", true),
            ("a,b", "a,b", false),
            ("a,?b", "ab", true),
            ("a[,;]b", "a;b", true),
            ("a[,;]b", "a,b", false),
            ("[0-9]+x", "1,22x", true),
            ("^$", "a,,b", true),
        ] {
            let found = between_commas(pattern, r"(?:^|,)[ \t]*", r"[ \t]*(?:,|$)");
            assert_eq!(
                compile(&found).unwrap().is_match(text.as_bytes()),
                is_match,
                "{pattern} as {found}: {text}"
            );
        }
        assert_eq!(between_commas("(bot|[a-z]pider)", "", ""), "(bot|[a-z]pider)");
    }

    #[test]
    fn a_match_somewhere_is_made_one_of_everything() {
        for (pattern, text, expected) in [
            ("^/old/(.*)", "/old/x", "<x>"),
            ("b(.)", "abcd", "<c>"),
            ("^a|d$", "abcd", "<>"),
            ("(?i)B(C)", "abcd", "<c>"),
            (r"(b)\$", "ab$c", "<b>"),
        ] {
            let regex = compile(&whole(pattern)).unwrap();
            assert_eq!(
                &*regex.replace(text.as_bytes(), b"<$1>"),
                expected.as_bytes(),
                "{pattern} as {}",
                whole(pattern)
            );
        }
        assert_eq!(whole("^/old/(.*)"), "^/old/(.*)");
    }
}
