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
    pub(crate) source: PageSource,
}

/// Where a page is.
#[derive(Clone, Debug)]
pub(crate) enum PageSource {
    /// In this file, as written.
    File(At<String>),
    /// Somewhere else, where clients are led with this status.
    Location { location: String, status: u16 },
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
const PAGE: &str = "the path of a file, as in \"errors/503.html\", or a table, as in { location = \"https://www.example.com/sorry\" }";
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
        Some(Page { status: number, span: status.span, source: source(value)? })
    };
    entries.iter().filter_map(page).collect()
}

fn source(value: &Value<'_>) -> Option<PageSource> {
    if !value.is_table() {
        return value.string(PAGE).map(PageSource::File);
    }
    let fields = value.fields("a page of `error_page`".into(), PAGE)?;
    fields.require("location", "location = \"https://www.example.com/sorry\"");
    let location = fields.string("location", "an address or a path, as in \"https://www.example.com/sorry\"");
    let status = fields.value("status").map(|value| status(&value));
    fields.finish(|_| None);
    let location = location?;
    if location.value.is_empty() || !location.value.bytes().all(|byte| byte.is_ascii_graphic()) {
        let shown = location.value.escape_debug();
        let message = format!(
            "\"{shown}\" is no location; write it in ASCII, with `%20` and the like for other characters"
        );
        value.report_at(location.span, &message);
        return None;
    }
    Some(PageSource::Location { location: location.value, status: status.unwrap_or(Some(302))? })
}

/// Those that are forgotten again: an error is not for ever.
fn status(value: &Value<'_>) -> Option<u16> {
    let status = value.as_u16().filter(|status| [302, 303, 307].contains(status));
    if status.is_none() {
        value.mismatch("302, 303 or 307");
    }
    status
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
