//! One request of the control interface: routing, limits on the body, and the answer as JSON.

use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot};

use super::{Command, InHand, body::AnswerBody, line::Caller, peer::Peer, statuses::Statuses};
use crate::{
    control::{
        AnnounceRequest, ErrorReport, LINES, PROBLEM_JSON, ReloadRequest, ResumeRequest, StopRequest,
        TraceRequest, UpgradeRequest, VERSION_HEADER, VersionReport,
    },
    daemon::{journal, orders, reload::Refused, trace, upgrade},
};

/// Bytes of a body.
const BODY_LIMIT: usize = 64 << 10;

/// Bytes of a refused body that are read and thrown away, so that its sender reads the refusal.
const DISCARD_LIMIT: usize = 8 << 20;

/// To send a body.
const BODY_TIME: Duration = Duration::from_secs(5);

/// For the daemon's loop to answer.
pub(super) const LOOP_TIME: Duration = Duration::from_secs(2);

/// Why it doesn't.
pub(super) const ENDING: &str = "the daemon is ending";
pub(super) const STUCK: &str = "the daemon's loop does not answer";

/// Lines of a trace on their way; more wait in its queue.
const LINES_AHEAD: usize = 16;

type Answer = Response<AnswerBody>;

/// The resources and the method of each.
const RESOURCES: [(&str, Method); 16] = [
    ("/v1/status", Method::GET),
    ("/v1/version", Method::GET),
    ("/v1/errors", Method::GET),
    ("/v1/diff", Method::GET),
    ("/v1/events", Method::GET),
    ("/v1/reload", Method::POST),
    ("/v1/upgrade", Method::POST),
    ("/v1/stop", Method::POST),
    ("/v1/server", Method::POST),
    ("/v1/drain", Method::POST),
    ("/v1/resume", Method::POST),
    ("/v1/switchover", Method::POST),
    ("/v1/announce", Method::POST),
    ("/v1/frontend", Method::POST),
    ("/v1/log/reopen", Method::POST),
    ("/v1/trace", Method::POST),
];

/// Answers `request` of `peer`; never fails. What goes on behind the head of the answer keeps `in_hand`.
pub(super) async fn answer(
    request: Request<Incoming>,
    commands: &mpsc::Sender<Command>,
    statuses: &Statuses,
    (peer, caller): (Peer, &Caller),
    in_hand: InHand,
) -> Answer {
    let path = request.uri().path().to_owned();
    let Some((_, method)) = RESOURCES.iter().find(|(resource, _)| *resource == path) else {
        let known = RESOURCES.map(|(resource, _)| resource).join(", ");
        return refusal(StatusCode::NOT_FOUND, format!("there is no {path}; there are {known}"));
    };
    let head_of_get = method == Method::GET && request.method() == Method::HEAD;
    if request.method() != method && !head_of_get {
        let detail = format!("{path} takes {method}, not {}", request.method());
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, detail);
        let allow = if method == Method::GET { "GET, HEAD" } else { "POST" };
        response.headers_mut().insert(header::ALLOW, header::HeaderValue::from_static(allow));
        return response;
    }
    if let Some(refusal) = forbidden(&path, request.method(), peer) {
        return closing(refusal);
    }
    if request.method().is_safe() {
        // Nobody waits for what is not used: whoever may only read would keep places with it.
        if !request.body().is_end_stream() {
            let detail = format!("{} takes no body", request.method());
            return closing(refusal(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        if path == "/v1/events" {
            let query = request.uri().query().unwrap_or_default();
            return events(query, peer.may_change, commands, in_hand).await;
        }
        return read(&path, commands, statuses).await;
    }
    let user = peer.name();
    let body = match read_body(request.into_body()).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if caller.has_gone() {
        // Ctrl-C, or killed, while this daemon was stuck: nobody expects it any more.
        tracing::warn!(by = user, "{path} is not carried out: who asked has gone");
        return refusal(StatusCode::REQUEST_TIMEOUT, "who asked has gone".to_owned());
    }
    change(&path, &body, commands, &user, in_hand).await
}

async fn read(path: &str, commands: &mpsc::Sender<Command>, statuses: &Statuses) -> Answer {
    match path {
        "/v1/version" => json(&VersionReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: vec!["v1".to_owned()],
            pid: std::process::id(),
        }),
        "/v1/status" => match statuses.latest().await {
            Ok(body) => response(StatusCode::OK, "application/json", AnswerBody::Shared(body, 0)),
            Err(why) => refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_owned()),
        },
        "/v1/errors" => ask(commands, Command::Errors).await,
        _ => read_file(commands, Command::Diff).await,
    }
}

async fn change(
    path: &str,
    body: &[u8],
    commands: &mpsc::Sender<Command>,
    user: &str,
    in_hand: InHand,
) -> Answer {
    match path {
        "/v1/reload" => reload(body, commands, user).await,
        "/v1/server" => {
            order(body, commands, |request, reply| Command::Server { request, by: user.to_owned(), reply })
                .await
        }
        "/v1/frontend" => {
            order(body, commands, |request, reply| Command::Frontend { request, by: user.to_owned(), reply })
                .await
        }
        "/v1/drain" => {
            order(body, commands, |request, reply| Command::Drain { request, by: user.to_owned(), reply })
                .await
        }
        "/v1/switchover" => {
            let command = |request, reply| Command::Switchover { request, by: user.to_owned(), reply };
            order(body, commands, command).await
        }
        "/v1/resume" => {
            let command = |ResumeRequest {}, reply| Command::Resume { by: user.to_owned(), reply };
            order(body, commands, command).await
        }
        "/v1/announce" => {
            let command = |AnnounceRequest {}, reply| Command::Announce { by: user.to_owned(), reply };
            order(body, commands, command).await
        }
        "/v1/trace" => trace(body, commands, in_hand).await,
        "/v1/upgrade" => upgrade(body, commands, user).await,
        "/v1/log/reopen" => ask(commands, Command::ReopenLogs).await,
        _ => {
            let command = |StopRequest { now }, reply| Command::Stop { now, by: user.to_owned(), reply };
            order(body, commands, command).await
        }
    }
}

/// What reads is for all who have a right to the socket, everything else for those who may change something; and so are
/// messages that were refused, in which there may be cookies and passwords, and the file, which not all may read.
fn forbidden(path: &str, method: &Method, peer: Peer) -> Option<Answer> {
    let is_private = ["/v1/errors", "/v1/diff"].contains(&path);
    if (method.is_safe() && !is_private) || peer.may_change {
        return None;
    }
    let detail = format!(
        "{path} is for root and the user that lbctl runs as; {} may read its status. Use sudo",
        peer.name()
    );
    Some(refusal(StatusCode::FORBIDDEN, detail))
}

/// Asks the daemon's loop what it can answer at once.
async fn ask<T: Serialize>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Answer {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(LOOP_TIME, asked).await {
        Ok(Some(value)) => json(&value),
        Ok(None) => refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned()),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, STUCK.to_owned()),
    }
}

/// Answers when the file is in force or refused: as long as that takes.
async fn reload(body: &[u8], commands: &mpsc::Sender<Command>, user: &str) -> Answer {
    if let Err(error) = parse::<ReloadRequest>(body) {
        return bad_body(&error);
    }
    read_file(commands, |reply| Command::Reload { by: user.to_owned(), reply }).await
}

/// What takes the file as it is now.
async fn read_file<T: Serialize>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Command,
) -> Answer {
    let (reply, answer) = oneshot::channel();
    if commands.send(command(reply)).await.is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned());
    }
    match answer.await {
        Ok(Ok(report)) => json(&report),
        Ok(Err(Refused::File { report, .. })) => refusal(StatusCode::UNPROCESSABLE_ENTITY, report),
        Ok(Err(Refused::Now(why) | Refused::Never(why))) => refusal(StatusCode::CONFLICT, why),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the daemon ended at once".to_owned()),
    }
}

/// Answers when another process is in charge, or why not: as long as that takes.
async fn upgrade(body: &[u8], commands: &mpsc::Sender<Command>, user: &str) -> Answer {
    let request: UpgradeRequest = match parse(body) {
        Ok(request) => request,
        Err(error) => return bad_body(&error),
    };
    let (reply, answer) = oneshot::channel();
    let limit = Duration::from_millis(request.limit_ms);
    let request = upgrade::Request { by: user.to_owned(), limit, reply };
    if commands.send(Command::Upgrade(request)).await.is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned());
    }
    match answer.await {
        Ok(Ok(report)) => json(&report),
        Ok(Err(upgrade::Refused::File(report))) => refusal(StatusCode::UNPROCESSABLE_ENTITY, report),
        Ok(Err(upgrade::Refused::Now(why))) => refusal(StatusCode::CONFLICT, why),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "the daemon ended at once".to_owned()),
    }
}

/// Answers at once, and then with each thing that happens.
async fn trace(body: &[u8], commands: &mpsc::Sender<Command>, in_hand: InHand) -> Answer {
    let request: TraceRequest = match parse(body) {
        Ok(request) => request,
        Err(error) => return bad_body(&error),
    };
    let limit = Duration::from_secs(request.seconds);
    let (reply, answer) = oneshot::channel();
    if commands.send(Command::Trace { request, reply }).await.is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned());
    }
    match answer.await {
        Ok(Ok(trace)) => {
            let (lines, body) = mpsc::channel(LINES_AHEAD);
            tokio::spawn(trace::run(trace, limit, lines, in_hand));
            response(StatusCode::OK, LINES, AnswerBody::Lines(body))
        }
        Ok(Err(trace::Refused::Request(why))) => refusal(StatusCode::BAD_REQUEST, why),
        Ok(Err(trace::Refused::Missing(why))) => refusal(StatusCode::NOT_FOUND, why),
        Ok(Err(trace::Refused::Full(why))) => refusal(StatusCode::SERVICE_UNAVAILABLE, why),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned()),
    }
}

/// Answers at once, and then with each event.
async fn events(query: &str, may_change: bool, commands: &mpsc::Sender<Command>, in_hand: InHand) -> Answer {
    let wanted = journal::Wanted::parse(query);
    let (reply, answer) = oneshot::channel();
    let asked = async {
        commands.send(Command::Events(reply)).await.ok()?;
        answer.await.ok()
    };
    let journal = match tokio::time::timeout(LOOP_TIME, asked).await {
        Ok(Some(journal)) => journal,
        Ok(None) => return refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned()),
        Err(_) => return refusal(StatusCode::SERVICE_UNAVAILABLE, STUCK.to_owned()),
    };
    let (lines, body) = mpsc::channel(LINES_AHEAD);
    match wanted.and_then(|wanted| journal::run(&journal, wanted, may_change, lines, in_hand)) {
        Ok(()) => response(StatusCode::OK, LINES, AnswerBody::Lines(body)),
        Err(journal::Refused::Request(why)) => refusal(StatusCode::BAD_REQUEST, why),
        Err(journal::Refused::Full(why)) => refusal(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

/// Carries an order to the loop; answers when it is in force.
async fn order<R: DeserializeOwned, T: Serialize>(
    body: &[u8],
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(R, orders::Reply<T>) -> Command,
) -> Answer {
    let body = if body.is_empty() { b"{}" } else { body };
    let request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return bad_body(&error),
    };
    let (reply, answer) = oneshot::channel();
    if commands.send(command(request, reply)).await.is_err() {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned());
    }
    match answer.await {
        Ok(Ok(report)) => json(&report),
        Ok(Err(orders::Refused::Missing(why))) => refusal(StatusCode::NOT_FOUND, why),
        Ok(Err(orders::Refused::Now(why))) => refusal(StatusCode::CONFLICT, why),
        Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, ENDING.to_owned()),
    }
}

/// An empty body is the default.
fn parse<T: DeserializeOwned + Default>(body: &[u8]) -> serde_json::Result<T> {
    if body.is_empty() { Ok(T::default()) } else { serde_json::from_slice(body) }
}

fn bad_body(error: &serde_json::Error) -> Answer {
    refusal(StatusCode::BAD_REQUEST, format!("the body is not what was expected: {error}"))
}

async fn read_body(mut body: Incoming) -> Result<Bytes, Answer> {
    let limited = Limited::new(&mut body, BODY_LIMIT);
    match tokio::time::timeout(BODY_TIME, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body).await;
            let detail = format!("a body has at most {BODY_LIMIT} bytes");
            Err(closing(refusal(StatusCode::PAYLOAD_TOO_LARGE, detail)))
        }
        Ok(Err(error)) => {
            Err(closing(refusal(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))))
        }
        Err(_) => {
            let detail = format!("the body did not come within {} s", BODY_TIME.as_secs());
            Err(closing(refusal(StatusCode::REQUEST_TIMEOUT, detail)))
        }
    }
}

async fn discard(body: Incoming) {
    let mut limited = Limited::new(body, DISCARD_LIMIT);
    let all = async { while let Some(Ok(_)) = limited.frame().await {} };
    let _ = tokio::time::timeout(BODY_TIME, all).await;
}

fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => response(StatusCode::OK, "application/json", whole(body)),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("can't write the answer: {error}")),
    }
}

fn refusal(status: StatusCode, detail: String) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error").to_owned();
    let report = ErrorReport { status: status.as_u16(), title, detail };
    response(status, PROBLEM_JSON, whole(serde_json::to_vec(&report).unwrap_or_default()))
}

fn whole(body: Vec<u8>) -> AnswerBody {
    AnswerBody::Whole(Full::new(body.into()))
}

fn response(status: StatusCode, media_type: &'static str, body: AnswerBody) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    headers.insert(VERSION_HEADER, header::HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    response
}

fn closing(mut response: Answer) -> Answer {
    response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_only_read_is_refused_whatever_changes_something() {
        let peer = |may_change| Peer { user: None, may_change };
        for (path, method) in RESOURCES {
            let answer = forbidden(path, &method, peer(false));
            let status = answer.map(|answer| answer.status().as_u16());
            let is_shut = method == Method::POST || path == "/v1/errors" || path == "/v1/diff";
            assert_eq!(status, is_shut.then_some(403), "{path}");
            assert!(forbidden(path, &method, peer(true)).is_none(), "{path}");
        }
        assert!(forbidden("/v1/status", &Method::HEAD, peer(false)).is_none());
    }
}
