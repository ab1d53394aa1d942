//! Carries a planned stop from stage to stage (the stages are in `stop`).

use std::{sync::Arc, time::Duration};

use lb_vrrp::{Moment, State};
use tokio::sync::oneshot;

use super::{
    Daemon, clock,
    group::Group,
    problems,
    stop::{Patience, Stage, Stop},
    systemd,
    wake::Step,
};
use crate::control::{StopReport, Timestamp};

/// For the last short exchanges, while newcomers are dropped.
const HOLD_OFF: Duration = Duration::from_millis(50);

impl Daemon {
    /// A second request, of whatever kind, hurries the first.
    pub(super) fn begin_stop(
        &mut self,
        now: Moment,
        by: &str,
        patience: Patience,
        reply: Option<oneshot::Sender<StopReport>>,
    ) {
        if let Some(stop) = &mut self.stop {
            stop.replies.extend(reply);
            if !stop.now {
                tracing::warn!(by, "asked again: stopping at once");
                stop.now = true;
                if let Some(drain) = self.drain.take() {
                    drain.abort();
                    self.handle_step(now, &Step::Drained { left: 0 });
                }
            }
            return;
        }
        if self.upgrade.take().is_some() {
            tracing::warn!(by, "the upgrade that was under way is called off");
            self.earlier.listen(&self.steps_in);
        }
        let at_once = patience == Patience::None;
        let limit = patience.limit(self.config.global.drain_timeout, self.groups.is_empty());
        tracing::info!(by, ?limit, "stopping: draining first");
        systemd::notify("STOPPING=1");
        let held: Vec<String> = self.held().into_iter().map(str::to_owned).collect();
        let holds = !held.is_empty();
        let mut stop = Stop::new(format!("stop by {by}"), now, at_once, held);
        stop.replies.extend(reply);
        stop.limit = limit;
        self.stop = Some(stop);
        self.yield_to_stop(now);
        let (proxy, steps) = (Arc::clone(&self.proxy), self.steps_in.clone());
        let earlier = self.earlier.drain(limit);
        self.drain = Some(self.tasks.spawn(async move {
            if at_once {
                let left = proxy.drain(limit).await;
                let _ = steps.send(Step::Drained { left });
                return;
            }
            let (mut left, before) = tokio::join!(proxy.drain(limit), earlier);
            if holds {
                left = proxy.hold_off(HOLD_OFF).await;
            }
            let _ = steps.send(Step::Drained { left: left + usize::try_from(before).unwrap_or(usize::MAX) });
        }));
    }

    pub(super) fn handle_step(&mut self, now: Moment, step: &Step) {
        match step {
            Step::Reset { exchanges } => {
                tracing::info!(exchanges, "reset the exchanges on addresses that leave");
                if let Some(stop) = &mut self.stop {
                    stop.cut += *exchanges as u64;
                }
                if let Some(drain) = &mut self.giving {
                    drain.count_cut(*exchanges);
                }
            }
            Step::ReadyToGive => self.leave_for_drain(now),
            Step::Drained { left } => {
                self.drain = None;
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
            Step::Reload(_) | Step::Upgrade(_) | Step::Counted(_) => {}
            Step::SpeakerGone => {
                if let Some(stop) = &mut self.stop {
                    stop.stage = Stage::Finishing;
                }
            }
        }
    }

    /// Names of the groups that this node holds.
    pub(super) fn held(&self) -> Vec<&str> {
        let held = self.groups.iter().filter(|group| group.state() == State::Active);
        held.map(|group| group.config.name.as_str()).collect()
    }

    pub(super) fn settle_stop(&mut self, now: Moment) {
        let Some(mut stop) = self.stop.take() else { return };
        if stop.given_away(now, &self.held()) {
            match self.speaker.clone() {
                Some(speaker) => {
                    let (steps, reason) = (self.steps_in.clone(), stop.reason.clone());
                    self.tasks.spawn(async move {
                        speaker.shutdown(&reason).await;
                        let _ = steps.send(Step::SpeakerGone);
                    });
                }
                None => stop.stage = Stage::Finishing,
            }
        }
        self.stop = Some(stop);
    }

    /// Everything is given away: connections to the node's own addresses finish, then the workers end.
    pub(super) async fn finish(mut self) {
        let limit = self.stop.as_ref().filter(|stop| !stop.now).map_or(Duration::ZERO, |stop| stop.limit);
        let local = self.local();
        if let Some(neighbours) = self.neighbours.as_mut().filter(|_| self.retirement.is_none()) {
            neighbours.end(clock::now(), local);
        }
        self.tasks.shutdown().await;
        if let Some(retirement) = self.retirement {
            // The next process has these conversations. The others end when nobody has them any more.
            drop(self.earlier);
            let Some(proxy) = Arc::into_inner(self.proxy) else { return };
            let (drain_timeout, is_alone) = (self.config.global.drain_timeout, self.groups.is_empty());
            let patience = |patience: Patience| patience.limit(drain_timeout, is_alone);
            let cut = retirement.spend(proxy, &mut self.signals, patience).await;
            tracing::info!(cut, "ended: another process serves");
            return;
        }
        let own = async {
            // No task has it any more.
            match Arc::into_inner(self.proxy) {
                Some(proxy) => proxy.stop(limit).await,
                None => 0,
            }
        };
        let (cut, cut_before) = tokio::join!(own, self.earlier.end(limit));
        if let Some(stop) = &mut self.stop {
            stop.cut += u64::from(cut) + cut_before;
            stop.report(clock::now());
            tracing::info!(cut = stop.cut, "stopped");
        }
    }
}
