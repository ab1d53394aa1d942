//! What is right: how what was decided of a connection, what a server understood of it and what its client got belong together.

use lb_proxy::{
    config::CookieMode,
    http::head::{MAX_FIELDS, MAX_LINE},
};
use zlib_rs::{Inflate, InflateFlush};

use crate::{
    client::{Asked, Heard},
    oracle::{self, Field, Request, Response},
    stage::{self, COOKIE, Kind},
};

/// A request that is whole, as a server should understand it.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) request: Request,
    pub(crate) asked: Asked,
    /// Of its head, as it is sent on.
    pub(crate) length: usize,
}

/// The number that a server gave its answer.
pub(crate) fn number(response: &Response) -> Option<u64> {
    let [text] = response.values("x-serial")[..] else { return None };
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Request by request: what a server understood is what was decided, and the client got its answer.
pub(crate) fn walk(
    kind: Kind,
    decided: &[Decided],
    own: &[(u64, Request)],
    heard: &Heard,
) -> Result<(), String> {
    let mut arrived = own.iter();
    let mut is_open = true;
    for (wanted, response) in decided.iter().zip(&heard.responses) {
        match number(response) {
            Some(number) => {
                let Some((served, request)) = arrived.next() else {
                    return Err(format!("answer {number} to nothing of its own"));
                };
                if *served != number {
                    return Err(format!("answer {number} instead of {served}"));
                }
                same(kind, request, wanted)?;
                from_server(kind, response, wanted.asked)?;
            }
            None if is_refused(kind, wanted, response.status) => {}
            None => return Err(format!("{response:?} to {wanted:?}")),
        }
        is_open = !response.closes() && !wanted.asked.is_old;
    }
    if heard.is_reset {
        // What was decided, as far as it came.
        for ((_, request), wanted) in arrived.zip(&decided[heard.responses.len()..]) {
            same(kind, request, wanted)?;
        }
        return Ok(());
    }
    if let Some(more) = arrived.next() {
        return Err(format!("a server got {more:?} besides"));
    }
    if is_open && heard.responses.len() < decided.len() {
        return Err(format!("{} of {} were answered", heard.responses.len(), decided.len()));
    }
    last_words(&heard.rest, is_open)
}

/// Rules have refused it, or made its head too large.
fn is_refused(kind: Kind, wanted: &Decided, status: u16) -> bool {
    let is_large = wanted.length + 200 > MAX_LINE || wanted.request.fields.len() + 2 > MAX_FIELDS;
    kind.has_rules() && (status == 403 || status == 500 && is_large)
}

/// Behind all answers comes one at most, which ends the connection and is no server's.
fn last_words(rest: &[u8], is_open: bool) -> Result<(), String> {
    if rest.is_empty() {
        return Ok(());
    }
    let wrong = || format!("the last words are {}", rest.escape_ascii());
    for to_head in [false, true] {
        if let Ok(Some((response, length))) = oracle::response(rest, to_head, false)
            && length == rest.len()
        {
            let is_ours = response.status >= 400 && number(&response).is_none() && response.closes();
            return if is_open && is_ours { Ok(()) } else { Err(wrong()) };
        }
    }
    Err(wrong())
}

/// A server understood what was decided, but for what this configuration changes on the way.
fn same(kind: Kind, got: &Request, wanted: &Decided) -> Result<(), String> {
    let expected = Request { fields: expected(kind, &wanted.request.fields), ..wanted.request.clone() };
    let got = Request { fields: comparable(kind, &got.fields), ..got.clone() };
    if got == expected { Ok(()) } else { Err(format!("decided {expected:?}, a server understood {got:?}")) }
}

fn expected(kind: Kind, fields: &[Field]) -> Vec<Field> {
    let mut fields = fields.to_vec();
    if kind.has_rules() {
        fields.retain(|(name, _)| name != b"x-rule");
        fields.push((b"x-rule".to_vec(), b"ruled".to_vec()));
    }
    if kind.cookie() == Some(CookieMode::Insert) {
        for (name, value) in &mut fields {
            if name == b"cookie" {
                *value = without_ours(value);
            }
        }
    }
    comparable(kind, &fields)
}

/// The pairs of a Cookie line but ours, and what belongs to it: `$Path` and the like behind a pair (RFC 2965 §3.3.4).
fn without_ours(line: &[u8]) -> Vec<u8> {
    let (mut is_ours, mut found, mut others) = (false, false, false);
    let mut kept = pairs(line);
    kept.retain(|pair| {
        if !pair.starts_with(b"$") {
            let equals = pair.iter().position(|&byte| byte == b'=');
            is_ours = equals.is_some_and(|at| pair[..at].trim_ascii() == COOKIE.as_bytes());
            (found, others) = (found || is_ours, others || !is_ours);
        }
        !is_ours
    });
    if found && !others { Vec::new() } else { kept.join(&b"; "[..]) }
}

/// Without what says nothing. A value that is one quoted string may have semicolons in it (RFC 2109 §4.1).
fn pairs(line: &[u8]) -> Vec<&[u8]> {
    let (mut pairs, mut rest) = (Vec::new(), line);
    while !rest.is_empty() {
        let ends = (0..=rest.len()).filter(|&at| rest.get(at).is_none_or(|&byte| byte == b';'));
        let first = ends.clone().next().unwrap_or(rest.len());
        let value = rest[..first].iter().position(|&byte| byte == b'=').map(|at| at + 1);
        let quoted = value.and_then(|at| ends.clone().find(|&end| is_quoted(rest[at..end].trim_ascii())));
        let end = quoted.unwrap_or(first);
        pairs.push(rest[..end].trim_ascii());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    pairs.retain(|pair| !pair.is_empty());
    pairs
}

/// One quoted string and nothing else.
fn is_quoted(value: &[u8]) -> bool {
    let Some(mut rest) = value.strip_prefix(b"\"") else { return false };
    loop {
        match rest {
            [b'\\', _, behind @ ..] => rest = behind,
            [b'"'] => return true,
            [] | [b'"' | b'\\', ..] => return false,
            [_, behind @ ..] => rest = behind,
        }
    }
}

/// In the order of their names, and Cookie lines in one form.
fn comparable(kind: Kind, fields: &[Field]) -> Vec<Field> {
    let mut fields = fields.to_vec();
    fields.retain_mut(|(name, value)| match kind.cookie() {
        Some(mode) if name == b"cookie" => {
            *value = pairs(value).join(&b"; "[..]);
            // What is in front of a value is taken away, wherever that is.
            mode != CookieMode::Prefix && !value.is_empty()
        }
        _ => true,
    });
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields
}

/// The client got what the server sent, in the form that its configuration gives it.
pub(crate) fn from_server(kind: Kind, response: &Response, asked: Asked) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what} of {response:?}"));
    let number = number(response).expect("a server's");
    if response.status != 200 {
        return wrong("the status");
    }
    let codings = response.values("content-encoding");
    let content = match codings[..] {
        [] => response.content.clone(),
        [b"gzip"] if kind.compresses() => inflated(&response.content, 16 + 15)?,
        [b"deflate"] if kind.compresses() => inflated(&response.content, 15)?,
        _ => return wrong("the coding"),
    };
    if !asked.to_head && content != stage::content(number) {
        return wrong("the content");
    }
    let said: &[&[u8]] = if kind.has_rules() { &[b"ruled"] } else { &[] };
    if response.values("x-said") != said {
        return wrong("the rules");
    }
    // The server sets one for everybody; ours is beside it, in its place, or in front of it.
    let cookies = response.values("set-cookie");
    let is_as_configured = match kind.cookie() {
        None => cookies == [&b"SRV=servers; Path=/"[..]],
        Some(CookieMode::Insert) => {
            cookies.iter().all(|value| value.starts_with(b"SRV=one") || *value == b"SRV=servers; Path=/")
        }
        Some(CookieMode::Rewrite) => cookies == [&b"SRV=one; Path=/"[..]],
        _ => cookies == [&b"SRV=one~servers; Path=/"[..]],
    };
    if is_as_configured { Ok(()) } else { wrong("the cookie") }
}

fn inflated(coded: &[u8], window: u8) -> Result<Vec<u8>, String> {
    if coded.is_empty() {
        return Ok(Vec::new());
    }
    let (mut inflate, mut content) = (Inflate::new(true, window), vec![0; 4096]);
    let end = inflate.decompress(coded, &mut content, InflateFlush::Finish);
    if !matches!(end, Ok(zlib_rs::Status::StreamEnd)) {
        return Err(format!("{end:?} of {}", coded.escape_ascii()));
    }
    content.truncate(usize::try_from(inflate.total_out()).unwrap());
    Ok(content)
}
