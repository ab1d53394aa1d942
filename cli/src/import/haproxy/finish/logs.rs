//! Where lines of the log go, and what they say.

use super::World;
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            directive::shown,
            fits::Place,
            global::Global,
            keys::Keys,
            proxy::{Log, Proxy, Style},
            section::Kind,
        },
    },
};

/// The keys of a section that is of this kind with us.
pub(super) fn finish(
    proxy: &Proxy,
    is_http: bool,
    kind: Kind,
    keys: &mut Keys,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) {
    let values = targets(proxy, world, lost);
    match proxy.logs.targets.first() {
        Some(first) if !values.is_empty() => {
            keys.set("log", Value::one_or_list(values), first.span);
            let is_terse = matches!(kind, Kind::Frontend | Kind::Listen) && proxy.logs.style.is_none();
            if is_terse {
                let word = if is_http { "httplog" } else { "tcplog" };
                let why = format!(
                    "without `option {word}` HAProxy only writes who connected; here it is the whole line of `option {word}`"
                );
                world.notes.advise(first.span, why);
            }
            if is_http && proxy.logs.style == Some(Style::Tcp) {
                keys.set("log_format", Value::text("tcplog"), first.span);
            }
        }
        // Backends of ours would log where the process does.
        _ if kind != Kind::Frontend && !world.file.global.logs.is_empty() => {
            keys.assume(
                "log",
                false,
                "as in HAProxy; without it, what happens to servers is logged where [global] says",
            );
        }
        _ => keys.assume("log", false, ""),
    }
}

fn targets(proxy: &Proxy, world: &World<'_>, lost: &mut Vec<Span>) -> Vec<Value> {
    let global = &world.file.global;
    let mut values: Vec<Value> = Vec::new();
    for Log { entries, span } in &proxy.logs.targets {
        let some = match (entries, &proxy.logs.tag) {
            (Some(entries), _) => match complete(entries, proxy, global, world) {
                Ok(value) => vec![value],
                Err(why) => {
                    world.notes.lost(*span, why);
                    lost.push(*span);
                    continue;
                }
            },
            (None, None) if of_process(world).is_some() => vec![Value::text("global")],
            (None, None) => Vec::new(),
            // With a name of its own.
            (None, Some(_)) => global
                .logs
                .iter()
                .filter_map(|log| complete(log.entries.as_ref()?, proxy, global, world).ok())
                .collect(),
        };
        for value in some {
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }
    values
}

/// What `[global]` has.
pub(in crate::import::haproxy) fn of_process(world: &World<'_>) -> Option<Value> {
    let global = &world.file.global;
    let own = Proxy::new(Kind::Defaults, String::new(), Span { start: 0, end: 0 });
    let mut values = Vec::new();
    for Log { entries, span } in &global.logs {
        let Some(entries) = entries else { continue };
        match complete(entries, &own, global, world) {
            Ok(value) if values.contains(&value) => {}
            Ok(value) => values.push(value),
            Err(why) => world.notes.lost(*span, why),
        }
    }
    (!values.is_empty()).then(|| Value::one_or_list(values))
}

/// With what HAProxy has without a word, and we don't.
fn complete(
    entries: &[(String, Value)],
    proxy: &Proxy,
    global: &Global,
    world: &World<'_>,
) -> Result<Value, String> {
    let mut entries = entries.to_vec();
    let of = |entries: &[(String, Value)], wanted: &str| entries.iter().any(|(key, _)| key == wanted);
    if !of(&entries, "facility") {
        return Err("`log` takes a facility, as in local0".into());
    }
    let is_standard = of(&entries, "stdout") || of(&entries, "stderr");
    if !of(&entries, "format") {
        match (global.sends_hostname, is_standard) {
            (true, _) => entries.push(("format".into(), Value::text("rfc3164"))),
            (false, true) => entries.push(("format".into(), Value::text("local"))),
            (false, false) => {}
        }
    }
    if is_standard && !of(&entries, "length") {
        entries.push(("length".into(), Value::Integer(1024)));
    }
    let tag = proxy.logs.tag.as_ref().or(global.tag.as_ref()).map_or("haproxy", |tag| &tag.text);
    entries.push(("tag".into(), Value::text(tag)));
    let value = Value::Table(entries);
    let place = Place { is_http: true, is_frontend: true, file: &world.options.output };
    place
        .takes_key("log", &value)
        .map_err(|why| format!("our file does not take log = {}: {why}", shown(&value.to_string())))?;
    Ok(value)
}
