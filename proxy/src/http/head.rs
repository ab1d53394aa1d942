//! Heads of HTTP/1 messages: the start line and the field lines up to the empty one (RFC 9112 §2-5).
//!
//! Strict in: what the grammar does not allow is refused, nothing is repaired. A parsed head is spans into the bytes it
//! came from, kept in one fixed array, so that parsing allocates nothing. The parser has no memory of its own but
//! [`Progress`]: give it all bytes so far, again and again, until it says that the head is whole.
//!
//! ```text
//! bytes ──> lines (CRLF, limits) ──> start line ──> request::Head or response::Head
//!                               └──> field lines ─> Fields
//! ```
//! Lines are checked in their order, each as soon as it is whole, so the outcome does not depend on how the bytes
//! were split.

use memchr::memchr;

use self::name::Name;

pub(crate) mod locate;
pub mod malformed;
pub mod name;
pub mod request;
pub mod response;
pub(crate) mod scan;

pub use self::malformed::Malformed;
pub(crate) use self::scan::is_field_content;

/// Bytes in one line, without its CRLF.
pub const MAX_LINE: usize = 8 * 1024;

/// Bytes in a head, with every CRLF.
pub const MAX_HEAD: usize = 32 * 1024;

/// Field lines in a received head.
pub const MAX_FIELDS: usize = 100;

/// Field lines that rules may add to a head with [`MAX_FIELDS`].
const ADDED_FIELDS: usize = 28;

/// The protocol versions that are spoken.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2, whose heads are looked at as those of HTTP/1.1.
    Http2,
}

impl Version {
    /// As a start line has it.
    pub(crate) fn name(self) -> &'static [u8] {
        match self {
            Self::Http10 => b"HTTP/1.0",
            Self::Http11 => b"HTTP/1.1",
            Self::Http2 => b"HTTP/2.0",
        }
    }
}

/// How far an incomplete head was read. Start with the default for every message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Where the first line that is not whole yet begins.
    line: usize,
    /// No LF before this.
    searched: usize,
    /// Empty lines before the start line.
    empty_lines: usize,
    /// Whole lines: the start line and field lines.
    lines: usize,
}

impl Progress {
    /// Has a byte of the message itself come (empty lines before it don't count)?
    pub fn has_begun(&self, bytes: &[u8]) -> bool {
        self.lines > 0 || bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }
}

/// A place in the bytes of a head.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        // MAX_HEAD fits; lines beyond it never come here.
        let fit = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        Self { start: fit(start), end: fit(end) }
    }

    /// A place in bytes that are thought of as following those of the longest head: see [`Self::of_two`].
    pub(crate) fn behind(start: usize, end: usize) -> Self {
        Self::new(MAX_HEAD + start, MAX_HEAD + end)
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }

    /// The text in `bytes`, or in `behind` if it was made with [`Self::behind`].
    pub(crate) fn of_two<'b>(self, bytes: &'b [u8], behind: &'b [u8]) -> &'b [u8] {
        match (usize::from(self.start).checked_sub(MAX_HEAD), usize::from(self.end).checked_sub(MAX_HEAD)) {
            (Some(start), Some(end)) => behind.get(start..end).unwrap_or_default(),
            _ => self.of(bytes),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    id: Name,
    /// `name: value` and nothing else.
    is_canonical: bool,
    name: Span,
    value: Span,
}

impl Line {
    /// Of a whole one without its CRLF, which begins at `start` of the head's bytes and has its colon at `colon`.
    #[inline]
    fn new(line: &[u8], start: usize, colon: usize) -> Self {
        let (name, raw) = (&line[..colon], &line[colon + 1..]);
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let before = raw.iter().position(|byte| !is_space(byte)).unwrap_or(raw.len());
        let after = raw[before..].iter().rev().position(|byte| !is_space(byte)).unwrap_or(0);
        Self {
            id: Name::of(name),
            // The value may hold no more than itself: white space around it is not repeated.
            is_canonical: after == 0 && before == 1 && raw[0] == b' ',
            name: Span::new(start, start + colon),
            value: Span::new(start + colon + 1 + before, start + line.len() - after),
        }
    }

    /// A line that stands as we would write it, with its CRLF.
    pub(crate) fn canonical(id: Name, name: Span, value: Span) -> Self {
        Self { id, is_canonical: true, name, value }
    }

    /// Did it come with the head, rather than from an edit?
    pub(crate) fn is_received(&self) -> bool {
        self.edited_at().is_none()
    }

    /// Where it begins among the edits, if it came from one: what is later is further behind.
    pub(crate) fn edited_at(&self) -> Option<usize> {
        usize::from(self.name.start).checked_sub(MAX_HEAD)
    }

    pub(crate) fn field<'b>(&self, text: impl Fn(Span) -> &'b [u8]) -> Field<'b> {
        Field {
            id: self.id,
            name: text(self.name),
            value: text(self.value),
            canonical: self
                .is_canonical
                .then(|| text(Span { start: self.name.start, end: self.value.end + 2 })),
        }
    }
}

/// The field lines of a head, in their order: spans into its bytes.
#[derive(Debug)]
pub struct Fields {
    lines: [Line; MAX_FIELDS + ADDED_FIELDS],
    count: usize,
}

impl Default for Fields {
    fn default() -> Self {
        let empty =
            Line { id: Name::Other, is_canonical: false, name: Span::default(), value: Span::default() };
        Self { lines: [empty; MAX_FIELDS + ADDED_FIELDS], count: 0 }
    }
}

/// One field line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'b> {
    /// Which field, if it is one that means something to a proxy.
    pub id: Name,
    /// As the peer wrote it.
    pub name: &'b [u8],
    /// Without the white space around it.
    pub value: &'b [u8],
    /// The whole line with its CRLF, if the peer wrote it as we would: for one copy instead of four.
    pub canonical: Option<&'b [u8]>,
}

impl Fields {
    pub(crate) fn iter<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = Field<'b>> + Clone {
        self.lines().iter().map(move |line| line.field(|span| span.of(bytes)))
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines[..self.count]
    }

    /// False if there is no room.
    pub(crate) fn append(&mut self, line: Line) -> bool {
        let before = self.count;
        self.push(line);
        self.count > before
    }

    pub(crate) fn replace(&mut self, at: usize, line: Line) {
        self.lines[..self.count][at] = line;
    }

    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&Line) -> bool) {
        let mut kept = 0;
        for at in 0..self.count {
            if wanted(&self.lines[at]) {
                self.lines[kept] = self.lines[at];
                kept += 1;
            }
        }
        self.count = kept;
    }

    fn push(&mut self, line: Line) {
        if let Some(free) = self.lines.get_mut(self.count) {
            *free = line;
            self.count += 1;
        }
    }
}

/// What a start line is parsed to.
pub(crate) trait StartLine: Sized {
    /// Empty lines that are ignored before it.
    const EMPTY_LINES: usize;
    /// A start line that is longer than [`MAX_LINE`].
    const TOO_LONG: Malformed;

    /// `line` is without CRLF and begins at `start` of the head's bytes.
    fn parse(line: &[u8], start: usize) -> Result<Self, Malformed>;
}

/// Parses a head at the start of `bytes`: its start line and its length. `None` if more bytes are needed.
pub(crate) fn parse<L: StartLine>(
    bytes: &[u8],
    progress: &mut Progress,
    fields: &mut Fields,
) -> Result<Option<(L, usize)>, Malformed> {
    // Lines of earlier calls were checked but not kept: once the end is found all are parsed anew. A head that came
    // in one piece, which most do, is parsed once.
    let resumed = progress.lines > 0;
    let mut start_line = None;
    fields.count = 0;
    loop {
        let first = progress.lines == 0;
        if first && bytes.get(progress.line).is_some_and(|&byte| !is_token_byte(byte) && byte != b'\r') {
            return Err(if bytes[progress.line] == b'\n' { Malformed::BareLf } else { Malformed::StartLine });
        }
        let start = progress.line;
        // Not of a line of which a part was looked at before: it would be looked at from its start with each byte that comes.
        if !first
            && progress.searched <= start
            && let Some((line, end)) = whole_line(bytes, start)
        {
            if progress.lines > MAX_FIELDS {
                return Err(Malformed::TooManyFields);
            }
            fields.push(line);
            progress.lines += 1;
            (progress.line, progress.searched) = (end, end);
            continue;
        }
        let Some(line) = next_line::<L>(bytes, progress)? else { return Ok(None) };
        if line.is_empty() {
            if first {
                if progress.empty_lines == L::EMPTY_LINES {
                    return Err(Malformed::StartLine);
                }
                progress.empty_lines += 1;
                continue;
            }
            break;
        }
        if first {
            start_line = Some(L::parse(line, start)?);
        } else {
            if progress.lines > MAX_FIELDS {
                return Err(Malformed::TooManyFields);
            }
            fields.push(field_line(line, start, progress.lines == 1)?);
        }
        progress.lines += 1;
    }
    let length = progress.line;
    if resumed {
        *progress = Progress::default();
        return parse(&bytes[..length], progress, fields);
    }
    Ok(start_line.map(|line| (line, length)))
}

/// The next whole line, without its CRLF.
fn next_line<'b, L: StartLine>(
    bytes: &'b [u8],
    progress: &mut Progress,
) -> Result<Option<&'b [u8]>, Malformed> {
    let start = progress.line;
    let end_by_line = start + MAX_LINE + 2;
    let end = end_by_line.min(MAX_HEAD);
    let window = &bytes[..bytes.len().min(end)];
    let from = progress.searched.max(start).min(window.len());
    match memchr(b'\n', &window[from..]) {
        Some(at) => {
            let at = from + at;
            if at == start || window[at - 1] != b'\r' {
                return Err(Malformed::BareLf);
            }
            progress.line = at + 1;
            progress.searched = at + 1;
            Ok(Some(&window[start..at - 1]))
        }
        None if window.len() < end => {
            progress.searched = window.len();
            Ok(None)
        }
        None if end_by_line > MAX_HEAD => Err(Malformed::HeadTooLarge),
        None if progress.lines == 0 => Err(L::TOO_LONG),
        None => Err(Malformed::LineTooLong),
    }
}

/// The field line at `start` and where the next one begins, if it is whole and fine: in one pass, since the first byte of a
/// value that is no field content has to be its end. What is wrong with it, or missing, is for those that look at it in steps.
fn whole_line(bytes: &[u8], start: usize) -> Option<(Line, usize)> {
    let window = &bytes[start..bytes.len().min(start + MAX_LINE + 2).min(MAX_HEAD)];
    let colon = scan::token_end(window);
    if colon == 0 || window.get(colon) != Some(&b':') {
        return None;
    }
    let end = colon + 1 + scan::first_control(&window[colon + 1..])?;
    let behind = window[end..].strip_prefix(b"\r\n")?;
    Some((Line::new(&window[..end], start, colon), start + window.len() - behind.len()))
}

fn field_line(line: &[u8], start: usize, first: bool) -> Result<Line, Malformed> {
    if matches!(line[0], b' ' | b'\t') {
        // RFC 9112 §2.2 for the first line after the start line, §5.2 for any later one.
        return Err(if first { Malformed::LeadingSpace } else { Malformed::ObsoleteFold });
    }
    // One pass over the name: it ends where the token ends, which has to be at the colon.
    let colon = scan::token_end(line);
    if colon == 0 || line.get(colon) != Some(&b':') {
        return Err(name_fault(line));
    }
    // A token has nothing in it that is no field content.
    if !is_field_content(&line[colon + 1..]) {
        return Err(Malformed::FieldValue);
    }
    Ok(Line::new(line, start, colon))
}

/// What is wrong with a line whose token does not end at a colon.
#[cold]
fn name_fault(line: &[u8]) -> Malformed {
    match line.iter().position(|&byte| byte == b':') {
        None => Malformed::NoColon,
        Some(colon) if matches!(line[..colon].last(), Some(b' ' | b'\t')) => Malformed::SpaceBeforeColon,
        Some(_) => Malformed::FieldName,
    }
}

/// Checks one trailer field line (RFC 9112 §7.1.2), which has the form of a field line.
pub(crate) fn trailer_name(line: &[u8]) -> Result<Name, Malformed> {
    field_line(line, 0, false).map(|line| line.id)
}

/// RFC 9110 §5.6.2: `token`, at least one byte.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().fold(true, |token, &byte| token & is_token_byte(byte))
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    const TOKEN: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte: u8 = 0;
        while byte < 128 {
            table[byte as usize] = byte.is_ascii_alphanumeric()
                || matches!(
                    byte,
                    b'!' | b'#'
                        | b'$'
                        | b'%'
                        | b'&'
                        | b'\''
                        | b'*'
                        | b'+'
                        | b'-'
                        | b'.'
                        | b'^'
                        | b'_'
                        | b'`'
                        | b'|'
                        | b'~'
                );
            byte += 1;
        }
        table
    };
    TOKEN[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Start;

    impl StartLine for Start {
        const EMPTY_LINES: usize = 0;
        const TOO_LONG: Malformed = Malformed::RequestLineTooLong;

        fn parse(_: &[u8], _: usize) -> Result<Self, Malformed> {
            Ok(Self)
        }
    }

    /// In one pass wherever that takes a line, and in steps alone.
    fn both(bytes: &[u8]) -> [String; 2] {
        let [mut whole, mut steps] = [Progress { lines: 1, ..Progress::default() }; 2];
        let in_steps = match next_line::<Start>(bytes, &mut steps) {
            Ok(Some(line)) if !line.is_empty() => field_line(line, 0, false).map(Some),
            Ok(_) => Ok(None),
            Err(malformed) => Err(malformed),
        };
        let in_one = match whole_line(bytes, 0) {
            Some((line, end)) => {
                (whole.line, whole.searched) = (end, end);
                Ok(Some(line))
            }
            None => {
                whole = steps;
                in_steps
            }
        };
        [format!("{in_one:?} {whole:?}"), format!("{in_steps:?} {steps:?}")]
    }

    #[test]
    fn lines_are_the_same_in_one_pass_as_in_steps() {
        let lines: [&[u8]; 5] = [
            b"Content-Type: text/html; charset=utf-8\r\nA: b\r\n",
            b"x_2-abcdefghijklmno:\t a  b\t \r\n\r\n",
            b"A:\r\n",
            b"A: \r\nB: c",
            b"\r\n",
        ];
        let mut taken = 0;
        for line in lines {
            for at in 0..line.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = line.to_vec();
                    bytes[at] = byte;
                    let [whole, steps] = both(&bytes);
                    assert_eq!(whole, steps, "{bytes:?}");
                    taken += usize::from(whole_line(&bytes, 0).is_some());
                }
                let [whole, steps] = both(&line[..at]);
                assert_eq!(whole, steps, "the first {at} of {line:?}");
            }
        }
        assert!(taken > 5_000, "{taken} lines were read in one pass");
        for length in MAX_LINE - 4..MAX_LINE + 4 {
            let [whole, steps] = both(format!("A: {}\r\n", "b".repeat(length)).as_bytes());
            assert_eq!(whole, steps, "a value of {length} bytes");
        }
    }
}
