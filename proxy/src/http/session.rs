//! A client's requests, one after the other, each answered before the next one is looked at.
//!
//! ```text
//! idle (no buffer) ── bytes ──> receive: head whole? ──> exchange ──> idle, or the next one already in the buffer
//!                                 └ refused, late ──> local reply, close
//! ```
//! A session lasts from the first byte of a request until nothing of the client's is left: then the connection is
//! [`Idle`], and only that stays of it.

mod answer;

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    exchange::Exchange,
    head::{
        Malformed, Progress,
        request::{Method, Request},
    },
    idle::{Ahead, Armed, Idle, Waited},
    inbound::Inbound,
    incoming::{self, Incoming, Kept, Parsed, Then},
    memory::{Memory, Remembrance},
    outcome::Termination,
    proof,
    reply::Reply,
};
use crate::{
    auth::Busy,
    buffer::Buffer,
    config::BackendId,
    connection::Connection,
    log::Record,
    metrics::Event,
    refusals::{Noted, Why},
    stream::Stream,
    upstream::Own,
    wheel::Deadline,
};

/// What a client's requests need while one is here.
pub(crate) struct Session<'c, S> {
    pub(super) connection: &'c Connection<S>,
    pub(super) inbound: Inbound<'c, S>,
    /// For waits on servers, and for responses that the client does not take.
    pub(super) deadline: &'c Deadline,
    /// A connection to a server that nobody else may use.
    pub(super) own: Option<Box<Own>>,
    /// The backend of the request in hand, once it is chosen: its pages go before those of the frontend.
    pub(super) backend: Option<BackendId>,
    /// When the client was.
    accepted: Instant,
    /// Requests served before.
    served: u64,
    /// The request that was received and that nobody serves yet. Here, since it is large: each function that waits and has it as an
    /// argument would have a place of its own for it in the room.
    incoming: Option<Incoming<'c>>,
    /// The request in hand is the last one, as its client has said, and has no content.
    pub(super) is_last: bool,
    /// Of what was asked.
    pub(super) memory: Memory,
    /// For what the inbound deadline is armed.
    armed: Armed,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// Nothing of the client's is here.
    Idle,
    /// The connection is to be closed.
    Closed,
    /// The next request is to be served under another generation of the configuration.
    Outdated,
}

/// What happens to the connection after an exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Another request may come.
    Request,
    /// Nothing of one is here.
    Idle,
    /// It is closed.
    Close,
    /// It is closed, after what the client still sends was read for a while.
    Linger,
    /// Another session goes on with it.
    Outdated,
}

impl<'c, S: Stream> Session<'c, S> {
    /// Goes on from `idle`; what there is room for in `exchange` is forgotten.
    pub(super) fn new(
        connection: &'c Connection<S>,
        idle: Idle,
        deadline: &'c Deadline,
        exchange: Option<Box<Remembrance>>,
    ) -> Self {
        let Idle { deadline: inbound_deadline, armed, own, accepted, served, variables, ahead } = idle;
        let (inbox, ended) = match ahead {
            Some(ahead) => (Some(ahead.inbox), ahead.ended),
            None => (None, false),
        };
        Self {
            connection,
            inbound: Inbound { connection, inbox, ended, deadline: inbound_deadline },
            deadline,
            own,
            backend: None,
            accepted,
            served,
            incoming: None,
            is_last: false,
            memory: Memory { session: variables, exchange },
            armed,
        }
    }

    /// What the connection keeps, and room for what is kept of another exchange.
    pub(super) fn leave(self) -> (Idle, Option<Box<Remembrance>>) {
        let Self { inbound, own, accepted, served, memory, armed, .. } = self;
        let Inbound { inbox, ended, deadline, .. } = inbound;
        let ahead = inbox.map(|inbox| Box::new(Ahead { inbox, ended }));
        let idle = Idle { deadline, armed, own, accepted, served, variables: memory.session, ahead };
        (idle, memory.exchange)
    }

    /// Serves requests until none is here, the connection is to be closed, or another session is to go on with it.
    pub(super) async fn run(&mut self, waited: Waited) -> Left {
        let mut waited = Some(waited);
        loop {
            // A client whose requests come one by one in quick succession must not keep the worker either.
            tokio::task::consume_budget().await;
            let next = match self.receive(waited.take()).await {
                Ok(true) => self.serve().await,
                Ok(false) => Next::Close,
                Err(refusal) => self.refuse(refusal).await,
            };
            match next {
                // A request that is answered here waits for nothing, and the next one is here already: others first.
                Next::Request if self.inbound.has_bytes() => tokio::task::yield_now().await,
                Next::Request if self.may_go_on() => {}
                Next::Request | Next::Close => return Left::Closed,
                Next::Linger => {
                    self.linger().await;
                    return Left::Closed;
                }
                Next::Idle => return Left::Idle,
                Next::Outdated => return Left::Outdated,
            }
        }
    }

    async fn serve(&mut self) -> Next {
        self.served += 1;
        self.backend = None;
        let next = self.answer().await;
        self.end_log();
        self.connection.clear_server();
        next
    }

    fn may_go_on(&self) -> bool {
        !self.inbound.ended || self.inbound.has_bytes()
    }

    pub(super) fn is_first(&self) -> bool {
        self.served == 1
    }

    async fn answer(&mut self) -> Next {
        let Some(incoming) = self.incoming.take() else { return Next::Close };
        let Incoming { request, preference, persisted, coding, head, content, then, answered_in } = incoming;
        if let Some(backend) = answered_in {
            self.enter(backend, &request);
        }
        match then {
            Then::Forward(backend) => {
                Exchange::new(self, request, preference, persisted, coding, head).run(backend).await
            }
            Then::Deny(status) | Then::Page(status) => {
                let is_refused = matches!(then, Then::Deny(_));
                self.note_answer(
                    if is_refused { Termination::Denied } else { Termination::Answered },
                    status,
                );
                let close = incoming::closes(&request, self.inbound.ended, self.connection);
                let (head_only, refused) = (request.method == Method::Head, Some(request.method));
                self.send(Reply { head_only, refused, ..Reply::new(status, close) }).await
            }
            Then::Limited { status, retry_after } => {
                self.note_answer(Termination::Limited, status);
                let close = incoming::closes(&request, self.inbound.ended, self.connection);
                let head_only = request.method == Method::Head;
                self.send(Reply { head_only, retry_after: Some(retry_after), ..Reply::new(status, close) })
                    .await
            }
            Then::Tarpit(status) => {
                // A connection that waits owns no buffer.
                drop(head);
                self.hold(status).await;
                self.reply(status, true, request.method == Method::Head).await
            }
            Then::Statistics(wanted) => self.inquire(&request, wanted, content.into_owned()).await,
            Then::Challenge(wanted) => {
                self.note_answer(Termination::Challenged, 401);
                let close = incoming::closes(&request, self.inbound.ended, self.connection);
                let head_only = request.method == Method::Head;
                let challenge = Some(wanted.challenge());
                self.send(Reply { head_only, challenge, ..Reply::new(401, close) }).await
            }
            Then::Monitor(status) => {
                // Nobody's request: neither counted as one nor logged.
                self.connection.count(Event::Monitor);
                self.connection.forget_log();
                let close = incoming::closes(&request, self.inbound.ended, self.connection);
                let head_only = request.method == Method::Head;
                self.write_reply(Reply { head_only, ..Reply::new(status, close) }).await
            }
            Then::Answer { status, close, denies } => {
                let termination = if denies { Termination::Denied } else { Termination::Answered };
                self.note_answer(termination, status);
                self.count(status);
                self.write_whole(&head, &content, close).await
            }
        }
    }

    /// The rules of this backend answer: it is one of its requests, though no server of it ever sees it.
    fn enter(&mut self, backend: BackendId, request: &Request) {
        self.backend = Some(backend);
        let counters = &self.connection.worker().counters().backends[backend.0];
        counters.requests.increment();
        counters.peak.raise(self.connection.worker().node().backends[backend.0].load() + 1);
        counters.unserved.bytes_in.add(request.length as u64);
        self.connection.log(|record| record.answered_in(backend));
    }

    pub(super) fn note_answer(&self, termination: Termination, status: u16) {
        let connection = self.connection;
        connection.counters().requests.increment();
        if let Some(event) = termination.event() {
            connection.count(event);
        }
        if let Some(backend) = self.backend {
            connection.worker().counters().backends[backend.0].unserved.failed(termination);
        }
        connection.log(|record| record.ended(termination.code()));
        tracing::debug!(
            frontend = %connection.frontend().name,
            client = %connection.peer(),
            termination = termination.code(),
            status,
            "answered by a rule"
        );
    }

    /// Lets a client wait for its answer, or until it ends its side. It holds nothing but its connection, which is idle
    /// for a node that drains: that closes it.
    async fn hold(&mut self, status: u16) {
        self.note_answer(Termination::Tarpitted, status);
        let connection = self.connection;
        // Whatever else it has sent: the connection ends after the answer.
        self.inbound.inbox = None;
        self.release();
        connection.set_idle();
        let wait = connection.frontend().timeout.tarpit;
        // Over or ended: it is answered in either case, as in HAProxy.
        if self.deadline.limit(wait, pin!(connection.stream().ended())).await.is_ok() {
            connection.log(|record| record.ended(Termination::ClientAbortInTarpit.code()));
        }
        connection.log(Record::was_held);
        connection.set_busy();
    }

    /// Lets go of what requests needed, for a connection that will send none any more.
    pub(super) fn release(&mut self) {
        self.own = None;
        self.memory.exchange = None;
    }

    /// Waits for the next request. False if there will be none.
    async fn receive(&mut self, mut waited: Option<Waited>) -> Result<bool, Refusal> {
        let mut progress = Progress::default();
        let mut kept = Kept::default();
        loop {
            // One that waits for a proof was looked at by rules already.
            if kept.proof.is_none() && self.connection.is_to_renew() {
                return Err(Refusal::Outdated);
            }
            match waited.take() {
                Some(Waited::Readable) if self.inbound.read().is_err() => {
                    return self.stopped(&progress, Termination::ClientAbortInHead);
                }
                Some(Waited::Broken) => return self.stopped(&progress, Termination::ClientAbortInHead),
                Some(Waited::Elapsed) => return self.stopped(&progress, Termination::ClientTimeoutInHead),
                Some(Waited::Readable | Waited::Ahead) | None => {}
            }
            if let Some(inbox) = self.inbound.inbox.as_mut().filter(|inbox| !inbox.is_empty()) {
                self.connection.set_busy();
                if self.connection.is_recorded() && progress.has_begun(inbox.filled()) {
                    begin_log(self.connection, inbox.len());
                }
                let parsed = incoming::parse(
                    inbox,
                    &mut progress,
                    self.inbound.ended,
                    &mut self.memory,
                    &mut kept,
                    self.connection,
                )
                .inspect_err(|fault| {
                    // Its bytes are as they should be where a rule is to blame.
                    if !matches!(fault, Malformed::FailedRewrite | Malformed::RewrittenHost) {
                        self.connection.keep_invalid_request(inbox.filled(), *fault);
                    }
                })?;
                match parsed {
                    Parsed::Whole(incoming) => {
                        if !matches!(incoming.then, Then::Monitor(_)) {
                            let head = &inbox.filled()[..incoming.request.length];
                            let config = &self.connection.worker().node().config;
                            let then = &incoming.then;
                            self.connection
                                .trace_begin(head, |record| then.decision(config, record.is_by_rule));
                        }
                        inbox.consume(incoming.request.length);
                        self.is_last = incoming.request.is_last();
                        self.inbound.release_if_empty();
                        self.armed = Armed::No;
                        self.incoming = Some(incoming);
                        return Ok(true);
                    }
                    Parsed::Unknown(question) => {
                        // In a box of its own, as most requests ask nothing.
                        kept.proof = Some(Box::pin(proof::find(self, question)).await?);
                        progress = Progress::default();
                        continue;
                    }
                    Parsed::Part if inbox.is_full() => inbox.enlarge(),
                    Parsed::Part => {}
                }
            }
            if self.inbound.ended {
                return self.stopped(&progress, Termination::ClientAbortInHead);
            }
            let Some(inbox) = &self.inbound.inbox else { return Err(Refusal::Idle) };
            let (deadline, frontend) = (&self.inbound.deadline, self.connection.frontend());
            if progress.has_begun(inbox.filled()) {
                self.armed.for_head(deadline, frontend);
            } else {
                // RFC 9112 §2.2: empty lines before a request are no sign of life.
                self.armed.for_byte(deadline, frontend, self.served);
                self.connection.set_idle();
            }
            let readable = deadline.guard(self.connection.stream().readable());
            waited = self.connection.unless_outdated(readable).await.map(Waited::from);
        }
    }

    /// Its client ended, broke or was late, in the middle of a head or between two of them.
    fn stopped(&self, progress: &Progress, why: Termination) -> Result<bool, Refusal> {
        let begun = self.inbound.inbox.as_ref().is_some_and(|inbox| progress.has_begun(inbox.filled()));
        if begun {
            return Err(Refusal::Stopped(why));
        }
        if self.served > 0 {
            return Ok(false);
        }
        // One without a request is counted. It is answered, and has a line, if probes are not ignored.
        self.connection.count(Event::NullConnection);
        if self.connection.frontend().options.ignore_probes { Ok(false) } else { Err(Refusal::Silent(why)) }
    }

    async fn refuse(&mut self, refusal: Refusal) -> Next {
        let (termination, status, fault) = match refusal {
            Refusal::Malformed(fault @ Malformed::FailedRewrite) => {
                (Termination::FailedRequestRewrite, fault.status(), Some(fault))
            }
            Refusal::Malformed(malformed) => (Termination::BadRequest, malformed.status(), Some(malformed)),
            Refusal::Idle => return Next::Idle,
            Refusal::AuthBusy(busy) => return self.refuse_busy(busy).await,
            Refusal::Gone => {
                let termination = Termination::ClientAbortInContent;
                self.connection.counters().requests.increment();
                self.connection.count(Event::ClientAbort);
                self.log_refusal(termination, None, None);
                self.end_log();
                return Next::Close;
            }
            Refusal::Outdated => return Next::Outdated,
            Refusal::Stopped(termination) | Refusal::Silent(termination) => {
                (termination, termination.status().unwrap_or(400), None)
            }
        };
        let connection = self.connection;
        connection.counters().requests.increment();
        if termination != Termination::FailedRequestRewrite {
            connection.counters().request_errors.increment();
        }
        if let Some(event) = termination.event() {
            connection.count(event);
        }
        let is_silent = matches!(refusal, Refusal::Silent(_));
        if !is_silent || !connection.frontend().options.dontlognull {
            if is_silent {
                connection.begin_log(self.accepted);
            }
            self.log_refusal(termination, Some(status), fault);
        }
        let next = self.reply(status, true, false).await;
        // What was not read is its own: it has no end.
        connection.log(|record| record.received_until = Some(connection.received().value()));
        connection.end_log();
        next
    }

    /// What was not read of the client's bytes yet belongs to the next request.
    fn end_log(&self) {
        let ahead = self.inbound.inbox.as_ref().map_or(0, Buffer::len) as u64;
        let received = self.connection.received().value();
        self.connection.log(|record| record.received_until = Some(received - ahead));
        self.connection.end_log();
    }

    /// The connection ends, and with it what the client has sent behind: a client that floods has to connect again.
    async fn refuse_busy(&mut self, busy: Busy) -> Next {
        let status = if busy == Busy::Source { 429 } else { 503 };
        let (connection, termination) = (self.connection, Termination::AuthBusy);
        connection.counters().requests.increment();
        termination.event().inspect(|event| connection.count(*event));
        self.log_refusal(termination, Some(status), None);
        let Noted { reason, more } = connection.refuse(Why::Passwords);
        connection.log(|record| record.reason = Some(Arc::clone(&reason)));
        if let (reason, Some(more)) = (&*reason, more) {
            let (frontend, code) = (&connection.frontend().name, termination.code());
            tracing::warn!(%frontend, status, termination = code, reason, more, "refused");
        }
        let reply = Reply { retry_after: Some(Duration::from_secs(1)), ..Reply::new(status, true) };
        let next = self.send(reply).await;
        self.end_log();
        next
    }

    fn log_refusal(&self, termination: Termination, status: Option<u16>, fault: Option<Malformed>) {
        let connection = self.connection;
        connection.log(|record| {
            record.ended(termination.code());
            record.reason = fault.map(|fault| fault.to_string().into());
        });
        tracing::debug!(
            frontend = %connection.frontend().name,
            client = %connection.peer(),
            termination = termination.code(),
            status,
            fault = fault.map(tracing::field::display),
            "request refused"
        );
    }
}

/// The first byte of a request is here, with so many more that were not looked at yet.
fn begin_log<S>(connection: &Connection<S>, ahead: usize) {
    if !connection.has_log() {
        connection.begin_log(Instant::now());
        connection.log(|record| record.received_before -= ahead as u64);
    }
}

/// Why a request is answered without having been understood.
pub(super) enum Refusal {
    Malformed(Malformed),
    Stopped(Termination),
    /// Nothing of one is here: the connection waits for it elsewhere.
    Idle,
    /// Not a byte of it came.
    Silent(Termination),
    /// Nobody can say now who sent it.
    AuthBusy(Busy),
    /// The client has left.
    Gone,
    /// Another session goes on with it.
    Outdated,
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}
