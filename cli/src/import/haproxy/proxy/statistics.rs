//! `stats`: the page with statistics, and who may read it.

use super::{Proxy, RuleLine};
use crate::{
    config::diagnostic::Span,
    import::haproxy::{
        directive::{Directive, Done, Fault, shown},
        table::{Row, missing, needless, row},
        users::Userlist,
    },
};

/// What a section says about its page.
#[derive(Clone, Debug, Default)]
pub(in crate::import::haproxy) struct Statistics {
    /// The line that turns it on.
    pub(in crate::import::haproxy) on: Option<Span>,
    /// `stats uri`
    pub(in crate::import::haproxy) uri: Option<String>,
    /// `stats auth`
    pub(in crate::import::haproxy) users: Userlist,
    /// `stats http-request`
    pub(in crate::import::haproxy) rules: Vec<RuleLine>,
}

const LOOK: &str = "the page has a look of its own";

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("stats uri", "dflb", statistics, "`statistics.uri`", "Of a frontend."),
    row("stats enable", "dflb", statistics, "`statistics.uri`", "At `/haproxy?stats`, unless `stats uri` says otherwise."),
    row("stats auth", "dflb", statistics, "`statistics.users`, `[users.NAME]`", "The password is hashed."),
    row("stats http-request", "flb", statistics, "`statistics.allow`, `statistics.users`", "Where it is about addresses (`deny unless { src .. }`) or asks for a password of a `userlist`."),
    needless("stats realm, stats refresh, stats hide-version, stats show-desc, stats show-legends, stats show-modules, stats show-node", "dflb", LOOK),
    missing("stats admin", "flb", "the page is for reading; a server is taken out with `lbctl server BACKEND/SERVER drain` or `maint`, by its agent, or with `disable_on_404`"),
    missing("stats scope", "dflb", "the page shows all sections"),
];

fn statistics(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let statistics = &mut proxy.statistics;
    match directive.keyword {
        "stats auth" => statistics.users.add_clear(directive.only()?)?,
        "stats http-request" => {
            statistics.rules.push(RuleLine::new(directive));
            // That alone turns nothing on.
            return Ok(());
        }
        "stats uri" => {
            let uri = directive.only()?;
            if !uri.text.starts_with('/') {
                return Err(Fault::at(
                    uri,
                    format!("`{}`: the page is where a path begins", shown(&uri.text)),
                ));
            }
            statistics.uri = Some(uri.text.clone());
            statistics.on = Some(directive.span);
        }
        _ => {}
    }
    statistics.on.get_or_insert(directive.span);
    Ok(())
}
