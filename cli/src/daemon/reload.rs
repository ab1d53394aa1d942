//! Another configuration while the daemon runs: all of it or nothing.
//!
//! ```text
//! Read: config::load, plan ──▶ Prepared: maps, sockets ──▶ Committed: proxy, daemon, hello ──▶ Settled: speaker
//!   │                             │                        nothing can fail from here on
//!   └────── refused ◀─────────────┘
//! ```
//! One at a time: whoever asks meanwhile waits, and one further reload answers all of them, because the file may have
//! changed since the first one read it.

use std::{path::Path, sync::Arc};

use lb_proxy::{Prepared, ReloadError, Reloaded, patience::within};
use lb_vrrp::{GroupConfig, Moment};
use rustix::process::Signal;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{Daemon, SpeakerHandle, detach, orders, problems, speaker_link, systemd, wake};
use crate::{
    config::{self, Config, Diagnostics},
    control::{Change, Problem, ReloadReport, Timestamp},
    interfaces::nowhere_warnings,
    log,
    process::Process,
};

mod changes;
mod diff;
mod plan;
mod refusal;

pub(super) use changes::between;
use plan::{Plan, Running};
pub(super) use refusal::Refused;

/// Changes that are named in the log.
const MOST_LOGGED: usize = 10;

/// Somebody wants one.
#[derive(Debug)]
pub(super) struct Request {
    /// A user, or a signal.
    pub(super) by: String,
    /// Gets the outcome.
    pub(super) reply: Option<oneshot::Sender<Result<ReloadReport, Refused>>>,
}

/// The file is read.
#[derive(Debug)]
pub(super) struct Read {
    config: Config,
    /// What is different in it.
    changes: Vec<Change>,
    /// Logs that would get nothing, a sentence for each.
    silent_logs: Vec<String>,
}

/// A task of a reload is done.
#[derive(Debug)]
pub(super) enum Step {
    /// See there.
    Read(Box<Result<Read, Refused>>),
    /// The proxy can take it over.
    Prepared(Box<Result<Prepared, ReloadError>>),
    /// The proxy has taken it over.
    Committed(Reloaded),
    /// The speaker has it as well; this many connections were cut on addresses that are gone, as far as processes before an upgrade
    /// have answered.
    Settled { cut: u64, unanswered: u64 },
}

/// Reloads of this process.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    running: Option<Reload>,
    /// The proxy is told something else: who asks meanwhile waits.
    is_other_turn: bool,
    waiting: Vec<Request>,
    /// When the last good one came into force.
    loaded: Option<Timestamp>,
    /// The last one was refused, then, because of that.
    refused: Option<(Timestamp, Refused)>,
}

/// One that is under way.
#[derive(Debug)]
struct Reload {
    requests: Vec<Request>,
    begun: Moment,
    plan: Option<Box<Plan>>,
    /// Groups as they are to be in the end.
    groups: Vec<GroupConfig>,
    silent_logs: Vec<String>,
    report: ReloadReport,
}

impl Reloads {
    pub(super) fn is_under_way(&self) -> bool {
        self.running.is_some()
    }

    /// Something else has the turn.
    pub(super) fn is_other_turn(&self) -> bool {
        self.is_other_turn
    }

    /// Until [`Daemon::end_of_turn`].
    pub(super) fn take_turn(&mut self) {
        self.is_other_turn = true;
    }

    pub(super) fn loaded(&self) -> Option<Timestamp> {
        self.loaded
    }

    /// Until a good one.
    pub(super) fn problem(&self, path: &str) -> Option<Problem> {
        let (since, refused) = self.refused.as_ref()?;
        let then = match refused {
            // It has said what would.
            Refused::Never(_) => format!("Or, with {path} as it was: lbctl reload"),
            Refused::File { .. } | Refused::Now(_) => {
                format!("See: lbctl check --here {path}; then: lbctl reload")
            }
        };
        Some(Problem {
            what: "the last reload was refused".to_owned(),
            since: Some(*since),
            look_at: format!("{}. What ran before runs on. {then}", refused.summary()),
        })
    }
}

impl Daemon {
    pub(super) fn begin_reload(&mut self, now: Moment, request: Request) {
        let is_upgraded = self.upgrade.is_some() && self.stop.is_none();
        if let Some(why) = self.no_reload_now().filter(|_| !is_upgraded) {
            tracing::warn!(by = request.by, "no reload: {why}");
            request.answer(Err(Refused::Now(why.to_owned())));
        } else if is_upgraded || self.reloads.is_under_way() || self.reloads.is_other_turn {
            tracing::info!(by = request.by, "asked to reload while something else is under way: it follows");
            self.reloads.waiting.push(request);
        } else {
            self.start_reload(now, vec![request]);
        }
    }

    fn no_reload_now(&self) -> Option<&'static str> {
        if self.stop.is_some() {
            return Some("lbctl is about to stop");
        }
        if self.upgrade.is_some() {
            return Some("an upgrade is under way");
        }
        self.no_file()
    }

    fn no_file(&self) -> Option<&'static str> {
        (self.file == Path::new("-"))
            .then_some("lbctl runs what it was given on stdin, which can't be read again")
    }

    fn start_reload(&mut self, now: Moment, requests: Vec<Request>) {
        let by = requests.iter().map(|request| request.by.as_str()).collect::<Vec<_>>().join(", ");
        tracing::info!(by, file = self.path, "reloading");
        systemd::notify_reloading();
        let report = ReloadReport {
            path: self.path.clone(),
            hash_before: self.config.hash.clone(),
            ..Default::default()
        };
        self.reloads.running = Some(Reload {
            requests,
            begun: now,
            plan: None,
            groups: Vec::new(),
            silent_logs: Vec::new(),
            report,
        });
        let (file, old) = (self.file.clone(), self.config.clone());
        self.spawn_step(async move {
            let read = spawn_blocking(move || {
                let config = config::load(&file)?;
                let changes = between(&old, &config);
                let proxy = config.proxy.clone();
                // None of them is read, so one that hangs keeps nothing from coming into force.
                let looked = within("the places of logs", move || log::unwritable(&proxy));
                let silent_logs =
                    looked.unwrap_or_else(|error| vec![format!("where logs go can't be looked at: {error}")]);
                Ok(Read { config, changes, silent_logs })
            });
            let read: Result<Result<_, Diagnostics>, _> = read.await;
            Step::Read(Box::new(match read {
                Ok(read) => read.map_err(Refused::from),
                Err(error) => Err(Refused::Now(format!("the file is not read: {error}"))),
            }))
        });
    }

    pub(super) fn handle_reload(&mut self, now: Moment, step: Step) {
        let Some(mut reload) = self.reloads.running.take() else { return };
        let outcome = match step {
            Step::Read(read) => read.and_then(|Read { config, changes, silent_logs }| {
                reload.report.changes = changes;
                reload.silent_logs = silent_logs;
                self.prepare_reload(&mut reload, config)
            }),
            Step::Prepared(prepared) => {
                prepared.map_err(Refused::from).and_then(|prepared| self.commit(prepared))
            }
            Step::Committed(reloaded) => {
                self.bring_into_force(now, &mut reload, reloaded);
                Ok(())
            }
            Step::Settled { cut, unanswered } => {
                (reload.report.cut, reload.report.unanswered) = (cut, unanswered);
                self.end_reload(now, reload);
                return self.start_waiting(now);
            }
        };
        match outcome {
            Ok(()) => self.reloads.running = Some(reload),
            Err(refused) => {
                self.refuse_reload(reload, &refused);
                self.start_waiting(now);
            }
        }
    }

    fn prepare_reload(&mut self, reload: &mut Reload, config: Config) -> Result<(), Refused> {
        if let Some(why) = self.options.detached.then(|| detach::complaint(&config)).flatten() {
            return Err(Refused::Now(why));
        }
        let own: Vec<_> = self.groups.iter().map(|group| &group.config).collect();
        let others = self.others();
        let running =
            Running { config: &self.config, identity: &self.identity, groups: &own, others: &others };
        let mut plan =
            Plan::new(running, config).map_err(|obstacles| Refused::Never(obstacles.to_string()))?;
        let gone = plan.gone(running);
        if !SpeakerHandle::takes(&plan.groups_with(&gone, running)) {
            // Nor could a speaker be started with it.
            let with = if gone.is_empty() { "" } else { " together with the addresses that go" };
            return Err(Refused::Now(speaker_link::too_long(with)));
        }
        plan.identity.name().clone_into(&mut plan.config.proxy.node);
        let (proxy, config) = (Arc::clone(&self.proxy), plan.config.proxy_of(plan.identity.index()));
        reload.plan = Some(Box::new(plan));
        self.spawn_step(async move { Step::Prepared(Box::new(proxy.prepare(config).await)) });
        Ok(())
    }

    fn commit(&mut self, prepared: Prepared) -> Result<(), Refused> {
        if let Some(why) = self.no_reload_now() {
            return Err(Refused::Now(why.to_owned()));
        }
        let steps = self.steps_in.clone();
        // Not one of the tasks that a stop ends: it is not to be left half-way.
        tokio::spawn(async move {
            let _ = steps.send(wake::Step::Reload(Step::Committed(prepared.commit().await)));
        });
        Ok(())
    }

    /// The proxy has it: so does everything else.
    fn bring_into_force(&mut self, now: Moment, reload: &mut Reload, reloaded: Reloaded) {
        let Some(plan) = reload.plan.take() else { return };
        let own: Vec<_> = self.groups.iter().map(|group| &group.config).collect();
        let running = Running { config: &self.config, identity: &self.identity, groups: &own, others: &[] };
        let gone = plan.gone(running);
        let groups_with_gone = plan.groups_with(&gone, running);
        let is_same_election = gone.is_empty() && groups_with_gone.iter().eq(own.iter().copied());
        let Plan { config, identity, groups } = *plan;
        let report = &mut reload.report;
        changes::add_maps(&mut report.changes, &reloaded.maps);
        report.hash.clone_from(&config.hash);
        report.generation = reloaded.generation;
        report.late_workers = reloaded.late_workers;
        report.warnings = config.warnings.to_string();
        for warning in config.warnings.headlines() {
            tracing::warn!("{warning}");
        }
        for warning in nowhere_warnings(&config).chain(std::mem::take(&mut reload.silent_logs)) {
            tracing::warn!("{warning}");
            report.warnings += &format!("{}: on this machine: warning: {warning}\n", report.path);
        }
        (self.config, self.identity) = (config, identity);
        log::set(self.config.global.log_event_format, self.identity.name());
        for (group, own) in self.groups.iter_mut().zip(&groups_with_gone) {
            group.reconfigure(now, &self.config, own.clone());
        }
        let peers = self.identity.peers(&self.config);
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.set_peers(now, peers);
            neighbours.set_secret(self.config.cluster.secret());
        }
        self.handle_health(now);
        self.forget_gone();
        self.follow_notifies();
        self.survey();
        reload.groups.clone_from(&groups);
        match self.speaker.clone() {
            Some(speaker) if !is_same_election && self.stop.is_none() => {
                let (proxy, limit) = (Arc::clone(&self.proxy), self.config.global.drain_timeout);
                let earlier = self.earlier.clone();
                self.spawn_step(async move {
                    speaker.reconfigure(groups_with_gone).await;
                    let (mut cut, mut unanswered) = (0, 0);
                    if !gone.is_empty() {
                        earlier.ask_anew();
                        let (own, before) =
                            tokio::join!(proxy.leave(&gone, limit), earlier.leave(&gone, limit));
                        (cut, unanswered) = (own as u64 + before, earlier.unanswered());
                        speaker.reconfigure(groups).await;
                    }
                    Step::Settled { cut, unanswered }
                });
            }
            Some(_) | None => {
                let _ = self.steps_in.send(wake::Step::Reload(Step::Settled { cut: 0, unanswered: 0 }));
            }
        }
    }

    fn end_reload(&mut self, now: Moment, reload: Reload) {
        let Reload { requests, begun, groups, mut report, .. } = reload;
        for (group, own) in self.groups.iter_mut().zip(groups) {
            group.reconfigure(now, &self.config, own);
        }
        self.survey();
        let took = now.saturating_since(begun);
        report.milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        for worker in &report.late_workers {
            tracing::warn!(worker, "hangs; it takes the new configuration over when it goes on");
        }
        tracing::info!(
            hash = short(&report.hash),
            before = short(&report.hash_before),
            generation = report.generation,
            ?took,
            cut = report.cut,
            unanswered = report.unanswered,
            changes = report.lines(MOST_LOGGED).join("; "),
            "reloaded"
        );
        self.reloads.loaded = Some(Timestamp::now());
        self.reloads.refused = None;
        self.own_problems.retain(|problem| problem.what != problems::NOT_TOLD);
        systemd::insist("READY=1");
        for request in requests {
            request.answer(Ok(report.clone()));
        }
    }

    fn refuse_reload(&mut self, reload: Reload, refused: &Refused) {
        for line in refused.lines() {
            tracing::error!("{line}");
        }
        tracing::error!(hash = short(&self.config.hash), "reload refused: what ran before runs on");
        self.reloads.refused = Some((Timestamp::now(), refused.clone()));
        // A service manager that waits is told no more than that it is over.
        systemd::insist("READY=1");
        for request in reload.requests {
            request.answer(Err(refused.clone()));
        }
    }

    pub(super) fn end_of_turn(&mut self, now: Moment) {
        self.reloads.is_other_turn = false;
        self.start_waiting(now);
    }

    /// Another process is in charge: a signal is for that one, and who has asked asks again.
    pub(super) fn pass_reloads_on(&mut self, pid: u32) {
        let mut is_signal = false;
        for request in std::mem::take(&mut self.reloads.waiting) {
            is_signal |= request.reply.is_none();
            request.answer(Err(Refused::Now(orders::taken_over_by(pid))));
        }
        if is_signal {
            let sent = Process::find(pid).and_then(|process| process.signal(Signal::HUP));
            tracing::info!(pid, ?sent, "a reload is passed on to the process that has taken over");
        }
    }

    pub(super) fn start_waiting(&mut self, now: Moment) {
        for request in std::mem::take(&mut self.reloads.waiting) {
            // The first one starts it, the others would wait for it: they are served with it.
            match &mut self.reloads.running {
                Some(reload) => reload.requests.push(request),
                None => self.begin_reload(now, request),
            }
        }
    }

    /// Its last word comes back to the loop.
    fn spawn_step(&mut self, work: impl Future<Output = Step> + Send + 'static) {
        let steps = self.steps_in.clone();
        self.tasks.spawn(async move {
            let _ = steps.send(wake::Step::Reload(work.await));
        });
    }
}

impl Request {
    fn answer(self, outcome: Result<ReloadReport, Refused>) {
        if let Some(reply) = self.reply {
            // Who asked may have gone away.
            let _ = reply.send(outcome);
        }
    }
}

fn short(hash: &str) -> &str {
    hash.get(..6).unwrap_or(hash)
}
