//! `respond`, as written.

use super::action::{Action, check_name};
use crate::config::reader::{At, Fields, Value};

/// What follows the head of an answer.
#[derive(Debug)]
pub(crate) enum Content {
    Empty,
    /// That of the status.
    Page,
    Body(At<String>),
    /// The file, as written.
    File(At<String>),
}

const EXPECTED: &str = "a status or a table, as in { status = 200, body = \"ok\" }";
const HEADERS: &str = "a table of names and texts, as in { \"X-Name\" = \"value\" }";

/// A status, or `{ status = .., body = .. }`.
pub(super) fn respond(value: &Value<'_>) -> Option<Action> {
    if value.is_integer() {
        let status = status(value)?;
        return Some(Action::Respond {
            status,
            kind: None,
            headers: Vec::new(),
            content: Content::Empty,
            denies: false,
        });
    }
    let mut fields = value.fields("`respond`".into(), EXPECTED)?;
    fields.span = value.span;
    let report = fields.report;
    let status = fields.value("status").and_then(|value| status(&value)).unwrap_or(200);
    let kind = fields.value("content_type").and_then(|value| {
        value.parsed("a type, as in \"text/html; charset=utf-8\"", |text| match media_type(text) {
            true => Ok(text.to_owned()),
            false => Err("is no type of content; write one as in \"text/plain\"".to_owned()),
        })
    });
    let headers = headers(
        &fields,
        ("content-type", "the type of the content is written as `content_type`, outside of headers"),
    );
    let body = fields.string("body", "a text");
    let file = fields.string("file", "the path of a file, as in \"pages/closed.html\"");
    let page = fields.boolean("page").filter(|page| page.value);
    let denies = fields.boolean("denies").is_some_and(|denies| denies.value);
    let is_read_whole = fields.is_read_whole();
    fields.finish(|_| None);
    let content = match (body, file, &page) {
        (Some(_), Some(at), _) | (Some(at), None, Some(_)) | (None, Some(at), Some(_)) => {
            report.error(at.span, "`respond` has one of body, file and page; remove the others");
            return None;
        }
        (Some(body), None, None) => Content::Body(body),
        (None, Some(file), None) => Content::File(file),
        (None, None, Some(_)) => Content::Page,
        (None, None, None) => Content::Empty,
    };
    if let Some(page) = page {
        if !(400..600).contains(&status) || matches!(status, 401 | 407) {
            let message = format!(
                "there is no page of {status}: write a status of 400..599, and neither 401 nor 407, or a body"
            );
            report.error(page.span, message);
        } else if let Some((_, text)) = headers.first() {
            report.error(
                text.span,
                "the page of a status has no headers of a rule's; write a body, or remove them",
            );
        }
    }
    match (&content, &kind) {
        (Content::Body(text) | Content::File(text), _) if !lb_proxy::rules::Respond::has_content(status) => {
            let message =
                format!("an answer with status {status} has no content; remove it or write another status");
            report.error(text.span, message);
        }
        (Content::Empty | Content::Page, Some(kind)) if is_read_whole => {
            report.error(kind.span, "content_type is that of body or file, and there is none");
        }
        _ => {}
    }
    Some(Action::Respond { status, kind: kind.map(|kind| kind.value), headers, content, denies })
}

fn status(value: &Value<'_>) -> Option<u16> {
    u16::try_from(value.integer(200..=599)?.value).ok()
}

/// RFC 9110 §8.3.1, roughly: enough to tell a type from a name of a file.
fn media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end();
    let is_type = essence.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    is_type && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// `elsewhere` is the header that is written in another way, and how.
pub(super) fn headers(fields: &Fields<'_>, elsewhere: (&str, &str)) -> Vec<(String, At<String>)> {
    let entries = fields.value("headers").and_then(|value| value.pairs(HEADERS)).unwrap_or_default();
    let mut headers = Vec::new();
    for (name, value) in entries {
        if name.value.eq_ignore_ascii_case(elsewhere.0) {
            fields.report.error(name.span, elsewhere.1);
            continue;
        }
        let is_fine = check_name(&name, fields);
        let texts = value.one_or_list();
        let texts =
            texts.iter().filter_map(|value| value.string("a text, or a list of texts for several lines"));
        if is_fine {
            headers.extend(texts.map(|text| (name.value.clone(), text)));
        }
    }
    headers
}
