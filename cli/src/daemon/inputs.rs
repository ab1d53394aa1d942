//! What comes in from the proxy, the speaker and the control interface, and where it goes.

use std::{sync::Arc, time::Duration};

use lb_proxy::Grown;
use lb_vrrp::Moment;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Daemon, Identity, Neighbours, clock,
    clock::Instants,
    control::Command,
    errors, group, hello, losses, naming, problems,
    reload::Request,
    report,
    stop::{self, Patience},
    trace,
    wake::Step,
};
use crate::{
    control::{LAST_EVENTS, NotOpened, Phase, Problem, ReopenReport, Status},
    interfaces::nowhere,
    service,
    speaker::protocol::FromSpeaker,
};

/// For workers to reset the exchanges of an address that is about to leave.
const RESET_LIMIT: Duration = Duration::from_millis(5);

/// For workers and the processes before to say how many those were; and to reset them where nothing is in a hurry.
pub(super) const COUNT_LIMIT: Duration = Duration::from_millis(200);

impl Daemon {
    pub(super) fn handle_health(&mut self, now: Moment) {
        let health = self.health.borrow_and_update().clone();
        for group in &mut self.groups {
            group.tracker.handle_health(now, &health);
        }
    }

    pub(super) fn handle_speaker(&mut self, now: Moment, message: FromSpeaker) -> anyhow::Result<()> {
        match message {
            FromSpeaker::Started => {
                if self.problem_of_losses().is_none() {
                    tracing::info!("the speaker runs");
                }
                // A new speaker knows nothing of this node's readiness.
                for group in &mut self.groups {
                    group.told = None;
                }
            }
            FromSpeaker::Status { at, groups } => {
                for mut status in groups {
                    let nodes = &self.config.cluster.nodes;
                    status.reason = naming::with_names(&status.reason, nodes);
                    for transition in &mut status.transitions {
                        transition.reason = naming::with_names(&transition.reason, nodes);
                    }
                    if let Some(group) = self.groups.iter_mut().find(|group| group.config.name == status.name)
                    {
                        group.tracker.handle_state(now, status.state);
                        let name = status.name.clone();
                        group.take_status(at, status);
                        self.catch_up(now, &name);
                    }
                }
            }
            FromSpeaker::Transition { group, mut transition } => {
                transition.reason = naming::with_names(&transition.reason, &self.config.cluster.nodes);
                let vips =
                    self.groups.iter().find(|found| found.config.name == group).map(group::Group::vips);
                let vips = vips.unwrap_or_default();
                let mut told = false;
                let mut found = self.groups.iter_mut().find(|found| found.config.name == group);
                if found.as_mut().is_none_or(|found| found.tells(now)) {
                    group::log_transition(&group, &vips, &transition);
                    self.proxy.log(&group::transition_event(&group, &vips, &transition));
                    told = true;
                }
                if let Some(found) = found {
                    found.tracker.handle_state(now, transition.to);
                    found.take_transition(&transition);
                }
                if told {
                    self.note_transition(&group, &transition);
                }
            }
            FromSpeaker::Announced { all } => self.take_announced(&all),
            FromSpeaker::ResetExchanges { group } => self.reset_exchanges(group),
            FromSpeaker::Fatal { text } => anyhow::bail!("{text}"),
            FromSpeaker::Log { .. }
            | FromSpeaker::Reconfigured
            | FromSpeaker::HandedOver
            | FromSpeaker::TakenBack
            | FromSpeaker::NotHandedOver { .. }
            | FromSpeaker::Stopped => {}
        }
        Ok(())
    }

    pub(super) fn handle_speaker_end(&mut self) {
        self.from_speaker = None;
        if self.stop.is_none() && self.upgrade.is_none() {
            tracing::error!("the link to the speaker is gone");
            self.own_problems.push(problems::new(
                "the speaker is gone",
                crate::control::Timestamp::now(),
                format!(
                    "this node holds no address any more. Look at {}, then: {}",
                    service::log(),
                    service::restart()
                ),
            ));
        }
    }

    fn reset_exchanges(&mut self, group: String) {
        let Some(found) = self.groups.iter().find(|found| found.config.name == group) else { return };
        let Some(speaker) = self.speaker.clone() else { return };
        self.resets += 1;
        let addresses = found.addresses();
        let (proxy, steps) = (Arc::clone(&self.proxy), self.steps_in.clone());
        // Connections that still end in processes before this one are here no longer either.
        let earlier = self.earlier.reset(&addresses, COUNT_LIMIT);
        self.tasks.spawn(async move {
            let own = proxy.reset_connections(&addresses, COUNT_LIMIT);
            let mut counted = std::pin::pin!(async { tokio::join!(own, earlier) });
            let in_time = timeout(RESET_LIMIT, &mut counted).await;
            speaker.exchanges_reset(&group);
            let (own, before) = match in_time {
                Ok(counted) => counted,
                Err(_) => counted.await,
            };
            let exchanges = own + usize::try_from(before).unwrap_or(usize::MAX);
            let _ = steps.send(Step::Reset { exchanges });
        });
    }

    pub(super) fn handle_command(&mut self, now: Moment, command: Command) {
        match command {
            Command::Status(reply) => {
                let _ = reply.send(Box::new(self.status()));
            }
            Command::Errors(reply) => {
                let report = errors::report(Arc::clone(&self.proxy));
                self.tasks.spawn(async move {
                    let _ = reply.send(report.await);
                });
            }
            Command::Trace { request, reply } => {
                let _ = reply.send(trace::begin(&self.proxy, &request));
            }
            Command::Events(reply) => {
                let _ = reply.send(Arc::clone(&self.journal));
            }
            Command::ReopenLogs(reply) => self.reopen_logs(Some(reply)),
            Command::Server { request, by, reply } => self.order_server(&request, &by, reply),
            Command::Frontend { request, by, reply } => self.order_frontend(&request, &by, reply),
            Command::Drain { request, by, reply } => self.begin_drain(now, request, by, reply),
            Command::Switchover { request, by, reply } => self.begin_switchover(now, &request, by, reply),
            Command::Announce { by, reply } => self.order_announce(&by, reply),
            Command::Resume { by, reply } => self.end_node_drain(now, &by, reply),
            Command::Diff(reply) => self.compare(reply),
            Command::Reload { by, reply } => self.begin_reload(now, Request { by, reply: Some(reply) }),
            Command::Upgrade(request) => self.begin_upgrade(now, request),
            Command::Stop { now: at_once, by, reply } => {
                let patience = if at_once { Patience::None } else { Patience::Full };
                self.begin_stop(now, stop::Request { by, patience, reply: Some(reply) });
            }
        }
    }

    /// Files of logs were moved away.
    pub(super) fn reopen_logs(&mut self, reply: Option<oneshot::Sender<ReopenReport>>) {
        let (proxy, earlier) = (Arc::clone(&self.proxy), self.earlier.reopen_logs());
        self.tasks.spawn(async move {
            let mut report = ReopenReport::default();
            let (logs, not_opened) = tokio::join!(proxy.reopen_logs(), earlier);
            if not_opened > 0 {
                let (file, why) = ("those of processes before an upgrade", format!("{not_opened} of them"));
                report.failed.push(NotOpened { file: file.to_owned(), why });
            }
            for log in logs {
                let file = log.target.strip_prefix("file ").unwrap_or(&log.target).to_owned();
                match log.problem {
                    Some(problem) => report.failed.push(NotOpened { file, why: problem.what }),
                    None => report.files.push(file),
                }
            }
            let (files, failed) = (report.files.len(), report.failed.len());
            tracing::info!(files, failed, "files of logs are opened anew");
            // Who asked may have gone away.
            let _ = reply.map(|reply| reply.send(report));
        });
    }

    /// What a process before this one has counted is part of what this one shows.
    pub(super) fn count(&mut self, grown: Vec<Grown>) {
        let proxy = Arc::clone(&self.proxy);
        self.tasks.spawn(async move { proxy.count(grown).await });
    }

    pub(super) fn status(&self) -> Status {
        let phase = match (&self.stop, &self.identity) {
            (Some(stop), _) => Phase::Stopping { reason: stop.reason.clone() },
            (None, Identity::Waiting { reason, .. }) => Phase::Waiting { reason: reason.clone() },
            (None, Identity::Alone { .. } | Identity::Node { .. }) => Phase::Running,
        };
        let mut own_problems = self.own_problems.clone();
        own_problems.extend(self.reloads.problem(&self.path));
        own_problems.extend(self.certificates.problems());
        own_problems.extend(self.probes.problems());
        let losses = self.problem_of_losses();
        let are_noted = losses.is_none();
        own_problems.extend(losses);
        own_problems.extend(self.notifiers.problems());
        if let Some(error) = self.neighbours.as_ref().and_then(Neighbours::error) {
            own_problems.push(Problem {
                what: "no hello passes between the nodes".to_owned(),
                since: None,
                look_at: format!(
                    "UDP port {}: {error}. Who has it: ss -lunp 'sport = :{}'",
                    hello::endpoint::PORT,
                    hello::endpoint::PORT
                ),
            });
        }
        let mut status = report::status(&report::Facts {
            at: Instants::now(),
            started: self.started,
            up: self.up,
            identity: &self.identity,
            config: &self.config,
            path: &self.path,
            loaded: self.reloads.loaded().unwrap_or(self.started.wall),
            phase,
            drained: self.drained.clone(),
            earlier: self.earlier.left(),
            runner_restarts: self.runner.replaced(),
            giving: self.giving.as_ref().map(|giving| (giving.ordered(), giving.waits_for(clock::now()))),
            groups: &self.groups,
            session: self.neighbours.as_ref().map(Neighbours::session),
            proxy: &self.proxy.status(),
            alarms: self.alarms.on(),
            own_problems: &own_problems,
            nowhere: nowhere(&self.config),
        });
        status.speaker = (!self.groups.is_empty()).then(|| self.losses.clone());
        let speaker = status.speaker.iter().filter(|_| are_noted);
        status.notes.extend(speaker.filter_map(|speaker| losses::note(speaker, status.at)));
        status.counters.extend(self.counters.by_name());
        status.trackers = self.probes.report();
        status.notifiers = self.notifiers.report(&self.journal);
        status.events = self.journal.last(LAST_EVENTS);
        status
    }
}
