//! The head of a response for its client.

use super::Download;
use crate::{
    buffer::Buffer,
    config::ConnectionMode,
    health::passive::Seen,
    http::{
        body::Framing,
        cookie::{self, CookiePolicy},
        head::{
            Fields, Malformed, Progress, Version,
            response::{Head, Hop, Response},
        },
        message::Message,
        outcome::Termination,
    },
    rules::Run,
    sample::{Facts, Variables},
    stream::Stream,
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
    ) -> Result<Option<(Response, Hop)>, Refused> {
        let mut fields = Fields::default();
        let Some(head) = Head::parse(inbox.filled(), progress, &mut fields)? else { return Ok(None) };
        let response = head.check(self.request.method, self.request.upgrade)?;
        let is_final = response.status >= 200;
        if is_final || response.status == 101 {
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
            (Framing::Chunked | Framing::UntilClose, Version::Http11) => Framing::Chunked,
            (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
            (framing @ (Framing::None | Framing::Length(_)), _) => framing,
        };
        let close = response.status != 101
            && (!self.request.persistent
                || framing == Framing::UntilClose
                || !self.uploaded.get()
                || self.connection.is_draining()
                || self.connection.frontend().options.connection == ConnectionMode::Close);
        let hop = Hop { framing, close };
        let rules = &self.connection.worker().node().rules;
        let has_rules =
            is_final && rules.concern_response(self.connection.frontend_id(), self.upstream.backend_id());
        let cookie = self.upstream.cookie().filter(|_| is_final || response.status == 101);
        if has_rules || cookie.is_some() {
            self.edit(head, &response, &hop, has_rules, cookie, out)?;
        } else {
            head.encode(&response, &hop, out);
        }
        Ok(Some((response, hop)))
    }

    /// The head for the client, after rules and then the cookie have changed it, as in HAProxy.
    fn edit(
        &self,
        head: Head<'_>,
        response: &Response,
        hop: &Hop,
        has_rules: bool,
        cookie: Option<&CookiePolicy>,
        out: &mut Buffer,
    ) -> Result<(), Refused> {
        let (connection, upstream) = (self.connection, self.upstream);
        let worker = connection.worker();
        let mut scratch = worker.scratch().borrow_mut();
        let Scratch { edits, work, sample } = &mut *scratch;
        let mut message = Message::of_response(head, edits);
        if has_rules {
            let (none, maps) = (Variables::default(), worker.maps());
            let mut memory = self.memory.borrow_mut();
            let (remembered, session) = memory.of_response(connection.peer());
            let facts = Facts {
                client: remembered.client,
                request: Some(&remembered.request),
                backend: Some(&upstream.backend().name),
                server: Some(&upstream.server().name),
                ..connection.facts(&none, &maps, sample)
            };
            let mut run = Run {
                message: &mut message,
                facts,
                variables: &mut remembered.variables,
                session,
                settles: false,
                work,
                gate: None,
                counted: 0,
                limits: 0,
                ignores_persistence: false,
                tables: &worker.node().tables,
                now: &|| worker.node().now(),
            };
            let rules = &worker.node().rules;
            match rules.run_response(connection.frontend_id(), upstream.backend_id(), &mut run) {
                Ok(None) => {}
                Ok(Some(status)) => return Err(Refused::Here(Termination::DeniedResponse(status))),
                // What the server sent was fine: it is our rules that made too much of it.
                Err(_) => return Err(Refused::Here(Termination::FailedRewrite)),
            }
        }
        if let Some(policy) = cookie {
            let (method, persisted) = (self.request.method, &self.persisted);
            cookie::pass_response(policy, upstream, method, persisted, &mut message, work);
        }
        message.encode_response(response, hop, out);
        Ok(())
    }
}
