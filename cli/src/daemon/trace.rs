//! `POST /v1/trace`: who may trace what, and the events as lines.

use std::time::Duration;

use hyper::body::Bytes;
use lb_proxy::{
    Proxy,
    trace::{self, Happened, Trace, TraceEvent, TraceOptions},
};
use tokio::{sync::mpsc, time::timeout};

use super::control::InHand;
use crate::{
    config::text,
    control::{Exchange, LONGEST, Steps, TraceLine, TraceRequest},
};

/// Between two empty lines while nothing passes: that is how it is found out that nobody reads any more.
const ALIVE: Duration = Duration::from_secs(1);

/// Why a trace is refused.
#[derive(Debug)]
pub(super) enum Refused {
    /// The request is off.
    Request(String),
    /// There is no such frontend.
    Missing(String),
    /// Too many trace already.
    Full(String),
}

/// Begins one.
pub(super) fn begin(proxy: &Proxy, request: &TraceRequest) -> Result<Trace, Refused> {
    let client = request.client.as_deref().map(text::network).transpose();
    let client = client.map_err(|why| {
        Refused::Request(format!("\"{}\" {why}", request.client.as_deref().unwrap_or_default()))
    })?;
    if !(1..=LONGEST).contains(&request.seconds) || request.count == Some(0) {
        return Err(Refused::Request(format!("`seconds` is 1 to {LONGEST}, `count` 1 and more")));
    }
    if let Some(name) = &request.frontend {
        let frontends = proxy.status().frontends;
        let names: Vec<&str> = frontends.iter().map(|frontend| frontend.name.as_str()).collect();
        if !names.contains(&name.as_str()) {
            let hint = text::suggestion(name, &names, "frontend");
            return Err(Refused::Missing(format!("there is no frontend `{name}`{hint}")));
        }
    }
    let options = TraceOptions {
        frontend: request.frontend.clone(),
        client,
        count: request.count,
        secrets: request.secrets,
    };
    proxy.trace(options).ok_or_else(|| {
        Refused::Full(format!("{} traces run already; end one of them (Ctrl-C) first", trace::MOST))
    })
}

/// Sends lines until the trace is over, its time is, or nobody reads them. Its connection is not idle until then.
pub(super) async fn run(trace: Trace, limit: Duration, lines: mpsc::Sender<Bytes>, _in_hand: InHand) {
    // Also one whose reader does not read.
    let why = match timeout(limit, tell(trace, &lines)).await {
        Ok(Some(why)) => why,
        Ok(None) => return,
        Err(_) => "its time is up",
    };
    let _ = timeout(ALIVE, send(&lines, &TraceLine::Over { why: why.to_owned() })).await;
}

/// Why it is over; `None` if nobody reads it.
async fn tell(mut trace: Trace, lines: &mpsc::Sender<Bytes>) -> Option<&'static str> {
    let mut told = 0;
    loop {
        let event = tokio::select! {
            biased;
            () = lines.closed() => return None,
            event = timeout(ALIVE, trace.next()) => event,
        };
        let lost = trace.lost();
        if lost > told {
            send(lines, &TraceLine::Lost { count: lost - told }).await?;
        }
        told = lost;
        match event {
            Ok(Some(event)) => send(lines, &line(event)).await?,
            Ok(None) => return Some("as many as were wanted are over"),
            Err(_) => lines.send(Bytes::from_static(b"\n")).await.ok()?,
        }
    }
}

/// `None` if nobody reads it.
async fn send(lines: &mpsc::Sender<Bytes>, line: &TraceLine) -> Option<()> {
    let mut text = serde_json::to_vec(line).ok()?;
    text.push(b'\n');
    lines.send(text.into()).await.ok()
}

fn line(event: TraceEvent) -> TraceLine {
    let exchange = Exchange {
        id: event.exchange,
        at: event.at.into(),
        frontend: event.frontend,
        client: event.client.to_string(),
    };
    let text = |head: Vec<u8>| String::from_utf8_lossy(&head).into_owned();
    match event.what {
        Happened::Begun { head, decision } => TraceLine::Request { exchange, decision, head: text(head) },
        Happened::Answered { backend, server, chosen, retries, steps, head } => TraceLine::Response {
            exchange,
            backend,
            server,
            chosen,
            retries,
            times: Steps {
                queue: steps.queue,
                connect: steps.connect,
                response: steps.response,
                total: steps.total,
            },
            head: text(head),
        },
        Happened::Ended { status, code, total, sent } => {
            TraceLine::End { exchange, status, termination: code, total, bytes_out: sent }
        }
    }
}
