//! `redirect`, alone and behind `http-request`.

use super::Made;
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Fault, shown},
        lexer::Word,
        sample::{Scene, braces},
        template,
    },
};

/// `{location | prefix | scheme} TO` with its options, in any order. Where it leads is a format behind `http-request`, and
/// a plain text alone.
pub(super) fn convert(words: &[Word], format: Option<Scene<'_>>) -> Result<Made, Fault> {
    let (mut target, mut status, mut query) = (None, None, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.text.as_str() {
            key @ ("location" | "prefix" | "scheme") => {
                let to =
                    rest.next().ok_or_else(|| Fault::at(word, format!("`{key}` takes where it leads")))?;
                let to = match (key, format) {
                    ("scheme", _) => to.text.to_ascii_lowercase(),
                    (_, Some(scene)) => template::convert(to, scene)?,
                    (_, None) => braces(&to.text),
                };
                target = Some((key, to));
            }
            "code" => {
                let code = rest.next().unwrap_or(word);
                let number = code.text.parse::<u64>();
                status = Some(
                    number.map_err(|_| Fault::at(code, format!("`{}` is no status", shown(&code.text))))?,
                );
            }
            "drop-query" | "keep-query" => query = Some(word),
            "ignore-empty" => {
                return Err(Fault::at(
                    word,
                    "`ignore-empty`: write a rule with a condition on what the location is made of",
                ));
            }
            "set-cookie" | "clear-cookie" => {
                let why = "a redirection sets no cookie here: write respond = { status = 302, headers = { Location = .., Set-Cookie = .. } }";
                return Err(Fault::at(word, why));
            }
            "append-slash" => {
                let why = "`append-slash`: write a rule with path_regex = '[^/]$' and a location that ends with `/`";
                return Err(Fault::at(word, why));
            }
            other => {
                return Err(Fault::at(word, format!("`{}` of a redirection is not there", shown(other))));
            }
        }
    }
    let Some((key, to)) = target else {
        return Err("`redirect` takes location, prefix or scheme, and where it leads".into());
    };
    let mut entries = vec![(key.to_owned(), Value::Text(to))];
    entries.extend(
        status.filter(|status| *status != 302).map(|status| ("status".into(), Value::Integer(status))),
    );
    match query {
        // A location has no query but its own in HAProxy, too.
        Some(word) if key == "location" && word.text == "keep-query" => {
            return Err(Fault::at(
                word,
                "`keep-query` of a location is not there: write `{request.query}` into it",
            ));
        }
        Some(word) if key != "location" && word.text == "drop-query" => {
            entries.push(("drop_query".into(), Value::Flag(true)));
        }
        _ => {}
    }
    let to = match entries.as_slice() {
        [(key, value)] if key == "location" => value.clone(),
        _ => Value::Table(entries),
    };
    Ok(Made::Rule { does: vec![("redirect".into(), to)], note: None })
}
