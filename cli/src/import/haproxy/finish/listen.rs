//! Where a section listens.

use std::net::{IpAddr, SocketAddr};

use super::{World, tls};
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::{Fault, shown},
            file::Member,
            fits,
            proxy::Address,
        },
    },
};

/// Who listens where already.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    sockets: Vec<(SocketAddr, Span)>,
    descriptors: Vec<u64>,
    paths: Vec<String>,
}

/// The entries of `bind`.
pub(super) fn values(
    member: &Member,
    taken: &mut Listeners,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Vec<Value> {
    let options = world.options;
    let vips: Vec<IpAddr> = options.vips.iter().map(|vip| vip.address).collect();
    let nodes: Vec<IpAddr> = options.nodes.iter().map(|(_, address)| IpAddr::V4(*address)).collect();
    // A node's own address becomes the pair's where there is no doubt which.
    let only = options.vips.first().filter(|first| options.vips.iter().all(|vip| vip.table == first.table));
    let shared = |address: IpAddr| {
        let vip = options.vips.iter().find(|vip| vip.address == address);
        vip.or(only.filter(|_| nodes.contains(&address)))
    };
    let is_http = member.proxy.is_http();
    let mut values: Vec<Value> = Vec::new();
    for bind in &member.proxy.binds {
        let tls = match bind.tls.as_ref().map(|tls| tls::value(tls, is_http, world)).transpose() {
            Ok(tls) => tls,
            Err(Fault { span, why }) => {
                world.notes.lost(span.unwrap_or(bind.span), why);
                lost.push(bind.span);
                continue;
            }
        };
        let (sockets, value): (Vec<SocketAddr>, Value) = match &bind.address {
            Address::Unix(path, owners) => match unix(path, owners, taken, world) {
                Ok(value) => (Vec::new(), value),
                Err(why) => {
                    world.notes.lost(bind.span, why);
                    lost.push(bind.span);
                    continue;
                }
            },
            Address::Descriptor(number) => {
                if taken.descriptors.contains(number) {
                    world
                        .notes
                        .lost(bind.span, format!("the passed socket {number} is another listener's already"));
                    lost.push(bind.span);
                    continue;
                }
                taken.descriptors.push(*number);
                (Vec::new(), Value::table([("fd", Value::Integer(*number))]))
            }
            Address::Socket(address) if shared(address.ip()).is_some() => {
                let port = address.port();
                let table = shared(address.ip()).map_or("", |vip| vip.table.as_str());
                let entry =
                    Value::table([("vip", Value::text(table)), ("port", Value::Integer(port.into()))]);
                let all = options.vips.iter().filter(|vip| vip.table == table);
                (all.map(|vip| SocketAddr::new(vip.address, port)).collect(), entry)
            }
            Address::Socket(address) => {
                let text = match address {
                    SocketAddr::V4(v4) if v4.ip().is_unspecified() => format!("*:{}", v4.port()),
                    address => address.to_string(),
                };
                if !vips.is_empty() && !address.ip().is_unspecified() && !address.ip().is_loopback() {
                    let message = format!(
                        "{address} is neither a vip nor a node's own address: it stays, and only the machine that has it listens there"
                    );
                    world.notes.advise(bind.span, message);
                }
                (vec![*address], Value::Text(text))
            }
        };
        let value = if bind.accepts_proxy { accepting(value, Value::Flag(true)) } else { value };
        let value = tls.map_or(value.clone(), |tls| with(value, "tls", tls));
        let value = if bind.is_http2 && is_http { with(value, "http2", Value::Flag(true)) } else { value };
        let has_http2 = is_http && bind.speaks_http2();
        let value = match world.file.global.without_websocket && has_http2 {
            true => with(value, "http2_websocket", Value::Flag(false)),
            false => value,
        };
        if values.contains(&value) {
            continue;
        }
        let clash = sockets
            .iter()
            .find_map(|socket| taken.sockets.iter().find(|(other, _)| overlap(*socket, *other)));
        if let Some((other, span)) = clash {
            if !bind.is_implied {
                let line = world.notes.line(*span);
                world.notes.lost(
                    bind.span,
                    format!("the listener in line {line} has {other} already, and two can't share it"),
                );
                lost.push(bind.span);
            }
            continue;
        }
        taken.sockets.extend(sockets.into_iter().map(|socket| (socket, bind.span)));
        values.push(value);
    }
    values
}

/// An entry of `bind` whose connections begin with a PROXY header if they come from `senders`.
pub(super) fn accepting(bind: Value, senders: Value) -> Value {
    with(bind, "accept_proxy", senders)
}

/// An entry of `bind` with a key beside its address, if it hasn't it already.
fn with(bind: Value, key: &str, value: Value) -> Value {
    let mut entries = match bind {
        Value::Table(entries) => entries,
        Value::Text(text) => match text.strip_prefix("unix:") {
            Some(path) => vec![("unix".to_owned(), Value::text(path))],
            None => vec![("address".to_owned(), Value::Text(text))],
        },
        other => return other,
    };
    if !entries.iter().any(|(known, _)| known == key) {
        entries.push((key.to_owned(), value));
    }
    Value::Table(entries)
}

/// A Unix socket, with what `unix-bind` says of all of them.
fn unix(
    path: &str,
    owners: &[(&'static str, Value)],
    taken: &mut Listeners,
    world: &World<'_>,
) -> Result<Value, String> {
    let (prefix, defaults) = &world.file.global.unix_bind;
    let path = if path.starts_with('@') { path.to_owned() } else { format!("{prefix}{path}") };
    let mut entries = vec![("unix".to_owned(), Value::text(&path))];
    let of = |key: &str| owners.iter().chain(defaults).find(|(known, _)| *known == key);
    let given = ["mode", "user", "group"].iter().filter(|_| !path.starts_with('@'));
    entries.extend(given.filter_map(|key| of(key)).map(|(key, value)| ((*key).to_owned(), value.clone())));
    let value = match entries.as_slice() {
        [_] => Value::Text(format!("unix:{path}")),
        _ => Value::Table(entries),
    };
    fits::takes_bind(&value, &world.options.output)?;
    if taken.paths.contains(&path) {
        return Err(format!("{} is another listener's already", shown(&path)));
    }
    taken.paths.push(path);
    Ok(value)
}

/// As `lbctl check` sees it.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let covers = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && covers
}
