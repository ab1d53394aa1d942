//! What one backend does with its cookie.

use std::time::Duration;

use super::{
    crumbs, date,
    letters::{Done, Seen},
    remove, set_value, split_at, strip_prefix,
};
use crate::{
    config::{Cookie, CookieMode, SameSite, Server},
    http::{
        head::{Field, name::Name, request::Method},
        headers,
        message::{Message, TooLarge},
    },
};

/// Between a server's value and the application's in mode prefix.
const PREFIX_END: u8 = b'~';

/// Before each moment behind a server's value.
const DATE: u8 = b'|';

/// A moment this far in the future is not believed; less than that is a clock that was set.
const FUTURE: u64 = 86_400;

/// A backend's cookie, ready for use.
#[derive(Debug)]
pub(crate) struct CookiePolicy {
    config: Cookie,
    /// What follows the value of a cookie that is inserted.
    attributes: Vec<u8>,
    /// By the index of the server.
    values: Box<[Option<Vec<u8>>]>,
    /// Of those that have one, sorted by value.
    servers: Box<[(Vec<u8>, usize)]>,
}

/// What the cookie of a request says; kept for its response.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Persisted {
    /// The server that the client had, up or not, by its index.
    pub(crate) server: Option<usize>,
    /// The client sent the cookie, of whatever value.
    is_sent: bool,
    /// A rule wants it ignored.
    is_ignored: bool,
    /// What logs say of it.
    pub(crate) seen: Seen,
    /// When it was last set, if it says so; seconds of Unix time.
    last: Option<u64>,
    /// When the client got the first one, if it says so; seconds of Unix time.
    first: Option<u64>,
}

impl Persisted {
    /// The same where a rule has chosen `server`: the client gets no other cookie for it, as in HAProxy.
    pub(crate) fn overruled(self, server: usize) -> Self {
        let seen = match self.seen {
            Seen::Valid | Seen::Down | Seen::Invalid => Seen::Unused,
            other => other,
        };
        Self { server: Some(server), seen, ..self }
    }
}

impl CookiePolicy {
    /// For these servers. Their values differ.
    pub(crate) fn new(config: &Cookie, servers: &[Server]) -> Self {
        let value = |server: &Server| server.cookie.as_ref().map(|value| value.as_bytes().to_vec());
        let values: Box<[_]> = servers.iter().map(value).collect();
        let mut by_value: Vec<_> =
            values.iter().enumerate().filter_map(|(index, value)| Some((value.clone()?, index))).collect();
        by_value.sort_unstable();
        Self { config: config.clone(), attributes: attributes(config), values, servers: by_value.into() }
    }

    /// Do values tell when they were given?
    /// Do logs say what becomes of it? HAProxy's don't of one that is only read.
    pub(crate) fn is_told(&self) -> bool {
        self.config.mode != CookieMode::Passive
    }

    fn has_dates(&self) -> bool {
        self.config.maxidle.is_some() || self.config.maxlife.is_some()
    }

    /// Finds the client's server. Of several cookies the first counts whose server is up, else the first whose server is
    /// known. `now` is Unix time.
    pub(crate) fn read(
        &self,
        message: &Message<'_>,
        is_up: impl Fn(usize) -> bool,
        now: Duration,
    ) -> Persisted {
        let name = self.config.name.as_bytes();
        let mut found = Persisted { seen: Seen::Absent, ..Persisted::default() };
        let lines = message.fields().filter(|field| field.id == Name::Cookie);
        for value in lines.flat_map(|field| crumbs(field.value)).filter_map(|crumb| crumb.value_of(name)) {
            found.is_sent = true;
            let mut persisted = self.parse(value, now.as_secs()).unwrap_or_default();
            match persisted.server {
                Some(server) if is_up(server) => return Persisted { seen: Seen::Valid, ..persisted },
                Some(_) => persisted.seen = Seen::Down,
                None => {}
            }
            // One of no use says less than one of a server, or one that was of use once.
            let seen = match (found.seen, persisted.seen) {
                (Seen::Down | Seen::Expired | Seen::Old, Seen::Nothing) => found.seen,
                (_, Seen::Nothing) => Seen::Invalid,
                (_, seen) => seen,
            };
            if found.server.is_none() && persisted.is_sent {
                found = persisted;
            }
            found.seen = seen;
        }
        found
    }

    /// The same for a request that a rule keeps from being persisted: no server is preferred, and what its response sets
    /// is left as it is.
    pub(crate) fn ignored() -> Persisted {
        Persisted { is_ignored: true, seen: Seen::Unused, ..Persisted::default() }
    }

    /// `None` if it is not a value that we give.
    fn parse(&self, value: &[u8], now: u64) -> Option<Persisted> {
        if self.config.mode == CookieMode::Prefix {
            let (value, _) = split_at(value, PREFIX_END)?;
            return Some(Persisted { server: self.server(value), is_sent: true, ..Persisted::default() });
        }
        let mut parts = value.split(|&byte| byte == DATE);
        let server = self.server(parts.next()?);
        let moment = |text: Option<&[u8]>| match text {
            Some(text) => date::decode(text).map(Some),
            None => Some(None),
        };
        let (last, first) = (moment(parts.next())?, moment(parts.next())?);
        if parts.next().is_some() {
            return None;
        }
        let over = |seen| Some(Persisted { is_sent: true, seen, ..Persisted::default() });
        if is_over(first, self.config.maxlife, now) {
            return over(Seen::Old);
        }
        if is_over(last, self.config.maxidle, now) {
            return over(Seen::Expired);
        }
        Some(Persisted { server, is_sent: true, last, first, ..Persisted::default() })
    }

    fn server(&self, value: &[u8]) -> Option<usize> {
        let at = self.servers.binary_search_by(|(known, _)| known.as_slice().cmp(value)).ok()?;
        Some(self.servers[at].1)
    }

    /// Takes out of the request what its server shall not see.
    ///
    /// # Errors
    /// No room for it.
    pub(crate) fn edit_request(&self, message: &mut Message<'_>, work: &mut Vec<u8>) -> Result<(), TooLarge> {
        let name = self.config.name.as_bytes();
        match self.config.mode {
            CookieMode::Insert if self.config.indirect => {
                // What would be left empty goes first: a line that came empty stays.
                message.remove_if(|field| {
                    field.id == Name::Cookie && {
                        work.clear();
                        remove(field.value, name, work) && work.is_empty()
                    }
                });
                message.rewrite(b"Cookie", work, |line, out| remove(line, name, out))
            }
            CookieMode::Prefix => {
                message.rewrite(b"Cookie", work, |line, out| strip_prefix(line, name, PREFIX_END, out))
            }
            CookieMode::Insert | CookieMode::Rewrite | CookieMode::Passive => Ok(()),
        }
    }

    /// Makes the response of `server` say what the client shall bring next time. `now` is Unix time.
    ///
    /// What does not fit into the head is left out: a client without its cookie is worse than one with it, and better
    /// than one without a response.
    pub(crate) fn edit_response(
        &self,
        message: &mut Message<'_>,
        method: Method,
        persisted: &Persisted,
        server: usize,
        now: Duration,
        work: &mut Vec<u8>,
    ) -> Done {
        if persisted.is_ignored {
            return Done::Nothing;
        }
        let is_direct = persisted.server == Some(server);
        let value = self.values.get(server).and_then(Option::as_deref);
        let set = self.edit_set_cookie(message, is_direct, value, work);
        let done = set.unwrap_or(Done::Nothing);
        let is_due = self.config.mode == CookieMode::Insert
            && !(set.is_some() && self.config.preserve)
            && (!is_direct || self.is_stale(persisted, now.as_secs()))
            && (!self.config.postonly || method == Method::Post);
        if !is_due || (value.is_none() && !persisted.is_sent) {
            return done;
        }
        // RFC 9111 §5.2.2.7: no shared cache may store it. `no-cache="Set-Cookie"` is not understood everywhere.
        if self.config.nocache && !is_private(message) && message.add(b"Cache-Control", b"private").is_err() {
            return done;
        }
        work.clear();
        self.put_cookie(value, persisted, now.as_secs(), work);
        match message.add(b"Set-Cookie", work) {
            Ok(()) if is_direct => Done::Updated,
            Ok(()) => Done::Inserted,
            Err(_) => done,
        }
    }

    /// What becomes of what the server itself sets; `None` if it does not set the cookie.
    fn edit_set_cookie(
        &self,
        message: &mut Message<'_>,
        is_direct: bool,
        value: Option<&[u8]>,
        work: &mut Vec<u8>,
    ) -> Option<Done> {
        let name = self.config.name.as_bytes();
        let is_ours =
            |field: &Field<'_>| field.id == Name::SetCookie && set_value(field.value, name).is_some();
        if !message.fields().any(|field| is_ours(&field)) {
            return None;
        }
        if self.config.preserve {
            return Some(Done::Passed);
        }
        Some(match (self.config.mode, value) {
            (CookieMode::Insert, _) => {
                message.remove_if(is_ours);
                Done::Deleted
            }
            _ if is_direct && self.config.indirect => {
                message.remove_if(is_ours);
                Done::Deleted
            }
            (CookieMode::Rewrite, Some(value)) => {
                let _ = message.rewrite(b"Set-Cookie", work, |line, out| replace(line, name, out, &[value]));
                Done::Rewritten
            }
            (CookieMode::Prefix, Some(value)) => {
                let _ = message.rewrite(b"Set-Cookie", work, |line, out| {
                    let Some(place) = set_value(line, name) else { return false };
                    replace(line, name, out, &[value, &[PREFIX_END], &line[place]])
                });
                Done::Rewritten
            }
            (CookieMode::Rewrite | CookieMode::Prefix | CookieMode::Passive, _) => Done::Passed,
        })
    }

    /// Has a cookie that leads to the right server to be set anew for its dates?
    fn is_stale(&self, persisted: &Persisted, now: u64) -> bool {
        let Persisted { last, first, .. } = *persisted;
        let counts_idle = self.config.maxidle.is_some() || last.is_some();
        (counts_idle && last.is_none_or(|last| last < now))
            || (self.config.maxlife.is_some() == first.is_none())
    }

    fn put_cookie(&self, value: Option<&[u8]>, persisted: &Persisted, now: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.config.name.as_bytes());
        out.push(b'=');
        match value {
            Some(value) => {
                out.extend_from_slice(value);
                if self.has_dates() {
                    out.push(DATE);
                    out.extend(date::encode(now));
                }
                if self.config.maxlife.is_some() {
                    out.push(DATE);
                    out.extend(date::encode(persisted.first.unwrap_or(now)));
                }
            }
            // This server keeps nobody: the client forgets the one that it had.
            None => out.extend_from_slice(b"; Expires=Thu, 01-Jan-1970 00:00:01 GMT"),
        }
        out.extend_from_slice(&self.attributes);
    }
}

fn attributes(config: &Cookie) -> Vec<u8> {
    let mut text = "; path=/".to_owned();
    if let Some(domain) = &config.domain {
        text.push_str("; domain=");
        text.push_str(domain);
    }
    if config.httponly {
        text.push_str("; HttpOnly");
    }
    if config.secure {
        text.push_str("; Secure");
    }
    text.push_str(match config.same_site {
        Some(SameSite::Strict) => "; SameSite=Strict",
        Some(SameSite::Lax) => "; SameSite=Lax",
        Some(SameSite::None) => "; SameSite=None",
        None => "",
    });
    text.into_bytes()
}

/// Writes a Set-Cookie line with another value.
fn replace(line: &[u8], name: &[u8], out: &mut Vec<u8>, value: &[&[u8]]) -> bool {
    let Some(place) = set_value(line, name) else { return false };
    out.extend_from_slice(&line[..place.start]);
    for piece in value {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&line[place.end..]);
    true
}

fn is_over(moment: Option<u64>, most: Option<Duration>, now: u64) -> bool {
    let (Some(moment), Some(most)) = (moment, most) else { return false };
    now.saturating_sub(moment) > most.as_secs() || moment.saturating_sub(now) > FUTURE
}

/// Does the response itself keep shared caches from giving it to others?
fn is_private(message: &Message<'_>) -> bool {
    const DIRECTIVES: [&[u8]; 3] = [b"private", b"no-store", b"no-cache"];
    let is = |directive: &[u8], known: &[u8]| directive.eq_ignore_ascii_case(known);
    // RFC 9111 §5.2.2.10: for them s-maxage goes before max-age.
    let (mut has_no_age, mut shared_has_none) = (false, None);
    for directive in message.all(b"Cache-Control").flat_map(headers::list) {
        if DIRECTIVES.iter().any(|known| is(directive, known)) {
            return true;
        }
        if directive.get(..9).is_some_and(|name| is(name, b"s-maxage=")) {
            shared_has_none = Some(shared_has_none != Some(false) && is(directive, b"s-maxage=0"));
        }
        has_no_age |= is(directive, b"max-age=0");
    }
    shared_has_none.unwrap_or(has_no_age)
}
