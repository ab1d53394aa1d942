//! A planned stop: drain while the addresses are still here, give them away, then end.
//!
//! ```text
//! Draining ──▶ Leaving ──▶ Resigning ──▶ Finishing ──▶ the end
//!  keep-alive   priority 1   the speaker   connections to the node's own addresses
//!  off          until heard  resigns
//! ```
//! A second request hurries: nothing is waited for any more but the speaker's resignation.

use std::{path::Path, time::Duration};

use lb_vrrp::Moment;
use tokio::sync::watch;

use super::orders::Reply;
use crate::{
    control::{GivenAway, StopReport},
    process::pid_namespace,
};

/// Past one interval, for the way to the other node and back.
pub(super) const ANSWER_MARGIN: Duration = Duration::from_millis(50);

/// What each of the two waits for exchanges may take when a proxy alone is to end soon: all of it is over within 2 s.
const SOON: Duration = Duration::from_millis(500);

/// What has become of a group that nobody took.
const UNANSWERED: &str = "given up: no other node answered";

/// Somebody wants one.
#[derive(Debug)]
pub(super) struct Request {
    /// A user, or a signal.
    pub(super) by: String,
    pub(super) patience: Patience,
    /// A signal has none.
    pub(super) reply: Option<Reply<StopReport>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) reason: String,
    pub(super) begun: Moment,
    pub(super) stage: Stage,
    /// Nothing is drained.
    pub(super) now: bool,
    /// For each of the two waits for exchanges in flight: before the addresses leave, and after that for those to the node's own.
    pub(super) limit: Duration,
    /// Exchanges that were reset because their address left, and connections that were cut at the end.
    pub(super) cut: u64,
    /// Processes before an upgrade that did not say what they cut.
    pub(super) unanswered: u64,
    /// Groups that this node held when the stop began.
    pub(super) held: Vec<String>,
    pub(super) outcomes: Vec<GivenAway>,
    pub(super) replies: Vec<Reply<StopReport>>,
    /// Ends the last wait for connections.
    hurry: watch::Sender<bool>,
}

/// How long exchanges in flight are waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Patience {
    /// Not at all.
    None,
    /// A proxy alone ends within 2 s; a node that has addresses to give away is as patient as with `Full`.
    Short,
    /// For `drain_timeout`.
    Full,
}

impl Patience {
    /// For each of the two waits for exchanges; `is_alone` is a process that has no address to give away.
    pub(super) fn limit(self, drain_timeout: Duration, is_alone: bool) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            // Who sends the signal waits for the end.
            Self::Short if is_alone => drain_timeout.min(SOON),
            Self::Short | Self::Full => drain_timeout,
        }
    }
}

/// Where a group is by now that this node held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Whereabouts {
    /// This node still holds it; why nobody is known that could take it, if so.
    Here { why: Option<String> },
    /// This node is a Backup of another one.
    Elsewhere,
    /// This node has given it up because of that, whether or not somebody takes it.
    GivenUp(String),
}

impl Whereabouts {
    /// For the report.
    pub(super) fn outcome(self, group: &str) -> GivenAway {
        let outcome = match self {
            Self::Here { why: None } => UNANSWERED.to_owned(),
            Self::Here { why: Some(why) } => format!("{UNANSWERED}; {why}"),
            Self::Elsewhere => "another node has taken it".to_owned(),
            Self::GivenUp(reason) => format!("given up: {reason}"),
        };
        GivenAway { group: group.to_owned(), outcome }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// Short exchanges finish; the addresses are still held.
    Draining,
    /// Advertising priority 1 until the other node is heard.
    Leaving { until: Moment },
    /// The speaker removes what is left and resigns.
    Resigning,
    /// Only connections to the node's own addresses are left.
    Finishing,
    /// Nothing is waited for any more.
    Over,
}

impl Stop {
    /// `limit` zero: nothing is waited for.
    pub(super) fn new(
        reason: String,
        begun: Moment,
        held: Vec<String>,
        limit: Duration,
        reply: Option<Reply<StopReport>>,
    ) -> Self {
        Self {
            reason,
            begun,
            stage: Stage::Draining,
            now: limit.is_zero(),
            limit,
            cut: 0,
            unanswered: 0,
            held,
            outcomes: Vec::new(),
            replies: reply.into_iter().collect(),
            hurry: watch::Sender::new(false),
        }
    }

    /// Nothing is waited for any more but the speaker's resignation.
    pub(super) fn hurry(&mut self) {
        self.now = true;
        self.hurry.send_replace(true);
    }

    /// Resolves when that is said.
    pub(super) fn hurried(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut hurried = self.hurry.subscribe();
        async move {
            // Without the stop there is nothing to wait for either.
            let _ = hurried.wait_for(|hurried| *hurried).await;
        }
    }

    /// Drained. `interval` is the longest advertisement interval of the groups that are still held.
    pub(super) fn drained(&mut self, now: Moment, interval: Duration) {
        if self.stage == Stage::Draining {
            self.stage = Stage::Leaving { until: now + interval + ANSWER_MARGIN };
        }
    }

    /// `held` are the groups that this node still holds, `find` says where one is; returns true once, when the speaker has to
    /// resign.
    pub(super) fn given_away(
        &mut self,
        now: Moment,
        held: &[&str],
        find: impl Fn(&str) -> Whereabouts,
    ) -> bool {
        let Stage::Leaving { until } = self.stage else { return false };
        if !held.is_empty() && now < until {
            return false;
        }
        self.outcomes = self.held.iter().map(|group| find(group).outcome(group)).collect();
        self.stage = Stage::Resigning;
        true
    }

    /// Tells everybody who asked.
    pub(super) fn report(&mut self, now: Moment) {
        let milliseconds = now.saturating_since(self.begun).as_millis();
        let report = StopReport {
            milliseconds: u64::try_from(milliseconds).unwrap_or(u64::MAX),
            cut: self.cut,
            unanswered: self.unanswered,
            groups: self.outcomes.clone(),
            pid: Some(std::process::id()),
            pid_namespace: pid_namespace(Path::new("/proc/self")),
        };
        for reply in self.replies.drain(..) {
            // Who asked may have gone away.
            let _ = reply.send(Ok(report.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_millis(100);

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    fn stop() -> Stop {
        Stop::new("stop by root".to_owned(), at(0), vec!["default".to_owned()], INTERVAL, None)
    }

    fn here(_: &str) -> Whereabouts {
        Whereabouts::Here { why: None }
    }

    fn taken(_: &str) -> Whereabouts {
        Whereabouts::Elsewhere
    }

    #[test]
    fn the_speaker_resigns_as_soon_as_the_other_node_has_taken_everything() {
        let mut stop = stop();
        assert!(!stop.given_away(at(0), &["default"], here), "still draining");
        stop.drained(at(100), INTERVAL);
        assert!(!stop.given_away(at(101), &["default"], here));
        assert!(stop.given_away(at(103), &[], taken));
        assert_eq!(stop.outcomes[0].outcome, "another node has taken it");
        assert!(!stop.given_away(at(104), &[], taken), "only once");
    }

    #[test]
    fn a_stop_that_nobody_answers_goes_on_after_one_interval() {
        let mut stop = stop();
        stop.drained(at(100), INTERVAL);
        assert!(!stop.given_away(at(249), &["default"], here));
        assert!(stop.given_away(at(250), &["default"], here));
        assert_eq!(stop.outcomes[0].outcome, "given up: no other node answered");
        let why = Some("lb2 can't hold it (drained by root)".to_owned());
        let given = Whereabouts::Here { why }.outcome("default");
        assert_eq!(given.outcome, "given up: no other node answered; lb2 can't hold it (drained by root)");
    }

    #[test]
    fn a_group_that_is_lost_to_a_fault_on_the_way_is_not_said_to_be_taken() {
        let mut stop = stop();
        stop.drained(at(100), INTERVAL);
        assert!(stop.given_away(at(103), &[], |_| Whereabouts::GivenUp("eth1 has no carrier".to_owned())));
        assert_eq!(stop.outcomes[0].outcome, "given up: eth1 has no carrier");
    }
}
