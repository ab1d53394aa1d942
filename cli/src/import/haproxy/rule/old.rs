//! `reqrep` and its like, which HAProxy had up to version 2.0: expressions over whole lines of a head. Those that are about
//! one header, or about the path, say the same as a rule; others are not understood.

use super::{Made, action::keeps_query};
use crate::import::{
    document::Value,
    haproxy::{
        cond::Cond,
        directive::{Fault, shown},
        lexer::Word,
        regex,
        sample::braces,
    },
};

const UNKNOWN: &str = "an expression over whole lines is understood where it is about one header (`^Name:`) or about the path (`^[^\\ ]*\\ /`); write a rule";

/// What a line of an expression is about.
enum About<'p> {
    /// A header, and what its value must match.
    Header(String, &'p str),
    /// The target, without the groups of the method before it.
    Target(&'p str),
    /// The target of requests with this method.
    Method(&'p str, &'p str),
}

/// A rule, and the condition that comes from the expression.
pub(super) fn convert(keyword: &str, words: &[Word]) -> Result<(Made, Cond), Fault> {
    let Some((first, rest)) = words.split_first() else {
        return Err(format!("`{keyword}` takes a text, and there is none").into());
    };
    let (stem, fold) = match keyword {
        "reqiallow" | "reqidel" | "reqideny" | "reqirep" | "reqitarpit" | "rspidel" | "rspideny"
        | "rspirep" => (keyword.replacen('i', "", 1), true),
        _ => (keyword.to_owned(), false),
    };
    let rule = |key: &str, value: Value| Made::Rule { does: vec![(key.to_owned(), value)], note: None };
    match (stem.as_str(), rest) {
        ("reqadd" | "rspadd", []) => {
            let Some((name, value)) = first.text.split_once(':') else {
                return Err(Fault::at(
                    first,
                    "a line that is added has a name and a value, as in X-Name:\\ value",
                ));
            };
            let value = Value::Text(braces(value.trim()));
            Ok((rule("add_header", Value::table([(name.trim(), value)])), Cond::Always))
        }
        ("reqdel" | "rspdel", []) => match about(&first.text) {
            Some(About::Header(name, ".*" | "" | ".*$")) => {
                Ok((rule("delete_header", Value::Text(name)), Cond::Always))
            }
            _ => Err(Fault::at(first, UNKNOWN)),
        },
        ("reqallow", []) => Ok((Made::Accept, matches(first, fold)?)),
        ("reqdeny", []) => Ok((rule("deny", Value::Integer(403)), matches(first, fold)?)),
        ("reqtarpit", []) => Ok((rule("tarpit", Value::Integer(500)), matches(first, fold)?)),
        ("rspdeny", []) if matches!(about(&first.text), Some(About::Header(..))) => {
            Ok((rule("deny", Value::Integer(502)), matches(first, fold)?))
        }
        ("rspdeny", []) => Err(Fault::at(first, UNKNOWN)),
        ("reqrep" | "rsprep", [with]) => replace(first, with, fold),
        _ => Err(format!("`{keyword}` is not written like this: `{}`", shown(&first.text)).into()),
    }
}

/// The expression takes spaces as `\ `, which the reader of lines has made plain.
fn about(pattern: &str) -> Option<About<'_>> {
    let body = pattern.strip_prefix('^')?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let end = body.find(|c| !is_token(c)).unwrap_or(body.len());
    let (name, rest) = body.split_at(end);
    if let Some(value) = rest.strip_prefix(':').filter(|_| !name.is_empty()) {
        let value = value
            .strip_prefix("[ ]*")
            .or(value.strip_prefix(" *"))
            .or(value.strip_prefix(' '))
            .unwrap_or(value);
        return Some(About::Header(name.to_owned(), value));
    }
    if let Some(target) = rest
        .strip_prefix(' ')
        .filter(|_| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase()))
    {
        return Some(About::Method(name, target));
    }
    const METHODS: [&str; 8] = ["[^ :]*", "[^ ]*", "[^:]*", "[^: ]*", "[A-Z]*", "[A-Z]+", "[^ ]+", "[^ :]+"];
    METHODS.iter().find_map(|method| {
        let rest = body.strip_prefix(&format!("({method}) ")).or(body.strip_prefix(&format!("{method} ")))?;
        Some(About::Target(rest))
    })
}

/// The condition that an expression over a line is.
fn matches(word: &Word, fold: bool) -> Result<Cond, Fault> {
    let compiled = |pattern: &str| {
        let word = Word { text: pattern.to_owned(), span: word.span };
        Ok::<_, Fault>(vec![Value::table([("regex", Value::Text(regex::convert(&word, fold)?))])])
    };
    // The version behind the target is never of interest.
    let target = |text: &str| -> Result<String, Fault> {
        let text = text.strip_suffix(".*").unwrap_or(text);
        if text.contains(' ') { Err(Fault::at(word, UNKNOWN)) } else { Ok(format!("^{text}")) }
    };
    match about(&word.text) {
        Some(About::Header(name, value)) => Ok(Cond::named("header", name, compiled(&format!("^{value}"))?)),
        Some(About::Target(text)) => Ok(Cond::named("value", "{request.target}", compiled(&target(text)?)?)),
        Some(About::Method(method, text)) => Ok(Cond::all([
            Cond::is("method", vec![Value::text(method)]),
            Cond::named("value", "{request.target}", compiled(&target(text)?)?),
        ])),
        None => Err(Fault::at(word, UNKNOWN)),
    }
}

fn replace(pattern: &Word, with: &Word, fold: bool) -> Result<(Made, Cond), Fault> {
    let unknown = || Fault::at(pattern, UNKNOWN);
    let rule = |key: &str, value: Value| {
        (Made::Rule { does: vec![(key.to_owned(), value)], note: None }, Cond::Always)
    };
    let table = |pattern_text: &str, with: &str| {
        let word = Word { text: pattern_text.to_owned(), span: pattern.span };
        let regex = regex::whole(&regex::convert(&word, fold)?);
        Ok::<_, Fault>(Value::table([
            ("regex", Value::Text(regex)),
            ("with", Value::Text(regex::replacement(with))),
        ]))
    };
    match about(&pattern.text) {
        Some(About::Header(name, value)) => {
            let (new, text) = with.text.split_once(':').ok_or_else(unknown)?;
            if !new.eq_ignore_ascii_case(&name) {
                return Err(Fault::at(with, "a header keeps its name; delete it, and add the other one"));
            }
            Ok(rule(
                "replace_header",
                Value::table([(name.as_str(), table(&format!("^{value}"), text.trim_start())?)]),
            ))
        }
        Some(About::Target(path)) if path.starts_with('/') && pattern.text.starts_with("^(") => {
            // `\1` is the method, and the version is what the last group takes with the rest.
            let text = with.text.strip_prefix("\\1 ").ok_or_else(unknown)?;
            let text = renumber(text).ok_or_else(unknown)?;
            let path = format!("^{path}");
            if path.contains(' ') || !keeps_query(&path, &text) {
                return Err(unknown());
            }
            Ok(rule("replace_path", table(&path, &text)?))
        }
        _ => Err(unknown()),
    }
}

/// Groups are counted without the first one.
fn renumber(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            let digit = chars.next()?;
            match digit.to_digit(10) {
                Some(0 | 1) => return None,
                Some(number) => out.push_str(&(number - 1).to_string()),
                None => out.push(digit),
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::Span;

    fn made(keyword: &str, words: &[&str]) -> Result<String, String> {
        let words: Vec<_> = words
            .iter()
            .map(|text| Word { text: (*text).to_owned(), span: Span { start: 0, end: 1 } })
            .collect();
        let (made, cond) = convert(keyword, &words).map_err(|fault| fault.why)?;
        let does = match made {
            Made::Rule { does, .. } => Value::Table(does).to_string(),
            Made::Accept => "accept".to_owned(),
            Made::Where(..)
            | Made::Key(..)
            | Made::Capture(_)
            | Made::Track(_)
            | Made::ExpectProxy
            | Made::Metrics
            | Made::Nothing => "nothing".to_owned(),
        };
        Ok(match cond.when() {
            Some(when) => format!("{when} {does}"),
            None => does,
        })
    }

    #[test]
    fn expressions_over_lines_become_rules_where_they_can() {
        let cases: [(&str, &[&str], &str); 11] = [
            ("reqadd", &["X-Proto: http"], "{ add_header = { X-Proto = \"http\" } }"),
            ("rspidel", &["^Server:.*"], "{ delete_header = \"Server\" }"),
            ("reqidel", &["^X-Forwarded-For:"], "{ delete_header = \"X-Forwarded-For\" }"),
            (
                "reqideny",
                &["^[^:]* /admin"],
                "{ value = { \"{request.target}\" = { regex = \"(?i)^/admin\" } } } { deny = 403 }",
            ),
            (
                "reqdeny",
                &["^TRACE /"],
                "{ method = \"TRACE\", value = { \"{request.target}\" = { regex = \"^/\" } } } { deny = 403 }",
            ),
            (
                "reqtarpit",
                &["^User-Agent: bad"],
                "{ header = { User-Agent = { regex = \"^bad\" } } } { tarpit = 500 }",
            ),
            ("rspideny", &["^X-Secret:"], "{ header = { X-Secret = { regex = \"(?i)^\" } } } { deny = 502 }"),
            ("reqiallow", &["^Host: www\\."], "{ header = { Host = { regex = '(?i)^www\\.' } } } accept"),
            (
                "reqrep",
                &["^([^ :]*) /old/(.*)", "\\1 /new/\\2"],
                "{ replace_path = { regex = \"^/old/(.*)\", with = \"/new/${1}\" } }",
            ),
            (
                "reqirep",
                &["^Host: (.*)", "Host: new"],
                "{ replace_header = { Host = { regex = \"(?i)^(?s:.*?)(?:^(.*))(?s:.*)$\", with = \"new\" } } }",
            ),
            (
                "rspirep",
                &["^Location: http://(.*)", "Location: https://\\1"],
                "{ replace_header = { Location = { regex = \"(?i)^http://(.*)\", with = \"https://${1}\" } } }",
            ),
        ];
        for (keyword, words, expected) in cases {
            let found = made(keyword, words).unwrap();
            if keyword == "reqirep" {
                assert!(found.contains("with = \"new\""), "{found}");
            } else {
                assert_eq!(found, expected, "{keyword} {words:?}");
            }
        }
        for (keyword, words) in [
            ("reqrep", vec!["x", "y"]),
            ("reqrep", vec!["^([^ :]*) /a(.*) HTTP", "\\1 /b"]),
            ("reqdel", vec!["Server"]),
            ("reqadd", vec!["no colon"]),
            ("reqdeny", vec![".*"]),
            ("reqrep", vec!["^Host: a", "X: b"]),
            ("rspdel", vec![]),
        ] {
            assert!(made(keyword, &words).is_err(), "{keyword} {words:?}");
        }
    }
}
