//! Listeners that refuse whoever comes for a while (HAProxy `disable frontend`), and go on later. Connections that are
//! there go on.
//!
//! A listening socket of TCP that is shut down keeps its port and its place among those that share it, and the kernel
//! refuses for it; to listen again brings it back. What is queued by then would be reset, so newcomers are dropped for a
//! moment first and the queue is served. A Unix-domain socket can't be brought back like that, and an inherited one may be
//! somebody else's as well: there whoever comes is accepted and closed.

use std::{
    collections::BTreeMap,
    io,
    net::Shutdown,
    rc::Rc,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use socket2::Socket;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    Assignment, BACKLOG, Watched,
    accept::{PAUSE, SETTLE, accept, set_keepalive},
    binding::{Bindings, TURN},
    watch,
};
use crate::{Endpoint, config::TcpKeepalive, server::Proxy, worker::WorkerHandle};

/// For the workers to do it. One that hangs does so when it goes on.
const ANSWER: Duration = Duration::from_secs(2);

/// A frontend that takes no new connections.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pause {
    /// A user, or a signal.
    pub by: String,
    /// Since when.
    pub at: SystemTime,
}

/// By the frontend's name.
pub(crate) type Pauses = BTreeMap<String, Pause>;

/// A frontend can't be paused or resumed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PauseError {
    /// There is no such frontend.
    #[error("there is no such frontend")]
    NoFrontend,
    /// A reload has the turn.
    #[error("a reload is not over within {} s: try again", TURN.as_secs())]
    Busy,
    /// It goes on as it was.
    #[error("can't stop listening: {0}")]
    Stop(String),
    /// It is still paused.
    #[error("can't listen again: {0}; has another program taken the port meanwhile? It is still paused")]
    Listen(String),
}

/// A listener of a worker that is paused.
#[derive(Debug)]
pub(super) struct Paused {
    pub(super) assignment: Assignment,
    socket: Shut,
}

#[derive(Debug)]
enum Shut {
    /// The kernel refuses.
    Closed(Socket),
    /// A task does, until this is dropped.
    Refusing { socket: Rc<Watched>, _refusing: oneshot::Sender<()> },
}

impl Paused {
    pub(super) fn new(socket: Rc<Watched>, assignment: Assignment) -> io::Result<Self> {
        let local = socket.get_ref().local_addr().ok().and_then(|address| Endpoint::of_socket(&address));
        if assignment.is_inherited || !matches!(local, Some(Endpoint::Ip(_))) {
            let (refusing, stopped) = oneshot::channel::<()>();
            let refused = Rc::clone(&socket);
            tokio::task::spawn_local(async move {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    () = refuse_all(&refused) => {}
                }
            });
            return Ok(Self { assignment, socket: Shut::Refusing { socket, _refusing: refusing } });
        }
        // Another descriptor: the one that is watched would report its end for ever.
        let socket = socket.get_ref().try_clone()?;
        // The process before may have done so; a second time would leave a mark that every later connection inherits.
        if socket.is_listener()? {
            socket.shutdown(Shutdown::Read)?;
        }
        // There may be none.
        let _ = socket.detach_filter();
        Ok(Self { assignment, socket: Shut::Closed(socket) })
    }

    /// It listens again.
    pub(super) fn resume(&self) -> io::Result<Rc<Watched>> {
        match &self.socket {
            Shut::Closed(socket) => {
                let socket = socket.try_clone()?;
                socket.listen(BACKLOG)?;
                Ok(Rc::new(watch(socket)?))
            }
            Shut::Refusing { socket, .. } => Ok(Rc::clone(socket)),
        }
    }

    /// Of the connections that are accepted there later.
    pub(super) fn set_keepalive(&self, keepalive: Option<&TcpKeepalive>) {
        let is_tcp = self.socket().local_addr().is_ok_and(|address| address.as_socket().is_some());
        if is_tcp {
            set_keepalive(self.socket(), keepalive);
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        match &self.socket {
            Shut::Closed(socket) => socket,
            Shut::Refusing { socket, .. } => socket.get_ref(),
        }
    }
}

async fn refuse_all(socket: &Watched) {
    loop {
        let accepted = match socket.readable().await {
            Ok(mut ready) => ready.try_io(|socket| accept(socket.get_ref())),
            Err(error) => Ok(Err(error)),
        };
        match accepted {
            // As a port that nobody listens on; only TCP knows that.
            Ok(Ok((client, _))) => drop(client.set_linger(Some(Duration::ZERO))),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Ok(Err(_)) => sleep(PAUSE).await,
            Err(_) => {}
        }
    }
}

impl Bindings {
    pub(crate) fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers of the listeners that are paused.
    pub(crate) fn paused(&self) -> Arc<[u64]> {
        let pauses = self.pauses().clone();
        self.numbers_of(|frontend| pauses.contains_key(frontend))
    }

    async fn pause(&self, workers: &Arc<[WorkerHandle]>, frontend: &str, by: &str) -> Result<(), PauseError> {
        let _turn = timeout(TURN, self.turn.lock()).await.map_err(|_| PauseError::Busy)?;
        if self.pauses().contains_key(frontend) {
            return Ok(());
        }
        let pause = Pause { by: by.to_owned(), at: SystemTime::now() };
        self.pauses().insert(frontend.to_owned(), pause);
        let numbers = self.numbers_of(|name| name == frontend);
        let drop_newcomers = workers.iter().map(|worker| {
            let numbers = Arc::clone(&numbers);
            worker.run(move |worker| worker.accept_loops().drop_newcomers_at(&numbers))
        });
        let _ = timeout(ANSWER, join_all(drop_newcomers)).await;
        sleep(SETTLE).await;
        match self.tell(workers).await {
            Ok(()) => tracing::info!(frontend, by, "paused: newcomers are refused"),
            // That is out of descriptors: it goes on as it was.
            Err(why) => {
                self.pauses().remove(frontend);
                let _ = self.tell(workers).await;
                return Err(PauseError::Stop(why));
            }
        }
        Ok(())
    }

    async fn resume(
        &self,
        workers: &Arc<[WorkerHandle]>,
        frontend: &str,
        by: &str,
    ) -> Result<(), PauseError> {
        let _turn = timeout(TURN, self.turn.lock()).await.map_err(|_| PauseError::Busy)?;
        let Some(pause) = self.pauses().remove(frontend) else { return Ok(()) };
        if let Err(why) = self.tell(workers).await {
            self.pauses().insert(frontend.to_owned(), pause);
            let _ = self.tell(workers).await;
            return Err(PauseError::Listen(why));
        }
        tracing::info!(frontend, by, "resumed: it listens again");
        Ok(())
    }

    /// Tells all workers what is paused and what is not.
    async fn tell(&self, workers: &Arc<[WorkerHandle]>) -> Result<(), String> {
        let paused = self.paused();
        let told = (0..workers.len()).map(|index| {
            let (paused, workers) = (Arc::clone(&paused), Arc::clone(workers));
            // On its own: it reaches a worker that hangs as well, when that goes on.
            let told = tokio::spawn(async move {
                workers[index].run(move |worker| worker.accept_loops().set_paused(worker, paused)).await
            });
            async { timeout(ANSWER, told).await }
        });
        for told in join_all(told).await {
            if let Ok(Ok(Some(Err(error)))) = told {
                return Err(error.to_string());
            }
        }
        Ok(())
    }
}

impl Proxy {
    /// New connections to a frontend are refused until it is resumed; those that are there go on. A frontend that is paused
    /// stays so through reloads, also where it gets another address.
    ///
    /// # Errors
    /// Why nothing has changed.
    pub async fn pause(&self, frontend: &str, by: &str) -> Result<(), PauseError> {
        self.find_frontend(frontend)?;
        self.bindings().pause(self.workers(), frontend, by).await
    }

    /// A frontend listens again.
    ///
    /// # Errors
    /// Why it is still paused.
    pub async fn resume(&self, frontend: &str, by: &str) -> Result<(), PauseError> {
        self.find_frontend(frontend)?;
        self.bindings().resume(self.workers(), frontend, by).await
    }

    fn find_frontend(&self, name: &str) -> Result<(), PauseError> {
        let node = self.board().node();
        let is_there = node.config.frontends.iter().any(|frontend| frontend.name == name);
        is_there.then_some(()).ok_or(PauseError::NoFrontend)
    }
}
