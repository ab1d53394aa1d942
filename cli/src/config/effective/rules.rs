//! `rules`, as the file would have them.

use std::ops::RangeInclusive;

use lb_proxy::{
    Config,
    config::Backend,
    rules::{
        Action, AmbiguousPath, Condition, Content, Destination, LimitedBy, OverLimit, PathPattern, RateLimit,
        Replacement, Respond, Rule, SetStatus, SourceFrom, Text, ValuePattern,
    },
};

use super::{append, key, line, quoted, users};
use crate::config::rate;

/// `ambiguous_path` of a frontend.
pub(super) fn ambiguous_path(out: &mut String, ambiguous: AmbiguousPath) {
    let word = match ambiguous {
        AmbiguousPath::Normalize => "normalize",
        AmbiguousPath::Refuse => "refuse",
        AmbiguousPath::Pass => "pass",
    };
    line(out, "ambiguous_path", quoted(word));
}

/// The list under `name`, if it has any rule: one to a line.
pub(super) fn rules(out: &mut String, name: &str, rules: &[Rule], config: &Config) {
    if rules.is_empty() {
        return;
    }
    append(out, format_args!("{name} = [\n"));
    for rule in rules {
        let mut entries = Vec::new();
        if !matches!(&rule.when, Condition::All(all) if all.is_empty()) {
            entries.push(format!("when = {}", condition(&rule.when, &config.backends)));
        }
        entries.extend(actions(&rule.then, config));
        append(out, format_args!("  {{ {} }},\n", entries.join(", ")));
    }
    out.push_str("]\n");
}

/// A table, or a list of tables for `Any`.
fn condition(condition: &Condition, backends: &[Backend]) -> String {
    match condition {
        Condition::All(all) => table(all, backends),
        Condition::Any(any) => list(any.iter().map(|one| self::condition(one, backends))),
        other => table(std::slice::from_ref(other), backends),
    }
}

fn table(all: &[Condition], backends: &[Backend]) -> String {
    let condition = |one: &Condition| condition(one, backends);
    let mut entries: Vec<String> = Vec::new();
    let mut named: [(&str, Vec<String>); 4] =
        [("header", Vec::new()), ("query", Vec::new()), ("cookie", Vec::new()), ("value", Vec::new())];
    for one in all {
        let mut add = |at: usize, name: &str, patterns: &[ValuePattern]| {
            named[at].1.push(format!("{} = {}", key(name), values(patterns)));
        };
        match one {
            Condition::Header(name, patterns) => add(0, name, patterns),
            Condition::Query(name, patterns) => add(1, name, patterns),
            Condition::Cookie(name, patterns) => add(2, name, patterns),
            Condition::Value(value, patterns) => add(3, value.source(), patterns),
            Condition::All(list) => {
                entries.push(format!("all = {}", self::list(list.iter().map(&condition))))
            }
            Condition::Any(list) => {
                entries.push(format!("any = {}", self::list(list.iter().map(&condition))))
            }
            Condition::Not(not) => entries.push(format!("not = {}", condition(not))),
            Condition::Host(hosts) | Condition::Sni(hosts) => {
                let name = if matches!(one, Condition::Host(_)) { "host" } else { "sni" };
                let hosts = hosts.patterns().iter().map(|host| quoted(&host.to_string()));
                entries.push(format!("{name} = {}", list(hosts)));
            }
            Condition::Path(patterns) => entries.push(paths(patterns)),
            Condition::Method(methods) => {
                entries.push(format!("method = {}", list(methods.iter().map(|method| quoted(method)))));
            }
            Condition::Source(networks) => {
                let networks = networks.iter().map(|network| quoted(&network.to_string()));
                entries.push(format!("source = {}", list(networks)));
            }
            Condition::Port(ports) => entries.push(format!("port = {}", numbers(ports))),
            Condition::Status(ranges) => entries.push(format!("status = {}", numbers(ranges))),
            Condition::UsableBelow(list) => {
                let few = list.iter().map(|(id, below)| {
                    let name = backends.get(id.0).map_or("", |backend| backend.name.as_str());
                    format!("{} = {below}", key(name))
                });
                entries.push(format!("usable_below = {{ {} }}", few.collect::<Vec<_>>().join(", ")));
            }
            Condition::Scheme(scheme) => entries.push(format!("scheme = {}", quoted(scheme.name()))),
        }
    }
    for (name, list) in named {
        if !list.is_empty() {
            entries.push(format!("{name} = {{ {} }}", list.join(", ")));
        }
    }
    format!("{{ {} }}", entries.join(", "))
}

/// Patterns of one condition are of one kind.
fn paths(patterns: &[PathPattern]) -> String {
    let one = |pattern: &PathPattern| match pattern {
        PathPattern::Exact(text) => ("path", quoted(text)),
        PathPattern::Prefix(text) => ("path_prefix", quoted(text)),
        PathPattern::Suffix(text) => ("path_suffix", quoted(text)),
        PathPattern::Regex(pattern) => ("path_regex", quoted(pattern.source())),
    };
    let name = patterns.first().map_or("path", |pattern| one(pattern).0);
    format!("{name} = {}", list(patterns.iter().map(|pattern| one(pattern).1)))
}

fn values(patterns: &[ValuePattern]) -> String {
    list(patterns.iter().map(|pattern| match pattern {
        ValuePattern::Present => "true".to_owned(),
        ValuePattern::Absent => "false".to_owned(),
        ValuePattern::Exact(text) => quoted(text),
        ValuePattern::Prefix(text) => format!("{{ prefix = {} }}", quoted(text)),
        ValuePattern::Suffix(text) => format!("{{ suffix = {} }}", quoted(text)),
        ValuePattern::Contains(text) => format!("{{ contains = {} }}", quoted(text)),
        ValuePattern::Regex(pattern) => format!("{{ regex = {} }}", quoted(pattern.source())),
    }))
}

fn numbers(ranges: &[RangeInclusive<u16>]) -> String {
    list(ranges.iter().map(|range| {
        if range.start() == range.end() {
            range.start().to_string()
        } else {
            quoted(&format!("{}-{}", range.start(), range.end()))
        }
    }))
}

/// Neighbours of one kind share a key, as they did in the file.
fn actions(actions: &[Action], config: &Config) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for action in actions {
        let (name, entry) = match action {
            Action::SetHeader(name, text) => {
                ("set_header", format!("{} = {}", key(name), quoted(text.source())))
            }
            Action::AddHeader(name, text) => {
                ("add_header", format!("{} = {}", key(name), quoted(text.source())))
            }
            Action::DeleteHeader(name) => ("delete_header", quoted(name)),
            Action::ReplaceHeader(name, replacement) => {
                ("replace_header", format!("{} = {}", key(name), self::replacement(replacement)))
            }
            Action::ReplaceValue(name, replacement) => {
                ("replace_value", format!("{} = {}", key(name), self::replacement(replacement)))
            }
            Action::SetMethod(method) => ("set_method", quoted(method)),
            Action::SetStatus(SetStatus { status, reason: None }) => ("set_status", status.to_string()),
            Action::SetStatus(SetStatus { status, reason: Some(reason) }) => {
                ("set_status", format!("{{ status = {status}, reason = {} }}", quoted(reason)))
            }
            Action::SetVariable(name, _, text) => {
                ("set_var", format!("{} = {}", key(&name.to_string()), quoted(text.source())))
            }
            Action::SetPath(text) => ("set_path", quoted(text.source())),
            Action::ReplacePath(replacement) => ("replace_path", self::replacement(replacement)),
            Action::SetQuery(text) => ("set_query", quoted(text.source())),
            Action::SetSource(SourceFrom::Text(text)) => ("set_source", quoted(text.source())),
            Action::SetSource(SourceFrom::List { trusted, unix, header }) => {
                let unix = unix.then(|| quoted("unix"));
                let networks = trusted.iter().map(|network| quoted(&network.to_string()));
                let trusted = list(networks.chain(unix));
                ("set_source", format!("{{ trusted = {trusted}, header = {} }}", quoted(header)))
            }
            Action::Reject => ("deny", "true".to_owned()),
            Action::Backend(id) => {
                ("backend", quoted(config.backends.get(id.0).map_or("", |backend| backend.name.as_str())))
            }
            Action::BackendNamed(named) => ("backend", quoted(named.name().source())),
            Action::Server { backend, server } => {
                let server = config.backends.get(backend.0).and_then(|backend| backend.servers.get(*server));
                ("server", quoted(server.map_or("", |server| server.name.as_str())))
            }
            Action::IgnorePersistence => ("ignore_persist", "true".to_owned()),
            Action::Log(wanted) => ("log", wanted.to_string()),
            Action::RequireAuth(wanted) => ("require_auth", users::require_auth(wanted, None, &config.users)),
            Action::AskAuth(wanted, name, _) => {
                ("require_auth", users::require_auth(wanted, Some(name), &config.users))
            }
            Action::Deny(status) => ("deny", status.to_string()),
            Action::Tarpit(status) => ("tarpit", status.to_string()),
            Action::RateLimit(limit) => ("rate_limit", rate_limit(limit)),
            Action::Allow => ("allow", "true".to_owned()),
            Action::Redirect(redirect) => {
                let to = match &redirect.to {
                    Destination::Location(text) => format!("location = {}", quoted(text.source())),
                    Destination::Prefix(text) => format!("prefix = {}", quoted(text.source())),
                    Destination::Scheme { scheme, port } => {
                        let port = port.map(|port| format!(", port = {port}")).unwrap_or_default();
                        format!("scheme = {}{port}", quoted(scheme.name()))
                    }
                };
                let query = if redirect.drop_query { ", drop_query = true" } else { "" };
                let slash = if redirect.append_slash { ", append_slash = true" } else { "" };
                let headers = headers(&redirect.headers).map(|headers| format!(", {headers}"));
                let headers = headers.unwrap_or_default();
                ("redirect", format!("{{ {to}, status = {}{query}{slash}{headers} }}", redirect.status))
            }
            Action::Respond(respond) => ("respond", self::respond(respond)),
        };
        match groups.last_mut().filter(|(last, _)| *last == name) {
            Some((_, entries)) => entries.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    groups
        .into_iter()
        .map(|(name, entries)| match name {
            "set_header" | "add_header" | "replace_header" | "replace_value" | "set_var" => {
                format!("{name} = {{ {} }}", entries.join(", "))
            }
            "delete_header" => format!("{name} = {}", list(entries)),
            _ => format!("{name} = {}", entries.join(", ")),
        })
        .collect()
}

fn respond(respond: &Respond) -> String {
    let mut entries = vec![format!("status = {}", respond.status)];
    match &respond.content {
        Content::Empty => {}
        Content::Page => entries.push("page = true".to_owned()),
        Content::Text { kind, text } => {
            entries.push(format!("content_type = {}, body = {}", quoted(kind), quoted(text.source())));
        }
        Content::File { kind, file, .. } => {
            entries.push(format!("content_type = {}, file = {}", quoted(kind), quoted(file)));
        }
    }
    entries.extend(headers(&respond.headers));
    entries.extend(respond.denies.then(|| "denies = true".to_owned()));
    format!("{{ {} }}", entries.join(", "))
}

/// `headers` of an answer, if it has some.
fn headers(headers: &[(String, Text)]) -> Option<String> {
    let lines = headers.chunk_by(|(name, _), (next, _)| name == next);
    let lines = lines.map(|lines| {
        let texts = lines.iter().map(|(_, text)| quoted(text.source()));
        format!("{} = {}", key(&lines[0].0), list(texts))
    });
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| format!("headers = {{ {} }}", lines.join(", ")))
}

fn rate_limit(limit: &RateLimit) -> String {
    let (by, rate) = (quoted(limit.by()), quoted(&rate::write(limit.rate)));
    let prefix = match limit.by {
        LimitedBy::Source => format!(", ipv6_prefix = {}", limit.ipv6_prefix),
        LimitedBy::Text(_) => String::new(),
    };
    let over = match &limit.over {
        OverLimit::Refuse(status) => format!("status = {status}"),
        OverLimit::Set(name, _) => format!("set_var = {}", quoted(&name.to_string())),
    };
    format!("{{ by = {by}, rate = {rate}, size = {}{prefix}, {over} }}", limit.size)
}

fn replacement(replacement: &Replacement) -> String {
    let (regex, with) = (replacement.pattern().source(), replacement.with());
    format!("{{ regex = {}, with = {} }}", quoted(regex), quoted(with))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}
