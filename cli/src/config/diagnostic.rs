//! What is wrong with a file, and how it is shown: place, line, carets, what was expected, what to write instead.
//!
//! A `Report` collects while a file is read; [`Diagnostics`] is the finished list with the text it speaks of.

mod secrets;

use std::{
    cell::{Cell, RefCell},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Byte offsets into the file, start included, end not.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One after the last byte.
    pub end: usize,
}

/// How grave it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Severity {
    /// The file can't be used.
    Error,
    /// The file works, and the operator should know.
    Warning,
    /// The file works, and something that it names is out of date: a node runs with it, and `check` fails.
    Stale,
}

/// One thing to say about the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// Where; `None` speaks of the file as a whole.
    pub span: Option<Span>,
    /// One sentence without a full stop: what is wrong; what to write instead.
    pub message: String,
}

/// Everything there is to say about one file. `Display` is the report, without the closing count.
#[derive(Clone)]
pub struct Diagnostics {
    file: String,
    text: Arc<str>,
    lines: Lines,
    list: Vec<Diagnostic>,
    omitted: Omitted,
    /// What is not shown of the text.
    hidden: Vec<Span>,
}

/// More than this is not read by anybody, and a file that is something else altogether has thousands.
const MOST_SHOWN: usize = 200;

/// What was found beyond [`MOST_SHOWN`].
#[derive(Clone, Copy, Debug, Default)]
struct Omitted {
    errors: usize,
    warnings: usize,
}

/// Collects diagnostics while the text is read and converted.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    text: &'a str,
    list: RefCell<Vec<Diagnostic>>,
    omitted: Cell<Omitted>,
    hidden: RefCell<Vec<Span>>,
    /// Files that were read beside this one.
    files: RefCell<Vec<PathBuf>>,
    has_certificates: bool,
    most: usize,
    lines: Lines,
}

impl<'a> Report<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self::with_limit(text, MOST_SHOWN)
    }

    /// One that shows up to `most`.
    pub(crate) fn with_limit(text: &'a str, most: usize) -> Self {
        Self {
            text,
            list: RefCell::default(),
            omitted: Cell::default(),
            hidden: RefCell::default(),
            files: RefCell::default(),
            has_certificates: true,
            most,
            lines: Lines::of(text),
        }
    }

    /// Certificates that the file names are not here.
    pub(crate) fn without_certificates(self) -> Self {
        Self { has_certificates: false, ..self }
    }

    /// Are certificates that the file names to be read?
    pub(crate) fn has_certificates(&self) -> bool {
        self.has_certificates
    }

    pub(crate) fn error(&self, span: Span, message: impl Into<String>) {
        self.add(Severity::Error, Some(span), message.into());
    }

    pub(crate) fn warning(&self, span: Span, message: impl Into<String>) {
        self.add(Severity::Warning, Some(span), message.into());
    }

    /// See [`Severity::Stale`].
    pub(crate) fn stale(&self, span: Span, message: impl Into<String>) {
        self.add(Severity::Stale, Some(span), message.into());
    }

    /// About the file as a whole.
    pub(crate) fn file_error(&self, message: impl Into<String>) {
        self.add(Severity::Error, None, message.into());
    }

    /// About the file as a whole.
    pub(crate) fn file_warning(&self, message: impl Into<String>) {
        self.add(Severity::Warning, None, message.into());
    }

    /// It was read because the file names it.
    pub(crate) fn note_file(&self, path: &Path) {
        self.files.borrow_mut().push(path.to_owned());
    }

    pub(crate) fn take_files(&self) -> Vec<PathBuf> {
        self.files.take()
    }

    /// What stands there may be a secret: no report shows it.
    pub(crate) fn hide(&self, span: Span) {
        self.hidden.borrow_mut().push(span);
    }

    /// Hides what stands in `[users.*]` of a file of ours.
    pub(crate) fn hide_users(&self) {
        self.hidden.borrow_mut().extend(secrets::of_users(self.text));
    }

    /// Is what stands there hidden? Then no message repeats it.
    pub(crate) fn is_hidden(&self, span: Span) -> bool {
        self.hidden.borrow().iter().any(|hidden| (hidden.start..hidden.end).contains(&span.start))
    }

    pub(crate) fn has_errors(&self) -> bool {
        let error = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error;
        self.omitted.get().errors > 0 || self.list.borrow().iter().any(error)
    }

    /// What the file has at `span`.
    pub(crate) fn source(&self, span: Span) -> &'a str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    /// The line that `span` begins in, without the white space around it; what is hidden is stars.
    pub(crate) fn line_text(&self, span: Span) -> String {
        without(&self.hidden.borrow(), &self.lines.place(self.text, span.start)).trim().to_owned()
    }

    /// The line of `span`, counted from 1.
    pub(crate) fn line(&self, span: Span) -> usize {
        self.lines.place(self.text, span.start).line
    }

    /// Line and column of `span`, counted from 1.
    pub(crate) fn place(&self, span: Span) -> (usize, usize) {
        let place = self.lines.place(self.text, span.start);
        (place.line, place.column)
    }

    /// In the order of the file; what concerns the whole file comes last.
    pub(crate) fn finish(self, file: &str) -> Diagnostics {
        let mut list = self.list.into_inner();
        list.sort_by_key(|diagnostic| diagnostic.span.map_or(usize::MAX, |span| span.start));
        Diagnostics {
            file: file.to_owned(),
            text: self.text.into(),
            lines: self.lines,
            list,
            omitted: self.omitted.get(),
            hidden: self.hidden.into_inner(),
        }
    }

    /// Nothing more will be shown.
    pub(crate) fn is_full(&self) -> bool {
        self.list.borrow().len() >= self.most
    }

    fn add(&self, severity: Severity, span: Option<Span>, message: String) {
        let diagnostic = Diagnostic { severity, span, message };
        if self.is_full() {
            let mut omitted = self.omitted.get();
            match severity {
                Severity::Error => omitted.errors += 1,
                Severity::Warning | Severity::Stale => omitted.warnings += 1,
            }
            self.omitted.set(omitted);
            return;
        }
        let mut list = self.list.borrow_mut();
        if !list.contains(&diagnostic) {
            list.push(diagnostic);
        }
    }
}

impl Diagnostics {
    /// One error about a file that could not even be read as text.
    pub(crate) fn unreadable(file: &str, message: impl Into<String>) -> Self {
        let list = vec![Diagnostic { severity: Severity::Error, span: None, message: message.into() }];
        let lines = Lines::of("");
        Self {
            file: file.to_owned(),
            text: "".into(),
            lines,
            list,
            omitted: Omitted::default(),
            hidden: Vec::new(),
        }
    }

    /// In the order of the file; at most the first 200.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// One line for each, with its place and without the excerpt: for a log.
    pub fn headlines(&self) -> impl Iterator<Item = String> {
        self.list.iter().map(|diagnostic| match diagnostic.span {
            None => format!("{}: {}", self.file, diagnostic.message),
            Some(span) => {
                let place = self.lines.place(&self.text, span.start);
                format!("{}:{}:{}: {}", self.file, place.line, place.column, diagnostic.message)
            }
        })
    }

    /// Nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors.
    pub fn errors(&self) -> usize {
        self.count(Severity::Error) + self.omitted.errors
    }

    /// How many things are out of date, among those that are shown.
    pub fn stale(&self) -> usize {
        self.count(Severity::Stale)
    }

    /// How many warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning) + self.omitted.warnings
    }

    /// `2 errors, 1 warning`.
    pub fn summary(&self) -> String {
        Self::summary_of(std::slice::from_ref(self))
    }

    /// The same of several files together; empty if there is nothing to say.
    pub fn summary_of(all: &[Self]) -> String {
        let plural = |count, noun| match count {
            0 => None,
            1 => Some(format!("1 {noun}")),
            _ => Some(format!("{count} {noun}s")),
        };
        let sum = |count: fn(&Self) -> usize| all.iter().map(count).sum();
        let parts = [plural(sum(Self::errors), "error"), plural(sum(Self::warnings), "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }
}

impl std::error::Error for Diagnostics {}

/// The report would repeat the file; a failed assertion shows the report itself.
impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.list {
            let Diagnostic { severity, span, message } = diagnostic;
            let label = if *severity == Severity::Warning { "warning: " } else { "" };
            let Some(span) = span else {
                writeln!(f, "{}: {label}{message}", self.file)?;
                continue;
            };
            let place = self.lines.place(&self.text, span.start);
            writeln!(f, "{}:{}:{}: {label}{message}", self.file, place.line, place.column)?;
            let line = without(&self.hidden, &place);
            let (shown, skip, carets) = excerpt(&line, place.column - 1, self.width(*span, &place));
            writeln!(f, "{:>5} | {shown}", place.line)?;
            writeln!(f, "{:>5} | {:skip$}{}", "", "", "^".repeat(carets))?;
        }
        let more = self.omitted.errors + self.omitted.warnings;
        if more > 0 {
            writeln!(f, "{}: and {more} more like these", self.file)?;
        }
        Ok(())
    }
}

impl Diagnostics {
    /// Carets for `span`: its characters on its first line, at least one.
    fn width(&self, span: Span, place: &Place<'_>) -> usize {
        let source = self.text.get(span.start..span.end).unwrap_or_default();
        let on_line = source.lines().next().unwrap_or_default().chars().count();
        let left = place.text.chars().count().saturating_sub(place.column - 1);
        on_line.min(left).max(1)
    }
}

/// The line of a place; what is hidden is stars.
fn without(hidden: &[Span], place: &Place<'_>) -> String {
    let is_hidden = |at: usize| hidden.iter().any(|span| (span.start..span.end).contains(&at));
    let shown = |(at, character)| if is_hidden(place.start + at) { '*' } else { character };
    place.text.char_indices().map(shown).collect()
}

/// Where a byte is, in lines and characters from 1.
struct Place<'a> {
    /// The first byte of the line.
    start: usize,
    line: usize,
    column: usize,
    text: &'a str,
}

/// Where the lines of a text begin: a long report about a long file asks for each of its places.
#[derive(Clone, Debug)]
struct Lines(Arc<[usize]>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn place<'t>(&self, text: &'t str, offset: usize) -> Place<'t> {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.0.partition_point(|start| *start <= offset);
        let start = self.0.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let rest = &text[start..];
        let end = rest.find('\n').unwrap_or(rest.len());
        Place {
            start,
            line,
            column: text[start..offset].chars().count() + 1,
            text: rest[..end].trim_end_matches('\r'),
        }
    }
}

/// The longest line that is shown whole, in characters.
const LINE_LIMIT: usize = 140;

/// What is shown of a line, how far the carets are indented, and how many there are. A long line is cut around them;
/// control characters, which a terminal would obey, are shown as `?`.
fn excerpt(line: &str, column: usize, width: usize) -> (String, usize, usize) {
    let clean = |c: char| match c {
        '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    };
    let length = line.chars().count();
    if length <= LINE_LIMIT {
        return (line.chars().map(clean).collect(), column, width);
    }
    let first = column.saturating_sub(LINE_LIMIT / 3);
    let mut shown: String = line.chars().skip(first).take(LINE_LIMIT).map(clean).collect();
    let mut indent = column - first;
    if first > 0 {
        shown.insert_str(0, "...");
        indent += 3;
    }
    if first + LINE_LIMIT < length {
        shown.push_str("...");
    }
    (shown, indent, width.min(first + LINE_LIMIT - column))
}
