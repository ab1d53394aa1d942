//! The lines that become rules. They wait until every section is there: conditions name lists, choices name backends.

use super::{Proxy, keep_rule};
use crate::{
    config::{diagnostic::Span, text::write_duration},
    import::{
        document::Value,
        haproxy::{
            directive::{Directive, Done},
            lexer::Word,
            table::{Row, missing, needless, row},
            values,
        },
    },
};

/// A line as it was read.
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct RuleLine {
    /// `http-request`
    pub(in crate::import::haproxy) keyword: String,
    pub(in crate::import::haproxy) arguments: Vec<Word>,
    pub(in crate::import::haproxy) span: Span,
}

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("acl", "dflb", keep_rule, "`when`", "Written where it is used. Conditions: below."),
    row("use_backend", "fl", keep_rule, "a rule with `backend`", "Behind the other rules, as HAProxy does it. A name that is computed is a text; one that no backend has is the default."),
    row("use-server", "lb", keep_rule, "a rule with `server`", "Behind the other rules, as HAProxy does it. A name that is computed is not there."),
    row("http-request", "dflb", keep_rule, "`rules`", "Actions: below."),
    row("http-response", "dflb", keep_rule, "`response_rules`", "Actions: below."),
    row("http-after-response", "dflb", keep_rule, "`response_rules`", "Not on what is answered without a server."),
    row("tcp-request connection", "dfl", keep_rule, "`rules`", "In mode http it answers instead of closing."),
    row("tcp-request session", "dfl", keep_rule, "`rules`", "As `tcp-request connection`."),
    row("tcp-request content", "dflb", keep_rule, "`rules`", "As `tcp-request connection`; nothing is read of a tcp connection before."),
    row("tcp-request inspect-delay", "dflb", inspect_delay, "`timeout.inspect`", "Where a rule of mode tcp looks at how a client begins TLS; nothing else waits for bytes."),
    missing("tcp-response content", "dlb", "what servers say in mode tcp is not looked at"),
    needless("tcp-response inspect-delay", "dlb", "what servers say in mode tcp is not looked at"),
    row("redirect", "flb", keep_rule, "a rule with `redirect`", "Behind the `http-request` rules, as HAProxy does it."),
];

fn inspect_delay(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    let time = values::time(directive.only()?)?;
    proxy.keys.set("timeout.inspect", Value::Text(write_duration(time)), directive.span);
    Ok(())
}

impl RuleLine {
    pub(in crate::import::haproxy) fn new(directive: &Directive<'_>) -> Self {
        Self {
            keyword: directive.keyword.to_owned(),
            arguments: directive.arguments.to_vec(),
            span: directive.span,
        }
    }
}
