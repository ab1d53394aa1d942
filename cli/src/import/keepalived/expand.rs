//! Files into lines: comments gone, `include` followed, `@` decided, `$NAME`, `~SEQ` and `~LST` put in.

use std::collections::BTreeMap;

use super::source::{Place, Sources, Unreadable, is_include};
use crate::config::diagnostic::Span;

/// Of what definitions become, in bytes: a definition that doubles another one would fill the memory.
const MOST_BYTES: usize = 4 << 20;

/// Of definitions in definitions, and of files in files.
const DEEPEST: usize = 50;

/// A part of a line, of which each byte knows where it comes from.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    from: Vec<Span>,
    file: usize,
}

impl Line {
    fn slice(&self, start: usize, end: usize) -> Self {
        Self { text: self.text[start..end].to_owned(), from: self.from[start..end].to_vec(), file: self.file }
    }

    fn push(&mut self, other: &Self) {
        self.text.push_str(&other.text);
        self.from.extend(&other.from);
    }

    /// `text` in the place of what stands at `at`.
    fn instead(text: &str, at: Place) -> Self {
        Self { text: text.to_owned(), from: vec![at.span; text.len()], file: at.file }
    }

    fn trimmed(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start, start + self.text.trim().len())
    }

    /// Where the bytes from `start` to `end` come from.
    pub(super) fn place(&self, start: usize, end: usize) -> Place {
        let first = self.from.get(start).or(self.from.last()).map_or(0, |span| span.start);
        let last = self.from.get(end.max(start + 1) - 1).or(self.from.last()).map_or(first, |span| span.end);
        Place { file: self.file, span: Span { start: first, end: last.max(first) } }
    }
}

/// The words behind `@`, with `true` for `@^`, in the order in which they first come, of a file and all that it includes.
pub(super) fn conditions(sources: &Sources, file: usize) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    let source = sources.file(file);
    for line in source.text.lines() {
        let Some(rest) = line.trim_start().strip_prefix('@') else { continue };
        let (word, is_negated) = rest.strip_prefix('^').map_or((rest, false), |rest| (rest, true));
        let word = word.split_ascii_whitespace().next().unwrap_or_default();
        if !word.is_empty() && !found.iter().any(|(known, _)| known == word) {
            found.push((word.to_owned(), is_negated));
        }
    }
    for inner in source.includes.values().flatten() {
        for one in conditions(sources, *inner) {
            if !found.iter().any(|(known, _)| *known == one.0) {
                found.push(one);
            }
        }
    }
    found
}

/// The lines of a file as a Keepalived with the id `id` reads them.
pub(super) fn lines(sources: &Sources, file: usize, id: Option<&str>) -> Result<Vec<Line>, Unreadable> {
    let mut expander = Expander {
        sources,
        id,
        defined: BTreeMap::new(),
        lines: Vec::new(),
        size: 0,
        skipped: 0,
        folder: String::new(),
    };
    expander.file(file, 0)?;
    Ok(expander.lines)
}

struct Expander<'s> {
    sources: &'s Sources,
    id: Option<&'s str>,
    defined: BTreeMap<String, String>,
    lines: Vec<Line>,
    size: usize,
    /// Of a block that is another node's: braces that are open.
    skipped: usize,
    folder: String,
}

impl Expander<'_> {
    fn file(&mut self, index: usize, depth: usize) -> Result<(), Unreadable> {
        let source = self.sources.file(index);
        let before = std::mem::replace(
            &mut self.folder,
            source.name.rsplit_once('/').map_or(".", |(folder, _)| folder).to_owned(),
        );
        let mut start = 0;
        // What a `\` at its end goes on with.
        let mut joined: Option<Line> = None;
        for raw in source.text.split_inclusive('\n') {
            let at = start;
            start += raw.len();
            if let (Some(files), None) = (source.includes.get(&at), &joined) {
                if depth < DEEPEST {
                    for inner in files {
                        self.file(*inner, depth + 1)?;
                    }
                }
                continue;
            }
            let (line, goes_on) = without_comment(raw, at, index);
            let whole = match joined.take() {
                None => line,
                Some(mut before) => {
                    before.push(&Line::instead("\n", line.place(0, 0)));
                    before.push(&line);
                    before
                }
            };
            if goes_on {
                joined = Some(whole);
            } else {
                self.line(&whole, 0)?;
            }
        }
        if let Some(line) = joined {
            self.line(&line, 0)?;
        }
        self.folder = before;
        Ok(())
    }

    /// A line as it is written, or as a definition became it.
    fn line(&mut self, line: &Line, depth: usize) -> Result<(), Unreadable> {
        let line = line.trimmed();
        if line.text.is_empty() {
            return Ok(());
        }
        let refuse = |message: &str| Err(Unreadable { place: line.place(0, 1), message: message.to_owned() });
        self.size += line.text.len();
        if depth > DEEPEST || self.size > MOST_BYTES {
            return refuse("definitions lead to each other, or make more than 4 MiB of this");
        }
        if self.skipped > 0 {
            self.skip(&line.text);
            return Ok(());
        }
        if let Some(rest) = line.text.strip_prefix('@') {
            let word = rest.split([' ', '\t', '\n']).next().unwrap_or_default();
            let (name, wanted) = word.strip_prefix('^').map_or((word, true), |name| (name, false));
            let rest = line.slice(1 + word.len(), line.text.len());
            if (self.id == Some(name)) == wanted {
                return self.line(&rest, depth + 1);
            }
            // A block that this line begins is another node's, too.
            self.skip(&rest.text);
            return Ok(());
        }
        if let Some((name, value)) = definition(&line.text) {
            self.defined.insert(name.to_owned(), value.to_owned());
            return Ok(());
        }
        if let Some(kind) = ["~SEQ", "~SEQx", "~LST"]
            .into_iter()
            .rev()
            .find(|kind| line.text.strip_prefix(kind).is_some_and(|rest| rest.trim_start().starts_with('(')))
        {
            let Some(end) = line.text.find(')') else {
                return refuse("this has no `)`");
            };
            let open = line.text.find('(').unwrap_or(0);
            let rest = line.slice(end + 1, line.text.len());
            let Some(rounds) = rounds(kind, &line.text[open + 1..end]) else {
                return refuse("this is no list of values: ~SEQ(NAME, FIRST, STEP, LAST), ~LST(NAME, A, B)");
            };
            for round in rounds {
                self.defined.extend(round);
                self.line(&rest, depth + 1)?;
            }
            return Ok(());
        }
        if let Some((start, end, value)) = self.reference(&line.text) {
            let mut whole = line.slice(0, start);
            whole.push(&Line::instead(&value, line.place(start, end)));
            whole.push(&line.slice(end, line.text.len()));
            // Line by line: one of them may define what the next one uses.
            if !value.contains('\n') && !value.starts_with('@') {
                return self.line(&whole, depth + 1);
            }
            let mut from = 0;
            for part in whole.text.split_inclusive('\n') {
                self.line(&whole.slice(from, from + part.len()), depth + 1)?;
                from += part.len();
            }
            return Ok(());
        }
        // One that went on without being a definition.
        let mut from = 0;
        for part in line.text.split_inclusive('\n') {
            self.lines.push(line.slice(from, from + part.trim_end().len()));
            from += part.len();
        }
        Ok(())
    }

    fn skip(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '{' => self.skipped += 1,
                '}' => self.skipped = self.skipped.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// The first reference to what is defined, and its value.
    fn reference(&self, text: &str) -> Option<(usize, usize, String)> {
        let mut from = 0;
        while let Some(found) = text[from..].find('$') {
            let start = from + found;
            let rest = &text[start + 1..];
            let (name, end) = match rest.strip_prefix('{') {
                Some(inner) => {
                    let length = inner.find('}')?;
                    (&inner[..length], start + 2 + length + 1)
                }
                None => {
                    let length =
                        rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    let ends = rest[length..].chars().next().is_none_or(char::is_whitespace);
                    (if ends { &rest[..length] } else { "" }, start + 1 + length)
                }
            };
            if let Some(value) = self.value(name) {
                return Some((start, end, value));
            }
            from = start + 1;
        }
        None
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "_PWD" => Some(self.folder.clone()),
            "_HASH" => Some("#".to_owned()),
            "_BANG" => Some("!".to_owned()),
            _ => self.defined.get(name).cloned(),
        }
    }
}

/// The name and the value of `$NAME=VALUE`.
fn definition(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then(|| (name, value.trim()))
}

/// What `~SEQ` and `~LST` define, round by round.
fn rounds(kind: &str, arguments: &str) -> Option<Vec<Vec<(String, String)>>> {
    const MOST_ROUNDS: usize = 10_000;
    if kind == "~LST" {
        let groups = groups(arguments);
        let (names, values) = groups.split_first()?;
        let rounds = values.iter().map(|values| names.iter().cloned().zip(values.iter().cloned()).collect());
        return (values.iter().all(|one| one.len() == names.len())).then(|| rounds.collect());
    }
    let words: Vec<_> = arguments.split(',').map(str::trim).collect();
    let number = |word: &str| {
        let (sign, digits) = word.strip_prefix('-').map_or((1, word), |digits| (-1, digits));
        let number = match digits.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => digits.parse::<i64>(),
        };
        number.ok().filter(|number| *number <= i64::from(u32::MAX)).map(|number| sign * number)
    };
    let (name, numbers) = words.split_first()?;
    let numbers: Vec<i64> = numbers.iter().map(|word| number(word)).collect::<Option<_>>()?;
    let (first, step, last) = match numbers.as_slice() {
        [last] => (last.signum(), last.signum(), *last),
        [first, last] => (*first, if last < first { -1 } else { 1 }, *last),
        [first, step, last] => (*first, *step, *last),
        _ => return None,
    };
    if step == 0 {
        return None;
    }
    let mut values = Vec::new();
    let mut at = first;
    while (step > 0 && at <= last) || (step < 0 && at >= last) {
        let value = if kind == "~SEQx" { format!("{at:x}") } else { at.to_string() };
        values.push(vec![((*name).to_owned(), value)]);
        at += step;
        if values.len() > MOST_ROUNDS {
            return None;
        }
    }
    Some(values)
}

/// `A, B` and `{A, B}, {1, 2}`
fn groups(text: &str) -> Vec<Vec<String>> {
    let mut groups = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (group, after) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((group, after)) => (group, after.trim_start().trim_start_matches(',')),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        let is_many = rest.starts_with('{');
        groups.push(match is_many {
            true => group.split(',').map(|one| one.trim().to_owned()).collect(),
            false => vec![group.trim().to_owned()],
        });
        rest = after.trim_start();
    }
    groups
}

/// A line without its comment, and whether a `\` says that it goes on. `\#` and `\!` begin none.
fn without_comment(raw: &str, at: usize, file: usize) -> (Line, bool) {
    let mut line = Line { file, ..Line::default() };
    let mut is_quoted = false;
    let mut is_comment = false;
    let mut goes_on = false;
    let mut letters = raw.trim_end_matches(['\n', '\r', ' ', '\t']).char_indices().peekable();
    let mut keep = |c: char, at: usize| {
        line.text.push(c);
        line.from.extend(std::iter::repeat_n(Span { start: at, end: at + c.len_utf8() }, c.len_utf8()));
    };
    while let Some((offset, c)) = letters.next() {
        if c == '\\' && letters.peek().is_none() {
            goes_on = true;
        } else if is_comment {
        } else if c == '\\' {
            let next = letters.next();
            let is_escape = !is_quoted && matches!(next, Some((_, '#' | '!')));
            if !is_escape {
                keep(c, at + offset);
            }
            if let Some((offset, next)) = next {
                keep(next, at + offset);
            }
        } else if !is_quoted && matches!(c, '#' | '!') {
            is_comment = true;
        } else {
            is_quoted ^= c == '"';
            keep(c, at + offset);
        }
    }
    (line, goes_on)
}

/// Is that a file of Keepalived's? Its first word says it, or a brace at the end of its first line.
pub(super) fn is_keepalived(text: &str, top: &[&str]) -> bool {
    for raw in text.lines() {
        if raw.trim_start().starts_with('!') {
            return true;
        }
        let (line, _) = without_comment(raw, 0, 0);
        let line = line.text.trim();
        let Some(first) = line.split([' ', '\t', '{']).next().filter(|first| !first.is_empty()) else {
            continue;
        };
        return top.contains(&first)
            || is_include(first)
            || first.starts_with('@')
            || definition(line).is_some();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn expand(text: &str, id: Option<&str>) -> Result<Vec<String>, String> {
        let mut sources = Sources::default();
        let file = sources.add("etc/k.conf", text.as_bytes(), Path::new("")).expect("text");
        match lines(&sources, file, id) {
            Ok(lines) => Ok(lines.into_iter().map(|line| line.text).collect()),
            Err(unreadable) => Err(format!("{}: {}", sources.line(unreadable.place), unreadable.message)),
        }
    }

    #[test]
    fn lines_are_what_keepalived_makes_of_them() {
        let cases: &[(&str, &[&str])] = &[
            ("! a\n# b\n  x y # c\nz \"#!\" ! d\n", &["x y", "z \"#!\""]),
            (r"a \# b \! c", &["a # b ! c"]),
            ("$A=1\n$B=${A}2\nx $A\ny ${B}3\nz $Ax $C ${D}\n", &["x 1", "y 123", "z $Ax $C ${D}"]),
            ("$A=\nx $A y\n", &["x  y"]),
            // Of the manual: what is put in is read when it is put in.
            ("$B=10.2.${S}\n$S=0\n${B}.1\n$S=10\n${B}.1\n", &["10.2.0.1", "10.2.10.1"]),
            (
                "$I= \\\n v_${N} { \\\n @low p 1 \\\n @high p 2 \\\n }\n$N=0\n$I\n$N=1\n$I\n",
                &["v_0 {", "p 1", "}", "v_1 {", "p 1", "}"],
            ),
            (
                "@low a\n@high b\n@^low c\n@^high d\n@high e {\n f\n}\ng\n$C=@low\n$C h\n",
                &["a", "d", "g", "h"],
            ),
            (
                "~SEQ(N, 0, 2) a ${N}\n~SEQx(N, 0x90, 0x10, 0xa0) b ${N}\n",
                &["a 0", "a 1", "a 2", "b 90", "b a0"],
            ),
            ("~SEQ(N, 2) ~SEQ(M, 3, -1, 2) ${N}.${M}\n", &["1.3", "1.2", "2.3", "2.2"]),
            ("~LST(A, x, y) ${A}\n~LST({A,B},{1,2},{3,4}) ${A}-${B}\n", &["x", "y", "1-2", "3-4"]),
            ("script ${_PWD}/a ${_HASH}b\n", &["script etc/a #b"]),
            ("a \\\n b\n", &["a", " b"]),
        ];
        for (text, expected) in cases {
            let found = expand(text, Some("low"));
            let found: Vec<_> = found.as_ref().expect(text).iter().map(|line| line.trim()).collect();
            let expected: Vec<_> = expected.iter().map(|line| line.trim()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn definitions_that_grow_without_end_are_refused_with_their_place() {
        for text in ["$A=${A}\nx $A\n", "$A=${B}\n$B=${A}\n\nx $A\n"] {
            let error = expand(text, None).expect_err(text);
            assert!(error.contains("definitions lead to each other"), "{text}: {error}");
        }
        let mut bomb = format!("$A0={}\n", "x".repeat(100));
        (1..40).for_each(|n| bomb.push_str(&format!("$A{n}=${{A{}}}${{A{}}}\n", n - 1, n - 1)));
        bomb.push_str("$A39\n");
        assert!(expand(&bomb, None).expect_err("a bomb").contains("4 MiB"));
        assert!(expand("~SEQ(A, 1, 0, 5) x\n", None).expect_err("endless").starts_with("etc/k.conf line 1"));
    }

    #[test]
    fn kinds_are_told_apart_by_their_first_words() {
        let top = ["global_defs", "vrrp_instance"];
        for (text, expected) in [
            ("# x\n\nglobal_defs {\n", true),
            ("vrrp_instance VI_1{\n", true),
            ("! Configuration\nglobal\n", true),
            ("@lb1 x\n", true),
            ("$A=1\n", true),
            ("include conf.d/*.conf\n", true),
            ("# x\nglobal\n daemon\n", false),
            ("", false),
            ("[global]\n", false),
        ] {
            assert_eq!(is_keepalived(text, &top), expected, "{text}");
        }
    }
}
