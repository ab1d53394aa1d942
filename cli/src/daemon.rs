//! The process that was started: composes the proxy and the speaker, and answers for both.
//!
//! ```text
//!            ┌──────────── one control thread, one loop ─────────────┐
//! Health ───▶│ track ──▶ readiness ──────────────▶ speaker_link ─────┼─▶ speaker process
//! datagrams ▶│ neighbours (hello)                      │             │
//! requests ─▶│ control ──▶ report, problems            ▼             │
//! signals ──▶│ stop                          ResetExchanges ──▶ proxy┼─▶ workers 0..N-1
//!            └──────────────────────────────────────────────────────┘
//! ```
//! The loop holds no rule of its own: it carries events to pure parts ([`track`], `hello`, `stop`) and their outputs on.
//! The workers are threads of the proxy; nothing here can hold them up, and a hang here is seen by the speaker.

use std::{
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lb_proxy::{Health, Proxy, StartError, drop_newcomers, inquiry::Desk, newcomers_are_dropped_by};
use lb_vrrp::GroupConfig;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    config::{self, Config},
    control::{Ordered, Problem},
    exit::Exit,
    interfaces::{local_addresses, nowhere_warnings},
    log,
    privileges::{self, Launcher, Purpose, Start},
    speaker::protocol::FromSpeaker,
};

mod clock;
mod control;
mod detach;
mod draining;
mod ending;
mod errors;
mod group;
mod hello;
mod inputs;
mod naming;
mod neighbours;
mod node;
mod options;
mod orders;
mod panic;
mod pid_file;
mod problems;
mod reachable;
mod reload;
mod report;
pub mod speaker_link;
mod statistics;
mod stop;
mod supervisor;
mod surroundings;
mod systemd;
mod trace;
pub mod track;
mod upgrade;
mod wake;
mod watchdog;

use clock::Instants;
use control::{Command, ControlSocket, Counters};
use detach::Waiting;
use group::Group;
use hello::KnownSession;
use neighbours::Neighbours;
use node::Identity;
pub(crate) use options::RUNTIME_DIR;
pub use options::RunOptions;
use options::whole;
use pid_file::PidFile;
use reload::{Reloads, Request};
use speaker_link::{Expected, SpeakerHandle, SpeakerLink, SpeakerSettings};
use stop::{Stage, Stop};
use surroundings::Surroundings;
use upgrade::{
    Retirement, Upgrade,
    before::{Before, Charge, Estate},
    earlier::Earlier,
};
use wake::{Event, Signals, Step};
use watchdog::Watchdog;

/// Runs until it is stopped. Everything that can be wrong with the file or the arguments is said before a port is
/// bound.
pub fn run(options: &RunOptions) -> Exit {
    if options.daemon {
        return detach::start(options);
    }
    lb_proxy::note_passed_descriptors();
    let mut waiting = match (options.detached && !options.take_over).then(Waiting::find).transpose() {
        Ok(waiting) => waiting,
        Err(error) => {
            eprintln!("lbctl: can't leave the terminal: {error}");
            return Exit::Failure;
        }
    };
    let before = match options.take_over.then(Before::find).transpose() {
        Ok(before) => before,
        Err(error) => {
            eprintln!("lbctl: {error:#}");
            return Exit::Usage;
        }
    };
    let refuse = |why: &str, is_file| before.iter().for_each(|before| before.refuse(why, is_file));
    // Its maps are the same ones in a reload, which knows the file by its whole path.
    let file = whole(&options.file);
    let load = || {
        config::load(&file).map_err(|diagnostics| {
            refuse(&format!("{diagnostics}{}. Nothing was changed.", diagnostics.summary()), true);
            eprint!("{diagnostics}");
            eprintln!("{}. Nothing was started.", diagnostics.summary());
            Exit::Configuration
        })
    };
    let mut config = match load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    lb_proxy::close_unnamed_descriptors(
        config.proxy.frontends.iter().flat_map(|one| one.inherited.iter().map(|bind| &bind.socket)),
    );
    let identity = match Identity::find(&config, options.node.as_deref(), &local_addresses()) {
        Ok(identity) => identity,
        Err(error) => {
            refuse(&error.to_string(), false);
            eprintln!("lbctl: {error}");
            return Exit::Usage;
        }
    };
    let start = Start {
        file: &options.file,
        runtime_dir: &options.runtime_dir(),
        control: &options.control(),
        pid_file: options.pid_file.as_deref(),
        takes_over: options.take_over,
        is_unconfined: options.unconfined,
    };
    let obstacle = supervisor::obstacle(options);
    let entered = match privileges::enter(&config, start) {
        Ok(entered) => entered,
        Err(error) => {
            refuse(&error.to_string(), false);
            eprintln!("lbctl: {error}");
            return Exit::Failure;
        }
    };
    if entered.user.is_some() && options.file != Path::new("-") {
        // Who could not read it, nor what it names, could not reload it.
        config = match load() {
            Ok(config) => config,
            Err(exit) => return exit,
        };
    }
    if let Some(why) = options.detached.then(|| detach::complaint(&config)).flatten() {
        refuse(&why, false);
        eprintln!("lbctl: {why}");
        return Exit::Configuration;
    }
    waiting.iter_mut().for_each(Waiting::leave_terminal);
    let launcher = entered.launcher.clone();
    newcomers_are_dropped_by(move |socket| launcher.run(Purpose::Here, move || drop_newcomers(socket))?);
    log::set(config.global.log_event_format, identity.name());
    let _flush = log::start(options.detached && !detach::keeps_stderr());
    panic::abort_outside_workers();
    for warning in config.warnings.headlines().chain(entered.remarks) {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => {
            let before = before.clone();
            let started = Started { options, launcher: entered.launcher, before, obstacle };
            runtime.block_on(compose(started, config, identity, &mut waiting))
        }
        Err(error) => Err(anyhow::Error::new(error).context("can't start the control thread's runtime")),
    };
    if let Err(error) = &result {
        refuse(&format!("{error:#}"), false);
        waiting.iter().for_each(|waiting| waiting.complain(&format!("{error:#}")));
    }
    match result {
        Ok(exit) => exit,
        Err(error) => {
            tracing::error!("{error:#}");
            match error.downcast_ref() {
                Some(StartError::Maps(_)) => Exit::Configuration,
                Some(StartError::Bind(_) | StartError::Thread { .. }) | None => Exit::Failure,
            }
        }
    }
}

/// How this process was started.
struct Started<'a> {
    options: &'a RunOptions,
    launcher: Launcher,
    before: Option<Before>,
    /// Why no other one can take its place.
    obstacle: Option<String>,
}

async fn compose(
    started: Started<'_>,
    mut config: Config,
    identity: Identity,
    waiting: &mut Option<Waiting>,
) -> anyhow::Result<Exit> {
    let Started { options, launcher, before, obstacle } = started;
    let pid_file = options.pid_file.as_deref().map(|path| PidFile::prepare(path, options.take_over));
    let mut pid_file = pid_file.transpose()?;
    let (runtime_dir, socket_path) = (options.runtime_dir(), options.control());
    let estate = before.as_ref().map(Before::estate).transpose()?;
    let (control, handover, earlier) = match estate {
        Some(Estate { handover, groups, control, earlier }) => {
            if groups != own_groups(&config, &identity) {
                anyhow::bail!(
                    "what the file says of [cluster] and [vip] is not what runs; first: lbctl reload"
                );
            }
            (Some(control), Some(handover), earlier)
        }
        None => (None, None, Earlier::default()),
    };
    let (socket, listening) = match control {
        Some(control) => ControlSocket::take_over(&socket_path, control)?,
        None => ControlSocket::bind(&socket_path)?,
    };
    let socket = Arc::new(socket);
    if before.is_some() {
        // Until this process is in charge.
        socket.leave();
    }
    std::fs::create_dir_all(&runtime_dir)
        .map_err(|error| anyhow::anyhow!("can't create {}: {error}", runtime_dir.display()))?;
    config.proxy.node = identity.name().to_owned();
    let (desk, inquiries) = Desk::new();
    config.proxy.desk = Some(desk);
    let data_plane = config.proxy_of(identity.index());
    let proxy = Arc::new(match handover {
        Some(handover) => Proxy::start_from(data_plane, handover)?,
        None => Proxy::start(data_plane)?,
    });
    let (commands_in, commands) = mpsc::channel(16);
    let statistics = tokio::spawn(statistics::serve(inquiries, commands_in.clone()));
    let (steps_in, steps) = mpsc::unbounded_channel();
    let file = whole(&options.file);
    let mut daemon = Daemon {
        path: file.display().to_string(),
        file,
        options: options.clone(),
        runtime_dir,
        launcher,
        started: Instants::now(),
        health: proxy.health(),
        proxy,
        config,
        identity,
        groups: Vec::new(),
        speaker: None,
        from_speaker: None,
        neighbours: None,
        own_problems: Vec::new(),
        counters: Arc::default(),
        commands,
        steps_in,
        steps,
        signals: Signals::new()?,
        tasks: JoinSet::new(),
        drain: None,
        stop: None,
        giving: None,
        drained: None,
        reloads: Reloads::default(),
        surroundings: Surroundings::default(),
        sources: Vec::new(),
        unreachable: None,
        socket: Arc::clone(&socket),
        charge: None,
        earlier,
        obstacle,
        upgrade: None,
        retirement: None,
        watchdog: Watchdog::find(clock::now(), before.is_some()),
    };
    daemon.greet();
    if let Some(before) = &before {
        let has_speaker = !own_groups(&daemon.config, &daemon.identity).is_empty();
        let (charge, counters) = before.ready(&daemon.config.hash, has_speaker)?;
        daemon.counters.go_on(&counters);
        daemon.charge = Some(charge);
    }
    daemon.take_part()?;
    let succeeds = before.is_some();
    if let Some(before) = before {
        // Who asked for the upgrade finds this process there. What serves is not ended for it.
        if let Some(Err(error)) = pid_file.as_mut().map(PidFile::name) {
            tracing::error!("{error}");
        }
        before.taken()?;
        socket.keep();
        daemon.proxy.take_charge();
        before.join(&mut daemon.earlier);
        daemon.earlier.listen();
    }
    let api = tokio::spawn(control::serve(listening, commands_in, Arc::clone(&daemon.counters)));
    if !succeeds {
        pid_file.as_mut().map(PidFile::name).transpose()?;
        // The unit has been up since the first process was; until systemd knows it, it would not believe this one.
        systemd::notify("READY=1");
    }
    waiting.take().into_iter().for_each(Waiting::tell);
    let exit = daemon.run().await;
    if daemon.retirement.is_some() {
        // The next process answers from now on. Who asked reads its answer on a connection of its own.
        socket.give_up();
        pid_file.iter_mut().for_each(PidFile::leave);
        api.abort();
    }
    daemon.finish().await;
    // Whoever asked for the stop reads its report before the socket goes.
    tokio::time::sleep(Duration::from_millis(20)).await;
    api.abort();
    statistics.abort();
    drop(socket);
    exit
}

/// What the speaker is told of the groups of this node.
fn own_groups(config: &Config, identity: &Identity) -> Vec<GroupConfig> {
    let Identity::Node { index, .. } = identity else { return Vec::new() };
    config.groups.iter().filter_map(|group| group.by_node.get(*index)).cloned().collect()
}

/// The loop's state.
struct Daemon {
    config: Config,
    /// Absolute, or `-`.
    file: PathBuf,
    /// The same, to be shown.
    path: String,
    options: RunOptions,
    runtime_dir: PathBuf,
    launcher: Launcher,
    started: Instants,
    identity: Identity,
    proxy: Arc<Proxy>,
    health: watch::Receiver<Health>,
    groups: Vec<Group>,
    speaker: Option<SpeakerHandle>,
    from_speaker: Option<mpsc::Receiver<FromSpeaker>>,
    neighbours: Option<Neighbours>,
    /// Problems that nothing but the loop knows of.
    own_problems: Vec<Problem>,
    /// Of the control interface.
    counters: Arc<Counters>,
    commands: mpsc::Receiver<Command>,
    steps_in: mpsc::UnboundedSender<Step>,
    steps: mpsc::UnboundedReceiver<Step>,
    signals: Signals,
    /// Whatever borrows the proxy for a while.
    tasks: JoinSet<()>,
    drain: Option<AbortHandle>,
    stop: Option<Stop>,
    /// The addresses are being given away; the process stays.
    giving: Option<draining::Drain>,
    /// By whom this node is kept out of the election.
    drained: Option<Ordered>,
    reloads: Reloads,
    surroundings: Surroundings,
    /// As of the last look around.
    sources: Vec<hello::InterfaceAddresses>,
    /// Why nobody can reach this daemon.
    unreachable: Option<String>,
    socket: Arc<ControlSocket>,
    /// What the process before has passed on and is not taken up yet.
    charge: Option<Charge>,
    /// Processes before this one whose connections still end.
    earlier: Earlier,
    /// Why no other process can take the place of this one.
    obstacle: Option<String>,
    upgrade: Option<Upgrade>,
    /// Another process is in charge.
    retirement: Option<Retirement>,
    watchdog: Option<Watchdog>,
}

impl Daemon {
    async fn run(&mut self) -> anyhow::Result<Exit> {
        self.settle();
        loop {
            let event = self.next_event().await;
            let now = clock::now();
            match event {
                Event::Health => self.handle_health(now),
                Event::Speaker(Some(message)) => self.handle_speaker(now, message)?,
                Event::Speaker(None) => self.handle_speaker_end(),
                Event::Command(command) => self.handle_command(now, command),
                Event::Datagram(received) => {
                    if let Some(neighbours) = &mut self.neighbours {
                        neighbours.handle(now, received);
                    }
                }
                Event::Step(Step::Reload(step)) => self.handle_reload(now, step),
                Event::Step(Step::Upgrade(step)) => self.handle_upgrade(now, step),
                Event::Step(step) => self.handle_step(now, &step),
                Event::Signal(name, patience) => self.begin_stop(now, name, patience, None),
                Event::Frontends(order, name) => self.order_all_frontends(order, name),
                Event::Reload => self.begin_reload(now, Request { by: "SIGHUP".to_owned(), reply: None }),
                Event::ReopenLogs => self.reopen_logs(None),
                Event::Timeout => {}
            }
            if self.retirement.is_some() {
                return Ok(Exit::Fine);
            }
            self.settle();
            if self.stop.as_ref().is_some_and(|stop| stop.stage == Stage::Finishing) {
                return Ok(Exit::Fine);
            }
        }
    }

    fn greet(&self) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            node = self.identity.name(),
            file = self.path,
            hash = self.config.hash.get(..6).unwrap_or_default(),
            control = %self.socket.path().display(),
            "lbctl runs"
        );
        for warning in nowhere_warnings(&self.config) {
            tracing::warn!("{warning}");
        }
    }

    /// Starts what needs to know which node this is: speaker and hello. Does nothing while that is unknown.
    fn take_part(&mut self) -> io::Result<()> {
        let (index, address) = match &self.identity {
            Identity::Node { index, address, .. } => (*index, *address),
            Identity::Waiting { reason, .. } => {
                tracing::warn!(reason, "this node can't find itself in the file; trying each second");
                return Ok(());
            }
            Identity::Alone { .. } => return Ok(()),
        };
        let started = self.started.moment;
        self.groups = self
            .config
            .groups
            .iter()
            .filter_map(|group| Group::new(&self.config, group, index, started))
            .collect();
        let Charge { speaker, groups: mut known, drained, hello, session } =
            self.charge.take().unwrap_or_default();
        for group in &mut self.groups {
            group.go_on(&mut known);
        }
        self.drained = drained.or(self.drained.take());
        self.keep_out();
        if !self.groups.is_empty() {
            self.start_speaker(speaker)?;
        }
        self.surroundings.look(clock::now(), local_addresses);
        self.survey();
        self.say_hello(address, hello, session);
        self.handle_health(clock::now());
        Ok(())
    }

    /// The one that is given, or another one.
    fn start_speaker(&mut self, given: Option<(u32, Expected)>) -> io::Result<()> {
        let settings = SpeakerSettings {
            groups: self.groups.iter().map(|group| group.config.clone()).collect(),
            runtime_dir: self.runtime_dir.clone(),
            is_unconfined: self.options.unconfined,
            program: "/proc/self/exe".into(),
            launcher: self.launcher.clone(),
        };
        let (handle, messages) = match given {
            Some((pid, expected)) => SpeakerLink::adopt(settings, expected, pid)?,
            None => SpeakerLink::start(settings)?,
        };
        self.speaker = Some(handle);
        self.from_speaker = Some(messages);
        Ok(())
    }

    fn say_hello(&mut self, address: IpAddr, given: Option<OwnedFd>, known: Option<KnownSession>) {
        let peers = self.identity.peers(&self.config);
        if !peers.is_empty() {
            self.neighbours =
                Some(Neighbours::start(clock::now(), address, given, known, self.local(), peers));
        }
    }

    /// Carries every output of the pure parts to where it belongs.
    fn settle(&mut self) {
        let now = clock::now();
        if self.surroundings.look(now, local_addresses) {
            self.look_around();
        }
        // Before the speaker is told what follows from it.
        self.settle_drain(now);
        for group in &mut self.groups {
            group.tracker.handle_timeout(now);
            if let (Some((readiness, yields)), Some(speaker)) = (group.changed_readiness(), &self.speaker) {
                speaker.set_readiness(&group.config.name, readiness, yields);
            }
        }
        let local = self.local();
        if let Some(neighbours) = &mut self.neighbours {
            let reappeared = neighbours.settle(now, local);
            if let (true, Some(speaker)) = (reappeared, &self.speaker) {
                speaker.peer_reappeared();
            }
        }
        let session = self.neighbours.as_ref().map(Neighbours::session);
        for group in &mut self.groups {
            group.note_dual_active(now, problems::is_dual_active(now, group, session));
        }
        self.settle_stop(now);
        self.feed_watchdog(now);
    }

    fn look_around(&mut self) {
        self.survey();
        self.stay_reachable();
        while self.tasks.try_join_next().is_some() {}
        // A reload that is under way has its own idea of who this node is.
        if !matches!(self.identity, Identity::Waiting { .. }) || self.reloads.is_under_way() {
            return;
        }
        match Identity::find(&self.config, self.options.node.as_deref(), self.surroundings.addresses()) {
            Ok(found @ Identity::Node { .. }) => {
                tracing::info!(node = found.name(), "this node has found itself in the file");
                self.identity = found;
                self.tell_proxy();
                if let Err(error) = self.take_part() {
                    tracing::error!(%error, "can't start the speaker");
                    self.own_problems.push(problems::new(
                        "the speaker can't be started",
                        crate::control::Timestamp::now(),
                        format!("{error}. This node holds no address; then: systemctl restart lbctl"),
                    ));
                }
            }
            Ok(other) => self.identity = other,
            Err(error) => tracing::debug!(%error, "not found in the file"),
        }
    }

    /// The proxy began without knowing which node this is.
    fn tell_proxy(&mut self) {
        self.config.proxy.node = self.identity.name().to_owned();
        log::set(self.config.global.log_event_format, self.identity.name());
        let (proxy, config) = (Arc::clone(&self.proxy), self.config.proxy_of(self.identity.index()));
        let steps = self.steps_in.clone();
        self.reloads.take_turn();
        self.tasks.spawn(async move {
            let error = proxy.reload(config).await.err().map(|error| error.to_string());
            let _ = steps.send(Step::Told { error });
        });
    }

    fn survey(&mut self) {
        let shared: Vec<_> = self.groups.iter().flat_map(Group::addresses).collect();
        self.sources = self.surroundings.sources(&shared);
        let members = self.groups.iter().flat_map(|group| &group.config.members);
        for warning in self.surroundings.outside(members) {
            tracing::warn!("{warning}");
        }
    }

    /// What the hello says of this node.
    fn local(&self) -> hello::Local {
        let now = clock::now();
        hello::Local {
            node: self.identity.name().to_owned(),
            file: self.config.hash.clone(),
            groups: self.groups.iter().map(|group| group.local(now, self.started.moment)).collect(),
            addresses: self.sources.clone(),
        }
    }
}
