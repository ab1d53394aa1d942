//! The control interface's server: HTTP/1 and JSON on a Unix socket, every resource of it bounded.
//!
//! It decides nothing: a request becomes a [`Command`] for the daemon's loop, its answer a response. Who may connect is
//! the file system's business (mode 0660); to change something it takes more ([`Peer`]).

use std::{
    collections::BTreeMap,
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use lb_proxy::trace::Trace;
use tokio::{
    net::UnixStream,
    select,
    sync::{mpsc, oneshot, watch},
    task::AbortHandle,
};

use self::{line::Line, listening::Listening, peer::Peer, statuses::Statuses};
use super::{journal::Journal, orders, reload::Refused, trace, upgrade};
use crate::control::{
    AnnounceReport, DiffReport, DrainReport, DrainRequest, ErrorsReport, FrontendReport, FrontendRequest,
    ReloadReport, ReopenReport, ResumeReport, ServerReport, ServerRequest, Status, StopReport,
    SwitchoverReport, SwitchoverRequest, TraceRequest,
};

mod body;
mod counters;
mod line;
mod listening;
mod peer;
mod request;
mod socket;
mod statuses;

pub(super) use counters::Counters;
pub(super) use socket::ControlSocket;

/// Connections at a time of those who may only read, and of those who may change something: neither keeps the others out. One
/// more takes the place of the one that has been idle the longest.
const CONNECTIONS: usize = 128;

/// To send a head, and between two requests.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// Bytes of a head.
const HEAD_BYTES: usize = 16 << 10;

/// What a request asks of the daemon's loop.
#[derive(Debug)]
pub(super) enum Command {
    /// `GET /v1/status`.
    Status(oneshot::Sender<Box<Status>>),
    /// `GET /v1/errors`.
    Errors(oneshot::Sender<ErrorsReport>),
    /// `POST /v1/drain`.
    Drain {
        /// How.
        request: DrainRequest,
        /// Name of the user who asked.
        by: String,
        /// Gets the report when everything is given away, or why nothing has changed.
        reply: orders::Reply<DrainReport>,
    },
    /// `POST /v1/switchover`.
    Switchover {
        /// How.
        request: SwitchoverRequest,
        /// Name of the user who asked.
        by: String,
        /// Gets the report when the new holder has announced, or why nothing has changed.
        reply: orders::Reply<SwitchoverReport>,
    },
    /// `POST /v1/announce`.
    Announce {
        /// Name of the user who asked.
        by: String,
        /// Says what was announced, or why nothing.
        reply: orders::Reply<AnnounceReport>,
    },
    /// `POST /v1/resume`.
    Resume {
        /// Name of the user who asked.
        by: String,
        /// Says by whom it was drained.
        reply: orders::Reply<ResumeReport>,
    },
    /// `GET /v1/diff`.
    Diff(oneshot::Sender<Result<DiffReport, Refused>>),
    /// `POST /v1/trace`.
    Trace {
        /// What is wanted.
        request: TraceRequest,
        /// Gets the trace, or why there is none.
        reply: oneshot::Sender<Result<Trace, trace::Refused>>,
    },
    /// `GET /v1/events`.
    Events(oneshot::Sender<Arc<Journal>>),
    /// `POST /v1/log/reopen`.
    ReopenLogs(oneshot::Sender<ReopenReport>),
    /// `POST /v1/server`.
    Server {
        /// What is wanted.
        request: ServerRequest,
        /// Name of the user who asked.
        by: String,
        /// Gets the server as it is now, or why nothing has changed.
        reply: orders::Reply<ServerReport>,
    },
    /// `POST /v1/frontend`.
    Frontend {
        /// What is wanted.
        request: FrontendRequest,
        /// Name of the user who asked.
        by: String,
        /// Gets the frontend as it is now, or why nothing has changed.
        reply: orders::Reply<FrontendReport>,
    },
    /// `POST /v1/reload`.
    Reload {
        /// Name of the user who asked.
        by: String,
        /// Gets the report when all is in force, or why nothing has changed.
        reply: oneshot::Sender<Result<ReloadReport, Refused>>,
    },
    /// `POST /v1/upgrade`.
    Upgrade(upgrade::Request),
    /// `POST /v1/stop`.
    Stop {
        /// Without a drain.
        now: bool,
        /// Name of the user who asked.
        by: String,
        /// Gets the report when everything is given away.
        reply: orders::Reply<StopReport>,
    },
}

/// Accepts until it is dropped. Then connections end with the answer that they wait for, so that whoever keeps one open comes
/// back to the process that is in charge.
pub(super) async fn serve(
    mut listening: Listening,
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
) -> Infallible {
    let doors = Doors::new(commands, counters);
    loop {
        let stream = listening.accept().await;
        let peer = Peer::of(&stream);
        doors.admit(stream, peer);
    }
}

/// Where connections come in.
#[derive(Debug)]
struct Doors {
    readers: Connections,
    others: Connections,
    asked: Asked,
    _open: watch::Sender<()>,
}

/// Who answers.
#[derive(Clone, Debug)]
struct Asked {
    commands: mpsc::Sender<Command>,
    statuses: Statuses,
    /// Until there is no sender any more.
    open: watch::Receiver<()>,
}

impl Doors {
    fn new(commands: mpsc::Sender<Command>, counters: Arc<Counters>) -> Self {
        let list = |counters| Connections { open: Arc::default(), counters };
        let statuses = Statuses::start(commands.clone(), Arc::clone(&counters));
        let (_open, open) = watch::channel(());
        Self {
            readers: list(Arc::clone(&counters)),
            others: list(counters),
            asked: Asked { commands, statuses, open },
            _open,
        }
    }

    fn admit(&self, stream: UnixStream, peer: Peer) {
        let connections = if peer.may_change { &self.others } else { &self.readers };
        connections.admit(stream, peer, &self.asked);
    }
}

/// The open connections by age.
#[derive(Clone, Debug)]
struct Connections {
    open: Arc<Mutex<BTreeMap<u64, Open>>>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Open {
    busy: Arc<AtomicBool>,
    task: AbortHandle,
}

/// A connection is not idle while its request has this.
#[derive(Debug)]
pub(super) struct InHand(Arc<AtomicBool>);

impl InHand {
    fn begin(busy: &Arc<AtomicBool>) -> Self {
        busy.store(true, Ordering::Relaxed);
        Self(Arc::clone(busy))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Takes a connection off the list when its task ends, in whatever way.
struct Listed {
    list: Connections,
    id: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.list.lock().remove(&self.id);
    }
}

impl Connections {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, stream: UnixStream, peer: Peer, asked: &Asked) {
        let mut open = self.lock();
        // Before one is taken out: its task takes its own number off the list, a little later.
        let id = open.last_key_value().map_or(0, |(id, _)| id + 1);
        if open.len() >= CONNECTIONS {
            Counters::count(&self.counters.crowded_out);
            let idle = open.iter().find(|(_, one)| !one.busy.load(Ordering::Relaxed)).map(|(id, _)| *id);
            // All of them are being served: the new one is closed.
            let Some(one) = idle.and_then(|id| open.remove(&id)) else { return };
            one.task.abort();
        }
        let busy = Arc::new(AtomicBool::new(false));
        let listed = Listed { list: self.clone(), id };
        let task = tokio::spawn(connection(stream, peer, asked.clone(), Arc::clone(&busy), listed));
        open.insert(id, Open { busy, task: task.abort_handle() });
    }
}

async fn connection(stream: UnixStream, peer: Peer, mut asked: Asked, busy: Arc<AtomicBool>, listed: Listed) {
    let counters = &listed.list.counters;
    let line = Line::new(stream);
    let caller = line.caller();
    let Asked { commands, statuses, open } = &mut asked;
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (commands, statuses, busy, caller) = (&*commands, &*statuses, &busy, &caller);
        async move {
            let in_hand = InHand::begin(busy);
            let response = request::answer(request, commands, statuses, (peer, caller), in_hand).await;
            if !response.status().is_success() {
                Counters::count(&counters.refused);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(HEAD_BYTES)
            .half_close(true)
            .serve_connection(TokioIo::new(line), service)
    );
    let result = select! {
        result = &mut serving => result,
        _ = open.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        if error.is_timeout() {
            Counters::count(&counters.timeouts);
        } else if error.is_parse() {
            Counters::count(&counters.bad_heads);
        }
        tracing::debug!(%error, "a connection to the control socket ended");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_may_only_read_keeps_nobody_else_out() {
        let (commands, unanswered) = mpsc::channel(1);
        let doors = Doors::new(commands, Arc::default());
        let connect = |may_change| {
            let (client, server) = UnixStream::pair().unwrap();
            doors.admit(server, Peer { user: None, may_change });
            client
        };
        // Each of them is being served: the loop answers nobody.
        let mut readers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut reader = connect(false);
            reader.write_all(b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            readers.push(reader);
        }
        while doors.readers.lock().values().any(|one| !one.busy.load(Ordering::Relaxed)) {
            tokio::task::yield_now().await;
        }
        let mut answer = Vec::new();
        let _ = connect(false).read_to_end(&mut answer).await;
        assert_eq!(answer, b"", "there is no room for another reader");
        let mut root = connect(true);
        root.write_all(b"GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        root.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
        drop(unanswered);
    }
}
