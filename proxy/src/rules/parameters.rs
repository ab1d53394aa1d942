//! Parameters in the elements of a path, `/cart;jsessionid=1/items`, which some servers cut off before they look (RFC 3986
//! §3.3).
//!
//! To such a server `/admin;x` is `/admin`, and `/;/admin` as well. So conditions and limits look at a path without them. The
//! server gets them all the same: a session may live in one.

use memchr::memchr;

use super::path::remove_dots;
use crate::sample::RequestFacts;

/// Appends `target` without the parameters of its path to the empty `out`; nothing if it has none.
pub(super) fn without_parameters(target: &[u8], out: &mut Vec<u8>) {
    let end = memchr(b'?', target).unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let Some(elements) = path.strip_prefix(b"/").filter(|path| has_parameters(path)) else { return };
    for element in elements.split(|&byte| byte == b'/') {
        out.push(b'/');
        out.extend_from_slice(&element[..begin(element).unwrap_or(element.len())]);
    }
    // What was cut off may leave an empty element.
    remove_dots(out);
    out.extend_from_slice(query);
}

/// Is there a parameter in `path`?
pub(crate) fn has_parameters(path: &[u8]) -> bool {
    begin(path).is_some()
}

/// Where the first one begins. An encoded `;` counts as well: some servers decode first.
fn begin(text: &[u8]) -> Option<usize> {
    memchr::memchr2_iter(b';', b'%', text)
        .find(|&at| text[at] == b';' || matches!(text.get(at + 1..at + 3), Some(b"3B" | b"3b")))
}

/// A request as conditions and limits see it.
pub(super) struct Compared<'c> {
    pub(super) request: &'c dyn RequestFacts,
    /// Without parameters.
    pub(super) target: &'c [u8],
}

impl RequestFacts for Compared<'_> {
    fn method(&self) -> &[u8] {
        self.request.method()
    }

    fn path(&self) -> &[u8] {
        &self.target[..memchr(b'?', self.target).unwrap_or(self.target.len())]
    }

    fn query(&self) -> &[u8] {
        self.request.query()
    }

    fn target(&self) -> &[u8] {
        self.target
    }

    fn authority(&self) -> Option<&[u8]> {
        self.request.authority()
    }

    fn version(&self) -> &'static str {
        self.request.version()
    }

    fn field(&self, name: &[u8]) -> Option<&[u8]> {
        self.request.field(name)
    }

    fn lines(&self, name: &[u8], look: &mut dyn FnMut(&[u8])) {
        self.request.lines(name, look);
    }

    fn cookie(&self, name: &[u8]) -> Option<&[u8]> {
        self.request.cookie(name)
    }

    fn each_cookie(&self, name: &[u8], look: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.request.each_cookie(name, look)
    }

    fn any_cookie(&self, name: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> Option<bool> {
        self.request.any_cookie(name, test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_ends_where_its_parameters_begin() {
        for (target, expected) in [
            ("/admin;x", "/admin"),
            ("/admin;", "/admin"),
            ("/admin;a=1;b=2/users;c?q=;1", "/admin/users?q=;1"),
            ("/;/admin", "/admin"),
            ("/;x=//admin", "/admin"),
            ("/admin%3Bx", "/admin"),
            ("/admin%3bx/a%20b", "/admin/a%20b"),
            ("/;", "/"),
            ("/a/;b", "/a/"),
        ] {
            let mut out = Vec::new();
            without_parameters(target.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{target}");
        }
        for target in ["/admin", "/a%20b", "/a?b=;c", "/%253B", "*", "/", "/%3"] {
            let mut out = Vec::new();
            without_parameters(target.as_bytes(), &mut out);
            assert!(out.is_empty(), "{target}");
        }
    }
}
