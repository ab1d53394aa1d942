//! A web server is sent an event: one POST, over a connection of its own.

use std::{
    future::pending,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::time::timeout;

use super::{Failure, remote};
use crate::{
    config::{model::Webhook, text::write_duration},
    control::Event,
    output::{events::sentence, text::printable},
};

/// Bytes that are read of an answer that says what is wrong.
const ANSWER: usize = 4 << 10;

/// Characters of it that are told.
const TOLD: usize = 200;

/// What the log has in the place of a secret.
const MASK: &str = "***";

/// Shorter parts of a path and words of a header are words of every answer.
const PART: usize = 6;
const WORD: usize = 4;

/// What is sent: what a command reads, and the same as a sentence. Chats (Slack, Mattermost, Rocket.Chat) show what is called so.
#[derive(Serialize)]
struct Content<'e> {
    #[serde(flatten)]
    event: &'e Event,
    text: String,
}

/// `limit`: for all of it.
pub(super) async fn post(webhook: &Webhook, event: &Event, limit: Duration) -> Result<(), Failure> {
    let content = serde_json::to_vec(&Content { event, text: sentence(event) });
    let content = content.map_err(|error| Failure::heard(error.to_string()))?;
    let is_sent = AtomicBool::new(false);
    match timeout(limit, exchange(webhook, content.into(), limit, &is_sent)).await {
        Ok(outcome) => outcome.map_err(|failure| Failure { why: masked(&failure.why, webhook), ..failure }),
        Err(_) => {
            let why = format!("no answer within {}", write_duration(limit));
            Err(Failure { why, is_unheard: !is_sent.load(Ordering::Relaxed) })
        }
    }
}

async fn exchange(
    webhook: &Webhook,
    content: Bytes,
    limit: Duration,
    is_sent: &AtomicBool,
) -> Result<(), Failure> {
    let stream = remote::connect(&webhook.remote, limit).await.map_err(Failure::unheard)?;
    let stream = remote::secure(stream, &webhook.remote).await.map_err(Failure::unheard)?;
    let request = request(webhook, content).map_err(|error| Failure::heard(error.to_string()))?;
    let shaken = http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| Failure::unheard(error.to_string()))?;
    let answer = async {
        is_sent.store(true, Ordering::Relaxed);
        let sent = sender.send_request(request).await;
        let response =
            sent.map_err(|error| Failure::heard(format!("the connection broke before an answer: {error}")))?;
        judge(response, webhook).await
    };
    let carried = async {
        // What is wrong with it is what the answer fails with.
        let _ = connection.await;
        pending::<()>().await;
    };
    tokio::select! {
        outcome = answer => outcome,
        () = carried => Ok(()),
    }
}

/// What a server answers may have what it was sent, of which path, query and headers are often a secret; the log is read by others.
fn masked(text: &str, webhook: &Webhook) -> String {
    let path = webhook.path.reveal();
    let mut secrets: Vec<&str> = vec![path];
    secrets.extend(path.split(['/', '?', '&', '=', '#']).filter(|part| part.len() >= PART));
    for (_, value) in &webhook.headers {
        secrets.push(value.reveal());
        secrets.extend(value.reveal().split_whitespace().filter(|word| word.len() >= WORD));
    }
    // Of two the longer one, which may have the other in it.
    secrets.retain(|secret| secret.len() > 1);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
}

fn request(webhook: &Webhook, content: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
    let mut request = Request::post(webhook.path.reveal())
        .header(header::HOST, &webhook.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close");
    let has_own = |name: &header::HeaderName| webhook.headers.iter().any(|(own, _)| own == name.as_str());
    if !has_own(&header::USER_AGENT) {
        request = request.header(header::USER_AGENT, concat!("lbctl/", env!("CARGO_PKG_VERSION")));
    }
    for (name, value) in &webhook.headers {
        request = request.header(name, value.reveal());
    }
    request.body(Full::new(content))
}

/// A server that is overloaded or broken says so with 429 or 5xx and has not taken it.
async fn judge(response: Response<Incoming>, webhook: &Webhook) -> Result<(), Failure> {
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    if let (true, Some(to)) = (status.is_redirection(), response.headers().get(header::LOCATION)) {
        let to = printable(&String::from_utf8_lossy(to.as_bytes()));
        let why = format!("it answers {} and sends on to {to}; is that the url?", status.as_u16());
        return Err(Failure::heard(why));
    }
    let said = Limited::new(response.into_body(), ANSWER).collect().await;
    let said = said.map(|said| said.to_bytes()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut why = format!("it answers {}", status.as_u16());
    if !line.is_empty() {
        why.push_str(": ");
        // Before it is cut: half a secret would not be found.
        why.extend(masked(&printable(line), webhook).chars().take(TOLD));
    }
    let is_unheard = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    Err(Failure { why, is_unheard })
}
