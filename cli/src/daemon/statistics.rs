//! Answers what frontends are asked for their statistics and metrics, from the report that `lbctl status` prints: at most a second old,
//! and made once a second however many ask.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_proxy::{
    config::Wanted,
    inquiry::{Answer, AnswerStatus, Inquiries, Inquiry},
};
use tokio::sync::{mpsc, oneshot};

use super::control::Command;
use crate::{
    control::Status,
    metrics::{MEDIA_TYPE, Names, Process, metrics},
    statistics::{Format, View, csv, json, page, rows},
};

/// A report is shown for so long.
const FRESH: Duration = Duration::from_secs(1);

/// For the daemon's loop to make one.
const LOOP_TIME: Duration = Duration::from_secs(2);

const PLAIN: &str = "text/plain; charset=utf-8";

/// What is shown now.
#[derive(Debug, Default)]
struct Shown {
    status: Option<(Instant, Arc<Status>)>,
    /// As old as `status`.
    answers: HashMap<Question, Answer>,
}

/// What is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Question {
    /// The page, the CSV or the JSON of this URI.
    Page(String, View),
    /// The metrics.
    Metrics(Names),
    /// Metrics by names that nobody has: what to say of that.
    Wrong(String),
}

/// Answers until nobody can ask any more.
pub(super) async fn serve(mut inquiries: Inquiries, commands: mpsc::Sender<Command>) {
    let mut shown = Shown::default();
    while let Some(inquiry) = inquiries.recv().await {
        if inquiry.is_given_up() {
            continue;
        }
        // Without an answer the client is told to come again.
        if let Some(answer) = shown.answer(&inquiry, &commands).await {
            inquiry.answer(answer);
        }
    }
}

impl Shown {
    async fn answer(&mut self, inquiry: &Inquiry, commands: &mpsc::Sender<Command>) -> Option<Answer> {
        let status = self.status(commands).await?;
        let question = match inquiry.wanted {
            Wanted::Page => Question::Page(inquiry.uri.clone(), View::parse(&inquiry.suffix)),
            Wanted::Metrics => Names::parse(&inquiry.suffix).map_or_else(Question::Wrong, Question::Metrics),
        };
        if let Question::Wrong(why) = question {
            // There are as many of them as anybody likes.
            return Some(answer(AnswerStatus::BadRequest, PLAIN, "", why + "\n"));
        }
        if let Some(answer) = self.answers.get(&question) {
            return Some(answer.clone());
        }
        let asked = question.clone();
        // A page of thousands of servers takes milliseconds, in which the loop has other things to do.
        let rendered = tokio::task::spawn_blocking(move || render(&status, &asked));
        let answer = rendered.await.ok()??;
        self.answers.insert(question, answer.clone());
        Some(answer)
    }

    async fn status(&mut self, commands: &mpsc::Sender<Command>) -> Option<Arc<Status>> {
        if let Some((_, status)) = self.status.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Some(Arc::clone(status));
        }
        let (reply, answer) = oneshot::channel();
        let asked = async {
            commands.send(Command::Status(reply)).await.ok()?;
            answer.await.ok()
        };
        let status: Arc<Status> = tokio::time::timeout(LOOP_TIME, asked).await.ok()??.into();
        self.status = Some((Instant::now(), Arc::clone(&status)));
        self.answers.clear();
        Some(status)
    }
}

fn render(status: &Status, question: &Question) -> Option<Answer> {
    let (kind, more, content) = match question {
        Question::Wrong(_) => return None,
        Question::Metrics(names) => (MEDIA_TYPE, String::new(), metrics(status, &Process::read(), *names)),
        Question::Page(uri, view) => {
            let rows = view.filter(rows(status));
            match view.format {
                Format::Csv => (PLAIN, String::new(), csv(&rows)),
                Format::Json => ("application/json", String::new(), json(&rows).ok()?),
                Format::Page => {
                    let page = page(status, &rows, uri, *view);
                    let more = format!(
                        "Content-Security-Policy: {}\r\nReferrer-Policy: no-referrer\r\n",
                        page.policy
                    );
                    ("text/html; charset=utf-8", more, page.text)
                }
            }
        }
    };
    Some(answer(AnswerStatus::Ok, kind, &more, content))
}

fn answer(status: AnswerStatus, kind: &str, more: &str, content: String) -> Answer {
    let fields = format!(
        "Content-Type: {kind}\r\nCache-Control: no-cache, no-store\r\nX-Content-Type-Options: nosniff\r\n{more}"
    );
    Answer { status, fields: fields.into(), content: content.into_bytes().into() }
}
