//! Counters of stick tables: `track-sc0 src` with `deny if { sc_http_req_rate(0) gt 20 }` is a `rate_limit`, and what counts
//! connections is `per_source`.

use std::{cell::Cell, time::Duration};

use super::{Rule, action::Call};
use crate::{
    config::{diagnostic::Span, text::write_duration},
    import::{
        document::Value,
        haproxy::{
            acl::Test,
            cond::{Cond, Is},
            directive::{Fault, shown},
            number,
            proxy::StickTable,
            sample::{self, Base},
        },
    },
};

/// Keys of conditions that ask a counter: they stand in no `when`.
pub(in crate::import::haproxy) const COUNTERS: [&str; 3] = ["http_req_rate", "conn_rate", "conn_cur"];

/// `track-sc0 KEY [table T]`
#[derive(Clone, Debug)]
pub(in crate::import::haproxy) struct Track {
    /// `0`
    counter: String,
    by: By,
    /// Of the section if it is `None`.
    table: Option<String>,
    pub(super) cond: Cond,
    pub(super) span: Span,
    /// A rule asks it.
    pub(super) is_asked: Cell<bool>,
}

impl Track {
    /// With the condition and the place of its line.
    pub(super) fn of(self, cond: Cond, span: Span) -> Self {
        Self { cond, span, ..self }
    }
}

/// Who is the same.
#[derive(Clone, Debug)]
enum By {
    /// An address, with so many bits of one of IPv6.
    Source(u64),
    Text(String),
}

/// A rule, or a part of `per_source`.
pub(super) enum Limit {
    Rule(Rule),
    Connections(Vec<(String, Value)>, Span),
}

/// Finds a table by its name; without one it is that of the section.
pub(in crate::import::haproxy) type Tables<'t> = &'t dyn Fn(Option<&str>) -> Result<StickTable, String>;

/// The condition that a test of a counter is; `None` if it is none.
pub(in crate::import::haproxy) fn test(test: &Test) -> Result<Option<Cond>, Fault> {
    let name = test.sample.name.as_str();
    let Some((tracker, counter)) = name.split_once('_') else { return Ok(None) };
    let Some(key) = COUNTERS.into_iter().find(|key| *key == counter) else { return Ok(None) };
    let mut arguments = test.sample.arguments.iter().filter(|argument| !argument.is_empty());
    let tracker = match tracker {
        "src" => "src".to_owned(),
        "sc" => {
            let missing = || Fault::at(&test.word, format!("`{name}` takes the number of what is tracked"));
            arguments.next().cloned().ok_or_else(missing)?
        }
        "sc0" | "sc1" | "sc2" => tracker[2..].to_owned(),
        _ => return Ok(None),
    };
    let name = match arguments.next() {
        Some(table) => format!("{tracker} {table}"),
        None => tracker,
    };
    match number::ranges(test)?.as_slice() {
        [(low @ 2.., None)] => Ok(Some(Cond::named(key, name, vec![Value::Integer(low - 1)]))),
        _ => Err(Fault::at(
            &test.word,
            format!("`{}` is asked whether it is more than a number, as in gt 20", shown(&test.word.text)),
        )),
    }
}

/// `track-sc0`
pub(super) fn track(call: &Call<'_>) -> Result<Track, Fault> {
    let (key, rest) =
        call.words.split_first().ok_or_else(|| format!("`{}` takes what is counted by", call.name))?;
    let table = match rest {
        [] => None,
        [word, table] if word.text == "table" => Some(table.text.clone()),
        [word, ..] => {
            return Err(Fault::at(word, format!("`{}` is no word of `{}`", shown(&word.text), call.name)));
        }
    };
    let sample = sample::of_word(key, call.scene)?;
    let bits =
        |mask: &String| mask.strip_prefix("mask(32, ").and_then(|rest| rest.strip_suffix(')')?.parse().ok());
    let by = match (&sample.base, sample.functions.as_slice()) {
        (Base::Placeholder(name), []) if name == "client.ip" => By::Source(128),
        (Base::Placeholder(name), [mask])
            if name == "client.ip" && bits(mask).is_some_and(|bits| bits > 0) =>
        {
            By::Source(bits(mask).unwrap_or(128))
        }
        (Base::Placeholder(_), _) => By::Text(sample.template()),
        (Base::Constant(_), _) => {
            return Err(Fault::at(key, "everybody is the same; no limit is for all together"));
        }
    };
    let counter = call.name.trim_start_matches("track-sc").to_owned();
    let counter =
        if counter.is_empty() { call.arguments.first().cloned().unwrap_or_default() } else { counter };
    // The line and its condition are put in where they are known.
    let (cond, span) = (Cond::Always, key.span);
    Ok(Track { counter, by, table, cond, span, is_asked: Cell::new(false) })
}

/// A rule that refuses if a counter says so; `parts` is its condition.
pub(super) fn resolve(
    rule: &Rule,
    parts: Vec<Cond>,
    tracks: &[Track],
    tables: Tables<'_>,
) -> Result<Limit, Fault> {
    let at_rule = |why: String| Fault { span: Some(rule.span), why };
    let is_counter = |part: &Cond| matches!(part, Cond::Is(Is { key, .. }) if COUNTERS.contains(key));
    let (counters, rest): (Vec<Cond>, Vec<Cond>) = parts.into_iter().partition(is_counter);
    let [Cond::Is(Is { key, name: Some(name), values })] = counters.as_slice() else {
        return Err(at_rule("one counter is asked by a rule, and whether it is more than a number".into()));
    };
    if rest.iter().any(|part| part.mentions(&COUNTERS)) {
        return Err(at_rule("one counter is asked by a rule, and whether it is more than a number".into()));
    }
    let (most, status) = match (values.as_slice(), rule.does.as_slice()) {
        ([Value::Integer(most)], [(action, status)]) if action == "deny" || action == "tarpit" => {
            (*most, status.clone())
        }
        _ => {
            return Err(at_rule(
                "a counter of a stick table can have requests refused, and nothing else".into(),
            ));
        }
    };
    let (tracker, table) = match name.split_once(' ') {
        Some((tracker, table)) => (tracker, Some(table)),
        None => (name.as_str(), None),
    };
    let (by, table, cond) = if tracker == "src" {
        (By::Source(128), table, Cond::Always)
    } else {
        let Some(track) = tracks.iter().find(|track| track.counter == tracker) else {
            return Err(at_rule(format!(
                "nothing that our file has is tracked as sc{} here",
                shown(tracker)
            )));
        };
        track.is_asked.set(true);
        (track.by.clone(), table.or(track.table.as_deref()), track.cond.clone())
    };
    let table = tables(table).map_err(at_rule)?;
    let period = table.store.iter().find(|(stored, _)| stored == key);
    let Some((_, period)) = period else {
        return Err(at_rule(format!("the stick table does not store {key}, so it never has any")));
    };
    let mut of = Vec::new();
    if table.size > 0 {
        of.push(("size".to_owned(), Value::Integer(table.size)));
    }
    if let By::Source(bits) = by {
        of.push(("ipv6_prefix".to_owned(), Value::Integer(bits)));
    }
    let rate = |period: Option<Duration>| {
        let period = period.ok_or_else(|| at_rule(format!("{key} takes a period, as in {key}(10s)")))?;
        Ok::<_, Fault>(Value::Text(format!("{most}/{}", write_duration(period))))
    };
    if *key == "http_req_rate" {
        let by = match by {
            By::Source(_) => Value::text("source"),
            By::Text(text) => Value::Text(text),
        };
        let mut entries = vec![("by".to_owned(), by), ("rate".to_owned(), rate(*period)?)];
        entries.extend(of);
        if status != Value::Integer(429) && status != Value::Flag(true) {
            entries.push(("status".to_owned(), status));
        }
        let is_held = rule.does.iter().any(|(action, _)| action == "tarpit");
        let note = is_held.then(|| "it is refused at once, and not held as in HAProxy's tarpit".to_owned());
        let does = vec![("rate_limit".to_owned(), Value::Table(entries))];
        let cond = Cond::all(rest.into_iter().chain([cond]));
        return Ok(Limit::Rule(Rule { cond, does, span: rule.span, note }));
    }
    if !rest.is_empty() || cond != Cond::Always || !matches!(by, By::Source(_)) {
        let why = "connections are limited for all clients of the frontend alike, by their addresses (`per_source`)";
        return Err(at_rule(why.into()));
    }
    let entry = match *key {
        "conn_cur" => ("connections".to_owned(), Value::Integer(most)),
        _ => ("connection_rate".to_owned(), rate(*period)?),
    };
    Ok(Limit::Connections([entry].into_iter().chain(of).collect(), rule.span))
}
