//! A head that rules may look at and change, before it is written for the other side.
//!
//! ```text
//! Head (borrowed) ── Message::of_request ──> look, set, add, remove ──> Message::encode_request ──> head for the server
//! ```
//! Made only where there are rules: without them a head is written as it was parsed. Nothing is copied until it is
//! changed; what is changed is written behind the received bytes, so to speak: into a scratch space that a worker
//! lends, addressed as if it followed them. Fields that end here because `Connection` names them are gone from the
//! start: what a rule sees is what the other side will see, and a client can't have a field removed that a rule adds. Nor
//! one that a rule looks at, whoever has set it (`rules::UsedFields`).
//!
//! An edit can't break framing: names that decide it are refused where rules are read ([`is_editable`]), and a value
//! has no control byte when it arrives in a line.

mod facts;
mod remembered;

pub(crate) use self::remembered::Remembered;

use memchr::memchr;

use super::{
    cookie::{crumbs, crumbs_for_all, is_plain, plain},
    head::{
        Field, Fields, Line, MAX_HEAD, Malformed, Span, Version, is_token,
        name::Name,
        request::{self, Request},
        response::{self, Form, Response},
    },
    headers::{Options, Sink},
    target::Target,
};
use crate::{hex, rules::UsedFields};

/// Bytes of edits in one head.
pub const MAX_EDITS: usize = u16::MAX as usize - MAX_HEAD;

/// A request's or a response's head that can be changed.
#[derive(Debug)]
pub struct Message<'m> {
    received: &'m [u8],
    scratch: &'m mut Vec<u8>,
    fields: &'m mut Fields,
    start: Start,
}

/// See [`Message::mark`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark(usize);

impl Mark {
    fn is_before(self, line: &Line) -> bool {
        line.edited_at().is_some_and(|at| at >= self.0)
    }
}

#[derive(Clone, Copy, Debug)]
enum Start {
    /// The target is in origin form, or `*`.
    Request {
        method: Span,
        target: Span,
        version: Version,
    },
    Response {
        status: u16,
        reason: Span,
    },
}

/// The edits of one head need more than [`MAX_EDITS`] bytes or more lines than are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the changed head is too large")]
pub struct TooLarge;

impl From<TooLarge> for Malformed {
    fn from(_: TooLarge) -> Self {
        Self::FailedRewrite
    }
}

/// May a rule set, add or remove the field called `name`? Not if it is about one connection or decides how content is
/// framed: those are written anew for each hop (RFC 9110 §7.6.1, RFC 9112 §6).
pub fn is_editable(name: &[u8]) -> bool {
    let id = Name::of(name);
    is_token(name) && !id.is_hop_by_hop() && !matches!(id, Name::ContentLength | Name::Expect)
}

impl<'m> Message<'m> {
    /// The request that `head` is; `scratch` is emptied. The target is in origin form from now on, and Host is what it
    /// named (RFC 9112 §3.2.2). Fields that are `used` stay, even if `Connection` names them.
    ///
    /// # Errors
    /// Only if an absolute target does not fit again.
    pub(crate) fn of_request(
        head: request::Head<'m>,
        request: &Request,
        used: &UsedFields,
        scratch: &'m mut Vec<u8>,
    ) -> Result<Self, TooLarge> {
        scratch.clear();
        let (received, fields, method, target) = head.into_parts();
        let mut message = Self {
            received,
            scratch,
            fields,
            start: Start::Request { method, target, version: request.version },
        };
        message.drop_named(|name| used.has(name));
        if let Ok(absolute @ Target::Absolute { authority, .. }) =
            Target::parse(target.of(received), request.method)
        {
            let start = message.scratch.len();
            absolute.encode_origin_form(message.scratch);
            let target = message.written(start)?;
            message.start = Start::Request { method, target, version: request.version };
            message.set(b"Host", authority)?;
        }
        Ok(message)
    }

    /// The response that `head` is; `scratch` is emptied.
    pub fn of_response(head: response::Head<'m>, scratch: &'m mut Vec<u8>) -> Self {
        scratch.clear();
        let (received, fields, status, reason) = head.into_parts();
        let mut message = Self { received, scratch, fields, start: Start::Response { status, reason } };
        message.drop_named(|_| false);
        message
    }

    /// The method; empty for a response.
    pub fn method(&self) -> &[u8] {
        match self.start {
            Start::Request { method, .. } => self.text(method),
            Start::Response { .. } => b"",
        }
    }

    /// The version of a request, `2.0`, `1.1` or `1.0`; of a response `1.1`, which is what its client gets.
    pub(super) fn version(&self) -> &'static str {
        match self.start {
            Start::Request { version: Version::Http10, .. } => "1.0",
            Start::Request { version: Version::Http2, .. } => "2.0",
            Start::Request { version: Version::Http11, .. } | Start::Response { .. } => "1.1",
        }
    }

    /// Path and query, or `*`; empty for a response.
    pub fn target(&self) -> &[u8] {
        match self.start {
            Start::Request { target, .. } => self.text(target),
            Start::Response { .. } => b"",
        }
    }

    /// The target up to its `?`.
    pub fn path(&self) -> &[u8] {
        split_query(self.target()).0
    }

    /// The target behind its first `?`; `None` if it has none.
    pub fn query(&self) -> Option<&[u8]> {
        split_query(self.target()).1
    }

    /// Host, as it was sent: maybe with a port.
    pub fn host(&self) -> Option<&[u8]> {
        self.fields().find(|field| field.id == Name::Host).map(|field| field.value)
    }

    /// 100..=999; 0 for a request.
    pub fn status(&self) -> u16 {
        match self.start {
            Start::Request { .. } => 0,
            Start::Response { status, .. } => status,
        }
    }

    /// The reason phrase; empty for a request.
    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Request { .. } => b"",
            Start::Response { reason, .. } => self.text(reason),
        }
    }

    /// The field lines, in their order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.fields.lines().iter().map(|line| line.field(|span| self.text(span)))
    }

    /// The value of the first line called `name`, without regard to case.
    pub fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The values of all lines called `name`, in their order.
    pub fn all<'s>(&'s self, name: &'s [u8]) -> impl Iterator<Item = &'s [u8]> + Clone {
        self.fields().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// The cookies of a request, in their order (RFC 6265 §4.2.1).
    pub fn cookies(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields().filter(|field| field.id == Name::Cookie).flat_map(|field| cookies(field.value))
    }

    /// The same, and what else a server may read there that splits at every semicolon, also in quotes.
    pub(crate) fn cookies_for_all(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields().filter(|field| field.id == Name::Cookie).flat_map(|field| cookies_for_all(field.value))
    }

    /// Appends a line. Control bytes of `value` become spaces (RFC 9110 §5.5).
    ///
    /// # Errors
    /// No room for it.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), TooLarge> {
        let line = self.write_line(name, value)?;
        if self.fields.append(line) { Ok(()) } else { Err(TooLarge) }
    }

    /// Removes all lines called `name` and appends one.
    ///
    /// # Errors
    /// No room for it; then the old ones are gone all the same.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), TooLarge> {
        self.remove(name);
        self.add(name, value)
    }

    /// Removes all lines called `name`, of a request also those that a client has called nearly so: `X_User` is `X-User` to
    /// whatever makes variables of names (CGI, WSGI, PHP; RFC 3875 §4.1.18).
    pub fn remove(&mut self, name: &[u8]) {
        self.remove_unless(name, |_| false);
    }

    /// The same but for those that were written since `mark`.
    pub(super) fn remove_older(&mut self, name: &[u8], mark: Mark) {
        self.remove_unless(name, |line| mark.is_before(line));
    }

    fn remove_unless(&mut self, name: &[u8], stays: impl Fn(&Line) -> bool) {
        let is_request = self.is_request();
        let (received, scratch) = (self.received, &*self.scratch);
        self.fields.retain(|line| {
            let is_look_alike = is_request && line.is_received();
            stays(line)
                || !is_called(line.field(|span| span.of_two(received, scratch)).name, name, is_look_alike)
        });
    }

    /// This moment, among those at which lines are written.
    pub(super) fn mark(&self) -> Mark {
        Mark(self.scratch.len())
    }

    /// The value of the first line called `name` that was written since `mark`.
    pub(super) fn first_since(&self, name: &[u8], mark: Mark) -> Option<&[u8]> {
        let mut lines = self.fields.lines().iter().filter(|line| mark.is_before(line));
        lines.find_map(|line| {
            let field = line.field(|span| self.text(span));
            field.name.eq_ignore_ascii_case(name).then_some(field.value)
        })
    }

    /// Removes all lines for which `unwanted` holds.
    pub fn remove_if(&mut self, mut unwanted: impl FnMut(&Field<'_>) -> bool) {
        let (received, scratch) = (self.received, &*self.scratch);
        self.fields.retain(|line| !unwanted(&line.field(|span| span.of_two(received, scratch))));
    }

    /// Is there a header that not every program reads alike, as `X_Name` and `X.Name`?
    pub(crate) fn has_odd_names(&self) -> bool {
        self.fields().any(|field| !is_plain_name(field.name))
    }

    /// Removes all lines of such headers.
    pub(crate) fn remove_odd_names(&mut self) {
        self.remove_if(|field| !is_plain_name(field.name));
    }

    /// Gives each line called `name` (as in [`Self::remove`]) a new value: `rewrite` appends it to the empty vector, or
    /// returns false to leave the line as it is. The lines stay where they are. `work` lends the vector.
    ///
    /// # Errors
    /// No room for it.
    pub fn rewrite(
        &mut self,
        name: &[u8],
        work: &mut Vec<u8>,
        mut rewrite: impl FnMut(&[u8], &mut Vec<u8>) -> bool,
    ) -> Result<(), TooLarge> {
        for at in 0..self.fields.lines().len() {
            let line = &self.fields.lines()[at];
            let field = line.field(|span| self.text(span));
            work.clear();
            let counts = is_called(field.name, name, self.is_request() && line.is_received());
            if counts && rewrite(field.value, work) {
                let line = self.write_line(name, work)?;
                self.fields.replace(at, line);
            }
        }
        Ok(())
    }

    /// Gives a request another path; the query stays. Bytes that no path can have are percent-encoded, and a missing
    /// `/` is put in front.
    ///
    /// # Errors
    /// No room for it.
    pub fn set_path(&mut self, path: &[u8]) -> Result<(), TooLarge> {
        let query = self.query().map(<[u8]>::to_vec);
        self.set_target(path, query.as_deref())
    }

    /// Gives a request another query, or none; the path stays. `*` has none (RFC 9112 §3.2.4). Bytes that no query can have are percent-encoded.
    ///
    /// # Errors
    /// No room for it.
    pub fn set_query(&mut self, query: Option<&[u8]>) -> Result<(), TooLarge> {
        if self.target() == b"*" {
            return Ok(());
        }
        let path = self.path().to_vec();
        self.set_target(&path, query)
    }

    fn set_target(&mut self, path: &[u8], query: Option<&[u8]>) -> Result<(), TooLarge> {
        let Start::Request { method, version, .. } = self.start else { return Ok(()) };
        let start = self.scratch.len();
        if path.first() != Some(&b'/') {
            self.scratch.push(b'/');
        }
        put_encoded(path, b"?#", self.scratch);
        if let Some(query) = query {
            self.scratch.push(b'?');
            put_encoded(query, b"#", self.scratch);
        }
        let target = self.written(start)?;
        self.start = Start::Request { method, target, version };
        Ok(())
    }

    /// Gives a request another method.
    ///
    /// # Errors
    /// No room for it.
    pub(crate) fn set_method(&mut self, method: &[u8]) -> Result<(), TooLarge> {
        let Start::Request { target, version, .. } = self.start else { return Ok(()) };
        let start = self.scratch.len();
        self.scratch.extend_from_slice(method);
        self.start = Start::Request { method: self.written(start)?, target, version };
        Ok(())
    }

    /// Gives a response another status, with this reason phrase.
    ///
    /// # Errors
    /// No room for it.
    pub(crate) fn set_status(&mut self, status: u16, reason: &[u8]) -> Result<(), TooLarge> {
        if self.is_request() {
            return Ok(());
        }
        let start = self.scratch.len();
        self.scratch.extend_from_slice(reason);
        self.start = Start::Response { status, reason: self.written(start)? };
        Ok(())
    }

    /// Writes the head that a server gets. `request` is what the head meant when it was checked.
    pub fn encode_request(&self, request: &Request, hop: &request::Hop, out: &mut impl Sink) {
        let target = match self.target() {
            b"*" => Target::Asterisk,
            target => Target::Origin(target),
        };
        request::put(self.method(), &target, self.fields(), |_| false, request, hop, out);
    }

    /// Puts down the head that a client gets. `response` is what the head meant when it was checked.
    pub(crate) fn put_response(&self, response: &Response, hop: &response::Hop, form: &mut impl Form) {
        response::put(self.reason(), self.fields(), |_| false, response, hop, form);
    }

    /// RFC 9110 §7.6.1. What `stays` is not the option of whoever sent `Connection`.
    fn drop_named(&mut self, stays: impl Fn(&[u8]) -> bool) {
        let named = Options::named_list(self.fields());
        if let Some(named) = named {
            self.remove_if(|field| {
                named.iter().any(|option| option.eq_ignore_ascii_case(field.name)) && !stays(field.name)
            });
        }
    }

    fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    fn text(&self, span: Span) -> &[u8] {
        span.of_two(self.received, self.scratch)
    }

    /// What was written to the scratch space from `start` on.
    fn written(&self, start: usize) -> Result<Span, TooLarge> {
        let end = self.scratch.len();
        if end > MAX_EDITS { Err(TooLarge) } else { Ok(Span::behind(start, end)) }
    }

    fn write_line(&mut self, name: &[u8], value: &[u8]) -> Result<Line, TooLarge> {
        let start = self.scratch.len();
        self.scratch.extend_from_slice(name);
        self.scratch.extend_from_slice(b": ");
        let value_start = self.scratch.len();
        let value = value.iter().map(|&byte| match byte {
            b'\t' | b' '..=b'~' | 0x80.. => byte,
            _ => b' ',
        });
        self.scratch.extend(value);
        while self.scratch.len() > value_start && matches!(self.scratch.last(), Some(b' ' | b'\t')) {
            self.scratch.pop();
        }
        let blank =
            self.scratch[value_start..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        self.scratch.drain(value_start..value_start + blank);
        let value_end = self.scratch.len();
        self.scratch.extend_from_slice(b"\r\n");
        self.written(start)?;
        Ok(Line::canonical(
            Name::of(name),
            Span::behind(start, start + name.len()),
            Span::behind(value_start, value_end),
        ))
    }
}

/// The cookies of one line, in their order.
pub(crate) fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    crumbs(line).filter_map(|crumb| Some((crumb.name, crumb.value?)))
}

/// See [`Message::cookies_for_all`].
fn cookies_for_all(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    crumbs_for_all(line).filter_map(|crumb| Some((crumb.name, crumb.value?)))
}

/// Shows the values of the cookies called `name` until `look` returns true. False if none is called so.
fn look_at_each<'c>(
    cookies: impl Iterator<Item = (&'c [u8], &'c [u8])>,
    name: &[u8],
    look: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    let mut is_one = false;
    for (_, value) in cookies.filter(|(key, _)| *key == name) {
        is_one = true;
        if look(value) {
            break;
        }
    }
    is_one
}

/// Does `test` hold for the value of a cookie called `name`, as it was sent or as a server may understand it? `None` if
/// none is called so.
fn any_of<'c>(
    cookies: impl Iterator<Item = (&'c [u8], &'c [u8])>,
    name: &[u8],
    test: &mut dyn FnMut(&[u8]) -> bool,
) -> Option<bool> {
    let mut values = cookies.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let mut is_met = |value: &[u8]| {
        test(value)
            || !is_plain(value) && {
                let mut meant = Vec::new();
                plain(value, &mut meant);
                test(&meant)
            }
    };
    Some(is_met(values.next()?) || values.any(is_met))
}

/// Is a field with the name `called` the one called `name`? With `look_alikes` everything but letters and digits is the same.
fn is_called(called: &[u8], name: &[u8], look_alikes: bool) -> bool {
    let is_alike = |(one, other): (&u8, &u8)| {
        one.eq_ignore_ascii_case(other)
            || look_alikes && !one.is_ascii_alphanumeric() && !other.is_ascii_alphanumeric()
    };
    called.len() == name.len() && called.iter().zip(name).all(is_alike)
}

/// Letters, digits and `-`, as in nearly all names.
fn is_plain_name(name: &[u8]) -> bool {
    name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// Appends `text` with every byte percent-encoded that is in `reserved` or that no target may have (RFC 3986 §2.1).
pub(crate) fn put_encoded(text: &[u8], reserved: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte > b' ' && byte < 0x7f && !reserved.contains(&byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.extend(hex::upper(byte));
        }
    }
}

#[cfg(test)]
mod tests;
