//! The session of a tcp frontend: find a server, move bytes both ways, keep half-closes.

mod departure;
mod inspect;
mod relay;
pub(crate) mod splice;

use std::{future::pending, io, sync::Arc, time::Instant};

use rustix::{
    io::ioctl_fionread,
    net::{RecvFlags, recv},
};
use tokio::net::TcpStream;

use crate::{
    client_hello::ClientHello,
    config::BackendId,
    connection::Connection,
    error::{Kind, Side},
    http::Termination,
    log::{OnRecord, Phase, Record},
    metrics::{Event, Flow},
    proxy_protocol::introduction::Introduction,
    refusals::{Noted, Why},
    rules::Judgement,
    sample::{Facts, Moment, Variables},
    stream::Stream,
    tcp::{
        departure::departure,
        relay::{End, relay},
    },
    upstream::{Preference, Reuse, Search, ServerStream, Upstream, balance::Usable, key},
    wheel::Deadline,
};

/// Serves a connection of a frontend with [`crate::config::Mode::Tcp`].
pub(crate) async fn serve<S: Stream>(connection: &Connection<S>) {
    connection.set_busy();
    connection.counters().requests.increment();
    connection.begin_log(Instant::now());
    connection.log(Record::accepted);
    let worker = connection.worker();
    let judgement = if worker.node().rules.wants_client_hello(connection.frontend_id()) {
        // Seldom, and no connection should carry the room for it.
        Box::pin(judged_by_client_hello(connection)).await
    } else {
        judged(connection, None)
    };
    connection.log(|record| record.is_silent = judgement.is_silent);
    if judgement.is_refused {
        connection.count(Event::Denied);
        connection.trace_begin(b"", |_| "a rule: rejected".to_owned());
        return end_unserved(connection, Termination::Denied);
    }
    let Some(backend) = judgement.backend else {
        connection.count(Event::NoServer);
        connection.trace_begin(b"", |_| "no backend".to_owned());
        say_why(connection, Termination::ServerConnect, None);
        return end_unserved(connection, Termination::ServerConnect);
    };
    connection.trace_begin(b"", |_| {
        let (name, by_rule) = (&worker.node().backend(backend).name, judgement.is_chosen);
        if by_rule { format!("a rule: backend {name}") } else { format!("default_backend {name}") }
    });
    connection.log(|record| record.sent_to(backend));
    let source = connection.peer().ip();
    let balance = &worker.node().backend(backend).balance;
    let hash = source.and_then(|source| key::of_connection(balance, source));
    let client = source.filter(|_| !judgement.ignores_persistence);
    worker.counters().backends[backend.0].requests.increment();
    let server = judgement.server();
    let preference = Preference { server, by_rule: server.is_some(), client, hash };
    let deadline = worker.wheel().deadline();
    let Some(upstream) = find(connection, backend, preference, &deadline).await else { return };
    connection.set_server(&upstream);
    connection.log(|record| {
        record.connected(upstream.server_index());
        // There is no head to wait for.
        record.phase = Phase::Data;
    });
    connection.trace_answer(&upstream, b"");
    connection.end_log_early(0);
    tunnel(connection, &upstream, &deadline).await;
    // Its own is none of the connections that the line tells of.
    drop(upstream);
    connection.end_log();
}

/// A connection to a server; `None` if there is none or the client has left, which is counted and logged here. A function
/// of its own, so that a connection whose bytes are moved carries none of it.
async fn find<S: Stream>(
    connection: &Connection<S>,
    backend: BackendId,
    preference: Preference,
    deadline: &Deadline,
) -> Option<Upstream> {
    let mut search = connection.worker().search(connection.frontend_id(), backend, preference);
    if connection.worker().node().backends[backend.0].introduces {
        search.introduce(Introduction::new(connection.peer(), connection.local(), connection.tls()));
    }
    let abortonclose = search.backend().options.abortonclose.unwrap_or(false);
    let departure = async {
        match connection.stream().plain() {
            Some(client) => departure(client, abortonclose).await,
            None if abortonclose => connection.stream().ended().await,
            None => pending().await,
        }
    };
    let found = {
        let recorded = OnRecord::new(&mut search, connection);
        tokio::select! {
            biased;
            found = recorded.search.connect(Reuse::Forbidden, deadline) => Some(found),
            () = departure => None,
        }
    };
    match found {
        Some(Ok(upstream)) => Some(upstream),
        None => {
            connection.count(Event::ClientAbort);
            let termination = if search.is_in_line() {
                Termination::ClientAbortInQueue
            } else {
                Termination::ClientAbortInConnect
            };
            search.counters().unserved.failed(termination);
            count_unread(connection, &search);
            tracing::debug!(
                frontend = %connection.frontend().name,
                peer = %connection.peer(),
                "client left before a server was found"
            );
            end_unserved(connection, termination);
            None
        }
        Some(Err(error)) => {
            let termination = Termination::of_search(&error);
            say_why(connection, termination, Some(&search));
            // Where there is nobody to ask, nothing was waited for.
            if !matches!(error.kind, Kind::NoServer) {
                count_unread(connection, &search);
            }
            tracing::debug!(
                frontend = %connection.frontend().name,
                peer = %connection.peer(),
                retries = search.retries(),
                cause = error.source.as_ref().map(tracing::field::display),
                "connection closed: {error}"
            );
            end_unserved(connection, termination);
            None
        }
    }
}

/// What a client has sent while a server was looked for, and nobody has read: HAProxy has, and counts it.
fn count_unread<S: Stream>(connection: &Connection<S>, search: &Search) {
    let unread = connection.stream().plain().and_then(|client| ioctl_fionread(client).ok()).unwrap_or(0);
    let backend = Some(&search.counters().unserved.bytes_in);
    Flow { server: backend, ..connection.received() }.add(unread);
}

/// Of a connection that nobody serves. What its client has sent is taken, so that it sees an end and no reset, as with HAProxy.
fn end_unserved<S: Stream>(connection: &Connection<S>, termination: Termination) {
    connection.log(|record| record.ended(termination.code()));
    connection.end_log();
    if let Some(client) = connection.stream().plain() {
        take_unread(client);
    }
}

/// Takes what has come, as far as a client may send before it is answered.
fn take_unread(client: &TcpStream) {
    const MOST_READS: usize = 16;
    let mut taken = [0; 4096];
    for _ in 0..MOST_READS {
        match recv(client, &mut taken, RecvFlags::DONTWAIT) {
            Ok((_, 1..)) => {}
            _ => return,
        }
    }
}

/// Why a connection is closed, once a second for each reason of its backend or frontend.
fn say_why<S>(connection: &Connection<S>, termination: Termination, search: Option<&Search>) {
    let Noted { reason, more } = match search {
        Some(search) => search.refused(termination == Termination::QueueTimeout),
        None => connection.refuse(Why::NoBackend),
    };
    connection.log(|record| record.reason = Some(Arc::clone(&reason)));
    let (reason, Some(more)) = (&*reason, more) else { return };
    let (retries, backend) = (search.map(Search::retries), search.map(|search| &*search.backend().name));
    let (frontend, code) = (&connection.frontend().name, termination.code());
    tracing::warn!(%frontend, backend, termination = code, retries, reason, more, "refused");
}

async fn judged_by_client_hello<S: Stream>(connection: &Connection<S>) -> Judgement {
    let hello = inspect::client_hello(connection).await;
    judged(connection, hello.as_ref())
}

/// What the rules make of a connection.
fn judged<S: Stream>(connection: &Connection<S>, hello: Option<&ClientHello>) -> Judgement {
    let (worker, default) = (connection.worker(), connection.frontend().default_backend);
    let rules = &worker.node().rules;
    if !rules.concern(connection.frontend_id(), default) && hello.is_none() {
        return Judgement::of_default(default);
    }
    let (scratch, variables) = (worker.scratch().borrow(), Variables::default());
    let facts = Facts { client_hello: hello, ..connection.facts(&variables, &scratch.sample) };
    connection.keep_for_log(Moment::Request, &facts);
    let is_usable = |backend, server| worker.may_send_to(backend, server);
    let count_usable = |backend| worker.with_usable(backend, Usable::count);
    rules.run_connection(connection.frontend_id(), default, &facts, &is_usable, &count_usable)
}

/// Moves bytes both ways until both sides have ended; counts and logs what goes wrong.
pub(crate) async fn tunnel<S: Stream>(
    connection: &Connection<S>,
    upstream: &Upstream,
    upstream_deadline: &Deadline,
) {
    let unfinished = Unfinished(upstream.stream());
    let end = relay(connection, upstream, upstream_deadline).await;
    std::mem::forget(unfinished);
    match end {
        End::Complete => {
            connection.log(|record| record.ended("--"));
        }
        End::Broken(side, error) => broken(connection, upstream, side, &error),
        End::Inactive(side) => {
            let termination = match side {
                Side::Downstream => Termination::ClientTimeoutInData,
                Side::Upstream => Termination::ServerTimeoutInData,
            };
            count(connection, upstream, termination);
        }
    }
}

/// One side broke: the other one learns so by a reset, never by what looks like an orderly end.
fn broken<S: Stream>(connection: &Connection<S>, upstream: &Upstream, side: Side, error: &io::Error) {
    tracing::debug!(
        frontend = %connection.frontend().name,
        peer = %connection.peer(),
        server = %upstream.server().name,
        %side,
        %error,
        "connection broke"
    );
    let termination = match side {
        Side::Downstream => Termination::ClientAbortInData,
        Side::Upstream => Termination::ServerAbortInData,
    };
    cut(connection, upstream, termination);
}

/// Not all that one side has said can reach the other: both learn so.
pub(crate) fn cut<S: Stream>(connection: &Connection<S>, upstream: &Upstream, termination: Termination) {
    count(connection, upstream, termination);
    connection.stream().abort();
    upstream.stream().abort();
}

/// A relay that is dropped in the middle resets its server; its client is whoever's that drops it.
struct Unfinished<'u>(&'u ServerStream);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn count<S: Stream>(connection: &Connection<S>, upstream: &Upstream, termination: Termination) {
    if let Some(event) = termination.event() {
        connection.count(event);
    }
    upstream.counters().failed(termination);
    connection.log(|record| record.ended(termination.code()));
}

#[cfg(test)]
mod tests;
