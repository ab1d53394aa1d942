//! `timeout *`, and the words they had once.

use super::Proxy;
use crate::import::haproxy::{
    directive::{Directive, Done},
    table::{Row, row},
    values,
};

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("timeout client", "dfl", |proxy, line| set(proxy, line, "timeout.client"), "`timeout.client`", "`0` is no limit there, and 30d here."),
    row("timeout server", "dlb", |proxy, line| set(proxy, line, "timeout.server"), "`timeout.server`", "Here it limits the whole head of a response, too."),
    row("timeout connect", "dlb", |proxy, line| set(proxy, line, "timeout.connect"), "`timeout.connect`", ""),
    row("timeout queue", "dlb", |proxy, line| set(proxy, line, "timeout.queue"), "`timeout.queue`", ""),
    row("timeout tunnel", "dlb", |proxy, line| set(proxy, line, "timeout.tunnel"), "`timeout.tunnel`", ""),
    row("timeout http-request", "dflb", |proxy, line| set(proxy, line, "timeout.http_request"), "`timeout.http_request`", "Of a backend it is ignored: the head was read by the frontend."),
    row("timeout http-keep-alive", "dflb", |proxy, line| set(proxy, line, "timeout.http_keep_alive"), "`timeout.http_keep_alive`", "Of a backend it is ignored."),
    row("timeout client-fin", "dfl", |proxy, line| set(proxy, line, "timeout.client_fin"), "`timeout.client_fin`", ""),
    row("timeout server-fin", "dlb", |proxy, line| set(proxy, line, "timeout.server_fin"), "`timeout.server_fin`", ""),
    row("timeout check", "dlb", check, "`check.timeout`", "There it is the time for the answer, here for the whole check."),
    row("timeout tarpit", "dflb", |proxy, line| set(proxy, line, "timeout.tarpit"), "`timeout.tarpit`", "Of a frontend."),
    row("timeout client-hs", "dfl", |proxy, line| set(proxy, line, "timeout.client_handshake"), "`timeout.client_handshake`", ""),
    row("contimeout", "dlb", |proxy, line| old(proxy, line, "timeout connect", "timeout.connect"), "`timeout.connect`", "The old name of `timeout connect`; HAProxy 2.1 refuses it."),
    row("clitimeout", "dfl", |proxy, line| old(proxy, line, "timeout client", "timeout.client"), "`timeout.client`", "The old name of `timeout client`; HAProxy 2.1 refuses it."),
    row("srvtimeout", "dlb", |proxy, line| old(proxy, line, "timeout server", "timeout.server"), "`timeout.server`", "The old name of `timeout server`; HAProxy 2.1 refuses it."),
    row("timeout contimeout", "dlb", |proxy, line| old(proxy, line, "timeout connect", "timeout.connect"), "`timeout.connect`", "As `contimeout`."),
    row("timeout clitimeout", "dfl", |proxy, line| old(proxy, line, "timeout client", "timeout.client"), "`timeout.client`", "As `clitimeout`."),
    row("timeout srvtimeout", "dlb", |proxy, line| old(proxy, line, "timeout server", "timeout.server"), "`timeout.server`", "As `srvtimeout`."),
];

fn set(proxy: &mut Proxy, directive: &Directive<'_>, key: &'static str) -> Done {
    let word = directive.only()?;
    let time = values::time(word)?;
    if time > values::LONGEST {
        directive
            .notes
            .differ(directive.span, "longer than the longest time there is, 30d, which is written");
    }
    proxy.keys.set(key, values::limit(time), directive.span);
    Ok(())
}

fn old(proxy: &mut Proxy, directive: &Directive<'_>, name: &str, key: &'static str) -> Done {
    set(proxy, directive, key)?;
    let message = format!(
        "`{}` is the old name of `{name}`, which HAProxy refuses since version 2.1; converted",
        directive.keyword
    );
    directive.advise(message);
    Ok(())
}

fn check(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let time = values::time(directive.only()?)?;
    proxy.checks.timeout = Some(time);
    Ok(())
}
