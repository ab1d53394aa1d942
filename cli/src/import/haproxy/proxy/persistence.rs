//! Clients that stay: `cookie`, `stick-table`, `stick`.

use std::time::Duration;

use super::{Proxy, keep_rule};
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            lexer::Word,
            table::{Row, missing, row},
            values,
        },
    },
};

/// `cookie NAME ..`: the entries of our table.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Cookie {
    pub(in crate::import::haproxy) entries: Vec<(String, Value)>,
    pub(in crate::import::haproxy) span: Span,
}

/// `stick-table ..`
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct StickTable {
    pub(in crate::import::haproxy) kind: String,
    /// What is behind so many bytes of a text is not looked at.
    pub(in crate::import::haproxy) length: u64,
    pub(in crate::import::haproxy) size: u64,
    pub(in crate::import::haproxy) expire: Option<Duration>,
    /// `conn_rate` and its period.
    pub(in crate::import::haproxy) store: Vec<(String, Option<Duration>)>,
    pub(in crate::import::haproxy) span: Span,
}

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("cookie", "dlb", cookie, "`cookie`", "Clients stay where they are: values and dates are HAProxy's."),
    row("stick-table", "flb", stick_table, "with `stick on src`: `stick`", "What it stores is kept where a rule of ours does so. Each node has its own."),
    row("stick on", "lb", keep_rule, "`stick = { by = \"source\" }`", "By the client's address, without conditions, in a table of the same backend."),
    row("stick match", "lb", keep_rule, "`stick`", "Together with `stick store-request` of the same."),
    row("stick store-request", "lb", keep_rule, "`stick`", "Together with `stick match` of the same."),
    missing("stick store-response", "lb", "what a server says makes no client stay; write `cookie`"),
    missing("persist rdp-cookie", "dlb", "RDP is not read; write `balance = \"source\"` or `stick`"),
    missing("force-persist", "lb", "a server that is down gets nobody"),
    row("ignore-persist", "lb", keep_rule, "a rule with `ignore_persist`", "Neither the cookie nor `stick` counts; HAProxy leaves stick tables alone."),
    missing("appsession", "lb", "gone from HAProxy 1.6, too; write `cookie` with `mode = \"prefix\"`"),
];

fn cookie(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let name = directive.first()?;
    let mut mode = "passive";
    let mut entries = vec![("name".to_owned(), Value::text(&name.text))];
    let mut words = directive.arguments[1..].iter();
    let mut options: Vec<(&str, Value, &Word)> = Vec::new();
    while let Some(word) = words.next() {
        let value = |next: Option<&Word>| {
            next.cloned()
                .ok_or_else(|| Fault::at(word, format!("`{}` takes a value, and there is none", word.text)))
        };
        let flag = |key| (key, Value::Flag(true), word);
        match word.text.as_str() {
            "rewrite" => mode = "rewrite",
            "insert" => mode = "insert",
            "prefix" => mode = "prefix",
            "indirect" => options.push(flag("indirect")),
            "nocache" => options.push(flag("nocache")),
            "postonly" => options.push(flag("postonly")),
            "preserve" => options.push(flag("preserve")),
            "httponly" => options.push(flag("httponly")),
            "secure" => options.push(flag("secure")),
            "domain" => {
                let domain = value(words.next())?;
                options.retain(|(key, ..)| *key != "domain");
                options.push(("domain", Value::Text(domain.text), word));
            }
            key @ ("maxidle" | "maxlife") => {
                let age = values::time_in(&value(words.next())?, "s")?;
                let age = Value::Text(crate::config::text::write_duration(age));
                options.push((if key == "maxidle" { "maxidle" } else { "maxlife" }, age, word));
            }
            "attr" => {
                let attribute = value(words.next())?;
                match attribute.text.split_once('=') {
                    Some((name, site)) if name.eq_ignore_ascii_case("samesite") => {
                        options.push(("samesite", Value::Text(site.to_ascii_lowercase()), word));
                    }
                    _ => directive.lose(
                        &attribute,
                        format!("`attr {}`: only SameSite is there", shown(&attribute.text)),
                    ),
                }
            }
            "dynamic" => {
                return Err(Fault::at(
                    word,
                    "`dynamic`: servers have no values of their own making; write `cookie` at each server",
                ));
            }
            other => return Err(Fault::at(word, format!("`{}` is no word of `cookie`", shown(other)))),
        }
    }
    entries.push(("mode".to_owned(), Value::text(mode)));
    for (key, value, word) in options {
        let idle = match key {
            "indirect" => mode == "rewrite",
            "preserve" => mode != "insert" && mode != "passive",
            _ => mode != "insert",
        };
        // What does nothing there is an error here.
        if idle {
            directive.notes.advise(
                word.span,
                format!("`{}` does nothing with this kind of cookie: it is left out", word.text),
            );
        } else {
            entries.push((key.to_owned(), value));
        }
    }
    proxy.cookie = Some(Cookie { entries, span: directive.span });
    Ok(())
}

/// HAProxy's buffer for a key has 32 bytes without a word, and one of them is its end.
const LENGTH: u64 = 31;

fn stick_table(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let mut table = StickTable {
        kind: String::new(),
        length: LENGTH,
        size: 0,
        expire: None,
        store: Vec::new(),
        span: directive.span,
    };
    let mut words = directive.arguments.iter().peekable();
    while let Some(word) = words.next() {
        let value = |next: Option<&Word>| {
            next.cloned()
                .ok_or_else(|| Fault::at(word, format!("`{}` takes a value, and there is none", word.text)))
        };
        match word.text.as_str() {
            "type" => {
                table.kind = value(words.next())?.text;
                // `string len 32`
                if words.next_if(|next| next.text == "len").is_some() {
                    table.length = values::number(&value(words.next())?)?;
                }
            }
            "size" => table.size = values::size(&value(words.next())?)?,
            "expire" => table.expire = Some(values::time(&value(words.next())?)?),
            "nopurge" => directive
                .notes
                .differ(directive.span, "`nopurge`: a full table forgets the client that was away longest"),
            "peers" => {
                let peers = value(words.next())?;
                directive.lose(&peers, "`peers`: each node has a table of its own");
            }
            "store" => {
                let list = value(words.next())?;
                for part in list.text.split(',') {
                    let (name, arguments, _) =
                        super::super::arguments::call(part).map_err(|why| Fault::at(&list, why))?;
                    let period = match arguments.last() {
                        Some(period) => Some(values::time(&Word { text: period.clone(), span: list.span })?),
                        None => None,
                    };
                    table.store.push((name.to_owned(), period));
                }
            }
            "srvkey" | "write-to" => {
                let _ = value(words.next())?;
                directive.lose(word, format!("`{}` is not there", word.text));
            }
            "recv-only" => directive.lose(word, "`recv-only` is not there"),
            other => return Err(Fault::at(word, format!("`{}` is no word of `stick-table`", shown(other)))),
        }
    }
    proxy.stick_table = Some(table);
    Ok(())
}
