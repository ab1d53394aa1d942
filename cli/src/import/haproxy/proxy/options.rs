//! `option *`.

use lb_proxy::config::ForwardedName;

use super::Proxy;
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done, Fault, shown},
            keys::Keys,
            lexer::Word,
            table::{Row, missing, needless, row},
            values,
        },
    },
};

/// `option forwardfor` with words behind it.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Forwarded {
    pub(in crate::import::haproxy) header: Option<String>,
    /// Networks whose clients are not named.
    pub(in crate::import::haproxy) except: Vec<String>,
    pub(in crate::import::haproxy) if_none: bool,
    pub(in crate::import::haproxy) span: Option<Span>,
}

/// Keepalive of one side.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Keepalive {
    pub(in crate::import::haproxy) on: Option<Span>,
    pub(in crate::import::haproxy) settings: Vec<(String, Value)>,
}

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("option forwardfor", "dflb", forwardfor, "`forwardfor`", "With `header`, `except` or `if-none`, and in a backend alone, it is a rule that adds the header."),
    row("option httpclose", "dflb", |proxy, line| connection(proxy, line, "close"), "`http_connection = \"close\"`", ""),
    row("option forceclose", "dflb", |proxy, line| connection(proxy, line, "close"), "`http_connection = \"close\"`", "The old name of `option httpclose`."),
    row("option http-server-close", "dflb", |proxy, line| connection(proxy, line, "server-close"), "`http_connection = \"server-close\"`", ""),
    row("option http-keep-alive", "dflb", |proxy, line| connection(proxy, line, "keep-alive"), "`http_connection = \"keep-alive\"`", "The default of both."),
    missing("option http-tunnel", "dflb", "every request is read; `mode = \"tcp\"` reads none"),
    row("option redispatch", "dlb", redispatch, "`redispatch`", "Off there, on here. A retry moves at once here; a number behind it, other than -1, is left out."),
    row("option dontlognull", "dfl", |proxy, line| flag(proxy, line, "dontlognull"), "`dontlognull`", "Off there; here on, and in mode tcp off."),
    row("option http-ignore-probes", "dfl", |proxy, line| flag(proxy, line, "http_ignore_probes"), "`http_ignore_probes`", "Off there, on here."),
    row("option http-buffer-request", "dflb", buffer_request, "`wait_for_body`", "Of a frontend. In a backend it is not there."),
    row("option abortonclose", "dlb", abort_on_close, "`abortonclose = \"always\"`", "Off there, as is written out; our default notices a client that leaves a line."),
    row("option allbackups", "dlb", |proxy, line| flag(proxy, line, "allbackups"), "`allbackups`", ""),
    row("option persist", "dlb", |proxy, line| flag(proxy, line, "persist"), "`persist`", ""),
    row("option tcpka", "dflb", |proxy, line| keepalive(proxy, line, &[0, 1]), "`tcp_keepalive`", ""),
    row("option clitcpka", "dfl", |proxy, line| keepalive(proxy, line, &[0]), "`tcp_keepalive`", "A `listen` has one for both sides."),
    row("option srvtcpka", "dlb", |proxy, line| keepalive(proxy, line, &[1]), "`tcp_keepalive`", "A `listen` has one for both sides."),
    missing("option originalto", "dflb", "write a rule: add_header = { \"X-Original-To\" = \"{local.ip}\" }"),
    row("option forwarded", "dlb", rfc7239, "`forwarded`", "With `by-expr` and `for-expr` only of `str(_name)`, and never with `host-expr` and ports that are computed."),
    missing("option h1-case-adjust-bogus-client", "dfl", "names of headers are forwarded as they came"),
    missing("option h1-case-adjust-bogus-server", "dlb", "names of headers are forwarded as they came"),
    missing("option accept-invalid-http-request", "dfl", "docs/http1.md says what is refused, and there is no way to be laxer"),
    missing("option accept-invalid-http-response", "dlb", "docs/http1.md says what is refused, and there is no way to be laxer"),
    missing("option accept-unsafe-violations-in-http-request", "dfl", "docs/http1.md says what is refused, and there is no way to be laxer"),
    missing("option accept-unsafe-violations-in-http-response", "dlb", "docs/http1.md says what is refused, and there is no way to be laxer"),
    missing("option checkcache", "dlb", "responses are not searched for cookies that could be cached"),
    missing("option http-use-proxy-header", "dfl", "`Proxy-Connection` is removed from every request"),
    missing("option http_proxy", "dflb", "there is no forward proxy"),
    missing("option transparent", "dlb", "write the server's address"),
    missing("option nolinger", "dflb", "connections end in the ordinary way"),
    missing("option independent-streams", "dflb", "a connection on which one side moves is alive"),
    needless("option contstats", "dfl", "counters are counted when it happens"),
    needless("option socket-stats", "dfl", "counters are of the frontend"),
    needless("option http-no-delay", "dflb", "nothing is held back"),
    needless("option http-pretend-keepalive", "dlb", "servers are told the truth"),
    row("option http-restrict-req-hdr-names", "dflb", restrict_names, "`restrict_header_names`", "Of a frontend. In a backend it is not there, unless all frontends before it say so as well."),
    needless("option http-drop-request-trailers", "dlb", "trailers of requests go to backends that have servers of HTTP/2 alone"),
    needless("option http-drop-response-trailers", "dfl", "trailers are dropped unless the client asks for them"),
    needless("option prefer-last-server", "dlb", "a request goes where it is its turn"),
    needless("option idle-close-on-response", "dfl", "a stop drains: idle connections are closed, and others after their response"),
    needless("option disable-h2-upgrade", "dflb", "HTTP/2 without TLS is spoken only where `http2` says so"),
    needless("option tcp-smart-accept", "dfl", "the kernel sends its acknowledgements as it sees fit"),
    needless("option tcp-smart-connect", "dlb", "the kernel sends its acknowledgements as it sees fit"),
    needless("option use-small-buffers", "dflb", "idle connections have no buffers"),
];

/// What HAProxy does without a word, and we don't.
pub(super) fn assume(keys: &mut Keys) {
    keys.assume("redispatch", false, "HAProxy's default; ours is true");
    keys.assume("abortonclose", false, "HAProxy's default; ours is true in mode http");
    keys.assume("dontlognull", false, "HAProxy's default; ours is true");
    keys.assume("http_ignore_probes", false, "HAProxy's default; ours is true");
    keys.assume("min_body_rate", 0_u64, "HAProxy has no such limit; ours is 500 bytes per second");
    keys.assume("retry_budget", 100_u64, "HAProxy has no such limit; ours is 20 % of the requests");
}

fn flag(proxy: &mut Proxy, directive: &Directive<'_>, key: &'static str) -> Done {
    if let Some(more) = directive.arguments.first() {
        return Err(Fault::at(more, format!("`{}` takes no arguments", directive.keyword)));
    }
    proxy.keys.set(key, !directive.negated, directive.span);
    Ok(())
}

fn abort_on_close(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if let Some(more) = directive.arguments.first() {
        return Err(Fault::at(more, format!("`{}` takes no arguments", directive.keyword)));
    }
    let value = if directive.negated { Value::Flag(false) } else { Value::text("always") };
    proxy.keys.set("abortonclose", value, directive.span);
    Ok(())
}

fn restrict_names(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let how = match directive.arguments.first() {
        _ if directive.negated => "preserve",
        None => return Err("`option http-restrict-req-hdr-names` takes preserve, delete or reject".into()),
        Some(how) => match how.text.as_str() {
            how @ ("preserve" | "delete" | "reject") => how,
            other => {
                return Err(Fault::at(
                    how,
                    format!("`{}` is none of preserve, delete and reject", shown(other)),
                ));
            }
        },
    };
    proxy.keys.set("restrict_header_names", Value::text(how), directive.span);
    Ok(())
}

fn connection(proxy: &mut Proxy, directive: &Directive<'_>, mode: &str) -> Done {
    // `no` undoes this one and not another one that came later.
    if !directive.negated {
        proxy.keys.set("http_connection", Value::text(mode), directive.span);
    } else if proxy.keys.is_text("http_connection", mode) {
        proxy.keys.set("http_connection", Value::text("keep-alive"), directive.span);
    }
    Ok(())
}

fn redispatch(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if let Some(interval) = directive.arguments.first() {
        let number: i64 = interval
            .text
            .parse()
            .map_err(|_| Fault::at(interval, format!("`{}` is no number", shown(&interval.text))))?;
        proxy.keys.set("redispatch", number != 0 && !directive.negated, directive.span);
        // -1 is what it is without a number.
        if !matches!(number, 0 | -1) {
            directive
                .notes
                .differ(directive.span, "every retry may go to another server here, not only some of them");
        }
        return Ok(());
    }
    proxy.keys.set("redispatch", !directive.negated, directive.span);
    Ok(())
}

fn buffer_request(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if proxy.kind == super::Kind::Backend {
        return Err(
            "`option http-buffer-request` of a backend: write `wait_for_body` in its frontends".into()
        );
    }
    flag(proxy, directive, "wait_for_body")
}

fn keepalive(proxy: &mut Proxy, directive: &Directive<'_>, sides: &[usize]) -> Done {
    for side in sides {
        proxy.keepalive[*side].on = (!directive.negated).then_some(directive.span);
    }
    Ok(())
}

fn forwardfor(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if directive.negated {
        (proxy.forwarded, _) = (None, proxy.keys.take("forwardfor"));
        return Ok(());
    }
    let mut forwarded = Forwarded { span: Some(directive.span), ..Forwarded::default() };
    let mut words = directive.arguments.iter();
    let value = |word: Option<&Word>, of: &str| {
        word.cloned().ok_or_else(|| {
            Fault::from(format!("`{of}` of `option forwardfor` takes a value, and there is none"))
        })
    };
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "except" => forwarded.except.push(values::network(&value(words.next(), "except")?)?),
            "header" => forwarded.header = Some(value(words.next(), "header")?.text),
            "if-none" => forwarded.if_none = true,
            other => {
                return Err(Fault::at(word, format!("`{}` is no word of `option forwardfor`", shown(other))));
            }
        }
    }
    proxy.forwarded = Some(forwarded);
    Ok(())
}

/// `option forwarded [proto] [host] [by|by-expr EXPRESSION] [by_port] [for|for-expr EXPRESSION] [for_port]`
fn rfc7239(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if directive.negated {
        proxy.keys.set("forwarded", false, directive.span);
        return Ok(());
    }
    let everybody = ["0.0.0.0/0", "::/0"].map(Value::text);
    let mut table = vec![("trust".to_owned(), Value::List(everybody.into()))];
    // With a word behind it nothing is said without one.
    let is_said =
        |known: &str| directive.arguments.iter().any(|word| word.text.trim_end_matches("-expr") == known);
    if !directive.arguments.is_empty() {
        let unsaid = ["proto", "for"].into_iter().filter(|known| !is_said(known));
        table.extend(unsaid.map(|known| (known.to_owned(), Value::Flag(false))));
    }
    let mut words = directive.arguments.iter();
    while let Some(word) = words.next() {
        let value = match word.text.as_str() {
            "proto" | "host" | "by" | "by_port" | "for" | "for_port" => Value::Flag(true),
            "by-expr" | "for-expr" => match words.next().and_then(|word| name_of(&word.text)) {
                Some(name) => Value::text(name),
                None => {
                    let why = format!(
                        "`{}`: a node is called by its address, or by a name as in str(_lb1)",
                        word.text
                    );
                    return Err(Fault::at(word, why));
                }
            },
            other => {
                let why = format!(
                    "`{}` of `option forwarded`: proto, host, by, by_port, for and for_port are there",
                    shown(other)
                );
                return Err(Fault::at(word, why));
            }
        };
        table.push((word.text.trim_end_matches("-expr").to_owned(), value));
    }
    directive.notes.advise(
        directive.span,
        "as in HAProxy, what clients say of themselves in `Forwarded` is passed on: write the networks of the proxies in front into `trust`",
    );
    proxy.keys.set("forwarded", Value::Table(table), directive.span);
    Ok(())
}

/// The name in `str(_lb1)`.
fn name_of(expression: &str) -> Option<&str> {
    let name = expression.trim().strip_prefix("str(")?.strip_suffix(')')?.trim_matches(['"', '\'']);
    ForwardedName::new(name).map(|_| name)
}

impl Forwarded {
    /// Does the other one say the same, wherever it stands?
    pub(in crate::import::haproxy) fn is_like(&self, other: Option<&Self>) -> bool {
        let said = |one: &Self| {
            let header = one.header.as_deref().unwrap_or("X-Forwarded-For").to_ascii_lowercase();
            (header, one.except.clone(), one.if_none)
        };
        other.is_some_and(|other| said(other) == said(self))
    }

    /// It is what our key does.
    pub(in crate::import::haproxy) fn is_plain(&self) -> bool {
        let usual = |header: &String| header.eq_ignore_ascii_case("X-Forwarded-For");
        self.header.as_ref().is_none_or(usual) && self.except.is_empty() && !self.if_none
    }
}
