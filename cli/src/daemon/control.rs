//! The control interface's server: HTTP/1 and JSON on a Unix socket, every resource of it bounded.
//!
//! It decides nothing: a request becomes a [`Command`] for the daemon's loop, its answer a response. Who may connect is
//! the file system's business (mode 0660); to change something it takes more ([`Peer`]).

use std::{
    collections::BTreeMap,
    convert::Infallible,
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
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use self::{listening::Listening, peer::Peer};
use super::{orders, reload::Refused, trace, upgrade};
use crate::control::{
    DiffReport, DrainReport, DrainRequest, ErrorsReport, FrontendReport, FrontendRequest, ReloadReport,
    ReopenReport, ResumeReport, ServerReport, ServerRequest, Status, StopReport, SwitchoverReport,
    SwitchoverRequest, TraceRequest,
};

mod body;
mod counters;
mod listening;
mod peer;
mod request;
mod socket;

pub(super) use counters::Counters;
pub(super) use socket::ControlSocket;

/// Connections at a time. One more takes the place of the one that has been idle the longest.
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
        reply: oneshot::Sender<StopReport>,
    },
}

/// Accepts until it is dropped.
pub(super) async fn serve(
    mut listening: Listening,
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
) -> Infallible {
    let connections = Connections { open: Arc::default(), counters };
    loop {
        let stream = listening.accept().await;
        connections.admit(stream, &commands);
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

    fn admit(&self, stream: UnixStream, commands: &mpsc::Sender<Command>) {
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
        let task = tokio::spawn(connection(stream, commands.clone(), Arc::clone(&busy), listed));
        open.insert(id, Open { busy, task: task.abort_handle() });
    }
}

async fn connection(
    stream: UnixStream,
    commands: mpsc::Sender<Command>,
    busy: Arc<AtomicBool>,
    listed: Listed,
) {
    let counters = &listed.list.counters;
    let peer = Peer::of(&stream);
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (commands, busy, peer) = (&commands, &busy, &peer);
        async move {
            let response = request::answer(request, commands, peer, InHand::begin(busy)).await;
            if !response.status().is_success() {
                Counters::count(&counters.refused);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let result = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = result {
        if error.is_timeout() {
            Counters::count(&counters.timeouts);
        } else if error.is_parse() {
            Counters::count(&counters.bad_heads);
        }
        tracing::debug!(%error, "a connection to the control socket ended");
    }
}
