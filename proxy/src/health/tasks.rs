//! The tasks of the control side that belong to a server, a backend or a name, for as long as the configuration has it.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::task::{AbortHandle, JoinHandle};

use super::{adopt::Adopted, board::Board};
use crate::{log, node::ServerShared, resolve};

/// In which the first checks of all servers that begin together are made.
const FIRST_ROUND: Duration = Duration::from_millis(250);

/// Tasks; dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Vec<AbortHandle>);

/// What runs.
#[derive(Debug, Default)]
pub(super) struct Running {
    /// By number.
    servers: HashMap<u32, Tasks>,
    /// By name.
    backends: HashMap<String, Tasks>,
    /// By host, and whom they ask.
    names: HashMap<String, Tasks>,
    /// By the place of a log that is a name.
    logs: HashMap<String, Tasks>,
    resolver: Option<resolve::ResolverConfig>,
}

impl Tasks {
    pub(crate) fn add(&mut self, task: &JoinHandle<()>) {
        self.0.push(task.abort_handle());
    }

    pub(crate) fn end(&self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.end();
    }
}

impl Board {
    /// Begins everything that belongs to the first generation.
    pub(crate) fn begin(self: &Arc<Self>) {
        let node = self.node();
        let servers = node.backends.iter().flat_map(|state| &state.servers);
        self.follow(&Adopted {
            begun: servers.map(Arc::clone).collect(),
            begun_backends: node.backends.iter().map(|state| Arc::clone(&state.shared)).collect(),
            ..Adopted::default()
        });
    }

    /// Begins and ends what another generation brings. Tasks of what stays go on.
    pub(crate) fn follow(self: &Arc<Self>, adopted: &Adopted) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        for server in &adopted.ended {
            running.servers.remove(&server.number);
        }
        for backend in &adopted.ended_backends {
            running.backends.remove(&backend.name);
        }
        let (seed, total) = (seed(), adopted.begun.len());
        for (index, server) in adopted.begun.iter().enumerate() {
            let delay = first_check_after(index, total);
            running.servers.insert(server.number, self.watch_server(server, seed, delay));
        }
        for backend in &adopted.begun_backends {
            let mut tasks = Tasks::default();
            tasks.add(&tokio::spawn(Arc::clone(self).slow_starts(Arc::clone(backend))));
            running.backends.insert(backend.name.clone(), tasks);
        }
        self.follow_names(&mut running);
    }

    fn watch_server(self: &Arc<Self>, server: &Arc<ServerShared>, seed: u64, delay: Duration) -> Tasks {
        let mut tasks = Tasks::default();
        let seed = seed ^ u64::from(server.number);
        tasks.add(&tokio::spawn(Arc::clone(self).check(Arc::clone(server), seed, delay)));
        tasks.add(&tokio::spawn(Arc::clone(self).ask_agent(Arc::clone(server), delay)));
        tasks
    }

    fn follow_names(self: &Arc<Self>, running: &mut Running) {
        let node = self.node();
        let resolver = &node.config.resolver;
        if running.resolver.as_ref() != Some(resolver) {
            running.names.clear();
            running.logs.clear();
            running.resolver = Some(resolver.clone());
        }
        let servers = node.config.backends.iter().flat_map(|backend| &backend.servers);
        let hosts: BTreeSet<&str> = servers.filter_map(|server| server.address.host()).collect();
        running.names.retain(|host, _| hosts.contains(&**host));
        for host in hosts {
            running.names.entry(host.to_owned()).or_insert_with(|| {
                let mut tasks = Tasks::default();
                tasks.add(&tokio::spawn(resolve::follow(Arc::clone(self), resolver.clone(), host.into())));
                tasks
            });
        }
        running
            .logs
            .retain(|place, _| node.loggers.named().any(|sink| sink.destination().to_string() == *place));
        for sink in node.loggers.named() {
            running.logs.entry(sink.destination().to_string()).or_insert_with(|| {
                let mut tasks = Tasks::default();
                tasks.add(&tokio::spawn(log::follow(Arc::clone(sink), resolver.clone())));
                tasks
            });
        }
    }

    /// Ends them all.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Running::default();
    }
}

/// One server a millisecond, and all of them within [`FIRST_ROUND`]: many connections at once would look like an attack,
/// and the first round has to be over soon.
fn first_check_after(index: usize, total: usize) -> Duration {
    let index = u32::try_from(index).unwrap_or(u32::MAX);
    let even = FIRST_ROUND / u32::try_from(total).unwrap_or(u32::MAX).max(1);
    even.min(Duration::from_millis(1)) * index
}

/// Differs between nodes and starts, so that their checks do not fall together.
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
