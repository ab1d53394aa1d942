//! The one conversion from what was written to what it means: defaults, references and every check across sections.
//!
//! A value that could not be read was reported by the reader and stands in as a placeholder here (0.0.0.0, a default),
//! so that one pass reports everything. The result is handed out only if nothing was reported as an error.

use std::num::NonZeroUsize;

use lb_proxy::{
    config::{EventFormat, Mode, Owner, Place, ResolverConfig, TicketSecret},
    sample::{Names, Stage},
};

use super::{
    diagnostic::{Report, Span},
    model::{Config, Global, Positions},
    raw,
    reader::At,
};

mod answers;
mod backend;
mod balance;
mod binds;
mod by_node;
mod check;
mod cluster;
mod compression;
mod effects;
mod forwarded;
mod frontend;
mod group;
mod hello_room;
mod log;
pub(crate) mod loops;
mod map;
mod notify;
mod options;
mod paths;
mod persistence;
mod reach;
mod rules;
mod secret;
mod server_tls;
mod source;
mod sourceless;
pub(crate) mod statistics;
mod template;
mod tls;
mod track;
mod transport;
mod unique_id;
mod users;
mod vip;

pub(super) use group::DEFAULT_GROUP;

/// The limit on client connections of the process, unless the file has one.
pub(crate) const MAXCONN: u32 = 20_000;

/// `hash` and `files` are left empty.
pub(super) fn convert(file: &raw::File, report: &Report<'_>) -> Config {
    let cluster = cluster::convert(file.cluster.as_ref(), &file.folder, report);
    let global = global(&file.global);
    let vips = vip::convert(&file.vips, &cluster, report);
    let mut groups = group::convert(&file.vips, &vips, &cluster, report);
    hello_room::check(&file.vips, &cluster, report);
    for config in groups.iter_mut().flat_map(|group| &mut group.by_node) {
        config.stall_timeout = global.stall_timeout;
    }
    let tracks = track::convert(&file.tracks, &groups, &cluster, report);
    let resolver = ResolverConfig {
        nameservers: file.global.nameservers.iter().map(|at| at.value).collect(),
        ..Default::default()
    };
    let notifies = notify::convert(file, &resolver, report);

    let maps = map::convert(file, report);
    let names = names(file);
    let users = users::convert(file, report);
    let context = rules::Context {
        names: &names,
        users: &users,
        mode: Mode::Http,
        backends: None,
        servers: None,
        stage: Stage::Request,
        folder: &file.folder,
        report,
    };
    let (mut backends, backend_spans) = backend::convert(file, context, report);
    let sources = source::convert(file, &cluster, &mut backends, report);
    let maxconn = file.global.maxconn.as_ref().map_or(MAXCONN, |maxconn| maxconn.value);
    let mut frontends = frontend::convert(file, maxconn, &backends, context, report);
    if names.wants_request_id() || unique_id::is_told(&backends) {
        unique_id::complete(&mut frontends);
    }
    binds::check(file, report);
    users::warn_unused(file, &frontends, &backends, report);
    log::check(file, report);
    let sections = reach::Sections::new(file, &frontends, &backends);
    sourceless::warn(&sections, report);
    paths::warn(&sections, report);
    reach::convert(file, &frontends, &backends, &backend_spans, &mut groups, report);
    let own = loops::OwnAddresses::of(&cluster, &groups);
    loops::warn(&sections, (&frontends, &backends), &own, report);
    effects::warn(file, &sections, &backends, &groups, &names, report);

    // Those of other purposes follow from other words.
    let ticket_secret = cluster.secret().map(|secret| TicketSecret::new(secret.sign("tickets of TLS", &[])));
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Config {
        hash: String::new(),
        positions: positions(file),
        files: Vec::new(),
        warnings: Report::new("").finish(""),
        cluster,
        groups,
        tracks,
        notifies,
        sources,
        proxy: lb_proxy::Config {
            threads: global.threads.unwrap_or(cores),
            maxconn,
            compression_cpu: file
                .global
                .compression_cpu
                .as_ref()
                .map_or(100, |at| u8::try_from(at.value).unwrap_or(100)),
            stall_timeout: global.stall_timeout,
            node: String::new(),
            maps,
            users,
            desk: None,
            ticket_secret,
            log: log::global(file),
            resolver,
            frontends,
            backends,
        },
        global,
    }
}

fn positions(file: &raw::File) -> Positions {
    let of = |belongs: fn(&raw::Kind) -> bool| {
        let sections = file.sections.iter().zip(1..);
        sections.filter(|(section, _)| belongs(&section.value.kind)).map(|(_, position)| position).collect()
    };
    Positions { frontends: of(|kind| kind.is_frontend()), backends: of(|kind| kind.is_backend()) }
}

/// What templates may name. A map without a file counts, so that its uses are no further errors.
fn names(file: &raw::File) -> Names {
    let mut names = Names::new(file.maps.iter().map(|map| map.name.value.clone()).collect());
    for section in &file.sections {
        let lists =
            [(&section.value.rules, Stage::Request), (&section.value.response_rules, Stage::Response)];
        for (rules, stage) in lists {
            for action in rules.iter().flat_map(|rule| &rule.then) {
                if let Some(name) = action.value.variable() {
                    names.declare(name, stage);
                }
            }
        }
    }
    names
}

/// Where `span` stands in the file, as messages of a running process call it.
fn place(file: &str, span: Span, report: &Report<'_>) -> Place {
    let (line, column) = report.place(span);
    Place(format!("{file}:{line}:{column}").into())
}

fn global(raw: &raw::Global) -> Global {
    let mut global = Global::default();
    if let Some(limit) = &raw.drain_timeout {
        global.drain_timeout = limit.value;
    }
    if let Some(limit) = &raw.stall_timeout {
        global.stall_timeout = limit.value;
    }
    global.threads = raw
        .threads
        .as_ref()
        .and_then(|threads| usize::try_from(threads.value).ok())
        .and_then(NonZeroUsize::new);
    let owner = |at: &Option<At<Owner>>| at.as_ref().map(|at| at.value.clone());
    (global.user, global.group) = (owner(&raw.user), owner(&raw.group));
    global.command_user = owner(&raw.command_user);
    global.log_event_format = raw.log_event_format.map_or(EventFormat::Text, |at| at.value);
    global
}
