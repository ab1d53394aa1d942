//! Which listening addresses are bound; those that are not are tried again every second.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use socket2::Socket;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::{bind, inherited::adopt, spawn};
use crate::{
    config::{Config, Inherited, TcpKeepalive},
    status::{BindStatus, Health, ListenerHealth},
    worker::WorkerHandle,
};

/// Between two attempts to bind what is not bound.
const RETRY: Duration = Duration::from_secs(1);

/// Of a socket that is not adopted yet.
const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

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
    /// It is open already.
    inherited: Option<Inherited>,
    status: BindStatus,
    /// Attempts that failed.
    errors: u64,
}

/// Sockets for one worker, with the frontend of each.
pub(crate) type Sockets = Vec<(usize, Socket)>;

impl Bindings {
    /// Tries to bind every address; returns the sockets of each worker.
    pub(crate) fn bind_all(config: &Config, health: watch::Sender<Health>) -> (Arc<Self>, Vec<Sockets>) {
        let workers = config.threads.get();
        let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
        let mut bindings = Vec::new();
        for (frontend, of) in config.frontends.iter().enumerate() {
            let bound = of.binds.iter().map(|bind| (bind.label.clone(), bind.address, None));
            let inherited = of.inherited.iter().map(|one| (one.to_string(), UNKNOWN, Some(one.clone())));
            for (label, address, inherited) in bound.chain(inherited) {
                let (name, keepalive) = (of.name.clone(), of.options.tcp_keepalive);
                let status = BindStatus { label, address, error: None };
                let mut binding = Binding { frontend, name, keepalive, inherited, status, errors: 0 };
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
                for (worker, socket) in workers.iter().zip(sockets) {
                    hand_over(worker, frontend, socket).await;
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
    fn try_bind(&mut self, count: usize) -> Vec<Socket> {
        let status = &mut self.status;
        let keepalive = self.keepalive.as_ref();
        let sockets = match &self.inherited {
            None => bind(status.address, count, keepalive).map_err(|error| error.to_string()),
            Some(inherited) => adopt(inherited, count, keepalive).map_err(|error| error.to_string()),
        };
        match sockets {
            Ok(sockets) => {
                if let Some(address) = sockets.first().and_then(local_address) {
                    status.address = address;
                }
                tracing::info!(frontend = %self.name, bind = %status.label, address = %status.address, "listening");
                status.error = None;
                sockets
            }
            Err(error) => {
                if status.error.as_ref() != Some(&error) {
                    tracing::error!(frontend = %self.name, bind = %status.label, address = %status.address, "{error}");
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

async fn hand_over(worker: &WorkerHandle, frontend: usize, socket: Socket) {
    match worker.run(move |worker| spawn(worker, frontend, socket)).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::error!(%error, "a worker can't accept connections"),
        None => tracing::error!("a worker has ended"),
    }
}

fn local_address(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}
