//! Lines into rules: what stands in `rules` and `response_rules`.
//!
//! HAProxy goes through several lists one after the other, whatever the order of the file; ours is one. So rules are put
//! into that order, and what ends one of HAProxy's lists alone is turned into conditions of the rules behind it.

mod action;
mod answer;
mod limit;
mod old;
mod redirect;
mod resolve;
mod settle;
mod written;

use self::settle::{Step, settle};
pub(super) use self::{
    action::{Action as ActionRow, REQUEST, RESPONSE},
    limit::test as counter,
    resolve::{AUTH, USABLE},
};

use std::collections::BTreeMap;

use super::{
    acl::{self, Scope},
    cond::{Cond, Is},
    directive::{Fault, shown},
    files::Maps,
    lexer::Word,
    proxy::{Captured, RuleLine, split_condition},
    sample::{Inexact, Scene, Side},
    template,
    users::Users,
    values,
};
use crate::{
    config::diagnostic::Span,
    import::{document::Value, notes::Notes},
};

/// A rule of ours, before it is written.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) cond: Cond,
    pub(super) does: Vec<(String, Value)>,
    /// Where it comes from.
    pub(super) span: Span,
    /// Something to know about it.
    pub(super) note: Option<String>,
}

/// What a line comes to.
#[derive(Debug)]
pub(super) enum Made {
    /// A rule.
    Rule { does: Vec<(String, Value)>, note: Option<String> },
    /// One that acts where its sample has a value; a condition of HAProxy's is asked as well.
    Where(Cond, Vec<(String, Value)>),
    /// The rest of this list of HAProxy's is skipped.
    Accept,
    /// A key of the section, once for all requests.
    Key(&'static str, Value),
    /// A header of requests for lines of the log.
    Capture(Captured),
    /// Connections that meet the condition begin with a PROXY header.
    ExpectProxy,
    /// Metrics are where the condition says.
    Metrics,
    /// What a counter counts; conditions ask it.
    Track(limit::Track),
    /// Nothing.
    Nothing,
}

/// What stands in the place of a rule that counts, until it is known what is asked of it.
const TRACK: &str = "track";

impl Made {
    /// Later conditions may see something else than earlier ones.
    fn is_edit(&self) -> bool {
        const NO_EDITS: [&str; 11] = [
            TRACK,
            "allow",
            "deny",
            "tarpit",
            "redirect",
            "respond",
            "require_auth",
            "backend",
            "server",
            "ignore_persist",
            "log",
        ];
        let ends = |key: &String| NO_EDITS.contains(&key.as_str());
        matches!(self, Self::Rule { does, .. } if !does.iter().all(|(key, _)| ends(key)))
    }
}

/// What the lines of a section come to.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) requests: Vec<Rule>,
    pub(super) responses: Vec<Rule>,
    /// Keys of the section that lines of rules are.
    pub(super) keys: BTreeMap<&'static str, (Value, Span)>,
    pub(super) captures: Vec<Captured>,
    /// Whose connections begin with a PROXY header.
    pub(super) accept_proxy: Option<Value>,
    /// Where metrics are, and for whose networks.
    pub(super) metrics: Option<(Value, Vec<Value>, Span)>,
    /// Lines that are not in our file.
    pub(super) lost: Vec<Span>,
}

/// See [`Context::also_counted`].
type AlsoCounted<'c> = dyn Fn(&str, Span) -> Option<(usize, bool)> + 'c;

/// What lines are converted with.
pub(super) struct Context<'c> {
    pub(super) acls: &'c [Vec<Word>],
    pub(super) maps: &'c Maps<'c>,
    pub(super) notes: &'c Notes<'c>,
    pub(super) is_http: bool,
    /// The name that a backend of HAProxy's has with us.
    pub(super) backend: &'c dyn Fn(&Word) -> Result<String, Fault>,
    /// The name that a server of the section has with us.
    pub(super) server: &'c dyn Fn(&Word) -> Result<String, Fault>,
    pub(super) tables: limit::Tables<'c>,
    pub(super) users: &'c Users<'c>,
    /// HAProxy's name of the section.
    pub(super) section: &'c str,
    pub(super) is_backend: bool,
    /// A rule of ours stands behind all of them.
    pub(super) goes_on: bool,
    /// Clients may come by IPv6.
    pub(super) has_ipv6: bool,
    /// Another line that counts in this table than the one at this place, if there is one; and whether it is one that stands
    /// in for it, or the other way round.
    pub(super) also_counted: &'c AlsoCounted<'c>,
}

/// Which list of HAProxy's a line is in, in the order in which it goes through them.
fn list(line: &RuleLine) -> Option<(bool, u8)> {
    Some(match line.keyword.as_str() {
        "tcp-request connection" => (false, 0),
        "monitor-net" => (false, 1),
        "tcp-request session" => (false, 2),
        "tcp-request content" => (false, 3),
        "block" => (false, 4),
        "http-request" => (false, 5),
        // Behind all others of their kind, wherever they stand.
        "reqadd" => (false, 7),
        "redirect" => (false, 8),
        "use_backend" => (false, 9),
        "ignore-persist" => (false, 10),
        "use-server" => (false, 11),
        "http-response" => (true, 0),
        "rspadd" => (true, 2),
        "http-after-response" => (true, 3),
        other if other.starts_with("req") => (false, 6),
        other if other.starts_with("rsp") => (true, 1),
        _ => return None,
    })
}

impl Context<'_> {
    /// All lines of a section.
    pub(super) fn convert(&self, lines: &[RuleLine]) -> Rules {
        let mut rules = Rules::default();
        let (mut requests, mut responses, mut tracks) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            let Some((is_response, list)) = list(line) else { continue };
            match self.line(line, is_response) {
                Ok((_, Made::Nothing)) => {}
                Ok((Cond::Never, _)) => {
                    self.notes.lost(line.span, "its condition never holds: it is left out")
                }
                Ok((Cond::Always, Made::Key(key, value))) => drop(rules.keys.insert(key, (value, line.span))),
                Ok((Cond::Always, Made::Capture(captured))) => rules.captures.push(captured),
                Ok((cond, Made::ExpectProxy)) => match action::senders(&cond) {
                    Some(senders) => rules.accept_proxy = Some(senders),
                    None => {
                        rules.lost.push(line.span);
                        let why = "`expect-proxy`: the condition is one on `src` here: the networks of the proxies in front";
                        self.notes.lost(line.span, why);
                    }
                },
                Ok((_, Made::Key(..) | Made::Capture(_))) => {
                    rules.lost.push(line.span);
                    self.notes.lost(
                        line.span,
                        format!("`{}`: it is for all requests here, or for none", words_of(line)),
                    );
                }
                Ok((cond, Made::Metrics)) => match action::metrics(&cond) {
                    Some((path, networks)) if !self.is_backend && rules.metrics.is_none() => {
                        rules.metrics = Some((path, networks, line.span));
                        // What stands behind it is not for those.
                        let made = Made::Rule { does: vec![("allow".into(), Value::Flag(true))], note: None };
                        requests.push(Step { list, cond, made, span: line.span });
                    }
                    _ => {
                        rules.lost.push(line.span);
                        let why = "`use-service prometheus-exporter`: in a frontend, with a condition on one path, as in { path /metrics }, or on `src` as well; write `metrics` into `statistics`";
                        self.notes.lost(line.span, why);
                    }
                },
                Ok((cond, mut made)) => {
                    if let Made::Track(track) = made {
                        // Before a request is read, and where there are none.
                        let is_of_connection = list < 3 || !self.is_http;
                        tracks.push(track.of(cond.clone(), line.span, is_of_connection));
                        made = Made::Rule { does: vec![(TRACK.to_owned(), Value::Flag(true))], note: None };
                    }
                    if let (true, Made::Rule { note, .. }) =
                        (line.keyword == "http-after-response", &mut made)
                    {
                        *note = Some("`http-after-response` is also about what HAProxy answers itself; here only responses of servers are changed".into());
                    }
                    let step = Step { list, cond, made, span: line.span };
                    if is_response { responses.push(step) } else { requests.push(step) }
                }
                Err(fault) => {
                    rules.lost.push(line.span);
                    self.lose(line.span, fault, stops(line));
                }
            }
        }
        requests.sort_by_key(|step| step.list);
        responses.sort_by_key(|step| step.list);
        let fail = |rules: &mut Rules, fault: Fault, rule: Span, stops: bool| {
            rules.lost.push(fault.span.unwrap_or(rule));
            self.lose(rule, fault, stops);
        };
        // First what is asked, and then what counts it.
        let mut made: Vec<Rule> = Vec::new();
        let settled = settle(requests, self.goes_on);
        for (at, rule) in settled.iter().enumerate() {
            let (stops, span) = (rule.stops(), rule.span);
            let counted =
                self.asked_before(rule, &settled[at + 1..], &tracks).and_then(|limit| match limit {
                    Some(limit) => Ok(limit),
                    None => {
                        Ok(Rule { cond: self.counted(rule.cond.clone(), span, &tracks)?, ..rule.clone() })
                    }
                });
            let rule = match counted {
                Ok(rule) => rule,
                Err(fault) => {
                    fail(&mut rules, fault, span, stops);
                    continue;
                }
            };
            for resolved in self.resolve(rule, &tracks) {
                match resolved {
                    Ok(limit::Limit::Rule(rule)) => {
                        // Who a request is from is found out once.
                        let is_known = |known: &Rule| known.does == rule.does && known.cond == Cond::Always;
                        if !(rule.asks_who() && made.iter().any(is_known)) {
                            made.push(rule);
                        }
                    }
                    Ok(limit::Limit::Connections(entries, span)) => {
                        self.advise_of(&entries, span);
                        self.per_source(entries, span, &mut rules)
                    }
                    Err(fault) => fail(&mut rules, fault, span, stops),
                }
            }
        }
        for rule in settle(responses, false) {
            let (stops, span) = (rule.stops(), rule.span);
            match self.counted(rule.cond.clone(), span, &tracks) {
                Ok(cond) => rules.responses.push(Rule { cond, ..rule }),
                Err(fault) => fail(&mut rules, fault, span, stops),
            }
        }
        for rule in made {
            let track = tracks.iter().position(|track| rule.does[0].0 == TRACK && track.span == rule.span);
            match track {
                None => rules.requests.push(rule),
                Some(at) => match self.counting(&tracks[at], &rule.cond, &tracks[..at]) {
                    Ok(list) => rules.requests.extend(list),
                    Err(fault) => fail(&mut rules, fault, rule.span, false),
                },
            }
        }
        for track in tracks.iter().filter(|track| !track.is_asked()) {
            self.notes.advise(track.span, "no rule of ours asks what it counts: it is left out");
        }
        rules
    }

    /// `stops`: what it is about goes on without it.
    fn lose(&self, rule: Span, fault: Fault, stops: bool) {
        let span = fault.span.unwrap_or(rule);
        match stops {
            true => self.notes.open(rule, span, fault.why),
            false => self.notes.lost(span, fault.why),
        }
    }

    /// What is different for a connection that is refused.
    fn advise_of(&self, entries: &[(String, Value)], span: Span) {
        let mut different = Vec::new();
        if entries.iter().any(|(key, _)| key == "connection_rate") {
            different.push("counts there and not here, so who comes too fast gets its share and not nothing");
        }
        if self.is_http {
            different.push("is answered with 429 here; HAProxy closes it, or answers as the rule says");
        }
        if !different.is_empty() {
            let note = format!("a connection that is refused {}", different.join(", and "));
            self.notes.differ(span, note);
        }
    }

    /// One more limit of all clients of the frontend.
    fn per_source(&self, entries: Vec<(String, Value)>, span: Span, rules: &mut Rules) {
        let (value, _) = rules.keys.entry("per_source").or_insert_with(|| (Value::Table(Vec::new()), span));
        let Value::Table(known) = value else { return };
        for (key, value) in entries {
            match known.iter().find(|(other, _)| *other == key) {
                None => known.push((key, value)),
                Some((_, other)) if *other == value => {}
                Some((_, other)) => {
                    rules.lost.push(span);
                    let why = format!("a frontend has one number of `{key}`, and it is {other} already");
                    self.notes.open(span, span, why);
                }
            }
        }
    }

    fn line(&self, line: &RuleLine, is_response: bool) -> Result<(Cond, Made), Fault> {
        let (words, condition) = split_condition(&line.arguments);
        let side = match (is_response, self.is_http) {
            (true, _) => Side::Response,
            (false, true) => Side::Request,
            (false, false) => Side::Connection,
        };
        if !self.is_http && (is_response || matches!(list(line), Some((false, 4..=8)))) {
            return Err(format!("`{}` needs mode http, and this section is in mode tcp", line.keyword).into());
        }
        let inexact = Inexact::default();
        let scene = Scene { maps: self.maps, side, inexact: &inexact };
        let scope = Scope { acls: self.acls, scene, tests: std::cell::Cell::new(0) };
        let mut more = Cond::Always;
        let made = match line.keyword.as_str() {
            "use_backend" => self.choose(words, scene)?,
            "use-server" => self.choose_server(words)?,
            "block" => Made::Rule { does: vec![("deny".into(), Value::Integer(403))], note: None },
            "ignore-persist" => {
                Made::Rule { does: vec![("ignore_persist".into(), Value::Flag(true))], note: None }
            }
            "monitor-net" => return self.monitor(words),
            "redirect" => redirect::convert(words, None)?,
            keyword if keyword.starts_with("req") || keyword.starts_with("rsp") => {
                let (made, asked) = old::convert(keyword, words)?;
                more = asked;
                made
            }
            _ => self.action(line, words, scene)?,
        };
        let cond = self.with_backends(acl::condition(condition, &scope)?, condition)?;
        self.notes.inexact(&inexact, line.span);
        Ok(match made {
            Made::Where(there, does) => (Cond::all([there, cond]), Made::Rule { does, note: None }),
            made => (Cond::all([more, cond]), made),
        })
    }

    /// With our names of the backends whose servers are counted.
    fn with_backends(&self, cond: Cond, words: &[Word]) -> Result<Cond, Fault> {
        let span = words.first().map_or(Span { start: 0, end: 0 }, |word| word.span);
        cond.replaced(&mut |is: Is| match is {
            Is { key: USABLE, name: Some(name), values } => {
                if self.is_backend {
                    return Err(Fault {
                        span: Some(span),
                        why: "`nbsrv` is asked by the rules of a frontend, which choose a backend".into(),
                    });
                }
                let text = if name.is_empty() { self.section.to_owned() } else { name };
                let name = (self.backend)(&Word { text, span })?;
                Ok(Cond::named(USABLE, name, values))
            }
            is => Ok(Cond::Is(is)),
        })
    }

    /// `monitor-net NETWORK`
    fn monitor(&self, words: &[Word]) -> Result<(Cond, Made), Fault> {
        let [network] = words else { return Err("`monitor-net` takes a network".into()) };
        let cond = Cond::is("source", vec![Value::Text(values::network(network)?)]);
        let does = match self.is_http {
            true => ("respond".to_owned(), Value::Integer(200)),
            false => ("deny".to_owned(), Value::Flag(true)),
        };
        Ok((cond, Made::Rule { does: vec![does, ("log".to_owned(), Value::Flag(false))], note: None }))
    }

    fn choose(&self, words: &[Word], scene: Scene<'_>) -> Result<Made, Fault> {
        let [name] = words else { return Err("`use_backend` takes the name of a backend".into()) };
        let text = if name.text.contains('%') { template::convert(name, scene)? } else { name.text.clone() };
        let backend = match text.contains('{') {
            true => text,
            false => (self.backend)(&Word { text, span: name.span })?,
        };
        Ok(Made::Rule { does: vec![("backend".into(), Value::Text(backend))], note: None })
    }

    fn choose_server(&self, words: &[Word]) -> Result<Made, Fault> {
        let [name] = words else { return Err("`use-server` takes the name of a server".into()) };
        if name.text.contains('%') {
            let why = "a name that is computed is not there; write a rule with `server` for each of them";
            return Err(Fault::at(name, why));
        }
        let server = Value::Text((self.server)(name)?);
        Ok(Made::Rule { does: vec![("server".into(), server)], note: None })
    }

    fn action(&self, line: &RuleLine, words: &[Word], scene: Scene<'_>) -> Result<Made, Fault> {
        let Some((first, rest)) = words.split_first() else {
            return Err(format!("`{}` takes an action, and there is none", line.keyword).into());
        };
        let (name, arguments, after) =
            super::arguments::call(&first.text).map_err(|why| Fault::at(first, why))?;
        let table = if scene.side == Side::Response { RESPONSE } else { REQUEST };
        let row = table.iter().find(|row| row.known.names(name));
        let Some(row) = row.filter(|_| after.is_empty()) else {
            let names = table.iter().flat_map(|row| row.known.name.split(", "));
            let hint =
                crate::config::text::nearest(name, names).map(|name| format!("; did you mean `{name}`?"));
            let why = format!(
                "`{}` is no action that is known here{}",
                shown(&first.text),
                hint.unwrap_or_default()
            );
            return Err(Fault::at(first, why));
        };
        if !self.is_http && !row.in_tcp {
            return Err(Fault::at(
                first,
                format!("`{name}`: in mode tcp a rule can deny, allow and choose a backend"),
            ));
        }
        // What is refused before there is a session has no line in HAProxy.
        let is_logged = !matches!(line.keyword.as_str(), "tcp-request connection" | "tcp-request session");
        let call = action::Call {
            name,
            arguments,
            words: rest,
            is_http: self.is_http,
            is_logged,
            scene,
            context: self,
        };
        match row.how {
            action::How::By(make) => {
                make(&call).map_err(|fault| Fault { span: fault.span.or(Some(line.span)), ..fault })
            }
            action::How::Needless => {
                self.notes.advise(line.span, format!("`{name}` is left out: {}", row.known.note));
                Ok(Made::Nothing)
            }
            action::How::Missing => Err(Fault::at(first, format!("`{name}`: {}", row.known.note))),
        }
    }
}

/// Does the line keep requests from a server, or responses from a client?
fn stops(line: &RuleLine) -> bool {
    const STOP: [&str; 8] =
        ["deny", "tarpit", "reject", "silent-drop", "auth", "redirect", "return", "use-service"];
    let action = line.arguments.first().is_some_and(|word| {
        let name = word.text.split('(').next().unwrap_or_default();
        STOP.contains(&name)
    });
    action
        || ["block", "redirect", "monitor-net"].contains(&line.keyword.as_str())
        || ["deny", "tarpit"].iter().any(|end| line.keyword.ends_with(end))
}

fn words_of(line: &RuleLine) -> String {
    let first = line.arguments.first().map_or("", |word| word.text.as_str());
    shown(&format!("{} {first}", line.keyword))
}
