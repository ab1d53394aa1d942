//! An exchange that came to nothing: what the client is told, and what is counted and logged of it.

use std::sync::Arc;

use super::Exchange;
use crate::{
    config::ConnectionMode,
    http::{head::request::Method, outcome::Termination, session::Next},
    refusals::{Noted, Why},
    stream::Stream,
    upstream::Search,
};

impl<S: Stream> Exchange<'_, '_, S> {
    /// Answers for the server, if there is anybody to answer.
    pub(super) async fn fail(&mut self, termination: Termination, search: Option<&Search>) -> Next {
        let status = termination.status();
        match search {
            Some(search) => self.note(termination, status, search),
            None => self.note_refusal(termination, status),
        }
        let Some(status) = status else { return Next::Close };
        let by_rule =
            matches!(termination, Termination::DeniedResponse(_) | Termination::ReplacedResponse(_));
        if status == 503 && !by_rule {
            self.say_why(termination, search);
        }
        if let (502 | 504, Some(search)) = (status, search) {
            self.say_what_came(termination, status, search);
        }
        if let Some(counters) = self.session.backend_counters() {
            counters.unserved.bytes_in.add(self.received);
        }
        let session = &mut *self.session;
        let close = termination == Termination::BadRequest
            || !self.uploaded.get()
            || !self.request.persistent
            || session.inbound.ended
            || session.connection.is_draining()
            || session.connection.frontend().options.connection == ConnectionMode::Close;
        let head_only = self.request.method == Method::Head;
        match session.memory.take_answer() {
            Some(answer) => session.send_answer(status, &answer, close, head_only).await,
            None => session.reply(status, close, head_only).await,
        }
    }

    /// The reason for a 503, once a second for each backend.
    fn say_why(&self, termination: Termination, search: Option<&Search>) {
        let connection = self.session.connection;
        let Noted { reason, more } = match search {
            Some(search) => search.refused(termination == Termination::QueueTimeout),
            None => connection.refuse(Why::NoBackend),
        };
        connection.log(|record| record.reason = Some(Arc::clone(&reason)));
        let (reason, Some(more)) = (&*reason, more) else { return };
        let code = termination.code();
        let (retries, backend) = (search.map(Search::retries), search.map(|search| &*search.backend().name));
        let frontend = &connection.frontend().name;
        tracing::warn!(%frontend, backend, status = 503, termination = code, retries, reason, more, "refused");
    }

    /// Why the answer is not the server's, once a second for each backend.
    fn say_what_came(&self, termination: Termination, status: u16, search: &Search) {
        let made_up = matches!(
            termination,
            Termination::ServerAbortInHead | Termination::ServerTimeoutInHead | Termination::BadResponse
        );
        let Some(server) = self.server.filter(|_| made_up) else { return };
        let Noted { reason, more } = search.unanswered(server, status);
        self.session.connection.log(|record| record.reason = Some(Arc::clone(&reason)));
        let (reason, Some(more)) = (&*reason, more) else { return };
        let (frontend, code) = (&self.session.connection.frontend().name, termination.code());
        let backend = &*search.backend().name;
        tracing::warn!(%frontend, backend, status, termination = code, reason, more, "no answer");
    }

    pub(super) fn note(&self, termination: Termination, status: Option<u16>, search: &Search) {
        self.count(termination);
        let connection = self.session.connection;
        tracing::debug!(
            frontend = %connection.frontend().name,
            client = %connection.peer(),
            termination = termination.code(),
            status,
            retries = search.retries(),
            redispatches = search.redispatches(),
            "exchange failed"
        );
    }

    fn note_refusal(&self, termination: Termination, status: Option<u16>) {
        self.count(termination);
        let connection = self.session.connection;
        tracing::debug!(
            frontend = %connection.frontend().name,
            client = %connection.peer(),
            termination = termination.code(),
            status,
            "request refused"
        );
    }

    pub(super) fn count(&self, termination: Termination) {
        let connection = self.session.connection;
        if let Some(event) = termination.event() {
            connection.count(event);
        }
        let counters = connection.worker().counters();
        match (self.session.backend, termination) {
            (_, Termination::BadRequest | Termination::BadRequestData) => {
                connection.counters().request_errors.increment()
            }
            (Some(backend), _) => counters.backends[backend.0].of(self.server).failed(termination),
            (None, Termination::ServerConnect) => {}
            (None, _) => connection.counters().request_errors.increment(),
        }
        connection.log(|record| record.ended(termination.code()));
    }
}
