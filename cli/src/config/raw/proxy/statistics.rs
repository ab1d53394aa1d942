//! `statistics` of a frontend and `[statistics]`: where the page is, and who may see it.

use lb_proxy::{config::Mode, rules::Network};

use super::{Bind, Kind, Section};
use crate::config::{
    diagnostic::Span,
    raw::{
        Named,
        log::{self, TrafficLog},
    },
    reader::{At, Fields, Value},
    text,
};

/// `statistics`.
#[derive(Clone, Debug)]
pub(crate) enum Statistics {
    /// `false`: none, whatever `[defaults]` say.
    Off,
    /// A table.
    At(Page),
}

/// Where and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) span: Span,
    pub(crate) uri: Option<At<String>>,
    pub(crate) allow: Vec<At<Network>>,
    /// The name of a `[users.*]`.
    pub(crate) users: Option<At<String>>,
    pub(crate) public: Option<At<bool>>,
    /// The path of the metrics.
    pub(crate) metrics: Option<At<String>>,
}

/// The frontend of `[statistics]`.
pub(crate) const NAME: &str = "statistics";

const EXPECTED: &str = "a table, as in { uri = \"/haproxy-stats\" }, or false";

/// Of a frontend or of `[defaults]`.
pub(super) fn read(fields: &Fields<'_>) -> Option<Statistics> {
    let value = fields.value("statistics")?;
    match value.as_bool() {
        Some(false) => return Some(Statistics::Off),
        Some(true) => {
            value.wrong("says not where; write { uri = \"/haproxy-stats\" }");
            return None;
        }
        None => {}
    }
    let table = value.fields(format!("`statistics` of {}", fields.title), EXPECTED)?;
    if table.value("metrics").is_none() {
        table.require("uri", "uri = \"/haproxy-stats\"");
    }
    let page = Page::read(&table, value.span);
    table.finish(|key| elsewhere(key, false));
    Some(Statistics::At(page))
}

impl Page {
    pub(super) fn read(fields: &Fields<'_>, span: Span) -> Self {
        let uri = fields.value("uri").and_then(|value| {
            value.parsed("the beginning of a path, as in \"/haproxy-stats\"", super::check::path)
        });
        let allow = fields.value("allow").map(|value| {
            if value.is_empty_list() {
                value.mismatch("at least one network, as in [\"192.0.2.0/24\"]");
            }
            value.one_or_list()
        });
        let network = |value: &Value<'_>| value.parsed("a network, as in \"192.0.2.0/24\"", text::network);
        Self {
            span,
            uri,
            allow: allow.unwrap_or_default().iter().filter_map(network).collect(),
            users: fields.string("users", "the name of a [users.*], as in \"staff\""),
            public: fields.boolean("public"),
            metrics: fields
                .value("metrics")
                .and_then(|value| value.parsed("a path, as in \"/metrics\"", super::check::path)),
        }
    }
}

/// `[statistics]`: a frontend of its own that answers with nothing else.
pub(crate) fn listener(fields: Fields<'_>) -> Named<Section> {
    fields.require("bind", "bind = \"127.0.0.1:8404\"");
    let mut section = Section::empty(Kind::Frontend);
    section.mode = Some(At::new(Mode::Http, fields.span));
    section.binds = fields.value("bind").map(Bind::read_all).unwrap_or_default();
    let mut page = Page::read(&fields, fields.span);
    page.uri = page.uri.or_else(|| Some(At::new("/".to_owned(), fields.span)));
    page.metrics = page.metrics.or_else(|| Some(At::new("/metrics".to_owned(), fields.span)));
    let says_who = ["allow", "users", "public"].into_iter().any(|key| fields.value(key).is_some());
    if !says_who {
        let message = "[statistics] does not say who may read them; write users = \"staff\", the name of a [users.*], \
                       allow = [\"192.0.2.0/24\"], or public = true";
        fields.report.error(fields.span, message);
        // What follows from it is no further news.
        page.public = Some(At::new(true, fields.span));
    }
    section.statistics = Some(Statistics::At(page));
    section.log = log::log(&fields, false);
    section.traffic_log = TrafficLog::read(&fields);
    section.is_apart = true;
    let name = At::new(NAME.to_owned(), fields.span);
    fields.finish(|key| elsewhere(key, true));
    Named { name, value: section }
}

/// Words of HAProxy for what is called otherwise here.
pub(super) fn elsewhere(key: &str, is_section: bool) -> Option<String> {
    match key {
        "auth" => Some("write users = \"NAME\" and their passwords in a [users.NAME]".into()),
        "admin" => Some("the page is for reading; use lbctl, which knows who may do what".into()),
        "refresh" => Some("the page refreshes itself every two seconds".into()),
        "enable" => Some("it is on where it stands".into()),
        "bind" if !is_section => Some("it belongs into [statistics], which listens on its own".into()),
        _ => None,
    }
}
