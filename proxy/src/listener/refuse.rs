//! Turns away a client that has as many connections open as it may, or opens them too fast.

use std::{rc::Rc, time::Duration};

use tokio::net::TcpStream;

use crate::{
    config::Mode,
    connection::{self, Connection},
    health::probe::in_words,
    http,
    metrics::Event,
    refusals::{self, Why},
    stream::Stream,
    table::Refusal,
    tls::TlsStream,
    worker::Worker,
};

/// Clients of one worker that are told why at a time. More than these are reset: a flood must not fill the frontend with
/// connections that only wait for their end.
const TOLD: usize = 32;

/// What a client is told that has too many connections open; when one of them ends is its own affair.
const SOON: Duration = Duration::from_secs(1);

/// Ends it: in mode tcp with a reset, in mode http with 429 as far as [`TOLD`] goes. Its listener is at this place in its frontend.
pub(super) fn refuse(connection: Connection<TcpStream>, refusal: Refusal, place: usize) {
    let retry_after = note(&connection, refusal);
    let frontend = connection.frontend();
    if frontend.mode == Mode::Tcp || connection.worker().told().get() >= TOLD {
        return connection.stream().abort();
    }
    let told = Told::new(connection.worker());
    if frontend.begins_http2(place) {
        tokio::task::spawn_local(async move {
            connection::turn_away_http_or_2(Rc::new(connection), retry_after, place).await;
            drop(told);
        });
    } else {
        tokio::task::spawn_local(connection::run(connection, async move |connection| {
            http::turn_away(connection, 429, retry_after).await;
            drop(told);
        }));
    }
}

/// The same over TLS: with a reset, as a handshake would cost more than what is refused.
pub(super) fn refuse_tls(connection: &Connection<TlsStream>, refusal: Refusal) {
    note(connection, refusal);
    connection.stream().abort();
}

/// Counts it and says so; how long the client is to wait.
pub(crate) fn note<S: Stream>(connection: &Connection<S>, refusal: Refusal) -> Duration {
    let (retry_after, what) = match refusal {
        Refusal::Connections => {
            connection.count(Event::SourceConnections);
            (SOON, "has too many connections open (per_source.connections)")
        }
        Refusal::Rate { retry_after } => {
            connection.count(Event::SourceRate);
            (retry_after, "opens connections too fast (per_source.connection_rate)")
        }
    };
    let node = connection.worker().node();
    let refusals = &node.frontends[connection.frontend_id()].refusals;
    let say = || match connection.peer().ip() {
        Some(source) => format!("{source} {what}"),
        None => format!("a source {what}"),
    };
    if let refusals::Noted { reason, more: Some(more) } = refusals.note(Why::Source, node.now(), say) {
        let reason = &*reason;
        tracing::info!(frontend = %connection.frontend().name, reason, more, "refused");
    }
    tracing::debug!(
        frontend = %connection.frontend().name,
        client = %connection.peer(),
        ?refusal,
        "connection refused"
    );
    retry_after
}

/// The same of a stream for which there was no place within this time.
pub(crate) fn note_crowded<S: Stream>(connection: &Connection<S>, within: Duration) -> Duration {
    connection.count(Event::QueueTimeout);
    let node = connection.worker().node();
    let refusals = &node.frontends[connection.frontend_id()].refusals;
    let say = || {
        let within = in_words(within);
        format!(
            "no place for another stream became free within {within} (timeout.queue): three quarters of maxconn are taken"
        )
    };
    if let refusals::Noted { reason, more: Some(more) } = refusals.note(Why::Full, node.now(), say) {
        let (frontend, reason) = (&connection.frontend().name, &*reason);
        tracing::warn!(%frontend, status = 503, reason, more, "refused");
    }
    SOON
}

/// Counts who is told, for as long as that takes.
struct Told(Rc<Worker>);

impl Told {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.told().set(worker.told().get() + 1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.0.told().set(self.0.told().get() - 1);
    }
}
