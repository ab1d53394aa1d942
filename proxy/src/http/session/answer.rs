//! What a session answers without a server.

use std::{io::IoSlice, time::Duration};

use memchr::memmem;

use super::{Next, Session};
use crate::{
    buffer::Buffer,
    config::{ErrorPage, Hsts},
    http::{headers::Sink, reply::Reply, write},
    metrics::BackendCounters,
    rules::Answer,
    stream::Stream,
};

impl<'c, S: Stream> Session<'c, S> {
    /// Answers so to whatever comes, and ends.
    pub(in crate::http) async fn turn_away(&mut self, status: u16, retry_after: Duration) {
        self.connection.set_busy();
        let reply = Reply { retry_after: Some(retry_after), ..Reply::new(status, true) };
        if self.send(reply).await == Next::Linger {
            self.linger().await;
        }
    }

    /// Answers without a server.
    pub(in crate::http) async fn reply(&mut self, status: u16, close: bool, head_only: bool) -> Next {
        self.send(Reply { head_only, ..Reply::new(status, close) }).await
    }

    pub(in crate::http) async fn send(&mut self, reply: Reply<'_>) -> Next {
        self.count(reply.status);
        self.write_reply(reply).await
    }

    /// Answers with what a rule has put in the place of a server's response.
    pub(in crate::http) async fn send_answer(
        &mut self,
        status: u16,
        answer: &Answer,
        close: bool,
        head_only: bool,
    ) -> Next {
        self.count(status);
        let mut out = self.connection.worker().buffers().take();
        answer.put_head(close, &mut out);
        let content: &[u8] = if head_only { b"" } else { &answer.content };
        self.write_whole(&out, content, close).await
    }

    pub(super) fn count(&self, status: u16) {
        self.connection.answered(status);
        if let Some(counters) = self.backend_counters() {
            counters.response(status);
        }
    }

    /// With the operator's own page, if there is one.
    pub(super) async fn write_reply(&mut self, reply: Reply<'_>) -> Next {
        let mut out = self.connection.worker().buffers().take();
        let content: &[u8] = match self.page(reply.status) {
            Some(page) => {
                reply.encode_head(page, &mut out);
                if reply.head_only { b"" } else { &page.content }
            }
            None => {
                reply.encode(&mut out);
                b""
            }
        };
        self.write_whole(&out, content, reply.close).await
    }

    /// What this worker counts of the backend, once it is chosen.
    pub(in crate::http) fn backend_counters(&self) -> Option<&'c BackendCounters> {
        self.backend.map(|id| &self.connection.worker().counters().backends[id.0])
    }

    fn page(&self, status: u16) -> Option<&'c ErrorPage> {
        let connection = self.connection;
        let of_backend = self.backend.map(|id| &connection.worker().node().backend(id).error_pages);
        let mut pages = of_backend.into_iter().flatten().chain(&connection.frontend().error_pages);
        pages.find(|page| page.status == status)
    }

    /// Sends a whole response. Its head is in `out`, and may have some content behind it.
    pub(in crate::http) async fn write_whole(&mut self, out: &Buffer, content: &[u8], close: bool) -> Next {
        let connection = self.connection;
        let timeout = connection.frontend().timeout.client;
        let hsts = connection.hsts().map(|hsts| with_hsts(out, hsts, connection.worker().buffers().take()));
        let out = hsts.as_ref().unwrap_or(out);
        let pieces = &mut [IoSlice::new(out.filled()), IoSlice::new(content)];
        write::with_others(connection.stream(), out.len() + content.len()).await;
        match write::all_vectored(connection.stream(), pieces, self.deadline, timeout).await {
            Ok(()) => {
                let length = (out.len() + content.len()) as u64;
                connection.sent().add(length);
                if let Some(counters) = self.backend_counters() {
                    counters.unserved.bytes_out.add(length);
                }
            }
            Err(_) => return Next::Close,
        }
        if close { Next::Linger } else { Next::Request }
    }
}

/// The same response with a field more, unless a rule has given it one (RFC 6797 §7.1: no more than one).
fn with_hsts(response: &Buffer, hsts: &Hsts, mut out: Buffer) -> Buffer {
    let bytes = response.filled();
    let end = memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |end| end + 2);
    let (head, rest) = bytes.split_at(end);
    out.put(head);
    let name = Hsts::NAME.as_bytes();
    let is_own = |line: &[u8]| line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name));
    if !head.split(|&byte| byte == b'\n').any(is_own) {
        for piece in [name, b": ", hsts.value().as_bytes(), b"\r\n"] {
            out.put(piece);
        }
    }
    out.put(rest);
    out
}
