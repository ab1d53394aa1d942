//! `check.http`: a request, and what its answer has to be.

use std::ops::RangeInclusive;

use lb_proxy::config::{CheckKind, HttpCheck, HttpExpect, HttpVersion, Pattern};

use super::sequence::regex;
use crate::config::reader::{Fields, Value};

const VERSIONS: [(&str, HttpVersion); 2] =
    [("HTTP/1.0", HttpVersion::Http10), ("HTTP/1.1", HttpVersion::Http11)];

/// Fields that the check writes itself.
const OWN_FIELDS: [(&str, &str); 5] = [
    ("host", "write host = .. beside `headers`"),
    ("connection", "every check closes its connection"),
    ("content-length", "it follows from `body`"),
    ("transfer-encoding", "a check is sent with a length"),
    ("expect", "the answer is not waited for twice"),
];

/// What an answer has to be where the file doesn't say it: HAProxy's own.
const EXPECTED_STATUS: RangeInclusive<u16> = 200..=399;

const LONGEST_BODY: usize = 4096;

pub(super) fn read(fields: Fields<'_>) -> Option<CheckKind> {
    let method =
        fields.value("method").and_then(|value| value.parsed("a method, as in \"GET\" or \"HEAD\"", method));
    let method = method.map_or_else(|| "GET".to_owned(), |method| method.value);
    let path = fields.value("path").and_then(|value| value.parsed("a path, as in \"/health\"", path));
    let mut check = HttpCheck::new(method, path.map_or_else(|| "/".to_owned(), |path| path.value));
    if let Some(version) = fields.choice("version", &VERSIONS) {
        check.version = version.value;
    }
    let expected = "the value of Host, as in \"example.com\"";
    check.host = fields.value("host").and_then(|value| value.parsed(expected, host)).map(|host| host.value);
    check.headers = fields.value("headers").map(|value| headers(&value)).unwrap_or_default();
    check.body = fields.value("body").and_then(|value| value.parsed("a text", body)).map(|body| body.value);
    let read_expect = |key, example| fields.fields(key, example).map(expect).unwrap_or_default();
    check.expect = read_expect("expect", "a table, as in expect = { status = [200, \"300-399\"] }");
    if check.expect.status.is_empty() {
        check.expect.status.push(EXPECTED_STATUS);
    }
    check.refuse = read_expect("expect_not", "a table, as in expect_not = { string = \"maintenance\" }");
    if check.method == "HEAD" && (check.expect.content.is_some() || check.refuse.content.is_some()) {
        let at = fields.value("method").map_or(fields.span, |value| value.span);
        fields.report.error(at, "the answer to HEAD has no content to look at; write method = \"GET\"");
    }
    fields.finish(|key| match key {
        "uri" => Some("write path = \"/health\"".into()),
        "status" | "string" | "regex" => Some(format!("write expect = {{ {key} = .. }}")),
        _ => None,
    });
    Some(CheckKind::Http(Box::new(check)))
}

fn expect(fields: Fields<'_>) -> HttpExpect {
    let status = fields.value("status").map(|value| statuses(value)).unwrap_or_default();
    let string = fields.value("string").and_then(|value| value.string("a text to look for"));
    let string = string.map(|string| (string.span, Pattern::Bytes(string.value.into_bytes())));
    let regex = fields.value("regex").and_then(|value| Some((value.span, Pattern::Regex(regex(&value)?))));
    if let (Some((span, _)), Some(_)) = (&regex, &string) {
        fields.report.error(*span, "one of `string` and `regex`, not both; remove one");
    }
    if let Some((span, Pattern::Bytes(bytes))) = &string
        && bytes.is_empty()
    {
        fields.report.error(*span, "an empty text is in every answer");
    }
    fields.finish(|_| None);
    HttpExpect { status, content: string.or(regex).map(|(_, pattern)| pattern) }
}

/// `200`, `"300-399"`, or a list of them.
fn statuses(value: Value<'_>) -> Vec<RangeInclusive<u16>> {
    if value.is_empty_list() {
        value.mismatch("at least one status, as in [200, \"300-399\"]");
    }
    value.one_or_list().iter().filter_map(status).collect()
}

fn status(value: &Value<'_>) -> Option<RangeInclusive<u16>> {
    if value.as_str().is_none() {
        let status = u16::try_from(value.integer(100..=599)?.value).ok()?;
        return Some(status..=status);
    }
    let parse = |text: &str| -> Result<RangeInclusive<u16>, String> {
        let hint = || "is no status; write 200, or \"300-399\" for a range".to_owned();
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| (100..=599).contains(number));
            number.filter(|_| text.len() == 3).ok_or_else(hint)
        };
        let (low, high) = (number(low)?, number(high)?);
        if low > high {
            Err(format!("ends before it begins; write \"{high}-{low}\""))
        } else {
            Ok(low..=high)
        }
    };
    value.parsed("a status or a range, as in 200 or \"300-399\"", parse).map(|range| range.value)
}

fn headers(value: &Value<'_>) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in value.pairs("a table, as in headers = { X-Check = \"1\" }").unwrap_or_default() {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.value.is_empty() || !name.value.bytes().all(token) {
            value.report_at(name.span, &format!("`{}` is no name of a field", name.value.escape_debug()));
            continue;
        }
        if let Some((_, why)) = OWN_FIELDS.iter().find(|(own, _)| name.value.eq_ignore_ascii_case(own)) {
            value.report_at(name.span, &format!("a check sets `{}` itself; {why}", name.value));
            continue;
        }
        let parse = |text: &str| {
            let fine = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
            if fine && text.trim() == text && text.len() <= 1024 {
                return Ok(text.to_owned());
            }
            Err("is no value of a field: printable ASCII, no space at its ends, at most 1024 bytes".into())
        };
        if let Some(text) = value.parsed("the value of a field", parse) {
            headers.push((name.value, text.value));
        }
    }
    headers
}

/// RFC 9110 §9.1: a token. Methods that are no question are left out.
fn method(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphabetic()) || text.len() > 20 {
        return Err("is no method; write \"GET\", \"HEAD\" or \"OPTIONS\"".into());
    }
    if text != upper {
        return Err(format!("is no method, case counts; write \"{upper}\""));
    }
    if text == "CONNECT" {
        return Err("opens a tunnel, which is no check; write \"GET\"".into());
    }
    Ok(upper)
}

fn body(text: &str) -> Result<String, String> {
    if text.len() > LONGEST_BODY {
        return Err(format!("is longer than {LONGEST_BODY} bytes"));
    }
    Ok(text.to_owned())
}

/// Origin-form (RFC 9112 §3.2.1).
pub(in crate::config::raw::proxy) fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("does not begin with `/`; write \"/{}\"", text.escape_debug()));
    }
    match text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        Some(bad) => Err(format!("has the character `{}`; encode it as %XX", bad.escape_debug())),
        None if text.len() > 2048 => Err("is longer than 2048 bytes".into()),
        None => Ok(text.to_owned()),
    }
}

/// uri-host [ ":" port ] (RFC 9110 §7.2).
fn host(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]%".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        return Err("is no value of Host; write a name, as in \"example.com\"".into());
    }
    Ok(text.to_owned())
}
