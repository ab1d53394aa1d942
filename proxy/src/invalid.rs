//! Messages that were refused because they are not valid: the last of them, with their bytes (HAProxy's `show errors`).
//!
//! A worker keeps its own; whoever wants to see them asks it. Nothing of this is touched by a message that is valid.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration, time::SystemTime};

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::{
    Endpoint,
    connection::Connection,
    http::head::{Malformed, locate},
    upstream::Upstream,
    worker::{Worker, WorkerHandle},
};

/// Requests that a worker keeps, and responses.
const KEPT: usize = 16;

/// Bytes of a message that are kept.
const BYTES: usize = 2_048;

/// Of these, bytes before the fault, if it does not stand nearer to the beginning.
const BEFORE: usize = BYTES * 3 / 4;

/// A message that was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidMessage {
    /// When.
    pub at: SystemTime,
    /// What it is.
    pub kind: InvalidKind,
    /// Where its client came in.
    pub frontend: String,
    /// Which backend its exchange was at, and which server; `None` of a request that no backend was chosen for.
    pub server: Option<(String, String)>,
    /// The client; it got the response of a server, or sent the request.
    pub client: Endpoint,
    /// What is wrong with it, in a clause.
    pub reason: String,
    /// The byte that is wrong, counted from the beginning of the message, or of the piece of its content.
    pub position: usize,
    /// Bytes that had come.
    pub length: usize,
    /// Bytes that are left out before [`Self::bytes`].
    pub skipped: usize,
    /// What it is, around the byte that is wrong.
    pub bytes: Vec<u8>,
}

/// What was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InvalidKind {
    /// The head of a request.
    Request,
    /// The content of a request.
    RequestContent,
    /// The head of a response.
    Response,
    /// The content of a response.
    ResponseContent,
}

impl InvalidKind {
    /// Is it the client's fault?
    pub fn is_request(self) -> bool {
        matches!(self, Self::Request | Self::RequestContent)
    }
}

/// Those of one worker, oldest first.
#[derive(Debug, Default)]
pub(crate) struct InvalidMessages(RefCell<[VecDeque<InvalidMessage>; 2]>);

impl InvalidMessages {
    /// The last one of a frontend (of a server) makes no room for others, as long as there is another that can.
    fn push(&self, message: InvalidMessage) {
        let kept = &mut self.0.borrow_mut()[usize::from(message.kind.is_request())];
        if kept.len() == KEPT {
            let whose = |message: &InvalidMessage| match message.kind.is_request() {
                true => (message.frontend.clone(), None),
                false => (String::new(), message.server.clone()),
            };
            let owners: Vec<_> = kept.iter().chain([&message]).map(whose).collect();
            let is_followed = |at: &usize| owners[at + 1..].contains(&owners[*at]);
            let oldest = (0..kept.len()).find(is_followed).unwrap_or(0);
            kept.remove(oldest);
        }
        kept.push_back(message);
    }

    fn list(&self) -> Vec<InvalidMessage> {
        self.0.borrow().iter().flatten().cloned().collect()
    }
}

impl<S> Connection<S> {
    /// The head of a request is not valid, and these are the bytes that have come.
    #[cold]
    pub(crate) fn keep_invalid_request(&self, bytes: &[u8], fault: Malformed) {
        let position = locate::of_request(bytes, fault);
        self.keep_invalid(InvalidKind::Request, None, bytes, position, fault.to_string());
    }

    /// The head of a response is not valid.
    #[cold]
    pub(crate) fn keep_invalid_response(&self, upstream: &Upstream, bytes: &[u8], fault: Malformed) {
        let position = locate::of_response(bytes, fault);
        self.keep_invalid(InvalidKind::Response, Some(upstream), bytes, position, fault.to_string());
    }

    /// Content is not valid.
    #[cold]
    pub(crate) fn keep_invalid(
        &self,
        kind: InvalidKind,
        upstream: Option<&Upstream>,
        bytes: &[u8],
        position: usize,
        reason: String,
    ) {
        let skipped = position.saturating_sub(BEFORE).min(bytes.len().saturating_sub(BYTES));
        let server = |upstream: &Upstream| (upstream.backend().name.clone(), upstream.server().name.clone());
        self.worker().invalid().push(InvalidMessage {
            at: SystemTime::now(),
            kind,
            frontend: self.frontend().name.clone(),
            server: upstream.map(server),
            client: self.peer(),
            reason,
            position,
            length: bytes.len(),
            skipped,
            bytes: bytes[skipped..].iter().copied().take(BYTES).collect(),
        });
    }
}

/// What all workers have kept, oldest first, and how many workers did not answer within `limit`.
pub(crate) async fn collect(workers: Arc<[WorkerHandle]>, limit: Duration) -> (Vec<InvalidMessage>, usize) {
    let ask =
        |worker| timeout(limit, WorkerHandle::run(worker, |worker: &Rc<Worker>| worker.invalid().list()));
    let answers = join_all(workers.iter().map(ask)).await;
    let silent = answers.iter().filter(|answer| !matches!(answer, Ok(Some(_)))).count();
    let mut messages: Vec<_> =
        answers.into_iter().filter_map(|answer| answer.ok().flatten()).flatten().collect();
    messages.sort_by_key(|message| message.at);
    (messages, silent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(frontend: &str, position: usize) -> InvalidMessage {
        InvalidMessage {
            at: SystemTime::UNIX_EPOCH,
            kind: InvalidKind::Request,
            frontend: frontend.to_owned(),
            server: None,
            client: Endpoint::Unix,
            reason: String::new(),
            position,
            length: 0,
            skipped: 0,
            bytes: Vec::new(),
        }
    }

    #[test]
    fn many_of_one_frontend_leave_the_last_of_another_and_are_bounded() {
        let messages = InvalidMessages::default();
        messages.push(message("a", 0));
        (1..=100).for_each(|position| messages.push(message("b", position)));
        let kept = messages.list();
        assert_eq!(kept.len(), 16);
        assert_eq!((kept[0].frontend.as_str(), kept[1].position, kept[15].position), ("a", 86, 100));
        // Where each has one alone, the oldest goes.
        let messages = InvalidMessages::default();
        ('a'..='z').for_each(|name| messages.push(message(&name.to_string(), 0)));
        assert_eq!(messages.list()[0].frontend, "k");
    }

    #[test]
    fn requests_make_no_room_for_responses() {
        let messages = InvalidMessages::default();
        messages.push(message("a", 0));
        let server = Some(("back".to_owned(), "s1".to_owned()));
        let response = InvalidMessage { kind: InvalidKind::ResponseContent, server, ..message("a", 0) };
        (0..40).for_each(|_| messages.push(response.clone()));
        let requests = messages.list().iter().filter(|message| message.kind.is_request()).count();
        assert_eq!((messages.list().len(), requests), (17, 1));
    }
}
