//! One request and its response.
//!
//! ```text
//! head (and content that came with it) ──> search a server ──> send ──> Download: head, content ──> client
//!                                             ▲    ▲                 └─ Upload: the rest of the content, meanwhile
//!                   client gone: give up ─────┘    └── reused connection died without a byte: once more, if harmless
//! ```
//! Everything runs in the task of the client's connection.

mod content;
mod failure;

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io::IoSlice,
    pin::pin,
    task::Poll,
    time::Duration,
};

use super::{
    body::{Decoder, Encoder, Framing},
    cookie::{self, Persisted, Seen},
    download::{Done, Download, Failed, Failure, Tunnel},
    head::{Version, request::Request},
    inbound::Departure,
    linger::Rest,
    outcome::Termination,
    pace::Pace,
    server_name,
    session::{Next, Session},
    upload::Upload,
    websocket,
    write::{self, WriteError},
};
use crate::{
    Endpoint,
    buffer::Buffer,
    config::{Algorithm, BackendId, ReuseMode, SendProxy},
    connection::Connection,
    error::Error,
    http2::Blame,
    log::{OnRecord, Record},
    metrics::Event,
    proxy_protocol::introduction::Introduction,
    sample::VariableId,
    stream::Stream,
    tcp,
    upstream::{Preference, Reuse, Search, Upstream},
    wheel::Deadline,
    worker::turns,
};

/// How long a request whose client has ended its side may still look for a server. Few clients end theirs right after a
/// request and wait for the response; most have given up, and should not stay in line.
const GRACE: Duration = Duration::from_millis(200);

/// An exchange.
pub(super) struct Exchange<'s, 'c, S> {
    session: &'s mut Session<'c, S>,
    /// What a server gets, as long as it may be wanted: the head, and content that came with it.
    head: Option<Buffer>,
    request: Request,
    preference: Preference,
    persisted: Persisted,
    /// What the response may be coded with.
    coding: Option<Algorithm>,
    decoder: Decoder,
    encoder: Encoder,
    /// Bytes of it that are not counted at a server yet.
    received: u64,
    /// The server that it was sent to last.
    server: Option<usize>,
    /// A server has all of the request. Its decoder may be done earlier, with the last of it still in the inbox.
    uploaded: Cell<bool>,
    /// Bytes of the inbox that are decoded already, where the response was over while they were being sent.
    in_hand: Cell<usize>,
    /// The client was told to go on from here.
    continued: bool,
    /// The response has begun, in this framing: nothing else can be said any more.
    begun: Cell<Option<Framing>>,
}

/// After which failures the same request may be sent once more.
struct Repeat<'o> {
    /// Its connection had served another and may have died meanwhile.
    is_stale_harmless: bool,
    /// Those of `retry_on`.
    is_resendable: bool,
    /// A server of HTTP/2 may say that it has not looked at it.
    is_refusable: bool,
    statuses: &'o [u16],
}

impl<'s, 'c, S: Stream> Exchange<'s, 'c, S> {
    pub(super) fn new(
        session: &'s mut Session<'c, S>,
        request: Request,
        preference: Preference,
        persisted: Persisted,
        coding: Option<Algorithm>,
        head: Buffer,
    ) -> Self {
        let (decoder, encoder) = (Decoder::new(request.framing, false), Encoder::new(request.framing));
        Self {
            session,
            head: Some(head),
            request,
            preference,
            persisted,
            coding,
            decoder,
            encoder,
            received: request.length as u64,
            server: None,
            uploaded: Cell::new(false),
            in_hand: Cell::new(0),
            continued: false,
            begun: Cell::new(None),
        }
    }

    /// Serves it from `backend`. By reference, as all that waits: what is moved into a future is there twice.
    pub(super) async fn run(&mut self, backend: Option<BackendId>) -> Next {
        let connection = self.session.connection;
        let worker = connection.worker();
        connection.counters().requests.increment();
        if backend.is_some_and(|backend| worker.node().backends[backend.0].takes_trailers) {
            self.decoder = Decoder::new(self.request.framing, true);
        }
        if self.take_content().is_err() {
            return self.fail(Termination::BadRequest, None).await;
        }
        if connection.frontend().options.wait_for_body
            && let Err(termination) = self.wait_for_body().await
        {
            connection.log(Record::never_whole);
            return self.fail(termination, None).await;
        }
        self.uploaded.set(self.decoder.is_done());
        let Some(backend) = backend else {
            connection.count(Event::NoServer);
            connection.log(Record::went_nowhere);
            return self.fail(Termination::ServerConnect, None).await;
        };
        let options = &worker.node().backend(backend).options;
        let budget = worker.retry_budget(backend);
        budget.request();
        self.session.backend = Some(backend);
        worker.counters().backends[backend.0].requests.increment();
        connection.log(|record| {
            record.sent_to(backend);
            if worker.node().backends[backend.0].cookie.as_ref().is_some_and(|policy| policy.is_told()) {
                record.cookie = [self.persisted.seen.letter(), cookie::Done::Nothing.letter()];
            }
        });
        // Before a connection is chosen, which is to be written to as soon as it is known that nothing has come there.
        turns::behind_the_others().await;
        let mut search = worker.search(connection.frontend_id(), backend, self.preference);
        if worker.node().backends[backend.0].introduces {
            search.introduce(self.introduction());
        }
        if worker.node().backends[backend.0].tells_host {
            let host = self.head.as_ref().and_then(|head| server_name::asked_for(head.filled()));
            search.ask_for(host.and_then(|host| worker.peer_name(host)));
        }
        if self.request.private {
            search.keep_apart();
        }
        // That of another backend waits for the next request that goes there.
        if let Some(own) = self.session.own.take_if(|own| own.backend() == backend) {
            search.offer(*own);
        }
        // The whole request is in the head's buffer, so it could be sent again.
        let is_whole = self.decoder.is_done();
        let is_repeatable = is_whole && self.request.method.is_idempotent();
        let is_resendable =
            is_whole && options.retry.resends() && (is_repeatable || options.retry.any_method);
        let mut reuse = self.reuse(options.pool.reuse, is_repeatable);
        // It was refused with others, of a server that had choked on one of them.
        let mut was_beside = false;
        loop {
            let upstream = match self.search(&mut search, reuse).await {
                Ok(upstream) => upstream,
                Err(termination) => return self.fail(termination, Some(&search)).await,
            };
            connection.set_server(&upstream);
            self.server = Some(upstream.server_index());
            upstream.counters().bytes_in.add(std::mem::take(&mut self.received));
            let is_resendable = is_resendable && search.has_retries();
            let repeat = Repeat {
                is_stale_harmless: is_repeatable && upstream.is_reused(),
                is_resendable,
                is_refusable: is_whole && search.has_retries() && upstream.stream().lane().is_some(),
                statuses: if is_resendable { &options.retry.statuses } else { &[] },
            };
            let mut failed = match self.attempt(&upstream, &repeat).await {
                Ok(done) => {
                    let introduced = search.introduced_to(upstream.server_index());
                    return self.finish(upstream, done, introduced).await;
                }
                Err(failed) => failed,
            };
            failed.termination = failed.termination.with_response(self.begun.get().is_some());
            if let Some(framing) = self.begun.get() {
                upstream.stream().abort();
                // Chunks and a length show the client that there is more; an orderly end alone would say that this was all.
                if framing == Framing::UntilClose {
                    connection.stream().abort();
                }
                self.note(failed.termination, None, &search);
                return Next::Close;
            }
            let seen = failed.termination.seen();
            let Some(failure) = failed.again else {
                if let Some(seen) = seen {
                    upstream.note(seen);
                }
                drop(upstream);
                return self.fail(failed.termination, Some(&search)).await;
            };
            let is_refused = repeat.is_refusable && failure == Failure::Empty && upstream.was_refused();
            let has_ended = failure == Failure::Empty && !is_refused && upstream.may_be_stale();
            let is_stale = repeat.is_stale_harmless && has_ended;
            // A server may end an idle connection at any time, and a status was seen with its head.
            if let Some(seen) = seen.filter(|_| !is_stale && !is_refused && failure != Failure::Status) {
                upstream.note(seen);
            }
            let is_covered = is_refused
                || is_resendable
                    && match failure {
                        Failure::Empty => options.retry.empty_response,
                        Failure::Junk => options.retry.junk_response,
                        Failure::Timeout => options.retry.response_timeout,
                        // Its place in the budget is taken already.
                        Failure::Status => true,
                    };
            // What a server has not looked at is no load to it twice.
            let is_free = is_refused || failure == Failure::Status;
            if !(is_stale || is_covered) || !(is_free || budget.take()) {
                if is_stale || is_covered {
                    connection.count(Event::RetryRefused);
                }
                drop(upstream);
                return self.fail(failed.termination, Some(&search)).await;
            }
            let is_suspect = match upstream.blame() {
                Blame::None => is_stale || (has_ended && upstream.stream().lane().is_some()),
                Blame::First => true,
                // Those beside it go together once more. Where that ends in the same way it may be any of them, and a
                // connection for each is what the budget is for.
                Blame::Other if is_refused => std::mem::replace(&mut was_beside, true) && budget.take(),
                Blame::Other => true,
            };
            if is_suspect {
                // It may be the request that has ended it, with all that was on it: not with others once more.
                reuse = Reuse::Fresh;
            }
            if is_stale {
                connection.count(Event::StaleRetry);
            } else {
                connection.count(Event::Resend);
                search.send_again(upstream.server_index());
            }
            tracing::debug!(
                backend = %upstream.backend().name,
                server = %upstream.server().name,
                stale = is_stale,
                ?failure,
                "the request is sent again"
            );
            connection.log(Record::tries_again);
        }
    }

    /// Whose it is, as a server is told.
    fn introduction(&self) -> Introduction {
        let (connection, remembered) = (self.session.connection, self.session.memory.exchange.as_ref());
        let unique_id = remembered.and_then(|request| request.variables.value(VariableId::REQUEST_ID));
        let source = remembered.map_or(connection.peer(), |request| request.client);
        Introduction {
            unique_id: unique_id.unwrap_or_default().to_vec(),
            ..Introduction::new(source, connection.local(), connection.tls())
        }
    }

    /// May the request travel on a connection that served somebody else?
    fn reuse(&self, mode: ReuseMode, is_repeatable: bool) -> Reuse {
        match mode {
            ReuseMode::Never => Reuse::Forbidden,
            ReuseMode::Always => Reuse::Allowed,
            _ if is_repeatable || !self.session.is_first() => Reuse::Allowed,
            ReuseMode::Aggressive => Reuse::Proven,
            // A client's first request goes over a used connection only if it could be repeated on a fresh one.
            ReuseMode::Safe => Reuse::Forbidden,
        }
    }

    /// Finds a connection to a server, unless the client goes away first: then there is nobody to answer.
    async fn search(&mut self, search: &mut Search, reuse: Reuse) -> Result<Upstream, Termination> {
        let connection = self.session.connection;
        let found = {
            let recorded = OnRecord::new(search, connection);
            self.find(recorded.search, reuse).await
        };
        match found {
            Some(Ok(upstream)) => {
                let server = upstream.server_index();
                let has_left = self.persisted.seen == Seen::Valid && self.persisted.server != Some(server);
                connection.log(|record| {
                    record.connected(server);
                    if has_left && record.cookie[0] != Seen::Nothing.letter() {
                        record.cookie[0] = Seen::Down.letter();
                    }
                });
                Ok(upstream)
            }
            Some(Err(error)) => Err(Termination::of_search(&error)),
            None if search.is_in_line() => Err(Termination::ClientAbortInQueue),
            None => Err(Termination::ClientAbortInConnect),
        }
    }

    /// `None` if the client has gone away.
    async fn find(&mut self, search: &mut Search, reuse: Reuse) -> Option<Result<Upstream, Error>> {
        let Session { inbound, deadline, .. } = &mut *self.session;
        let gives_up = search.backend().options.abortonclose.unwrap_or(true);
        if inbound.ended {
            inbound.deadline.arm(GRACE);
        }
        let mut connect = pin!(search.connect(reuse, deadline));
        poll_fn(|context| {
            if let Poll::Ready(found) = connect.as_mut().poll(context) {
                return Poll::Ready(Some(found));
            }
            // Content that does not fit hides the end of the client: that is found out when it is read.
            match inbound.poll_departure(context) {
                Poll::Ready(Departure::Broken) => return Poll::Ready(None),
                Poll::Ready(Departure::Ended) => inbound.deadline.arm(GRACE),
                Poll::Pending => {}
            }
            if gives_up && inbound.ended {
                inbound.deadline.poll_expired(context).map(|()| None)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Sends the request and passes the response on.
    async fn attempt(&mut self, upstream: &Upstream, repeat: &Repeat<'_>) -> Result<Done, Failed> {
        let Session { connection, inbound, deadline, memory, .. } = &mut *self.session;
        if upstream.backend().options.server_name_header.is_some()
            && let Some(head) = self.head.take()
        {
            let out = connection.worker().heads().take();
            self.head = Some(server_name::write(head, upstream.backend(), &upstream.server().name, out));
        }
        let bytes = self.head.as_ref().map_or(&[][..], Buffer::filled);
        let accept = (self.request.upgrade && S::VERSION == Some(Version::Http2))
            .then(|| websocket::accept_of_request(bytes));
        let timeout = upstream.backend().timeout.server;
        let mut pieces = &mut [IoSlice::new(bytes)][..];
        if inbound.inbox.is_some() && matches!(self.decoder, Decoder::Length(1..)) {
            // Some of the content is here, and had no place behind the head.
            write::ahead(upstream.stream(), &mut pieces);
        }
        match write::all_vectored(upstream.stream(), pieces, deadline, timeout).await {
            // A server that ended may have said why.
            Ok(()) | Err(WriteError::Broken) => {}
            Err(WriteError::Elapsed) => return Err(Termination::ServerTimeoutInHead.into()),
        }
        let is_kept = repeat.is_stale_harmless || repeat.is_resendable || repeat.is_refusable;
        self.head.take_if(|_| !is_kept);
        let pace = Pace::new(connection.frontend(), self.request.expects_continue);
        let download = Download {
            connection,
            upstream,
            request: self.request,
            persisted: self.persisted,
            memory: RefCell::new(memory),
            coding: self.coding,
            deadline,
            uploaded: &self.uploaded,
            continued: self.continued,
            accept,
            is_resendable: repeat.is_resendable,
            retried: repeat.statuses,
            begun: &self.begun,
        };
        let mut upload = Upload {
            inbound,
            upstream,
            decoder: &mut self.decoder,
            encoder: &mut self.encoder,
            in_hand: &self.in_hand,
            is_done: &self.uploaded,
            response_deadline: deadline,
            pace: &pace,
        };
        let mut download = pin!(download.run(&mut self.head));
        let mut upload = pin!(upload.run());
        poll_fn(|context| {
            if let Poll::Ready(result) = download.as_mut().poll(context) {
                return Poll::Ready(result);
            }
            upload.as_mut().poll(context).map(|termination| Err(termination.into()))
        })
        .await
    }

    /// `introduced` is who the server was told that the connection is of.
    async fn finish(&mut self, upstream: Upstream, done: Done, introduced: Option<Endpoint>) -> Next {
        let connection = self.session.connection;
        tracing::trace!(
            frontend = %connection.frontend().name,
            client = %connection.peer(),
            backend = %upstream.backend().name,
            server = %upstream.server().name,
            status = done.status,
            reused = upstream.is_reused(),
            termination = "--",
            "exchange"
        );
        if let Some(tunnel) = done.tunnel {
            self.tunnel(&upstream, tunnel).await;
            return Next::Close;
        }
        connection.log(|record| record.ended("--"));
        if !self.uploaded.get() {
            drop(upstream);
            return self.read_out().await;
        }
        if done.reusable {
            let is_authenticated = done.private || upstream.is_private();
            let reuse = upstream.backend().options.pool.reuse;
            if is_authenticated || introduced.is_some() || reuse == ReuseMode::Never {
                let names_request =
                    upstream.server().send_proxy.as_ref().is_some_and(SendProxy::names_request);
                let stays = (!done.close && !names_request).then_some(upstream);
                let patience = connection.frontend().timeout.http_keep_alive;
                self.session.own =
                    stays.and_then(|own| own.keep_own(is_authenticated, introduced, patience)).map(Box::new);
            } else {
                upstream.keep();
            }
        }
        if done.close { Next::Linger } else { Next::Request }
    }

    /// The server has answered before it had the whole request, and nobody gets the rest: how the exchange ends is up to the
    /// client.
    async fn read_out(&mut self) -> Next {
        if let Some(inbox) = &mut self.session.inbound.inbox {
            inbox.consume(self.in_hand.take());
        }
        let rest = self.session.discard(Some(&mut self.decoder)).await;
        if let Some(termination) = rest.termination() {
            self.count(termination);
        }
        if rest == Rest::Whole { Next::Linger } else { Next::Close }
    }

    /// RFC 9110 §7.8: from here on the bytes are not HTTP.
    async fn tunnel(&mut self, upstream: &Upstream, tunnel: Tunnel) {
        let (connection, deadline) = (self.session.connection, &self.session.deadline);
        let inbox = self.session.inbound.inbox.take();
        match pass_early(connection, upstream, deadline, tunnel, inbox).await {
            Ok(()) => tcp::tunnel(connection, upstream, deadline).await,
            Err(termination) => tcp::cut(connection, upstream, termination),
        }
    }
}

/// What both sides have said behind the heads.
async fn pass_early<S: Stream>(
    connection: &Connection<S>,
    upstream: &Upstream,
    deadline: &Deadline,
    Tunnel { from_server }: Tunnel,
    from_client: Option<Buffer>,
) -> Result<(), Termination> {
    let timeout = connection.frontend().timeout.client;
    let written = write::all(connection.stream(), from_server.filled(), deadline, timeout).await;
    written.map_err(|error| match error {
        WriteError::Elapsed => Termination::ClientTimeoutInData,
        WriteError::Broken => Termination::ClientAbortInData,
    })?;
    upstream.sent(connection.sent()).add(from_server.len() as u64);
    let Some(from_client) = from_client else { return Ok(()) };
    let timeout = upstream.backend().timeout.server;
    let written = write::all(upstream.stream(), from_client.filled(), deadline, timeout).await;
    written.map_err(|error| match error {
        WriteError::Elapsed => Termination::ServerTimeoutInData,
        WriteError::Broken => Termination::ServerAbortInData,
    })?;
    upstream.counters().bytes_in.add(from_client.len() as u64);
    Ok(())
}
