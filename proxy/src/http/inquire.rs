//! Answers a request for statistics with what whoever started the proxy has to say.

use std::time::Duration;

use super::{
    head::request::{Method, Request},
    headers::{Sink, put_content_length},
    incoming,
    outcome::Termination,
    reply::Reply,
    session::{Next, Session},
};
use crate::{
    config::Wanted,
    inquiry::{Answer, AnswerStatus, LIMIT},
    log::Record,
    stream::Stream,
};

/// After which a request that was not answered may come again.
const AGAIN: Duration = Duration::from_secs(1);

impl<S: Stream> Session<'_, S> {
    /// `suffix` stands behind the URI of what is wanted.
    pub(super) async fn inquire(&mut self, request: &Request, wanted: Wanted, suffix: Vec<u8>) -> Next {
        let close = incoming::closes(request, self.inbound.ended, self.connection);
        let head_only = request.method == Method::Head;
        let Some(Answer { status, fields, content }) = self.answer_of_desk(wanted, suffix).await else {
            self.note_answer(Termination::Answered, 503);
            return self.send(Reply { head_only, retry_after: Some(AGAIN), ..Reply::new(503, close) }).await;
        };
        self.note_answer(Termination::Answered, status.code());
        self.connection.answered(status.code());
        self.connection.log(Record::by_statistics);
        let mut out = self.connection.worker().buffers().take();
        out.put(match status {
            AnswerStatus::Ok => b"HTTP/1.1 200 OK\r\n".as_slice(),
            AnswerStatus::BadRequest => b"HTTP/1.1 400 Bad Request\r\n",
        });
        put_content_length(content.len() as u64, &mut out);
        out.put(fields.as_bytes());
        out.put(if close { b"Connection: close\r\n\r\n" } else { b"\r\n" });
        self.write_whole(&out, if head_only { b"" } else { &content }, close).await
    }

    async fn answer_of_desk(&self, wanted: Wanted, suffix: Vec<u8>) -> Option<Answer> {
        let desk = self.connection.worker().node().config.desk.as_ref()?;
        let uri = &self.connection.frontend().statistics.as_ref()?.uri;
        let answered = desk.ask(wanted, uri, suffix)?;
        self.deadline.limit(LIMIT, answered).await.ok()?.ok()
    }
}
