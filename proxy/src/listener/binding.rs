//! Which listening addresses are bound; those that are not are tried again every second.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use tracing::field::display;

use super::{
    Listening, bind,
    inherited::adopt,
    spawn,
    unix::{self, SocketFile},
};
use crate::{
    config::{Config, Frontend, Inherited, TcpKeepalive, UnixBind},
    status::{BindStatus, Health, ListenerHealth},
    worker::WorkerHandle,
};

/// Between two attempts to bind what is not bound.
const RETRY: Duration = Duration::from_secs(1);

/// All listening addresses of the node.
#[derive(Debug)]
pub(crate) struct Bindings {
    health: watch::Sender<Health>,
    bindings: Mutex<Vec<Binding>>,
}

#[derive(Debug)]
struct Binding {
    frontend: usize,
    name: String,
    keepalive: Option<TcpKeepalive>,
    what: What,
    /// What it has left in the file system.
    file: Option<SocketFile>,
    status: BindStatus,
    /// Attempts that failed.
    errors: u64,
}

#[derive(Debug)]
enum What {
    Address(SocketAddr),
    Unix(UnixBind),
    /// It is open already.
    Inherited(Inherited),
}

/// Sockets for one worker, with the frontend of each.
pub(crate) type Sockets = Vec<(usize, Listening)>;

impl Bindings {
    /// Tries to bind every address; returns the sockets of each worker.
    pub(crate) fn bind_all(config: &Config, health: watch::Sender<Health>) -> (Arc<Self>, Vec<Sockets>) {
        let workers = config.threads.get();
        let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
        let mut bindings = Vec::new();
        for (frontend, of) in config.frontends.iter().enumerate() {
            for mut binding in Binding::of(frontend, of) {
                for (worker, socket) in binding.try_bind(workers).into_iter().enumerate() {
                    sockets[worker].push((frontend, socket));
                }
                bindings.push(binding);
            }
        }
        let this = Self { health, bindings: Mutex::new(bindings) };
        this.publish(&this.bindings());
        (Arc::new(this), sockets)
    }

    /// Tries what is not bound again, for ever.
    pub(crate) async fn retry(self: Arc<Self>, workers: Arc<[WorkerHandle]>) {
        let mut ticks = interval(RETRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let bound: Vec<_> = {
                let mut bindings = self.bindings();
                let unbound = bindings.iter_mut().filter(|binding| binding.status.error.is_some());
                unbound.map(|binding| (binding.frontend, binding.try_bind(workers.len()))).collect()
            };
            for (frontend, sockets) in bound {
                for (worker, listening) in workers.iter().zip(sockets) {
                    hand_over(worker, frontend, listening).await;
                }
            }
            self.publish(&self.bindings());
        }
    }

    /// The addresses of a frontend.
    pub(crate) fn of_frontend(&self, frontend: usize) -> Vec<BindStatus> {
        let bindings = self.bindings();
        bindings
            .iter()
            .filter(|binding| binding.frontend == frontend)
            .map(|binding| binding.status.clone())
            .collect()
    }

    /// Failed attempts to bind them, since the start.
    pub(crate) fn errors_of_frontend(&self, frontend: usize) -> u64 {
        self.bindings().iter().filter(|binding| binding.frontend == frontend).map(|one| one.errors).sum()
    }

    /// Nobody finds the Unix-domain sockets any more; who has found them is served.
    pub(crate) fn remove_files(&self) {
        for binding in self.bindings().iter_mut() {
            binding.file = None;
        }
    }

    fn bindings(&self) -> MutexGuard<'_, Vec<Binding>> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, bindings: &[Binding]) {
        let listeners: Vec<_> = bindings.iter().map(Binding::health).collect();
        self.health.send_if_modified(|health| {
            let changed = health.listeners != listeners;
            health.listeners = listeners;
            changed
        });
    }
}

impl Binding {
    /// Those of a frontend, nothing bound yet.
    fn of(frontend: usize, config: &Frontend) -> impl Iterator<Item = Self> {
        let address = config.binds.iter().map(|bind| (bind.label.clone(), What::Address(bind.address)));
        let unix = config.unix.iter().map(|bind| (bind.address.to_string(), What::Unix(bind.clone())));
        let inherited = config.inherited.iter().map(|one| (one.to_string(), What::Inherited(one.clone())));
        address.chain(unix).chain(inherited).map(move |(label, what)| {
            let address = if let What::Address(address) = what { Some(address) } else { None };
            let status = BindStatus { label, address, error: None };
            let (name, keepalive) = (config.name.clone(), config.options.tcp_keepalive);
            Self { frontend, name, keepalive, what, file: None, status, errors: 0 }
        })
    }

    fn try_bind(&mut self, count: usize) -> Vec<Listening> {
        let status = &mut self.status;
        let keepalive = self.keepalive.as_ref();
        let sockets = match &self.what {
            What::Address(address) => {
                let address = status.address.unwrap_or(*address);
                bind(address, count, keepalive).map_err(|error| error.to_string())
            }
            What::Unix(wanted) => unix::bind(wanted, count)
                .map(|(sockets, file)| {
                    self.file = file;
                    sockets
                })
                .map_err(|error| error.to_string()),
            What::Inherited(inherited) => {
                adopt(inherited, count, keepalive).map_err(|error| error.to_string())
            }
        };
        match sockets {
            Ok(sockets) => {
                let found = sockets.first().and_then(|socket| socket.local_addr().ok()?.as_socket());
                status.address = found.or(status.address);
                let address = status.address.map(display);
                tracing::info!(frontend = %self.name, bind = %status.label, address, "listening");
                status.error = None;
                let is_inherited = matches!(self.what, What::Inherited(_));
                sockets.into_iter().map(|socket| Listening { socket, is_inherited }).collect()
            }
            Err(error) => {
                if status.error.as_ref() != Some(&error) {
                    let address = status.address.map(display);
                    tracing::error!(frontend = %self.name, bind = %status.label, address, "{error}");
                }
                status.error = Some(error);
                self.errors += 1;
                Vec::new()
            }
        }
    }

    fn health(&self) -> ListenerHealth {
        ListenerHealth {
            frontend: self.name.clone(),
            label: self.status.label.clone(),
            address: self.status.address,
            bound: self.status.error.is_none(),
        }
    }
}

async fn hand_over(worker: &WorkerHandle, frontend: usize, listening: Listening) {
    match worker.run(move |worker| spawn(worker, frontend, listening)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::error!(%error, "a worker can't accept connections"),
        None => tracing::error!("a worker has ended"),
    }
}
