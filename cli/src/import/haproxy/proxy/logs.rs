//! `log`, formats of logs, captures.

use super::Proxy;
use crate::{
    config::{diagnostic::Span, text},
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            lexer::Word,
            table::{Row, missing, row},
            values,
        },
        notes::Notes,
    },
};

/// What a section says about its log.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Logs {
    pub(in crate::import::haproxy) targets: Vec<Log>,
    /// `log-tag`
    pub(in crate::import::haproxy) tag: Option<Word>,
    pub(in crate::import::haproxy) style: Option<Style>,
    pub(in crate::import::haproxy) captures: Captures,
}

/// What lines have of requests and responses.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Captures {
    /// Headers of requests, and of responses.
    pub(in crate::import::haproxy) headers: [Vec<Captured>; 2],
    pub(in crate::import::haproxy) cookie: Option<Captured>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Captured {
    pub(in crate::import::haproxy) name: String,
    pub(in crate::import::haproxy) length: u64,
    pub(in crate::import::haproxy) span: Span,
}

/// Where lines go.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Log {
    /// The entries of our table; `None` is `log global`.
    pub(in crate::import::haproxy) entries: Option<Vec<(String, Value)>>,
    pub(in crate::import::haproxy) span: Span,
}

/// What a line says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::import::haproxy) enum Style {
    Http,
    Tcp,
    /// `option httplog clf`
    Common,
    /// `log-format`
    Text(Word),
}

const NO_FORMAT: &str =
    "lines are those of `log_format`, the same for what went wrong, and without the fields of RFC 5424";
const NO_SLOTS: &str = "only headers and a cookie are captured: a rule with `set_var`, and `{var.NAME}` in a text of `log_format`";

/// What HAProxy writes for these words, as formats.
const FORMATS: [(Style, &str); 3] = [
    (
        Style::Http,
        r#"%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r"#,
    ),
    (Style::Tcp, "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"),
    (
        Style::Common,
        r#"%{+Q}o %{-Q}ci - - [%trg] %r %ST %B "" "" %cp %ms %ft %b %s %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl"#,
    ),
];

/// That of `option httpslog`. What would be wrong has no line of a request.
const WITH_TLS: &str = r#"%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r 0/0000000000000000/0/0/%[ssl_fc_is_resumed] %[ssl_fc_sni]/%sslv/%sslc"#;

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("log", "dflb", log, "`log`", "`no log` is `log = false`. The program's name in lines is written out: it is `haproxy` there."),
    row("log-tag", "dflb", |proxy, line| { proxy.logs.tag = Some(line.only()?.clone()); Ok(()) }, "`log.tag`", ""),
    row("option httplog", "dfl", httplog, "`log_format`", "The default of mode http; without it HAProxy only writes who connected. With `clf` it is `\"clf\"`."),
    row("option httpslog", "dfl", httpslog, "`log_format`", "Handshakes that fail have a line of their own form."),
    row("option tcplog", "dflb", tcplog, "`log_format`", "The default of mode tcp. Not with `clf`."),
    row("log-format", "dfl", format, "`log_format`", "A text with placeholders: docs/templates.md has what stands for each `%` word."),
    row("option logasap", "dfl", |proxy, line| { proxy.keys.set("log_asap", !line.negated, line.span); Ok(()) }, "`log_asap`", ""),
    row("option dontlog-normal", "dfl", |proxy, line| { proxy.keys.set("dontlog_normal", !line.negated, line.span); Ok(()) }, "`dontlog_normal`", ""),
    row("option log-separate-errors", "dfl", |proxy, line| { proxy.keys.set("log_separate_errors", !line.negated, line.span); Ok(()) }, "`log_separate_errors`", ""),
    row("option log-health-checks", "dlb", |proxy, line| { proxy.keys.set("log_health_checks", !line.negated, line.span); Ok(()) }, "`log_health_checks`", ""),
    missing("log-format-sd, error-log-format", "dfl", NO_FORMAT),
    missing("log-steps", "dfl", "a line is written when a request has ended, or with `log_asap` when its response begins"),
    row("capture request header", "fl", |proxy, line| { let one = captured(line)?; proxy.logs.captures.headers[0].push(one); Ok(()) }, "`capture.request_headers`", ""),
    row("capture response header", "fl", |proxy, line| { let one = captured(line)?; proxy.logs.captures.headers[1].push(one); Ok(()) }, "`capture.response_headers`", ""),
    row("capture cookie", "fl", |proxy, line| { proxy.logs.captures.cookie = Some(captured(line)?); Ok(()) }, "`capture.cookie`", "`NAME=` is a whole name, `NAME` the beginning of one: `prefix`."),
    missing("declare capture", "fl", NO_SLOTS),
];

fn log(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if directive.negated {
        proxy.logs.targets.clear();
        return Ok(());
    }
    let entries = match directive.arguments {
        [word] if word.text == "global" => None,
        words => Some(target(words)?),
    };
    proxy.logs.targets.push(Log { entries, span: directive.span });
    Ok(())
}

/// `ADDRESS [len N] [format F] [sample RANGES:SIZE] FACILITY [LEVEL [MINLEVEL]]`: the entries of our table.
pub(in crate::import::haproxy) fn target(words: &[Word]) -> Result<Vec<(String, Value)>, Fault> {
    let (address, rest) = words.split_first().ok_or("`log` takes an address, and there is none")?;
    let mut entries = vec![place(address)?];
    let mut later = Vec::new();
    let mut words = rest.iter();
    let mut own = ["facility", "level", "min_level"].iter();
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .ok_or_else(|| Fault::at(word, format!("`{}` takes a value, and there is none", word.text)))
        };
        match word.text.as_str() {
            "len" => later.push(("length".to_owned(), Value::Integer(values::number(value()?)?))),
            "format" => later.push(("format".to_owned(), Value::text(&value()?.text))),
            "sample" => later.push(("sample".to_owned(), Value::text(&value()?.text))),
            "profile" => return Err(Fault::at(word, "profiles of logs are not there")),
            text => match own.next() {
                Some(key) => entries.push(((*key).to_owned(), Value::text(text))),
                None => return Err(Fault::at(word, format!("`{}` is too much for `log`", shown(text)))),
            },
        }
    }
    entries.extend(later);
    Ok(entries)
}

/// The key that says where.
fn place(word: &Word) -> Result<(String, Value), Fault> {
    let whole = word.text.as_str();
    match whole {
        "stdout" | "fd@1" => return Ok(("stdout".into(), Value::Flag(true))),
        "stderr" | "fd@2" => return Ok(("stderr".into(), Value::Flag(true))),
        _ => {}
    }
    let kinds = ["udp@", "udp4@", "udp6@", "ipv4@", "ipv6@", "unix@"];
    let bare = kinds.iter().find_map(|kind| whole.strip_prefix(kind)).unwrap_or(whole);
    if bare.contains('@') {
        return Err(Fault::at(
            word,
            format!("`{}`: logs go to UDP, to a socket, to a file or to stdout", shown(whole)),
        ));
    }
    match text::syslog(bare) {
        Ok(_) => Ok(("syslog".into(), Value::text(bare))),
        Err(why) => Err(Fault::at(word, format!("`{}` {why}", shown(whole)))),
    }
}

/// `NAME len NUMBER`
fn captured(directive: &Directive<'_>) -> Result<Captured, Fault> {
    let [name, word, length] = directive.arguments else {
        return Err(format!("`{}` takes a name, `len` and a number", directive.keyword).into());
    };
    if word.text != "len" {
        return Err(Fault::at(word, format!("`{}` takes `len` behind the name", directive.keyword)));
    }
    Captured::new(&name.text, length, directive.span, directive.notes)
}

impl Captured {
    pub(in crate::import::haproxy) fn new(
        name: &str,
        length: &Word,
        span: Span,
        notes: &Notes<'_>,
    ) -> Result<Self, Fault> {
        const LONGEST: u64 = 4096;
        let number = values::number(length)?;
        if number > LONGEST {
            notes.differ(length.span, format!("at most {LONGEST} bytes are kept"));
        }
        Ok(Self { name: name.to_owned(), length: number.min(LONGEST), span })
    }
}

fn style(proxy: &mut Proxy, directive: &Directive<'_>, style: Style) {
    if !directive.negated {
        proxy.logs.style = Some(style);
    } else if proxy.logs.style == Some(style) {
        proxy.logs.style = None;
    }
}

fn httplog(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let kind = match directive.arguments {
        [] => Style::Http,
        [word] if word.text == "clf" => Style::Common,
        [word, ..] => {
            return Err(Fault::at(word, format!("`{}` is no word of `option httplog`", shown(&word.text))));
        }
    };
    style(proxy, directive, kind);
    Ok(())
}

fn httpslog(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let is_it = |style: &Style| matches!(style, Style::Text(word) if word.text == WITH_TLS);
    if !directive.negated {
        proxy.logs.style = Some(Style::Text(Word { text: WITH_TLS.to_owned(), span: directive.span }));
    } else if proxy.logs.style.as_ref().is_some_and(is_it) {
        proxy.logs.style = None;
    }
    Ok(())
}

fn tcplog(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    style(proxy, directive, Style::Tcp);
    match directive.arguments.first() {
        Some(more) => {
            Err(Fault::at(more, format!("`{}`: lines of tcp are those of HAProxy 2.6", shown(&more.text))))
        }
        None => Ok(()),
    }
}

fn format(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let first = directive.first()?;
    let text = directive.arguments.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
    let known = FORMATS.iter().find(|(_, format)| *format == text).map(|(style, _)| style.clone());
    proxy.logs.style = Some(known.unwrap_or(Style::Text(Word { text, span: first.span })));
    Ok(())
}
