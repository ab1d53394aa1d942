//! What is answered without a server: `error_page` and `monitor_uri`.

use crate::config::{
    diagnostic::Span,
    reader::{At, Fields, Value},
};

/// One entry of `error_page`.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) span: Span,
    /// The file, as written.
    pub(crate) file: At<String>,
}

/// `monitor_uri`.
#[derive(Debug)]
pub(crate) struct Monitor {
    pub(crate) uri: At<String>,
    pub(crate) fail_if: Vec<TooFew>,
}

/// One entry of `fail_if`.
#[derive(Debug)]
pub(crate) struct TooFew {
    pub(crate) backend: At<String>,
    pub(crate) usable_below: u32,
}

const PAGES: &str = "a table of files by status, as in error_page = { 503 = \"errors/503.html\" }";
const MONITOR: &str = "a path, as in \"/alive\", or a table, as in { uri = \"/alive\", fail_if = .. }";
const FAIL_IF: &str = "a table, as in { backend = \"app\", usable_below = 1 }";

/// In the order of the file.
pub(super) fn pages(fields: &Fields<'_>) -> Vec<Page> {
    let entries = fields.value("error_page").and_then(|value| value.pairs(PAGES)).unwrap_or_default();
    let page = |(status, value): &(At<String>, Value<'_>)| {
        let Some(number) = status.value.parse().ok().filter(|status| (400..=599).contains(status)) else {
            let message =
                format!("`{}` is no status of an error; write 400 to 599", status.value.escape_debug());
            value.report_at(status.span, &message);
            return None;
        };
        if !lb_proxy::http::reply::Reply::is_known(number) {
            let message = format!("nothing is answered with {number} here, so its page would never be seen");
            value.report_at(status.span, &message);
            return None;
        }
        let file = value.string("the path of a file, as in \"errors/503.html\"")?;
        Some(Page { status: number, span: status.span, file })
    };
    entries.iter().filter_map(page).collect()
}

pub(super) fn monitor(fields: &Fields<'_>) -> Option<Monitor> {
    let value = fields.value("monitor_uri")?;
    if !value.is_table() {
        let uri = value.parsed(MONITOR, super::check::path)?;
        return Some(Monitor { uri, fail_if: Vec::new() });
    }
    let table = value.fields(format!("`monitor_uri` of {}", fields.title), MONITOR)?;
    table.require("uri", "uri = \"/alive\"");
    let uri =
        table.value("uri").and_then(|value| value.parsed("a path, as in \"/alive\"", super::check::path));
    let fail_if = table.value("fail_if").map(Value::one_or_list).unwrap_or_default();
    let fail_if = fail_if.iter().filter_map(too_few).collect();
    table.finish(|_| None);
    Some(Monitor { uri: uri?, fail_if })
}

fn too_few(value: &Value<'_>) -> Option<TooFew> {
    let fields = value.fields("`fail_if`".into(), FAIL_IF)?;
    fields.require("backend", "backend = \"app\"");
    fields.require("usable_below", "usable_below = 1");
    let backend = fields.string("backend", "the name of a backend");
    let usable_below = fields.integer("usable_below", 1..=10_000);
    fields.finish(|_| None);
    Some(TooFew { backend: backend?, usable_below: usable_below?.value })
}
