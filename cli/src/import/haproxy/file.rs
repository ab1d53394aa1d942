//! All sections of a file: who takes whose defaults, and what each is called with us.

use super::{
    alerts::Mailers,
    directive::{Fault, shown},
    global::Global,
    lexer::Word,
    proxy::{self, Proxy},
    section::{Kind, Line, Section},
    track,
    users::Userlist,
};
use crate::{
    config::{diagnostic::Span, text},
    import::{clean, lines_of, notes::Notes, unique},
};

/// The file, read and not yet put together.
#[derive(Debug)]
pub(super) struct File {
    pub(super) global: Global,
    /// The first is HAProxy's own.
    pub(super) defaults: Vec<Proxy>,
    pub(super) proxies: Vec<Member>,
    pub(super) error_groups: Vec<ErrorGroup>,
    pub(super) userlists: Vec<Userlist>,
    pub(super) mailers: Vec<Mailers>,
    /// What lines lead to, as they name it.
    led_to: Vec<String>,
    /// The names of all sections, so that none is given to another.
    written: Vec<String>,
}

/// A section that serves, and the place of its defaults.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) proxy: Proxy,
    pub(super) defaults: usize,
    /// Its own lines.
    pub(super) range: Span,
    /// HAProxy's name for it.
    pub(super) written: String,
}

/// `http-errors`
#[derive(Debug)]
pub(super) struct ErrorGroup {
    pub(super) name: String,
    pub(super) pages: Vec<proxy::ErrorPage>,
}

impl File {
    pub(super) fn read(sections: &[Section], notes: &Notes<'_>) -> Self {
        let origin = Span { start: 0, end: 0 };
        let mut file = Self {
            global: Global::default(),
            defaults: vec![Proxy::new(Kind::Defaults, String::new(), origin)],
            proxies: Vec::new(),
            error_groups: Vec::new(),
            userlists: Vec::new(),
            mailers: Vec::new(),
            led_to: sections.iter().flat_map(|section| &section.lines).filter_map(target).collect(),
            written: sections.iter().filter_map(Section::name).map(|name| name.text.clone()).collect(),
        };
        for section in sections {
            file.section(section, notes);
        }
        file.global.finish(notes);
        track::resolve(&mut file.proxies, notes);
        file
    }

    fn section(&mut self, section: &Section, notes: &Notes<'_>) {
        match section.kind {
            Kind::Global => self.global.read(section, notes),
            Kind::Resolvers => self.global.read_resolvers(section, notes),
            Kind::HttpErrors => self.read_errors(section, notes),
            Kind::Defaults => self.read_defaults(section, notes),
            Kind::Frontend | Kind::Backend | Kind::Listen => self.read_proxy(section, notes),
            Kind::Userlist => match heading(section).0 {
                Some(name) => self.userlists.push(Userlist::read(name, section, notes)),
                None => notes.lost(section.head.span(), "a `userlist` has a name"),
            },
            Kind::Mailers => match heading(section).0 {
                Some(name) => self.mailers.push(Mailers::read(name, section, notes)),
                None => notes.lost(section.head.span(), "`mailers` have a name"),
            },
            Kind::Other => {
                let word = section.head.words.first().map_or("", |word| word.text.as_str());
                let why = match word {
                    "peers" => "each node has tables of its own",
                    "program" => "no program is started; systemd does that",
                    "ring" | "log-forward" | "log-profile" => {
                        "lines of others are not taken in, and formats are those of `log_format`"
                    }
                    "cache" => "nothing is cached",
                    "fcgi-app" => "there is no FastCGI",
                    "crt-store" => "certificates are named where they are used, with `crt`",
                    "acme" => "nobody is asked for certificates; certbot does it",
                    _ => "there is nothing like it here",
                };
                notes.lost(section.head.span(), format!("`{word}`: {why}{}", lines(section, notes)));
            }
        }
    }

    /// `defaults [NAME] [from OTHER]`
    fn read_defaults(&mut self, section: &Section, notes: &Notes<'_>) {
        let (name, from) = heading(section);
        let base = from.and_then(|from| self.find_defaults(from, notes)).unwrap_or(0);
        let name = name.map(|name| name.text.clone()).unwrap_or_default();
        let mut proxy = Proxy::from_defaults(&self.defaults[base], Kind::Defaults, name, section.head.span());
        proxy.read(section, notes);
        self.defaults.push(proxy);
    }

    fn find_defaults(&self, from: &Word, notes: &Notes<'_>) -> Option<usize> {
        let found = self
            .defaults
            .iter()
            .rposition(|defaults| !defaults.name.is_empty() && defaults.name == from.text);
        if found.is_none() {
            notes.lost(from.span, format!("no `defaults` is called `{}`", shown(&from.text)));
        }
        found
    }

    fn read_proxy(&mut self, section: &Section, notes: &Notes<'_>) {
        let (name, from) = heading(section);
        let Some(name) = name else {
            notes.lost(section.head.span(), format!("a `{}` has a name", proxy::word(section.kind)));
            return;
        };
        let last = self.defaults.len() - 1;
        let defaults = from.and_then(|from| self.find_defaults(from, notes)).unwrap_or(last);
        let mut proxy =
            Proxy::from_defaults(&self.defaults[defaults], section.kind, String::new(), name.span);
        let twin = self.proxies.iter().find(|other| {
            let shares = (other.proxy.is_frontend() && proxy.is_frontend())
                || (other.proxy.is_backend() && proxy.is_backend());
            other.written == name.text && shares
        });
        if let Some(twin) = twin {
            let line = notes.line(twin.proxy.span);
            notes.lost(
                name.span,
                format!(
                    "`{}` is the name of the section in line {line}, too; this one is left out",
                    shown(&name.text)
                ),
            );
            return;
        }
        proxy.name = self.our_name(&name.text, &proxy);
        if proxy.name != name.text {
            notes.advise(
                name.span,
                format!(
                    "`{}` is called `{}` in our file: names are letters, digits, `-`, `_` and `.`",
                    shown(&name.text),
                    proxy.name
                ),
            );
        }
        proxy.read(section, notes);
        let end = section.lines.last().map_or(section.head.span().end, |line| line.span().end);
        let range = Span { start: section.head.span().start, end };
        let is_led_to =
            proxy.is_backend() && self.led_to.iter().any(|other| *other == name.text || other.contains('%'));
        if proxy.is_disabled && !is_led_to {
            notes.advise(
                name.span,
                format!("`{}` is disabled, and left out{}", shown(&name.text), lines(section, notes)),
            );
            return;
        }
        if proxy.is_disabled {
            proxy.empty();
        }
        self.proxies.push(Member { proxy, defaults, range, written: name.text.clone() });
    }

    /// A name that our file takes, and that nobody has.
    fn our_name(&self, written: &str, proxy: &Proxy) -> String {
        let taken = |name: &str| {
            self.proxies.iter().any(|other| {
                other.proxy.name == name
                    && ((other.proxy.is_frontend() && proxy.is_frontend())
                        || (other.proxy.is_backend() && proxy.is_backend()))
            })
        };
        unique(clean(written), |name| {
            taken(name) || (name != written && self.written.iter().any(|other| other == name))
        })
    }

    fn read_errors(&mut self, section: &Section, notes: &Notes<'_>) {
        let Some(name) = section.name() else {
            notes.lost(section.head.span(), "`http-errors` has a name");
            return;
        };
        // It takes the same line as a section that serves.
        let mut proxy = Proxy::new(Kind::Backend, String::new(), name.span);
        for line in &section.lines {
            if line.words.first().is_some_and(|word| word.text != "errorfile") {
                notes.lost(line.span(), "`http-errors` has lines with `errorfile`");
            }
        }
        let lines: Vec<_> = section
            .lines
            .iter()
            .filter(|line| line.words.first().is_some_and(|word| word.text == "errorfile"))
            .cloned()
            .collect();
        let section = Section { kind: section.kind, head: section.head.clone(), lines };
        proxy.read(&section, notes);
        let pages = proxy.pages.into_iter().filter_map(proxy::Pages::one).collect();
        self.error_groups.push(ErrorGroup { name: name.text.clone(), pages });
    }

    /// The section that a name in a line means.
    pub(super) fn backend(&self, name: &Word) -> Result<&Member, Fault> {
        let found =
            self.proxies.iter().find(|member| member.proxy.is_backend() && member.written == name.text);
        found.ok_or_else(|| {
            let names = self
                .proxies
                .iter()
                .filter(|member| member.proxy.is_backend())
                .map(|member| member.written.as_str());
            let hint = text::nearest(&name.text, names).map(|name| format!("; did you mean `{name}`?"));
            Fault::at(
                name,
                format!("no backend is called `{}`{}", shown(&name.text), hint.unwrap_or_default()),
            )
        })
    }
}

/// Where a line leads.
fn target(line: &Line) -> Option<String> {
    let leads = matches!(line.words.first()?.text.as_str(), "use_backend" | "default_backend");
    line.words.get(1).filter(|_| leads).map(|word| word.text.clone())
}

/// The name behind the first word, and the one behind `from`.
fn heading(section: &Section) -> (Option<&Word>, Option<&Word>) {
    let words = &section.head.words[1..];
    let from = words.iter().position(|word| word.text == "from");
    let name = words.first().filter(|_| from != Some(0));
    (name, from.and_then(|at| words.get(at + 1)))
}

/// Those of a section.
fn lines(section: &Section, notes: &Notes<'_>) -> String {
    let line = |line: Option<&Line>| line.map(|line| notes.line(line.span()));
    lines_of(line(section.lines.first()), line(section.lines.last()))
}
