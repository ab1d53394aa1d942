//! Text into sections: `.if` and its like decided, variables put in, lines given to the section they stand in.

use super::{
    lexer::{self, Word},
    predicate,
    variables::Variables,
};
use crate::{config::diagnostic::Span, import::notes::Notes};

/// What a section is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Global,
    Defaults,
    Frontend,
    Backend,
    Listen,
    Userlist,
    Resolvers,
    HttpErrors,
    Mailers,
    /// One that we have nothing for.
    Other,
}

/// Every word that begins a section.
pub(super) const KINDS: &[(&str, Kind)] = &[
    ("global", Kind::Global),
    ("defaults", Kind::Defaults),
    ("frontend", Kind::Frontend),
    ("backend", Kind::Backend),
    ("listen", Kind::Listen),
    ("userlist", Kind::Userlist),
    ("resolvers", Kind::Resolvers),
    ("http-errors", Kind::HttpErrors),
    ("peers", Kind::Other),
    ("mailers", Kind::Mailers),
    ("program", Kind::Other),
    ("ring", Kind::Other),
    ("log-forward", Kind::Other),
    ("log-profile", Kind::Other),
    ("cache", Kind::Other),
    ("fcgi-app", Kind::Other),
    ("crt-store", Kind::Other),
    ("traces", Kind::Other),
    ("acme", Kind::Other),
    ("namespace_list", Kind::Other),
    ("healthcheck", Kind::Other),
];

/// Words of one line, as many as HAProxy takes.
const MOST_WORDS: usize = 64;

/// A line with at least one word.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) words: Vec<Word>,
}

/// A section as it stands in the file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// The line that begins it.
    pub(super) head: Line,
    pub(super) lines: Vec<Line>,
}

/// What makes the whole file unreadable: one place, one sentence.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) span: Span,
    pub(super) message: String,
}

impl Line {
    /// From its first word to its last.
    pub(super) fn span(&self) -> Span {
        let first = self.words.first().map_or(0, |word| word.span.start);
        Span { start: first, end: self.words.last().map_or(first, |word| word.span.end) }
    }

    pub(super) fn texts(&self) -> Vec<&str> {
        self.words.iter().map(|word| word.text.as_str()).collect()
    }
}

impl Section {
    /// What follows the first word, if anything does.
    pub(super) fn name(&self) -> Option<&Word> {
        self.head.words.get(1)
    }
}

/// Places of the words that are addresses and have a variable in them.
fn addresses(words: &[Word]) -> Vec<usize> {
    let text = |place: usize| words.get(place).map_or("", |word| word.text.as_str());
    let first = match (text(0), text(1)) {
        ("bind" | "log" | "source", _) => 1..2,
        ("server" | "peer" | "mailer" | "nameserver" | "server-template", _) | ("stats", "socket") => {
            2..words.len().min(4)
        }
        _ => 0..0,
    };
    let is_behind = |place: usize| place > 1 && matches!(text(place - 1), "source" | "addr");
    (1..words.len())
        .filter(|place| words[*place].text.contains('$') && (first.contains(place) || is_behind(*place)))
        .collect()
}

/// The sections of `text`, in its order.
pub(super) fn read(
    text: &str,
    mut variables: Variables<'_>,
    notes: &Notes<'_>,
) -> Result<Vec<Section>, Unreadable> {
    let mut sections: Vec<Section> = Vec::new();
    let mut blocks = Blocks::default();
    let mut start = 0;
    for raw in text.split_inclusive('\n') {
        let at = start;
        start += raw.len();
        let trimmed = raw.trim_start();
        if !blocks.is_active() && !trimmed.starts_with('.') {
            continue;
        }
        let lexed = lexer::words(raw.trim_end_matches(['\n', '\r']), at, &variables)
            .map_err(|error| Unreadable { span: error.span, message: error.message })?;
        if let Some(more) = lexed.words.get(MOST_WORDS) {
            let message = format!("the line has more than {MOST_WORDS} words, and HAProxy takes no more");
            return Err(Unreadable { span: more.span, message });
        }
        let mut unset = lexed.unset;
        let mut line = Line { words: lexed.words };
        for place in addresses(&line.words) {
            let word = &mut line.words[place];
            let (text, unknown) = variables.expanded(&word.text);
            unset.extend(unknown.into_iter().map(|text| Word { text, span: word.span }));
            word.text = text;
        }
        let Some(first) = line.words.first() else { continue };
        if let Some(word) = first.text.strip_prefix('.') {
            if blocks.step(word, &line, &variables)? {
                continue;
            }
            if blocks.is_active() {
                say(word, &line, notes);
            }
            continue;
        }
        for unset in unset {
            if Variables::is_of_haproxy(&unset.text) {
                let why = "HAProxy sets this variable itself; nothing does here, and it is taken for empty";
                notes.differ(unset.span, format!("`{}`: {why}", unset.text));
            } else {
                let why = "this variable is not set, and is taken for empty as HAProxy does; set it and import again";
                notes.advise(unset.span, format!("`{}`: {why}", unset.text));
            }
        }
        if let Some((_, kind)) = KINDS.iter().find(|(word, _)| *word == first.text) {
            variables.enter(line.words.get(1).map_or(first.text.as_str(), |name| &name.text));
            sections.push(Section { kind: *kind, head: line, lines: Vec::new() });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            return Err(Unreadable { span: first.span, message: stranger(&line, raw) });
        };
        if section.kind == Kind::Global {
            variables.change(&line.texts());
        }
        section.lines.push(line);
    }
    blocks.finish()?;
    if sections.is_empty() {
        let message = "no section begins in this file; one of HAProxy has `global`, `defaults`, `frontend`, `backend` or `listen`";
        return Err(Unreadable { span: Span { start: 0, end: 0 }, message: message.into() });
    }
    Ok(sections)
}

/// The first line of a file that is not HAProxy's.
fn stranger(line: &Line, raw: &str) -> String {
    const KEEPALIVED: [&str; 11] = [
        "!",
        "global_defs",
        "include",
        "net_namespace",
        "static_ipaddress",
        "static_routes",
        "virtual_server",
        "virtual_server_group",
        "vrrp_instance",
        "vrrp_script",
        "vrrp_sync_group",
    ];
    let first = line.words.first().map_or("", |word| word.text.as_str());
    if KEEPALIVED.contains(&first) {
        return "this is a file of keepalived, not of HAProxy; leave --from haproxy out".into();
    }
    if first.starts_with('[') {
        return "this is TOML, as our own files are; `lbctl check` reads it".into();
    }
    if raw.trim_end().ends_with(['{', ';']) {
        return "this is no file of HAProxy: it has neither braces nor semicolons at the end of lines".into();
    }
    let shown: String = first.chars().take(40).collect();
    let hint = crate::config::text::nearest(first, KINDS.iter().map(|(word, _)| *word));
    let hint = hint.map(|word| format!("; did you mean `{word}`?")).unwrap_or_default();
    format!(
        "`{}` stands before the first section; a file of HAProxy begins with one, as `global` or `defaults`{hint}",
        shown.escape_debug()
    )
}

/// `.notice` and its like.
fn say(word: &str, line: &Line, notes: &Notes<'_>) {
    let text = line.texts()[1..].join(" ");
    match word {
        "notice" | "warning" | "diag" => notes.advise(line.span(), format!("the file says: {text}")),
        "alert" => notes.lost(line.span(), format!("the file says, and HAProxy would not start: {text}")),
        _ => notes.lost(line.span(), format!("`.{word}` is not known; HAProxy would not start")),
    }
}

/// `.if` in `.if`.
#[derive(Debug, Default)]
struct Blocks {
    open: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    span: Span,
    state: State,
    /// Its `.else` was there.
    is_last: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Its lines count.
    Taken,
    /// None has counted yet.
    Waiting,
    /// Others have counted, or it stands in a block that doesn't.
    Over,
}

/// `.if` in each other: as many as HAProxy takes.
const DEEPEST: usize = 20;

impl Blocks {
    fn is_active(&self) -> bool {
        self.open.iter().all(|block| block.state == State::Taken)
    }

    /// `false` if the word is not about blocks.
    fn step(&mut self, word: &str, line: &Line, variables: &Variables<'_>) -> Result<bool, Unreadable> {
        let span = line.span();
        let wrong = |message: String| Unreadable { span, message };
        let condition = || {
            let text = line.texts()[1..].join(" ");
            predicate::evaluate(&text, variables).map_err(|why| wrong(format!("`.{word}`: {why}")))
        };
        let is_active = self.is_active();
        match word {
            "if" => {
                if self.open.len() >= DEEPEST {
                    return Err(wrong(format!("`.if` is nested more than {DEEPEST} times")));
                }
                let state = match is_active {
                    true if condition()? => State::Taken,
                    true => State::Waiting,
                    false => State::Over,
                };
                self.open.push(Block { span, state, is_last: false });
            }
            "elif" | "else" => {
                let Some(block) = self.open.last_mut().filter(|block| !block.is_last) else {
                    return Err(wrong(format!("this `.{word}` has no `.if`")));
                };
                block.is_last = word == "else";
                block.state = match block.state {
                    State::Waiting if word == "else" || condition()? => State::Taken,
                    State::Waiting => State::Waiting,
                    State::Taken | State::Over => State::Over,
                };
            }
            "endif" => {
                self.open.pop().ok_or_else(|| wrong("this `.endif` has no `.if`".into()))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Result<(), Unreadable> {
        match self.open.first() {
            None => Ok(()),
            Some(block) => Err(Unreadable {
                span: block.span,
                message: "this `.if` has no `.endif`; the file ends before it".into(),
            }),
        }
    }
}
