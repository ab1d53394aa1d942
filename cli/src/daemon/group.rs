//! One group while the daemon runs: its tracker, and what the speaker last said of it.

mod telling;

use std::{net::IpAddr, time::Duration};

use lb_vrrp::{GroupConfig, GroupStatus, Moment, Readiness, State, Transition};
use serde::{Deserialize, Serialize};

use self::telling::after;
pub(super) use self::telling::{Telling, log_transition, transition_event};
use super::{
    hello::{LocalGroup, Session},
    refusing::Refused,
    report,
    speaker_link::Told,
    track::{KnownTracker, Tracked, Tracker, TrackerConfig, What},
};
use crate::{
    config::{Config, model},
    control::Ready,
};

/// The most that the first round of checks may take, however long a check may.
const FIRST_ROUND_LIMIT: Duration = Duration::from_secs(10);

/// The speaker says something each second. One that has not for so long holds nothing: the lease of its addresses is over.
const SILENCE: Duration = Duration::from_millis(2_500);

/// Why such a node holds nothing, without figures: each change of it would be a hello.
pub(super) const NOBODY_SPEAKS: &str = "its speaker is silent";

/// How the reason ends of who takes over from a node that has resigned.
const GAVE_UP: &str = " gave it up";

/// What a daemon has done that another one took the place of without having heard a last word of it.
const DIED: &str = "its daemon was killed, or crashed";

/// And while there is no other one.
const MUTE: &str = "its daemon says nothing any more: killed, crashed or hung";

/// For the resignation to be heard and to be followed by a claim.
const BEFORE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Group {
    /// What the speaker is told.
    pub(super) config: GroupConfig,
    /// Health to readiness.
    pub(super) tracker: Tracker,
    /// The speaker's last word, and when it was taken.
    pub(super) status: Option<(Moment, GroupStatus)>,
    /// Two nodes say that they hold it, since then.
    pub(super) dual_active_since: Option<Moment>,
    /// What the speaker was told last.
    pub(super) told: Option<Told>,
    /// It was given away when somebody asked: it is not taken back from a ready Active.
    pub(super) yields: bool,
    /// What is ordered here that would keep clients of it out.
    pub(super) refused: Refused,
    logged: Option<Readiness>,
    /// When the claim became Active whose last steps are in the log.
    logged_claim: Option<Moment>,
    /// Its transitions.
    telling: Telling,
    cause: Option<Cause>,
}

/// Why another node gave the group up, as that one has said since.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Cause {
    /// It is about what this node has held since then.
    claim: Moment,
    /// In words; `None` if it has said something else.
    fault: Option<String>,
    /// That is what it looks like so far.
    #[serde(default)]
    is_guess: bool,
}

/// What a process knows of a group, for the next one.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct KnownGroup {
    name: String,
    tracker: KnownTracker,
    status: Option<(Moment, GroupStatus)>,
    dual_active_since: Option<Moment>,
    logged_claim: Option<Moment>,
    /// Of a process that does not say: no.
    #[serde(default)]
    yields: bool,
    #[serde(default)]
    cause: Option<Cause>,
}

impl Group {
    /// For the process that takes the place of this one.
    pub(super) fn known(&self) -> KnownGroup {
        KnownGroup {
            name: self.config.name.clone(),
            tracker: self.tracker.known(),
            status: self.status.clone(),
            dual_active_since: self.dual_active_since,
            logged_claim: self.logged_claim,
            yields: self.yields,
            cause: self.cause.clone(),
        }
    }

    /// Goes on with what the process before has known of it.
    pub(super) fn go_on(&mut self, known: &mut Vec<KnownGroup>) {
        let Some(at) = known.iter().position(|known| known.name == self.config.name) else { return };
        let KnownGroup { name: _, tracker, status, dual_active_since, logged_claim, yields, cause } =
            known.swap_remove(at);
        (self.yields, self.cause) = (yields, cause);
        self.tracker.go_on(tracker);
        (self.status, self.dual_active_since, self.logged_claim) = (status, dual_active_since, logged_claim);
    }

    /// `node` is this node's index in the file.
    pub(super) fn new(config: &Config, group: &model::Group, node: usize, started: Moment) -> Option<Self> {
        let own = group.by_node.get(node)?.clone();
        let tracker = Tracker::new(tracker_config(config, group, &own), started);
        Some(Self {
            config: own,
            tracker,
            status: None,
            dual_active_since: None,
            told: None,
            yields: false,
            refused: Refused::default(),
            logged: None,
            logged_claim: None,
            telling: Telling::default(),
            cause: None,
        })
    }

    /// Another configuration of it is in force; `own` is what the speaker is told.
    pub(super) fn reconfigure(&mut self, now: Moment, config: &Config, own: GroupConfig) {
        if let Some(group) = config.groups.iter().find(|group| group.name == own.name) {
            self.tracker.reconfigure(now, tracker_config(config, group, &own));
        }
        self.config = own;
    }

    /// Its state as far as the daemon knows.
    pub(super) fn state(&self) -> State {
        self.status.as_ref().map_or(State::Initialize, |(_, status)| status.state)
    }

    /// Since when nobody speaks for it: what the speaker said last is not so any more.
    pub(super) fn silent_since(&self, now: Moment) -> Option<Moment> {
        let (said, _) = self.status.as_ref()?;
        (now.saturating_since(*said) > SILENCE).then(|| *said + SILENCE)
    }

    /// All addresses of its virtual routers.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        addresses(&self.config)
    }

    /// Names of its virtual routers, each once: `web, mail`.
    pub(super) fn vips(&self) -> String {
        let mut names: Vec<&str> = self.config.members.iter().map(|member| member.vip.as_str()).collect();
        names.dedup();
        names.join(", ")
    }

    /// The longest of its advertisement intervals.
    pub(super) fn interval(&self) -> Duration {
        self.config.members.iter().map(|member| member.interval.get()).max().unwrap_or_default()
    }

    /// What the speaker is to be told, if that is something else than before. It counts as told.
    pub(super) fn changed_readiness(&mut self, trusts: bool, sources: &[IpAddr]) -> Option<Told> {
        // It holds the addresses again, for whatever reason.
        self.yields &= self.state() != State::Active;
        let (readiness, sources) = (self.tracker.readiness(), sources.to_vec());
        let wanted = Told { readiness, yields: self.yields, trusts, sources };
        if self.told.as_ref() == Some(&wanted) {
            return None;
        }
        self.log_readiness(&wanted.readiness);
        self.told = Some(wanted.clone());
        Some(wanted)
    }

    /// Is this one to be told?
    pub(super) fn tells(&mut self, now: Moment) -> bool {
        self.telling.tells(now)
    }

    /// May its state be told beside its transitions?
    pub(super) fn may_tell(&mut self, now: Moment) -> bool {
        self.telling.may_tell(now)
    }

    /// A transition comes before the status that has it.
    pub(super) fn take_transition(&mut self, transition: &Transition) {
        if let Some((at, status)) = &mut self.status
            && transition.at >= status.since
        {
            *at = transition.at;
            status.state = transition.to;
            status.since = transition.at;
            status.reason.clone_from(&transition.reason);
        }
    }

    /// The speaker's word. The last steps of a claim come after its transition was logged: they get a line of their own.
    pub(super) fn take_status(&mut self, at: Moment, status: GroupStatus) {
        if let Some(claim) = status.transitions.last().filter(|last| last.to == State::Active)
            && claim.moments.added.is_some()
            && claim.moments.announced.is_some()
            && self.logged_claim != Some(claim.at)
        {
            self.logged_claim = Some(claim.at);
            if self.telling.has_told() {
                tracing::info!(
                    group = self.config.name,
                    added = after(claim, claim.moments.added),
                    announced = after(claim, claim.moments.announced),
                    "holds the addresses"
                );
            }
        }
        if let Some(untold) = self.telling.untold(at) {
            tracing::warn!(
                group = self.config.name,
                untold,
                is = %status.state,
                reason = status.reason,
                "so many transitions are not in the log: who can send into the network of the nodes can make them"
            );
        }
        self.status = Some((at, status));
    }

    /// Keeps since when two nodes claim the group.
    pub(super) fn note_dual_active(&mut self, now: Moment, dual: bool) {
        match (dual, self.dual_active_since) {
            (true, None) => self.dual_active_since = Some(now),
            (false, Some(_)) => self.dual_active_since = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// A node that had a fault gives the addresses up without a word about it, and says it in its next hello. One whose daemon has died
    /// does not: another daemon says hello some time.
    pub(super) fn note_cause(&mut self, session: Option<&Session>) {
        let Some((_, status)) = self.status.as_ref().filter(|(_, status)| status.state == State::Active)
        else {
            return;
        };
        let Some(giver) = status.reason.strip_suffix(GAVE_UP) else { return };
        let claim = status.since;
        let known = self.cause.as_ref().filter(|cause| cause.claim == claim);
        if known.is_some_and(|cause| !cause.is_guess) {
            return;
        }
        let peer = session.and_then(|session| session.peers().iter().find(|peer| peer.name == giver));
        let Some(peer) = peer else { return };
        let (fault, is_guess) = if peer.broke_off_at(claim) {
            (Some(DIED.to_owned()), false)
        } else if let Some((heard, said)) = peer.said_of(&self.config.name) {
            // What it said before it gave up is not about that.
            let began = heard - Duration::from_millis(said.age_ms);
            if said.state == State::Active || began + BEFORE < claim {
                return;
            }
            let why = said.why.strip_prefix("over: ").unwrap_or(&said.why);
            (why.strip_prefix("fault: ").map(str::to_owned), false)
        } else if peer.is_mute() {
            (Some(MUTE.to_owned()), true)
        } else {
            return;
        };
        self.cause = Some(Cause { claim, fault, is_guess });
    }

    /// Why it is in its state.
    fn why(&self, status: &GroupStatus) -> String {
        let cause = self.cause.as_ref().filter(|cause| {
            cause.claim == status.since && status.state == State::Active && status.reason.ends_with(GAVE_UP)
        });
        match cause.and_then(|cause| cause.fault.as_ref()) {
            Some(fault) => format!("{}: {fault}", status.reason),
            None => status.reason.clone(),
        }
    }

    /// What the hello says of it.
    pub(super) fn local(&self, now: Moment, started: Moment) -> LocalGroup {
        let (name, refused) = (self.config.name.clone(), self.refused.clone());
        if let Some(since) = self.silent_since(now) {
            return LocalGroup {
                name,
                state: State::Initialize,
                since,
                why: NOBODY_SPEAKS.to_owned(),
                priority: self.config.priority.get(),
                ready: Ready::Fault { reason: NOBODY_SPEAKS.to_owned() },
                announced: None,
                refused,
            };
        }
        match &self.status {
            Some((_, status)) => LocalGroup {
                name,
                state: status.state,
                since: status.since,
                why: self.why(status),
                // Of one moment: what the tracker says is in the priority only when the speaker was told.
                priority: status.priority,
                ready: report::ready(&status.readiness),
                announced: status
                    .transitions
                    .last()
                    .filter(|_| status.state == State::Active)
                    .and_then(|last| last.moments.announced),
                refused,
            },
            None => LocalGroup {
                name,
                state: State::Initialize,
                since: started,
                why: "starting".to_owned(),
                priority: self.config.priority.get(),
                ready: report::ready(&self.tracker.readiness()),
                announced: None,
                refused,
            },
        }
    }

    /// One line per change of readiness.
    fn log_readiness(&mut self, readiness: &Readiness) {
        let same_kind = self
            .logged
            .as_ref()
            .is_some_and(|logged| std::mem::discriminant(logged) == std::mem::discriminant(readiness));
        let same = match (&self.logged, readiness) {
            (Some(Readiness::Degraded { reasons: old }), Readiness::Degraded { reasons: new }) => {
                old.len() == new.len()
            }
            (Some(Readiness::Fault { reason: old }), Readiness::Fault { reason: new })
            | (Some(Readiness::Leaving { reason: old }), Readiness::Leaving { reason: new }) => {
                is_same_but_for_figures(old, new)
            }
            _ => same_kind,
        };
        if same {
            return;
        }
        let group = &self.config.name;
        match readiness {
            Readiness::Ready => tracing::info!(group, "ready to hold the addresses"),
            Readiness::Starting { reason, .. } => tracing::info!(group, reason, "starting"),
            Readiness::Degraded { reasons } => {
                tracing::warn!(group, degradations = reasons.len(), reasons = reasons.join("; "), "degraded");
            }
            Readiness::Leaving { reason } => tracing::warn!(group, reason, "leaving"),
            Readiness::Fault { reason } => tracing::warn!(group, reason, "fault"),
        }
        self.logged = Some(readiness.clone());
    }
}

/// `worker 1 stalled for 1.2 s` and, a moment later, `... for 1.4 s` are one line in the log.
fn is_same_but_for_figures(one: &str, other: &str) -> bool {
    let words =
        |text: &str| text.replace(|character: char| character.is_ascii_digit() || character == '.', "");
    words(one) == words(other)
}

fn addresses(config: &GroupConfig) -> Vec<IpAddr> {
    config.members.iter().flat_map(|member| member.addresses.iter().map(|one| one.address)).collect()
}

fn tracker_config(config: &Config, group: &model::Group, own: &GroupConfig) -> TrackerConfig {
    let backends = group.backends.iter().map(|backend| Tracked {
        name: backend.name.clone(),
        hold: backend.hold,
        what: What::Backend,
    });
    let tracks = config.tracks.iter().filter(|track| track.groups.contains(&group.name));
    let tracks = tracks.map(|track| Tracked {
        name: track.name.clone(),
        hold: track.hold,
        what: if track.is_fault { What::Fault } else { What::Degradation },
    });
    let longest_check = config
        .proxy
        .backends
        .iter()
        .filter_map(|backend| backend.check.as_ref())
        .map(|check| check.timeout)
        .max()
        .unwrap_or_default();
    TrackerConfig {
        frontends: group.frontends.clone(),
        addresses: addresses(own),
        tracked: backends.chain(tracks).collect(),
        first_round_limit: longest_check.min(FIRST_ROUND_LIMIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_only_counts_on_is_logged_once_and_another_one_again() {
        assert!(is_same_but_for_figures("worker 1 stalled for 1.2 s", "worker 1 stalled for 11.4 s"));
        assert!(!is_same_but_for_figures(
            "the first round of checks is not done",
            "no listener is bound (web:80)"
        ));
    }
}
