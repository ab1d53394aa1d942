//! Which listening addresses are bound; those that are not are tried again every second.

mod rights;

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use socket2::Socket;
use tokio::{
    sync::{OwnedMutexGuard, watch as published},
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::field::display;

use self::rights::{look_up, look_up_apart, take_rights};
use super::{
    Assignment, ListenerId, beside, bind,
    inherited::adopt,
    leaving::{Leaving, is_beside},
    pause::Pauses,
    unix::{self, Rights, SocketFile},
    watch,
};
use crate::{
    config::{Config, Inherited, UnixBind},
    handover::Listener,
    status::{BindStatus, Health, ListenerHealth},
    tls::Acceptor,
    worker::{Worker, WorkerHandle},
};

/// Between two attempts to bind what is not bound.
const RETRY: Duration = Duration::from_secs(1);

/// For the workers to take what was bound.
const ANSWER: Duration = Duration::from_secs(2);

/// For the reload before to be over. Each wait of one has a limit of a few seconds.
pub(crate) const TURN: Duration = Duration::from_secs(10);

/// All listening addresses of the node.
#[derive(Debug)]
pub(crate) struct Bindings {
    health: published::Sender<Health>,
    bindings: Mutex<Vec<Binding>>,
    /// Held by whoever hands sockets to workers: they go to the generation that they were made for.
    pub(super) turn: Arc<tokio::sync::Mutex<Leaving>>,
    /// Frontends that are paused.
    pub(super) pauses: Mutex<Pauses>,
}

#[derive(Clone, Debug)]
struct Binding {
    /// Of this frontend.
    assignment: Assignment,
    /// While a socket of it is open.
    open: Arc<published::Sender<()>>,
    name: String,
    wanted: Wanted,
    /// What it has left in the file system.
    file: Option<Arc<SocketFile>>,
    /// Of that, or why there are none; looked up once.
    rights: Option<Result<Rights, String>>,
    /// The file has others until the configuration is in force.
    changes: bool,
    status: BindStatus,
    /// Attempts that failed.
    errors: u64,
}

/// Why an address can't be had that this process gives up.
const LEAVING: &str =
    "the reload before took it away, and clients of then still wait there (maxconn): try again later";

/// What the configuration has.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Wanted {
    Address(SocketAddr),
    Unix(UnixBind),
    /// It is open already.
    Inherited(Inherited),
}

/// As the next process finds it.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "tcp {address}"),
            Self::Unix(unix) => write!(f, "unix {}", unix.address),
            Self::Inherited(inherited) => write!(f, "inherited {inherited}"),
        }
    }
}

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) number: u64,
    /// What the configuration has there.
    pub(crate) name: String,
    /// All workers accept from one queue.
    pub(crate) is_one_queue: bool,
}

/// An address of the next generation that can't be listened on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("frontend {frontend}: {label}: {why}")]
pub struct BindFailure {
    /// Its frontend.
    pub frontend: String,
    /// As the file has it.
    pub label: String,
    /// Why not.
    pub why: String,
}

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum PlanError {
    /// Another reload does not end.
    Busy,
    Bind(Vec<BindFailure>),
}

/// Sockets for one worker, and whose each is.
pub(crate) type Sockets = Vec<(Assignment, Socket)>;

/// The listeners of the next generation. What is new is bound; dropping it closes that again.
#[derive(Debug)]
pub(crate) struct Plan {
    bindings: Vec<Binding>,
    /// Those that are bound and stay.
    pub(crate) stay: Vec<Assignment>,
    /// New ones, by worker.
    pub(crate) new: Vec<Sockets>,
    /// Nobody else hands over sockets meanwhile.
    turn: OwnedMutexGuard<Leaving>,
}

/// Numbers of listeners, never used twice in a process.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl Bindings {
    /// Takes those of `listeners` that the configuration has, and tries to bind every other address; returns the sockets of
    /// each worker.
    pub(crate) fn bind_all(
        config: &Config,
        mut listeners: Vec<Listener>,
        mut pauses: Pauses,
        health: published::Sender<Health>,
    ) -> (Arc<Self>, Vec<Sockets>) {
        let workers = config.threads.get();
        let mut sockets: Vec<Sockets> = (0..workers).map(|_| Vec::new()).collect();
        let mut bindings: Vec<_> = Binding::all(config).collect();
        // Addresses of the process before that nobody wants any more: it is about to close them.
        let goes = |listener: &&Listener| bindings.iter().all(|one| one.wanted.to_string() != listener.place);
        let going = listeners.iter().filter(goes).filter_map(Listener::address).collect::<Vec<_>>();
        for binding in &mut bindings {
            if let Wanted::Unix(wanted) = &binding.wanted {
                binding.rights = Some(look_up(wanted));
            }
            let place = binding.wanted.to_string();
            let listener = listeners.iter().position(|one| one.place == place);
            let given = listener.map(|at| listeners.swap_remove(at).sockets).unwrap_or_default();
            // Of more sockets than workers, a worker has several: closing one would reset who waits there.
            for (index, socket) in binding.try_bind(workers, given, &going).into_iter().enumerate() {
                sockets[index % workers].push((binding.assignment.clone(), socket));
            }
        }
        pauses.retain(|frontend, _| bindings.iter().any(|binding| binding.name == *frontend));
        let pauses = Mutex::new(pauses);
        let this = Self { health, bindings: Mutex::new(bindings), turn: Arc::default(), pauses };
        this.publish(&this.bindings());
        (Arc::new(this), sockets)
    }

    /// Tries what is not bound again, for ever. A worker that hangs gets its sockets when it goes on, and keeps nobody from
    /// having the turn.
    pub(crate) async fn retry(self: Arc<Self>, workers: Arc<[WorkerHandle]>) {
        let mut ticks = interval(RETRY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let looked_up = look_up_apart(self.unknown()).await;
            let _turn = self.turn.lock().await;
            let bound: Vec<_> = {
                let mut bindings = self.bindings();
                take_rights(&mut bindings, looked_up);
                // What was not passed at the start never is.
                let may_succeed = |binding: &&mut Binding| {
                    binding.status.error.is_some() && !binding.assignment.is_inherited
                };
                let unbound = bindings.iter_mut().filter(may_succeed);
                unbound
                    .map(|binding| {
                        (binding.assignment.clone(), binding.try_bind(workers.len(), Vec::new(), &[]))
                    })
                    .collect()
            };
            let handed = bound.into_iter().flat_map(|(assignment, sockets)| {
                let hand = |(worker, socket)| {
                    let (workers, assignment) = (Arc::clone(&workers), assignment.clone());
                    tokio::spawn(async move { hand_over(&workers[worker], assignment, socket).await })
                };
                sockets.into_iter().enumerate().map(hand).collect::<Vec<_>>()
            });
            if timeout(ANSWER, join_all(handed)).await.is_err() {
                let waited = ANSWER.as_secs();
                tracing::error!(waited, "a worker does not answer: it accepts on a new address when it does");
            }
            self.publish(&self.bindings());
        }
    }

    /// Binds what `config` has more than the configuration in force. What is in both stays as it is, bound or not.
    ///
    /// # Errors
    /// Another one has the turn for too long, or every address that can't be listened on. Nothing has changed then.
    pub(crate) async fn plan(&self, config: &Config) -> Result<Plan, PlanError> {
        let mut bindings: Vec<_> = Binding::all(config).collect();
        let looked_up = look_up_apart(bindings.iter().filter_map(Binding::of_unix).collect()).await;
        take_rights(&mut bindings, looked_up);
        let turn = timeout(TURN, Arc::clone(&self.turn).lock_owned()).await.map_err(|_| PlanError::Busy)?;
        let mut before = self.bindings().clone();
        let (mut stay, mut added, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        for (index, binding) in bindings.iter_mut().enumerate() {
            match before.iter().position(|old| old.is_at(binding)) {
                Some(at) => {
                    if let Err(why) = binding.inherit(before.swap_remove(at)) {
                        failures.push(binding.failure(why));
                    }
                    if binding.status.error.is_none() {
                        stay.push(binding.assignment.clone());
                    }
                }
                None => added.push(index),
            }
        }
        let mut plan =
            Plan { bindings, stay, new: (0..config.threads.get()).map(|_| Vec::new()).collect(), turn };
        for index in added {
            let binding = &mut plan.bindings[index];
            if let Some(address) = binding.status.address
                && !plan.turn.has_left(address).await
            {
                failures.push(binding.failure(LEAVING.to_owned()));
                continue;
            }
            let is_ours = before.iter().any(|old| old.overlaps(binding));
            match binding.bind(plan.new.len(), is_ours) {
                Ok(sockets) => {
                    for (worker, socket) in plan.new.iter_mut().zip(sockets) {
                        worker.push((binding.assignment.clone(), socket));
                    }
                }
                Err(why) => failures.push(binding.failure(why)),
            }
        }
        if failures.is_empty() { Ok(plan) } else { Err(PlanError::Bind(failures)) }
    }

    /// The plan is what is in force; the workers are told by the caller. The turn is over when what is returned is
    /// dropped.
    pub(crate) fn adopt(&self, mut plan: Plan) -> OwnedMutexGuard<Leaving> {
        let mut bindings = self.bindings();
        for old in bindings.iter().filter(|old| old.status.error.is_none()) {
            if !plan.bindings.iter().any(|new| new.number() == old.number()) {
                let (label, address) = (&old.status.label, old.status.address.map(display));
                tracing::info!(frontend = %old.name, bind = %label, address, "listens no more");
                plan.turn.add(old.status.address, &old.open);
            }
        }
        for new in plan.bindings.iter().filter(|new| new.status.error.is_none()) {
            if !bindings.iter().any(|old| old.number() == new.number()) {
                new.log_listening();
            }
        }
        *bindings = plan.bindings;
        self.pauses().retain(|frontend, _| bindings.iter().any(|binding| binding.name == *frontend));
        for binding in bindings.iter_mut() {
            if std::mem::take(&mut binding.changes)
                && let (Some(Ok(rights)), Some(file)) = (&binding.rights, &binding.file)
            {
                file.change(*rights);
            }
        }
        self.publish(&bindings);
        plan.turn
    }

    /// The addresses of a frontend.
    pub(crate) fn of_frontend(&self, frontend: usize) -> Vec<BindStatus> {
        let bindings = self.bindings();
        bindings
            .iter()
            .filter(|binding| binding.assignment.frontend == frontend)
            .map(|binding| binding.status.clone())
            .collect()
    }

    /// Numbers of the listeners of frontends.
    pub(super) fn numbers_of(&self, is_meant: impl Fn(&str) -> bool) -> Arc<[u64]> {
        let bindings = self.bindings();
        bindings.iter().filter(|binding| is_meant(&binding.name)).map(Binding::number).collect()
    }

    /// Failed attempts to bind them, since the start.
    pub(crate) fn errors_of_frontend(&self, frontend: usize) -> u64 {
        self.bindings()
            .iter()
            .filter(|binding| binding.assignment.frontend == frontend)
            .map(|one| one.errors)
            .sum()
    }

    /// Nobody finds the Unix-domain sockets any more; who has found them is served.
    pub(crate) fn remove_files(&self) {
        for binding in self.bindings().iter_mut() {
            binding.file = None;
        }
    }

    /// Whoever has the sockets next has the files as well.
    pub(crate) fn leave_files(&self) {
        for binding in self.bindings().iter_mut() {
            if let Some(file) = binding.file.take() {
                file.leave();
            }
        }
    }

    /// Files of the process before are those of this one.
    pub(crate) fn keep_files(&self) {
        self.bindings().iter().filter_map(|binding| binding.file.as_ref()).for_each(|file| file.keep());
    }

    /// What is bound.
    pub(crate) fn places(&self) -> Vec<Place> {
        let bindings = self.bindings();
        let bound = bindings.iter().filter(|binding| binding.status.error.is_none());
        bound
            .map(|binding| Place {
                number: binding.number(),
                name: binding.wanted.to_string(),
                is_one_queue: !matches!(binding.wanted, Wanted::Address(_)),
            })
            .collect()
    }

    /// What is not bound, by its place, and why.
    pub(crate) fn failures(&self) -> Vec<(String, BindFailure)> {
        let bindings = self.bindings();
        let failure = |one: &Binding| Some((one.wanted.to_string(), one.failure(one.status.error.clone()?)));
        bindings.iter().filter_map(failure).collect()
    }

    /// Unix sockets whose user or group nobody knew.
    fn unknown(&self) -> Vec<(u64, UnixBind)> {
        let bindings = self.bindings();
        bindings
            .iter()
            .filter(|one| matches!(one.rights, Some(Err(_))))
            .filter_map(Binding::of_unix)
            .collect()
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
    /// Those of `config`, not bound yet, with numbers of their own.
    fn all(config: &Config) -> impl Iterator<Item = Self> {
        config.frontends.iter().enumerate().flat_map(move |(frontend, of)| {
            let address = of
                .binds
                .iter()
                .map(|bind| (bind.label.clone(), Wanted::Address(bind.address), &bind.accept_proxy));
            let unix = of
                .unix
                .iter()
                .map(|bind| (bind.address.to_string(), Wanted::Unix(bind.clone()), &bind.accept_proxy));
            let inherited = of.inherited.iter().map(|bind| {
                (bind.socket.to_string(), Wanted::Inherited(bind.socket.clone()), &bind.accept_proxy)
            });
            address.chain(unix).chain(inherited).enumerate().map(
                move |(place, (label, wanted, accept_proxy))| {
                    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
                    let address = if let Wanted::Address(address) = wanted { Some(address) } else { None };
                    let (open, is_open) = published::channel(());
                    let tls = Acceptor::of(of, place, config.ticket_secret.as_ref());
                    let assignment = Assignment {
                        open: is_open,
                        listener: ListenerId { number, mode: of.mode, is_tls: tls.is_some() },
                        frontend,
                        place: place + 1,
                        keepalive: of.options.tcp_keepalive,
                        accept_proxy: accept_proxy.clone().map(Arc::new),
                        is_inherited: matches!(wanted, Wanted::Inherited(_)),
                        tls,
                    };
                    Self {
                        assignment,
                        open: Arc::new(open),
                        name: of.name.clone(),
                        wanted,
                        file: None,
                        rights: None,
                        changes: false,
                        status: BindStatus { label, address, error: None },
                        errors: 0,
                    }
                },
            )
        })
    }

    /// With its number, if it is a Unix socket that this process makes.
    fn of_unix(&self) -> Option<(u64, UnixBind)> {
        if let Wanted::Unix(wanted) = &self.wanted { Some((self.number(), wanted.clone())) } else { None }
    }

    fn number(&self) -> u64 {
        self.assignment.listener.number
    }

    /// Is it the same place?
    fn is_at(&self, other: &Self) -> bool {
        match (&self.wanted, &other.wanted) {
            (Wanted::Unix(one), Wanted::Unix(other)) => one.address == other.address,
            (one, other) => one == other,
        }
    }

    /// Goes on with the socket that `old` has, or with its attempts to get one.
    fn inherit(&mut self, old: Self) -> Result<(), String> {
        if self.wanted == old.wanted {
            self.rights = old.rights;
        } else if let Some(Err(why)) = &self.rights {
            return Err(why.clone());
        } else {
            self.changes = true;
        }
        self.assignment.listener.number = old.assignment.listener.number;
        self.assignment.open = old.assignment.open;
        self.open = old.open;
        self.file = old.file;
        self.status.address = old.status.address;
        self.status.error = old.status.error;
        self.errors = old.errors;
        Ok(())
    }

    /// Can the kernel take a socket of one for the address of the other?
    fn overlaps(&self, other: &Self) -> bool {
        let (Wanted::Address(one), Wanted::Address(other)) = (&self.wanted, &other.wanted) else {
            return false;
        };
        is_beside(*one, *other)
    }

    fn bind(&mut self, count: usize, is_ours: bool) -> Result<Vec<Socket>, String> {
        let keepalive = self.assignment.keepalive.as_ref();
        let sockets = match &self.wanted {
            Wanted::Address(address) => {
                let address = self.status.address.unwrap_or(*address);
                bind(address, count, keepalive, is_ours).map_err(|error| error.to_string())
            }
            Wanted::Unix(wanted) => {
                let rights = self.rights.clone().unwrap_or_else(|| look_up(wanted))?;
                unix::bind(wanted, rights, count)
                    .map(|(sockets, file)| {
                        self.file = file.map(Arc::new);
                        sockets
                    })
                    .map_err(|error| error.to_string())
            }
            Wanted::Inherited(inherited) => {
                adopt(inherited, count, keepalive).map_err(|error| error.to_string())
            }
        }?;
        let found = sockets.first().and_then(|socket| socket.local_addr().ok()?.as_socket());
        self.status.address = found.or(self.status.address);
        Ok(sockets)
    }

    /// Takes the sockets that were `given`, of which there may be fewer or more than `count`.
    fn take(
        &mut self,
        given: Vec<OwnedFd>,
        count: usize,
        going: &[SocketAddr],
    ) -> Result<Vec<Socket>, String> {
        let mut sockets: Vec<_> = given.into_iter().map(Socket::from).collect();
        let Some(first) = sockets.first() else {
            let is_ours = match &self.wanted {
                Wanted::Address(address) => going.iter().any(|going| is_beside(*going, *address)),
                Wanted::Unix(_) | Wanted::Inherited(_) => false,
            };
            return self.bind(count, is_ours);
        };
        let failed = |error: io::Error| format!("can't go on with the socket of the process before: {error}");
        let found = first.local_addr().map_err(failed)?.as_socket();
        self.status.address = found.or(self.status.address);
        if let Some(keepalive) = self.assignment.keepalive.as_ref().filter(|_| found.is_some()) {
            sockets.iter().try_for_each(|socket| keepalive.set(socket)).map_err(failed)?;
        }
        let more = count.saturating_sub(sockets.len());
        match (&self.wanted, found) {
            (Wanted::Address(_), Some(address)) => {
                let keepalive = self.assignment.keepalive.as_ref();
                sockets.extend(beside(address, more, keepalive).map_err(failed)?);
            }
            (wanted, _) => {
                let others: io::Result<Vec<_>> = (0..more).map(|_| sockets[0].try_clone()).collect();
                sockets.extend(others.map_err(failed)?);
                if let Wanted::Unix(wanted) = wanted {
                    let file = wanted.address.path().map(SocketFile::of).transpose().map_err(failed)?;
                    self.file = file.map(Arc::new);
                    if let (Some(Ok(rights)), Some(file)) = (&self.rights, &self.file) {
                        file.change(*rights);
                    }
                }
            }
        }
        Ok(sockets)
    }

    fn try_bind(&mut self, count: usize, given: Vec<OwnedFd>, going: &[SocketAddr]) -> Vec<Socket> {
        let sockets = self.take(given, count, going);
        let status = &mut self.status;
        match sockets {
            Ok(sockets) => {
                status.error = None;
                self.log_listening();
                sockets
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

    fn failure(&self, why: String) -> BindFailure {
        BindFailure { frontend: self.name.clone(), label: self.status.label.clone(), why }
    }

    fn log_listening(&self) {
        let (label, address) = (&self.status.label, self.status.address.map(display));
        tracing::info!(frontend = %self.name, bind = %label, address, "listening");
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

async fn hand_over(worker: &WorkerHandle, assignment: Assignment, socket: Socket) {
    let start = move |worker: &Rc<Worker>| -> io::Result<()> {
        worker.accept_loops().start(worker, &assignment, watch(socket)?);
        Ok(())
    };
    match worker.run(start).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::error!(%error, "a worker can't accept connections"),
        None => tracing::error!("a worker has ended"),
    }
}
