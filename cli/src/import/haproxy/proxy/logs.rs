//! `log`, formats of logs, captures, the statistics page.

use super::Proxy;
use crate::import::haproxy::{
    directive::{Directive, Done},
    lexer::Word,
    table::{Row, missing, needless, row},
};

/// What a section says about its statistics page.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Statistics {
    /// `stats uri`, or the line that turns the page on.
    pub(in crate::import::haproxy) on: Option<Word>,
    pub(in crate::import::haproxy) has_password: bool,
}

const NO_LOG: &str = "requests are not logged in this version; events and errors are, on stderr";
pub(in crate::import::haproxy) const NO_PAGE: &str =
    "there is no statistics page in this version; `lbctl status` shows the same";

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    missing("log", "dflb", NO_LOG),
    missing("log-format, log-format-sd, error-log-format", "dfl", NO_LOG),
    missing("log-tag", "dflb", NO_LOG),
    missing("log-steps, option httplog, option httpslog", "dfl", NO_LOG),
    missing("option tcplog", "dflb", NO_LOG),
    missing("option dontlog-normal, option log-separate-errors, option logasap", "dfl", NO_LOG),
    missing("capture cookie, capture request header, capture response header, declare capture", "fl", NO_LOG),
    row("stats uri", "dflb", statistics, "", NO_PAGE),
    row("stats enable", "dflb", statistics, "", NO_PAGE),
    row("stats auth", "dflb", |proxy, line| { proxy.statistics.has_password = true; statistics(proxy, line) }, "", NO_PAGE),
    missing("stats admin, stats http-request", "flb", NO_PAGE),
    needless("stats realm, stats refresh, stats scope, stats hide-version, stats show-desc, stats show-legends, stats show-modules, stats show-node", "dflb", NO_PAGE),
];

fn statistics(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    if directive.keyword == "stats auth" {
        // A name and a password.
        directive.arguments.iter().for_each(|word| directive.notes.hide(word.span));
    }
    let is_uri = directive.keyword == "stats uri";
    if proxy.statistics.on.is_none() || is_uri {
        let text = directive.arguments.first().filter(|_| is_uri).map_or("/haproxy?stats", |word| &word.text);
        proxy.statistics.on = Some(Word { text: text.to_owned(), span: directive.span });
    }
    Ok(())
}
