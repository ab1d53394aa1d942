//! What `http-request` and its like can do.

use super::{Context, Made, answer, limit, redirect};
use crate::import::{
    document::Value,
    haproxy::{
        cond::{Cond, Is},
        directive::{Fault, shown},
        lexer::Word,
        proxy::Captured,
        regex,
        sample::{self, Base, Scene, Side},
        table::Known,
        template,
    },
};

/// A row.
pub(in crate::import::haproxy) struct Action {
    pub(in crate::import::haproxy) known: Known,
    /// A rule of mode tcp can do it, too.
    pub(super) in_tcp: bool,
    pub(super) how: How,
}

#[derive(Clone, Copy)]
pub(super) enum How {
    By(fn(&Call<'_>) -> Result<Made, Fault>),
    Needless,
    Missing,
}

/// An action with its words, up to the condition.
pub(super) struct Call<'c> {
    pub(super) name: &'c str,
    /// In parentheses.
    pub(super) arguments: Vec<String>,
    pub(super) words: &'c [Word],
    pub(super) is_http: bool,
    /// What it refuses has a line in the log.
    pub(super) is_logged: bool,
    pub(super) scene: Scene<'c>,
    pub(super) context: &'c Context<'c>,
}

impl Call<'_> {
    pub(super) fn is_response(&self) -> bool {
        self.scene.side == Side::Response
    }
}

const fn by(
    name: &'static str,
    make: fn(&Call<'_>) -> Result<Made, Fault>,
    becomes: &'static str,
    note: &'static str,
) -> Action {
    Action { known: Known { name, becomes, note }, in_tcp: false, how: How::By(make) }
}

/// One that rules of mode tcp have as well.
const fn tcp(
    name: &'static str,
    make: fn(&Call<'_>) -> Result<Made, Fault>,
    becomes: &'static str,
    note: &'static str,
) -> Action {
    Action { known: Known { name, becomes, note }, in_tcp: true, how: How::By(make) }
}

const fn needless(name: &'static str, note: &'static str) -> Action {
    Action { known: Known { name, becomes: "", note }, in_tcp: true, how: How::Needless }
}

const fn missing(name: &'static str, note: &'static str) -> Action {
    Action { known: Known { name, becomes: "", note }, in_tcp: true, how: How::Missing }
}

const TABLES: &str = "what a stick table counts is limited by `rate_limit` and `per_source` alone";

const NO_CAPTURE: &str = "only headers of requests are captured by rules; write `capture.response_headers`";

/// Of requests.
#[rustfmt::skip] // a row to a line
pub(in crate::import::haproxy) const REQUEST: &[Action] = &[
    tcp("allow, accept", |_| Ok(Made::Accept), "`allow`, or conditions of the rules behind it", "It ends one of HAProxy's lists, and the ones behind it go on."),
    by("deny", answer::deny, "`deny`", "With a text of its own it is `respond`."),
    by("tarpit", answer::tarpit, "`tarpit`", "With the page of the status; `timeout tarpit` says how long."),
    by("return", answer::answer, "`respond`", "An `errorfile` is put into our file. Not with `lf-file`."),
    by("auth", auth, "`require_auth`", "`auth unless { http_auth(LIST) }` or `http_auth_group`; whoever has given no good password is asked."),
    tcp("reject, silent-drop", reject, "`deny`", "In mode http it answers 403 and does not just close."),
    by("redirect", |call| redirect::convert(call.words, Some(call.scene)), "`redirect`", "`scheme` leaves the port of Host out."),
    by("set-header", |call| header(call, "set_header"), "`set_header`", "Not of headers that frame content or belong to one connection."),
    by("add-header", |call| header(call, "add_header"), "`add_header`", ""),
    by("del-header", delete_header, "`delete_header`", "Of one name."),
    by("replace-header", |call| replace_header(call, "replace_header"), "`replace_header`", "With samples in the replacement it is `set_header`."),
    by("replace-path", |call| replace_path(call, false), "`replace_path`", "With samples in the replacement it is `set_path`."),
    by("replace-uri, replace-pathq", |call| replace_path(call, true), "`replace_path`", "Where the query stays as it is."),
    by("set-path", set_path, "`set_path`", "Without a `?`, which begins the query there and is part of the path here."),
    by("set-query", |call| Ok(rule("set_query", Value::Text(format(call)?))), "`set_query`", ""),
    by("set-uri, set-pathq", set_target, "`set_path`, `set_query`", "Of a path, with a query or without."),
    by("set-var", set_variable, "`set_var`", ""),
    by("set-var-fmt", set_variable_format, "`set_var`", ""),
    by("wait-for-body", wait_for_body, "`wait_for_body`", "Of all requests of the frontend; within `timeout.http_request`."),
    by("disable-l7-retry", |_| Ok(Made::Key("retry_any_method", Value::Flag(false))), "`retry_any_method`", "Without a condition."),
    by("normalize-uri", normalize, "`replace_path`", "`path-merge-slashes` and `path-strip-dot`; for the others `ambiguous_path = \"normalize\"`."),
    by("set-src", set_source, "`set_source`", "As a text. Without a condition on `src` everybody is believed."),
    by("replace-value", |call| replace_header(call, "replace_value"), "`replace_value`", "As `replace-header`; without samples."),
    by("set-method", set_method, "`set_method`", "Of a method that is written there, other than HEAD."),
    missing("unset-var", "variables end with their request"),
    by("capture", capture, "`capture.request_headers`", "Of a header, without converters: as it came, before any rule."),
    missing("early-hint", "no 103 is made"),
    missing("cache-use", "nothing is cached"),
    missing("do-resolve, set-dst, set-dst-port", "a request goes to a server of the file"),
    missing("set-src-port, set-tos, set-mark, set-nice, set-fc-mark, set-fc-tos, set-bc-mark, set-bc-tos, set-priority-class, set-priority-offset", "connections and requests are all alike"),
    tcp("set-log-level", log_level, "`log = false`", "Of `silent`; with `info` it is `log = true`. A line has no other level."),
    missing("set-timeout", "timeouts are of the section"),
    missing("add-acl, del-acl, set-map, del-map, add-map", "lists and maps change with their files"),
    tcp("track-sc0, track-sc1, track-sc2, track-sc", |call| Ok(Made::Track(limit::track(call)?)), "`rate_limit`, `per_source`", "Where a rule asks whether its `http_req_rate` is more than a number, or its `conn_rate` behind `http-request`; or refuses if that or `conn_cur` is behind `tcp-request connection`."),
    missing("sc-inc-gpc, sc-inc-gpc0, sc-inc-gpc1, sc-set-gpt, sc-set-gpt0, sc-add-gpc", TABLES),
    by("use-service", use_service, "`statistics.metrics`", "`prometheus-exporter` where the condition is on one path, and on `src`. HAProxy's names are at /metrics?names=haproxy."),
    missing("lua.*, send-spoe-group, ot-group", "there are no services and no filters"),
    missing("switch-mode", "a section is of one mode"),
    tcp("expect-proxy", expect_proxy, "`accept_proxy`", "`layer4`, of whoever connects or with a condition on `src`."),
    missing("expect-netscaler-cip", "it is not there"),
    needless("strict-mode", "a head that grows too large is refused in any case"),
    needless("wait-for-handshake", "rules run behind the handshake of TLS"),
    missing("pause", "nothing waits"),
];

/// `wait-for-body time T [at-least N]`
fn wait_for_body(call: &Call<'_>) -> Result<Made, Fault> {
    if let Some(word) = call.words.first() {
        let why = "`wait-for-body`: the whole content is waited for here, up to one buffer (16 kB), and for as long as timeout.http_request lets a request take: set that";
        call.scene.inexact.borrow_mut().push((Some(word.span), why.to_owned()));
    }
    Ok(Made::Key("wait_for_body", Value::Flag(true)))
}

/// `use-service prometheus-exporter`
fn use_service(call: &Call<'_>) -> Result<Made, Fault> {
    match call.words {
        [service] if service.text == "prometheus-exporter" => Ok(Made::Metrics),
        _ => Err("`use-service`: there is `prometheus-exporter`, and no other service".into()),
    }
}

/// Where the metrics are, and for whose networks.
pub(super) fn metrics(cond: &Cond) -> Option<(Value, Vec<Value>)> {
    let (mut path, mut networks) = (None, Vec::new());
    for part in cond.clone().conjuncts() {
        match part {
            Cond::Is(Is { key: "path", name: None, values }) if path.is_none() && values.len() == 1 => {
                path = values.into_iter().next();
            }
            Cond::Is(Is { key: "source", name: None, values }) if networks.is_empty() => networks = values,
            _ => return None,
        }
    }
    Some((path?, networks))
}

/// `expect-proxy layer4`
fn expect_proxy(call: &Call<'_>) -> Result<Made, Fault> {
    match call.words {
        [layer] if layer.text == "layer4" => Ok(Made::ExpectProxy),
        [other, ..] => Err(Fault::at(other, format!("`expect-proxy {}`: it is layer4", shown(&other.text)))),
        [] => Err("`expect-proxy` takes `layer4`".into()),
    }
}

/// Whose connections meet a condition, if it says so by their source alone: `accept_proxy`.
pub(super) fn senders(cond: &Cond) -> Option<Value> {
    match cond {
        Cond::Always => Some(Value::Flag(true)),
        Cond::Is(Is { key: "source", name: None, values }) => Some(Value::one_or_list(values.clone())),
        _ => None,
    }
}

/// Of responses.
#[rustfmt::skip] // a row to a line
pub(in crate::import::haproxy) const RESPONSE: &[Action] = &[
    by("allow", |_| Ok(Made::Accept), "`allow`, or conditions of the rules behind it", ""),
    by("set-header", |call| header(call, "set_header"), "`set_header`", ""),
    by("add-header", |call| header(call, "add_header"), "`add_header`", ""),
    by("del-header", delete_header, "`delete_header`", "Of one name."),
    by("replace-header", |call| replace_header(call, "replace_header"), "`replace_header`", "With samples in the replacement it is `set_header`."),
    by("replace-value", |call| replace_header(call, "replace_value"), "`replace_value`", "As `replace-header`; without samples."),
    by("deny", answer::deny, "`deny`", "With the page of the status, which is 502 by default. With a text of its own it is `respond`."),
    by("set-var", set_variable, "`set_var`", ""),
    by("set-var-fmt", set_variable_format, "`set_var`", ""),
    by("return", answer::answer, "`respond`", "An `errorfile` is put into our file. Not with `lf-file`."),
    by("redirect", redirect::of_response, "`respond`", "With `location`."),
    by("set-status", set_status, "`set_status`", ""),
    missing("unset-var", "variables end with their request"),
    missing("capture", NO_CAPTURE),
    missing("cache-store", "nothing is cached"),
    tcp("set-log-level", log_level, "`log = false`", "As of requests."),
    missing("set-tos, set-mark, set-nice, set-fc-mark, set-fc-tos, set-timeout", "connections and requests are all alike"),
    missing("add-acl, del-acl, set-map, del-map, add-map", "lists and maps change with their files"),
    missing("track-sc0, track-sc1, track-sc2, track-sc, sc-inc-gpc, sc-inc-gpc0, sc-inc-gpc1, sc-set-gpt, sc-set-gpt0", TABLES),
    missing("silent-drop, wait-for-body, send-spoe-group, ot-group, lua.*", "nothing here does the same"),
    needless("strict-mode", "a head that grows too large is refused in any case"),
];

fn rule(key: &str, value: Value) -> Made {
    Made::Rule { does: vec![(key.to_owned(), value)], note: None }
}

fn one<'c>(call: &Call<'c>) -> Result<&'c Word, Fault> {
    match call.words {
        [word] => Ok(word),
        [] => Err(format!("`{}` takes an argument, and there is none", call.name).into()),
        [_, more, ..] => Err(Fault::at(
            more,
            format!("`{}` takes one argument; `{}` is more", call.name, shown(&more.text)),
        )),
    }
}

fn format(call: &Call<'_>) -> Result<String, Fault> {
    template::convert(one(call)?, call.scene)
}

/// `auth [realm R]`: the rest is in its condition.
fn auth(call: &Call<'_>) -> Result<Made, Fault> {
    let realm = match call.words {
        [] => call.context.section,
        [word, realm] if word.text == "realm" => realm.text.as_str(),
        [word, ..] => return Err(Fault::at(word, "`auth` takes `realm` and a name, and nothing else")),
    };
    Ok(rule("require_auth", Value::text(realm)))
}

/// `set-src SAMPLE`
fn set_source(call: &Call<'_>) -> Result<Made, Fault> {
    let mut sample = sample::of_word(one(call)?, call.scene)?;
    sample.be_value_of_list();
    Ok(rule("set_source", Value::Text(sample.template())))
}

/// `capture req.hdr(NAME) len NUMBER`
fn capture(call: &Call<'_>) -> Result<Made, Fault> {
    let [sample, word, length] = call.words else {
        return Err("`capture` takes a sample, `len` and a number".into());
    };
    if word.text != "len" {
        return Err(Fault::at(
            word,
            "slots that are declared elsewhere are not there: write `len` and a number",
        ));
    }
    let written = sample::of_word(sample, call.scene)?;
    let header = match &written.base {
        Base::Placeholder(name) if name == "request.authority" => Some("Host"),
        Base::Placeholder(name) => name.strip_prefix("request.header."),
        Base::Constant(_) => None,
    };
    let is_last = written.functions.is_empty() || written.functions == ["field(-1, ',')", "trim"];
    let Some(name) = header.filter(|_| is_last) else {
        let why = "only a header is captured, as it came: a rule with `set_var`, and `{var.NAME}` in a text of `log_format`";
        return Err(Fault::at(sample, why));
    };
    if !written.functions.is_empty() {
        let message = "HAProxy captures what stands behind the last comma of it, and here it is the whole line, as with req.fhdr";
        call.context.notes.advise(sample.span, message);
    }
    Captured::new(name, length, sample.span, call.context.notes).map(Made::Capture)
}

/// `set-log-level LEVEL`
fn log_level(call: &Call<'_>) -> Result<Made, Fault> {
    let level = one(call)?;
    match level.text.as_str() {
        "silent" => Ok(rule("log", Value::Flag(false))),
        "info" => Ok(rule("log", Value::Flag(true))),
        _ => {
            let why = "lines of requests have the level info, those of errors `err` with `log_separate_errors`; `silent` is log = false";
            Err(Fault::at(level, why))
        }
    }
}

fn reject(call: &Call<'_>) -> Result<Made, Fault> {
    let (refusal, note) = match call.is_http {
        true => {
            let note = "closes without a word in HAProxy; here it is answered with 403, and `tarpit` would let it wait before; who must get no answer at all is kept out by a packet filter";
            (Value::Integer(403), Some(format!("`{}` {note}", call.name)))
        }
        false => (Value::Flag(true), None),
    };
    let silent = (!call.is_logged).then(|| ("log".to_owned(), Value::Flag(false)));
    Ok(Made::Rule { does: [("deny".to_owned(), refusal)].into_iter().chain(silent).collect(), note })
}

/// The name of a header and a format.
fn header(call: &Call<'_>, key: &'static str) -> Result<Made, Fault> {
    let [name, value] = call.words else {
        return Err(format!("`{}` takes a name and a text", call.name).into());
    };
    let text = template::convert(value, call.scene)?;
    // A second Host is no request any more.
    let key = if name.text.eq_ignore_ascii_case("host") && key == "add_header" { "set_header" } else { key };
    Ok(rule(key, Value::table([(name.text.as_str(), Value::Text(text))])))
}

fn delete_header(call: &Call<'_>) -> Result<Made, Fault> {
    match call.words {
        [name] => Ok(rule("delete_header", Value::text(&name.text))),
        [name, flag, method] if flag.text == "-m" && method.text == "str" => {
            Ok(rule("delete_header", Value::text(&name.text)))
        }
        [_, flag, ..] if flag.text == "-m" => {
            Err(Fault::at(flag, "headers are deleted by their whole name; write each of them"))
        }
        _ => Err("`del-header` takes the name of a header".into()),
    }
}

/// `set-method METHOD`
fn set_method(call: &Call<'_>) -> Result<Made, Fault> {
    let method = one(call)?;
    if method.text.contains('%') {
        return Err(Fault::at(method, "a method that is computed is not there; write a rule for each"));
    }
    Ok(rule("set_method", Value::text(&method.text)))
}

/// `set-status STATUS [reason PHRASE]`
fn set_status(call: &Call<'_>) -> Result<Made, Fault> {
    let (code, reason) = match call.words {
        [code] => (code, None),
        [code, word, reason] if word.text == "reason" => (code, Some(reason)),
        _ => return Err("`set-status` takes a status, and `reason` with a phrase".into()),
    };
    let number = code.text.parse::<u64>();
    let number = number.map_err(|_| Fault::at(code, format!("`{}` is no status", shown(&code.text))))?;
    let status = Value::Integer(number);
    Ok(rule(
        "set_status",
        match reason {
            None => status,
            Some(reason) => Value::table([("status", status), ("reason", Value::text(&reason.text))]),
        },
    ))
}

/// Are there samples in a replacement?
fn has_samples(with: &Word) -> bool {
    with.text.replace("%%", "").contains('%')
}

/// An expression and what the whole text becomes where it matches.
fn replacement(pattern: &Word, with: &Word) -> Result<Value, Fault> {
    if has_samples(with) {
        return Err(Fault::at(
            with,
            "samples can't be in this replacement; keep one with `set_var`, and write `set_header` or `set_path`",
        ));
    }
    let regex = regex::whole(&regex::convert(pattern, false)?);
    let with = regex::replacement(&with.text.replace("%%", "%"));
    Ok(Value::table([("regex", Value::Text(regex)), ("with", Value::Text(with))]))
}

/// The text that a replacement with samples makes of `placeholder` where the expression matches, which is the condition.
fn replaced(
    pattern: &Word,
    with: &Word,
    placeholder: &str,
    call: &Call<'_>,
) -> Result<(Vec<Value>, String), Fault> {
    // No text of a file has it.
    const GROUP: char = '\u{1}';
    let searched = regex::convert(pattern, false)?;
    let whole = sample::quoted(&regex::whole(&searched));
    let (mut marked, mut in_sample) = (String::new(), false);
    let mut chars = with.text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('%', Some('[')) => in_sample = true,
            (']', _) => in_sample = false,
            ('\\', Some(digit)) if digit.is_ascii_digit() && !in_sample => {
                marked.push(GROUP);
                continue;
            }
            _ => {}
        }
        marked.push(c);
    }
    let mut text = template::convert(&Word { text: marked, span: with.span }, call.scene)?;
    for digit in '0'..='9' {
        let group = format!("{{{placeholder}|regsub({whole}, '${{{digit}}}')}}");
        text = text.replace(&format!("{GROUP}{digit}"), &group);
    }
    Ok((vec![Value::table([("regex", Value::Text(searched))])], text))
}

fn replace_header(call: &Call<'_>, key: &'static str) -> Result<Made, Fault> {
    let [name, pattern, with] = call.words else {
        return Err(format!("`{}` takes a name, an expression and a text", call.name).into());
    };
    if key == "replace_header" && has_samples(with) {
        let side = if call.is_response() { "response" } else { "request" };
        let placeholder = format!("{side}.header.{}", name.text);
        let (values, text) = replaced(pattern, with, &placeholder, call)?;
        let why = format!(
            "`{}` with samples, of several lines of that name: one is left, made of the last",
            call.name
        );
        call.scene.inexact.borrow_mut().push((Some(with.span), why));
        let does = vec![("set_header".to_owned(), Value::table([(name.text.as_str(), Value::Text(text))]))];
        return Ok(Made::Where(Cond::named("header", &name.text, values), does));
    }
    Ok(rule(key, Value::table([(name.text.as_str(), replacement(pattern, with)?)])))
}

/// `is_target`: the expression is about the path with its query.
fn replace_path(call: &Call<'_>, is_target: bool) -> Result<Made, Fault> {
    let [pattern, with] = call.words else {
        return Err(format!("`{}` takes an expression and a text", call.name).into());
    };
    if is_target && !keeps_query(&pattern.text, &with.text) {
        let why = "the path and the query can't be replaced together, unless the expression ends with `(.*)` and the text with its group; write `replace_path` and `set_query`";
        return Err(Fault::at(pattern, why));
    }
    if with.text.contains('?') {
        return Err(Fault::at(
            with,
            "a `?` begins the query in HAProxy, and is part of the path here: write `set_query`",
        ));
    }
    if has_samples(with) {
        let (values, text) = replaced(pattern, with, "request.path", call)?;
        query_in(&text, call);
        let does = vec![("set_path".to_owned(), Value::Text(text))];
        return Ok(Made::Where(Cond::is("path_regex", regexes(values)), does));
    }
    Ok(rule("replace_path", replacement(pattern, with)?))
}

/// Expressions as `path_regex` has them.
fn regexes(values: Vec<Value>) -> Vec<Value> {
    values.into_iter().filter_map(|value| value.get("regex").cloned()).collect()
}

/// In a path a `?` is `%3F` here, and begins the query in HAProxy.
fn set_path(call: &Call<'_>) -> Result<Made, Fault> {
    let text = format(call)?;
    if text.contains('?') {
        return Err(Fault::at(
            one(call)?,
            "a `?` begins the query in HAProxy, and is part of the path here: write `set_query`",
        ));
    }
    query_in(&text, call);
    Ok(rule("set_path", Value::Text(text)))
}

/// Notes what may bring a `?` into a path.
fn query_in(text: &str, call: &Call<'_>) {
    const MAY: [&str; 7] = [
        "{request.target",
        "{request.query",
        "{request.header.",
        "{request.cookie.",
        "{var.",
        "|url_decode",
        "|map(",
    ];
    if MAY.iter().any(|part| text.contains(part)) {
        let why = format!(
            "`{}`: a `?` that comes out of the text begins the query in HAProxy, and is part of the path here",
            call.name
        );
        call.scene.inexact.borrow_mut().push((call.words.first().map(|word| word.span), why));
    }
}

/// What the last group takes is put back at the end, the query with it; and nothing before it knows of a query.
pub(super) fn keeps_query(pattern: &str, with: &str) -> bool {
    let groups = pattern.replace("\\(", "").replace("(?", "").matches('(').count();
    let body = pattern.strip_suffix('$').unwrap_or(pattern);
    let before = body.strip_suffix("(.*)");
    // Nothing before it may reach over a `?`.
    let stays_in_path = |before: &str| {
        let plain = before.replace("\\\\", "").replace("\\.", "");
        before.starts_with('^')
            && !["\\?", ".", "[^", "\\S", "\\D", "\\W"].iter().any(|wide| plain.contains(wide))
    };
    before.is_some_and(stays_in_path) && with.ends_with(&format!("\\{groups}")) && !with.contains('?')
}

fn set_target(call: &Call<'_>) -> Result<Made, Fault> {
    let word = one(call)?;
    let text = template::convert(word, call.scene)?;
    if text == "{request.target}" {
        call.context
            .notes
            .advise(word.span, "every request is forwarded with its path and query alone: it is left out");
        return Ok(Made::Nothing);
    }
    if !text.starts_with('/') && !text.starts_with("{request.path") {
        return Err(Fault::at(word, "only a path can be set, with a query or without; it begins with `/`"));
    }
    let of_path = |path: &str| ("set_path".to_owned(), Value::text(path));
    // A path that ends with the old target ends with the old path, and the query stays.
    if let Some(before) = text.strip_suffix("{request.target}").filter(|before| !before.contains('?')) {
        query_in(before, call);
        return Ok(Made::Rule { does: vec![of_path(&format!("{before}{{request.path}}"))], note: None });
    }
    let (path, query) = text.split_once('?').unwrap_or((&text, ""));
    query_in(path, call);
    // The query first: what it has of the path is the old one.
    let mut does = vec![("set_query".to_owned(), Value::text(query)), of_path(path)];
    if ["{request.query", "{request.target"].iter().any(|old| path.contains(old)) {
        does.reverse();
        if ["{request.path", "{request.target"].iter().any(|old| query.contains(old)) {
            return Err(Fault::at(
                word,
                "both the path and the query have a part of the old ones: keep one with `set-var`",
            ));
        }
    }
    Ok(Made::Rule { does, note: None })
}

fn variable(call: &Call<'_>) -> Result<String, Fault> {
    let name =
        call.arguments.first().ok_or_else(|| format!("`{}` takes a name in parentheses", call.name))?;
    if call.arguments.len() > 1 {
        return Err(
            format!("`{}`: a variable is set in any case; put the condition into a rule", call.name).into()
        );
    }
    Ok(sample::variable(name)?)
}

fn set_variable(call: &Call<'_>) -> Result<Made, Fault> {
    let name = variable(call)?;
    // Words of an expression may stand apart.
    let first = call.words.first().ok_or("`set-var` takes a sample")?;
    let text = call.words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().concat();
    let (mut sample, behind) = sample::with_concat(&text, call.scene).map_err(|why| Fault::at(first, why))?;
    call.scene.stand_at(first.span);
    sample.be_what_it_is();
    let text = format!("{}{behind}", sample.template());
    let does = vec![("set_var".to_owned(), Value::table([(name.as_str(), Value::Text(text))]))];
    // A sample without a value leaves the variable as it was.
    Ok(Made::Where(sample.presence(), does))
}

fn set_variable_format(call: &Call<'_>) -> Result<Made, Fault> {
    let name = variable(call)?;
    Ok(rule("set_var", Value::table([(name.as_str(), Value::Text(format(call)?))])))
}

fn normalize(call: &Call<'_>) -> Result<Made, Fault> {
    let kind = call.words.first().ok_or("`normalize-uri` takes the name of a way to do it")?;
    let replace = |regex: &str| {
        rule("replace_path", Value::table([("regex", Value::text(regex)), ("with", Value::text("/"))]))
    };
    match kind.text.as_str() {
        "path-merge-slashes" => Ok(replace("/{2,}")),
        "path-strip-dot" => Ok(replace(r"(?:/\.)+(?:/|$)")),
        "path-strip-dotdot" | "percent-decode-unreserved" | "percent-to-uppercase" => Err(Fault::at(
            kind,
            format!(
                "`normalize-uri {}`: paths are brought to normal form as a whole, and where a rule looks at them: ambiguous_path = \"normalize\"",
                kind.text
            ),
        )),
        other => Err(Fault::at(
            kind,
            format!("`normalize-uri {}`: the query and the fragment are not changed", shown(other)),
        )),
    }
}
