//! What a section is: its mode, where it listens, how much it takes, where it leads.

use super::{Proxy, bind, keep_rule};
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Directive, Done, Fault, shown},
        keys::Keys,
        table::{Row, missing, needless, row},
        values,
    },
};

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("mode", "dflb", mode, "`mode`", "`tcp` is the default there, `http` here: it is always written."),
    row("bind", "fl", bind::read, "`bind`", "`*:80` is all IPv4 addresses, `[::]:80` all IPv6 ones; `:::80` of HAProxy may be both."),
    row("maxconn", "dfl", maxconn, "`maxconn`", ""),
    row("default_backend", "dfl", default_backend, "`default_backend`", ""),
    row("disabled", "dflb", disabled, "", "The section is left out."),
    row("enabled", "dflb", |proxy, _| { proxy.is_disabled = false; Ok(()) }, "", "That is what a section is."),
    needless("description", "flb", "write a comment"),
    needless("id, guid", "flb", "sections are known by their names"),
    needless("backlog", "dfl", "the kernel's queue is as long as the system allows (`net.core.somaxconn`)"),
    needless("bind-process", "dflb", "there is one process, whose workers all take connections"),
    missing("rate-limit sessions", "dfl", "no limit on new connections of all clients together; `per_source` limits each"),
    row("monitor-net", "fl", keep_rule, "a rule with `source` and `respond`", "In mode tcp it closes. HAProxy has it no more."),
    missing("transparent", "dlb", "write the server's address"),
    row("filter", "flb", filter, "", "`filter compression` only says where `compression` has its turn; there are no others."),
    missing("use-fcgi-app", "lb", "there is no FastCGI"),
];

/// What HAProxy does without a word, and we don't.
pub(super) fn assume(keys: &mut Keys) {
    keys.assume("mode", Value::text("tcp"), "HAProxy's default; ours is http");
}

fn mode(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    match word.text.as_str() {
        mode @ ("http" | "tcp") => proxy.keys.set("mode", Value::text(mode), directive.span),
        "health" => {
            return Err(Fault::at(word, "mode health is gone from HAProxy, too; write `monitor_uri`"));
        }
        other => {
            return Err(Fault::at(
                word,
                format!("mode {} is not there; modes are http and tcp", shown(other)),
            ));
        }
    }
    Ok(())
}

fn filter(_: &mut Proxy, directive: &Directive<'_>) -> Done {
    let name = directive.first()?;
    match name.text.as_str() {
        "compression" => Ok(()),
        other => Err(Fault::at(name, format!("`filter {}`: there are no filters", shown(other)))),
    }
}

fn maxconn(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    let number = values::number(word)?;
    if number == 0 {
        // That of `global`.
        proxy.keys.take("maxconn");
        return Ok(());
    }
    proxy.keys.set("maxconn", number, directive.span);
    Ok(())
}

fn default_backend(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let word = directive.only()?;
    proxy.default_backend = Some(word.clone());
    Ok(())
}

fn disabled(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    proxy.is_disabled = !directive.negated;
    Ok(())
}
