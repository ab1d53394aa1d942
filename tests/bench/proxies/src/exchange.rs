//! A connection of the client and the exchange that it is in.

use std::{
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::{
    sockets::{self, Did},
    wire::{self, Body, ChunkedEnd},
};

/// What an exchange is.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Work {
    /// A request and its response, which has to be 200.
    Http(Http),
    /// So many bytes, which have to come back.
    Echo { bytes: usize, closes: bool },
}

/// What is requested.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Each connection begins with another one.
    pub(crate) hosts: Vec<String>,
    /// More fields of the head, each with its line's end.
    pub(crate) fields: String,
    /// Bytes of content.
    pub(crate) content: usize,
    /// On a connection of its own?
    pub(crate) closes: bool,
}

impl Http {
    /// `path`, and nothing special.
    pub(crate) fn get(path: &str) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.to_owned(),
            hosts: vec!["bench.example.com".to_owned()],
            fields: String::new(),
            content: 0,
            closes: false,
        }
    }
}

/// Work as bytes.
#[derive(Debug)]
pub(crate) struct Script {
    requests: Vec<Vec<u8>>,
    /// An echo comes back without a head.
    echo: Option<u64>,
    closes: bool,
    /// Bytes that each request carries.
    pub(crate) content: u64,
}

impl Script {
    pub(crate) fn new(work: &Work) -> Self {
        match work {
            Work::Http(Http { method, path, hosts, fields, content, closes }) => {
                let length =
                    if *content > 0 { format!("Content-Length: {content}\r\n") } else { String::new() };
                let close = if *closes { "Connection: close\r\n" } else { "" };
                let request = |host: &String| {
                    let head =
                        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}{close}\r\n");
                    let mut bytes = head.into_bytes();
                    bytes.resize(bytes.len() + content, b'.');
                    bytes
                };
                let requests = hosts.iter().map(request).collect();
                Self { requests, echo: None, closes: *closes, content: *content as u64 }
            }
            Work::Echo { bytes, closes } => Self {
                requests: vec![vec![b'.'; *bytes]],
                echo: Some(*bytes as u64),
                closes: *closes,
                content: 0,
            },
        }
    }
}

/// What has become of an exchange.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    NotYet,
    Done {
        since: Instant,
        /// Its server says so of itself.
        is_slow: bool,
    },
    Failed(&'static str),
}

enum Phase {
    Idle,
    Sending(usize),
    Head,
    Content(u64),
    Chunks(ChunkedEnd),
}

/// See the module.
pub(crate) struct Connection {
    socket: Option<TcpStream>,
    phase: Phase,
    /// Of a head that is not whole.
    head: Vec<u8>,
    /// Which request is next.
    next: usize,
    since: Instant,
    is_slow: bool,
    closes: bool,
}

impl Connection {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            socket: None,
            phase: Phase::Idle,
            head: Vec::new(),
            next: number,
            since: Instant::now(),
            is_slow: false,
            closes: false,
        }
    }

    /// Begins an exchange whose latency counts from `since`; a socket that is new is shown to `watch`.
    pub(crate) fn begin(
        &mut self,
        script: &Script,
        target: SocketAddr,
        since: Instant,
        watch: impl FnOnce(&TcpStream) -> anyhow::Result<()>,
    ) -> anyhow::Result<End> {
        self.since = since;
        self.next = (self.next + 1) % script.requests.len();
        self.phase = Phase::Sending(0);
        (self.is_slow, self.closes) = (false, script.closes);
        self.head.clear();
        if self.socket.is_some() {
            return Ok(self.send(script));
        }
        // It is told when it may write.
        let socket = match sockets::begin(target) {
            Ok(socket) => socket,
            Err(_) => return Ok(self.fail("no connection")),
        };
        watch(&socket)?;
        self.socket = Some(socket);
        Ok(End::NotYet)
    }

    /// Something may be possible now. Content that comes is counted in `bytes`.
    pub(crate) fn proceed(&mut self, script: &Script, buffer: &mut [u8], bytes: &mut u64) -> End {
        match self.phase {
            Phase::Sending(_) => {
                let end = self.send(script);
                if matches!(self.phase, Phase::Sending(_) | Phase::Idle) {
                    return end;
                }
            }
            Phase::Idle => {
                // Nothing is owed: it can only have ended.
                if let Some(socket) = &self.socket
                    && sockets::read(socket, buffer) != Did::Later
                {
                    self.socket = None;
                }
                return End::NotYet;
            }
            Phase::Head | Phase::Content(_) | Phase::Chunks(_) => {}
        }
        self.receive(buffer, bytes)
    }

    fn send(&mut self, script: &Script) -> End {
        let (Some(socket), Phase::Sending(at)) = (&self.socket, &mut self.phase) else { return End::NotYet };
        let request = &script.requests[self.next];
        while *at < request.len() {
            match sockets::write(socket, &request[*at..]) {
                Did::Bytes(bytes) => *at += bytes,
                Did::Later => return End::NotYet,
                Did::Ended => return self.fail("the connection broke before the request was sent"),
            }
        }
        self.phase = script.echo.map_or(Phase::Head, Phase::Content);
        End::NotYet
    }

    fn receive(&mut self, buffer: &mut [u8], bytes: &mut u64) -> End {
        loop {
            let Some(socket) = &self.socket else { return End::NotYet };
            let did = match self.phase {
                Phase::Content(left) => sockets::discard(socket, buffer, left),
                _ => sockets::read(socket, buffer),
            };
            let count = match did {
                Did::Bytes(count) => count,
                Did::Later => return End::NotYet,
                Did::Ended => return self.fail("the connection broke before the response was whole"),
            };
            match &mut self.phase {
                Phase::Head => {
                    if let Some(end) = self.take_head(&buffer[..count], bytes) {
                        return end;
                    }
                }
                Phase::Content(left) => {
                    *left -= count as u64;
                    *bytes += count as u64;
                    if *left == 0 {
                        return self.done();
                    }
                }
                Phase::Chunks(end) => {
                    *bytes += count as u64;
                    if end.take(&buffer[..count]) {
                        return self.done();
                    }
                }
                Phase::Idle | Phase::Sending(_) => return End::NotYet,
            }
        }
    }

    /// `None`: there is more to come.
    fn take_head(&mut self, fresh: &[u8], bytes: &mut u64) -> Option<End> {
        let mut kept = std::mem::take(&mut self.head);
        let whole = if kept.is_empty() {
            fresh
        } else {
            kept.extend_from_slice(fresh);
            &kept
        };
        let Some(end) = wire::end_of_head(whole) else {
            self.head = whole.to_vec();
            return None;
        };
        let (head, content) = whole.split_at(end);
        if wire::status(head) != 200 {
            return Some(self.fail(reason(wire::status(head))));
        }
        self.is_slow = wire::field(head, "x-slow").is_some();
        self.closes |= wire::closes(head);
        *bytes += content.len() as u64;
        match wire::body(head) {
            Body::Length(length) => {
                let left = length.saturating_sub(content.len() as u64);
                self.phase = Phase::Content(left);
                (left == 0).then(|| self.done())
            }
            Body::Chunked => {
                let mut end = ChunkedEnd::default();
                let is_over = end.take(content);
                self.phase = Phase::Chunks(end);
                is_over.then(|| self.done())
            }
        }
    }

    fn done(&mut self) -> End {
        self.phase = Phase::Idle;
        if self.closes {
            self.socket = None;
        }
        End::Done { since: self.since, is_slow: self.is_slow }
    }

    fn fail(&mut self, why: &'static str) -> End {
        self.phase = Phase::Idle;
        self.socket = None;
        End::Failed(why)
    }
}

fn reason(status: u64) -> &'static str {
    match status {
        400..=499 => "a status of 4xx",
        502 => "status 502",
        503 => "status 503",
        504 => "status 504",
        500..=599 => "a status of 5xx",
        _ => "a status other than 200",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_becomes_requests_of_all_its_hosts() {
        let work = Work::Http(Http {
            method: "POST".into(),
            hosts: vec!["a".into(), "b".into()],
            fields: "Cookie: SRV=s1\r\n".into(),
            content: 3,
            closes: true,
            ..Http::get("/")
        });
        let script = Script::new(&work);
        let text = "POST / HTTP/1.1\r\nHost: b\r\nCookie: SRV=s1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n...";
        assert_eq!(script.requests[1], text.as_bytes());
        assert_eq!(script.requests.len(), 2);
        assert_eq!(Script::new(&Work::Echo { bytes: 64, closes: false }).requests[0].len(), 64);
    }
}
