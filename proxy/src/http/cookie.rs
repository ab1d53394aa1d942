//! Cookies as far as persistence needs them: finding one cookie in a request, taking it out without touching the
//! others, and the cookie that a response sets (RFC 6265).
//!
//! ```text
//! Cookie: A=1; SRV=app1; B=2 ── CookiePolicy::read ──> Persisted: the server, plain data, kept for the response
//!                            └─ edit_request ──> Cookie: A=1; B=2
//! Set-Cookie ... <── edit_response(Persisted, the server that answered)
//! ```
//! A name is compared byte for byte and whole: `XSRV`, `SRVx` and `srv` are other cookies than `SRV`. A comma separates
//! nothing, as in browsers. What stands in a quoted string that begins a value and ends it is part of that value.

mod date;
mod letters;
mod pass;
mod plain;
mod policy;

pub(crate) use self::{
    letters::{Done, Seen},
    pass::{pass_request, pass_response},
    plain::{is_plain, plain},
    policy::{CookiePolicy, Persisted},
};

/// What stands between two semicolons of a Cookie line: a cookie, or something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Crumb<'v> {
    /// Without white space around it.
    text: &'v [u8],
    /// Up to its `=`; all of it if there is none.
    pub(super) name: &'v [u8],
    /// Behind its `=`.
    pub(super) value: Option<&'v [u8]>,
}

impl<'v> Crumb<'v> {
    fn new(text: &'v [u8]) -> Self {
        let text = text.trim_ascii();
        match memchr::memchr(b'=', text) {
            Some(at) => {
                Self { text, name: text[..at].trim_ascii(), value: Some(text[at + 1..].trim_ascii()) }
            }
            None => Self { text, name: text, value: None },
        }
    }

    /// RFC 2965 §3.3.4: `$Version` at the start of a line, or `$Path`, `$Domain` and `$Port` of the cookie before it.
    fn is_attribute(&self) -> bool {
        self.name.first() == Some(&b'$')
    }

    /// The value, if this is the cookie called `name`.
    fn value_of(&self, name: &[u8]) -> Option<&'v [u8]> {
        self.value.filter(|_| self.name == name)
    }
}

/// The crumbs of a Cookie line, in their order; none is empty.
pub(super) fn crumbs(mut line: &[u8]) -> impl Iterator<Item = Crumb<'_>> {
    std::iter::from_fn(move || {
        loop {
            if line.is_empty() {
                return None;
            }
            let end = crumb_end(line);
            let crumb = Crumb::new(&line[..end]);
            line = line.get(end + 1..).unwrap_or_default();
            if !crumb.text.is_empty() {
                return Some(crumb);
            }
        }
    })
}

/// The crumbs of a Cookie line for every reader: where a quoted value holds semicolons, also what those see who split at
/// each of them (RFC 6265 §4.2.1 has no quoted strings that could).
pub(super) fn crumbs_for_all(line: &[u8]) -> impl Iterator<Item = Crumb<'_>> {
    crumbs(line).flat_map(|crumb| {
        let holds_some = memchr::memchr(b';', crumb.text).is_some();
        let inner = holds_some.then(|| crumb.text.split(|&byte| byte == b';').map(Crumb::new));
        std::iter::once(crumb).chain(inner.into_iter().flatten().filter(|inner| !inner.text.is_empty()))
    })
}

/// Where the first crumb of `line` ends: at a semicolon or at the end.
fn crumb_end(line: &[u8]) -> usize {
    let semicolon = memchr::memchr(b';', line).unwrap_or(line.len());
    let Some(equals) = memchr::memchr(b'=', &line[..semicolon]) else { return semicolon };
    let value = &line[equals + 1..];
    let blank = value.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    quoted_end(&value[blank..]).map_or(semicolon, |end| equals + 1 + blank + end)
}

/// Where a value ends that is one quoted string and nothing else: RFC 2109's, which may hold semicolons. `None` for any
/// other, so that a stray quote hides nothing.
fn quoted_end(value: &[u8]) -> Option<usize> {
    if value.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        match value.get(at)? {
            b'\\' => at += 2,
            b'"' => break,
            _ => at += 1,
        }
    }
    let rest = &value[at + 1..];
    let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    matches!(rest.get(blank), None | Some(b';')).then_some(at + 1 + blank)
}

/// Writes `line` without the cookies called `name` and their attributes; nothing at all if no other cookie is left.
/// False if it has none.
fn remove(line: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let mut is_removed = false;
    let mut is_found = false;
    let mut has_others = false;
    for crumb in crumbs(line) {
        if !crumb.is_attribute() {
            is_removed = crumb.value_of(name).is_some();
            is_found |= is_removed;
            has_others |= !is_removed;
        }
        if !is_removed {
            put_crumb(&[crumb.text], out);
        }
    }
    if !has_others {
        out.clear();
    }
    is_found
}

/// Writes `line` with every value of the cookie called `name` without its prefix up to the first `delimiter`. False if
/// no value has one.
fn strip_prefix(line: &[u8], name: &[u8], delimiter: u8, out: &mut Vec<u8>) -> bool {
    let mut is_found = false;
    for crumb in crumbs(line) {
        let split = crumb.value_of(name).and_then(|value| split_at(value, delimiter));
        match split {
            Some((_, value)) => {
                is_found = true;
                put_crumb(&[name, b"=", value], out);
            }
            None => put_crumb(&[crumb.text], out),
        }
    }
    is_found
}

fn put_crumb(pieces: &[&[u8]], out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.extend_from_slice(b"; ");
    }
    for piece in pieces {
        out.extend_from_slice(piece);
    }
}

fn split_at(bytes: &[u8], delimiter: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(delimiter, bytes)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The place of the value in a Set-Cookie line, if that sets the cookie called `name` (RFC 6265 §5.2).
fn set_value(line: &[u8], name: &[u8]) -> Option<std::ops::Range<usize>> {
    let pair = &line[..memchr::memchr(b';', line).unwrap_or(line.len())];
    let equals = memchr::memchr(b'=', pair)?;
    if pair[..equals].trim_ascii() != name {
        return None;
    }
    let value = &pair[equals + 1..];
    let start = equals + 1 + (value.len() - value.trim_ascii_start().len());
    Some(start..start + value.trim_ascii().len())
}

#[cfg(test)]
mod tests;
