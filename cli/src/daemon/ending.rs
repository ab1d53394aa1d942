//! Carries a planned stop from stage to stage (the stages are in `stop`).

use std::{pin::pin, sync::Arc, time::Duration};

use lb_vrrp::{Moment, State};
use tokio::select;

use super::{
    Daemon, clock,
    control::Command,
    draining::Drained,
    group::Group,
    journal::End,
    problems,
    stop::{Patience, Request, Stage, Stop, Whereabouts},
    systemd,
    wake::Step,
};
use crate::control::Timestamp;

impl Daemon {
    /// A second request, of whatever kind, hurries the first.
    pub(super) fn begin_stop(&mut self, now: Moment, request: Request) {
        if let Some(upgrade) = self.upgrade.as_mut().filter(|upgrade| upgrade.is_past_recall()) {
            tracing::warn!(
                by = request.by,
                "another process is just taking over: the stop waits for what comes of it"
            );
            return upgrade.stops.push(request);
        }
        let Request { by, patience, reply } = request;
        if let Some(stop) = &mut self.stop {
            stop.replies.extend(reply);
            if !stop.now {
                tracing::warn!(by, "asked again: stopping at once");
                stop.hurry();
                if let Some(drain) = self.drain.take() {
                    drain.abort();
                    let (reset, steps) = (self.reset_held(), self.steps_in.clone());
                    self.drain = Some(self.tasks.spawn(async move {
                        let _ = steps.send(Step::Drained(Drained { left: 0, reset: reset.await }));
                    }));
                }
            }
            return;
        }
        if self.upgrade.take().is_some() {
            tracing::warn!(by, "the upgrade that was under way is called off");
            self.earlier.listen(&self.steps_in);
        }
        let limit = patience.limit(self.config.global.drain_timeout, self.groups.is_empty());
        tracing::info!(by, ?limit, "stopping: draining first");
        systemd::insist("STOPPING=1");
        self.earlier.ask_anew();
        let held: Vec<String> = self.held().into_iter().map(str::to_owned).collect();
        for group in &held {
            // Who sends a signal hears no answer, and whoever shuts the machine down means it.
            if let Some(why) = self.without_takers(group) {
                tracing::warn!(
                    by,
                    group,
                    why,
                    "nobody is known that could take it over: it is given up all the same"
                );
            }
        }
        self.stop = Some(Stop::new(format!("stop by {by}"), now, held, limit, reply));
        let is_drained = self.yield_to_stop(now);
        let (proxy, steps) = (Arc::clone(&self.proxy), self.steps_in.clone());
        let drained = self.drain_exchanges(limit);
        self.drain = Some(self.tasks.spawn(async move {
            if is_drained {
                // Newcomers are served until this one has drained.
                proxy.stay().await;
            }
            let drained = drained.await;
            let _ = steps.send(Step::Drained(drained));
        }));
    }

    pub(super) fn handle_step(&mut self, now: Moment, step: &Step) {
        match step {
            Step::Reset { exchanges } => {
                self.resets = self.resets.saturating_sub(1);
                self.count_reset(now, *exchanges);
            }
            Step::ReadyToGive { begun, reset } => {
                self.count_reset(now, *reset);
                self.leave_for_drain(now, *begun);
            }
            Step::Drained(Drained { left, reset }) => {
                self.drain = None;
                self.count_reset(now, *reset);
                let held = self.groups.iter().filter(|group| group.state() == State::Active);
                let interval = held.map(Group::interval).max().unwrap_or_default();
                if let Some(stop) = &mut self.stop {
                    tracing::info!(left, "drained");
                    stop.drained(now, interval);
                    for group in &mut self.groups {
                        group.tracker.handle_leaving(Some(stop.reason.clone()));
                    }
                }
            }
            Step::Told { error } => {
                if let Some(error) = error {
                    tracing::error!(error, "{}", problems::NOT_TOLD);
                    self.own_problems.push(problems::new(
                        problems::NOT_TOLD,
                        Timestamp::now(),
                        format!("{error}. Connections to servers don't come from their `source`; then: lbctl reload"),
                    ));
                }
                self.end_of_turn(now);
            }
            // They have a way of their own.
            Step::Certificates(_)
            | Step::Reload(_)
            | Step::Upgrade(_)
            | Step::Counted(_)
            | Step::Looked(_) => {}
            Step::SpeakerGone => self.wind_up(now),
            Step::WoundUp { cut_before } => {
                if let Some(stop) = &mut self.stop {
                    stop.cut += cut_before;
                    stop.stage = Stage::Over;
                }
            }
        }
    }

    fn count_reset(&mut self, now: Moment, exchanges: usize) {
        if self.telling.tells(now) {
            tracing::info!(exchanges, "reset the exchanges on addresses that leave");
        }
        if let Some(stop) = &mut self.stop {
            stop.cut += exchanges as u64;
        }
        if let Some(drain) = &mut self.giving {
            drain.count_cut(exchanges);
        }
    }

    /// Of a group that this node held.
    pub(super) fn whereabouts(&self, name: &str) -> Whereabouts {
        let group = self.groups.iter().find(|group| group.config.name == name);
        match group.map(|group| (group.state(), group)) {
            Some((State::Active, _)) => Whereabouts::Here { why: self.without_takers(name) },
            Some((State::Initialize, group)) => {
                let reason = group.status.as_ref().map(|(_, status)| status.reason.clone());
                Whereabouts::GivenUp(reason.unwrap_or_default())
            }
            Some((State::Backup, _)) | None => Whereabouts::Elsewhere,
        }
    }

    /// Names of the groups that this node holds.
    pub(super) fn held(&self) -> Vec<&str> {
        let held = self.groups.iter().filter(|group| group.state() == State::Active);
        held.map(|group| group.config.name.as_str()).collect()
    }

    pub(super) fn settle_stop(&mut self, now: Moment) {
        let Some(mut stop) = self.stop.take() else { return };
        let is_given = stop.given_away(now, &self.held(), |group| self.whereabouts(group));
        let reason = stop.reason.clone();
        self.stop = Some(stop);
        if !is_given {
            return;
        }
        match self.speaker.clone() {
            Some(speaker) => {
                let steps = self.steps_in.clone();
                self.tasks.spawn(async move {
                    speaker.shutdown(&reason).await;
                    let _ = steps.send(Step::SpeakerGone);
                });
            }
            None => self.wind_up(now),
        }
    }

    /// Everything is given away: connections to the node's own addresses finish, here and in the processes before.
    fn wind_up(&mut self, now: Moment) {
        let local = self.local();
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.end(now, local);
        }
        let Some(stop) = &mut self.stop else { return };
        stop.stage = Stage::Finishing;
        let limit = if stop.now { Duration::ZERO } else { stop.limit };
        let (own_hurried, hurried) = (stop.hurried(), stop.hurried());
        let (proxy, earlier, steps) = (Arc::clone(&self.proxy), self.earlier.clone(), self.steps_in.clone());
        self.tasks.spawn(async move {
            let own = async {
                select! {
                    () = proxy.wind_up(limit) => {}
                    () = own_hurried => proxy.wind_up(Duration::ZERO).await,
                }
            };
            let before = async {
                let mut ended = pin!(earlier.end(limit));
                select! {
                    biased;
                    cut = &mut ended => cut,
                    // Each of them answers once: those that have ended by then, the first order.
                    () = hurried => {
                        let (at_once, in_time) = tokio::join!(earlier.end(Duration::ZERO), ended);
                        at_once + in_time
                    }
                }
            };
            let ((), cut_before) = tokio::join!(own, before);
            let _ = steps.send(Step::WoundUp { cut_before });
        });
    }

    /// The workers end.
    pub(super) async fn finish(mut self) {
        self.tasks.shutdown().await;
        if self.retirement.is_none() {
            self.journal.end(End::Over);
        }
        if let Some(retirement) = self.retirement {
            self.commands.close();
            // The next process has these conversations. The others end when nobody has them any more.
            drop(self.earlier);
            while self.commands.try_recv().is_ok() {}
            let (drain_timeout, is_alone) = (self.config.global.drain_timeout, self.groups.is_empty());
            let patience = |patience: Patience| patience.limit(drain_timeout, is_alone);
            let untold = retirement.untold;
            let insist = async {
                if let Some(pid) = untold {
                    systemd::insist_on_main_process(pid).await;
                }
            };
            let spent = retirement.spend(&self.proxy, &mut self.signals, patience);
            let (cut, (), ()) = tokio::join!(spent, insist, self.notifiers.idle());
            tracing::info!(cut, "ended: another process serves");
            return;
        }
        let Some(mut stop) = self.stop else {
            // Because of a fault.
            tokio::join!(self.proxy.stop(Duration::ZERO), self.earlier.end(Duration::ZERO));
            return;
        };
        stop.cut += u64::from(self.proxy.finish().await);
        stop.unanswered = self.earlier.unanswered();
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Stop { reply, .. } = command {
                stop.replies.push(reply);
            }
        }
        stop.report(clock::now());
        self.notifiers.flush(&self.journal).await;
        tracing::info!(cut = stop.cut, "stopped");
    }
}
