//! `redirect`, alone and behind `http-request`.

use super::{Made, action::Call};
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
    let (mut target, mut status, mut query, mut slash, mut cookie) = (None, None, None, None, None);
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
            kind @ ("set-cookie" | "clear-cookie") => {
                let named = rest.next().ok_or_else(|| Fault::at(word, format!("`{kind}` takes a name")))?;
                let ends = if kind == "set-cookie" { "; path=/;" } else { "; path=/; Max-Age=0;" };
                cookie = Some(format!("{}{ends}", braces(&named.text)));
            }
            "append-slash" => slash = Some(word),
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
    if let Some(word) = slash.filter(|_| key == "prefix") {
        if query.is_none_or(|query| query.text != "drop-query")
            && let Some(scene) = format
        {
            let why = "`append-slash` without `drop-query`: HAProxy puts the slash behind the query, and here it is that of the path";
            scene.inexact.borrow_mut().push((Some(word.span), why.to_owned()));
        }
        entries.push(("append_slash".into(), Value::Flag(true)));
    }
    if let Some(cookie) = cookie {
        entries.push(("headers".into(), Value::table([("Set-Cookie", Value::Text(cookie))])));
    }
    let to = match entries.as_slice() {
        [(key, value)] if key == "location" => value.clone(),
        _ => Value::Table(entries),
    };
    Ok(Made::Rule { does: vec![("redirect".into(), to)], note: None })
}

/// `http-response redirect`: an answer in the place of the response.
pub(super) fn of_response(call: &Call<'_>) -> Result<Made, Fault> {
    let made = convert(call.words, Some(call.scene))?;
    let Made::Rule { does, .. } = &made else { return Ok(made) };
    let to = does.first().map(|(_, to)| to);
    let location = to.and_then(|to| to.as_text().or_else(|| to.get("location")?.as_text()));
    let Some(location) = location else {
        return Err("`redirect` of a response leads to a `location` here".into());
    };
    let status = match to.and_then(|to| to.get("status")) {
        Some(Value::Integer(status)) => *status,
        _ => 302,
    };
    let mut headers = vec![("Location".to_owned(), Value::text(location))];
    if matches!(status, 302 | 303 | 307) {
        headers.push(("Cache-Control".to_owned(), Value::text("no-cache")));
    }
    if let Some(Value::Table(more)) = to.and_then(|to| to.get("headers")) {
        headers.extend(more.iter().cloned());
    }
    let answer = Value::table([("status", Value::Integer(status)), ("headers", Value::Table(headers))]);
    Ok(Made::Rule { does: vec![("respond".into(), answer)], note: None })
}
