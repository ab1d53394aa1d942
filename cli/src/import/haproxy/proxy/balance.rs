//! Who is next, how often it is tried, and the lines of servers.

use super::{Proxy, server};
use crate::import::{
    document::Value,
    haproxy::{
        arguments,
        directive::{Directive, Done, Fault, shown},
        table::{Row, missing, needless, row},
        values,
    },
};

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("server", "lb", server::read, "`server.NAME`", "Parameters: below."),
    row("default-server", "dlb", server::default, "", "What it says is written where it belongs, at the servers or the backend."),
    row("server-template", "lb", server::template, "several `server.NAME`", "Servers with one name spread over its addresses. SRV records are not there."),
    row("dispatch", "lb", server::dispatch, "`server.dispatch`", ""),
    row("http-send-name-header", "dlb", |proxy, line| { proxy.keys.set("server_name_header", Value::text(&line.only()?.text), line.span); Ok(()) }, "`server_name_header`", ""),
    row("balance", "dlb", balance, "`balance`", "`static-rr` is `roundrobin`. A hash finds other servers than HAProxy's."),
    row("hash-type", "dlb", hash_type, "`hash_type`", "`map-based` is the default there. Function and avalanche are our own."),
    missing("hash-balance-factor", "dlb", "a full server is waited for: write `maxconn` of the server"),
    missing("hash-preserve-affinity", "dlb", "a full server is waited for"),
    row("retries", "dlb", |proxy, line| { proxy.keys.set("retries", values::number(line.only()?)?, line.span); Ok(()) }, "`retries`", ""),
    row("retry-on", "dlb", retry_on, "`retry_on`", "A retry here is bounded by what was sent: head and content in one buffer (16 kB)."),
    row("fullconn", "dlb", |proxy, line| { proxy.keys.set("fullconn", values::number(line.only()?)?, line.span); Ok(()) }, "`fullconn`", ""),
    row("http-reuse", "dlb", http_reuse, "`http_reuse`", "`safe` here lets a first request use an idle connection if it can be sent again."),
    needless("max-keep-alive-queue", "dlb", "a request goes where it is its turn, not where an idle connection is"),
    needless("load-server-state-from-file, server-state-file-name", "dlb", "servers keep their state over a reload"),
    row("clitcpka-cnt", "dfl", |proxy, line| keepalive(proxy, line, 0, "count"), "`tcp_keepalive.count`", "With `option clitcpka`."),
    row("clitcpka-idle", "dfl", |proxy, line| keepalive(proxy, line, 0, "idle"), "`tcp_keepalive.idle`", "With `option clitcpka`."),
    row("clitcpka-intvl", "dfl", |proxy, line| keepalive(proxy, line, 0, "interval"), "`tcp_keepalive.interval`", "With `option clitcpka`."),
    row("srvtcpka-cnt", "dlb", |proxy, line| keepalive(proxy, line, 1, "count"), "`tcp_keepalive.count`", "With `option srvtcpka`."),
    row("srvtcpka-idle", "dlb", |proxy, line| keepalive(proxy, line, 1, "idle"), "`tcp_keepalive.idle`", "With `option srvtcpka`."),
    row("srvtcpka-intvl", "dlb", |proxy, line| keepalive(proxy, line, 1, "interval"), "`tcp_keepalive.interval`", "With `option srvtcpka`."),
];

fn balance(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let first = directive.first()?;
    let (name, inner, _) = arguments::call(&first.text).map_err(|why| Fault::at(first, why))?;
    let rest = &directive.arguments[1..];
    let word = |word: &str| Ok(Value::text(word));
    let value: Result<Value, Fault> = match name {
        "roundrobin" | "static-rr" => word("roundrobin"),
        "leastconn" | "first" => word(name),
        "random" => word("random"),
        "source" => word("source"),
        "uri" => uri(directive),
        "url_param" => match rest.first() {
            Some(parameter) => {
                if let Some(more) = rest.get(1) {
                    directive.lose(more, "`check_post`: the content of requests is not looked at");
                }
                Ok(Value::table([("query", Value::text(&parameter.text))]))
            }
            None => Err("`balance url_param` takes the name of a parameter".into()),
        },
        "hdr" => match inner.first() {
            Some(header) => {
                if let Some(more) = rest.first() {
                    directive.lose(more, format!("`{}`: the whole value is what counts", shown(&more.text)));
                }
                Ok(Value::table([("header", Value::text(header))]))
            }
            None => Err("`balance hdr` takes the name of a header in parentheses".into()),
        },
        "hash" if rest.first().is_some_and(|word| word.text == "src") => word("source"),
        "hash" if rest.first().is_some_and(|word| word.text == "path" || word.text == "url") => word("uri"),
        other => Err(Fault::at(
            first,
            format!("`balance {}` is not there; `roundrobin` is what it is now", shown(other)),
        )),
    };
    proxy.keys.set("balance", value?, directive.span);
    Ok(())
}

/// `uri [len N] [depth N] [whole] [path-only]`
fn uri(directive: &Directive<'_>) -> Result<Value, Fault> {
    let mut entries = Vec::new();
    let mut words = directive.arguments[1..].iter();
    while let Some(word) = words.next() {
        let mut number = || values::number(words.next().unwrap_or(word)).map(Value::Integer);
        let (key, value) = match word.text.as_str() {
            "whole" => ("whole", Value::Flag(true)),
            "path-only" => ("path_only", Value::Flag(true)),
            "len" => ("length", number()?),
            "depth" => ("depth", number()?),
            other => return Err(Fault::at(word, format!("`{}` is no word of `balance uri`", shown(other)))),
        };
        entries.push((key.to_owned(), value));
    }
    if entries.is_empty() {
        Ok(Value::text("uri"))
    } else {
        Ok(Value::table([("uri", Value::Table(entries))]))
    }
}

fn hash_type(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let first = directive.first()?;
    let kind = match first.text.as_str() {
        "map-based" => "map",
        "consistent" => "consistent",
        other => return Err(Fault::at(first, format!("`hash-type {}` is not there", shown(other)))),
    };
    proxy.keys.set("hash_type", Value::text(kind), directive.span);
    Ok(())
}

fn retry_on(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let mut on = Vec::new();
    let mut add = |value: Value| {
        if !on.contains(&value) {
            on.push(value)
        }
    };
    for word in directive.arguments {
        match word.text.as_str() {
            "none" => {}
            "0rtt-rejected" => directive.lose(word, "`0rtt-rejected`: no early data is sent to servers"),
            "all-retryable-errors" => {
                for failure in ["conn-failure", "empty-response", "junk-response", "response-timeout"] {
                    add(Value::text(failure));
                }
                [500, 502, 503, 504].into_iter().for_each(|status| add(Value::Integer(status)));
            }
            failure @ ("conn-failure" | "empty-response" | "junk-response" | "response-timeout") => {
                add(Value::text(failure));
            }
            status => match status.parse() {
                Ok(status) => add(Value::Integer(status)),
                Err(_) => {
                    return Err(Fault::at(
                        word,
                        format!("`{}` is nothing that can be retried on", shown(status)),
                    ));
                }
            },
        }
    }
    let sends_again = on.iter().any(|value| *value != Value::text("conn-failure"));
    proxy.keys.set("retry_on", Value::List(on), directive.span);
    if sends_again {
        let note = "as in HAProxy, which asks no method; an order may be placed twice";
        proxy.keys.assume("retry_any_method", true, note);
    }
    Ok(())
}

fn http_reuse(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    match word.text.as_str() {
        mode @ ("never" | "safe" | "aggressive" | "always") => {
            proxy.keys.set("http_reuse", Value::text(mode), directive.span);
            Ok(())
        }
        other => Err(Fault::at(word, format!("`http-reuse {}` is not there", shown(other)))),
    }
}

/// A setting of keepalive, which `option clitcpka` and `option srvtcpka` turn on.
fn keepalive(proxy: &mut Proxy, directive: &Directive<'_>, side: usize, setting: &str) -> Done {
    let word = directive.only()?;
    let value = if setting == "count" {
        Value::Integer(values::number(word)?)
    } else {
        let time = values::time_in(word, "s")?;
        let seconds = time.as_millis().div_ceil(1_000).max(1);
        Value::Text(format!("{seconds}s"))
    };
    let settings = &mut proxy.keepalive[side].settings;
    settings.retain(|(name, _)| name != setting);
    settings.push((setting.to_owned(), value));
    Ok(())
}
