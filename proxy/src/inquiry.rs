//! Requests that whoever started the proxy answers: those for a frontend's statistics.
//!
//! ```text
//! session ── Inquiry ──> a bounded line ──> whoever holds the Inquiries ── Answer ──> session
//!    └── full, or no answer in time: 503, try again in a second
//! ```
//! A worker never waits for it: only the one session does.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::config::Wanted;

/// Questions that wait for an answer; more are refused.
const LINE: usize = 64;

/// For an answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// One request.
#[derive(Debug)]
pub struct Inquiry {
    /// What it is for.
    pub wanted: Wanted,
    /// Where the statistics of its frontend are.
    pub uri: String,
    /// What stands behind that, or behind the path of the metrics, in its target.
    pub suffix: Vec<u8>,
    answer: oneshot::Sender<Answer>,
}

/// What it is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    /// 200, or 400 where what is asked for makes no sense.
    pub status: AnswerStatus,
    /// Field lines, each with its CRLF; none that frames the message or speaks of the connection.
    pub fields: Arc<str>,
    /// The content.
    pub content: Arc<[u8]>,
}

/// How it is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AnswerStatus {
    /// 200
    #[default]
    Ok,
    /// 400: the content says what is wrong.
    BadRequest,
}

impl AnswerStatus {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
        }
    }
}

/// Where questions arrive.
pub type Inquiries = mpsc::Receiver<Inquiry>;

/// Where questions are put, for [`crate::Config::desk`].
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Inquiry>);

impl Inquiry {
    /// Nobody waits for the answer any more.
    pub fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }

    /// Answers; nothing happens if the client has gone.
    pub fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

impl Desk {
    /// A desk, and where its questions arrive.
    pub fn new() -> (Self, Inquiries) {
        let (sender, receiver) = mpsc::channel(LINE);
        (Self(sender), receiver)
    }

    /// Puts a question; `None` if too many wait, or nobody is there.
    pub(crate) fn ask(
        &self,
        wanted: Wanted,
        uri: &str,
        suffix: Vec<u8>,
    ) -> Option<oneshot::Receiver<Answer>> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Inquiry { wanted, uri: uri.to_owned(), suffix, answer }).ok()?;
        Some(answered)
    }
}
