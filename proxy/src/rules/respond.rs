//! Answers that a rule gives by itself.

use std::{borrow::Cow, sync::Arc};

use super::Text;
use crate::{
    http::{
        headers::{self, Sink},
        reason,
    },
    sample::Facts,
};

/// An answer (HAProxy `http-request return`, `http-response return`).
#[derive(Clone, Debug)]
pub struct Respond {
    /// 200..=599.
    pub status: u16,
    /// What follows the head. None for a status that has no content ([`Self::has_content`]).
    pub content: Content,
    /// Field lines, in this order. Names are [editable](crate::http::message::is_editable), and none is Content-Type.
    pub headers: Vec<(String, Text)>,
    /// Logged and counted as a refusal (HAProxy `deny` with a text of its own).
    pub denies: bool,
}

/// The content of an answer.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing.
    Empty,
    /// The page of the status, which is the operator's own if there is one. The status is one that [`Action::Deny`](super::Action)
    /// takes, and there are no headers.
    Page,
    /// Text with placeholders.
    Text {
        /// Its Content-Type.
        kind: String,
        /// The text.
        text: Text,
    },
    /// A file as it was when the configuration was read.
    File {
        /// Its Content-Type.
        kind: String,
        /// As the configuration has it.
        file: String,
        /// At most 64 kB.
        bytes: Arc<[u8]>,
    },
}

/// An answer in the place of a server's response, written while what it names is still there.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Up to where [`put_end`] goes on.
    head: Vec<u8>,
    pub(crate) content: Arc<[u8]>,
}

impl Answer {
    /// Writes its head; the connection ends after it if `close`.
    pub(crate) fn put_head(&self, close: bool, out: &mut impl Sink) {
        out.put(&self.head);
        put_end(close, out);
    }
}

impl Respond {
    /// May an answer with this status have content (RFC 9110 §15.3.5, §15.3.6, §15.4.5)?
    pub fn has_content(status: u16) -> bool {
        !matches!(status, 204 | 205 | 304)
    }

    /// What follows the head.
    pub(crate) fn content(&self, facts: &Facts<'_>) -> Cow<'_, [u8]> {
        match &self.content {
            Content::Empty | Content::Page => Cow::Borrowed(b""),
            Content::File { bytes, .. } => Cow::Borrowed(bytes),
            Content::Text { text, .. } => {
                let mut content = Vec::new();
                text.render(facts, &mut content);
                Cow::Owned(content)
            }
        }
    }

    /// All of it, to be sent later.
    pub(crate) fn answer(&self, facts: &Facts<'_>) -> Answer {
        let content: Arc<[u8]> = match &self.content {
            Content::File { bytes, .. } => Arc::clone(bytes),
            Content::Empty | Content::Page | Content::Text { .. } => self.content(facts).into(),
        };
        let mut head = Vec::new();
        self.put_fields(content.len(), facts, &mut head);
        Answer { head, content }
    }

    /// Writes the head for content of this length; the connection ends after it if `close`.
    pub(crate) fn put_head(&self, length: usize, close: bool, facts: &Facts<'_>, out: &mut impl Sink) {
        self.put_fields(length, facts, out);
        put_end(close, out);
    }

    fn put_fields(&self, length: usize, facts: &Facts<'_>, out: &mut impl Sink) {
        out.put(b"HTTP/1.1 ");
        headers::put_number(self.status.into(), out);
        out.put(b" ");
        out.put(reason::phrase(self.status).as_bytes());
        out.put(b"\r\n");
        // RFC 9110 §8.6: 204 must not have it, and that of 304 would be the length of what is not sent.
        if !matches!(self.status, 204 | 304) {
            headers::put_content_length(length as u64, out);
        }
        if let Content::Text { kind, .. } | Content::File { kind, .. } = &self.content {
            out.put(b"Content-Type: ");
            out.put(kind.as_bytes());
            out.put(b"\r\n");
        }
        for (name, value) in &self.headers {
            out.put(name.as_bytes());
            out.put(b": ");
            value.render(facts, out);
            out.put(b"\r\n");
        }
    }
}

fn put_end(close: bool, out: &mut impl Sink) {
    if close {
        out.put(b"Connection: close\r\n");
    }
    out.put(b"\r\n");
}
