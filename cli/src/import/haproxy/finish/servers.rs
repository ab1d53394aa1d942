//! Servers as our file has them.

use std::collections::BTreeSet;

use super::{ServerLine, World};
use crate::{
    config::{diagnostic::Span, text},
    import::{
        clean,
        document::{Value, key},
        haproxy::{
            directive::{Fault, shown},
            file::Member,
            fits::Place,
            lexer::Word,
            proxy::{Address, Server},
        },
        unique,
    },
};

/// Those of a section, in its order.
pub(super) fn lines(
    member: &Member,
    is_http: bool,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Vec<ServerLine> {
    let mut lines: Vec<ServerLine> = Vec::new();
    let mut cookies: BTreeSet<String> = BTreeSet::new();
    let mut addresses: BTreeSet<String> = BTreeSet::new();
    let place = Place { is_http, is_frontend: false, file: &world.options.output };
    for server in &member.proxy.servers {
        let written = |name: &str| {
            name != server.name.text && member.proxy.servers.iter().any(|other| other.name.text == name)
        };
        let name = unique(clean(&server.name.text), |name| {
            written(name) || lines.iter().any(|line| line.name == name)
        });
        if name != server.name.text {
            world.notes.advise(
                server.name.span,
                format!("the server `{}` is called `{name}` in our file", shown(&server.name.text)),
            );
        }
        let is_unix = server.host.starts_with("unix:");
        let Some(port) = server.port.or_else(|| port_of_clients(member, world)).or(is_unix.then_some(0))
        else {
            let why = "a server without a port gets the port that the client connected to, and there is more than one; write it";
            world.notes.lost(server.name.span, why);
            lost.push(server.span);
            continue;
        };
        if server.port.is_none() && !is_unix {
            world.notes.advise(
                server.name.span,
                format!("the server has no port: it gets {port}, to which clients connect"),
            );
        }
        let address = if is_unix { server.host.clone() } else { format!("{}:{port}", server.host) };
        let is_fixed = is_unix || server.host.parse::<std::net::IpAddr>().is_ok();
        if !addresses.insert(address.clone()) && is_fixed {
            world
                .notes
                .advise(server.name.span, format!("{address} is there twice; it gets a share for each name"));
        }
        let takes = |entries: &[(String, Value)]| {
            let lines = format!("server.{} = {}", key(&name), Value::Table(entries.to_vec()));
            world.takes_source(&lines, place)
        };
        let of_tls = match super::server_tls::keys(server, is_http, world) {
            Ok(keys) => keys,
            Err(fault) => {
                world.notes.lost(fault.span.unwrap_or(server.span), fault.why);
                lost.push(server.span);
                continue;
            }
        };
        let mut entries = entries(server, &address, is_http, &mut cookies, world, lost);
        entries.splice(1..1, of_tls);
        let mut refuse = |why: String| {
            world.notes.lost(server.span, format!("the server `{}`: {why}", shown(&server.name.text)));
            lost.push(server.span);
        };
        if let Err(why) = takes(&entries[..1]) {
            refuse(why);
            continue;
        }
        while let Err(why) = takes(&entries) {
            refuse(why);
            // What is refused alone, or else the last.
            let alone =
                (1..entries.len()).find(|at| takes(&[entries[0].clone(), entries[*at].clone()]).is_err());
            entries.remove(alone.unwrap_or(entries.len() - 1));
        }
        let value = match entries.as_slice() {
            [(_, address)] => address.clone(),
            _ => Value::Table(entries),
        };
        lines.push(ServerLine { name, written: server.name.text.clone(), value });
    }
    lines
}

fn entries(
    server: &Server,
    address: &str,
    is_http: bool,
    cookies: &mut BTreeSet<String>,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Vec<(String, Value)> {
    let mut own = server.own.clone();
    let number = |own: &[(&str, Value)], key: &str| {
        own.iter().find_map(|(known, value)| match value {
            Value::Integer(number) if *known == key => Some(*number),
            _ => None,
        })
    };
    // HAProxy takes the larger for both where there is nothing between them.
    if let Some(minconn) = number(&own, "minconn")
        && number(&own, "maxconn").is_none_or(|maxconn| minconn >= maxconn)
    {
        own.retain(|(key, _)| *key != "minconn" && *key != "maxconn");
        own.push(("maxconn", Value::Integer(minconn)));
    }
    if server.check.is_none() {
        own.retain(|(key, _)| !key.starts_with("check_"));
    }
    let mut entries = vec![("address".to_owned(), Value::text(address))];
    entries.extend(
        server
            .send_proxy
            .map(|version| ("send_proxy".to_owned(), send_proxy(version, server, is_http, world, lost))),
    );
    for wanted in
        ["check_send_proxy", "weight", "backup", "maxconn", "minconn", "check_address", "check_port"]
    {
        let found = own.iter().find(|(key, _)| *key == wanted);
        entries.extend(found.map(|(key, value)| ((*key).to_owned(), value.clone())));
    }
    entries.extend(server.disabled.map(|_| ("disabled".to_owned(), Value::Flag(true))));
    if let Some(source) = &server.source {
        match world.own_source(&source.value()) {
            Ok(value) => entries.push(("source".to_owned(), value)),
            Err(why) => {
                world.notes.lost(server.span, format!("`source`: {why}"));
                lost.push(server.span);
            }
        }
    }
    if let Some(cookie) = &server.cookie {
        if cookies.insert(cookie.text.clone()) {
            entries.push(("cookie".to_owned(), Value::text(&cookie.text)));
        } else {
            world.notes.lost(
                cookie.span,
                format!("the cookie value `{}` is another server's already", shown(&cookie.text)),
            );
            lost.push(server.span);
        }
    }
    entries
}

/// `send_proxy`: the version alone, where nothing else is said.
fn send_proxy(
    version: &'static str,
    server: &Server,
    is_http: bool,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Value {
    let mut extensions = if version == "v2" { server.proxy_extensions.clone() } else { Vec::new() };
    if !is_http && extensions.contains(&"unique-id") {
        extensions.retain(|extension| *extension != "unique-id");
        world.notes.lost(server.span, "`unique-id`: a connection of mode tcp has no id here");
        lost.push(server.span);
    }
    if extensions.is_empty() {
        return Value::text(version);
    }
    let extensions = extensions.into_iter().map(Value::text).collect();
    Value::table([("version", Value::text(version)), ("extensions", Value::List(extensions))])
}

/// The name of the server that `use-server` means.
pub(super) fn named(word: &Word, member: &Member, lines: &[ServerLine]) -> Result<String, Fault> {
    let servers = || member.proxy.servers.iter().map(|server| server.name.text.as_str());
    match lines.iter().find(|line| line.written == word.text) {
        Some(line) => Ok(line.name.clone()),
        None if servers().any(|name| name == word.text) => {
            Err(Fault::at(word, format!("the server `{}` is not in our file", shown(&word.text))))
        }
        None => {
            let hint = text::nearest(&word.text, servers());
            let hint = hint.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            Err(Fault::at(word, format!("our file has no server `{}` here{hint}", shown(&word.text))))
        }
    }
}

/// The one port to which clients of a section connect.
fn port_of_clients(member: &Member, world: &World<'_>) -> Option<u16> {
    let mut ports = BTreeSet::new();
    for other in world.leading_to(member) {
        for bind in &other.proxy.binds {
            if let Address::Socket(address) = bind.address {
                ports.insert(address.port());
            }
        }
    }
    ports.first().copied().filter(|_| ports.len() == 1)
}
