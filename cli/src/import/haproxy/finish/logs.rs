//! Where lines of the log go, and what they say.

use std::collections::BTreeSet;

use super::World;
use crate::{
    config::diagnostic::Span,
    import::{
        document::{Value, key},
        haproxy::{
            directive::{Fault, shown},
            fits::{Place, variables},
            global::Global,
            keys::Keys,
            lexer::Word,
            proxy::{Captured, Captures, Log, Proxy, Style},
            sample::{Inexact, Scene, Side},
            section::Kind,
            template,
        },
    },
};

/// The keys of a section that is of this kind with us. `captures` are those of its rules.
pub(super) fn finish(
    proxy: &Proxy,
    is_http: bool,
    kind: Kind,
    captures: &[Captured],
    keys: &mut Keys,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) {
    let values = targets(proxy, world, lost);
    let is_frontend = matches!(kind, Kind::Frontend | Kind::Listen);
    let mut all = proxy.logs.captures.clone();
    all.headers[0].extend(captures.iter().cloned());
    // They are numbered in the order of their lines, whichever kind these are.
    all.headers[0].sort_by_key(|one| one.span.start);
    if is_frontend {
        // Whatever `[defaults]` has.
        keys.assume("log_format", Value::text(if is_http { "httplog" } else { "tcplog" }), "");
    }
    match proxy.logs.targets.first() {
        Some(first) if !values.is_empty() => {
            keys.set("log", Value::one_or_list(values), first.span);
            if is_frontend && proxy.logs.style.is_none() {
                let word = if is_http { "httplog" } else { "tcplog" };
                let why = format!(
                    "without `option {word}` HAProxy only writes who connected; here it is the whole line of `option {word}`"
                );
                world.notes.advise(first.span, why);
            }
            let lines = Lines { is_http, kind, captures: &all, world };
            lines.format(proxy, first.span, keys, lost);
        }
        // Backends of ours would log where the process does.
        _ if kind != Kind::Frontend && !world.file.global.logs.is_empty() => {
            keys.assume(
                "log",
                false,
                "as in HAProxy; without it, what happens to servers is logged where [global] says",
            );
        }
        _ => keys.assume("log", false, ""),
    }
    if is_frontend && let Some((value, span)) = captured(&all) {
        if is_http && !shows_captures(keys) {
            world.notes.advise(span, "the lines of this log have no list of what is captured (%hr, %hs, %CC), there as here: it is left out");
        } else {
            keys.set("capture", value, span);
        }
    }
}

/// Do lines have the lists of what was captured?
fn shows_captures(keys: &Keys) -> bool {
    match keys.value("log_format").and_then(Value::as_text) {
        Some("tcplog") => false,
        Some(text) if text.contains('{') => {
            ["{log.headers.", "{log.cookie."].iter().any(|one| text.contains(one))
        }
        _ => true,
    }
}

/// `capture`, and where it comes from.
fn captured(captures: &Captures) -> Option<(Value, Span)> {
    const OURS: u64 = 64;
    let value = |names: Vec<(&str, &str)>, length: u64| match (names.as_slice(), length) {
        ([("name", name)], OURS) => Value::text(*name),
        (names, length) => {
            let mut entries: Vec<_> =
                names.iter().map(|(key, name)| ((*key).to_owned(), Value::text(*name))).collect();
            entries.extend((length != OURS).then(|| ("length".to_owned(), Value::Integer(length))));
            Value::Table(entries)
        }
    };
    let mut entries = Vec::new();
    for (key, headers) in ["request_headers", "response_headers"].into_iter().zip(&captures.headers) {
        if !headers.is_empty() {
            let headers = headers.iter().map(|one| value(vec![("name", one.name.as_str())], one.length));
            entries.push((key.to_owned(), Value::List(headers.collect())));
        }
    }
    if let Some(cookie) = &captures.cookie {
        let name = match cookie.name.strip_suffix('=') {
            Some(name) => ("name", name),
            None => ("prefix", cookie.name.as_str()),
        };
        entries.push(("cookie".to_owned(), value(vec![name], cookie.length)));
    }
    let span = captures.headers.iter().flatten().chain(&captures.cookie).next()?.span;
    Some((Value::Table(entries), span))
}

/// What the lines of a section say.
struct Lines<'l> {
    is_http: bool,
    kind: Kind,
    captures: &'l Captures,
    world: &'l World<'l>,
}

impl Lines<'_> {
    fn format(&self, proxy: &Proxy, span: Span, keys: &mut Keys, lost: &mut Vec<Span>) {
        match &proxy.logs.style {
            Some(Style::Tcp) if self.is_http => keys.set("log_format", Value::text("tcplog"), span),
            Some(Style::Common) if self.is_http => keys.set("log_format", Value::text("clf"), span),
            Some(Style::Text(word)) if self.kind == Kind::Defaults => {
                // What is of a section by itself can't be for all.
                if let Ok(text) = self.text(word)
                    && !["{var.", "{log.headers.", "capture."]
                        .iter()
                        .any(|own| text.contains(own) || word.text.contains(own))
                {
                    keys.set("log_format", Value::Text(text), word.span);
                }
            }
            Some(Style::Text(word)) if self.kind != Kind::Backend => match self.text(word) {
                Ok(text) => keys.set("log_format", Value::Text(text), word.span),
                Err(fault) => {
                    self.world
                        .notes
                        .lost(fault.span.unwrap_or(word.span), format!("`log-format`: {}", fault.why));
                    lost.push(word.span);
                }
            },
            _ => {}
        }
    }

    /// A text that our file takes in such a section.
    fn text(&self, word: &Word) -> Result<String, Fault> {
        let mut text = word.text.clone();
        for (side, of) in ["req", "res"].iter().enumerate() {
            for (at, one) in self.captures.headers[side].iter().enumerate() {
                let header = format!("{of}.fhdr({}),bytes(0,{})", one.name, one.length);
                text = text.replace(&format!("capture.{of}.hdr({at})"), &header);
            }
        }
        for (side, name) in ["%hr", "%hs"].into_iter().enumerate() {
            if self.captures.headers[side].is_empty() {
                text = without(&text, name);
            }
        }
        let word = Word { text, span: word.span };
        let inexact = Inexact::default();
        let scene = Scene { maps: self.world.maps, side: Side::Log, inexact: &inexact };
        let mut text = template::convert(&word, scene)?;
        for (side, name) in ["log.headers.request", "log.headers.response"].into_iter().enumerate() {
            // HAProxy writes its braces also where nothing came.
            let bars = "|".repeat(self.captures.headers[side].len().saturating_sub(1));
            let nothing = format!("{{{name}|default('{{{bars}}}')}}");
            text = text.replace(&format!("{{{name}}}"), &nothing);
            text = text.replace(&format!("{{{name}|default('')}}"), &nothing);
        }
        let names: BTreeSet<_> = variables(&text).map(|name| format!("{} = \"x\"", key(name))).collect();
        let names: Vec<_> = names.into_iter().collect();
        let mut lines = format!("log = \"stdout\"\nlog_format = {}\n", Value::text(&text));
        if !names.is_empty() {
            lines.push_str(&format!("rules = [{{ set_var = {{ {} }} }}]\n", names.join(", ")));
        }
        if let Some((captured, _)) = captured(self.captures).filter(|_| self.is_http) {
            lines.push_str(&format!("capture = {captured}\n"));
        }
        let maps = self.world.maps.all();
        let maps: String = maps.iter().map(|(name, ..)| format!("[map.{name}]\nfile = \"x\"\n")).collect();
        let place = Place { is_http: self.is_http, is_frontend: true, file: &self.world.options.output };
        place
            .takes(&lines, &maps)
            .map_err(|why| Fault::at(&word, format!("our file does not take it: {why}")))?;
        self.world.notes.inexact(&inexact, word.span);
        Ok(text)
    }
}

/// Without a word of a format that would be nothing, and the blank behind it.
fn without(text: &str, word: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        out.push_str(before);
        let is_longer = after.starts_with(|c: char| c.is_ascii_alphabetic()) || before.ends_with('%');
        if is_longer {
            out.push_str(word);
        }
        rest = if is_longer { after } else { after.strip_prefix(' ').unwrap_or(after) };
    }
    out.push_str(rest);
    out
}

fn targets(proxy: &Proxy, world: &World<'_>, lost: &mut Vec<Span>) -> Vec<Value> {
    let global = &world.file.global;
    let mut values: Vec<Value> = Vec::new();
    for Log { entries, span } in &proxy.logs.targets {
        let some = match (entries, &proxy.logs.tag) {
            (Some(entries), _) => match complete(entries, proxy, global, world) {
                Ok(value) => vec![value],
                Err(why) => {
                    world.notes.lost(*span, why);
                    lost.push(*span);
                    continue;
                }
            },
            (None, None) if of_process(world).is_some() => vec![Value::text("global")],
            (None, None) => Vec::new(),
            // With a name of its own.
            (None, Some(_)) => global
                .logs
                .iter()
                .filter_map(|log| complete(log.entries.as_ref()?, proxy, global, world).ok())
                .collect(),
        };
        for value in some {
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    values
}

/// What `[global]` has.
pub(in crate::import::haproxy) fn of_process(world: &World<'_>) -> Option<Value> {
    let global = &world.file.global;
    let own = Proxy::new(Kind::Defaults, String::new(), Span { start: 0, end: 0 });
    let mut values = Vec::new();
    for Log { entries, span } in &global.logs {
        let Some(entries) = entries else { continue };
        match complete(entries, &own, global, world) {
            Ok(value) if values.contains(&value) => {}
            Ok(value) => values.push(value),
            Err(why) => world.notes.lost(*span, why),
        }
    }
    (!values.is_empty()).then(|| Value::one_or_list(values))
}

/// With what HAProxy has without a word, and we don't.
fn complete(
    entries: &[(String, Value)],
    proxy: &Proxy,
    global: &Global,
    world: &World<'_>,
) -> Result<Value, String> {
    let mut entries = entries.to_vec();
    let of = |entries: &[(String, Value)], wanted: &str| entries.iter().any(|(key, _)| key == wanted);
    if !of(&entries, "facility") {
        return Err("`log` takes a facility, as in local0".into());
    }
    let is_standard = of(&entries, "stdout") || of(&entries, "stderr");
    if !of(&entries, "format") {
        match (global.sends_hostname, is_standard) {
            (true, _) => entries.push(("format".into(), Value::text("rfc3164"))),
            (false, true) => entries.push(("format".into(), Value::text("local"))),
            (false, false) => {}
        }
    }
    let hostname = match (global.sends_hostname, entries.iter().find(|(key, _)| key == "format")) {
        (true, _) => global.hostname.as_deref(),
        // What HAProxy says for a name that it does not send.
        (false, Some((_, format))) if *format == Value::text("rfc3164") => Some("localhost"),
        (false, Some((_, format))) if *format == Value::text("rfc5424") => Some("-"),
        (false, _) => None,
    };
    entries.extend(hostname.map(|name| ("hostname".to_owned(), Value::text(name))));
    if is_standard && !of(&entries, "length") {
        entries.push(("length".into(), Value::Integer(1024)));
    }
    let tag = proxy.logs.tag.as_ref().or(global.tag.as_ref()).map_or("haproxy", |tag| &tag.text);
    if entries.iter().any(|(key, value)| key == "format" && *value == Value::text("raw")) {
        // Nothing but the line itself is sent.
        entries.retain(|(key, _)| key != "facility");
    } else {
        entries.push(("tag".into(), Value::text(tag)));
    }
    let value = Value::Table(entries);
    let place = Place { is_http: true, is_frontend: true, file: &world.options.output };
    place
        .takes_key("log", &value)
        .map_err(|why| format!("our file does not take log = {}: {why}", shown(&value.to_string())))?;
    Ok(value)
}
