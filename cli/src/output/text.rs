//! Pieces of text: what may reach a terminal, where a line breaks, which colour it has.

use std::fmt::Write;

use lb_proxy::is_hidden;

/// Whether colour is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Paint {
    /// Plain text.
    Never,
    /// SGR colours.
    Always,
}

/// What a piece of text means.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// As it should be.
    Good,
    /// Worth a look.
    Warning,
    /// Broken.
    Bad,
}

impl Paint {
    /// `text` in the colour of `tone`.
    pub(super) fn apply(self, tone: Tone, text: &str) -> String {
        let code = match (self, tone) {
            (Self::Never, _) | (_, Tone::Plain) => return text.to_owned(),
            (Self::Always, Tone::Heading) => "1",
            (Self::Always, Tone::Good) => "32",
            (Self::Always, Tone::Warning) => "33",
            (Self::Always, Tone::Bad) => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// `text` without characters that a terminal obeys or that turn others round: part of it comes from servers and peers.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '?' } else { c }).collect()
}

/// The same for a text of several lines, which stay lines.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// A JSON text of one line, without such characters: they can stand in its strings alone, and have escapes there.
pub(crate) fn printable_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if !is_hidden(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a String can't fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// Breaks `text` at spaces into lines of at most `width` characters. Leading spaces stay and indent the lines after
/// the first as well; a word that is longer than a line is broken where the line ends.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent: String = text.chars().take_while(|c| *c == ' ').collect();
    let width = width.max(indent.len() + 8);
    let mut lines = Vec::new();
    let mut line = indent.clone();
    let mut empty = true;
    let mut gap = 0;
    for word in text[indent.len()..].split(' ') {
        if word.is_empty() {
            gap += 1;
            continue;
        }
        let mut word: Vec<char> = word.chars().collect();
        let used = line.chars().count();
        let spaces = if empty { 0 } else { gap + 1 };
        if !empty && used + spaces + word.len() > width {
            lines.push(std::mem::replace(&mut line, indent.clone()));
        } else {
            line.extend(std::iter::repeat_n(' ', spaces));
        }
        gap = 0;
        empty = false;
        loop {
            let room = width - line.chars().count();
            if word.len() <= room {
                line.extend(word);
                break;
            }
            let rest = word.split_off(room);
            line.extend(word);
            lines.push(std::mem::replace(&mut line, indent.clone()));
            word = rest;
        }
    }
    lines.push(line);
    lines
}

/// `1804` as `1,804`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_keep_their_indent() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("  aaaaaaa bb", 10), ["  aaaaaaa", "  bb"]);
        assert_eq!(wrap("", 10), [""]);
    }

    #[test]
    fn runs_of_spaces_inside_a_line_stay() {
        assert_eq!(wrap("web  192.0.2.10", 40), ["web  192.0.2.10"]);
    }

    #[test]
    fn a_word_longer_than_the_line_is_broken() {
        assert_eq!(wrap("abcdefghijkl", 8), ["abcdefgh", "ijkl"]);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n\u{9b}1m\u{202e}c"), "a?[2Jb??1m?c");
        assert_eq!(printable_lines("a\r\n\x1b[2Jb\n"), "a?\n?[2Jb\n");
        let json = printable_json("{\"a\":\"ä\u{9b}1m\u{e0041}\"}");
        assert_eq!(json, "{\"a\":\"ä\\u009b1m\\udb40\\udc41\"}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["a"], "ä\u{9b}1m\u{e0041}");
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_804), "1,804");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
