//! One line of an haproxy.cfg into words.
//!
//! Words stand between white space. A backslash takes the meaning of the next character away; `\n`, `\r`, `\t` and `\xHH`
//! are what they are in C, and other pairs stay as they are, for regular expressions. Within double quotes white space,
//! `'` and `#` are themselves and `$NAME`, `${NAME}`, `${NAME-default}` and `${LIST[*]}` are variables; within single
//! quotes everything is itself. `#` begins a comment. A few lines that set a variable to two times another would fill the
//! memory, so words and lines with variables have a largest length.

use super::variables::Variables;
use crate::config::diagnostic::Span;

/// Bytes of a word in which variables stand.
const WORD: usize = 2 << 10;

/// Bytes of the values of all variables of a line.
const LINE: usize = 16 << 10;

/// A word, and where the file has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Span,
}

/// Why a line has no words.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct LexError {
    pub(super) span: Span,
    pub(super) message: String,
}

/// A line that was read.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) words: Vec<Word>,
    /// Variables that are not set and have no default.
    pub(super) unset: Vec<Word>,
}

/// The words of `line`, which begins at the byte `start` of the file.
pub(super) fn words(line: &str, start: usize, variables: &Variables<'_>) -> Result<Words, LexError> {
    let mut lexer = Lexer {
        line,
        start,
        at: 0,
        word: String::new(),
        begin: None,
        quote: None,
        expanded: 0,
        out: Words::default(),
    };
    while lexer.step(variables)? {}
    lexer.end_word();
    match lexer.quote {
        None => Ok(lexer.out),
        Some((quote, at)) => {
            let kind = if quote == '"' { "double" } else { "single" };
            Err(lexer.error(
                at,
                1,
                format!("this {kind} quote is never closed; a quote ends on its own line, and a quote itself is \\{quote}"),
            ))
        }
    }
}

struct Lexer<'t> {
    line: &'t str,
    start: usize,
    /// The next byte.
    at: usize,
    word: String,
    /// Where the word began; `None` between words.
    begin: Option<usize>,
    /// The open quote, and where.
    quote: Option<(char, usize)>,
    /// Bytes of values so far.
    expanded: usize,
    out: Words,
}

impl Lexer<'_> {
    /// `false` at the end of the line.
    fn step(&mut self, variables: &Variables<'_>) -> Result<bool, LexError> {
        let Some(c) = self.peek() else { return Ok(false) };
        let quote = self.quote.map(|(quote, _)| quote);
        match (c, quote) {
            ('#', None) => return Ok(false),
            ('"' | '\'', None) => {
                self.begin();
                self.quote = Some((c, self.at));
                self.at += 1;
            }
            (c, Some(open)) if c == open => {
                self.quote = None;
                self.at += 1;
            }
            ('\\', None | Some('"')) => self.escape()?,
            ('$', Some('"')) => self.variable(variables)?,
            (c, None) if c.is_ascii_whitespace() || c == '\u{b}' => {
                self.end_word();
                self.at += 1;
            }
            (c, _) => {
                self.begin();
                self.word.push(c);
                self.at += c.len_utf8();
            }
        }
        Ok(true)
    }

    fn escape(&mut self) -> Result<(), LexError> {
        self.begin();
        let in_double = self.quote.is_some();
        let next = self.line[self.at + 1..].chars().next();
        let (character, taken) = match next {
            Some(c @ (' ' | '\\' | '#' | '\'' | '"')) => (c, 2),
            Some('$') if in_double => ('$', 2),
            Some('t') => ('\t', 2),
            Some('n') => ('\n', 2),
            Some('r') => ('\r', 2),
            Some('x') => {
                let digits = self.line.get(self.at + 2..self.at + 4);
                let byte = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                let byte = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                match byte {
                    Some(byte @ 1..=0x7f) => (char::from(byte), 4),
                    Some(_) => {
                        let why = "a byte that is no ASCII character can't be in a text of ours; write the character itself";
                        return Err(self.error(self.at, 4, why));
                    }
                    None => {
                        let why =
                            "`\\x` takes two hexadecimal digits, as in \\x2F; a backslash itself is `\\\\`";
                        return Err(self.error(self.at, 2, why));
                    }
                }
            }
            Some(_) | None => ('\\', 1),
        };
        self.word.push(character);
        self.at += taken;
        Ok(())
    }

    /// At a `$` in double quotes.
    fn variable(&mut self, variables: &Variables<'_>) -> Result<(), LexError> {
        let dollar = self.at;
        self.at += 1;
        let brace = self.peek() == Some('{');
        self.at += usize::from(brace);
        let rest = &self.line[self.at..];
        let dot = usize::from(rest.starts_with('.'));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = dot + rest[dot..].find(|c| !is_name(c)).unwrap_or(rest.len() - dot);
        let name = &rest[..length];
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let why = "no name of a variable follows the `$`; within double quotes a dollar itself is `\\$`";
            return Err(self.error(dollar, 1 + usize::from(brace), why));
        }
        self.at += length;
        let split = brace && self.line[self.at..].starts_with("[*]");
        self.at += if split { 3 } else { 0 };
        let mut default = None;
        if brace {
            let rest = &self.line[self.at..];
            let end = if rest.starts_with('-') { rest.find('}') } else { rest.starts_with('}').then_some(0) };
            let Some(end) = end else {
                let why = match rest.contains('}') {
                    false => "this `${` has no `}` on its line",
                    true if rest.starts_with(":-") => {
                        "HAProxy writes a default without the colon: `${NAME-default}`"
                    }
                    true => "behind the name of a variable HAProxy takes `-` with a default, or `}`",
                };
                return Err(self.error(dollar, 2 + length, why));
            };
            default = rest[..end].strip_prefix('-');
            self.at += end + 1;
        }
        let line_number = || self.out.words.first().map_or(self.start + dollar, |word| word.span.start);
        let value = match variables.value(name, line_number()) {
            Some(value) => value,
            None => match default {
                Some(default) => default.to_owned(),
                None => {
                    let span = self.span(dollar, self.at - dollar);
                    self.out.unset.push(Word { text: name.to_owned(), span });
                    String::new()
                }
            },
        };
        self.expanded += value.len();
        let longest = value.split_ascii_whitespace().map(str::len).max().filter(|_| split);
        if self.expanded > LINE || self.word.len() + longest.unwrap_or(value.len()) > WORD {
            let why = format!(
                "with the value of {name}, which has {} bytes, this becomes too long; a word with variables has at most \
                 {WORD} bytes, and the values in one line {LINE}",
                value.len()
            );
            return Err(self.error(dollar, self.at - dollar, why));
        }
        self.expand(&value, split);
        Ok(())
    }

    /// Takes a value in; with `split` its parts are words of their own.
    fn expand(&mut self, value: &str, split: bool) {
        if !split {
            self.word.push_str(value);
            return;
        }
        let mut parts = value.split_ascii_whitespace();
        self.word.push_str(parts.next().unwrap_or_default());
        for part in parts {
            self.end_word();
            self.begin();
            self.word.push_str(part);
        }
    }

    fn begin(&mut self) {
        self.begin.get_or_insert(self.at);
    }

    fn end_word(&mut self) {
        if let Some(begin) = self.begin.take() {
            let end = self.at.max(begin + 1).min(self.line.len());
            let span = self.span(begin, end - begin);
            self.out.words.push(Word { text: std::mem::take(&mut self.word), span });
        }
    }

    fn peek(&self) -> Option<char> {
        self.line[self.at..].chars().next()
    }

    fn span(&self, at: usize, length: usize) -> Span {
        Span { start: self.start + at, end: self.start + at + length }
    }

    fn error(&self, at: usize, length: usize, message: impl Into<String>) -> LexError {
        LexError { span: self.span(at, length), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(line: &str) -> Result<Vec<String>, String> {
        let environment = [("EMPTY", ""), ("NAME", "value"), ("LIST", "a b  c")];
        let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let variables = Variables::new(&environment, "", "haproxy.cfg");
        match words(line, 0, &variables) {
            Ok(words) => Ok(words.words.into_iter().map(|word| word.text).collect()),
            Err(error) => Err(format!("{}: {}", error.span.start, error.message)),
        }
    }

    #[test]
    fn words_are_what_haproxy_makes_of_a_line() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \t # nothing", &[]),
            ("global#this is the global section", &["global"]),
            ("     mode             http   # or tcp", &["mode", "http"]),
            (r"log-format %{+Q}o\ %t\ %s\ %{-Q}r", &["log-format", "%{+Q}o %t %s %{-Q}r"]),
            (r#"log-format "%{+Q}o %t %s %{-Q}r""#, &["log-format", "%{+Q}o %t %s %{-Q}r"]),
            (r#"log-format "%{+Q}o %t"' %s %{-Q}r'"#, &["log-format", "%{+Q}o %t %s %{-Q}r"]),
            (r#"log-format "%{+Q}o %t"' %s'\ %{-Q}r"#, &["log-format", "%{+Q}o %t %s %{-Q}r"]),
            (r"a\#b \\ \' \x41\x2F \1 \t", &["a#b", r"\", "'", "A/", r"\1", "\t"]),
            (r#""a\"b" "\$NAME" '\x41$NAME' $NAME"#, &["a\"b", "$NAME", r"\x41$NAME", "$NAME"]),
            (
                r#""$NAME" "${NAME}x" "${NONE-a b}" "${EMPTY-x}" "${NONE}""#,
                &["value", "valuex", "a b", "", ""],
            ),
            (r#"x "${LIST[*]}" y"#, &["x", "a", "b", "c", "y"]),
            (r#"x "${LIST}" "" ''"#, &["x", "a b  c", "", ""]),
            (r#"regsub(\"(a|b)\",c)"#, &[r#"regsub("(a|b)",c)"#]),
            (
                r#"'%[path,regsub("^/(here)(/|$)","my/\1",g)]'"#,
                &[r#"%[path,regsub("^/(here)(/|$)","my/\1",g)]"#],
            ),
            ("a\u{a0}b ü\r", &["a\u{a0}b", "ü"]),
            ("end\\", &["end\\"]),
        ];
        for (line, expected) in cases {
            assert_eq!(lex(line).as_deref(), Ok(expected.map_owned().as_slice()), "{line}");
        }
    }

    trait MapOwned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl MapOwned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is() {
        let cases = [
            ("a \"b c", "2: this double quote is never closed"),
            ("a 'b \" c", "2: this single quote is never closed"),
            (r"\xZ1", "0: `\\x` takes two hexadecimal digits"),
            (r"a\x4", "1: `\\x` takes two hexadecimal digits"),
            (r"\xff", "0: a byte that is no ASCII character"),
            ("\"$1\"", "1: no name of a variable follows the `$`"),
            ("\"a$\"", "2: no name of a variable follows the `$`"),
            ("\"${NAME\"", "1: this `${` has no `}`"),
            ("\"${NAME-x", "1: this `${` has no `}`"),
        ];
        for (line, expected) in cases {
            let error = lex(line).expect_err(line);
            assert!(error.starts_with(expected), "{line}: {error}");
        }
    }

    #[test]
    fn variables_make_no_word_and_no_line_too_long() {
        let environment = [("K", "x".repeat(1000)), ("L", "a b ".repeat(500))];
        let environment: Vec<_> = environment.map(|(name, value)| (name.to_owned(), value)).into();
        let variables = Variables::new(&environment, "", "haproxy.cfg");
        let place = |line: &str| words(line, 0, &variables).err().map(|error| error.span.start);
        assert_eq!(place(r#"setenv A "${K}${K}""#), None);
        assert_eq!(place(r#"setenv A "${K}${K}${K}""#), Some(18));
        assert_eq!(place(&r#""$K" "#.repeat(16)), None);
        assert_eq!(place(&r#""$K" "#.repeat(17)), Some(81));
        assert_eq!(place(r#""${L[*]}" "${L[*]}""#), None);
    }

    #[test]
    fn words_know_their_place() {
        let variables = Variables::new(&[], "", "haproxy.cfg");
        let line = "  bind \"*:80\" name\\ x";
        let found = words(line, 100, &variables).unwrap().words;
        let places: Vec<_> = found.iter().map(|word| (word.span.start, word.span.end)).collect();
        assert_eq!(places, [(102, 106), (107, 113), (114, 121)]);
    }
}
