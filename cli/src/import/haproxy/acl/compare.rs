//! A sample and values, compared in one of HAProxy's ways: as the keys of our `when`.

use super::{Match, Pattern, Scope, Test, special};
use crate::import::{
    document::Value,
    haproxy::{
        cond::Cond,
        directive::{Fault, shown},
        lexer::Word,
        number,
        regex::{self, escape},
        sample::{self, Base, Sample, Side, Type},
        values,
    },
};

/// Where a value begins, of several between commas.
const BEGIN: &str = r"(?:^|,)[ \t]*";

/// Where our file has a key of its own for a sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place<'a> {
    Path,
    /// Of the request, or of the response.
    Header(&'a str),
    Query(&'a str),
    Cookie(&'a str),
    Method,
    Source,
    Port,
    Status,
    /// `value`
    Any,
}

/// The condition that a test is.
pub(super) fn compare(test: &Test, scope: &Scope<'_>) -> Result<Cond, Fault> {
    sample::available(&test.sample, scope.scene.side).map_err(|why| Fault::at(&test.word, why))?;
    if let Some(cond) = special::special(test)? {
        return Ok(cond);
    }
    let mut sample = Sample::of(&test.sample, scope.scene).map_err(|why| Fault::at(&test.word, why))?;
    scope.scene.stand_at(test.word.span);
    let by = test.by.unwrap_or(match sample.kind {
        Type::Flag => Match::Flag,
        Type::Number => Match::Number,
        Type::Address => Match::Address,
        Type::Text => Match::Exact,
    });
    if let Base::Constant(text) = &sample.base {
        return constant(text, by, test);
    }
    let is_list = is_list(test);
    let folded = if is_header(test) { folded(test, by) } else { None };
    if let Some(folded) = folded {
        let is_never = folded.patterns.is_empty() && !test.patterns.is_empty();
        return if is_never { Ok(Cond::Never) } else { compare(&folded, scope) };
    }
    let needs_each = matches!(by, Match::Length | Match::Address)
        || sample.kind == Type::Address
        || !test.sample.converters.is_empty();
    // What is in a value is in its line, and a value that is there makes the line one.
    let is_of_line = !needs_each && matches!(by, Match::Found | Match::Contains);
    let is_each = is_list && !is_of_line && scope.scene.side == Side::Request && sample.be_value_of_list();
    if is_list && needs_each && !is_each {
        let why = format!(
            "`{}` of any value of several between commas, and of several lines, as HAProxy compares: the rule stands in our file with the last value",
            shown(&test.word.text)
        );
        scope.scene.inexact.borrow_mut().push((Some(test.word.span), why));
    }
    if may_stop_at_one(test, &sample) {
        let why = format!(
            "`{}` of several values: HAProxy looks at none behind one that is no address, and our file passes that over",
            shown(&test.word.text)
        );
        scope.scene.inexact.borrow_mut().push((Some(test.word.span), why));
    }
    let name = match &sample.base {
        Base::Placeholder(name) => name.clone(),
        Base::Constant(text) => return constant(text, by, test),
    };
    let name = name.as_str();
    if name == "request.authority" {
        return host(test, &sample, by);
    }
    if name == "request.target" && test.patterns.iter().any(|pattern| pattern.word.text.contains("://")) {
        let why = "rules see the path and the query of a target, also where a client has sent it with scheme and host";
        return Err(Fault::at(&test.word, why));
    }
    // Our text is in small letters, so that a pattern in others would never match.
    if name == "client_hello.sni"
        && test.patterns.iter().any(|pattern| !pattern.fold && has_case(&pattern.word.text, "lower"))
    {
        let patterns = test.patterns.iter().map(|one| Pattern { fold: true, ..one.clone() }).collect();
        return compare(&Test { patterns, ..test.clone() }, scope);
    }
    let any_value = test.sample.converters.is_empty() && test.sample.arguments.len() < 2;
    let place = match name {
        "request.path" if any_value => Place::Path,
        "request.method" if any_value => Place::Method,
        "request.host" => Place::Any,
        "client.ip" if any_value => Place::Source,
        "local.port" if any_value => Place::Port,
        "response.status" if any_value => Place::Status,
        _ if !any_value => Place::Any,
        name => match name.split_once('.') {
            Some(("request" | "response", rest)) => match rest.split_once('.') {
                Some(("header", header)) => Place::Header(header),
                // What has no `=` is no value in HAProxy, and one of `query`.
                Some(("query", _)) if may_hold_of_nothing(test, &sample, by) => Place::Any,
                Some(("query", parameter)) => Place::Query(parameter),
                Some(("cookie", cookie)) => Place::Cookie(cookie),
                _ => Place::Any,
            },
            _ => Place::Any,
        },
    };
    if name == "request.query"
        && !sample.functions.is_empty()
        && (by == Match::Found || may_hold_of_nothing(test, &sample, by))
    {
        let why = format!(
            "`{}` of a query that is empty behind its `?`: HAProxy goes on with an empty text, and there is none here",
            shown(&test.word.text)
        );
        scope.scene.inexact.borrow_mut().push((Some(test.word.span), why));
    }
    let cond = match by {
        Match::Found => return Ok(found(&sample, place)),
        Match::Flag => flag(test, &sample, place),
        Match::Length => length(test, &sample, place)?,
        Match::Address => addresses(test, &sample, place)?,
        Match::Number => numbers(test, &sample, place)?,
        _ => texts(test, &sample, place, by)?,
    };
    Ok(if may_hold_of_nothing(test, &sample, by) { of_nothing(&sample, cond) } else { cond })
}

/// Could an empty text be what is wanted?
fn may_hold_of_nothing(test: &Test, sample: &Sample, by: Match) -> bool {
    const STAY_EMPTY: [&str; 8] =
        ["lower", "upper", "trim", "url_decode", "url_encode", "base64", "hex", "json"];
    let any = |holds: &dyn Fn(&str) -> bool| test.patterns.iter().any(|pattern| holds(&pattern.word.text));
    let stays = |function: &String| STAY_EMPTY.contains(&function.as_str());
    let is_zero = || number::ranges(test).unwrap_or_default().iter().any(|(low, _)| *low == 0);
    !sample.functions.iter().all(stays)
        || match by {
            Match::Number => test.sample.name.ends_with("_val") && is_zero(),
            Match::Length => is_zero(),
            Match::Flag | Match::Address => false,
            Match::Regex => any(&|text| {
                let word = Word { text: text.to_owned(), span: test.word.span };
                let pattern = regex::convert(&word, false).ok().and_then(|text| regex::compile(&text).ok());
                pattern.is_some_and(|pattern| pattern.is_match(b""))
            }),
            Match::Directory | Match::Domain => any(&|text| text.trim_matches(parts(by).0).is_empty()),
            _ => any(&str::is_empty),
        }
}

/// Does a network follow of what may be there several times, and need not be an address?
fn may_stop_at_one(test: &Test, sample: &Sample) -> bool {
    const SEVERAL: [&str; 3] = ["request.query.", "request.cookie.", "request.header_value."];
    let Base::Placeholder(name) = &sample.base else { return false };
    SEVERAL.iter().any(|several| name.starts_with(several))
        && test.sample.converters.iter().any(|(name, _)| name == "ipmask")
}

/// HAProxy has nothing to compare where there is no `=`, or no value; and a query that is empty behind its `?`.
fn of_nothing(sample: &Sample, cond: Cond) -> Cond {
    let is_query = matches!(&sample.base, Base::Placeholder(name) if name == "request.query");
    match (sample.needs_more(), is_query && sample.functions.is_empty()) {
        (_, true) => {
            let empty = Value::table([("regex", Value::text(r"^[^?]*\?$"))]);
            Cond::any([cond, Cond::named("value", "{request.target}", vec![empty])])
        }
        (Some(more), false) => Cond::all([more, cond]),
        (None, false) => cond,
    }
}

/// Does the test ask several values, one after the other?
fn is_list(test: &Test) -> bool {
    is_header(test) && !test.sample.arguments.first().is_some_and(|header| sample::has_one_value(header))
}

/// Does it ask a header, without the number of a value?
fn is_header(test: &Test) -> bool {
    const HEADERS: [&str; 13] = [
        "req.hdr_ip",
        "hdr_ip",
        "req.hdr",
        "hdr",
        "res.hdr",
        "shdr",
        "req.hdr_val",
        "hdr_val",
        "res.hdr_val",
        "shdr_val",
        "req.fhdr",
        "fhdr",
        "res.fhdr",
    ];
    let header = test.sample.arguments.first().map(String::as_str).unwrap_or_default();
    HEADERS.contains(&test.sample.name.as_str())
        && test.sample.arguments.len() == 1
        && !header.eq_ignore_ascii_case("host")
}

/// Is a value a whole line, and not what stands between commas?
fn is_whole(test: &Test) -> bool {
    test.sample.name.ends_with("fhdr")
}

/// Has the expression letters that no text has behind `lower`, or `upper`?
fn has_case(expression: &str, converter: &str) -> bool {
    let mut bytes = expression.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'A'..=b'Z' if converter == "lower" => return true,
            b'a'..=b'z' if converter == "upper" => return true,
            _ => {}
        }
    }
    false
}

/// Of values that were made small, or large: the same without regard to case.
fn folded(test: &Test, by: Match) -> Option<Test> {
    let is_case = |(name, _): &(String, Vec<String>)| name == "lower" || name == "upper";
    let is_text = !matches!(by, Match::Flag | Match::Number | Match::Length | Match::Address);
    let (last, _) = test.sample.converters.last().filter(|_| is_text)?;
    if !test.sample.converters.iter().all(is_case) {
        return None;
    }
    let is_wrong =
        |pattern: &Pattern| by == Match::Regex && !pattern.fold && has_case(&pattern.word.text, last);
    if test.patterns.iter().any(is_wrong) {
        return None;
    }
    let wrong = |c: char| if last == "lower" { c.is_ascii_uppercase() } else { c.is_ascii_lowercase() };
    // A text of the other case is none of these.
    let patterns =
        test.patterns.iter().filter(|one| one.fold || by == Match::Regex || !one.word.text.contains(wrong));
    Some(Test {
        word: test.word.clone(),
        sample: sample::Written { converters: Vec::new(), ..test.sample.clone() },
        by: test.by,
        operator: test.operator.clone(),
        patterns: patterns.map(|one| Pattern { fold: true, ..one.clone() }).collect(),
    })
}

/// Known now.
fn constant(text: &str, by: Match, test: &Test) -> Result<Cond, Fault> {
    let holds = match by {
        Match::Found => true,
        Match::Flag => text != "0" && !text.is_empty(),
        Match::Exact => test.patterns.iter().any(|pattern| {
            if pattern.fold {
                pattern.word.text.eq_ignore_ascii_case(text)
            } else {
                pattern.word.text == text
            }
        }),
        Match::Number if test.operator.is_none() => {
            test.patterns.iter().any(|pattern| pattern.word.text == text)
        }
        _ => return Err(Fault::at(&test.word, "what is known already is compared as a text alone")),
    };
    Ok(if holds { Cond::Always } else { Cond::Never })
}

/// `hdr(host)`: our `host` where it can be, which is one lookup however many there are.
fn host(test: &Test, sample: &Sample, by: Match) -> Result<Cond, Fault> {
    let is_lowered = sample.functions == ["lower"];
    let is_plain = sample.functions.is_empty() || is_lowered;
    // What is in small letters is never in large ones.
    let is_met = |pattern: &Pattern| {
        !is_lowered || pattern.fold || !pattern.word.text.contains(|c: char| c.is_ascii_uppercase())
    };
    if by == Match::Exact && is_plain {
        let (names, others): (Vec<_>, Vec<_>) = test.patterns.iter().partition(|pattern| {
            lb_proxy::rules::HostPattern::parse(&pattern.word.text).is_ok()
                && !pattern.word.text.starts_with('*')
                && is_met(pattern)
        });
        let names = names.iter().map(|pattern| Value::Text(pattern.word.text.to_ascii_lowercase())).collect();
        return Ok(Cond::any([Cond::is("host", names), value(sample, values_of(&others, by)?)]));
    }
    if by == Match::Suffix && is_plain {
        let (wild, others): (Vec<_>, Vec<_>) = test.patterns.iter().partition(|pattern| {
            pattern.word.text.starts_with('.')
                && is_met(pattern)
                && lb_proxy::rules::HostPattern::parse(&format!("*{}", pattern.word.text)).is_ok()
        });
        let wild = wild
            .iter()
            .map(|pattern| Value::Text(format!("*{}", pattern.word.text.to_ascii_lowercase())))
            .collect();
        return Ok(Cond::any([Cond::is("host", wild), value(sample, values_of(&others, by)?)]));
    }
    // Anything else is about what was sent, with its port.
    match by {
        Match::Found if is_plain => Ok(Cond::named("header", "Host", vec![Value::Flag(true)])),
        Match::Found => Ok(found(sample, Place::Any)),
        Match::Number => numbers(test, sample, Place::Any),
        Match::Flag | Match::Address => Err(Fault::at(&test.word, "a host is compared as a text")),
        Match::Length => length(test, sample, Place::Any),
        _ => texts(test, sample, Place::Any, by),
    }
}

fn value(sample: &Sample, values: Vec<Value>) -> Cond {
    match sample.placeholder() {
        Ok(placeholder) => Cond::named("value", placeholder, values),
        Err(_) => Cond::Never,
    }
}

fn at(sample: &Sample, place: Place<'_>, values: Vec<Value>) -> Cond {
    match place {
        Place::Header(name) => Cond::named("header", name, values),
        Place::Query(name) => Cond::named("query", name, values),
        Place::Cookie(name) => Cond::named("cookie", name, values),
        _ => value(sample, values),
    }
}

fn found(sample: &Sample, place: Place<'_>) -> Cond {
    match place {
        // What stands behind it decides, too: a map has the line, or a text has the field.
        Place::Any if !sample.functions.is_empty() => {
            let mut sample = sample.clone();
            sample.be_what_it_is();
            sample.presence()
        }
        // A request always has these.
        Place::Path | Place::Method | Place::Source | Place::Port | Place::Status => Cond::Always,
        Place::Query(_) | Place::Any => sample.presence(),
        Place::Cookie(_) => {
            Cond::all([at(sample, place, vec![Value::Flag(true)])].into_iter().chain(sample.needs_more()))
        }
        place => at(sample, place, vec![Value::Flag(true)]),
    }
}

/// A text is the number that it begins with, and none is 0.
fn flag(test: &Test, sample: &Sample, place: Place<'_>) -> Cond {
    let begin =
        if matches!(place, Place::Header(_)) && is_list(test) && !is_whole(test) { BEGIN } else { "^" };
    at(sample, place, vec![Value::table([("regex", Value::Text(format!("{begin}[-+]?0*[1-9]")))])])
}

fn numbers(test: &Test, sample: &Sample, place: Place<'_>) -> Result<Cond, Fault> {
    let ranges = number::ranges(test)?;
    let native = match place {
        Place::Port => Some(("port", 1, 65_535)),
        Place::Status => Some(("status", 200, 999)),
        _ => None,
    };
    if let Some((key, lowest, highest)) = native {
        let clipped = ranges.iter().filter_map(|(low, high)| {
            let (low, high) = ((*low).max(lowest), high.unwrap_or(highest).min(highest));
            (low <= high)
                .then(|| if low == high { Value::Integer(low) } else { Value::Text(format!("{low}-{high}")) })
        });
        return Ok(Cond::is(key, clipped.collect()));
    }
    let regex = |pattern: String| at(sample, place, vec![Value::table([("regex", Value::Text(pattern))])]);
    if is_text(test, sample) {
        let is_list = matches!(place, Place::Header(_)) && is_list(test) && !is_whole(test);
        let any_below = matches!(test.operator.as_deref(), Some("lt" | "le"))
            || test.patterns.iter().any(|pattern| pattern.word.text.starts_with(':'));
        let empty = test.sample.name.ends_with("_val");
        let below = (any_below && ranges.is_empty()).then(|| regex(number::below_zero(is_list)));
        let one = |range| regex(number::of_value(range, !is_list, any_below, empty));
        return Ok(Cond::any(ranges.into_iter().map(one).chain(below)));
    }
    let one = |(low, high): &(u64, Option<u64>)| match high {
        Some(high) if low == high => regex(format!("^0*{low}$")),
        Some(high) if *low == 0 => regex(number::at_most(*high)),
        Some(high) => regex(number::within(*low, *high)),
        None => regex(number::at_least(*low)),
    };
    Ok(Cond::any(ranges.iter().map(one)))
}

/// Is it a text that is read as a number, and may have a sign and more? One of our own is digits.
fn is_text(test: &Test, sample: &Sample) -> bool {
    let is_count = |function: &String| ["length", "crc32"].contains(&function.as_str());
    let is_read = test.sample.name.ends_with("_val")
        || !test.sample.converters.is_empty()
        || sample.kind != Type::Number;
    let is_length = test.sample.arguments.first().is_some_and(|header| sample::has_one_value(header));
    is_read && !is_length && !sample.functions.last().is_some_and(is_count)
}

fn length(test: &Test, sample: &Sample, place: Place<'_>) -> Result<Cond, Fault> {
    let mut length = sample.clone();
    length.functions.push("length".into());
    // What is not there has no length.
    let exists = match place {
        Place::Header(_) => found(sample, place),
        _ => Cond::Always,
    };
    Ok(Cond::all([exists, numbers(test, &length, Place::Any)?]))
}

fn addresses(test: &Test, sample: &Sample, place: Place<'_>) -> Result<Cond, Fault> {
    let networks = test.patterns.iter().map(|pattern| values::network(&pattern.word));
    let networks: Vec<String> = networks.collect::<Result<Vec<_>, _>>()?;
    let networks: Vec<String> = networks.iter().flat_map(|network| values::of_both(network)).collect();
    if place == Place::Source {
        return Ok(Cond::is("source", networks.into_iter().map(Value::Text).collect()));
    }
    // Addresses of one network are the same once the rest of their bits is gone.
    let one = |network: &String| {
        let (address, bits) = network.split_once('/').unwrap_or((network, ""));
        let mut sample = sample.clone();
        sample.be_read_as_address();
        let (v4, v6) = if address.contains(':') { ("32", bits) } else { (bits, "128") };
        match bits {
            "" => sample.be_canonical(),
            _ => sample.functions.push(format!("mask({v4}, {v6})")),
        }
        value(&sample, vec![Value::text(address)])
    };
    Ok(Cond::any(networks.iter().map(one)))
}

fn texts(test: &Test, sample: &Sample, place: Place<'_>, by: Match) -> Result<Cond, Fault> {
    if test.patterns.is_empty() {
        return Err(Fault::at(&test.word, format!("`{}` is compared with nothing", shown(&test.word.text))));
    }
    let all: Vec<_> = test.patterns.iter().collect();
    match place {
        Place::Method if by == Match::Exact => {
            let method = |pattern: &&Pattern| match pattern.fold {
                true => Value::Text(pattern.word.text.to_ascii_uppercase()),
                false => Value::text(&pattern.word.text),
            };
            Ok(Cond::is("method", all.iter().map(method).collect()))
        }
        Place::Path => paths(&all, sample, by),
        Place::Header(name) if !sample::has_one_value(name) && !is_whole(test) => {
            // What stands between commas has none, but in quotes.
            let may_be = |pattern: &&Pattern| {
                by == Match::Regex || !pattern.word.text.contains(',') || pattern.word.text.contains('"')
            };
            let values: Vec<_> = all
                .into_iter()
                .filter(may_be)
                .map(|pattern| between_commas(pattern, by))
                .collect::<Result<_, _>>()?;
            if values.is_empty() { Ok(Cond::Never) } else { Ok(at(sample, place, values)) }
        }
        place => Ok(at(sample, place, values_of(&all, by)?)),
    }
}

/// Keys of paths, which name the way of comparing.
fn paths(patterns: &[&Pattern], sample: &Sample, by: Match) -> Result<Cond, Fault> {
    let mut any = Vec::new();
    for pattern in patterns {
        let text = pattern.word.text.as_str();
        any.push(match by {
            Match::Exact if !pattern.fold && text.starts_with('/') && !text.contains(['?', '#']) => {
                Cond::is("path", vec![Value::text(text)])
            }
            // Never one of a path.
            Match::Exact if !pattern.fold => value(sample, vec![Value::text(text)]),
            Match::Suffix if !pattern.fold => Cond::is("path_suffix", vec![Value::text(text)]),
            by => Cond::is("path_regex", vec![Value::Text(expression(pattern, by)?)]),
        });
    }
    Ok(Cond::any(any))
}

/// Patterns as values of `header`, `query`, `cookie` and `value`.
fn values_of(patterns: &[&Pattern], by: Match) -> Result<Vec<Value>, Fault> {
    let one = |pattern: &&Pattern| {
        let text = || Value::text(&pattern.word.text);
        Ok(match by {
            Match::Exact if !pattern.fold => text(),
            Match::Prefix if !pattern.fold => Value::table([("prefix", text())]),
            Match::Suffix if !pattern.fold => Value::table([("suffix", text())]),
            Match::Contains if !pattern.fold => Value::table([("contains", text())]),
            by => Value::table([("regex", Value::Text(expression(pattern, by)?))]),
        })
    };
    patterns.iter().map(one).collect()
}

/// A line may have several values between commas, any of which may match.
fn between_commas(pattern: &Pattern, by: Match) -> Result<Value, Fault> {
    const END: &str = r"[ \t]*(?:,|$)";
    let text = escape(&pattern.word.text);
    let expression = match by {
        Match::Exact => format!("{BEGIN}{text}{END}"),
        Match::Prefix => format!("{BEGIN}{text}"),
        Match::Suffix => format!("{text}{END}"),
        Match::Domain | Match::Directory => {
            let (delimiters, class) = parts(by);
            let text = escape(pattern.word.text.trim_matches(delimiters));
            format!("(?:{BEGIN}|{class}){text}(?:{class}|{END})")
        }
        Match::Contains if !pattern.fold => {
            return Ok(Value::table([("contains", Value::text(&pattern.word.text))]));
        }
        Match::Regex => {
            let inner = expression(&Pattern { fold: false, ..pattern.clone() }, by)?;
            regex::between_commas(&inner, BEGIN, END)
        }
        by => expression(&Pattern { fold: false, ..pattern.clone() }, by)?,
    };
    let fold = if pattern.fold { "(?i)" } else { "" };
    let expression = format!("{fold}{expression}");
    regex::compile(&expression).map_err(|why| Fault::at(&pattern.word, format!("the expression {why}")))?;
    Ok(Value::table([("regex", Value::Text(expression))]))
}

/// What stands between the parts of a text: of a path, or of a domain.
fn parts(by: Match) -> (&'static [char], &'static str) {
    if by == Match::Domain { (&['/', '?', '.', ':'], "[/?.:]") } else { (&['/', '?'], "[/?]") }
}

/// Any way of comparing, as an expression.
fn expression(pattern: &Pattern, by: Match) -> Result<String, Fault> {
    let fold = if pattern.fold { "(?i)" } else { "" };
    let text = pattern.word.text.as_str();
    Ok(match by {
        Match::Exact => format!("{fold}^{}$", escape(text)),
        Match::Prefix => format!("{fold}^{}", escape(text)),
        Match::Suffix => format!("{fold}{}$", escape(text)),
        Match::Contains => format!("{fold}{}", escape(text)),
        Match::Directory | Match::Domain => {
            let (delimiters, class) = parts(by);
            let inner = escape(text.trim_matches(delimiters));
            format!("{fold}(?:^|{class}){inner}(?:{class}|$)")
        }
        Match::Regex => regex::convert(&pattern.word, pattern.fold)?,
        Match::Found | Match::Flag | Match::Number | Match::Length | Match::Address => {
            return Err(Fault::at(&pattern.word, "it can't be compared as a text"));
        }
    })
}
