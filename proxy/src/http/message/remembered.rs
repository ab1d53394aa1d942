//! What is kept of a request's head when the head itself is gone.

use std::ops::Range;

use super::{Message, any_of, cookies, cookies_for_all, look_at_each, split_query};
use crate::sample::{RequestFacts, Wanted};

/// Room beyond this is given back.
const KEPT: usize = 4096;

/// The parts of a request's head that somebody wants later; all others are as if the request had not had them. Its room is
/// used again for the next request.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    bytes: Vec<u8>,
    method: Option<Range<usize>>,
    target: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    version: Option<&'static str>,
    /// All lines as one.
    cookies: Option<Range<usize>>,
    /// Names and values.
    fields: Vec<[Range<usize>; 2]>,
}

impl Remembered {
    /// Forgets everything, and keeps the room unless it is large.
    pub(crate) fn clear(&mut self) {
        let Self { mut bytes, mut fields, .. } = std::mem::take(self);
        if bytes.capacity() > KEPT {
            bytes = Vec::new();
        }
        bytes.clear();
        fields.clear();
        *self = Self { bytes, fields, ..Self::default() };
    }

    /// Keeps what is wanted of `request`, which is the one that anything kept before is of.
    pub(crate) fn keep(&mut self, wanted: &Wanted, request: &Message<'_>) {
        if wanted.method && self.method.is_none() {
            self.method = Some(self.push(request.method()));
        }
        if wanted.target && self.target.is_none() {
            self.target = Some(self.push(request.target()));
        }
        if wanted.authority && self.authority.is_none() {
            self.authority = request.host().map(|host| self.push(host));
        }
        if wanted.version {
            self.version = Some(request.version());
        }
        if wanted.cookies && self.cookies.is_none() {
            let start = self.bytes.len();
            for line in request.all(b"Cookie") {
                self.push(line);
                self.push(b"; ");
            }
            self.cookies = Some(start..self.bytes.len());
        }
        for name in &wanted.fields {
            if RequestFacts::field(self, name).is_none()
                && let Some(value) = RequestFacts::field(request, name)
            {
                let field = [self.push(name), self.push(value)];
                self.fields.push(field);
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn text(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    fn part(&self, range: Option<&Range<usize>>) -> &[u8] {
        range.map_or(b"", |range| self.text(range))
    }
}

impl RequestFacts for Remembered {
    fn method(&self) -> &[u8] {
        self.part(self.method.as_ref())
    }

    fn path(&self) -> &[u8] {
        split_query(self.target()).0
    }

    fn query(&self) -> &[u8] {
        split_query(self.target()).1.unwrap_or_default()
    }

    fn target(&self) -> &[u8] {
        self.part(self.target.as_ref())
    }

    fn authority(&self) -> Option<&[u8]> {
        self.authority.as_ref().map(|range| self.text(range))
    }

    fn version(&self) -> &'static str {
        self.version.unwrap_or_default()
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        let of_name = self.fields.iter().find(|[known, _]| self.text(known).eq_ignore_ascii_case(name));
        of_name.map(|[_, value]| self.text(value))
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        cookies(self.part(self.cookies.as_ref())).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn each_cookie(&self, name: &[u8], look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        look_at_each(cookies(self.part(self.cookies.as_ref())), name, look)
    }

    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        any_of(cookies_for_all(self.part(self.cookies.as_ref())), name, test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::head::{Fields, Progress, request::Head},
        rules::UsedFields,
    };

    fn with_request(bytes: &str, look: impl FnOnce(&Message<'_>)) {
        let (mut fields, mut scratch) = (Fields::default(), Vec::new());
        let head = Head::parse(bytes.as_bytes(), &mut Progress::default(), &mut fields).unwrap().unwrap();
        let request = head.check().unwrap();
        look(&Message::of_request(head, &request, &UsedFields::default(), &mut scratch).unwrap());
    }

    const REQUEST: &str = "GET http://a.example.com/p?q=1 HTTP/1.1\r\nHost: a.example.com\r\nX-A: 1\r\nx-a: 2\r\nX-B:\r\n\
        Cookie: c=1\r\nCookie: d=2; c=3\r\n\r\n";

    #[test]
    fn what_is_wanted_is_kept_and_nothing_else() {
        let mut kept = Remembered::default();
        with_request(REQUEST, |request| kept.keep(&Wanted::default(), request));
        assert_eq!((kept.method(), kept.target(), kept.authority()), (&b""[..], &b""[..], None));
        assert_eq!((kept.version(), kept.cookie(b"c"), RequestFacts::field(&kept, b"X-A")), ("", None, None));
        assert!(kept.bytes.is_empty());
        let fields = vec![Box::from(&b"X-a"[..]), Box::from(&b"x-b"[..]), Box::from(&b"x-c"[..])];
        let all =
            Wanted { method: true, target: true, authority: true, version: true, cookies: true, fields };
        with_request(REQUEST, |request| {
            kept.keep(&all, request);
            let length = kept.bytes.len();
            kept.keep(&all, request);
            assert_eq!(kept.bytes.len(), length, "nothing is kept twice");
        });
        assert_eq!((kept.method(), kept.path(), kept.query()), (&b"GET"[..], &b"/p"[..], &b"q=1"[..]));
        assert_eq!((kept.authority(), kept.version()), (Some(&b"a.example.com"[..]), "1.1"));
        assert_eq!(RequestFacts::field(&kept, b"X-A"), Some(&b"2"[..]));
        assert_eq!(RequestFacts::field(&kept, b"X-B"), Some(&b""[..]));
        assert_eq!(RequestFacts::field(&kept, b"X-C"), None);
        assert_eq!(kept.cookie(b"c"), Some(&b"1"[..]));
        assert_eq!(kept.any_cookie(b"c", &mut |value| value == b"3"), Some(true));
        assert_eq!(kept.any_cookie(b"d", &mut |value| value == b"3"), Some(false));
        assert_eq!(kept.any_cookie(b"e", &mut |_| true), None);
        kept.clear();
        assert_eq!(
            (kept.method(), kept.cookie(b"c"), RequestFacts::field(&kept, b"X-A")),
            (&b""[..], None, None)
        );
    }
}
