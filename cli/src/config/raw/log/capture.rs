//! `capture`: what lines have of headers and cookies.

use lb_proxy::config::{Capture, CapturedCookie, CapturedHeader};

use crate::config::{
    raw::proxy::cookie_name,
    reader::{At, Fields, Value},
};

const EXPECTED: &str = "a table, as in { request_headers = [\"Host\"], cookie = \"SESSION\" }";
const HEADER: &str = "a name, as in \"Host\", or a table, as in { name = \"User-Agent\", length = 128 }";
const COOKIE: &str = "a name, as in \"SESSION\", or a table, as in { prefix = \"ASPSESSION\", length = 32 }";

/// Bytes, where the file says nothing.
const LENGTH: u16 = 64;

pub(super) fn read(fields: &Fields<'_>) -> Option<At<Capture>> {
    let value = fields.value("capture")?;
    let fields = value.fields("`capture`".into(), EXPECTED)?;
    let capture = Capture {
        request_headers: headers(&fields, "request_headers"),
        response_headers: headers(&fields, "response_headers"),
        cookie: fields.value("cookie").and_then(|value| cookie(&value)),
    };
    fields.finish(|_| None);
    Some(At::new(capture, value.span))
}

fn headers(fields: &Fields<'_>, key: &'static str) -> Vec<CapturedHeader> {
    let mut headers: Vec<CapturedHeader> = Vec::new();
    for value in fields.value(key).map(Value::one_or_list).unwrap_or_default() {
        let Some(header) = header(&value) else { continue };
        if headers.iter().any(|known| known.name.eq_ignore_ascii_case(&header.name)) {
            value.wrong("is there twice; take one out");
        }
        headers.push(header);
    }
    headers
}

fn header(value: &Value<'_>) -> Option<CapturedHeader> {
    if value.as_str().is_some() {
        return Some(CapturedHeader { name: value.parsed(HEADER, header_name)?.value, length: LENGTH });
    }
    let fields = value.fields("a captured header".into(), HEADER)?;
    fields.require("name", "name = \"Host\"");
    let name = fields.value("name").and_then(|name| name.parsed("the name of a header", header_name));
    let length = length(&fields);
    fields.finish(|_| None);
    Some(CapturedHeader { name: name?.value, length })
}

fn header_name(text: &str) -> Result<String, String> {
    if lb_proxy::http::head::is_token(text.as_bytes()) {
        Ok(text.to_owned())
    } else {
        Err("is no name of a header".to_owned())
    }
}

fn cookie(value: &Value<'_>) -> Option<CapturedCookie> {
    if value.as_str().is_some() {
        let name = value.parsed(COOKIE, cookie_name)?.value;
        return Some(CapturedCookie { name, is_prefix: false, length: LENGTH });
    }
    let fields = value.fields("`cookie` of `capture`".into(), COOKIE)?;
    let read = |key| Some((fields.value(key)?.parsed("the name of a cookie", cookie_name), key == "prefix"));
    let named: Vec<_> = ["name", "prefix"].into_iter().filter_map(read).collect();
    let length = length(&fields);
    let cookie = match named.as_slice() {
        [(name, is_prefix)] => name.as_ref().map(|name| CapturedCookie {
            name: name.value.clone(),
            is_prefix: *is_prefix,
            length,
        }),
        [] => {
            let message = "no cookie is named; write name = \"SESSION\" or prefix = \"ASPSESSION\"";
            fields.report.error(value.span, message);
            None
        }
        _ => {
            fields.report.error(value.span, "`name` and `prefix` exclude each other; take one out");
            None
        }
    };
    fields.finish(|_| None);
    cookie
}

fn length(fields: &Fields<'_>) -> u16 {
    let length = fields.measured("length", 1..=4_096, "bytes").and_then(|at| u16::try_from(at.value).ok());
    length.unwrap_or(LENGTH)
}
