//! keepalived.conf as one node reads it.

use std::time::Duration;

use super::{
    hooks::{self, Hook, Mail},
    instance::{self, Instance, Kind, Tracked},
    script::Script,
    source::{Place, Sources},
    tree::Statement,
    words::{self, GLOBAL, SYNC_GROUP, TOP},
};
use crate::import::lines_of;

/// What the file of one node says.
#[derive(Debug)]
pub(super) struct Node {
    /// Its `router_id`, or the word behind `@` that it is known by.
    pub(super) name: Option<String>,
    pub(super) instances: Vec<Instance>,
    pub(super) scripts: Vec<Script>,
    pub(super) groups: Vec<SyncGroup>,
    pub(super) mail: Mail,
    /// The whole of its file.
    pub(super) place: Place,
}

/// Instances that move together.
#[derive(Debug)]
pub(super) struct SyncGroup {
    pub(super) name: String,
    /// Names of instances.
    pub(super) members: Vec<String>,
    tracks: Vec<Tracked>,
    hooks: Vec<Hook>,
    is_mailed: bool,
}

/// What `global_defs` says of all instances.
#[derive(Debug, Default)]
struct Global {
    router_id: Option<String>,
    version: Option<u8>,
    interface: Option<String>,
    garp_refresh: Option<(Duration, Place)>,
    mail: Mail,
}

impl Node {
    pub(super) fn read(statements: &[Statement], place: Place, id: Option<&str>, sources: &Sources) -> Self {
        let mut node = Self {
            name: None,
            instances: Vec::new(),
            scripts: Vec::new(),
            groups: Vec::new(),
            mail: Mail::default(),
            place,
        };
        let mut global = Global::default();
        for statement in statements.iter().filter(|statement| statement.keyword() == "global_defs") {
            global.read(statement, sources);
        }
        for statement in statements {
            match statement.keyword() {
                "global_defs" => {}
                "vrrp_instance" => node.instance(statement, &global, sources),
                "vrrp_script" => node.scripts.extend(Script::read(statement, sources)),
                "vrrp_track_process" | "track_process" => {
                    node.scripts.extend(Script::read_process(statement, sources));
                }
                "vrrp_sync_group" => node.groups.extend(SyncGroup::read(statement, sources)),
                "virtual_server" => virtual_server(statement, sources),
                _ => words::tell(statement, TOP, "the file", sources),
            }
        }
        for group in &node.groups {
            for member in &group.members {
                if let Some(instance) = node.instances.iter_mut().find(|one| one.name == *member) {
                    instance.tracks.extend(group.tracks.iter().cloned());
                }
            }
        }
        for group in &mut node.groups {
            // All of them move at once, so one tells of all.
            let first = node.instances.iter_mut().find(|one| group.members.contains(&one.name));
            if let Some(instance) = first {
                instance.hooks.append(&mut group.hooks);
                instance.is_mailed |= group.is_mailed;
            }
        }
        node.check_tracks(sources);
        node.mail = global.mail;
        node.mail.is_wanted |= node.instances.iter().any(|instance| instance.is_mailed);
        node.name = global.router_id.or_else(|| id.map(str::to_owned));
        node
    }

    fn instance(&mut self, statement: &Statement, global: &Global, sources: &Sources) {
        let Some(mut instance) = Instance::read(statement, sources) else { return };
        if let Some(twin) = self.instances.iter().find(|other| other.name == instance.name) {
            let message =
                format!("`{}` is the name of the instance in {}, too", twin.name, sources.line(twin.place));
            sources.lost(instance.place, message);
            return;
        }
        instance.version = instance.version.or(global.version);
        instance.garp_refresh = instance.garp_refresh.or(global.garp_refresh);
        if instance.interface.is_none() {
            instance.interface = global.interface.clone().map(|name| (name, instance.place));
        }
        let [has_ipv4, has_ipv6] = instance.families();
        let own = instance.interface.as_ref().map(|(name, _)| name.clone());
        let twin = self.instances.iter().find(|other| {
            let [other_ipv4, other_ipv6] = other.families();
            let shares = (has_ipv4 && other_ipv4) || (has_ipv6 && other_ipv6);
            let interface = other.interface.as_ref().map(|(name, _)| name.clone());
            other.vrid == instance.vrid && interface == own && shares
        });
        if let Some(twin) = twin {
            let message = format!(
                "its virtual_router_id {} on this interface is that of {} in {}",
                instance.vrid,
                twin.name,
                sources.line(twin.place)
            );
            sources.lost(instance.place, message);
            return;
        }
        let known = |address| {
            self.instances.iter().find(|other| other.addresses.iter().any(|one| one.address == address))
        };
        instance.addresses.retain(|one| match known(one.address) {
            None => true,
            Some(other) => {
                sources.lost(one.place, format!("{} has this address already", other.name));
                false
            }
        });
        if !instance.addresses.is_empty() {
            self.instances.push(instance);
        }
    }

    /// What is tracked and is nowhere, and what is there and nobody tracks.
    fn check_tracks(&mut self, sources: &Sources) {
        let scripts = &self.scripts;
        for instance in &mut self.instances {
            instance.tracks.retain(|tracked| {
                let block = match tracked.kind {
                    Kind::Interface => return true,
                    Kind::Script => "vrrp_script",
                    Kind::Process => "vrrp_track_process",
                };
                let is_there = scripts.iter().any(|one| tracked.is_by(one));
                if !is_there {
                    let message = format!("no `{block}` is called `{}`", tracked.name.escape_debug());
                    sources.lost(tracked.place, message);
                }
                is_there
            });
        }
        let tracks = || self.instances.iter().flat_map(|instance| &instance.tracks);
        for script in &self.scripts {
            if !tracks().any(|tracked| tracked.is_by(script)) {
                let message = format!(
                    "`{}` is left out: no instance tracks it, so it moves nothing",
                    script.name.escape_debug()
                );
                sources.advise(script.place, message);
            }
        }
    }
}

impl Global {
    fn read(&mut self, statement: &Statement, sources: &Sources) {
        for inner in statement.inner() {
            match (inner.keyword(), inner.argument()) {
                ("vrrp_mcast_group4", Some(word)) if word.text == "224.0.0.18" => {}
                ("vrrp_mcast_group6", Some(word)) if word.text == "ff02::12" => {}
                ("router_id", Some(word)) => self.router_id = Some(word.text.clone()),
                ("vrrp_version", Some(_)) => self.version = instance::number(inner, 2..=3, sources),
                ("default_interface", Some(word)) => self.interface = Some(word.text.clone()),
                ("vrrp_garp_master_refresh", Some(_)) => {
                    self.garp_refresh = instance::seconds(inner, sources).map(|time| (time, inner.place()));
                }
                _ if self.mail.statement(inner) => {}
                _ => words::tell(inner, GLOBAL, "`global_defs`", sources),
            }
        }
    }
}

impl SyncGroup {
    fn read(statement: &Statement, sources: &Sources) -> Option<Self> {
        let Some(name) = statement.argument() else {
            sources.lost(statement.place(), "a `vrrp_sync_group` has a name");
            return None;
        };
        let mut group = Self {
            name: name.text.clone(),
            members: Vec::new(),
            tracks: Vec::new(),
            hooks: Vec::new(),
            is_mailed: false,
        };
        for inner in statement.inner() {
            match inner.keyword() {
                "group" => group.members.extend(inner.list().iter().map(|word| word.text.clone())),
                "track_interface" => group.tracks.extend(instance::tracked(inner, Kind::Interface, sources)),
                "track_script" => group.tracks.extend(instance::tracked(inner, Kind::Script, sources)),
                "track_process" => group.tracks.extend(instance::tracked(inner, Kind::Process, sources)),
                "notify" | "notify_master" | "notify_backup" | "notify_fault" | "notify_stop" => {
                    group.hooks.extend(Hook::read(inner, Some(&group.name), sources));
                }
                "smtp_alert" => {
                    group.is_mailed |= hooks::is_on(inner.argument().map(|word| word.text.as_str()));
                }
                _ => words::tell(inner, SYNC_GROUP, "a `vrrp_sync_group`", sources),
            }
        }
        Some(group)
    }
}

/// One note for each, with what to write instead.
fn virtual_server(statement: &Statement, sources: &Sources) {
    let words: Vec<&str> = statement.words[1..].iter().map(|word| word.text.as_str()).collect();
    let with_port = |words: &[&str]| match words {
        [host, port, ..] if host.contains(':') => format!("\"[{host}]:{port}\""),
        [host, port, ..] => format!("\"{host}:{port}\""),
        _ => "\"..\"".to_owned(),
    };
    let servers: Vec<String> = statement
        .inner()
        .iter()
        .filter(|inner| inner.keyword() == "real_server")
        .map(|inner| with_port(&inner.words[1..].iter().map(|word| word.text.as_str()).collect::<Vec<_>>()))
        .collect();
    let is_udp = statement.inner().iter().any(|inner| {
        inner.keyword() == "protocol"
            && inner.argument().is_some_and(|word| word.text.eq_ignore_ascii_case("UDP"))
    });
    let what = match words.as_slice() {
        _ if is_udp => "there is no UDP; keep LVS for it".to_owned(),
        ["fwmark" | "group", ..] => {
            "there is no LVS: write a [listen.*] with mode = \"tcp\" for each address and port".to_owned()
        }
        address => format!(
            "there is no LVS: write a [listen.*] with mode = \"tcp\", bind = {} and servers = [{}]; servers then see the node's \
             address, unless they take PROXY headers",
            with_port(address),
            servers.join(", ")
        ),
    };
    let blocks: Vec<_> = statement.inner().iter().map(Statement::place).collect();
    let lines =
        lines_of(blocks.first().map(|at| sources.number(*at)), blocks.last().map(|at| sources.number(*at)));
    sources.lost(statement.place(), format!("`virtual_server`: {what}{lines}"));
}
