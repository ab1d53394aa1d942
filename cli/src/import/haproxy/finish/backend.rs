//! What a section says about servers: checks, agents, persistence; what HAProxy has for each server, and our file for all.

use super::{ServerLine, World, servers, stick};
use crate::{
    config::diagnostic::Span,
    import::{
        document::{Value, key},
        haproxy::{
            directive::shown,
            file::Member,
            fits::Place,
            keys::Keys,
            proxy::{Server, Shared},
            section::Kind,
        },
    },
};

/// The half of a section that has servers.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) servers: Vec<ServerLine>,
    /// Keys that go over those of the section.
    pub(super) keys: Keys,
    pub(super) lost: Vec<Span>,
    pub(super) comments: Vec<String>,
}

/// `None` of a `listen` that leads elsewhere, or whose servers our file can't have: it is a frontend then.
pub(super) fn finish(member: &Member, world: &World<'_>) -> Option<Part> {
    let is_http = member.proxy.is_http();
    let mut part =
        Part { servers: Vec::new(), keys: Keys::default(), lost: Vec::new(), comments: Vec::new() };
    part.servers = servers::lines(member, is_http, world, &mut part.lost);
    if part.servers.is_empty() {
        let proxy = &member.proxy;
        let is_one = match proxy.kind {
            Kind::Backend => !is_table(member, world),
            _ => is_http && answers_alone(member, world),
        };
        return is_one.then_some(part);
    }
    source(member, is_http, world, &mut part);
    checks(member, is_http, world, &mut part);
    hash(member, &mut part);
    cookie(member, is_http, world, &mut part);
    stick::finish(member, world, &mut part);
    Some(part)
}

/// Is it there for what rules of others ask of it, and for nobody else?
pub(super) fn is_table(member: &Member, world: &World<'_>) -> bool {
    let proxy = &member.proxy;
    let is_one = proxy.servers.is_empty() && proxy.stick_table.is_some() && proxy.lost.is_empty();
    is_one && world.leading_to(member).next().is_none()
}

/// A `listen` that has no servers, leads nowhere, and that nobody leads to: a page of statistics, most often. To HAProxy it is a
/// backend as well.
fn answers_alone(member: &Member, world: &World<'_>) -> bool {
    let proxy = &member.proxy;
    proxy.servers.is_empty()
        && proxy.lost.is_empty()
        && proxy.default_backend.is_none()
        && world.leading_to(member).all(|other| std::ptr::eq(other, member))
}

/// An address that servers can't be reached from is none.
fn source(member: &Member, is_http: bool, world: &World<'_>, part: &mut Part) {
    let Some(setting) = member.proxy.keys.get("source") else { return };
    let place = Place { is_http, is_frontend: false, file: &world.options.output };
    let value = world.own_source(&setting.value);
    let servers = part
        .servers
        .iter()
        .map(|line| format!("server.{} = {}\n", key(&line.name), line.value))
        .collect::<String>();
    let span = setting.span.unwrap_or(member.proxy.span);
    let why = match &value {
        Ok(value) => world.takes_source(&format!("source = {value}\n{servers}"), place),
        Err(why) => Err(why.clone()),
    };
    match (value, why) {
        (Ok(value), Ok(())) => part.keys.set("source", value, span),
        (_, Err(why)) | (Err(why), Ok(())) => {
            world.notes.lost(span, format!("`source`: {why}"));
            part.lost.push(span);
            part.keys.set("source", false, span);
        }
    }
}

/// What HAProxy has without a word.
const DEFAULTS: [(&str, Value); 2] = [("check.rise", Value::Integer(2)), ("check.fall", Value::Integer(3))];

/// How the values of one setting are made one: that of most servers, the first of these. Those without it count, too.
fn share(servers: &[&Server], key: &str, world: &World<'_>, part: &mut Part) -> Option<Shared> {
    let of = |server: &Server| server.shared.iter().find(|shared| shared.key == key).cloned();
    let value = |server: &Server| of(server).map(|shared| shared.value);
    let count = |wanted: &Option<Value>| servers.iter().filter(|server| value(server) == *wanted).count();
    let most = servers.iter().map(|server| count(&value(server))).max()?;
    let chosen = servers.iter().map(|server| value(server)).find(|value| count(value) == most)?;
    let meant = chosen.as_ref().map_or_else(|| "none".to_owned(), Value::to_string);
    for server in servers.iter().filter(|server| value(server) != chosen) {
        match of(server) {
            Some(other) => {
                let what = shown(world.notes.source(other.span));
                let why = format!("`{what}`: it is of all servers of a section here, and most have {meant}");
                world.notes.lost(other.span, why);
            }
            None => {
                let name = shown(&server.name.text);
                world.notes.lost(
                    server.name.span,
                    format!("the server `{name}` gets {key} = {meant}, as most of its section have"),
                );
            }
        }
        part.lost.push(server.span);
    }
    servers.iter().find_map(|server| of(server).filter(|shared| Some(&shared.value) == chosen.as_ref()))
}

/// One that is checked at intervals of its own says all of them.
const PACE: [&str; 3] = ["check.interval", "check.fast_interval", "check.down_interval"];

/// What most servers have of these is said by the check, and what others have by themselves.
fn own_checks(servers: &[&Server], keys: &[&str], part: &mut Part) -> Vec<(String, Value)> {
    let of = |server: &Server, key: &str| server.shared.iter().find(|shared| shared.key == key).cloned();
    let values = |server: &Server| -> Vec<Option<Value>> {
        let value = |key: &&str| of(server, key).map(|shared| shared.value).or(default(key));
        keys.iter().map(value).collect()
    };
    let count = |wanted: &[Option<Value>]| servers.iter().filter(|server| values(server) == wanted).count();
    let most = servers.iter().map(|server| count(&values(server))).max().unwrap_or_default();
    let chosen = servers.iter().map(|server| values(server)).find(|values| count(values) == most);
    let chosen = chosen.unwrap_or_default();
    for server in servers.iter().filter(|server| values(server) != chosen) {
        let Some(line) = part.servers.iter_mut().find(|line| line.written == server.name.text) else {
            continue;
        };
        let mut entries = match std::mem::replace(&mut line.value, Value::Flag(true)) {
            Value::Table(entries) => entries,
            address => vec![("address".to_owned(), address)],
        };
        let own = keys.iter().zip(values(server));
        entries.extend(own.filter_map(|(key, value)| Some((key.replace('.', "_"), value?))));
        line.value = Value::Table(entries);
    }
    let is_said = |key: &str, value: &Value| {
        servers.iter().any(|server| of(server, key).is_some_and(|shared| shared.value == *value))
    };
    let said = keys.iter().zip(chosen).filter_map(|(key, value)| Some((key, value?)));
    let said = said.filter(|(key, value)| is_said(key, value));
    said.map(|(key, value)| (key.trim_start_matches("check.").to_owned(), value)).collect()
}

/// HAProxy's.
fn default(key: &str) -> Option<Value> {
    match key {
        "check.interval" => Some(Value::text("2s")),
        key => DEFAULTS.iter().find(|(known, _)| *known == key).map(|(_, value)| value.clone()),
    }
}

fn checks(member: &Member, is_http: bool, world: &World<'_>, part: &mut Part) {
    let proxy = &member.proxy;
    let place = Place { is_http, is_frontend: false, file: &world.options.output };
    // What is left out has no say.
    let is_there = |server: &&Server| part.servers.iter().any(|line| line.written == server.name.text);
    let all: Vec<&Server> = proxy.servers.iter().filter(is_there).collect();
    let checked: Vec<&Server> = all.iter().copied().filter(|server| server.check.is_some()).collect();
    let on_sockets = all.iter().any(|server| server.host.starts_with("unix:"));
    if checked.is_empty() {
        part.keys.assume("check", false, "no server has `check`: HAProxy takes them for usable, always");
        // What a `default-server` of `defaults` says means something elsewhere.
        let is_own = |span: Span| member.range.start <= span.start && span.end <= member.range.end;
        let idle = all.iter().flat_map(|server| &server.shared).filter(|shared| is_own(shared.span));
        for shared in
            idle.filter(|shared| shared.key.starts_with("check.") || shared.key.starts_with("observe."))
        {
            world.notes.advise(shared.span, "it does nothing without `check`: it is left out");
        }
        if let Some(span) = proxy.checks.span.filter(|span| is_own(*span)) {
            world.notes.advise(span, "no server has `check`, so none is asked, there as here");
        }
    } else {
        let mut entries = proxy.checks.entries();
        for keys in [&PACE[..], &["check.rise"], &["check.fall"]] {
            entries.extend(own_checks(&checked, keys, part));
        }
        for server in all.iter().filter(|server| server.check.is_none()) {
            let message = format!(
                "the server `{}` has no `check`, and others have: all of them are checked here, so it is used only while it passes; if it must not be asked, give it a backend of its own with `check = false`",
                shown(&server.name.text)
            );
            world.notes.differ(server.name.span, message);
        }
        let span = checked.iter().find_map(|server| server.check).unwrap_or(proxy.span);
        if on_sockets {
            let count = entries.len();
            entries.retain(|(key, _)| key != "port" && key != "address");
            if entries.len() < count {
                let why = "servers on Unix sockets are checked there: the address and the port of the check are left out";
                world.notes.lost(proxy.checks.span.unwrap_or(span), why);
                part.lost.extend(proxy.checks.span);
            }
        }
        let value = if entries.is_empty() { Value::Flag(true) } else { Value::Table(entries) };
        match place.takes_key("check", &value) {
            // Our own default.
            Ok(()) if value == Value::Flag(true) => {}
            Ok(()) => part.keys.set("check", value, span),
            Err(why) => {
                let span = proxy.checks.span.unwrap_or(span);
                world.notes.lost(span, format!("the check: {why}; servers are checked with a connection"));
                part.lost.push(span);
            }
        }
        group(&checked, "observe", &["layer", "error_limit", "on_error"], "layer", &place, world, part);
        single(&checked, "slowstart", &place, world, part);
    }
    let agents: Vec<&Server> = all.iter().copied().filter(|server| server.agent.is_some()).collect();
    if let Some(span) = agents.first().and_then(|server| server.agent) {
        if agents.len() < all.len() {
            world.notes.differ(
                span,
                "the agents of all servers of the section are asked here; one that is not there says nothing",
            );
        }
        let has_address =
            agents.iter().flat_map(|server| &server.shared).any(|shared| shared.key == "agent_check.address");
        if !has_address && on_sockets {
            let why =
                "agents are asked over TCP, and a server on a Unix socket has no address: write `agent-addr`";
            world.notes.lost(span, why);
            part.lost.push(span);
        } else if !group(
            &agents,
            "agent_check",
            &["port", "address", "interval", "send"],
            "port",
            &place,
            world,
            part,
        ) {
            world.notes.lost(span, "`agent-check` takes `agent-port`");
            part.lost.push(span);
        }
    }
    if !checked.is_empty() || !agents.is_empty() {
        single(&all, "on_marked_down", &place, world, part);
    }
    single(&all, "pool.max_requests", &place, world, part);
}

/// Several settings that are one table; `needed` must be there. `false` if it is not.
fn group(
    servers: &[&Server],
    name: &'static str,
    parts: &[&str],
    needed: &str,
    place: &Place<'_>,
    world: &World<'_>,
    part: &mut Part,
) -> bool {
    let mut entries = Vec::new();
    let mut span = None;
    for key in parts {
        let Some(shared) = share(servers, &format!("{name}.{key}"), world, part) else { continue };
        span = span.or(Some(shared.span));
        entries.push(((*key).to_owned(), shared.value));
    }
    let Some(span) = span else { return false };
    if !entries.iter().any(|(key, _)| key == needed) {
        world.notes.advise(span, format!("it does nothing without `{needed}`: it is left out"));
        return false;
    }
    put(name, Value::Table(entries), span, place, world, part);
    true
}

fn single(servers: &[&Server], name: &'static str, place: &Place<'_>, world: &World<'_>, part: &mut Part) {
    if let Some(shared) = share(servers, name, world, part) {
        put(name, shared.value, shared.span, place, world, part);
    }
}

fn put(name: &'static str, value: Value, span: Span, place: &Place<'_>, world: &World<'_>, part: &mut Part) {
    match place.takes_key(name, &value) {
        Ok(()) => part.keys.set(name, value, span),
        Err(why) => {
            world.notes.lost(span, format!("our file does not take {name} = {value}: {why}"));
            part.lost.push(span);
        }
    }
}

/// `map-based` is HAProxy's default where a hash decides, and `consistent` ours.
fn hash(member: &Member, part: &mut Part) {
    let keys = &member.proxy.keys;
    let is_hash = match keys.value("balance") {
        Some(Value::Text(word)) => word == "source" || word == "uri",
        Some(Value::Table(_)) => true,
        _ => false,
    };
    match (is_hash, keys.get("hash_type")) {
        (true, None) => part.keys.assume(
            "hash_type",
            Value::text("map"),
            "HAProxy's default; ours is \"consistent\", which moves fewer clients",
        ),
        (true, Some(_)) => {}
        // Without a hash it is a warning of our reader; the section takes it out.
        (false, _) => {}
    }
}

fn cookie(member: &Member, is_http: bool, world: &World<'_>, part: &mut Part) {
    let proxy = &member.proxy;
    let values: Vec<_> = proxy.servers.iter().filter_map(|server| server.cookie.as_ref()).collect();
    let Some(cookie) = &proxy.cookie else {
        if let Some(first) = values.first().filter(|_| is_http) {
            world.notes.advise(
                first.span,
                "servers have values for a cookie, and the section has no `cookie` line: HAProxy did nothing with them, and no \
                 client stayed with its server. To let them stay, take the comment off `cookie` in our file",
            );
            part.comments.push("cookie = { name = \"SRV\", indirect = true, nocache = true }".to_owned());
        }
        return;
    };
    if !is_http {
        if member.range.start <= cookie.span.start && cookie.span.end <= member.range.end {
            world
                .notes
                .advise(cookie.span, "`cookie` does nothing in mode tcp, there as here: it is left out");
        }
        return;
    }
    let place = Place { is_http, is_frontend: false, file: &world.options.output };
    put("cookie", Value::Table(cookie.entries.clone()), cookie.span, &place, world, part);
}
