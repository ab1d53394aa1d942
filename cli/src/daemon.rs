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

use std::{io, path::PathBuf, sync::Arc};

use lb_proxy::{Health, Proxy, StateChange};
use lb_vrrp::Moment;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use crate::{
    config::Config,
    control::{Ordered, Problem, Speaker, Timestamp},
    exit::Exit,
    interfaces::{local_addresses, nowhere_warnings},
    log,
    privileges::Launcher,
    runner::Runner,
    service,
};

mod alarms;
mod announcing;
mod certificates;
mod clock;
mod control;
mod detach;
mod draining;
mod ending;
mod errors;
mod group;
mod happening;
mod headline;
mod hello;
mod inputs;
mod journal;
mod losses;
mod naming;
mod neighbours;
mod node;
mod notify;
mod options;
mod orders;
mod panic;
pub(crate) mod pausing;
mod pid_file;
mod probes;
mod problems;
#[cfg(test)]
mod random;
mod reachable;
mod refusing;
mod reload;
mod report;
pub mod speaker_link;
mod start;
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

use certificates::Certificates;
use clock::Instants;
use control::{Command, ControlSocket, Counters};
use group::Group;
pub(crate) use hello::room as hello_room;
use journal::Journal;
use neighbours::Neighbours;
use node::Identity;
pub(crate) use options::RUNTIME_DIR;
pub use options::RunOptions;
use pid_file::PidFile;
use reload::{Reloads, Request};
use speaker_link::{Expected, Report, SpeakerHandle, SpeakerLink, SpeakerSettings};
pub use start::run;
use stop::{Stage, Stop};
use surroundings::Surroundings;
use upgrade::{Retirement, Upgrade, before::Charge, earlier::Earlier, program::Program};
use wake::{Event, Signals, Step};
use watchdog::Watchdog;

/// The loop's state.
struct Daemon {
    config: Config,
    /// Absolute, or `-`.
    file: PathBuf,
    /// The same, to be shown.
    path: String,
    options: RunOptions,
    runtime_dir: PathBuf,
    program: Program,
    /// Names this process.
    pid_file: Option<PidFile>,
    launcher: Launcher,
    runner: Runner,
    /// This process.
    started: Instants,
    /// Since when the first of a row of processes runs, if this one took the place of another.
    up: Option<Timestamp>,
    identity: Identity,
    proxy: Arc<Proxy>,
    health: watch::Receiver<Health>,
    /// Of servers and backends.
    changes: Option<mpsc::Receiver<StateChange>>,
    lost_changes: u64,
    journal: Arc<Journal>,
    notifiers: notify::Notifiers,
    groups: Vec<Group>,
    speaker: Option<SpeakerHandle>,
    from_speaker: Option<mpsc::Receiver<Report>>,
    /// Speakers that were lost.
    losses: Speaker,
    row_of_losses: losses::Row,
    neighbours: Option<Neighbours>,
    alarms: alarms::Alarms,
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
    /// Groups whose exchanges are being reset: how many those were is not known yet.
    resets: usize,
    /// Orders of signals for all frontends.
    pausing: pausing::InTurn,
    /// The addresses are being given away; the process stays.
    giving: Option<draining::Drain>,
    /// Who has asked what a switchover would do.
    rehearsals: Vec<draining::Rehearsal>,
    /// By whom this node is kept out of the election.
    drained: Option<Ordered>,
    /// Since when, for the others.
    drained_since: Option<Moment>,
    reloads: Reloads,
    certificates: Certificates,
    probes: probes::Probes,
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
    /// Resets of exchanges.
    telling: group::Telling,
    watchdog: Option<Watchdog>,
    headline: headline::Told,
    announcing: announcing::Waiting,
}

impl Daemon {
    async fn run(&mut self) -> anyhow::Result<Exit> {
        self.settle();
        loop {
            let event = self.next_event().await;
            let now = clock::now();
            match event {
                Event::Health => self.handle_health(now),
                Event::Changed(change) => self.take_changes(change),
                Event::Speaker(Some(Report::Said(message))) => self.handle_speaker(now, message)?,
                Event::Speaker(Some(Report::Lost(loss))) => self.take_loss(&loss),
                Event::Speaker(Some(Report::Unreadable { count })) => self.losses.unreadable_total += count,
                Event::Speaker(Some(Report::Unguarded { why })) => self.take_unguarded(&why),
                Event::Speaker(None) => self.handle_speaker_end(),
                Event::Command(command) => self.handle_command(now, command),
                Event::Datagram(received) => {
                    if let Some(neighbours) = &mut self.neighbours {
                        neighbours.handle(now, received);
                    }
                }
                Event::Step(Step::Certificates(looked)) => self.handle_certificates(looked),
                Event::Step(Step::Reload(step)) => self.handle_reload(now, step),
                Event::Step(Step::Upgrade(step)) => self.handle_upgrade(now, step),
                Event::Step(Step::Counted(grown)) => self.count(grown),
                Event::Step(Step::Looked(looked)) => self.handle_looked(looked),
                Event::Step(step) => self.handle_step(now, &step),
                Event::Signal(name, patience) => {
                    self.begin_stop(now, stop::Request { by: name.to_owned(), patience, reply: None });
                }
                Event::Frontends(order, name) => self.order_all_frontends(order, name),
                Event::Reload => self.begin_reload(now, Request { by: "SIGHUP".to_owned(), reply: None }),
                Event::ReopenLogs => self.reopen_logs(None),
                Event::Timeout => {}
            }
            if self.retirement.is_some() {
                return Ok(Exit::Fine);
            }
            self.settle();
            if self.stop.as_ref().is_some_and(|stop| stop.stage == Stage::Over && self.resets == 0) {
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
        let Charge { speaker, groups: mut known, drained, hello, session, .. } =
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
            Some((pid, expected)) => {
                let said = self.groups.iter().filter_map(|group| group.status.as_ref());
                let pasts = said.map(|(_, status)| (status.name.clone(), status.past())).collect();
                SpeakerLink::adopt(settings, expected, pid, pasts)?
            }
            None => SpeakerLink::start(settings)?,
        };
        self.speaker = Some(handle);
        self.from_speaker = Some(messages);
        Ok(())
    }

    /// Carries every output of the pure parts to where it belongs.
    fn settle(&mut self) {
        let now = clock::now();
        if self.surroundings.look(now, local_addresses) {
            self.look_around();
        }
        // Before the speaker is told what follows from it.
        self.settle_drain(now);
        self.settle_rehearsals(now);
        let trusts = self.neighbours.as_ref().is_some_and(|known| known.session().is_proven());
        let sources = self.neighbours.as_mut().map_or(&[][..], |known| known.named(now));
        for group in &mut self.groups {
            group.tracker.handle_timeout(now);
            if let (Some(told), Some(speaker)) = (group.changed_readiness(trusts, sources), &self.speaker) {
                speaker.set_readiness(&group.config.name, told);
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
            group.note_cause(session);
        }
        self.settle_stop(now);
        self.note_nodes();
        self.tell_losses(now);
        self.note_alarms();
        self.feed_watchdog(now);
        self.tell_headline(now);
    }

    fn look_around(&mut self) {
        self.survey();
        self.stay_reachable();
        self.watch_certificates(clock::now());
        while self.tasks.try_join_next().is_some() {}
        // A reload that is under way has its own idea of who this node is; who ends takes part in nothing, and the next process of
        // an upgrade will find out by itself.
        let is_busy = self.reloads.is_under_way() || self.stop.is_some() || self.upgrade.is_some();
        if !matches!(self.identity, Identity::Waiting { .. }) || is_busy {
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
                        Timestamp::now(),
                        format!("{error}. This node holds no address; then: {}", service::restart()),
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
        self.follow_tracks();
        self.note_refusals();
        let shared: Vec<_> = self.groups.iter().flat_map(Group::addresses).collect();
        self.sources = self.surroundings.sources(&shared);
        let members = self.groups.iter().flat_map(|group| &group.config.members);
        for warning in self.surroundings.outside(members) {
            tracing::warn!("{warning}");
        }
    }
}
