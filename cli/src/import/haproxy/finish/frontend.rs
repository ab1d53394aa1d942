//! A section, put together: where it listens and leads, its rules, and the half with servers.

use std::collections::BTreeSet;

use super::{
    Finished, World, answers, backend::Part, keepalive, listen, logs, otherwise, statistics, timeouts,
};
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            cond::Cond,
            directive::shown,
            file::Member,
            fits::Place,
            keys::Keys,
            lexer::Word,
            proxy::{Captured, Forwarded, split_condition},
            rule::{Rule, USABLE},
            sample::CAPTURED,
            section::Kind,
        },
    },
};

/// `None` if it would have nowhere to listen, or nobody to answer.
pub(super) fn finish(
    member: &Member,
    part: Option<Part>,
    served: &BTreeSet<String>,
    taken: &mut listen::Listeners,
    world: &World<'_>,
) -> Option<Finished> {
    let proxy = &member.proxy;
    let (mut kind, part) = match (proxy.kind, part) {
        (Kind::Backend, None) => {
            let note = "it is a stick table and nothing else: what rules ask of it stands with the rules";
            world.notes.advise(proxy.span, note);
            return None;
        }
        // One with a `default_backend` leads there.
        (Kind::Listen, None) => (Kind::Frontend, None),
        (kind, part) => (kind, part),
    };
    if let Some(part) = part.as_ref().filter(|part| part.servers.is_empty()) {
        without_servers(member, part, world);
    }
    let mut lost = proxy.lost.clone();
    let (mut is_http, mut binds) = (proxy.is_http(), Vec::new());
    if kind != Kind::Backend {
        binds = listen::values(member, taken, world, &mut lost);
        if binds.is_empty() && kind == Kind::Listen {
            // Others may lead to it.
            kind = Kind::Backend;
            if proxy.binds.is_empty() && proxy.lost.is_empty() {
                world.notes.advise(proxy.span, "it listens nowhere: it is a `backend` here");
            } else {
                world.notes.lost(
                    proxy.span,
                    "it has no listener that our file can have: only its servers are in it, as a `backend`",
                );
            }
        } else if binds.is_empty() {
            world
                .notes
                .lost(proxy.span, "it has no listener that our file can have: the section is left out");
            return None;
        } else {
            is_http = is_http || reads_http_behind(member, world);
        }
    }
    let mut keys = proxy.keys.clone();
    if is_http != proxy.is_http() {
        keys.set("mode", Value::text("http"), proxy.span);
        world.notes.advise(proxy.span, "it is in mode tcp and leads to sections in mode http, which HAProxy reads as HTTP from there on: it is in mode http here");
    }
    let (is_front, is_back) = (kind != Kind::Backend, kind != Kind::Frontend);
    timeouts::complete(&mut keys, Some((proxy.span, is_front, is_back)), world.notes);
    if is_front && is_http && proxy.keys.get("timeout.http_request").is_none() && !world.said.replace(true) {
        let message = "no `timeout http-request`: a client that sends its head a byte at a time can hold a connection for as \
                       long as it likes in HAProxy. Our file has `timeout client` for the whole head; take http_request out of \
                       it for ours, 10s";
        world.notes.advise(proxy.span, message);
    }
    if is_front && is_http && !world.said_of_host.replace(true) {
        world.notes.advise(proxy.span, otherwise::HOST);
    }
    keepalive(proxy, &mut keys, world.notes);
    world.of_process(&mut keys);
    let place = Place { is_http, is_frontend: is_front, file: &world.options.output };
    let own = part.as_ref().map(|part| part.servers.as_slice()).unwrap_or_default();
    let forwarded = forwarded(member, kind, is_http, &mut keys, world, &mut lost);
    let made = world.rules(member, is_http, own, forwarded.is_some());
    lost.extend(made.lost);
    if let Some(senders) = made.accept_proxy {
        binds = binds.into_iter().map(|bind| listen::accepting(bind, senders.clone())).collect();
    }
    for (key, (value, span)) in made.keys {
        if ["wait_for_body", "per_source"].contains(&key) && !is_front {
            world.notes.lost(span, format!("it is of the frontend: write `{key}` there"));
            lost.push(span);
        } else {
            keys.set(key, value, span);
        }
    }
    logs::finish(proxy, is_http, kind, &made.captures, &mut keys, world, &mut lost);
    let mut rules = made.requests;
    if is_front && is_http {
        let mut captures: Vec<_> = proxy.logs.captures.headers[0].iter().chain(&made.captures).collect();
        captures.sort_by_key(|one| one.span.start);
        rules.splice(0..0, keep_captured(captures.into_iter(), world));
    }
    // Behind it is nothing that it would spare.
    if rules.last().is_some_and(|rule| made.metrics.as_ref().is_some_and(|(.., span)| *span == rule.span)) {
        rules.pop();
    }
    if is_front {
        rules.retain(|rule| {
            let mut names = Vec::new();
            rule.cond.names_of(USABLE, &mut names);
            let gone = names.into_iter().find(|name| !served.contains(*name));
            if let Some(name) = gone {
                let why = format!("`nbsrv({name})`: the backend is not in our file");
                match rule.stops() {
                    true => world.notes.open(rule.span, rule.span, why),
                    false => world.notes.lost(rule.span, why),
                }
                lost.push(rule.span);
            }
            gone.is_none()
        });
        rules = lead(member, rules, is_http, served, &mut keys, world, &mut lost);
    } else {
        rules.retain(|rule| {
            let chooses = rule.does.iter().any(|(key, _)| key == "backend");
            if chooses {
                world.notes.lost(rule.span, "nobody comes in here, so nobody is led elsewhere");
            }
            !chooses
        });
    }
    rules.extend(forwarded);
    let rules = world.fitting(rules, "rules", Place { is_frontend: is_front, ..place }, &mut lost);
    inspect(member, &rules, &mut keys, world);
    timeouts::tarpit(&rules, proxy.kind == Kind::Frontend, &mut keys, world.notes);
    let responses = world.fitting(made.responses, "response_rules", place, &mut lost);
    let rewrites = |rule: &Rule| {
        rule.does.iter().any(|(key, _)| ["set_path", "replace_path", "set_query"].contains(&key.as_str()))
    };
    if let Some(first) = rules.iter().position(rewrites) {
        let asks = |rule: &&Rule| world.notes.source(rule.span).contains("capture.req.uri");
        for rule in rules[first..].iter().chain(&responses).filter(asks) {
            let note =
                "`capture.req.uri` is what came in HAProxy, and here what the rules before have made of it";
            world.notes.differ(rule.span, note);
        }
    }
    if is_front && is_http {
        answers::monitor(member, &mut keys, &|name| served.contains(name), world, &mut lost);
        answers::unique_id(member, &mut keys, world);
    }
    statistics::finish(member, kind, is_http, &mut keys, world, &mut lost);
    if let Some(metrics) = made.metrics {
        statistics::metrics(metrics, &mut keys, world, &mut lost);
    }
    let pages = answers::pages(member, is_http, world, &mut lost);
    let (mut servers, mut comments) = (Vec::new(), Vec::new());
    if let Some(part) = part {
        servers = part.servers;
        comments = part.comments;
        lost.extend(part.lost);
        for setting in part.keys.iter() {
            match setting.span {
                Some(span) => keys.set(setting.key.name, setting.value.clone(), span),
                None => keys.assume(
                    setting.key.name,
                    setting.value.clone(),
                    setting.note.as_deref().unwrap_or_default(),
                ),
            }
        }
    }
    idle(member, &mut keys, world);
    if !is_front {
        restricted(member, &keys, world, &mut lost);
    }
    world.settle_keys(member, &mut keys, kind, is_http, &mut lost);
    Some(Finished {
        kind,
        name: proxy.name.clone(),
        is_http,
        keys,
        binds,
        pages,
        servers,
        rules,
        responses,
        comments,
        lost,
    })
}

/// Says why a backend has none.
fn without_servers(member: &Member, part: &Part, world: &World<'_>) {
    let proxy = &member.proxy;
    if proxy.is_disabled {
        let note = "it is disabled: as there it answers with 503, and neither its servers nor its rules and pages are in our file";
        world.notes.advise(proxy.span, note);
    } else if !proxy.servers.is_empty() || !part.lost.is_empty() || !proxy.lost.is_empty() {
        let note = "it has no server that our file can have: what its rules don't answer gets 503";
        world.notes.lost(proxy.span, note);
    }
}

/// A TCP frontend whose sections behind it all read HTTP.
fn reads_http_behind(member: &Member, world: &World<'_>) -> bool {
    let targets: Vec<bool> = targets(member)
        .filter_map(|name| world.file.backend(name).ok())
        .map(|target| target.proxy.is_http())
        .collect();
    member.proxy.kind == Kind::Frontend && !targets.is_empty() && targets.iter().all(|is_http| *is_http)
}

/// The names that a section leads to.
pub(super) fn targets(member: &Member) -> impl Iterator<Item = &Word> {
    let chosen = member.proxy.rules.iter().filter(|line| line.keyword == "use_backend");
    chosen.filter_map(|line| split_condition(&line.arguments).0.first()).chain(&member.proxy.default_backend)
}

/// A `listen` with servers and a `default_backend`: HAProxy goes by the latter, and the servers are there for others.
pub(super) fn is_passed_by(member: &Member) -> bool {
    let proxy = &member.proxy;
    let elsewhere = proxy.default_backend.as_ref().is_some_and(|name| name.text != member.written);
    proxy.kind == Kind::Listen && !proxy.binds.is_empty() && !proxy.servers.is_empty() && elsewhere
}

impl World<'_> {
    /// The sections through which clients come to `member`, itself among them.
    pub(super) fn leading_to<'m>(&'m self, member: &'m Member) -> impl Iterator<Item = &'m Member> {
        self.file.proxies.iter().filter(move |other| {
            let itself = other.proxy.kind == Kind::Listen && std::ptr::eq(*other, member);
            let leads = |name: &Word| name.text == member.written || name.text.contains('%');
            itself || (other.proxy.is_frontend() && targets(other).any(leads))
        })
    }
}

/// `tcp-request inspect-delay`, where something is looked at.
fn inspect(member: &Member, rules: &[Rule], keys: &mut Keys, world: &World<'_>) {
    let looks = |text: String| text.contains("client_hello.");
    let looks = rules.iter().any(|rule| looks(format!("{rule:?}")))
        || looks(format!("{:?}", keys.value("log_format")));
    if let Some(setting) = keys.get("timeout.inspect").cloned().filter(|_| !looks) {
        keys.take("timeout.inspect");
        let is_own = |span: &Span| member.range.start <= span.start && span.end <= member.range.end;
        if let Some(span) = setting.span.filter(is_own) {
            let note =
                "nothing waits for bytes but rules of mode tcp on how a client begins TLS: it is left out";
            world.notes.advise(span, note);
        }
    }
}

/// `default_backend` and the rules that choose, of what our file has in the same mode.
fn lead(
    member: &Member,
    rules: Vec<Rule>,
    is_http: bool,
    served: &BTreeSet<String>,
    keys: &mut Keys,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Vec<Rule> {
    let unfit = |name: &str| {
        let target =
            world.file.proxies.iter().find(|other| other.proxy.is_backend() && other.proxy.name == name);
        match target {
            Some(target) if served.contains(name) && target.proxy.is_http() == is_http => None,
            Some(_) if !served.contains(name) => Some(format!("`{name}` is not in our file")),
            _ => Some(format!("`{name}` is in another mode")),
        }
    };
    let mut kept: Vec<Rule> = Vec::new();
    let mut chosen: Vec<Cond> = Vec::new();
    let last = rules.iter().rposition(|rule| rule.does.first().is_some_and(|(key, _)| key == "backend"));
    let last = last.map(|at| rules[at].span);
    let is_default = member.proxy.default_backend.is_some() || member.proxy.kind == Kind::Listen;
    for mut rule in rules {
        let Some((_, Value::Text(name))) = rule.does.first().filter(|(key, _)| key == "backend") else {
            kept.push(rule);
            continue;
        };
        let cond = rule.cond.clone();
        if name.contains('{') {
            if !is_default && last != Some(rule.span) {
                let note = "what is called as no backend gets 503 in HAProxy, and here what a later rule chooses; a `default_backend` settles it";
                world.notes.differ(rule.span, note);
            }
            if let Some(why) = not_by_name(is_http, served, world) {
                world.notes.lost(rule.span, why);
                lost.push(rule.span);
            }
        } else if let Some(why) = unfit(name) {
            // As HAProxy does where a section has no server: those who would come there are told so, and nobody else gets them.
            let answer =
                if is_http { "such requests are answered with 503" } else { "such connections are closed" };
            world.notes.lost(rule.span, format!("{why}: {answer}"));
            lost.push(rule.span);
            rule.cond = Cond::all([rule.cond, Cond::any(chosen.iter().cloned()).not()]);
            rule.does = vec![("deny".into(), if is_http { Value::Integer(503) } else { Value::Flag(true) })];
        }
        chosen.push(cond);
        if rule.cond != Cond::Never {
            kept.push(rule);
        }
    }
    if member.proxy.kind == Kind::Listen
        && !member.proxy.servers.is_empty()
        && !is_passed_by(member)
        && served.contains(&member.proxy.name)
    {
        return kept;
    }
    if let Some(word) = &member.proxy.default_backend {
        let found = world.file.backend(word).map(|target| target.proxy.name.clone());
        match found.map_err(|fault| fault.why).and_then(|name| unfit(&name).map_or(Ok(name), Err)) {
            Ok(name) => keys.set("default_backend", Value::Text(name), word.span),
            Err(why) => {
                world.notes.lost(word.span, why);
                lost.push(word.span);
            }
        }
    }
    kept
}

/// What a name that is computed may be in HAProxy, and is not in our file.
fn not_by_name(is_http: bool, served: &BTreeSet<String>, world: &World<'_>) -> Option<String> {
    let others = || {
        world.file.proxies.iter().filter(|other| other.proxy.is_backend() && other.proxy.is_http() == is_http)
    };
    let missing = others().find(|other| !served.contains(&other.proxy.name));
    let missing = missing.map(|other| (other, "which is not in our file".to_owned()));
    let renamed = others().find(|other| other.proxy.name != other.written);
    let renamed = renamed.map(|other| (other, format!("which is called `{}` in our file", other.proxy.name)));
    let (other, what) = missing.or(renamed)?;
    let name = shown(&other.written);
    Some(format!("a name that is computed may be `{name}`, {what}: such requests go to the default backend"))
}

/// `option forwardfor`: a key of a frontend; with words of its own, and of a backend, a rule behind all others.
fn forwarded(
    member: &Member,
    kind: Kind,
    is_http: bool,
    keys: &mut Keys,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Option<Rule> {
    let Some(forwarded) = member.proxy.forwarded.as_ref() else {
        keys.assume("forwardfor", false, "");
        return None;
    };
    let span = forwarded.span.unwrap_or(member.proxy.span);
    if !is_http {
        if member.range.start <= span.start && span.end <= member.range.end {
            world
                .notes
                .advise(span, "`option forwardfor` has no effect in mode tcp, there as here: it is left out");
        }
        return None;
    }
    if kind != Kind::Backend {
        if forwarded.is_plain() {
            keys.set("forwardfor", true, span);
            return None;
        }
        keys.assume("forwardfor", false, "");
        if let Some(other) = touching(forwarded, member, world) {
            let message = format!(
                "HAProxy adds the header of this line behind the rules of `{}`, which name it, and our file before them: write the rule that adds it into that section, behind them",
                shown(&other.written)
            );
            world.notes.lost(span, message);
            lost.push(span);
        }
        return Some(adds(forwarded, Cond::Always, span));
    }
    let others: Vec<&Member> = world.leading_to(member).collect();
    let (with, without): (Vec<&Member>, Vec<&Member>) =
        others.into_iter().partition(|other| other.proxy.forwarded.is_some());
    if let Some(other) = with.iter().find(|other| !forwarded.is_like(other.proxy.forwarded.as_ref())) {
        let message = format!(
            "HAProxy takes the header of this line also where `{}` has an `option forwardfor`, and what both spare; here a frontend adds its own: write one of them",
            shown(&other.written)
        );
        world.notes.lost(span, message);
        lost.push(span);
    }
    if without.is_empty() && !with.is_empty() {
        return None;
    }
    let names = with.iter().map(|other| Value::text(&other.proxy.name)).collect();
    Some(adds(forwarded, Cond::named("value", "{frontend.name}", names).not(), span))
}

/// A backend behind `member` with rules that look at the header, or change it.
fn touching<'w>(forwarded: &Forwarded, member: &Member, world: &'w World<'_>) -> Option<&'w Member> {
    let header = header(forwarded).to_ascii_lowercase();
    let names_it = |words: &[Word]| words.iter().any(|word| word.text.to_ascii_lowercase().contains(&header));
    world.file.proxies.iter().find(|other| {
        let rules = other.proxy.rules.iter().any(|line| names_it(&line.arguments));
        let lists = other.proxy.acls.iter().any(|acl| names_it(acl));
        other.proxy.kind == Kind::Backend
            && (rules || lists)
            && world.leading_to(other).any(|leading| std::ptr::eq(leading, member))
    })
}

fn header(forwarded: &Forwarded) -> &str {
    forwarded.header.as_deref().unwrap_or("X-Forwarded-For")
}

fn adds(forwarded: &Forwarded, cond: Cond, span: Span) -> Rule {
    let header = header(forwarded);
    let except = Cond::is("source", forwarded.except.iter().map(Value::text).collect()).not();
    let absent = if forwarded.if_none {
        Cond::named("header", header, vec![Value::Flag(false)])
    } else {
        Cond::Always
    };
    let does = vec![("add_header".to_owned(), Value::table([(header, Value::text("{client.ip}"))]))];
    Rule { cond: Cond::all([cond, except, absent]), does, span, note: None }
}

/// Rules that keep those of the captured headers that rules ask for, anywhere in the file.
fn keep_captured<'c>(captures: impl Iterator<Item = &'c Captured>, world: &World<'_>) -> Vec<Rule> {
    let asks = |number: usize, member: &Member| {
        let text = format!("capture.req.hdr({number})");
        let lines = member.proxy.rules.iter().map(|line| &line.arguments).chain(&member.proxy.acls);
        lines.flatten().any(|word| word.text.contains(&text))
    };
    let is_asked = |number: usize| world.file.proxies.iter().any(|member| asks(number, member));
    let asked = captures.enumerate().filter(|(number, _)| is_asked(*number));
    asked
        .map(|(number, one)| {
            let text = format!("{{request.header.{}|bytes(0, {})}}", one.name, one.length);
            let name = format!("{CAPTURED}{number}");
            Rule {
                cond: Cond::named("header", &one.name, vec![Value::Flag(true)]),
                does: vec![("set_var".to_owned(), Value::table([(name.as_str(), Value::Text(text))]))],
                span: one.span,
                note: None,
            }
        })
        .collect()
}

/// `option http-restrict-req-hdr-names` of a backend: what all frontends before it do has been done.
fn restricted(member: &Member, keys: &Keys, world: &World<'_>, lost: &mut Vec<Span>) {
    let key = "restrict_header_names";
    let Some(setting) = keys.get(key).filter(|setting| setting.value != Value::text("preserve")) else {
        return;
    };
    let Some(span) = setting.span else { return };
    let does = |other: &Member| {
        other
            .proxy
            .keys
            .value(key)
            .is_some_and(|value| *value == setting.value || *value == Value::text("reject"))
    };
    if !world.leading_to(member).all(does) {
        let why = format!(
            "`option http-restrict-req-hdr-names` of a backend: write {key} in the frontends that lead to it"
        );
        world.notes.open(span, span, why);
        lost.push(span);
    }
}

/// Keys that are without effect beside the others, in HAProxy as here.
fn idle(member: &Member, keys: &mut Keys, world: &World<'_>) {
    if keys.value("check") == Some(&Value::Flag(false)) {
        keys.take("log_health_checks");
    }
    let is_hash = matches!(keys.value("balance"), Some(Value::Table(_)))
        || keys.is_text("balance", "source")
        || keys.is_text("balance", "uri");
    if let Some(setting) = keys.get("hash_type").cloned().filter(|_| !is_hash) {
        if let Some(span) =
            setting.span.filter(|span| member.range.start <= span.start && span.end <= member.range.end)
        {
            world.notes.advise(span, "no hash decides here, so it has no effect: it is left out");
        }
        keys.take("hash_type");
    }
}
