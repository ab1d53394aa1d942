//! The addresses are given away in order while the process goes on: `lbctl drain`, which keeps the node out of the election
//! until `lbctl resume`, and `lbctl switchover`, after which it is a Backup that does not take them back by itself.
//!
//! ```text
//! Draining ──▶ Leaving ──▶ over: a fault "drained by root" ──▶ lbctl resume
//!  keep-alive   priority 1     ▲
//!  off          until heard    │ with --force
//!                 └── nobody answers ──▶ called off, everything as before
//! ```

mod outcome;
mod permission;
pub(super) use permission::unready;
mod rehearsal;

use std::{sync::Arc, time::Duration};

use lb_vrrp::{Moment, State};
use tokio::task::AbortHandle;

use super::{
    Daemon,
    clock::Instants,
    group::Group,
    inputs::COUNT_LIMIT,
    orders::{Refused, Reply},
    stop::{ANSWER_MARGIN, Whereabouts},
    wake::Step,
};
pub(super) use rehearsal::Rehearsal;

use crate::control::{
    DrainReport, DrainRequest, GivenAway, Moved, Ordered, ResumeReport, SwitchoverReport, SwitchoverRequest,
    Timestamp,
};

/// For the last short exchanges, while newcomers are dropped.
const HOLD_OFF: Duration = Duration::from_millis(50);

/// For the kernel to let go of the addresses that nobody takes.
const GIVE_UP: Duration = Duration::from_secs(3);

/// For the new holder to say that it has announced: it says hello at most ten times a second.
const FOLLOW: Duration = Duration::from_secs(2);

/// One that is under way.
#[derive(Debug)]
pub(super) struct Drain {
    by: String,
    at: Timestamp,
    /// Until when exchanges are waited for at the latest.
    until: Moment,
    /// Waits for them.
    waits: Option<AbortHandle>,
    force: bool,
    begun: Moment,
    stage: Stage,
    cut: u64,
    /// Groups that this node held when it began.
    held: Vec<String>,
    outcomes: Vec<GivenAway>,
    warnings: Vec<String>,
    purpose: Purpose,
}

/// What comes after, and who waits for that.
#[derive(Debug)]
enum Purpose {
    Drain(Reply<DrainReport>),
    Switchover(Reply<SwitchoverReport>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Short exchanges finish; the addresses are still held.
    Draining,
    /// Advertising priority 1 until the other node is heard.
    Leaving { until: Moment },
    /// Nobody answers: the addresses are given up.
    GivingUp { until: Moment },
    /// Another node has them, and is about to say that it has announced them.
    Following { until: Moment },
}

/// What came of the exchanges before the addresses go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    /// Had not ended in time.
    pub(super) left: usize,
    /// Were reset, since they were on addresses that go.
    pub(super) reset: usize,
}

impl Drain {
    /// When it wants to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        match self.stage {
            Stage::Draining => None,
            Stage::Leaving { until } | Stage::GivingUp { until } | Stage::Following { until } => Some(until),
        }
    }

    fn word(&self) -> &'static str {
        match self.purpose {
            Purpose::Drain(_) => "drain",
            Purpose::Switchover(_) => "switchover",
        }
    }

    /// As the status has it.
    pub(super) fn ordered(&self) -> Ordered {
        Ordered { what: self.word().to_owned(), by: self.by.clone(), at: self.at }
    }

    /// How long exchanges may still take, while they are waited for.
    pub(super) fn waits_for(&self, now: Moment) -> Option<Duration> {
        (self.stage == Stage::Draining).then(|| self.until.saturating_since(now))
    }

    /// For whoever has to wait for it.
    pub(super) fn refusal(&self) -> String {
        format!("a {} is under way: try again when it is over", self.word())
    }

    pub(super) fn count_cut(&mut self, exchanges: usize) {
        self.cut += exchanges as u64;
    }
}

impl Daemon {
    /// Exchanges finish, here and in the processes before, for at most `limit`. Where this node holds an address, newcomers
    /// are dropped then while the last short ones end, and what is left on its addresses is reset (rule 8).
    pub(super) fn drain_exchanges(&self, limit: Duration) -> impl Future<Output = Drained> + use<> {
        let (proxy, earlier) = (Arc::clone(&self.proxy), self.earlier.drain(limit));
        let reset = self.reset_held();
        let holds = !self.held().is_empty();
        async move {
            let (mut left, before) = tokio::join!(proxy.drain(limit), earlier);
            if holds {
                left = proxy.hold_off(HOLD_OFF.min(limit)).await;
            }
            let left = left + usize::try_from(before).unwrap_or(usize::MAX);
            Drained { left, reset: reset.await }
        }
    }

    /// Resets what is on the addresses that this node holds, here and in the processes before, while a reset can still leave:
    /// a planned move has the time that a fault has not. How many exchanges that were.
    pub(super) fn reset_held(&self) -> impl Future<Output = usize> + use<> {
        let held = self.groups.iter().filter(|group| group.state() == State::Active);
        let addresses: Vec<_> = held.flat_map(Group::addresses).collect();
        let (proxy, earlier) = (Arc::clone(&self.proxy), self.earlier.reset(&addresses, COUNT_LIMIT));
        async move {
            if addresses.is_empty() {
                return 0;
            }
            let (own, before) = tokio::join!(proxy.reset_connections(&addresses, COUNT_LIMIT), earlier);
            own + usize::try_from(before).unwrap_or(usize::MAX)
        }
    }

    pub(super) fn begin_drain(
        &mut self,
        now: Moment,
        request: DrainRequest,
        by: String,
        reply: Reply<DrainReport>,
    ) {
        let warnings = match self.may_drain(request.force) {
            Ok(warnings) => warnings,
            Err(refused) => {
                let (Refused::Now(why) | Refused::Missing(why)) = &refused;
                tracing::warn!(by, "no drain: {why}");
                let _ = reply.send(Err(refused));
                return;
            }
        };
        let mut drain = self.giving_away(now, by, request.force, Purpose::Drain(reply));
        drain.warnings = warnings;
        if self.drained.is_some() || drain.held.is_empty() {
            return self.end_drain(now, drain);
        }
        self.start_giving(drain, request.now);
    }

    pub(super) fn begin_switchover(
        &mut self,
        now: Moment,
        request: &SwitchoverRequest,
        by: String,
        reply: Reply<SwitchoverReport>,
    ) {
        match self.may_switch(request) {
            Ok(_) if request.dry_run => self.begin_rehearsal(now, request.clone(), reply),
            Ok((_, warnings)) => {
                let mut giving = self.giving_away(now, by, request.force, Purpose::Switchover(reply));
                giving.warnings = warnings;
                self.start_giving(giving, request.now);
            }
            Err(refused) => {
                let (Refused::Now(why) | Refused::Missing(why)) = &refused;
                tracing::warn!(by, "no switchover: {why}");
                let _ = reply.send(Err(refused));
            }
        }
    }

    fn giving_away(&self, now: Moment, by: String, force: bool, purpose: Purpose) -> Drain {
        let held = self.held().into_iter().map(str::to_owned).collect();
        self.earlier.ask_anew();
        Drain {
            by,
            at: Timestamp::now(),
            until: now,
            waits: None,
            force,
            begun: now,
            stage: Stage::Draining,
            cut: 0,
            held,
            outcomes: Vec::new(),
            warnings: Vec::new(),
            purpose,
        }
    }

    fn start_giving(&mut self, mut drain: Drain, at_once: bool) {
        let limit = if at_once { Duration::ZERO } else { self.config.global.drain_timeout };
        drain.until = drain.begun + limit;
        let force = drain.force;
        match drain.purpose {
            Purpose::Drain(_) => tracing::info!(by = drain.by, ?limit, force, "draining this node"),
            Purpose::Switchover(_) => {
                tracing::info!(by = drain.by, ?limit, force, "switchover: draining first")
            }
        }
        // A reload that is asked for meanwhile follows.
        self.reloads.take_turn();
        let (steps, begun) = (self.steps_in.clone(), drain.begun);
        let drained = self.drain_exchanges(limit);
        drain.waits = Some(self.tasks.spawn(async move {
            let reset = drained.await.reset;
            let _ = steps.send(Step::ReadyToGive { begun, reset });
        }));
        self.giving = Some(drain);
    }

    /// Short exchanges are over: the other node may take the addresses.
    pub(super) fn leave_for_drain(&mut self, now: Moment, begun: Moment) {
        let is_of_this = |drain: &mut Drain| drain.begun == begun && drain.stage == Stage::Draining;
        let Some(mut drain) = self.giving.take_if(is_of_this) else { return };
        let held = self.groups.iter_mut().filter(|group| group.state() == State::Active);
        let mut interval = Duration::ZERO;
        for group in held {
            interval = interval.max(group.interval());
            group.tracker.handle_leaving(Some(format!("{} by {}", drain.word(), drain.by)));
        }
        drain.stage = Stage::Leaving { until: now + interval + ANSWER_MARGIN };
        self.giving = Some(drain);
    }

    pub(super) fn settle_drain(&mut self, now: Moment) {
        let Some(mut drain) = self.giving.take() else { return };
        let held: Vec<String> = self.held().into_iter().map(str::to_owned).collect();
        let is_held = |group: &String| held.contains(group);
        match drain.stage {
            Stage::Draining => {}
            // What is cut is part of the report.
            _ if self.resets > 0 => {}
            Stage::Leaving { until } if !drain.held.iter().any(is_held) || now >= until => {
                let where_are: Vec<_> = drain.held.iter().map(|group| self.whereabouts(group)).collect();
                let is_switchover = matches!(drain.purpose, Purpose::Switchover(_));
                let given_up = drain.held.iter().zip(&where_are).find_map(|(group, at)| match at {
                    Whereabouts::GivenUp(reason) => Some(format!("{group} was given up meanwhile: {reason}")),
                    Whereabouts::Here { .. } | Whereabouts::Elsewhere => None,
                });
                let outcomes = drain.held.iter().zip(where_are).map(|(group, at)| at.outcome(group));
                drain.outcomes = outcomes.collect();
                if !drain.held.iter().any(is_held) {
                    return match given_up {
                        Some(why) if is_switchover => self.call_off(now, drain, &why),
                        None if is_switchover => self.follow(now, drain),
                        _ => self.end_drain(now, drain),
                    };
                }
                if !drain.force || is_switchover {
                    let why = "no other node answered within one interval: this one goes on as before";
                    return self.call_off(now, drain, why);
                }
                let reason = format!("drained by {}", drain.by);
                for group in &mut self.groups {
                    group.tracker.handle_drained(Some(reason.clone()));
                }
                drain.stage = Stage::GivingUp { until: now + GIVE_UP };
            }
            Stage::GivingUp { until } if !drain.held.iter().any(is_held) || now >= until => {
                return self.end_drain(now, drain);
            }
            Stage::Following { .. } if drain.held.iter().any(is_held) => {
                return self.tell_of_return(now, drain);
            }
            Stage::Following { until } => {
                let moved = self.moved(&drain.held);
                let is_over = moved.iter().all(|moved| self.is_there(moved)) && self.has_said_so(&drain.held);
                if now >= until || is_over {
                    return self.end_switchover(now, drain, moved);
                }
            }
            Stage::Leaving { .. } | Stage::GivingUp { .. } => {}
        }
        self.giving = Some(drain);
    }

    /// Another node has everything: this one is as ready as it is, and does not take it back.
    fn follow(&mut self, now: Moment, mut drain: Drain) {
        for group in &mut self.groups {
            group.tracker.handle_leaving(None);
            group.yields |= drain.held.contains(&group.config.name);
        }
        let proxy = Arc::clone(&self.proxy);
        self.tasks.spawn(async move { proxy.stay().await });
        drain.stage = Stage::Following { until: now + FOLLOW };
        self.giving = Some(drain);
    }

    /// Nobody else holds everything after all.
    fn tell_of_return(&mut self, now: Moment, drain: Drain) {
        let held = self.held();
        let back = drain.held.iter().filter(|group| held.contains(&group.as_str()));
        let back: Vec<_> = back.map(|group| format!("{group} ({})", self.ready_peers(group).1)).collect();
        let why = format!(
            "this node holds again what it gave away: the other node gave it straight back: {}",
            back.join(", ")
        );
        tracing::warn!(by = drain.by, "switchover: {why}");
        if let Purpose::Switchover(reply) = drain.purpose {
            let _ = reply.send(Err(Refused::Now(why)));
        }
        self.end_of_turn(now);
    }

    fn end_switchover(&mut self, now: Moment, drain: Drain, groups: Vec<Moved>) {
        let Drain { by, begun, cut, purpose, warnings, .. } = drain;
        let milliseconds = now.saturating_since(begun).as_millis();
        tracing::info!(by, cut, ?groups, "switchover: another node holds the addresses");
        if let Purpose::Switchover(reply) = purpose {
            let _ = reply.send(Ok(SwitchoverReport {
                node: self.identity.name().to_owned(),
                dry_run: false,
                milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
                cut,
                unanswered: self.earlier.unanswered(),
                groups,
                warnings,
            }));
        }
        self.end_of_turn(now);
    }

    /// A stop goes before it, and drains the proxy itself. Returns whether there was one.
    pub(super) fn yield_to_stop(&mut self, now: Moment) -> bool {
        let Some(drain) = self.giving.take() else { return false };
        self.refuse_drain(drain, "lbctl is about to stop");
        self.end_of_turn(now);
        true
    }

    fn call_off(&mut self, now: Moment, drain: Drain, why: &str) {
        self.refuse_drain(drain, why);
        self.go_on_serving(now);
    }

    fn refuse_drain(&mut self, drain: Drain, why: &str) {
        tracing::warn!(by = drain.by, "the {} is called off: {why}", drain.word());
        drain.waits.iter().for_each(AbortHandle::abort);
        for group in &mut self.groups {
            group.tracker.handle_leaving(None);
            // What is gone by then stays there.
            group.yields |= drain.held.contains(&group.config.name) && group.state() == State::Backup;
        }
        let refused = Refused::Now(why.to_owned());
        // Who asked may have gone away.
        match drain.purpose {
            Purpose::Drain(reply) => drop(reply.send(Err(refused))),
            Purpose::Switchover(reply) => drop(reply.send(Err(refused))),
        }
    }

    fn end_drain(&mut self, now: Moment, drain: Drain) {
        let Drain { by, begun, cut, outcomes, warnings, purpose, .. } = drain;
        let was_given = !outcomes.is_empty();
        let fresh = Ordered { what: "drain".to_owned(), by, at: Timestamp::now() };
        let drained = self.drained.get_or_insert(fresh).clone();
        self.keep_out();
        for group in &mut self.groups {
            group.tracker.handle_leaving(None);
        }
        let milliseconds = now.saturating_since(begun).as_millis();
        tracing::info!(
            by = drained.by,
            cut,
            "this node is drained: it takes no part in elections until lbctl resume"
        );
        let report = DrainReport {
            node: self.identity.name().to_owned(),
            milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            cut,
            unanswered: self.earlier.unanswered(),
            groups: outcomes,
            drained,
            warnings,
        };
        if let Purpose::Drain(reply) = purpose {
            let _ = reply.send(Ok(report));
        }
        if was_given {
            self.go_on_serving(now);
        }
    }

    /// The groups know that the node is drained, if it is.
    pub(super) fn keep_out(&mut self) {
        let reason = self.drained.as_ref().map(|drained| format!("drained by {}", drained.by));
        // Once: whoever is told must not be told again and again because two clocks go apart.
        let known = self.drained_since.take();
        self.drained_since = self.drained.as_ref().map(|drained| {
            let now = Instants::now();
            known.unwrap_or_else(|| now.moment - now.wall.saturating_since(drained.at))
        });
        for group in &mut self.groups {
            group.tracker.handle_drained(reason.clone());
        }
    }

    /// With its own addresses, or with all.
    fn go_on_serving(&mut self, now: Moment) {
        let proxy = Arc::clone(&self.proxy);
        self.tasks.spawn(async move { proxy.stay().await });
        self.end_of_turn(now);
    }

    pub(super) fn end_node_drain(&mut self, now: Moment, by: &str, reply: Reply<ResumeReport>) {
        let outcome = self.no_order_now().and_then(|()| self.resume(now, by));
        let _ = reply.send(outcome);
    }

    fn resume(&mut self, now: Moment, by: &str) -> Result<ResumeReport, Refused> {
        let node = self.identity.name().to_owned();
        if let Some(drain) = self.giving.take() {
            if drain.stage != Stage::Draining {
                let why = Refused::Now(format!("the addresses are on their way: {}", drain.refusal()));
                self.giving = Some(drain);
                return Err(why);
            }
            let called_off = Some(drain.ordered());
            self.call_off(now, drain, &format!("resume by {by}"));
            return Ok(ResumeReport { node, was: None, called_off });
        }
        let was = self.drained.take();
        if was.is_some() {
            tracing::info!(by, "takes part in elections again");
        }
        self.keep_out();
        Ok(ResumeReport { node, was, called_off: None })
    }
}
