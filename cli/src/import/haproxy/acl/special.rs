//! Samples that are only there in conditions, and keys of our `when` that they are.

use super::{Match, Pattern, Test};
use crate::import::{
    document::Value,
    haproxy::{
        cond::Cond,
        directive::{Fault, shown},
        number,
        regex::escape,
        rule, sample,
    },
};

/// `None` of all others.
pub(super) fn special(test: &Test) -> Result<Option<Cond>, Fault> {
    let argument = || match test.sample.arguments.first() {
        Some(name) if !name.is_empty() => Ok(name.clone()),
        _ => Err(Fault::at(&test.word, format!("`{}` takes a name in parentheses", test.sample.name))),
    };
    let exists = |key: &'static str| -> Result<Cond, Fault> {
        let there = Cond::named(key, argument()?, vec![Value::Flag(true)]);
        let patterns: Vec<_> = test.patterns.iter().map(|pattern| pattern.word.text.as_str()).collect();
        match (test.operator.as_deref(), patterns.as_slice(), test.by) {
            (None | Some("eq"), ["0"], _) | (Some("lt"), ["1"], _) | (Some("le"), ["0"], _) => {
                Ok(there.not())
            }
            (Some("gt"), ["0"], _) | (Some("ge"), ["1"], _) | (None, ["1:"], _) => Ok(there),
            (None, [], Some(Match::Found | Match::Flag)) => Ok(there),
            _ => Err(Fault::at(
                &test.word,
                format!("`{}`: whether there is one can be asked, not how many", test.sample.name),
            )),
        }
    };
    // None of these is a sample, so nothing can be made of it.
    let name = test.sample.name.as_str();
    if let (true, Some((converter, _))) =
        (sample::is_only_in_conditions(name), test.sample.converters.first())
    {
        let why = format!("`{}` of `{name}` is not there: write the test without it", shown(converter));
        return Err(Fault::at(&test.word, why));
    }
    Ok(Some(match name {
        "req.ssl_hello_type" | "req_ssl_hello_type" => client_hello(test)?,
        "ssl_fc" => secure(test)?,
        "ssl_c_used" => flag(test, Cond::named("value", "{tls.client.used}", vec![Value::text("1")]))?,
        "ssl_fc_is_resumed" => flag(test, Cond::named("value", "{tls.resumed}", vec![Value::text("1")]))?,
        "ssl_fc_has_sni" => flag(test, Cond::named("value", "{tls.sni}", vec![Value::Flag(true)]))?,
        "req.hdr_cnt" | "hdr_cnt" | "req.fhdr_cnt" | "res.hdr_cnt" | "shdr_cnt" | "res.fhdr_cnt" => {
            match exists("header") {
                // How many, or something made of that.
                _ if !test.sample.converters.is_empty() => return Ok(None),
                Err(_) if !sample::is_only_in_conditions(name) => return Ok(None),
                asked => asked?,
            }
        }
        "req.cook_cnt" | "cook_cnt" => exists("cookie")?,
        "base" if !test.sample.converters.is_empty() => return Ok(None),
        "base" => match base(test) {
            Err(_) => return Ok(None),
            parts => parts?,
        },
        "http_auth" | "http_auth_group" => auth(test, argument()?)?,
        "nbsrv" => usable(test)?,
        _ => return rule::counter(test),
    }))
}

/// `ssl_fc`, `ssl_fc,not`
fn secure(test: &Test) -> Result<Cond, Fault> {
    flag(test, Cond::is("scheme", vec![Value::text("https")]))
}

/// What holds or not, and is always known.
fn flag(test: &Test, mut cond: Cond) -> Result<Cond, Fault> {
    let sample = test.sample.name.as_str();
    for (name, _) in &test.sample.converters {
        match name.as_str() {
            "not" => cond = cond.not(),
            "bool" => {}
            _ => {
                let why = format!("`{}` of `{sample}` is not there; `not` is", shown(name));
                return Err(Fault::at(&test.word, why));
            }
        }
    }
    match test.by {
        None | Some(Match::Flag) if test.patterns.is_empty() => Ok(cond),
        Some(Match::Found) => Ok(Cond::Always),
        _ => {
            let why = format!("`{sample}` is asked without values, and with `!` for the opposite");
            Err(Fault::at(&test.word, why))
        }
    }
}

/// `nbsrv(BACKEND) lt 1`; the backend is HAProxy's name of it, or empty for the section itself.
fn usable(test: &Test) -> Result<Cond, Fault> {
    let name = test.sample.arguments.first().cloned().unwrap_or_default();
    let below = |number: u64| match number {
        0 => Cond::Never,
        number => Cond::named(rule::USABLE, &name, vec![Value::Integer(number)]),
    };
    let one = |(low, high): (u64, Option<u64>)| {
        Cond::all([below(low).not(), high.map_or(Cond::Always, |high| below(high.saturating_add(1)))])
    };
    if matches!((test.by, test.operator.as_deref()), (None | Some(Match::Flag), None))
        && test.patterns.is_empty()
    {
        return Ok(below(1).not());
    }
    Ok(Cond::any(number::ranges(test)?.into_iter().map(one)))
}

/// `req.ssl_hello_type 1`: a ClientHello.
fn client_hello(test: &Test) -> Result<Cond, Fault> {
    let patterns: Vec<_> = test.patterns.iter().map(|pattern| pattern.word.text.as_str()).collect();
    match (test.operator.as_deref(), patterns.as_slice()) {
        (None | Some("eq"), ["1"]) => {
            Ok(Cond::named("value", "{client_hello.version}", vec![Value::Flag(true)]))
        }
        _ => Err(Fault::at(&test.word, format!("`{}`: whether it is 1 can be asked", test.sample.name))),
    }
}

/// `http_auth(LIST)`, `http_auth_group(LIST) GROUPS`: resolved with the rule that asks.
fn auth(test: &Test, list: String) -> Result<Cond, Fault> {
    let groups: Vec<_> = test.patterns.iter().map(|pattern| Value::text(&pattern.word.text)).collect();
    match (test.sample.name.as_str(), groups.is_empty()) {
        ("http_auth", true) => Ok(Cond::named(rule::AUTH, list, vec![Value::text("")])),
        ("http_auth_group", false) => Ok(Cond::named(rule::AUTH, list, groups)),
        _ => Err(Fault::at(&test.word, "`http_auth` takes a list, and `http_auth_group` groups behind it")),
    }
}

/// `base www.example.com/a`: host and path.
fn base(test: &Test) -> Result<Cond, Fault> {
    let one = |pattern: &Pattern| {
        let text = pattern.word.text.as_str();
        let (host, path) = match text.find('/') {
            Some(at) if at > 0 => text.split_at(at),
            _ => {
                return Err(Fault::at(
                    &pattern.word,
                    "`base` is compared where the value has a host and a path",
                ));
            }
        };
        let fold = if pattern.fold { "(?i)" } else { "" };
        let path = match test.by {
            None | Some(Match::Exact) if pattern.fold => {
                Cond::is("path_regex", vec![Value::Text(format!("(?i)^{}$", escape(path)))])
            }
            None | Some(Match::Exact) => Cond::is("path", vec![Value::text(path)]),
            Some(Match::Prefix) => {
                Cond::is("path_regex", vec![Value::Text(format!("{fold}^{}", escape(path)))])
            }
            Some(_) => {
                return Err(Fault::at(&test.word, "`base` is compared as a whole, or by its beginning"));
            }
        };
        Ok(Cond::all([Cond::is("host", vec![Value::text(host)]), path]))
    };
    if test.patterns.is_empty() {
        return Err(Fault::at(&test.word, "`base` is compared with values, as a whole or by its beginning"));
    }
    Ok(Cond::any(test.patterns.iter().map(one).collect::<Result<Vec<_>, _>>()?))
}
