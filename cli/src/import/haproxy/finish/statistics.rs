//! The page with statistics: where it is, and who may read it.

use std::cell::Cell;

use super::World;
use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            acl::{self, Scope},
            cond::{Cond, Is},
            directive::{Fault, shown},
            file::Member,
            fits::Place,
            keys::{Keys, Setting},
            proxy::{Proxy, RuleLine, split_condition},
            rule::AUTH,
            sample::{Inexact, Scene, Side},
            section::Kind,
        },
    },
};

/// Who may read it.
#[derive(Default)]
struct Readers {
    allow: Option<Vec<Value>>,
    users: Option<String>,
}

/// The page with statistics is a frontend's.
pub(super) fn finish(
    member: &Member,
    kind: Kind,
    is_http: bool,
    keys: &mut Keys,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) {
    let proxy = &member.proxy;
    let is_own = |span: &Span| member.range.start <= span.start && span.end <= member.range.end;
    let Some(on) = proxy.statistics.on else { return };
    if kind == Kind::Backend && is_http {
        return of_backend(member, on, is_own(&on), world, lost);
    }
    if !is_http {
        if is_own(&on) {
            world.notes.advise(on, "mode tcp shows no statistics, there as here: it is left out");
        }
        return;
    }
    match value(proxy, world) {
        Some(Ok((value, span))) => keys.set("statistics", value, span),
        Some(Err(fault)) => {
            world.notes.lost(fault.span.unwrap_or(on), fault.why);
            lost.push(on);
        }
        None => {}
    }
}

/// `use-service prometheus-exporter`: beside the page, if there is one.
pub(super) fn metrics(
    (path, networks, span): (Value, Vec<Value>, Span),
    keys: &mut Keys,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) {
    let page = match keys.take("statistics") {
        Some(Setting { value: Value::Table(entries), span: Some(span), .. }) => Some((entries, span)),
        _ => None,
    };
    if page.is_some() && !networks.is_empty() {
        let why = "`use-service prometheus-exporter` for some networks: here who may read the page may read the metrics, and nobody else; write [statistics] with a `bind` of its own";
        world.notes.lost(span, why);
        lost.push(span);
    } else {
        let entries = page.as_ref().map(|(entries, _)| entries.clone()).unwrap_or_default();
        let mut entries = [entries, vec![("metrics".to_owned(), path.clone())]].concat();
        if !networks.is_empty() {
            entries.push(("allow".to_owned(), Value::one_or_list(networks)));
        }
        let value = Value::Table(entries);
        let place = Place { is_http: true, is_frontend: true, file: &world.options.output };
        let probe = Value::table([("metrics", path.clone())]);
        match place.takes_key("statistics", &probe) {
            Ok(()) => {
                let why = format!(
                    "the metrics have names of ours; HAProxy's are at {}?names=haproxy: for Prometheus params = {{ names = [\"haproxy\"] }}",
                    path.as_text().unwrap_or_default()
                );
                world.notes.differ(span, why);
                keys.set("statistics", value, span);
                return;
            }
            Err(why) => {
                world.notes.lost(span, format!("`use-service`: our file does not take it: {why}"));
                lost.push(span);
            }
        }
    }
    if let Some((entries, span)) = page {
        keys.set("statistics", Value::Table(entries), span);
    }
}

/// Where the page is.
fn uri(proxy: &Proxy) -> Option<&str> {
    proxy.statistics.on.map(|_| proxy.statistics.uri.as_deref().unwrap_or("/haproxy?stats"))
}

/// In HAProxy a backend shows a page as well, also one that it takes from `defaults`, to those whose frontend has another one.
fn of_backend(member: &Member, on: Span, is_own: bool, world: &World<'_>, lost: &mut Vec<Span>) {
    let page = uri(&member.proxy).unwrap_or_default();
    let mut comes_by = world.leading_to(member).peekable();
    let is_used = comes_by.peek().is_some();
    let why = match comes_by.find(|front| uri(&front.proxy) != Some(page)) {
        Some(front) => format!(
            "who comes to `{}` by `{}` finds a page with statistics at {} there; here a page is a frontend's, and each has one: write statistics = {{ uri = \"{}\" }} in `{}` if that is the one to keep",
            shown(&member.written),
            shown(&front.written),
            shown(page),
            shown(page),
            front.proxy.name
        ),
        None if is_own && !is_used => {
            "a page with statistics is a frontend's: write `statistics` there".to_owned()
        }
        None => return,
    };
    world.notes.lost(on, why);
    lost.push(on);
}

/// The value of `statistics`, and the line that it comes from; `None` if there is none.
pub(super) fn value(proxy: &Proxy, world: &World<'_>) -> Option<Result<(Value, Span), Fault>> {
    let on = proxy.statistics.on?;
    Some(made(proxy, world).map(|value| (value, on)).map_err(|fault| Fault {
        span: fault.span.or(Some(on)),
        why: format!("{}; the page is left out", fault.why),
    }))
}

fn made(proxy: &Proxy, world: &World<'_>) -> Result<Value, Fault> {
    let statistics = &proxy.statistics;
    let uri = uri(proxy).unwrap_or_default();
    let place = Place { is_http: true, is_frontend: true, file: &world.options.output };
    let mut entries = vec![("uri".to_owned(), Value::text(uri))];
    place
        .takes_key("statistics", &Value::Table(entries.clone()))
        .map_err(|why| format!("the page at {}: {why}", shown(uri)))?;
    let mut readers = restrict(proxy, world)?;
    if !statistics.users.is_empty() {
        readers.users = Some(world.users.of_statistics(&statistics.users)?);
    }
    entries.extend(readers.users.map(|users| ("users".to_owned(), Value::Text(users))));
    entries.extend(readers.allow.map(|networks| ("allow".to_owned(), Value::one_or_list(networks))));
    if entries.len() == 1
        && let Some(on) = statistics.on
    {
        let why = format!(
            "the page at {} is shown to everybody who can reach this port, without a password, there as here; write `users` or `allow`",
            shown(uri)
        );
        world.notes.advise(on, why);
    }
    Ok(Value::Table(entries))
}

/// `stats http-request`: lists that come to networks, or to users of a `userlist`, or to both.
fn restrict<'p>(proxy: &'p Proxy, world: &World<'_>) -> Result<Readers, Fault> {
    let lines = &proxy.statistics.rules;
    let read = |line: &'p RuleLine| {
        let (words, condition) = split_condition(&line.arguments);
        let inexact = Inexact::default();
        let scene = Scene { maps: world.maps, side: Side::Request, inexact: &inexact };
        let scope = Scope { acls: &proxy.acls, scene, tests: Cell::new(0) };
        let cond = acl::condition(condition, &scope)
            .map_err(|fault| Fault { span: fault.span.or(Some(line.span)), why: fault.why })?;
        world.notes.inexact(&inexact, line.span);
        Ok::<_, Fault>((words.first().map_or("", |word| word.text.as_str()), cond))
    };
    let rules = lines.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut readers = Readers::default();
    // Who is let in by one line is let in, whatever follows; so it stands before the one that keeps others out.
    let rules: Vec<(&str, Cond)> = match rules.as_slice() {
        [("allow", let_in), (last @ ("deny" | "auth"), Cond::Always)] => vec![(*last, let_in.clone().not())],
        _ => rules,
    };
    for ((action, cond), line) in rules.into_iter().zip(lines) {
        let kept_in = match cond {
            Cond::Not(inner) => *inner,
            other => other.not(),
        };
        match (action, kept_in) {
            ("deny", Cond::Is(Is { key: "source", values, .. })) if readers.allow.is_none() => {
                readers.allow = Some(values);
            }
            ("auth", Cond::Is(Is { key: AUTH, name: Some(list), values }))
                if readers.users.is_none() && values == [Value::text("")] =>
            {
                readers.users = Some(world.users.of_list(&list, &[])?.0);
            }
            _ => {
                let why = "`stats http-request` is known as `deny unless { src NETWORKS }` and `auth unless { http_auth(LIST) }`, or with `allow if` before them";
                return Err(Fault { span: Some(line.span), why: why.into() });
            }
        }
    }
    Ok(readers)
}
