//! What HAProxy answers itself: pages, the monitor's question, ids of requests.

use super::{Proxy, RuleLine};
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            lexer::Word,
            table::{Row, row},
        },
    },
};

/// `errorfile`, or `errorloc`
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct ErrorPage {
    pub(in crate::import::haproxy) status: u16,
    /// In our file.
    pub(in crate::import::haproxy) value: Value,
    pub(in crate::import::haproxy) span: Span,
}

/// A line about pages; of several about one status the last counts, those of `defaults` being the first.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) enum Pages {
    One(ErrorPage),
    /// `errorfiles`: the section that is meant, and the statuses; all of it without one.
    Group(Word, Vec<u16>),
    /// HAProxy's own.
    Default(u16),
}

impl Pages {
    /// The page, if it is one.
    pub(in crate::import::haproxy) fn one(self) -> Option<ErrorPage> {
        if let Self::One(page) = self { Some(page) } else { None }
    }
}

/// `monitor-uri` and `monitor fail`.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Monitor {
    pub(in crate::import::haproxy) uri: Option<Word>,
    pub(in crate::import::haproxy) fail: Vec<RuleLine>,
}

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("errorfile", "dflb", errorfile, "`error_page`", "The files stay as they are. One that is missing is left out; `/dev/null` for 400 and 408 is `http_ignore_probes`."),
    row("errorfiles", "dflb", errorfiles, "`error_page`", ""),
    row("http-error", "dflb", http_error, "`error_page`", "With `errorfile` or `file`; a text has to be put into a file."),
    row("errorloc, errorloc302", "dflb", |proxy, line| errorloc(proxy, line, 302), "`error_page` with `location`", ""),
    row("errorloc303", "dflb", |proxy, line| errorloc(proxy, line, 303), "`error_page` with `location`", "With `status = 303`."),
    row("monitor-uri", "dfl", |proxy, line| { proxy.monitor.uri = Some(line.only()?.clone()); Ok(()) }, "`monitor_uri`", ""),
    row("monitor fail", "fl", |proxy, line| { proxy.monitor.fail.push(RuleLine::new(line)); Ok(()) }, "`monitor_uri.fail_if`", "Conditions on `nbsrv`, one of which must hold."),
    row("unique-id-format", "dfl", |proxy, line| unique_id(proxy, line, 1), "`unique_id.template`", ""),
    row("unique-id-header", "dfl", |proxy, line| unique_id(proxy, line, 0), "`unique_id.header`", "What a client sent in it is replaced, not kept beside it."),
];

fn status(word: &Word) -> Result<u16, Fault> {
    let status = word.text.parse::<u16>().ok().filter(|status| (200..600).contains(status));
    status.ok_or_else(|| Fault::at(word, format!("`{}` is no status", shown(&word.text))))
}

fn errorfile(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let [code, file] = directive.arguments else {
        return Err("`errorfile` takes a status and a file".into());
    };
    add(proxy, status(code)?, file, directive)
}

fn add(proxy: &mut Proxy, status: u16, file: &Word, directive: &Directive<'_>) -> Done {
    // It keeps browsers that connect ahead from seeing an error, and that is a setting of ours.
    if file.text == "/dev/null" && matches!(status, 400 | 408) {
        proxy.keys.set("http_ignore_probes", true, directive.span);
        directive.advise("a page that is /dev/null keeps errors from browsers that connect ahead: http_ignore_probes = true does");
        return Ok(());
    }
    put(proxy, status, Value::text(&file.text), directive)
}

fn put(proxy: &mut Proxy, status: u16, value: Value, directive: &Directive<'_>) -> Done {
    if status < 400 {
        return Err(format!("the page for {status} can't be replaced; those of errors can").into());
    }
    proxy.pages.push(Pages::One(ErrorPage { status, value, span: directive.span }));
    Ok(())
}

/// Clients are led there with `sent`.
fn errorloc(proxy: &mut Proxy, directive: &Directive<'_>, sent: u64) -> Done {
    let [code, location] = directive.arguments else {
        return Err(format!("`{}` takes a status and a location", directive.keyword).into());
    };
    let mut entries = vec![("location".to_owned(), Value::text(&location.text))];
    entries.extend((sent != 302).then(|| ("status".to_owned(), Value::Integer(sent))));
    put(proxy, status(code)?, Value::Table(entries), directive)
}

fn errorfiles(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let group = directive.first()?.clone();
    let statuses = directive.arguments[1..].iter().map(status).collect::<Result<_, _>>()?;
    proxy.pages.push(Pages::Group(group, statuses));
    Ok(())
}

/// `http-error status 400 [content-type TYPE] {default-errorfiles | errorfile F | file F | string S ..}`
fn http_error(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let [keyword, code, rest @ ..] = directive.arguments else {
        return Err("`http-error` takes `status`, a status and a page".into());
    };
    if keyword.text != "status" {
        return Err(Fault::at(keyword, "`http-error` takes `status`, a status and a page"));
    }
    let mut words = rest.iter();
    let mut file = None;
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "default-errorfiles" => {
                proxy.pages.push(Pages::Default(status(code)?));
                return Ok(());
            }
            "errorfile" => file = words.next(),
            "file" => file = words.next(),
            "content-type" => {
                let kind = words.next().unwrap_or(word);
                directive.notes.differ(
                    kind.span,
                    "the type of a page follows from the name of its file: .html, .txt, .json, .xml",
                );
            }
            other => {
                return Err(Fault::at(
                    word,
                    format!("`{}`: put the answer into a file, and write `error_page`", shown(other)),
                ));
            }
        }
    }
    let Some(file) = file else { return Err("`http-error` takes a file".into()) };
    add(proxy, status(code)?, file, directive)
}

fn unique_id(proxy: &mut Proxy, directive: &Directive<'_>, part: usize) -> Done {
    // Words of a format are joined with single spaces.
    let first = directive.first()?;
    let text = directive.arguments.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    proxy.unique_id[part] = Some(Word { text, span: first.span });
    Ok(())
}
