//! Sections put together: what one of them needs of others, and what our file says in another way than HAProxy's.

mod answers;
mod backend;
mod frontend;
mod listen;
mod logs;
mod made;
mod otherwise;
mod server_tls;
mod servers;
mod statistics;
mod stick;
mod timeouts;
mod tls;

pub(super) use self::{
    logs::of_process as log_of_process,
    made::{forget_idle_paths, hidden_routes},
};

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use super::{
    Options,
    directive::shown,
    file::{File, Member},
    files::Maps,
    fits::{self, Place},
    keys::{Keys, Setting, Side},
    lexer::Word,
    proxy::{Bind, Proxy, RuleLine, StickTable, split_condition},
    rule::{Context, Rule, Rules},
    section::Kind,
    users::Users,
};
use crate::{
    config::diagnostic::Span,
    import::{
        document::{Value, key},
        notes::Notes,
    },
};

/// A section as it is written.
#[derive(Debug)]
pub(super) struct Finished {
    /// `listen`, `frontend` or `backend`.
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) is_http: bool,
    pub(super) keys: Keys,
    pub(super) binds: Vec<Value>,
    pub(super) pages: Vec<(u16, Value)>,
    /// Key and value.
    pub(super) servers: Vec<ServerLine>,
    pub(super) rules: Vec<Rule>,
    pub(super) responses: Vec<Rule>,
    /// Above its heading.
    pub(super) comments: Vec<String>,
    pub(super) lost: Vec<Span>,
}

/// `server.NAME = ..`
#[derive(Debug)]
pub(super) struct ServerLine {
    pub(super) name: String,
    /// In HAProxy's file.
    pub(super) written: String,
    pub(super) value: Value,
}

/// Keys that name what stands elsewhere, or need other keys beside them.
const NEEDS_OTHERS: [&str; 10] = [
    "mode",
    "default_backend",
    "monitor_uri",
    "statistics",
    "log",
    "log_format",
    "source",
    "observe",
    "on_marked_down",
    "slowstart",
];

/// What sections are put together with.
pub(super) struct World<'w> {
    pub(super) file: &'w File,
    pub(super) options: &'w Options,
    pub(super) maps: &'w Maps<'w>,
    pub(super) users: &'w Users<'w>,
    pub(super) notes: &'w Notes<'w>,
    /// What is said once, however many sections it is about.
    pub(super) said: Cell<bool>,
    pub(super) said_of_host: Cell<bool>,
    pub(super) said_of: RefCell<BTreeSet<usize>>,
}

/// All sections, in the order of the file.
pub(super) fn finish(world: &World<'_>) -> (Vec<Finished>, Keys) {
    let mut finished = Vec::new();
    let mut served: BTreeSet<String> = BTreeSet::new();
    // Backends first: what leads to one that is left out is left out as well.
    let backends: Vec<Option<backend::Part>> = world
        .file
        .proxies
        .iter()
        .map(|member| {
            let serves = member.proxy.is_backend() && !frontend::is_passed_by(member);
            let part = serves.then(|| backend::finish(member, world)).flatten();
            if part.is_some() {
                served.insert(member.proxy.name.clone());
            }
            part
        })
        .collect();
    // A `listen` whose own requests go elsewhere, and to which others lead, is a frontend, and once more a backend.
    let led_to = world.file.proxies.iter().zip(&backends).filter(|(member, part)| {
        let is_empty = member.proxy.servers.is_empty() && member.proxy.lost.is_empty();
        member.proxy.kind == Kind::Listen
            && part.is_none()
            && (is_empty || frontend::is_passed_by(member))
            && world.leading_to(member).any(|other| !std::ptr::eq(other, *member))
    });
    let mut twins: Vec<Member> = led_to.map(|(member, _)| member.clone()).collect();
    for twin in &mut twins {
        twin.proxy.kind = Kind::Backend;
        served.insert(twin.proxy.name.clone());
    }
    let mut taken = listen::Listeners::default();
    for (member, part) in world.file.proxies.iter().zip(backends) {
        finished.extend(frontend::finish(member, part, &served, &mut taken, world));
    }
    for twin in &twins {
        let part = backend::finish(twin, world);
        finished.extend(frontend::finish(twin, part, &served, &mut taken, world));
    }
    hashes(world);
    drop_unset_variables(&mut finished, world);
    paths(&mut finished);
    let defaults = common(world, &finished);
    (finished, defaults)
}

/// What `[defaults]` can say: on what all that is used agrees, and what has a meaning in some section.
fn common(world: &World<'_>, finished: &[Finished]) -> Keys {
    let mut used: BTreeSet<usize> = world.file.proxies.iter().map(|member| member.defaults).collect();
    // A file to which others add their sections, as that of Debian's package.
    if let (true, Some(last)) = (used.is_empty(), world.file.defaults[1..].last()) {
        used.insert(world.file.defaults.len() - 1);
        let message = "no section takes these defaults: they stand in our file all the same, but for pages of errors, which are written \
                       where they are used";
        world.notes.advise(last.span, message);
    }
    let mut many: Vec<Keys> = Vec::new();
    for index in &used {
        let defaults = &world.file.defaults[*index];
        let mut keys = defaults.keys.clone();
        timeouts::complete(&mut keys, None, world.notes);
        world.of_process(&mut keys);
        logs::finish(defaults, defaults.is_http(), Kind::Defaults, &[], &mut keys, world, &mut Vec::new());
        keys.retain(|setting| setting.key.name != "log" || says_something(setting));
        if let Some(forwarded) = defaults.forwarded.as_ref().filter(|forwarded| forwarded.is_plain()) {
            keys.set("forwardfor", true, forwarded.span.unwrap_or(defaults.span));
        }
        if let Some(Ok((value, span))) = statistics::value(defaults, world) {
            keys.set("statistics", value, span);
        }
        let [client, server] = &defaults.keepalive;
        if client.settings == server.settings && client.on.is_some() && server.on.is_some() {
            keepalive(defaults, &mut keys, world.notes);
        }
        if let Some(setting) = keys.take("source")
            && let Ok(value) = world.own_source(&setting.value)
            && let Some(span) = setting.span
        {
            keys.set("source", value, span);
        }
        many.push(keys);
    }
    for (index, defaults) in world.file.defaults.iter().enumerate().skip(1) {
        if !used.contains(&index) {
            world.notes.advise(defaults.span, "no section takes these defaults: they are left out");
        }
    }
    let mut keys = Keys::common(many.iter());
    // A section in mode tcp can't have these.
    let of_http = |value: &Value| matches!(value, Value::Table(_)) || *value == Value::text("uri");
    keys.retain(|setting| setting.key.name != "balance" || !of_http(&setting.value));
    // What every section says otherwise is nothing to begin with.
    let is_taken = |one: &Finished, setting: &Setting| {
        one.keys.value(setting.key.name).is_none_or(|value| *value == setting.value)
    };
    keys.retain(|setting| {
        let mut users = finished.iter().filter(|one| one.has_use_for(setting.key.side, setting.key.http));
        setting.key.default && (finished.is_empty() || users.any(|one| is_taken(one, setting)))
    });
    // What our file does not take was told of with the sections.
    let place = Place { is_http: true, is_frontend: false, file: &world.options.output };
    keys.retain(|setting| {
        let place = Place { is_frontend: setting.key.side == Side::Frontend, ..place };
        let needs_others = NEEDS_OTHERS.contains(&setting.key.name);
        setting.span.is_none() || needs_others || place.takes_key(setting.key.name, &setting.value).is_ok()
    });
    // A file without checks says so once.
    let mut checks = finished.iter().filter(|one| !one.servers.is_empty()).map(|one| one.keys.get("check"));
    if let Some(Some(first)) =
        checks.next().filter(|first| first.is_some_and(|first| first.value == Value::Flag(false)))
        && checks.all(|other| other.is_some_and(|other| other.value == first.value))
    {
        keys.assume("check", false, first.note.as_deref().unwrap_or_default());
    }
    keys
}

impl Finished {
    /// Does a key mean anything here?
    pub(super) fn has_use_for(&self, side: Side, http: bool) -> bool {
        let on_side = match side {
            Side::Both => true,
            Side::Frontend => self.kind != Kind::Backend,
            Side::Backend => self.kind != Kind::Frontend,
        };
        on_side && (self.is_http || !http)
    }
}

impl World<'_> {
    /// `source` of a pair: the node's own address is another one on each, and that of a vip is nobody's.
    fn own_source(&self, value: &Value) -> Result<Value, String> {
        let own = |text: &str| self.options.nodes.iter().any(|(_, address)| address.to_string() == text);
        let shared = |text: &str| self.options.vips.iter().any(|vip| vip.address.to_string() == text);
        let turned = |value: &Value| {
            match value {
            Value::Text(text) if !self.options.vips.is_empty() && own(text) => Ok(Value::text("node")),
            Value::Text(text) if shared(text) => {
                Err("a node that doesn't hold the vip has not this address, and its checks would fail; write \"node\"".to_owned())
            }
            other => Ok(other.clone()),
        }
        };
        match value {
            Value::Table(entries) => {
                let of = |(key, value): &(String, Value)| {
                    Ok((key.clone(), if key == "address" { turned(value)? } else { value.clone() }))
                };
                Ok(Value::Table(entries.iter().map(of).collect::<Result<_, String>>()?))
            }
            other => turned(other),
        }
    }

    /// Lines of a backend, with the nodes that `"node"` is about.
    fn takes_source(&self, lines: &str, place: Place<'_>) -> Result<(), String> {
        let nodes = self.options.nodes.iter().filter(|_| lines.contains("\"node\""));
        let nodes: String =
            nodes.map(|(name, address)| format!("node.{} = \"{address}\"\n", key(name))).collect();
        let cluster = if nodes.is_empty() { nodes } else { format!("[cluster]\n{nodes}") };
        place.takes(lines, &cluster)
    }

    /// What `global` says of all sections.
    fn of_process(&self, keys: &mut Keys) {
        let global = &self.file.global;
        if let Some(span) = global.nosplice {
            keys.set("splice", Value::text("never"), span);
        }
        if let Some(level) = global.compression_level
            && let Some(Setting { value: Value::Table(mut entries), span: Some(span), .. }) =
                keys.take("compression")
        {
            entries.push(("level".to_owned(), Value::Integer(level)));
            keys.set("compression", Value::Table(entries), span);
        }
    }

    /// The rules of a section.
    fn rules(&self, member: &Member, is_http: bool, servers: &[ServerLine], goes_on: bool) -> Rules {
        let backend = |word: &Word| Ok(self.file.backend(word)?.proxy.name.clone());
        let table = |name: Option<&str>| self.stick_table(member, name);
        let context = Context {
            acls: &member.proxy.acls,
            maps: self.maps,
            notes: self.notes,
            is_http,
            backend: &backend,
            server: &|word| servers::named(word, member, servers),
            tables: &table,
            users: self.users,
            section: &member.written,
            is_backend: member.proxy.kind == Kind::Backend,
            goes_on,
            has_ipv6: self
                .leading_to(member)
                .chain([member])
                .any(|other| other.proxy.binds.iter().any(Bind::is_ipv6)),
            also_counted: &|table, line| self.also_counted(table, line, member),
        };
        context.convert(&member.proxy.rules)
    }

    /// The line of another `track-sc` than `line` of `own` that counts in this table, and whether the two have one counter, so
    /// that each request is counted by one of them.
    fn also_counted(&self, table: &str, line: Span, own: &Member) -> Option<(usize, bool)> {
        let tracks =
            |rule: &&RuleLine| rule.arguments.first().is_some_and(|word| word.text.starts_with("track-sc"));
        let table_of = |rule: &RuleLine| {
            let (words, _) = split_condition(&rule.arguments);
            let at = words.iter().position(|word| word.text == "table");
            at.and_then(|at| words.get(at + 1)).map(|word| word.text.clone())
        };
        let counter = |rule: &RuleLine| rule.arguments.first().map(|word| word.text.clone());
        // Every client has an address, so nobody is left for what stands behind it.
        let takes_all = |rule: &RuleLine| {
            let (words, condition) = split_condition(&rule.arguments);
            condition.is_empty() && words.get(1).is_some_and(|key| key.text == "src")
        };
        let own_line = own.proxy.rules.iter().filter(tracks).find(|rule| rule.span == line);
        let counts = |member: &Member| {
            let is_own = std::ptr::eq(member, own);
            member.proxy.rules.iter().filter(tracks).find_map(|rule| {
                let is_same = table_of(rule).as_deref().unwrap_or(&member.written) == table;
                if !is_same || is_own && rule.span == line {
                    return None;
                }
                let stands_in = own_line.filter(|other| is_own && counter(rule) == counter(other));
                let first =
                    stands_in.map(|other| if rule.span.start < other.span.start { rule } else { other });
                (!first.is_some_and(takes_all)).then(|| (self.notes.line(rule.span), first.is_some()))
            })
        };
        self.file.proxies.iter().find_map(counts)
    }

    /// Is a listener for TLS left out?
    fn has_lost_tls(&self) -> bool {
        let lost = self.file.proxies.iter().flat_map(|member| &member.proxy.lost);
        lost.map(|span| self.notes.line_text(*span)).any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("bind") && words.any(|word| word == "ssl")
        })
    }

    /// The stick table of a section, or that of `member` itself.
    fn stick_table(&self, member: &Member, name: Option<&str>) -> Result<StickTable, String> {
        let of = match name {
            None => Some(member),
            Some(name) => self
                .file
                .proxies
                .iter()
                .find(|other| other.written == name && other.proxy.stick_table.is_some()),
        };
        let table = of.and_then(|of| of.proxy.stick_table.clone());
        table.ok_or_else(|| match name {
            Some(name) => format!("no section with a `stick-table` is called `{}`", shown(name)),
            None => "the section has no `stick-table`".to_owned(),
        })
    }

    /// Those of the rules that our file takes. Others are lost, with what the reader says.
    fn fitting(&self, rules: Vec<Rule>, list: &str, place: Place<'_>, lost: &mut Vec<Span>) -> Vec<Rule> {
        let maps: String =
            self.maps.all().iter().map(|(name, ..)| format!("[map.{name}]\nfile = \"x\"\n")).collect();
        let fits = |rule: &Rule| {
            // That of a backend is looked at where a frontend is: rules have the same form.
            place.takes_rule(list, rule, &format!("{maps}{}", users(rule)))
        };
        rules
            .into_iter()
            .filter(|rule| match fits(rule) {
                Ok(()) => {
                    if rule.leads_to_https() && self.has_lost_tls() {
                        let message = "it leads to https, and a listener of this file for TLS is not in ours: nothing may answer there. Keep \
                                       that with a program for TLS in front, or take the rule out";
                        self.notes.advise(rule.span, message);
                    }
                    let text = rule.value().to_string();
                    for (at, mark) in otherwise::MARKS.iter().enumerate() {
                        let asks = rule.cond.mentions(mark.keys)
                            || mark.texts.iter().any(|part| text.contains(part));
                        if asks && self.said_of.borrow_mut().insert(at) {
                            let message = format!("{}. So it is in all rules of this file", mark.message);
                            self.notes.advise(rule.span, message);
                        }
                    }
                    if let Some(note) = &rule.note {
                        self.notes.differ(rule.span, note);
                    }
                    true
                }
                Err(why) => {
                    let message = format!("our file does not take what it comes to: {why}");
                    match rule.stops() {
                        true => self.notes.open(rule.span, rule.span, message),
                        false => self.notes.lost(rule.span, message),
                    }
                    lost.push(rule.span);
                    false
                }
            })
            .collect()
    }

    /// Drops what a section can't have, and what has no meaning in it, with a note where its own lines say so.
    fn settle_keys(&self, member: &Member, keys: &mut Keys, kind: Kind, is_http: bool, lost: &mut Vec<Span>) {
        let own = |span: Option<Span>| {
            span.filter(|span| member.range.start <= span.start && span.end <= member.range.end)
        };
        let side = |side: Side| match side {
            Side::Both => true,
            Side::Frontend => kind != Kind::Backend,
            Side::Backend => kind != Kind::Frontend,
        };
        let place = Place { is_http, is_frontend: kind == Kind::Frontend, file: &self.options.output };
        let mut dropped = Vec::new();
        for setting in keys.iter() {
            let name = setting.key.name;
            if !side(setting.key.side) {
                dropped.push(name);
                continue;
            }
            if setting.key.http && !is_http {
                if let Some(span) = own(setting.span) {
                    self.notes.advise(span, "it has no effect in mode tcp, there as here: it is left out");
                }
                dropped.push(name);
                continue;
            }
            let Some(span) = setting.span else { continue };
            let is_frontend = setting.key.side == Side::Frontend
                || (setting.key.side == Side::Both && kind == Kind::Frontend);
            let place = Place { is_frontend, ..place };
            let alone = !NEEDS_OTHERS.contains(&name);
            if let Err(why) = if alone { place.takes_key(name, &setting.value) } else { Ok(()) } {
                // One of `defaults` is told of once: the report has no line twice.
                self.notes.lost(span, format!("our file does not take {name} = {}: {why}", setting.value));
                lost.push(span);
                dropped.push(name);
            }
        }
        keys.retain(|setting| !dropped.contains(&setting.key.name));
    }
}

/// What a rule asks for a password with, as a file that has it.
fn users(rule: &Rule) -> String {
    let of = rule.does.iter().find(|(key, _)| key == "require_auth").map(|(_, value)| value);
    let get = |wanted: &str| of.and_then(|of| of.get(wanted));
    let Some(name) = get("users").and_then(Value::as_text) else { return String::new() };
    let mut text = format!("[users.{}]\nuser.x = \"{A_HASH}\"\n", key(name));
    let groups = get("groups").map(Value::parts).unwrap_or_default();
    for group in groups {
        if let Some(group) = group.as_text() {
            text.push_str(&format!("group.{} = [\"x\"]\n", key(group)));
        }
    }
    text
}

/// Of no password.
const A_HASH: &str = "$5$x$...........................................";

/// Where rules look at paths, HAProxy takes them as they were sent.
fn paths(finished: &mut [Finished]) {
    let looks = |rule: &Rule| {
        let text = rule.value().to_string();
        ["path", "{request.path", "{request.target"].iter().any(|word| text.contains(word))
    };
    let looking = |one: &Finished| one.rules.iter().chain(&one.responses).any(looks);
    let there: BTreeSet<String> = finished
        .iter()
        .filter(|one| one.kind != Kind::Frontend && looking(one))
        .map(|one| one.name.clone())
        .collect();
    for one in finished.iter_mut().filter(|one| one.is_http && one.kind != Kind::Backend) {
        let leads = |rule: &Rule| {
            rule.names("backend").is_some_and(|name| name.contains('{') || there.contains(name))
        };
        let default = match one.keys.value("default_backend") {
            Some(Value::Text(name)) => there.contains(name),
            _ => false,
        };
        let may_meet = looking(one) || default || one.rules.iter().any(leads);
        if may_meet && one.keys.get("ambiguous_path").is_none() {
            let note = "as HAProxy does; with \"normalize\", //admin and /%61dmin are /admin";
            one.keys.assume("ambiguous_path", Value::text("pass"), note);
        }
    }
}

/// Says once that what a hash chooses is another server.
fn hashes(world: &World<'_>) {
    let balances = world.file.proxies.iter().filter(|member| member.proxy.is_backend());
    let balances = balances.filter_map(|member| member.proxy.keys.get("balance"));
    let is_hash = |value: &Value| {
        matches!(value, Value::Table(_)) || *value == Value::text("source") || *value == Value::text("uri")
    };
    if let Some(span) = balances.filter(|one| is_hash(&one.value)).find_map(|one| one.span) {
        let note = "a hash finds other servers here than in HAProxy: who changes over has another server from then on, and caches \
                    begin anew. So it is in all of this file";
        world.notes.advise(span, note);
    }
}

/// A rule that asks a variable is nothing where the rule that sets it is lost. Until none is left.
fn drop_unset_variables(finished: &mut [Finished], world: &World<'_>) {
    loop {
        let on_requests = set_by(finished.iter().flat_map(|one| &one.rules));
        let on_responses = set_by(finished.iter().flat_map(|one| &one.responses));
        // Requests come before responses; what lives as long as a connection is there for the next one.
        let is_set = |name: &str, is_response: bool| {
            on_requests.contains(name)
                || (on_responses.contains(name) && (is_response || name.starts_with("session.")))
        };
        let mut gone = false;
        for one in finished.iter_mut() {
            let format = one.keys.get("log_format").map(|setting| (setting.value.to_string(), setting.span));
            let unset =
                format.iter().flat_map(|(text, _)| fits::variables(text)).find(|name| !is_set(name, true));
            if let (Some(name), Some((_, Some(span)))) = (unset, &format) {
                let why =
                    format!("`log-format`: no rule that is converted sets its variable `{}`", key(name));
                world.notes.lost(*span, why);
                one.lost.push(*span);
                one.keys.take("log_format");
            }
            let Finished { rules, responses, lost, .. } = one;
            for (is_response, list) in [(false, rules), (true, responses)] {
                list.retain(|rule| {
                    let text = rule.value().to_string();
                    let unset = fits::variables(&text).find(|name| !is_set(name, is_response));
                    if let Some(name) = unset {
                        let why = format!("no rule that is converted sets its variable `{}`", key(name));
                        world.notes.lost(rule.span, why);
                        lost.push(rule.span);
                        gone = true;
                    }
                    unset.is_none()
                });
            }
        }
        if !gone {
            return;
        }
    }
}

/// The variables that rules set.
fn set_by<'r>(rules: impl Iterator<Item = &'r Rule>) -> BTreeSet<String> {
    let names = |(key, value): &(String, Value)| match value {
        Value::Table(entries) if key == "set_var" => entries.iter().map(|(name, _)| name.clone()).collect(),
        _ if key == "rate_limit" || key == "require_auth" => {
            value.get("set_var").and_then(Value::as_text).map(str::to_owned).into_iter().collect()
        }
        _ => Vec::new(),
    };
    rules.flat_map(|rule| &rule.does).flat_map(names).collect()
}

/// `log = false` is said where it changes something.
pub(super) fn says_something(setting: &Setting) -> bool {
    setting.value != Value::Flag(false) || setting.note.is_some()
}

/// Keepalive of the sides that a section has.
fn keepalive(proxy: &Proxy, keys: &mut Keys, notes: &Notes<'_>) {
    let sides: &[usize] = match proxy.kind {
        Kind::Frontend => &[0],
        Kind::Backend => &[1],
        _ => &[0, 1],
    };
    let on: Vec<_> =
        sides.iter().filter_map(|side| Some((&proxy.keepalive[*side], proxy.keepalive[*side].on?))).collect();
    let Some((first, span)) = on.first() else {
        keys.assume("tcp_keepalive", false, "");
        return;
    };
    let settings = on
        .iter()
        .map(|(side, _)| &side.settings)
        .find(|settings| !settings.is_empty())
        .unwrap_or(&first.settings);
    let value = if settings.is_empty() { Value::Flag(true) } else { Value::Table(settings.clone()) };
    keys.set("tcp_keepalive", value, *span);
    if on.len() < sides.len() {
        notes.advise(*span, "a `listen` has one tcp_keepalive: the connections of its other side are probed as well, which harms nobody; a frontend and a backend have one each");
    }
}
