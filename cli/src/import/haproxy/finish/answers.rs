//! Pages, the monitor's question and ids, put together.

use std::{fs::File, io::Read, path::Path};

use crate::{
    config::diagnostic::Span,
    import::{
        document::Value,
        haproxy::{
            acl,
            cond::{Cond, Is},
            directive::Fault,
            file::Member,
            fits::Place,
            keys::Keys,
            lexer::Word,
            proxy::{ErrorPage, Pages, split_condition},
            sample::{Inexact, Scene, Side},
            template,
        },
    },
};

use super::World;

/// The pages of a section that are there.
pub(super) fn pages(
    member: &Member,
    is_http: bool,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) -> Vec<(u16, Value)> {
    let mut pages: Vec<ErrorPage> = Vec::new();
    let put = |pages: &mut Vec<ErrorPage>, page: ErrorPage| {
        pages.retain(|known| known.status != page.status);
        pages.push(page);
    };
    for line in &member.proxy.pages {
        match line {
            Pages::One(page) => put(&mut pages, page.clone()),
            Pages::Default(status) => pages.retain(|known| known.status != *status),
            Pages::Group(group, statuses) => {
                let Some(found) = world.file.error_groups.iter().find(|known| known.name == group.text)
                else {
                    world.notes.lost(group.span, format!("no `http-errors` is called `{}`", group.text));
                    lost.push(group.span);
                    continue;
                };
                let wanted = |page: &&ErrorPage| statuses.is_empty() || statuses.contains(&page.status);
                for page in found.pages.iter().filter(wanted) {
                    put(&mut pages, page.clone());
                }
            }
        }
    }
    if !is_http {
        return Vec::new();
    }
    let place = Place { is_http, is_frontend: member.proxy.is_frontend(), file: &world.options.output };
    let mut out = Vec::new();
    for page in pages {
        let value = match page.value {
            Value::Text(file) => Value::Text(world.maps.ours(&file)),
            other => other,
        };
        match place.takes_key("error_page", &Value::table([(&page.status.to_string(), value.clone())])) {
            Ok(()) => {
                if let Some(said) = said_status(&value, world).filter(|said| *said != page.status) {
                    let why = format!(
                        "the page for {} begins with the status {said}, which HAProxy answers with; here a page has the status that it is for: write respond = {{ status = {said}, file = .. }} in a rule where it shall be another",
                        page.status
                    );
                    world.notes.lost(page.span, why);
                    lost.push(page.span);
                }
                out.push((page.status, value));
            }
            Err(why) => {
                world.notes.lost(page.span, format!("the page for {}: {why}", page.status));
                lost.push(page.span);
            }
        }
    }
    out.sort_by_key(|(status, _)| *status);
    out
}

/// The status in the first line of a page.
fn said_status(page: &Value, world: &World<'_>) -> Option<u16> {
    let folder = Path::new(&world.options.output).parent()?;
    let file = File::open(folder.join(page.as_text()?)).ok()?;
    let mut begin = Vec::new();
    file.take(64).read_to_end(&mut begin).ok()?;
    let line = String::from_utf8_lossy(&begin);
    let (version, rest) = line.split_once(' ')?;
    version.starts_with("HTTP/").then(|| rest.get(..3)?.parse().ok())?
}

/// `monitor-uri` with `monitor fail`. `served` says whether a backend is in our file.
pub(super) fn monitor(
    member: &Member,
    keys: &mut Keys,
    served: &dyn Fn(&str) -> bool,
    world: &World<'_>,
    lost: &mut Vec<Span>,
) {
    let monitor = &member.proxy.monitor;
    let Some(uri) = &monitor.uri else {
        for line in &monitor.fail {
            world
                .notes
                .advise(line.span, "`monitor fail` does nothing without `monitor-uri`: it is left out");
        }
        return;
    };
    let mut fail_if = Vec::new();
    for line in &monitor.fail {
        let (_, condition) = split_condition(&line.arguments);
        match fails(condition, member, world).and_then(|list| {
            let gone = list.iter().find(|(backend, _)| !served(backend));
            match gone {
                Some((backend, _)) => Err(Fault::from(format!("the backend `{backend}` is not in our file"))),
                None => Ok(list),
            }
        }) {
            Ok(list) => fail_if.extend(list),
            Err(fault) => {
                world.notes.lost(fault.span.unwrap_or(line.span), fault.why);
                lost.push(line.span);
            }
        }
    }
    let list = fail_if.into_iter().map(|(backend, below)| {
        Value::table([("backend", Value::Text(backend)), ("usable_below", Value::Integer(below))])
    });
    let list: Vec<_> = list.collect();
    let place = Place { is_http: true, is_frontend: true, file: &world.options.output };
    let value = Value::text(&uri.text);
    if let Err(why) = place.takes_key("monitor_uri", &value) {
        world.notes.lost(uri.span, format!("`monitor-uri`: {why}"));
        lost.push(uri.span);
        return;
    }
    let value = match list.is_empty() {
        true => value,
        false => Value::table([("uri", value), ("fail_if", Value::one_or_list(list))]),
    };
    keys.set("monitor_uri", value, uri.span);
}

/// Backends and how many servers they must have at least: any of the tests.
fn fails(condition: &[Word], member: &Member, world: &World<'_>) -> Result<Vec<(String, u64)>, Fault> {
    let Some((keyword, words)) = condition.split_first() else {
        return Err("`monitor fail` takes a condition".into());
    };
    let cond = acl::disjunction(
        words,
        &mut |name| {
            let lists = member
                .proxy
                .acls
                .iter()
                .filter(|acl| acl.first().is_some_and(|first| first.text == name.text));
            let tests = lists.map(|acl| too_few(&acl[1..], member, world)).collect::<Result<Vec<_>, _>>()?;
            if tests.is_empty() {
                return Err(Fault::at(name, format!("no `acl` is called `{}`", name.text)));
            }
            Ok(Cond::any(tests))
        },
        &mut |words| too_few(words, member, world),
    )?;
    let unfit = || Fault::at(keyword, "`monitor fail` knows tests of `nbsrv`, any of which must hold");
    if keyword.text == "unless" {
        return Err(unfit());
    }
    let one = |cond: Cond| match cond {
        Cond::Is(Is { name: Some(backend), values, .. }) => {
            let below = values.iter().filter_map(|value| match value {
                Value::Integer(number) => Some((backend.clone(), *number)),
                _ => None,
            });
            Ok(below.collect::<Vec<_>>())
        }
        _ => Err(unfit()),
    };
    match cond {
        Cond::Any(list) => Ok(list.into_iter().map(one).collect::<Result<Vec<_>, _>>()?.concat()),
        cond => one(cond),
    }
}

/// `nbsrv(BACKEND) lt N`
fn too_few(words: &[Word], member: &Member, world: &World<'_>) -> Result<Cond, Fault> {
    let Some(first) = words.first() else { return Err("a test has nothing in it".into()) };
    let (name, arguments, rest) =
        super::super::arguments::call(&first.text).map_err(|why| Fault::at(first, why))?;
    if name != "nbsrv" || !rest.is_empty() {
        return Err(Fault::at(first, "`monitor fail` can ask `nbsrv` of a backend, and nothing else"));
    }
    let backend = match arguments.first() {
        Some(backend) => {
            world.file.backend(&Word { text: backend.clone(), span: first.span })?.proxy.name.clone()
        }
        None if member.proxy.is_backend() => member.proxy.name.clone(),
        None => return Err(Fault::at(first, "`nbsrv` takes the name of a backend here")),
    };
    let texts: Vec<_> = words[1..].iter().map(|word| word.text.as_str()).collect();
    let below = match texts.as_slice() {
        ["lt", number] => number.parse().ok(),
        ["le", number] => number.parse::<u64>().ok().and_then(|number| number.checked_add(1)),
        ["eq", "0"] | ["0"] => Some(1),
        _ => None,
    };
    match below {
        Some(below @ 1..=10_000) => Ok(Cond::named("nbsrv", backend, vec![Value::Integer(below)])),
        _ => Err(Fault::at(first, "`nbsrv` is asked whether it is less than a number: `nbsrv(app) lt 1`")),
    }
}

/// `unique-id-header` and `unique-id-format`.
pub(super) fn unique_id(member: &Member, keys: &mut Keys, world: &World<'_>) {
    let [header, format] = &member.proxy.unique_id;
    let Some(span) = header.as_ref().or(format.as_ref()).map(|word| word.span) else { return };
    let mut entries = Vec::new();
    if let Some(header) = header {
        entries.push(("header".to_owned(), Value::text(&header.text)));
    }
    if let Some(format) = format {
        let place = Place { is_http: true, is_frontend: true, file: &world.options.output };
        let inexact = Inexact::default();
        let scene = Scene { maps: world.maps, side: Side::Request, inexact: &inexact };
        let converted = template::convert(format, scene).and_then(|text| {
            let value = Value::Text(text);
            place
                .takes_key("unique_id", &Value::table([("template", value.clone())]))
                .map_err(|why| Fault::at(format, why))?;
            Ok(value)
        });
        match converted {
            Ok(value) => {
                world.notes.inexact(&inexact, format.span);
                entries.push(("template".to_owned(), value));
            }
            Err(fault) => world.notes.lost(
                fault.span.unwrap_or(format.span),
                format!("{}; ids are random here instead (a UUID)", fault.why),
            ),
        }
    }
    keys.set("unique_id", Value::Table(entries), span);
}
