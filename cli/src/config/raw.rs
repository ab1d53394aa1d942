//! The file as it was written: every key optional, every value with its place, no defaults, no references resolved.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use toml::de::DeTable;

pub(crate) use self::{
    by_node::ByNode,
    cluster::{Cluster, Node},
    global::{EVENT_FORMATS, Global},
    log::{LogEntry, WIRES as LOG_WIRES},
    map::{KINDS as MAP_KINDS, Map},
    notify::{Notify, SECURITY, Url},
    proxy::{
        AbortOnClose, Agent, BalanceBy, Balancing, Bind, BindAddress, Check, CheckSettings, Failure, Given,
        Keepalive, Kind, OF_HOST, Observing, OnMarkedDown, PROXY_EXTENSIONS, Page, PageSource, Pool, RetryOn,
        Rule, Section, Server, ServerTls, Source, SourceSettings, Spoken, Statistics, Tls, TlsCertificate,
        TlsClients, UniqueId, rules,
        rules::{Action, Condition, Content, Destination, SourceFrom},
    },
    track::{PROBES, Track},
    users::Users,
    vip::{Preference, Vip},
};
use super::{
    diagnostic::{Report, Span},
    reader::{At, Fields},
};

mod by_node;
mod cluster;
pub(crate) mod command;
mod global;
mod log;
mod map;
mod notify;
mod owner;
mod proxy;
mod track;
mod users;
mod vip;

/// The whole file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) cluster: Option<Cluster>,
    pub(crate) vips: Vec<Named<Vip>>,
    /// In the order of the file.
    pub(crate) tracks: Vec<Named<Track>>,
    /// In the order of the file.
    pub(crate) notifies: Vec<Named<Notify>>,
    pub(crate) global: Global,
    /// In the order of the file.
    pub(crate) maps: Vec<Named<Map>>,
    /// In the order of the file.
    pub(crate) users: Vec<Named<Users>>,
    pub(crate) defaults: Section,
    /// `[frontend.*]`, `[backend.*]` and `[listen.*]`, in the order of the file.
    pub(crate) sections: Vec<Named<Section>>,
    /// How reports call it.
    pub(crate) name: String,
    /// Where other files are that it names without a whole path.
    pub(crate) folder: PathBuf,
}

/// A table under a name.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) name: At<String>,
    pub(crate) value: T,
}

impl File {
    pub(crate) fn read(table: &DeTable<'_>, report: &Report<'_>) -> Self {
        let root = Fields::new(table, Span { start: 0, end: 0 }, "the file".into(), report);
        let cluster = root.fields("cluster", "a table, [cluster]").map(|mut fields| {
            fields.title = "[cluster]".into();
            Cluster::read(fields)
        });
        let global = root.fields("global", "a table, [global]").map(|mut fields| {
            fields.title = "[global]".into();
            Global::read(fields)
        });
        let vips = tables(&root, "vip", Vip::read);
        let tracks = tables(&root, "track", Track::read);
        let notifies = tables(&root, "notify", Notify::read);
        let maps = tables(&root, "map", Map::read);
        let users = tables(&root, "users", Users::read);
        let defaults = root.fields("defaults", "a table, [defaults]").map(|mut fields| {
            fields.title = "[defaults]".into();
            Section::read(fields, Kind::Defaults)
        });
        let mut sections = tables(&root, "frontend", |fields| Section::read(fields, Kind::Frontend));
        sections.extend(tables(&root, "backend", |fields| Section::read(fields, Kind::Backend)));
        sections.extend(tables(&root, "listen", |fields| Section::read(fields, Kind::Listen)));
        let statistics = root.fields("statistics", "a table, [statistics]").map(|mut fields| {
            fields.title = "[statistics]".into();
            proxy::statistics::listener(fields)
        });
        sections.extend(statistics);
        sections.sort_by_key(|section| section.name.span);
        root.finish(|_| None);
        Self {
            cluster,
            vips,
            tracks,
            notifies,
            global: global.unwrap_or_default(),
            maps,
            users,
            defaults: defaults.unwrap_or_else(|| Section::empty(Kind::Defaults)),
            sections,
            name: String::new(),
            folder: PathBuf::new(),
        }
    }
}

/// The tables `[kind.NAME]`, in the order of the file.
fn tables<'a, T>(root: &Fields<'a>, kind: &'static str, read: impl Fn(Fields<'a>) -> T) -> Vec<Named<T>> {
    let mut tables = Vec::new();
    let mut nameless = false;
    for (name, value) in root.named(kind, &format!("a set of named tables, as in [{kind}.web]")) {
        if !value.is_table() {
            if !nameless {
                let message =
                    format!("`{}` stands in [{kind}], which has no name; write [{kind}.web]", name.value);
                root.report.error(name.span, message);
            }
            nameless = true;
            continue;
        }
        let Some(mut fields) = value.fields(format!("[{kind}.{}]", name.value), "a table") else { continue };
        fields.span = name.span;
        tables.push(Named { value: read(fields), name });
    }
    tables
}

/// Timeouts and intervals that must not be zero.
const POSITIVE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);
