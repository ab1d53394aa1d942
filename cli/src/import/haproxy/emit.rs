//! Sections as TOML: what differs from `[defaults]`, in an order to read, with the lines that it comes from.

use std::net::{IpAddr, SocketAddr};

use super::{
    Options,
    file::File,
    files::Maps,
    finish::{Finished, says_something},
    keys::{KEYS, Keys, Setting},
    rule::Rule,
    section::Kind,
    users::Users,
};
use crate::{
    config::diagnostic::Span,
    import::{
        document::{Document, Entry, Table, Value, key, pair},
        notes::Notes,
    },
};

/// What is written from.
pub(super) struct Parts<'p> {
    pub(super) file: &'p File,
    pub(super) sections: &'p [Finished],
    pub(super) defaults: &'p Keys,
    /// Of the process.
    pub(super) log: Option<Value>,
    /// Who is mailed.
    pub(super) mails: &'p [Table],
    pub(super) options: &'p Options,
    pub(super) maps: &'p Maps<'p>,
    pub(super) users: &'p Users<'p>,
    pub(super) notes: &'p Notes<'p>,
}

/// Our file.
pub(super) fn document(parts: &Parts<'_>, source: &str) -> Document {
    let is_checked = |section: &Finished| {
        !section.servers.is_empty() && section.keys.value("check") != Some(&Value::Flag(false))
    };
    let mut document =
        Document { head: head(source, parts.sections.iter().any(is_checked)), tables: Vec::new() };
    let missing = parts.options.pair.as_ref().and_then(|pair| pair.missing.clone());
    for reason in parts.notes.opened().into_iter().chain(missing) {
        document.head.extend(["".to_owned(), format!("BEFORE IT SERVES: {reason}.")]);
    }
    cluster(parts.options, &mut document);
    global(parts, &mut document);
    for (name, file, kind) in parts.maps.all() {
        let mut entries = vec![pair("file", Value::Text(file), None)];
        if kind != "exact" {
            entries.push(pair("match", Value::text(kind), None));
        }
        document.tables.push(Table { heading: format!("map.{name}"), comments: Vec::new(), entries });
    }
    for (name, users) in parts.users.tables(parts.options.salt, parts.notes) {
        let entries = users.into_iter().map(|(key, value)| pair(&key, value, None)).collect();
        document.tables.push(Table {
            heading: format!("users.{}", key(&name)),
            comments: Vec::new(),
            entries,
        });
    }
    document.tables.extend(parts.mails.iter().cloned());
    let entries: Vec<_> = parts.defaults.iter().map(setting).collect();
    if !entries.is_empty() {
        document.tables.push(Table { heading: "defaults".into(), comments: Vec::new(), entries });
    }
    for section in parts.sections {
        document.tables.push(table(section, parts));
    }
    if document.tables.is_empty() {
        let comments = vec!["Nothing of the file could be converted.".to_owned()];
        document.tables.push(Table { heading: "global".into(), comments, entries: Vec::new() });
    }
    document
}

fn head(source: &str, is_checked: bool) -> Vec<String> {
    let mut head: Vec<String> = vec![
        format!("Made by `lbctl import` from {source}."),
        "Check it with `lbctl check`; every key is described in docs/configuration.md. Values that HAProxy has without a word,".into(),
        "and lbctl would have otherwise, are written out: take them out where ours are the better ones.".into(),
    ];
    if is_checked {
        let lines = [
            "What can't be written out: a server that is checked is used after its first good check, or where nothing else is left;",
            "in HAProxy it is up until its checks have failed.",
        ];
        head.extend(lines.map(str::to_owned));
    }
    head
}

fn cluster(options: &Options, document: &mut Document) {
    if let Some(pair) = &options.pair {
        document.tables.extend(pair.tables.iter().cloned());
        return;
    }
    if options.vips.is_empty() {
        return;
    }
    let nodes = options
        .nodes
        .iter()
        .map(|(name, address)| pair(&format!("node.{}", key(name)), Value::Text(address.to_string()), None));
    document.tables.push(Table {
        heading: "cluster".into(),
        comments: vec!["The same file, byte for byte, on every node. The first one is preferred.".into()],
        entries: nodes.collect(),
    });
    let addresses = options.vips.iter().map(|vip| Value::text(&vip.text)).collect();
    document.tables.push(Table {
        heading: "vip.web".into(),
        comments: vec![
            "The address that moves. No other virtual router on this network may have the same vrid.".into(),
        ],
        entries: vec![
            pair("vrid", Value::Integer(options.vrid.into()), None),
            pair("addresses", Value::List(addresses), None),
        ],
    });
}

fn global(parts: &Parts<'_>, document: &mut Document) {
    let global = &parts.file.global;
    let mut entries = Vec::new();
    if let Some(maxconn) = global.maxconn {
        entries.push(pair("maxconn", Value::Integer(maxconn), None));
    }
    if let Some(threads) = global.threads {
        entries.push(pair("threads", Value::Integer(threads), None));
    }
    if let Some(percent) = global.compression_cpu {
        entries.push(pair("compression_cpu", Value::Integer(percent), None));
    }
    entries.extend(global.user.clone().map(|user| pair("user", user, None)));
    entries.extend(global.group.clone().map(|group| pair("group", group, None)));
    if !global.nameservers.is_empty() {
        let nameservers = Value::List(global.nameservers.clone());
        entries.push(match has_names(parts) {
            true => pair("nameservers", nameservers, None),
            false => Entry::Comment(format!(
                "nameservers = {nameservers}  # nothing in this file is given by name"
            )),
        });
    }
    entries.extend(global.drain_timeout.clone().map(|time| pair("drain_timeout", time, None)));
    entries.extend(parts.log.clone().map(|log| pair("log", log, None)));
    entries.extend(global.commented.iter().map(|line| Entry::Comment(line.clone())));
    let comments = lost(&global.lost, parts.notes);
    if !entries.is_empty() || !comments.is_empty() {
        document.tables.push(Table { heading: "global".into(), comments, entries });
    }
}

/// Is a server or a log given by name?
fn has_names(parts: &Parts<'_>) -> bool {
    let is_name = |host: &str| !host.starts_with("unix:") && host.parse::<IpAddr>().is_err();
    let mut servers = parts.file.proxies.iter().flat_map(|member| &member.proxy.servers);
    let logs = parts.sections.iter().filter_map(|section| section.keys.value("log"));
    let mut logs = logs.chain(parts.defaults.value("log")).chain(&parts.log).flat_map(Value::parts);
    servers.any(|server| is_name(server.host.trim_matches(['[', ']'])))
        || logs.any(|log| {
            let target = log.get("syslog").and_then(Value::as_text);
            target.is_some_and(|to| !to.starts_with('/') && to.parse::<SocketAddr>().is_err() && is_name(to))
        })
}

fn table(section: &Finished, parts: &Parts<'_>) -> Table {
    let word = match section.kind {
        Kind::Frontend => "frontend",
        Kind::Backend => "backend",
        _ => "listen",
    };
    let mut entries = Vec::new();
    let mut bind = Some(&section.binds);
    for known in KEYS {
        // Behind the mode, which says what is listened for.
        if known.name != "mode"
            && let Some(binds) = bind.take_if(|binds| !binds.is_empty())
        {
            entries.push(pair("bind", Value::one_or_list(binds.clone()), None));
        }
        if let Some(found) = section.keys.get(known.name)
            && differs(found, parts.defaults)
        {
            entries.push(setting(found));
        }
    }
    if !section.pages.is_empty() {
        let pages = section.pages.iter().map(|(status, file)| (status.to_string(), file.clone())).collect();
        entries.push(pair("error_page", Value::Table(pages), None));
    }
    entries.extend(section.comments.iter().map(|line| Entry::Comment(line.clone())));
    if section.kind != Kind::Frontend && section.servers.is_empty() {
        entries.push(pair("servers", Value::List(Vec::new()), None));
    }
    for server in &section.servers {
        entries.push(pair(&format!("server.{}", key(&server.name)), server.value.clone(), None));
    }
    entries.extend(rules("rules", &section.rules, parts.notes));
    entries.extend(rules("response_rules", &section.responses, parts.notes));
    Table {
        heading: format!("{word}.{}", key(&section.name)),
        comments: lost(&section.lost, parts.notes),
        entries,
    }
}

/// A key that says what `[defaults]` says is not written again, and neither is one that says what we do without a word.
fn differs(setting: &Setting, defaults: &Keys) -> bool {
    match defaults.value(setting.key.name) {
        Some(value) => *value != setting.value,
        // That of the mode.
        None if setting.key.name == "log_format" && setting.span.is_none() => false,
        None => {
            !matches!(setting.key.name, "forwardfor" | "tcp_keepalive" | "log" | "source")
                || says_something(setting)
        }
    }
}

fn setting(setting: &Setting) -> Entry {
    pair(setting.key.name, setting.value.clone(), setting.note.as_deref())
}

fn rules(key: &'static str, rules: &[Rule], notes: &Notes<'_>) -> Option<Entry> {
    let mut list: Vec<(Vec<String>, Value)> = Vec::new();
    for rule in rules {
        let from = format!("{}: {}", notes.line(rule.span), shortened(notes.source(rule.span)));
        list.push((vec![from], rule.value()));
    }
    (!list.is_empty()).then_some(Entry::Rules { key, rules: list })
}

/// Lines that are nowhere in our file, each once.
fn lost(spans: &[Span], notes: &Notes<'_>) -> Vec<String> {
    let mut lines: Vec<(usize, String)> =
        spans.iter().map(|span| (notes.line(*span), shortened(&notes.line_text(*span)))).collect();
    lines.sort();
    lines.dedup_by_key(|(line, _)| *line);
    lines
        .into_iter()
        .map(|(line, text)| format!("Not converted, or not all of it: line {line}: {text}"))
        .collect()
}

/// A line of the source for a comment.
fn shortened(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= 110 {
        return words;
    }
    format!("{}...", words.chars().take(107).collect::<String>())
}
