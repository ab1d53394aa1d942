//! How bytes are moved: spliced, compressed.

use super::Proxy;
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Directive, Done, Fault, shown},
        section::Kind,
        table::{Row, missing, needless, row},
        values,
    },
};

/// What the lines of `compression` add up to.
#[derive(Clone, Debug, Default)]
pub(super) struct Compression {
    algorithms: Vec<Value>,
    types: Vec<Value>,
    minimum_size: u64,
    offload: bool,
}

const OF_REQUESTS: &str = "the content of requests is not compressed";

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("option splice-auto", "dflb", |proxy, line| splice(proxy, line, [true, true]), "`splice = \"auto\"`", "The default here, and off there."),
    row("option splice-request", "dflb", |proxy, line| splice(proxy, line, [true, false]), "`splice = \"request\"`", ""),
    row("option splice-response", "dflb", |proxy, line| splice(proxy, line, [false, true]), "`splice = \"response\"`", ""),
    needless("option tcpsplice", "dflb", "`splice` is on without it"),
    row("compression algo", "dflb", algorithms, "`compression.algorithms`", "`gzip` and `deflate`."),
    row("compression algo-res", "dflb", algorithms, "`compression.algorithms`", "As `compression algo`."),
    row("compression type", "dflb", types, "`compression.types`", "Without it everything is compressed but `multipart`: `*/*`."),
    row("compression type-res", "dflb", types, "`compression.types`", "As `compression type`."),
    row("compression offload", "dflb", offload, "`compression.offload`", ""),
    row("compression minsize-res", "dflb", minimum_size, "`compression.minimum_size`", "Without it 0, as there; 1000 is our default."),
    row("compression direction", "dflb", direction, "", "Only of responses."),
    missing("compression algo-req, compression type-req, compression minsize-req", "dflb", OF_REQUESTS),
];

/// `parts`: to servers, to clients.
fn splice(proxy: &mut Proxy, directive: &Directive<'_>, parts: [bool; 2]) -> Done {
    let words = [[true, true], [true, false], [false, true], [false, false]]
        .into_iter()
        .zip(["auto", "request", "response", "never"]);
    let known = words
        .clone()
        .find(|(_, word)| proxy.keys.is_text("splice", word))
        .map_or([false; 2], |(known, _)| known);
    let both = |at: usize| if directive.negated { known[at] && !parts[at] } else { known[at] || parts[at] };
    let now = [both(0), both(1)];
    let word = words.clone().find(|(parts, _)| *parts == now).map_or("auto", |(_, word)| word);
    proxy.keys.set("splice", Value::text(word), directive.span);
    Ok(())
}

fn algorithms(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    directive.first()?;
    for word in directive.arguments {
        match word.text.as_str() {
            name @ ("gzip" | "deflate") => {
                let value = Value::text(name);
                if !proxy.compression.algorithms.contains(&value) {
                    proxy.compression.algorithms.push(value);
                }
            }
            "identity" => {}
            "raw-deflate" => directive.lose(word, "`raw-deflate`: `gzip` and `deflate` are there"),
            other => return Err(Fault::at(word, format!("`{}` is no way to compress", shown(other)))),
        }
    }
    write(proxy, directive)
}

/// A type stands for all that begin like it.
fn types(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    directive.first()?;
    for word in directive.arguments {
        let text = word.text.to_ascii_lowercase();
        let value = Value::Text(match text.split_once('/') {
            None => format!("{text}/*"),
            Some((_, "")) => format!("{text}*"),
            Some(_) => text,
        });
        if !proxy.compression.types.contains(&value) {
            proxy.compression.types.push(value);
        }
    }
    write(proxy, directive)
}

fn offload(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if proxy.kind == Kind::Defaults {
        directive.advise("`compression offload` does nothing in `defaults`, there as here: it is left out");
        return Ok(());
    }
    proxy.compression.offload = true;
    write(proxy, directive)
}

fn minimum_size(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    proxy.compression.minimum_size = values::size(directive.only()?)?;
    write(proxy, directive)
}

fn direction(_: &mut Proxy, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    if word.text == "response" { Ok(()) } else { Err(Fault::at(word, OF_REQUESTS)) }
}

/// The key, once there is something to compress with.
fn write(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let compression = proxy.compression.clone();
    if compression.algorithms.is_empty() {
        return Ok(());
    }
    let types = if compression.types.is_empty() { vec![Value::text("*/*")] } else { compression.types };
    let mut entries = vec![
        ("algorithms".to_owned(), Value::List(compression.algorithms)),
        ("types".to_owned(), Value::List(types)),
        ("minimum_size".to_owned(), Value::Integer(compression.minimum_size)),
    ];
    if compression.offload {
        entries.push(("offload".to_owned(), Value::Flag(true)));
    }
    proxy.keys.set("compression", Value::Table(entries), directive.span);
    Ok(())
}
