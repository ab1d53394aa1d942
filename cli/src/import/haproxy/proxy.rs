//! A `defaults`, `frontend`, `backend` or `listen` while its lines are read. What needs other sections waits until all of
//! them are there: see `finish`.

use super::{
    alerts::{self, Alerts},
    directive::{Directive, Done, Fault, shown},
    lexer::Word,
    section::{Kind, Line, Section},
    table::{self, How, Known, Row},
};
use crate::{
    config::{diagnostic::Span, text},
    import::notes::Notes,
};

mod answers;
mod balance;
mod bind;
mod check;
mod limits;
mod logs;
mod old;
mod options;
mod parameter;
mod persistence;
mod rules;
mod server;
mod server_tls;
mod source;
mod statistics;
mod timeouts;
mod tls;
mod transfer;

pub(super) use self::{
    answers::{ErrorPage, Monitor, Pages},
    bind::{Address, Bind, owners, tls_options},
    check::Checks,
    logs::{Captured, Captures, Log, Logs, Style, target as log_target},
    options::{Forwarded, Keepalive},
    persistence::{Cookie, StickTable},
    rules::RuleLine,
    server::{Server, Shared, tls_options as server_tls_options},
    server_tls::OF_SYSTEM,
    statistics::Statistics,
    tls::{Certificates, Tls, Version},
};
use super::keys::Keys;

/// What all of it is kept in until it is written.
#[derive(Clone, Debug)]
pub(super) struct Proxy {
    pub(super) kind: Kind,
    /// In our file.
    pub(super) name: String,
    /// Its name, or the word that begins it.
    pub(super) span: Span,
    pub(super) keys: Keys,
    pub(super) binds: Vec<Bind>,
    pub(super) servers: Vec<Server>,
    /// Parameters of all servers that follow.
    pub(super) default_server: Vec<Word>,
    /// The words of each `acl`, behind it.
    pub(super) acls: Vec<Vec<Word>>,
    pub(super) rules: Vec<RuleLine>,
    pub(super) pages: Vec<Pages>,
    pub(super) monitor: Monitor,
    pub(super) checks: Checks,
    pub(super) cookie: Option<Cookie>,
    pub(super) stick_table: Option<StickTable>,
    pub(super) default_backend: Option<Word>,
    /// `option forwardfor` that is more than our key.
    pub(super) forwarded: Option<Forwarded>,
    /// Towards clients, and towards servers.
    pub(super) keepalive: [Keepalive; 2],
    pub(super) unique_id: [Option<Word>; 2],
    pub(super) logs: Logs,
    pub(super) statistics: Statistics,
    compression: transfer::Compression,
    pub(super) alerts: Alerts,
    pub(super) is_disabled: bool,
    /// Lines that are not in our file.
    pub(super) lost: Vec<Span>,
}

/// Every table of words, by topic.
const TABLES: [(&str, &[Row<Proxy>]); 14] = [
    ("Sections", limits::ROWS),
    ("Timeouts", timeouts::ROWS),
    ("Servers and balancing", balance::ROWS),
    ("Addresses of ours", source::ROWS),
    ("Checks", check::ROWS),
    ("Persistence", persistence::ROWS),
    ("Options", options::ROWS),
    ("Transfer", transfer::ROWS),
    ("Answers", answers::ROWS),
    ("Rules", rules::ROWS),
    ("Logs", logs::ROWS),
    ("Statistics", statistics::ROWS),
    ("Mail", alerts::ROWS),
    ("Old words", old::ROWS),
];

/// What the book prints: the topics, then the words within lines.
pub(super) fn known() -> Vec<(&'static str, Vec<Known>)> {
    let mut all: Vec<_> =
        TABLES.iter().map(|(topic, rows)| (*topic, rows.iter().map(|row| row.known).collect())).collect();
    all.push(("Parameters of bind", bind::PARAMETERS.iter().map(|parameter| parameter.row.known).collect()));
    all.push((
        "Parameters of server",
        server::PARAMETERS.iter().map(|parameter| parameter.row.known).collect(),
    ));
    all
}

impl Proxy {
    /// An empty one, as HAProxy begins with: every default that is not ours is there.
    pub(super) fn new(kind: Kind, name: String, span: Span) -> Self {
        let mut keys = Keys::default();
        limits::assume(&mut keys);
        options::assume(&mut keys);
        Self {
            kind,
            name,
            span,
            keys,
            binds: Vec::new(),
            servers: Vec::new(),
            default_server: Vec::new(),
            acls: Vec::new(),
            rules: Vec::new(),
            pages: Vec::new(),
            monitor: Monitor::default(),
            checks: Checks::default(),
            cookie: None,
            stick_table: None,
            default_backend: None,
            forwarded: None,
            keepalive: Default::default(),
            unique_id: [None, None],
            logs: Logs::default(),
            statistics: Statistics::default(),
            compression: transfer::Compression::default(),
            alerts: Alerts::default(),
            is_disabled: false,
            lost: Vec::new(),
        }
    }

    /// One that begins with what a `defaults` section says.
    pub(super) fn from_defaults(defaults: &Self, kind: Kind, name: String, span: Span) -> Self {
        Self { kind, name, span, lost: Vec::new(), ..defaults.clone() }
    }

    /// Leaves of a `disabled` section what those get who are led to it.
    pub(super) fn empty(&mut self) {
        let empty = Self::new(Kind::Backend, self.name.clone(), self.span);
        *self = Self { keys: self.keys.clone(), is_disabled: true, ..empty };
    }

    pub(super) fn is_http(&self) -> bool {
        self.keys.is_text("mode", "http")
    }

    pub(super) fn is_frontend(&self) -> bool {
        matches!(self.kind, Kind::Frontend | Kind::Listen)
    }

    pub(super) fn is_backend(&self) -> bool {
        matches!(self.kind, Kind::Backend | Kind::Listen)
    }

    /// Takes the lines of a section in.
    pub(super) fn read(&mut self, section: &Section, notes: &Notes<'_>) {
        bind::read_head(self, section, notes);
        // Conditions may stand before the lists that they name.
        let is_acl = |line: &&Line| line.words.first().is_some_and(|word| word.text == "acl");
        for line in section.lines.iter().filter(is_acl) {
            self.acls.push(line.words[1..].to_vec());
        }
        for line in section.lines.iter().filter(|line| !is_acl(line)) {
            self.line(line, notes);
        }
        // Those of `defaults` wait for whoever takes them.
        for acl in self.acls.iter().filter(|_| self.kind != Kind::Defaults) {
            let Some(name) = acl.first() else { continue };
            let is_own = section.head.span().start < name.span.start;
            let uses = |line: &RuleLine| {
                line.arguments.iter().any(|word| word.text.trim_start_matches('!') == name.text)
            };
            let mut lines = self.rules.iter().chain(&self.monitor.fail).chain(&self.statistics.rules);
            if is_own && !lines.any(uses) {
                notes.advise(name.span, format!("nothing asks `acl {}`: it is left out", shown(&name.text)));
            }
        }
    }

    fn line(&mut self, line: &Line, notes: &Notes<'_>) {
        let first = line.words.first().map_or("", |word| word.text.as_str());
        let turned = matches!(first, "no" | "default") && line.words.len() > 1;
        let words = &line.words[usize::from(turned)..];
        if words.len() > 1 && words[0].text == "stats" && words[1].text == "auth" {
            // A name and a password.
            words[2..].iter().for_each(|word| notes.hide(word.span));
        }
        let tables = TABLES.map(|(_, rows)| rows);
        let Some((row, count)) = table::find(&tables, words) else {
            self.lost.push(line.span());
            notes.lost(line.span(), unknown(words, &tables));
            return;
        };
        let keyword = words[..count].iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        let directive = Directive {
            span: line.span(),
            keyword: &keyword,
            arguments: &words[count..],
            negated: turned && first == "no",
            notes,
        };
        let letter = match self.kind {
            Kind::Defaults => 'd',
            Kind::Frontend => 'f',
            Kind::Listen => 'l',
            _ => 'b',
        };
        if !row.sections.contains(letter) {
            let message = format!("`{keyword}` has no effect in a `{}`: it is left out", word(self.kind));
            directive.advise(message);
            return;
        }
        // `default option x` undoes what a `defaults` says; what it undoes it to is HAProxy's own.
        let result = match &row.how {
            _ if turned && first == "default" => Err("`default` before a word: write what is meant".into()),
            How::By(convert) => convert(self, &directive),
            How::Needless if turned => Ok(()),
            How::Missing if turned => Ok(()),
            How::Needless => {
                directive.advise(format!("`{keyword}` is left out: {}", row.known.note));
                Ok(())
            }
            How::Missing => Err(format!("`{keyword}`: {}", row.known.note).into()),
        };
        if let Err(fault) = result {
            self.lose(line.span(), fault, notes);
        }
    }

    /// A line that is not in our file.
    pub(super) fn lose(&mut self, line: Span, fault: Fault, notes: &Notes<'_>) {
        self.lost.push(line);
        notes.lost(fault.span.unwrap_or(line), fault.why);
    }
}

/// The word of a kind.
pub(super) fn word(kind: Kind) -> &'static str {
    super::section::KINDS.iter().find(|(_, known)| *known == kind).map_or("section", |(word, _)| word)
}

fn unknown(words: &[Word], tables: &[&[Row<Proxy>]]) -> String {
    let names = || tables.iter().flat_map(|table| table.iter()).flat_map(|row| row.known.name.split(", "));
    let first = words.first().map_or("", |word| word.text.as_str());
    let two = words.iter().take(2).map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let is_first = names().any(|name| name.split(' ').next() == Some(first) && name.contains(' '));
    let written = if is_first { two.as_str() } else { first };
    let hint =
        text::nearest(written, names()).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    format!("`{}` is no word of HAProxy's that is known here{hint}", shown(written))
}

/// Where the words of a line take a condition, those before it and those of it, with its first word.
pub(super) fn split_condition(words: &[Word]) -> (&[Word], &[Word]) {
    let at = words.iter().position(|word| word.text == "if" || word.text == "unless");
    words.split_at(at.unwrap_or(words.len()))
}

/// For rows whose whole work is to keep the line until all sections are there.
fn keep_rule(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    proxy.rules.push(RuleLine::new(directive));
    Ok(())
}
