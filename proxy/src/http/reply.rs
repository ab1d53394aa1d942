//! What is answered without a server: a head, and a page that says why in one sentence.

use std::time::Duration;

use super::{
    head::request::Method,
    headers::{Sink, put_number},
    reason,
};
use crate::config::ErrorPage;

/// Methods that a 405 names.
const METHODS: [(Method, &[u8]); 7] = [
    (Method::Get, b"GET"),
    (Method::Head, b"HEAD"),
    (Method::Post, b"POST"),
    (Method::Put, b"PUT"),
    (Method::Delete, b"DELETE"),
    (Method::Options, b"OPTIONS"),
    (Method::Other, b"PATCH"),
];

/// A local reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply<'r> {
    /// 200, a monitor's, or 400..=599; any other is written as 500.
    pub status: u16,
    /// The connection ends after it.
    pub close: bool,
    /// It answers HEAD: no page.
    pub head_only: bool,
    /// When it is worth another try, in whole seconds (RFC 9110 §10.2.3).
    pub retry_after: Option<Duration>,
    /// Of a 405: the method that is not allowed.
    pub refused: Option<Method>,
    /// What a 401 asks for (RFC 9110 §15.5.2: required).
    pub challenge: Option<&'r str>,
}

impl Reply<'_> {
    /// With its page and no more than the usual fields.
    pub fn new(status: u16, close: bool) -> Self {
        Self { status, close, head_only: false, retry_after: None, refused: None, challenge: None }
    }

    /// Is there a page for this status?
    pub fn is_known(status: u16) -> bool {
        Self::sentence(status).is_some()
    }

    /// Writes its head for a page of the operator's own, whose content follows.
    pub(super) fn encode_head(&self, page: &ErrorPage, out: &mut impl Sink) {
        out.put(b"HTTP/1.1 ");
        put_number(page.sent().into(), out);
        out.put(b" ");
        out.put(reason::phrase(page.sent()).as_bytes());
        out.put(b"\r\nContent-Length: ");
        put_number(page.content.len() as u64, out);
        out.put(b"\r\n");
        out.put(&page.fields);
        self.put_fields(out);
        out.put(b"\r\n");
    }

    /// The sentence of the page.
    fn sentence(status: u16) -> Option<&'static str> {
        Some(match status {
            200 => "Service ready.",
            400 => "The request is not valid.",
            401 => "This needs a user name and a password.",
            403 => "This request is not allowed here.",
            404 => "There is nothing at this address.",
            405 => "This method is not offered here.",
            408 => "The request did not come in time.",
            410 => "There is nothing at this address any more.",
            413 => "The content of the request is too large.",
            414 => "The address of the request is too long.",
            417 => "The expectation of the request is not known.",
            429 => "There are too many requests from there; try again later.",
            431 => "The head of the request is too large.",
            451 => "This is not available for legal reasons.",
            500 => "Something went wrong here.",
            501 => "The request needs something that is not offered here.",
            502 => "The server gave no answer that can be passed on.",
            503 => "No server is available to handle this request.",
            504 => "The server did not answer in time.",
            505 => "This version of HTTP is not spoken here.",
            _ => match status / 100 {
                4 => "This request is refused.",
                5 => "This request can't be served.",
                _ => return None,
            },
        })
    }

    /// Writes it.
    pub fn encode(&self, out: &mut impl Sink) {
        let (status, sentence) = match Self::sentence(self.status) {
            Some(sentence) => (self.status, sentence),
            None => (500, "Something went wrong here."),
        };
        let reason = reason::phrase(status);
        let mut page = Vec::with_capacity(128);
        page.put(b"<html><body><h1>");
        put_number(status.into(), &mut page);
        page.put(b" ");
        page.put(reason.as_bytes());
        page.put(b"</h1>\n");
        page.put(sentence.as_bytes());
        page.put(b"\n</body></html>\n");

        out.put(b"HTTP/1.1 ");
        put_number(status.into(), out);
        out.put(b" ");
        out.put(reason.as_bytes());
        out.put(b"\r\nContent-Length: ");
        put_number(page.len() as u64, out);
        out.put(b"\r\nCache-Control: no-cache\r\nContent-Type: text/html\r\n");
        self.put_fields(out);
        out.put(b"\r\n");
        if !self.head_only {
            out.put(&page);
        }
    }

    /// What the status and the connection want, whatever the page.
    fn put_fields(&self, out: &mut impl Sink) {
        if self.status == 405 {
            // RFC 9110 §15.5.6: required.
            out.put(b"Allow: ");
            let others = METHODS.iter().filter(|(method, _)| Some(*method) != self.refused);
            for (index, (_, name)) in others.enumerate() {
                out.put(if index == 0 { b"" } else { b", " });
                out.put(name);
            }
            out.put(b"\r\n");
        }
        if let Some(challenge) = self.challenge {
            out.put(b"WWW-Authenticate: ");
            out.put(challenge.as_bytes());
            out.put(b"\r\n");
        }
        if let Some(wait) = self.retry_after {
            out.put(b"Retry-After: ");
            put_number(wait.as_secs(), out);
            out.put(b"\r\n");
        }
        if self.close {
            out.put(b"Connection: close\r\n");
        }
    }
}
