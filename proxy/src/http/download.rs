//! The server's side of an exchange: interim responses, the response's head, its content.

mod coding;
mod content;
mod head;

use std::{
    cell::{Cell, RefCell},
    io::IoSlice,
};

use self::head::{Parsed, Refused};
use super::{
    body::{Framing, Step},
    cookie::Persisted,
    head::{Malformed, Progress, Version, request::Request},
    memory::Memory,
    outcome::Termination,
    write::{self, WriteError},
};
use crate::{
    buffer::Buffer,
    config::Algorithm,
    connection::Connection,
    log::Record,
    stream::{Stream, is_transient},
    upstream::Upstream,
    wheel::{Deadline, TICK},
};

/// Interim responses of one exchange; more are refused, whatever version brings them.
pub(crate) const MAX_INTERIM: u32 = 16;

/// What is received of a response and passed on.
pub(super) struct Download<'e, S> {
    pub(super) connection: &'e Connection<S>,
    pub(super) upstream: &'e Upstream,
    pub(super) request: Request,
    /// What the request's cookie said.
    pub(super) persisted: Persisted,
    /// What the connection remembers of it.
    pub(super) memory: RefCell<&'e mut Memory>,
    /// What the client takes of what its backend's responses may be coded with.
    pub(super) coding: Option<Algorithm>,
    pub(super) deadline: &'e Deadline,
    /// The server has all of the request.
    pub(super) uploaded: &'e Cell<bool>,
    /// The client was told to go on: no further 100 is passed on.
    pub(super) continued: bool,
    /// What a server says that opens a WebSocket, where it is us who have asked for that in HTTP/1.1.
    pub(super) accept: Option<Vec<u8>>,
    /// The request is kept until the response's head is there, and not only until its first byte.
    pub(super) is_resendable: bool,
    /// Statuses that are met with another attempt instead of being passed on, as far as the budget goes.
    pub(super) retried: &'e [u16],
    /// How the client gets the response, once that has begun: nothing else can be said any more.
    pub(super) begun: &'e Cell<Option<Framing>>,
}

/// The response was sent.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: u16,
    /// The client was told, or can see, that its connection ends.
    pub(super) close: bool,
    /// The connection to the server may serve another request.
    pub(super) reusable: bool,
    /// But only of this client.
    pub(super) private: bool,
    /// The protocol was switched; with what the server has already said in the new one.
    pub(super) tunnel: Option<Tunnel>,
}

/// See [`Done::tunnel`].
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) from_server: Buffer,
}

/// The response was not sent, or not to its end.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) termination: Termination,
    /// What the server did with the request, if that was kept.
    pub(super) again: Option<Failure>,
}

/// How a server failed a request of which the client has heard nothing yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// Not a byte of a response.
    Empty,
    /// What came is no head of a response, or not a whole one.
    Junk,
    /// No head in time.
    Timeout,
    /// One of [`Download::retried`].
    Status,
}

impl Failed {
    fn new(termination: Termination, request: &Option<Buffer>, failure: Failure) -> Self {
        Self { termination, again: request.is_some().then_some(failure) }
    }
}

impl From<Termination> for Failed {
    fn from(termination: Termination) -> Self {
        Self { termination, again: None }
    }
}

enum ReadError {
    Elapsed,
    Broken,
}

impl<S: Stream> Download<'_, S> {
    /// Passes the response on. `request` is kept until the first byte comes.
    pub(super) async fn run(&self, request: &mut Option<Buffer>) -> Result<Done, Failed> {
        let mut inbox = None;
        let mut progress = Progress::default();
        let mut interim = 0;
        let mut takes_content = !self.request.expects_continue;
        // The first bytes: until then the request may be wanted again.
        let mut buffer = match self.read(&mut inbox).await {
            Ok(n) if n > 0 => inbox.take().unwrap_or_else(|| self.take_buffer()),
            Err(ReadError::Elapsed) => {
                return Err(Failed::new(Termination::ServerTimeoutInHead, request, Failure::Timeout));
            }
            Ok(_) | Err(ReadError::Broken) => {
                return Err(Failed::new(Termination::ServerAbortInHead, request, Failure::Empty));
            }
        };
        let head = if self.is_resendable { None } else { request.take() };
        let mut out = head.unwrap_or_else(|| self.connection.worker().heads().take());
        let mut begun = self.now();
        out.clear();
        let (mut parsed, mut content) = loop {
            let parsed = match self.parse(&buffer, &mut progress, request.is_some(), &mut out) {
                Ok(parsed) => parsed,
                Err(Refused::Malformed(fault)) => return Err(self.bad_response(&buffer, fault, request)),
                Err(Refused::Retried) => {
                    return Err(Failed::new(Termination::BadResponse, request, Failure::Status));
                }
                Err(Refused::Here(termination)) => return Err(termination.into()),
            };
            match parsed {
                Some(parsed) if parsed.response.status >= 200 || parsed.response.status == 101 => {
                    let length = parsed.response.length;
                    let mut decoder = self.decoder(&parsed);
                    // What came with the head belongs to it: if that is nothing, neither is the response.
                    let first = match parsed.response.status {
                        101 => Step::default(),
                        _ => match self.decode(&mut decoder, &mut buffer.filled_mut()[length..]) {
                            Ok(step) => step,
                            Err(_) => {
                                return Err(Failed::new(Termination::BadResponse, request, Failure::Junk));
                            }
                        },
                    };
                    self.connection.log(Record::responded);
                    self.connection.trace_answer(self.upstream, &buffer.filled()[..length]);
                    buffer.consume(length);
                    break (parsed, (decoder, first));
                }
                Some(Parsed { response, .. }) => {
                    buffer.consume(response.length);
                    progress = Progress::default();
                    interim += 1;
                    takes_content |= response.status == 100;
                    if interim > MAX_INTERIM {
                        return Err(Termination::BadResponse.into());
                    }
                    // RFC 9110 §15.2: HTTP/1.0 knows none.
                    let is_news = response.status != 100 || !self.continued;
                    if self.request.version >= Version::Http11 && is_news {
                        // Whatever ends the exchange in the middle of it: nothing can be said behind half a head.
                        self.begun.set(Some(Framing::None));
                        self.write(
                            &mut [IoSlice::new(out.filled())],
                            false,
                            Termination::ClientAbortInResponse,
                        )
                        .await?;
                        self.begun.set(None);
                        *request = None;
                    }
                    out.clear();
                    begun = self.now();
                }
                None => {
                    if buffer.is_full() {
                        buffer.enlarge();
                    }
                    // An interim response was all of it: another head has not begun.
                    let since = (!buffer.is_empty()).then_some(begun);
                    buffer = match self.read_head(buffer, since).await {
                        Ok(buffer) => buffer,
                        Err((termination, failure)) => {
                            return Err(Failed::new(termination, request, failure));
                        }
                    };
                    if since.is_none() {
                        begun = self.now();
                    }
                }
            }
        };
        *request = None;
        let Parsed { response, hop, .. } = parsed;
        self.begun.set(Some(hop.framing));
        self.connection.answered(response.status);
        self.upstream.backend_counters().response(response.status);
        self.connection.end_log_early(out.len());
        if response.status == 101 {
            self.write(&mut [IoSlice::new(out.filled())], false, Termination::ClientAbortInData).await?;
            let tunnel = Some(Tunnel { from_server: buffer });
            return Ok(Done { status: 101, close: true, reusable: false, private: false, tunnel });
        }
        if parsed.coder.is_some() {
            self.connection.counters().compression.responses.increment();
            self.upstream.backend_counters().compression.responses.increment();
        }
        inbox = Some(buffer);
        self.relay(&mut parsed, &mut content, &mut out, &mut inbox).await?;
        // RFC 9110 §10.1.1: a server that has answered without a 100 may go on to read the content, or may take it for the
        // next request.
        let reusable = response.persistent
            && takes_content
            && inbox.is_none()
            && self.uploaded.get()
            && !self.connection.closes_server(Some(self.upstream.backend_id()));
        Ok(Done {
            status: response.status,
            close: hop.close,
            reusable,
            private: response.private || self.request.private,
            tunnel: None,
        })
    }

    fn take_buffer(&self) -> Buffer {
        self.connection.worker().buffers().take()
    }

    /// In ticks.
    fn now(&self) -> u64 {
        self.connection.worker().wheel().ticks()
    }

    fn bad_response(&self, inbox: &Buffer, fault: Malformed, request: &Option<Buffer>) -> Failed {
        tracing::debug!(
            backend = %self.upstream.backend().name,
            server = %self.upstream.server().name,
            %fault,
            "response refused"
        );
        self.connection.keep_invalid_response(self.upstream, inbox.filled(), fault);
        Failed::new(Termination::BadResponse, request, Failure::Junk)
    }

    /// More of a head that has begun in tick `since`, if it has: from then on it has the time of `timeout.server` to be
    /// whole, however often a byte of it comes.
    async fn read_head(&self, buffer: Buffer, since: Option<u64>) -> Result<Buffer, (Termination, Failure)> {
        let mut inbox = Some(buffer);
        let read = self.read(&mut inbox).await;
        let limit = self.upstream.backend().timeout.server.as_millis().div_ceil(TICK.as_millis());
        let is_late = since.is_some_and(|since| u128::from(self.now() - since) > limit);
        match (read, inbox) {
            (Ok(n), Some(buffer)) if n > 0 && !is_late => Ok(buffer),
            (Ok(n), _) if n > 0 => Err((Termination::ServerTimeoutInHead, Failure::Timeout)),
            (Err(ReadError::Elapsed), _) => Err((Termination::ServerTimeoutInHead, Failure::Timeout)),
            (Ok(_) | Err(ReadError::Broken), _) => Err((Termination::ServerAbortInHead, Failure::Junk)),
        }
    }

    /// Waits for bytes of the server and reads them; 0 is the end. Owns no buffer while it waits with none.
    async fn read(&self, inbox: &mut Option<Buffer>) -> Result<usize, ReadError> {
        loop {
            self.readable().await?;
            let buffer = inbox.get_or_insert_with(|| self.take_buffer());
            match buffer.read_from(self.upstream.stream()) {
                Ok(n) => return Ok(n),
                Err(error) if is_transient(&error) => {
                    if buffer.is_empty() {
                        *inbox = None;
                    }
                }
                Err(_) => return Err(ReadError::Broken),
            }
        }
    }

    /// Waits for bytes of the server.
    async fn readable(&self) -> Result<(), ReadError> {
        loop {
            self.deadline.arm(self.upstream.backend().timeout.server);
            match self.deadline.guard(Stream::readable(self.upstream.stream())).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(ReadError::Broken),
                // As long as the client sends, it is the client's turn.
                Err(_) if !self.uploaded.get() => {}
                Err(_) => return Err(ReadError::Elapsed),
            }
        }
    }

    /// `is_followed`: what comes behind it is here, and is sent at once.
    async fn write(
        &self,
        mut pieces: &mut [IoSlice<'_>],
        is_followed: bool,
        abort: Termination,
    ) -> Result<(), Failed> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if is_followed {
            write::ahead(self.connection.stream(), &mut pieces);
        }
        let timeout = self.connection.frontend().timeout.client;
        match write::all_vectored(self.connection.stream(), pieces, self.deadline, timeout).await {
            Ok(()) => {
                self.upstream.sent(self.connection.sent()).add(length as u64);
                Ok(())
            }
            Err(WriteError::Broken) => Err(abort.into()),
            Err(WriteError::Elapsed) => Err(Termination::ClientTimeoutInData.into()),
        }
    }
}
