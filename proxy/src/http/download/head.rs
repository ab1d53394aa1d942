//! The head of a response for its client.

use super::Download;
use crate::{
    buffer::Buffer,
    config::{Compression, ConnectionMode, Hsts},
    health::passive::Seen,
    http::{
        body::Framing,
        compression::{self, Coder},
        cookie::{self, CookiePolicy},
        head::{
            Field, Fields, Malformed, Progress, Version,
            request::Method,
            response::{Head, Hop, Lines, Response},
        },
        message::Message,
        outcome::Termination,
        websocket,
    },
    http2::Coded,
    rules::{Content, Instead, Run},
    sample::{Facts, Moment, Variables},
    stream::Stream,
    upstream::balance::Usable,
    worker::Scratch,
};

/// Why a response is not passed on.
pub(super) enum Refused {
    /// It is not valid.
    Malformed(Malformed),
    /// The request is sent again instead.
    Retried,
    /// Our own rules don't let it pass.
    Here(Termination),
}

/// What a head means, and what its client is told.
pub(super) struct Parsed {
    pub(super) response: Response,
    pub(super) hop: Hop,
    /// The content is coded on its way.
    pub(super) coder: Option<Coder>,
}

/// What changes a head besides its framing.
struct Changes<'c> {
    has_rules: bool,
    hsts: Option<&'c Hsts>,
    cookie: Option<&'c CookiePolicy>,
    compression: Option<&'c Compression>,
    /// A line in a log wants to know something of it.
    is_logged: bool,
}

impl Changes<'_> {
    fn is_any(&self) -> bool {
        self.has_rules
            || self.hsts.is_some()
            || self.cookie.is_some()
            || self.compression.is_some()
            || self.is_logged
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl<S: Stream> Download<'_, S> {
    /// The response at the start of `inbox`, if its head is whole; its head for the client is in `out`. Not async: the
    /// fields live on the stack and are gone before anything waits. `is_kept` says if the request is there to be sent again.
    pub(super) fn parse(
        &self,
        inbox: &Buffer,
        progress: &mut Progress,
        is_kept: bool,
        out: &mut Buffer,
    ) -> Result<Option<Parsed>, Refused> {
        let mut fields = Fields::default();
        let Some(head) = Head::parse(inbox.filled(), progress, &mut fields)? else { return Ok(None) };
        let mut response = head.check(self.request.method, self.request.upgrade)?;
        let is_final = response.status >= 200;
        let is_switch = response.status == 101;
        if let Some(accept) = &self.accept {
            // RFC 6455 §4.1, for a client that can't see it. That 2xx is no tunnel to the client is not its server's fault.
            let is_answer = |field: Field<'_>| field.name.eq_ignore_ascii_case(websocket::ACCEPT);
            let said = head.fields().find(|field| is_answer(*field)).map(|field| field.value);
            if is_switch && said != Some(accept) {
                return Err(Malformed::SwitchingProtocols.into());
            }
        }
        if is_final || is_switch {
            // What it says of the server, whatever becomes of it here.
            self.upstream.note(Seen::Response(response.status));
            if is_kept
                && self.retried.contains(&response.status)
                && self.connection.worker().retry_budget(self.upstream.backend_id()).take()
            {
                return Err(Refused::Retried);
            }
            self.upstream.counters().response(response.status);
        }
        let framing = match (response.framing, self.request.version) {
            (Framing::Chunked | Framing::UntilClose, Version::Http11 | Version::Http2) => Framing::Chunked,
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
            (framing @ (Framing::None | Framing::Length(_)), _) => framing,
        };
        let close = !is_switch
            && (!self.request.persistent
                || framing == Framing::UntilClose
                || !self.uploaded.get()
                || self.connection.is_draining()
                || self.connection.frontend().options.connection == ConnectionMode::Close);
        if is_final || is_switch {
            self.connection.log_response(&head);
        }
        let mut hop = Hop { framing, close };
        let (frontend, backend) = (self.connection.frontend_id(), self.upstream.backend_id());
        let rules = &self.connection.worker().node().rules;
        let changes = Changes {
            has_rules: (is_final || is_switch) && rules.concern_response(frontend, backend),
            hsts: self.connection.hsts().filter(|_| is_final || is_switch),
            cookie: self.upstream.cookie().filter(|_| is_final || is_switch),
            compression: self.connection.compression(Some(backend)).filter(|_| is_final),
            is_logged: (is_final || is_switch) && self.connection.log_keeps_at(Moment::Response),
        };
        let coder = if changes.is_any() {
            self.edit(head, &mut response, &mut hop, &changes, out)?
        } else {
            match self.is_coded() {
                true => head.put(&response, &hop, &mut Coded::new(out)),
                false => head.encode(&response, &hop, out),
            }
            None
        };
        Ok(Some(Parsed { response, hop, coder }))
    }

    /// Is the head for a stream, which gets it as a field section? The answer to who asks for a WebSocket means something else there.
    fn is_coded(&self) -> bool {
        S::VERSION == Some(Version::Http2) && !self.request.upgrade
    }

    /// The head for the client, after HSTS, then rules, then the cookie, then compression have changed it, as in HAProxy. What codes
    /// the content, if it is coded.
    fn edit(
        &self,
        head: Head<'_>,
        response: &mut Response,
        hop: &mut Hop,
        changes: &Changes<'_>,
        out: &mut Buffer,
    ) -> Result<Option<Coder>, Refused> {
        let (connection, upstream) = (self.connection, self.upstream);
        let worker = connection.worker();
        let mut scratch = worker.scratch().borrow_mut();
        let Scratch { edits, work, compared, sample } = &mut *scratch;
        let mut message = Message::of_response(head, edits);
        let none = Variables::default();
        let facts = connection.facts(&none, sample);
        connection.keep_for_log(Moment::Response, &Facts { response: Some(&message), ..facts });
        if let Some(hsts) = changes.hsts {
            // Rules may say otherwise.
            let set = message.set(Hsts::NAME.as_bytes(), hsts.value().as_bytes());
            set.map_err(|_| Refused::Here(Termination::FailedRewrite))?;
        }
        if changes.has_rules {
            let mut memory = self.memory.borrow_mut();
            let (remembered, session) = memory.of_response(connection.peer());
            let facts = Facts {
                client: remembered.client,
                request: Some(&remembered.request),
                backend: Some(&upstream.backend().name),
                server: Some(&upstream.server().name),
                ..facts
            };
            let rules = &worker.node().rules;
            let mut run = Run {
                message: &mut message,
                facts,
                variables: &mut remembered.variables,
                session,
                settles: rules.settles(connection.frontend_id(), connection.frontend()),
                compared,
                work,
                gate: None,
                counted: 0,
                limits: 0,
                entered: None,
                ignores_persistence: false,
                is_chosen: false,
                is_logged: None,
                server: None,
                is_usable: &|_, _| false,
                count_usable: &|backend| worker.with_usable(backend, Usable::count),
                tables: &worker.node().tables,
                now: &|| worker.node().now(),
            };
            let judged = rules.run_response(connection.frontend_id(), upstream.backend_id(), &mut run);
            let (facts, is_logged) = (run.facts, run.is_logged);
            if let Some(is_logged) = is_logged {
                connection.log(|record| record.is_silent = !is_logged);
            }
            let variables = &remembered.variables;
            connection.keep_for_log(Moment::Rules, &Facts { session, variables, ..facts });
            match judged {
                Ok(None) => {}
                Ok(Some(Instead::Page(status))) => {
                    return Err(Refused::Here(Termination::DeniedResponse(status)));
                }
                Ok(Some(Instead::Answer(respond))) => {
                    let facts = Facts { response: Some(&message), session, variables, ..facts };
                    let is_page = matches!(respond.content, Content::Page);
                    remembered.answer = (!is_page).then(|| respond.answer(&facts));
                    return Err(Refused::Here(match respond.denies {
                        true => Termination::DeniedResponse(respond.status),
                        false => Termination::ReplacedResponse(respond.status),
                    }));
                }
                // What the server sent was fine: it is our rules that made too much of it.
                Err(_) => return Err(Refused::Here(Termination::FailedRewrite)),
            }
        }
        if let Some(policy) = changes.cookie {
            let (method, persisted) = (self.request.method, &self.persisted);
            let done = cookie::pass_response(policy, upstream, method, persisted, &mut message, work);
            if policy.is_told() {
                connection.log(|record| record.cookie[1] = done.letter());
            }
        }
        let mut coder = None;
        if let Some(policy) = changes.compression {
            let compressors = worker.compressors();
            let (accepted, request) = (self.coding.filter(|_| !compressors.is_spent()), &self.request);
            let coding = compression::of_response(policy, accepted, request, response, &mut message, work);
            // As above.
            let coding = coding.map_err(|_| Refused::Here(Termination::FailedRewrite))?;
            if self.request.method == Method::Head && coding.is_some() {
                // RFC 9110 §9.3.2: the length is that of a GET, and so not known.
                response.announced = None;
            } else {
                coder = coding.map(|coding| Coder::new(compressors, coding, policy.level));
            }
        }
        if coder.is_some() {
            hop.framing = Framing::Chunked;
        }
        // A rule may have given it another one.
        response.status = message.status();
        match self.is_coded() {
            true => message.put_response(response, hop, &mut Coded::new(out)),
            false => message.put_response(response, hop, &mut Lines(out)),
        }
        Ok(coder)
    }
}
