//! The addresses are given away in order while the process goes on: `lbctl drain`, which keeps the node out of the election
//! until `lbctl resume`, and `lbctl switchover`, after which it is a Backup that does not take them back by itself.
//!
//! ```text
//! Draining ──▶ Leaving ──▶ over: a fault "drained by root" ──▶ lbctl resume
//!  keep-alive   priority 1     ▲
//!  off          until heard    │ with --force
//!                 └── nobody answers ──▶ called off, everything as before
//! ```

use std::{sync::Arc, time::Duration};

use lb_vrrp::{Moment, PeerKind, State};
use tokio::task::AbortHandle;

use super::{
    Daemon, clock,
    group::Group,
    orders::{Refused, Reply},
    stop::{ANSWER_MARGIN, Whereabouts},
    wake::Step,
};
use crate::{
    config::text,
    control::{
        DrainReport, DrainRequest, GivenAway, Moved, Ordered, Ready, ResumeReport, SwitchoverReport,
        SwitchoverRequest, Timestamp,
    },
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

    fn what(&self) -> &'static str {
        match self.purpose {
            Purpose::Drain(_) => "a drain is under way: try again when it is over",
            Purpose::Switchover(_) => "a switchover is under way: try again when it is over",
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
        self.what().to_owned()
    }

    pub(super) fn count_cut(&mut self, exchanges: usize) {
        self.cut += exchanges as u64;
    }
}

impl Daemon {
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
            Ok(groups) if request.dry_run => {
                let node = self.identity.name().to_owned();
                let report = SwitchoverReport { node, dry_run: true, milliseconds: 0, cut: 0, groups };
                let _ = reply.send(Ok(report));
            }
            Ok(_) => {
                let giving = self.giving_away(now, by, request.force, Purpose::Switchover(reply));
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
        let (proxy, steps) = (Arc::clone(&self.proxy), self.steps_in.clone());
        let (earlier, begun) = (self.earlier.drain(limit), drain.begun);
        drain.waits = Some(self.tasks.spawn(async move {
            if limit.is_zero() {
                proxy.drain(limit).await;
            } else {
                tokio::join!(proxy.drain(limit), earlier);
                proxy.hold_off(HOLD_OFF).await;
            }
            let _ = steps.send(Step::ReadyToGive { begun });
        }));
        self.giving = Some(drain);
    }

    fn may_give(&self) -> Result<(), Refused> {
        self.no_order_now()?;
        let now = |why: &str| Err(Refused::Now(why.to_owned()));
        if let Some(giving) = &self.giving {
            return now(giving.what());
        }
        if self.reloads.is_under_way() || self.reloads.is_other_turn() {
            return now("a reload is under way: try again");
        }
        if self.groups.is_empty() {
            return now("this node has no addresses to give away: it is no part of a pair");
        }
        Ok(())
    }

    /// Who would take what, as far as that is known.
    fn may_switch(&self, request: &SwitchoverRequest) -> Result<Vec<Moved>, Refused> {
        self.may_give()?;
        let own = self.identity.name();
        let now = |why: String| Err(Refused::Now(why));
        if let Some(to) = &request.to {
            let names: Vec<_> = self.config.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
            if !names.contains(&to.as_str()) {
                let hint = text::suggestion(to, &names, "node");
                return Err(Refused::Missing(format!("there is no node `{to}`{hint}")));
            }
            if to == own {
                return now(format!(
                    "this is {own}: a switchover is asked for on the node that holds the addresses"
                ));
            }
        }
        let held = self.held();
        if held.is_empty() {
            return now(format!("{own} holds no address: a switchover is asked for on the node that does"));
        }
        let mut moves = Vec::new();
        for group in held {
            let (ready, why) = self.ready_peers(group);
            let first = ready.iter().max_by_key(|(_, priority)| *priority).map(|(name, _)| name.clone());
            match (&request.to, &first) {
                (Some(to), Some(first)) if to != first && ready.iter().any(|(name, _)| name == to) => {
                    return now(format!(
                        "{first} is ready too, and would take group {group} before {to}: first drain {first}"
                    ));
                }
                (Some(to), first) if first.as_ref() != Some(to) && !request.force => {
                    return now(format!("{to} is not known to be ready to take over group {group}: {why}"));
                }
                (None, None) if !request.force => {
                    return now(format!("nobody is known that could take over group {group}: {why}"));
                }
                _ => moves.push(Moved { group: group.to_owned(), to: first, gap_us: None }),
            }
        }
        Ok(moves)
    }

    /// What the operator should know if it may.
    fn may_drain(&self, force: bool) -> Result<Vec<String>, Refused> {
        self.may_give()?;
        let mut warnings = Vec::new();
        for group in self.groups.iter().filter(|_| self.drained.is_none()) {
            let name = &group.config.name;
            let (ready, why) = self.ready_peers(name);
            if !ready.is_empty() {
                continue;
            }
            if group.state() == State::Active && !force {
                return Err(Refused::Now(format!(
                    "nobody is known that could take over group {name}: {why}. --force gives it up all the same, and then \
                     nobody serves"
                )));
            }
            warnings.push(format!("nobody is known that could take over group {name} now: {why}"));
        }
        Ok(warnings)
    }

    /// Nodes that could take a group over now and say so, with their priorities; and why the others can't.
    fn ready_peers(&self, group: &str) -> (Vec<(String, u8)>, String) {
        let own = self.identity.name();
        let session = self.neighbours.as_ref().map(|neighbours| neighbours.session());
        let (mut ready, mut reasons) = (Vec::new(), Vec::new());
        for node in self.config.cluster.nodes.iter().filter(|node| node.name != own) {
            let name = &node.name;
            if node.kind == PeerKind::Keepalived {
                reasons.push(format!("{name} runs keepalived, which does not say if it could"));
                continue;
            }
            let peer = session.and_then(|session| session.peers().iter().find(|peer| peer.name == *name));
            reasons.push(match peer.map(|peer| (peer, peer.group(group))) {
                Some((peer, _)) if peer.has_ended() => format!("{name} is stopped"),
                Some((_, Some(hello))) => match &hello.ready {
                    Ready::Yes => {
                        ready.push((name.clone(), hello.priority));
                        continue;
                    }
                    Ready::Degraded { reasons } => format!("{name} is degraded ({})", reasons.join("; ")),
                    Ready::Starting { .. } => format!("{name} has just started"),
                    Ready::Leaving { reason } => format!("{name} is leaving ({reason})"),
                    Ready::Fault { reason } => format!("{name} can't hold it ({reason})"),
                },
                Some((_, None)) | None => format!("{name} is silent"),
            });
        }
        if ready.is_empty() && reasons.is_empty() {
            reasons.push("there is no other node".to_owned());
        }
        (ready, reasons.join(", "))
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
                    Whereabouts::Here | Whereabouts::Elsewhere => None,
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

    /// Who says by now that it has what this node gave away, and has announced it.
    fn moved(&self, held: &[String]) -> Vec<Moved> {
        let session = self.neighbours.as_ref().map(|neighbours| neighbours.session());
        let moved = |group: &String| {
            let mut moved = Moved { group: group.clone(), to: None, gap_us: None };
            let known = self.groups.iter().find(|one| one.config.name == *group);
            let Some((_, status)) = known.and_then(|known| known.status.as_ref()) else { return moved };
            let left = status.transitions.iter().rfind(|one| one.from == State::Active);
            let Some(left) = left else { return moved };
            for peer in session.iter().flat_map(|session| session.peers()) {
                let Some((at, _)) = peer.last.as_ref().filter(|_| peer.claims(group, left.detected)) else {
                    continue;
                };
                let announced = peer.group(group).and_then(|hello| hello.announced_us);
                let Some(ago) = announced.map(Duration::from_micros) else { continue };
                moved.to = Some(peer.name.clone());
                // Its moment, on the clock of this node.
                let since_removed = left.moments.removed.map(|removed| at.saturating_since(removed));
                let gap = since_removed.map(|since| since.saturating_sub(ago).as_micros());
                moved.gap_us = gap.and_then(|gap| u64::try_from(gap).ok());
            }
            moved
        };
        held.iter().map(moved).collect()
    }

    /// Has a node announced this group that will not give it straight back?
    fn is_there(&self, moved: &Moved) -> bool {
        let (ready, _) = self.ready_peers(&moved.group);
        moved.to.as_ref().is_some_and(|to| ready.iter().any(|(name, _)| name == to))
    }

    /// Do the other nodes know that this one is not about to leave any more? Else they would refuse to give anything back.
    fn has_said_so(&self, held: &[String]) -> bool {
        let Some(neighbours) = &self.neighbours else { return true };
        let mut groups = self.groups.iter().filter(|group| held.contains(&group.config.name));
        let now = clock::now();
        let is_leaving =
            |group: &Group| matches!(group.local(now, self.started.moment).ready, Ready::Leaving { .. });
        !groups.any(is_leaving) && neighbours.session().has_said(&self.local())
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
        let Drain { by, begun, cut, purpose, .. } = drain;
        let milliseconds = now.saturating_since(begun).as_millis();
        tracing::info!(by, cut, ?groups, "switchover: another node holds the addresses");
        if let Purpose::Switchover(reply) = purpose {
            let _ = reply.send(Ok(SwitchoverReport {
                node: self.identity.name().to_owned(),
                dry_run: false,
                milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
                cut,
                groups,
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
