//! `lbctl drain`: gives the addresses away in order and keeps the node out of the election until `lbctl resume`, while
//! it goes on with everything else.
//!
//! ```text
//! Draining ──▶ Leaving ──▶ over: a fault "drained by root" ──▶ lbctl resume
//!  keep-alive   priority 1     ▲
//!  off          until heard    │ with --force
//!                 └── nobody answers ──▶ called off, everything as before
//! ```

use std::{sync::Arc, time::Duration};

use lb_vrrp::{Moment, PeerKind, State};

use super::{
    Daemon,
    orders::{Refused, Reply},
    stop::ANSWER_MARGIN,
    wake::Step,
};
use crate::control::{DrainReport, DrainRequest, GivenAway, Ordered, Ready, ResumeReport, Timestamp};

/// For the last short exchanges, while newcomers are dropped.
const HOLD_OFF: Duration = Duration::from_millis(50);

/// For the kernel to let go of the addresses that nobody takes.
const GIVE_UP: Duration = Duration::from_secs(3);

/// One that is under way.
#[derive(Debug)]
pub(super) struct Drain {
    by: String,
    force: bool,
    begun: Moment,
    stage: Stage,
    cut: u64,
    /// Groups that this node held when it began.
    held: Vec<String>,
    outcomes: Vec<GivenAway>,
    warnings: Vec<String>,
    reply: Reply<DrainReport>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// Short exchanges finish; the addresses are still held.
    Draining,
    /// Advertising priority 1 until the other node is heard.
    Leaving { until: Moment },
    /// Nobody answers: the addresses are given up.
    GivingUp { until: Moment },
}

impl Drain {
    /// When it wants to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        match self.stage {
            Stage::Draining => None,
            Stage::Leaving { until } | Stage::GivingUp { until } => Some(until),
        }
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
        let held: Vec<String> = self.held().into_iter().map(str::to_owned).collect();
        let holds = !held.is_empty();
        let force = request.force;
        let drain = Drain {
            by,
            force,
            begun: now,
            stage: Stage::Draining,
            cut: 0,
            held,
            outcomes: Vec::new(),
            warnings,
            reply,
        };
        if self.drained.is_some() || !holds {
            return self.end_drain(now, drain);
        }
        let limit = if request.now { Duration::ZERO } else { self.config.global.drain_timeout };
        tracing::info!(by = drain.by, ?limit, force, "draining this node");
        // A reload that is asked for meanwhile follows.
        self.reloads.take_turn();
        self.giving = Some(drain);
        let (proxy, steps) = (Arc::clone(&self.proxy), self.steps_in.clone());
        self.tasks.spawn(async move {
            proxy.drain(limit).await;
            if !limit.is_zero() {
                proxy.hold_off(HOLD_OFF).await;
            }
            let _ = steps.send(Step::ReadyToGive);
        });
    }

    /// What the operator should know if it may.
    fn may_drain(&self, force: bool) -> Result<Vec<String>, Refused> {
        self.no_order_now()?;
        let now = |why: &str| Err(Refused::Now(why.to_owned()));
        if self.giving.is_some() {
            return now("a drain is under way");
        }
        if self.reloads.is_under_way() || self.reloads.is_other_turn() {
            return now("a reload is under way: try again");
        }
        if self.groups.is_empty() {
            return now("this node has no addresses to give away: it is no part of a pair");
        }
        let mut warnings = Vec::new();
        for group in self.groups.iter().filter(|_| self.drained.is_none()) {
            let name = &group.config.name;
            let Err(why) = self.ready_peer(name) else { continue };
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

    /// A node that could take a group over now and says so; or why there is none.
    fn ready_peer(&self, group: &str) -> Result<(), String> {
        let own = self.identity.name();
        let session = self.neighbours.as_ref().map(|neighbours| neighbours.session());
        let mut reasons = Vec::new();
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
                    Ready::Yes => return Ok(()),
                    Ready::Degraded { reasons } => format!("{name} is degraded ({})", reasons.join("; ")),
                    Ready::Starting { .. } => format!("{name} has just started"),
                    Ready::Leaving { reason } => format!("{name} is leaving ({reason})"),
                    Ready::Fault { reason } => format!("{name} can't hold it ({reason})"),
                },
                Some((_, None)) | None => format!("{name} is silent"),
            });
        }
        if reasons.is_empty() { Err("there is no other node".to_owned()) } else { Err(reasons.join(", ")) }
    }

    /// Short exchanges are over: the other node may take the addresses.
    pub(super) fn leave_for_drain(&mut self, now: Moment) {
        let Some(mut drain) = self.giving.take() else { return };
        let held = self.groups.iter_mut().filter(|group| group.state() == State::Active);
        let mut interval = Duration::ZERO;
        for group in held {
            interval = interval.max(group.interval());
            group.tracker.handle_leaving(Some(format!("drain by {}", drain.by)));
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
            Stage::Leaving { until } if !drain.held.iter().any(is_held) || now >= until => {
                let outcome = |group: &String| GivenAway {
                    group: group.clone(),
                    outcome: if is_held(group) {
                        "given up: no other node answered"
                    } else {
                        "another node has taken it"
                    }
                    .to_owned(),
                };
                drain.outcomes = drain.held.iter().map(outcome).collect();
                if !drain.held.iter().any(is_held) {
                    return self.end_drain(now, drain);
                }
                if !drain.force {
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
            Stage::Leaving { .. } | Stage::GivingUp { .. } => {}
        }
        self.giving = Some(drain);
    }

    /// A stop goes before it, and drains the proxy itself.
    pub(super) fn yield_to_stop(&mut self, now: Moment) {
        if let Some(drain) = self.giving.take() {
            self.refuse_drain(drain, "lbctl is about to stop");
            self.end_of_turn(now);
        }
    }

    fn call_off(&mut self, now: Moment, drain: Drain, why: &str) {
        self.refuse_drain(drain, why);
        self.go_on_serving(now);
    }

    fn refuse_drain(&mut self, drain: Drain, why: &str) {
        tracing::warn!(by = drain.by, "the drain is called off: {why}");
        for group in &mut self.groups {
            group.tracker.handle_leaving(None);
        }
        let _ = drain.reply.send(Err(Refused::Now(why.to_owned())));
    }

    fn end_drain(&mut self, now: Moment, drain: Drain) {
        let Drain { by, begun, cut, outcomes, warnings, reply, .. } = drain;
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
        let _ = reply.send(Ok(report));
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

    pub(super) fn end_node_drain(&mut self, by: &str, reply: Reply<ResumeReport>) {
        let may = self.no_order_now().and_then(|()| match &self.giving {
            Some(_) => Err(Refused::Now("a drain is under way: try again when it is over".to_owned())),
            None => Ok(()),
        });
        let outcome = may.map(|()| {
            let was = self.drained.take();
            if was.is_some() {
                tracing::info!(by, "takes part in elections again");
            }
            self.keep_out();
            ResumeReport { node: self.identity.name().to_owned(), was }
        });
        let _ = reply.send(outcome);
    }
}
