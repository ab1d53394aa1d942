//! `deny`, `tarpit` and `return`: with a page, or with an answer of their own.

use super::{Made, action::Call};
use crate::import::{
    document::Value,
    haproxy::{
        directive::{Fault, shown},
        lexer::Word,
        sample::braces,
        template,
    },
};

/// What stands behind the action.
#[derive(Default)]
struct Answer<'w> {
    status: Option<u64>,
    content_type: Option<&'w Word>,
    /// `body` or `file`, and where it is.
    content: Option<(&'static str, String, &'w Word)>,
    headers: Vec<(String, Value)>,
    /// The page of the status is wanted.
    is_page: bool,
    /// `errorfile`: all of the answer.
    whole: Option<Value>,
}

/// `[status N] [content-type T] [string S | lf-string S | file F ..] [hdr NAME TEXT]..`
fn read<'w>(call: &Call<'w>) -> Result<Answer<'w>, Fault> {
    let mut answer = Answer::default();
    let mut words = call.words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let missing = || Fault::at(word, format!("`{}` takes a value, and there is none", word.text));
            words.next().ok_or_else(missing)
        };
        match word.text.as_str() {
            "deny_status" | "status" => {
                let code = value()?;
                let status = code.text.parse::<u64>().ok().filter(|status| (200..600).contains(status));
                let wrong = || Fault::at(code, format!("`{}` is no status of 200 to 599", shown(&code.text)));
                answer.status = Some(status.ok_or_else(wrong)?);
            }
            "content-type" => answer.content_type = Some(value()?),
            "default-errorfiles" => answer.is_page = true,
            "string" => {
                let text = value()?;
                answer.content = Some(("body", braces(&text.text), text));
            }
            "lf-string" => {
                let text = value()?;
                answer.content = Some(("body", template::convert(text, call.scene)?, text));
            }
            "file" => {
                let file = value()?;
                answer.content = Some(("file", call.scene.maps.ours(&file.text), file));
            }
            "hdr" => {
                let name = value()?;
                let text = value()?;
                let text = Value::Text(template::convert(text, call.scene)?);
                let same =
                    answer.headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name.text));
                match same {
                    Some((_, Value::List(list))) => list.push(text),
                    Some((_, one)) => *one = Value::List(vec![one.clone(), text]),
                    None => answer.headers.push((name.text.clone(), text)),
                }
            }
            "errorfile" => {
                let file = value()?;
                answer.whole = Some(whole(&file.text, call).map_err(|why| Fault::at(file, why))?);
            }
            "errorfiles" => {
                let why = "pages of a group are not there for a rule alone; write `error_page` and `deny` with its status";
                return Err(Fault::at(word, why));
            }
            "lf-file" => return Err(Fault::at(word, "a file has no placeholders; write its text as `body`")),
            other => {
                return Err(Fault::at(word, format!("`{}` is no word of `{}`", shown(other), call.name)));
            }
        }
    }
    Ok(answer)
}

/// The answer that a file has from its first line on, put into ours as it is now.
fn whole(file: &str, call: &Call<'_>) -> Result<Value, String> {
    let text = call.scene.maps.text(file)?;
    let wrong = || format!("{file} is no answer with a status, lines of a head and an empty line");
    let (head, body) = text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n")).ok_or_else(wrong)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse::<u64>().ok());
    let mut entries = vec![("status".to_owned(), Value::Integer(status.ok_or_else(wrong)?))];
    let mut headers: Vec<(String, Value)> = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let value = Value::Text(braces(value.trim()));
        match name.to_ascii_lowercase().as_str() {
            // They are written anew.
            "content-length" | "connection" | "transfer-encoding" | "keep-alive" => {}
            "content-type" if body.is_empty() => {}
            "content-type" => entries.push(("content_type".to_owned(), value)),
            _ => match headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((_, Value::List(list))) => list.push(value),
                Some((_, one)) => *one = Value::List(vec![one.clone(), value]),
                None => headers.push((name.to_owned(), value)),
            },
        }
    }
    if !body.is_empty() {
        entries.push(("body".to_owned(), Value::Text(braces(body))));
    }
    if !headers.is_empty() {
        entries.push(("headers".to_owned(), Value::Table(headers)));
    }
    Ok(Value::Table(entries))
}

impl Answer<'_> {
    /// An answer of its own.
    fn respond(self, status: u64, denies: bool) -> Made {
        let mut entries = Vec::new();
        if status != 200 {
            entries.push(("status".to_owned(), Value::Integer(status)));
        }
        if let Some((key, text, _)) = self.content {
            entries
                .extend(self.content_type.map(|word| ("content_type".to_owned(), Value::text(&word.text))));
            entries.push((key.to_owned(), Value::Text(text)));
        }
        if !self.headers.is_empty() {
            entries.push(("headers".to_owned(), Value::Table(self.headers)));
        }
        entries.extend(denies.then(|| ("denies".to_owned(), Value::Flag(true))));
        let short = entries.iter().all(|(key, _)| key == "status");
        let value = if short { Value::Integer(status) } else { Value::Table(entries) };
        Made::Rule { does: vec![("respond".to_owned(), value)], note: None }
    }
}

pub(super) fn deny(call: &Call<'_>) -> Result<Made, Fault> {
    let answer = read(call)?;
    if let Some(mut whole) = answer.whole {
        refuse(&mut whole);
        return Ok(Made::Rule { does: vec![("respond".to_owned(), whole)], note: None });
    }
    let status = answer.status.unwrap_or(if call.is_response() { 502 } else { 403 });
    if answer.content.is_none() && answer.headers.is_empty() {
        return Ok(page(status, true));
    }
    Ok(answer.respond(status, true))
}

/// Makes a refusal of an answer.
fn refuse(answer: &mut Value) {
    if let Value::Table(entries) = answer {
        entries.push(("denies".to_owned(), Value::Flag(true)));
    }
}

/// The page of a status, in the place of what is refused, or as an answer like others.
fn page(status: u64, denies: bool) -> Made {
    // Ours are of errors, and those of passwords name what is asked for.
    let (reason, text) = match status {
        200 => ("OK", "Service ready."),
        401 | 407 => ("Unauthorized", "You need a valid user and password to access this content."),
        _ if denies => return Made::Rule { does: vec![("deny".into(), Value::Integer(status))], note: None },
        _ => {
            let page = Value::table([("status", Value::Integer(status)), ("page", Value::Flag(true))]);
            return Made::Rule { does: vec![("respond".into(), page)], note: None };
        }
    };
    let body = format!("<html><body><h1>{status} {reason}</h1>\n{text}\n</body></html>\n");
    let entries = [
        ("status", Value::Integer(status)),
        ("content_type", Value::text("text/html")),
        ("body", Value::Text(body)),
        ("headers", Value::table([("Cache-Control", Value::text("no-cache"))])),
    ];
    let mut answer = Value::table(entries);
    if denies {
        refuse(&mut answer);
    }
    Made::Rule { does: vec![("respond".into(), answer)], note: None }
}

pub(super) fn tarpit(call: &Call<'_>) -> Result<Made, Fault> {
    let answer = read(call)?;
    if answer.whole.is_some() {
        return Err("who was in the tarpit gets the page of the status, without one of its own".into());
    }
    if let Some((_, _, word)) = answer.content {
        return Err(Fault::at(
            word,
            "who was in the tarpit gets the page of the status, without a text of its own",
        ));
    }
    let status = answer.status.unwrap_or(500);
    Ok(Made::Rule { does: vec![("tarpit".into(), Value::Integer(status))], note: None })
}

/// `return`
pub(super) fn answer(call: &Call<'_>) -> Result<Made, Fault> {
    let answer = read(call)?;
    let status = answer.status.unwrap_or(200);
    if let Some(whole) = answer.whole {
        return Ok(Made::Rule { does: vec![("respond".to_owned(), whole)], note: None });
    }
    if answer.is_page {
        return Ok(page(status, false));
    }
    Ok(answer.respond(status, false))
}
