//! Words that HAProxy itself has no more, as files of versions 1.1 to 1.9 have them.

use super::{Proxy, keep_rule};
use crate::import::haproxy::{
    directive::{Directive, Done},
    table::{Row, missing, row},
};

#[rustfmt::skip] // a row to a line
pub(super) const ROWS: &[Row<Proxy>] = &[
    row("redispatch", "dlb", redispatch, "`redispatch`", "As `option redispatch`."),
    row("block", "flb", keep_rule, "a rule with `deny`", "As `http-request deny`, and before all of these."),
    row("reqadd", "dflb", keep_rule, "a rule with `add_header`", ""),
    row("reqallow", "dflb", keep_rule, "a rule with `allow`", "Where the expression is about the request line or one header."),
    row("reqiallow", "dflb", keep_rule, "a rule with `allow`", "As `reqallow`."),
    row("reqdel", "dflb", keep_rule, "a rule with `delete_header`", "Where the expression is the name of a header."),
    row("reqidel", "dflb", keep_rule, "a rule with `delete_header`", "As `reqdel`."),
    row("reqdeny", "dflb", keep_rule, "a rule with `deny`", "As `reqallow`."),
    row("reqideny", "dflb", keep_rule, "a rule with `deny`", "As `reqallow`."),
    row("reqrep", "dflb", keep_rule, "a rule with `replace_path` or `replace_header`", "Where the expression is about the path or one header."),
    row("reqirep", "dflb", keep_rule, "a rule with `replace_path` or `replace_header`", "As `reqrep`."),
    missing("reqpass, reqipass", "dflb", "write the rules with the condition that they need"),
    missing("reqsetbe, reqisetbe", "dflb", "write a rule with `backend`"),
    row("reqtarpit", "dflb", keep_rule, "a rule with `tarpit`", "As `reqallow`."),
    row("reqitarpit", "dflb", keep_rule, "a rule with `tarpit`", "As `reqallow`."),
    row("rspadd", "dflb", keep_rule, "a response rule with `add_header`", ""),
    row("rspdel", "dflb", keep_rule, "a response rule with `delete_header`", "Where the expression is the name of a header."),
    row("rspidel", "dflb", keep_rule, "a response rule with `delete_header`", "As `rspdel`."),
    row("rsprep", "dflb", keep_rule, "a response rule with `replace_header`", "Where the expression is about one header."),
    row("rspirep", "dflb", keep_rule, "a response rule with `replace_header`", "As `rsprep`."),
    row("rspdeny", "dflb", keep_rule, "a response rule with `deny`", "Where the expression is about one header."),
    row("rspideny", "dflb", keep_rule, "a response rule with `deny`", "As `rspdeny`."),
];

fn redispatch(proxy: &mut Proxy, directive: &Directive<'_>) -> Done {
    proxy.keys.set("redispatch", !directive.negated, directive.span);
    directive.advise("`redispatch` is the old name of `option redispatch`; converted");
    Ok(())
}
