//! Counters of stick tables: `track-sc0 src` is a `rate_limit` that sets a variable where `sc_http_req_rate(0) gt 20` is asked,
//! and what counts connections is `per_source`.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use super::{Context, Rule, action::Call};
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
            sample::{self, Base, Sample, Type},
        },
    },
};

/// Keys of conditions that ask a counter: they stand in no `when`.
const COUNTERS: [&str; 3] = ["http_req_rate", "conn_rate", "conn_cur"];

/// Those of connections.
pub(super) const OF_CONNECTIONS: [&str; 2] = ["conn_rate", "conn_cur"];

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
    /// It counts a connection once. Behind `http-request` and `tcp-request content` HAProxy counts each request anew.
    is_of_connection: bool,
    /// The variables that say whether a request is one too many, with how many are not, in how much time.
    asked: RefCell<Vec<(String, u64, Duration)>>,
    /// A limit without a variable asks it.
    is_limit: Cell<bool>,
}

impl Track {
    /// With the condition and the place of its line.
    pub(super) fn of(self, cond: Cond, span: Span, is_of_connection: bool) -> Self {
        Self { cond, span, is_of_connection, ..self }
    }

    /// Does a rule ask it?
    pub(super) fn is_asked(&self) -> bool {
        self.is_limit.get() || !self.asked.borrow().is_empty()
    }

    fn ask(&self, variable: &str, most: u64, period: Duration) {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|(known, ..)| known == variable) {
            asked.push((variable.to_owned(), most, period));
        }
    }
}

/// Who is the same.
#[derive(Clone, Debug)]
enum By {
    /// An address, with so many bits of one of IPv6.
    Source(u64),
    Text(Sample),
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
        (Base::Placeholder(_), _) => By::Text(sample),
        (Base::Constant(_), _) => {
            return Err(Fault::at(key, "everybody is the same; no limit is for all together"));
        }
    };
    let counter = call.name.trim_start_matches("track-sc").to_owned();
    let counter =
        if counter.is_empty() { call.arguments.first().cloned().unwrap_or_default() } else { counter };
    // The line and its condition are put in where they are known.
    let (cond, span) = (Cond::Always, key.span);
    Ok(Track {
        counter,
        by,
        table,
        cond,
        span,
        is_of_connection: false,
        asked: RefCell::default(),
        is_limit: Cell::new(false),
    })
}

/// How often a request is one too many: each limit is a rule of its own, where HAProxy tracks.
impl Context<'_> {
    /// A condition in which variables stand for the counters of requests. What they count is noted at `tracks`.
    pub(super) fn counted(&self, cond: Cond, span: Span, tracks: &[Track]) -> Result<Cond, Fault> {
        cond.replaced(&mut |is: Is| match &is {
            Is { key: "conn_cur", name: Some(name), .. } if self.is_of_requests(name, tracks) => {
                let why = "of what `http-request` tracks HAProxy counts the requests that are under way, and nothing here does: `per_source.connections` counts connections, kept ones as well (a browser has six)";
                Err(Fault { span: Some(span), why: why.into() })
            }
            Is { key: key @ ("http_req_rate" | "conn_rate"), name: Some(name), values }
                if *key == "http_req_rate" || self.is_of_requests(name, tracks) =>
            {
                let most = values.iter().filter_map(|value| match value {
                    Value::Integer(most) => Some(*most),
                    _ => None,
                });
                let most = most.min().unwrap_or(1);
                let variable =
                    self.too_many((*key, name), most, tracks).map_err(|why| Fault { span: Some(span), why })?;
                Ok(Cond::named("value", format!("{{var.{variable}}}"), vec![Value::Flag(true)]))
            }
            _ => Ok(Cond::Is(is)),
        })
    }

    /// The rule where it asks of a source what a rule behind it counts: HAProxy knows the requests before this one, and
    /// counts none that is refused. `None` if it asks nothing of the kind.
    pub(super) fn asked_before(
        &self,
        rule: &Rule,
        behind: &[Rule],
        tracks: &[Track],
    ) -> Result<Option<Rule>, Fault> {
        let mut names = Vec::new();
        rule.cond.names_of("http_req_rate", &mut names);
        let is_behind = |track: &&Track| {
            behind.iter().any(|rule| rule.does[0].0 == super::TRACK && rule.span == track.span)
        };
        let asked: Vec<_> = names
            .into_iter()
            .filter(|name| of_counter(name).0 == "src")
            .flat_map(|name| self.counting_for(name, tracks))
            .filter(is_behind)
            .collect();
        let Some(track) = asked.first() else { return Ok(None) };
        let why = "requests of `src` are counted by a rule behind this one, so that HAProxy counts none that is refused here: in our file a rule that asks stands behind the one that counts; write the `track-sc` above it";
        let other = || Fault { span: Some(rule.span), why: why.into() };
        let (Cond::Is(Is { values, .. }), [(action, Value::Integer(status))]) =
            (&rule.cond, rule.does.as_slice())
        else {
            return Err(other());
        };
        let table = (self.tables)(track.table.as_deref()).map_err(|_| other())?;
        let period =
            table.store.iter().find(|(stored, _)| stored == "http_req_rate").and_then(|(_, period)| *period);
        // Whoever gets past this rule is counted.
        let is_counted = behind
            .iter()
            .take_while(|rule| rule.span != track.span)
            .all(|rule| !rule.stops() && rule.does[0].0 != "allow")
            && track.cond == Cond::Always
            && !tracks
                .iter()
                .take_while(|other| other.span != track.span)
                .any(|other| other.counter == track.counter)
            && (self.also_counted)(track.table.as_deref().unwrap_or(self.section), track.span).is_none();
        match (values.as_slice(), period, asked.as_slice()) {
            ([Value::Integer(most)], Some(period), [_]) if action == "deny" && is_counted => {
                track.is_limit.set(true);
                let mut entries = vec![
                    ("by".to_owned(), Value::text("source")),
                    ("rate".to_owned(), rate(most + 1, period)),
                ];
                entries.extend(of_table(&track.by, &table));
                entries.push(("status".to_owned(), Value::Integer(*status)));
                let does = vec![("rate_limit".to_owned(), Value::Table(entries))];
                self.notes.advise(rule.span, "who is refused is told when to come again (`Retry-After`)");
                Ok(Some(Rule { cond: self.is_key(track, &table), does, span: rule.span, note: None }))
            }
            _ => Err(other()),
        }
    }

    /// What the counter `name` is of.
    fn counting_for<'t>(&self, name: &str, tracks: &'t [Track]) -> Vec<&'t Track> {
        let (tracker, table) = of_counter(name);
        let is_it = |track: &&Track| match tracker {
            "src" => matches!(track.by, By::Source(128)) && self.is_same_table(track, table),
            _ => track.counter == tracker,
        };
        tracks.iter().filter(is_it).collect()
    }

    /// Does the counter `name` count requests, also where it is called one of connections?
    fn is_of_requests(&self, name: &str, tracks: &[Track]) -> bool {
        let counting = self.counting_for(name, tracks);
        !counting.is_empty() && counting.iter().all(|track| !track.is_of_connection)
    }

    /// The variable of requests that are over `most` of the counter `name`, which the table stores as `key`.
    fn too_many(&self, (key, name): (&str, &str), most: u64, tracks: &[Track]) -> Result<String, String> {
        let (tracker, table) = of_counter(name);
        let counting = self.counting_for(name, tracks);
        if counting.is_empty() {
            if table.is_some() {
                (self.tables)(table)?;
            }
            return Err(match tracker {
                "src" => {
                    "no rule here tracks `src` in this table, so nothing that our file has is counted".into()
                }
                _ => format!("nothing that our file has is tracked as sc{} here", shown(tracker)),
            });
        }
        let section = if self.is_backend { "backend_" } else { "" };
        let tracker = if tracker == "src" { "src".to_owned() } else { format!("sc{tracker}") };
        let counter = if key == "conn_rate" { "_connections" } else { "" };
        let variable = format!("{section}{tracker}{counter}_over_{most}");
        for track in counting {
            if table.is_some() && !self.is_same_table(track, table) {
                (self.tables)(table)?;
                return Err("another table is asked than the one in which it is tracked".into());
            }
            if tracker == "src" && track.cond != Cond::Always {
                return Err("a source is counted under a condition, and asked without it: write `sc` with the number of what is tracked".into());
            }
            let table = (self.tables)(track.table.as_deref())?;
            let Some((_, period)) = table.store.iter().find(|(stored, _)| stored == key) else {
                return Err(format!("the stick table does not store {key}, so it never has any"));
            };
            let period = period.ok_or_else(|| format!("{key} takes a period, as in {key}(10s)"))?;
            track.ask(&variable, most, period);
        }
        Ok(variable)
    }

    fn is_same_table(&self, track: &Track, name: Option<&str>) -> bool {
        track.table.as_deref().unwrap_or(self.section) == name.unwrap_or(self.section)
    }

    /// The rules that count, where the line of `track` stands in our list; `cond` is when they do.
    pub(super) fn counting(&self, track: &Track, cond: &Cond, earlier: &[Track]) -> Result<Vec<Rule>, Fault> {
        let at_track = |why: String| Fault { span: Some(track.span), why };
        let asked = track.asked.borrow();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let table = (self.tables)(track.table.as_deref()).map_err(at_track)?;
        // What is tracked already stays what it is.
        let before = earlier.iter().filter(|other| other.counter == track.counter);
        let before = before.map(|other| other.cond.clone().not());
        let cond = Cond::all(before.chain([cond.clone(), self.is_key(track, &table)]));
        if cond == Cond::Never {
            return Ok(Vec::new());
        }
        let longest = asked.iter().map(|(_, _, period)| *period).max().unwrap_or_default();
        if let Some(expire) = table.expire.filter(|expire| *expire < longest) {
            let why = format!(
                "the table forgets who is silent for {} (`expire`), and counts over {}: here nobody is forgotten before the period has passed",
                write_duration(expire),
                write_duration(longest)
            );
            self.notes.differ(track.span, why);
        }
        match (self.also_counted)(track.table.as_deref().unwrap_or(self.section), track.span) {
            Some((line, false)) => {
                let why = format!(
                    "line {line} counts in the same table, and HAProxy adds both up: here each counts for itself"
                );
                self.notes.lost(track.span, why);
            }
            // The two count other texts, as a header and an address are.
            Some((line, true)) => {
                let why = format!(
                    "line {line} counts what this one does not: where a client is counted by both, now by one and now by the other, HAProxy adds up"
                );
                self.notes.advise(track.span, why);
            }
            None => {}
        }
        let rule = |(variable, most, period): &(String, u64, Duration)| {
            let by = match &track.by {
                By::Source(_) => Value::text("source"),
                By::Text(sample) => Value::Text(key(sample, &table)),
            };
            let mut entries = vec![("by".to_owned(), by), ("rate".to_owned(), rate(*most, *period))];
            entries.extend(of_table(&track.by, &table));
            entries.push(("set_var".to_owned(), Value::text(variable)));
            let does = vec![("rate_limit".to_owned(), Value::Table(entries))];
            Rule { cond: cond.clone(), does, span: track.span, note: None }
        };
        Ok(asked.iter().map(rule).collect())
    }

    /// What has no place in a table of this type is not counted.
    fn is_key(&self, track: &Track, table: &StickTable) -> Cond {
        let text = |text: &str, regex: &str| {
            Cond::named("value", text, vec![Value::table([("regex", Value::text(regex))])])
        };
        match (&track.by, table.kind.as_str()) {
            (By::Source(_), "ip") if self.has_ipv6 => Cond::is("source", vec![Value::text("::/0")]).not(),
            (By::Text(sample), "ip") => text(&key(sample, table), "^[0-9.]+$"),
            (By::Text(sample), "ipv6") if sample.kind != Type::Address => text(&key(sample, table), ":"),
            (By::Text(sample), "integer") => {
                let note = "the table holds numbers: what begins with digits counts there by these alone, and here by all of its text";
                self.notes.differ(track.span, note);
                text(&key(sample, table), "^[0-9]")
            }
            _ => Cond::Always,
        }
    }
}

/// Who counts, and the table.
fn of_counter(name: &str) -> (&str, Option<&str>) {
    match name.split_once(' ') {
        Some((tracker, table)) => (tracker, Some(table)),
        None => (name, None),
    }
}

/// What the table makes of a sample: an address, of which one of IPv4 is the same as it is in IPv6, unless it is read from a text;
/// or a text of so many bytes.
fn key(sample: &Sample, table: &StickTable) -> String {
    let mut key = sample.clone();
    match table.kind.as_str() {
        "ip" | "ipv6" if key.kind == Type::Address => key.be_canonical(),
        "ip" | "ipv6" => key.be_read_as_address(),
        "string" => key.functions.push(format!("bytes(0, {})", table.length)),
        _ => {}
    }
    key.template()
}

fn rate(most: u64, period: Duration) -> Value {
    Value::Text(format!("{most}/{}", write_duration(period)))
}

/// What is remembered.
fn of_table(by: &By, table: &StickTable) -> Vec<(String, Value)> {
    let mut of = Vec::new();
    if table.size > 0 {
        of.push(("size".to_owned(), Value::Integer(table.size)));
    }
    if let By::Source(bits) = by {
        of.push(("ipv6_prefix".to_owned(), Value::Integer(*bits)));
    }
    of
}

/// A rule that refuses connections if a counter says so; `parts` is its condition.
pub(super) fn per_source(
    rule: &Rule,
    parts: &[Cond],
    tracks: &[Track],
    tables: Tables<'_>,
) -> Result<Limit, Fault> {
    let at_rule = |why: String| Fault { span: Some(rule.span), why };
    let [Cond::Is(Is { key, name: Some(name), values })] = parts else {
        let why = "connections are limited for all clients of the frontend alike, by their addresses (`per_source`)";
        return Err(at_rule(why.into()));
    };
    let most = match (values.as_slice(), rule.does.as_slice()) {
        ([Value::Integer(most)], [(action, _), ..]) if action == "deny" || action == "tarpit" => *most,
        _ => {
            let why = "a counter of connections can have them refused, and nothing else";
            return Err(at_rule(why.into()));
        }
    };
    let (tracker, table) = of_counter(name);
    let (by, table) = match tracker {
        "src" => (By::Source(128), table),
        _ => {
            let Some(track) = tracks.iter().find(|track| track.counter == tracker) else {
                let why = format!("nothing that our file has is tracked as sc{} here", shown(tracker));
                return Err(at_rule(why));
            };
            track.is_limit.set(true);
            if track.cond != Cond::Always || !matches!(track.by, By::Source(_)) {
                let why = "connections are limited for all clients of the frontend alike, by their addresses (`per_source`)";
                return Err(at_rule(why.into()));
            }
            (track.by.clone(), table.or(track.table.as_deref()))
        }
    };
    let table = tables(table).map_err(at_rule)?;
    let Some((_, period)) = table.store.iter().find(|(stored, _)| stored == key) else {
        return Err(at_rule(format!("the stick table does not store {key}, so it never has any")));
    };
    let entry = match *key {
        "conn_cur" => ("connections".to_owned(), Value::Integer(most)),
        _ => {
            let period = period.ok_or_else(|| at_rule(format!("{key} takes a period, as in {key}(10s)")))?;
            ("connection_rate".to_owned(), rate(most, period))
        }
    };
    Ok(Limit::Connections([entry].into_iter().chain(of_table(&by, &table)).collect(), rule.span))
}
