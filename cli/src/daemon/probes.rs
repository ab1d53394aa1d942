//! What `[track.*]` looks at: a task for each, and what it last said.
//!
//! ```text
//! file ─▶ Probes::follow ─▶ task: look, Debounce ─▶ Step::Looked ─▶ Probes::take ─▶ the trackers of the groups
//! ```
//! What can't be looked at has not failed: it is a problem in status, and moves nothing.

mod debounce;
mod echo;
mod look;
mod neighbour;

use std::time::Duration;

use lb_proxy::{Fact, LogEvent, config::Severity};
use tokio::{sync::mpsc, task::JoinHandle};

use self::{debounce::Debounce, look::Looker};
use super::{Daemon, clock, wake::Step};
use crate::{
    config::model::{Subject, Track},
    control::{Problem, Timestamp, Tracker},
    privileges::Launcher,
    runner::Runner,
};

/// How a look ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// All is well.
    Passed,
    /// Why not.
    Failed(String),
    /// It could not be looked at; why.
    Unknown(String),
}

/// What a task says when something is different.
#[derive(Debug)]
pub(super) struct Looked {
    number: u64,
    passes: bool,
    outcome: Outcome,
}

/// What looks are made with.
#[derive(Debug, Default)]
struct Means {
    launcher: Launcher,
    runner: Runner,
}

/// All trackers of this node.
#[derive(Debug, Default)]
pub(super) struct Probes {
    all: Vec<Probe>,
    /// Of the next task: what one says that is no more is not heard.
    next: u64,
}

#[derive(Debug)]
struct Probe {
    number: u64,
    track: Track,
    /// The node that this is.
    node: usize,
    subject: String,
    /// `None` before the first look.
    verdict: Option<Verdict>,
    failures: u64,
    unknown: u64,
    _task: Task,
}

#[derive(Debug)]
struct Verdict {
    passes: bool,
    since: Timestamp,
    outcome: Outcome,
}

/// Ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the trackers of groups are to be told.
#[derive(Debug)]
pub(super) struct News {
    pub(super) track: String,
    pub(super) failed: Option<String>,
}

impl Probes {
    /// Those of the file from here on. What is the same goes on.
    fn follow(
        &mut self,
        tracks: &[Track],
        node: Option<usize>,
        means: &Means,
        steps: &mpsc::UnboundedSender<Step>,
    ) {
        let Some(node) = node else { return };
        let is_kept = |probe: &Probe| probe.node == node && tracks.contains(&probe.track);
        self.all.retain(is_kept);
        for track in tracks {
            if self.all.iter().any(|probe| probe.track == *track) {
                continue;
            }
            self.next += 1;
            let number = self.next;
            let looker = Looker::new(&track.subject, node, means);
            let task = tokio::spawn(watch(looker, Debounce::of(&track.subject), number, steps.clone()));
            self.all.push(Probe {
                number,
                track: track.clone(),
                node,
                subject: subject(&track.subject, node),
                verdict: None,
                failures: 0,
                unknown: 0,
                _task: Task(task),
            });
        }
        let place = |probe: &Probe| tracks.iter().position(|track| *track == probe.track);
        self.all.sort_by_key(place);
    }

    /// What it is about now, where that is news.
    fn take(&mut self, looked: Looked) -> Option<(&Track, News)> {
        let Looked { number, passes, outcome } = looked;
        let probe = self.all.iter_mut().find(|probe| probe.number == number)?;
        let same = probe.verdict.as_ref().filter(|verdict| verdict.passes == passes);
        let since = same.map_or_else(Timestamp::now, |verdict| verdict.since);
        let is_news = same.is_none();
        probe.failures += u64::from(is_news && !passes);
        probe.unknown += u64::from(matches!(outcome, Outcome::Unknown(_)));
        let failed = match &outcome {
            Outcome::Failed(why) if !passes => Some(why.clone()),
            Outcome::Passed | Outcome::Failed(_) | Outcome::Unknown(_) => None,
        };
        probe.verdict = Some(Verdict { passes, since, outcome });
        is_news.then_some((&probe.track, News { track: probe.track.name.clone(), failed }))
    }

    /// As status shows them.
    pub(super) fn report(&self) -> Vec<Tracker> {
        let of = |probe: &Probe| Tracker {
            name: probe.track.name.clone(),
            subject: probe.subject.clone(),
            failure: if probe.track.is_fault { "fault" } else { "degradation" }.to_owned(),
            groups: probe.track.groups.clone(),
            passes: probe.verdict.as_ref().map(|verdict| verdict.passes),
            since: probe.verdict.as_ref().map(|verdict| verdict.since),
            reason: probe.verdict.as_ref().and_then(|verdict| match &verdict.outcome {
                Outcome::Passed => None,
                Outcome::Failed(why) | Outcome::Unknown(why) => Some(why.clone()),
            }),
            failures_total: probe.failures,
            unknown_total: probe.unknown,
        };
        self.all.iter().map(of).collect()
    }

    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.all.iter().filter_map(|probe| {
            let verdict = probe.verdict.as_ref()?;
            let (name, since) = (&probe.track.name, Some(verdict.since));
            match &verdict.outcome {
                Outcome::Unknown(why) => Some(Problem {
                    what: format!("tracker {name} can't look at {}", probe.subject),
                    since: None,
                    look_at: format!("{why}. Until it can nothing follows from it; see [track.{name}]."),
                }),
                Outcome::Failed(why) if !verdict.passes => Some(Problem {
                    what: format!("tracker {name} fails"),
                    since,
                    look_at: match probe.track.is_fault {
                        true => format!("{why}. It is a fault: this node takes no part until that is over."),
                        false => format!("{why}. A node where it does not fail takes over."),
                    },
                }),
                Outcome::Passed | Outcome::Failed(_) => None,
            }
        })
    }
}

/// As people know it.
fn subject(subject: &Subject, node: usize) -> String {
    match subject {
        Subject::Interface { by_node, .. } => {
            format!("interface {}", by_node.get(node).and_then(Option::as_deref).unwrap_or("-"))
        }
        Subject::Address { by_node, .. } => match by_node.get(node).and_then(Option::as_ref) {
            Some(target) => format!("address {target}"),
            None => "no address".to_owned(),
        },
        Subject::File { path, .. } => format!("file {}", path.display()),
        Subject::Command { command, .. } => {
            format!("command {}", command.first().map_or("-", String::as_str))
        }
    }
}

/// Looks for as long as somebody wants to know.
async fn watch(mut looker: Looker, mut debounce: Debounce, number: u64, steps: mpsc::UnboundedSender<Step>) {
    let mut said: Option<(bool, Outcome)> = None;
    loop {
        let begun = clock::now();
        let outcome = looker.look().await;
        if let Some(passes) = debounce.take(clock::now(), &outcome) {
            let news = (passes, outcome.clone());
            if said.as_ref() != Some(&news) {
                said = Some(news);
                if steps.send(Step::Looked(Looked { number, passes, outcome })).is_err() {
                    return;
                }
            }
        }
        let took = clock::now().saturating_since(begun);
        tokio::time::sleep(looker.interval().saturating_sub(took).max(Duration::from_millis(10))).await;
    }
}

impl Daemon {
    /// Looks at what the file wants looked at.
    pub(super) fn follow_tracks(&mut self) {
        let node = self.identity.index();
        let means = Means { launcher: self.launcher.clone(), runner: self.runner.clone() };
        self.probes.follow(&self.config.tracks, node, &means, &self.steps_in);
    }

    pub(super) fn handle_looked(&mut self, looked: Looked) {
        let now = clock::now();
        let Some((track, news)) = self.probes.take(looked) else { return };
        let (name, is_fault) = (&track.name, track.is_fault);
        let failure = if is_fault { "fault" } else { "degradation" };
        let state = if news.failed.is_some() { "down" } else { "up" };
        match &news.failed {
            Some(reason) => tracing::warn!(tracker = name, failure, reason, "tracker fails"),
            None => tracing::info!(tracker = name, failure, "tracker passes"),
        }
        let mut facts = vec![("tracker", Fact::text(name)), ("to", Fact::text(state))];
        let message = match &news.failed {
            Some(reason) => {
                facts.push(("reason", Fact::text(reason)));
                format!("Tracker {name} fails ({failure}): {reason}")
            }
            None => format!("Tracker {name} passes ({failure})"),
        };
        self.proxy.log(&LogEvent {
            level: if news.failed.is_some() { Severity::Warning } else { Severity::Notice },
            source: "track",
            kind: "tracker",
            message: message.into(),
            facts,
        });
        for group in &mut self.groups {
            group.tracker.handle_condition(now, &news.track, news.failed.as_deref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probes() -> (Probes, mpsc::UnboundedReceiver<Step>) {
        let (steps, heard) = mpsc::unbounded_channel();
        let mut probes = Probes::default();
        probes.follow(&[track("a"), track("b")], Some(0), &Means::default(), &steps);
        (probes, heard)
    }

    fn track(name: &str) -> Track {
        Track {
            name: name.to_owned(),
            subject: Subject::File {
                path: "/nowhere/at/all".into(),
                fails_while: crate::config::model::Presence::Present,
                interval: Duration::from_secs(3600),
            },
            is_fault: false,
            groups: vec!["default".to_owned()],
            hold: Duration::from_secs(3),
        }
    }

    #[tokio::test]
    async fn what_is_the_same_in_another_file_goes_on_and_what_is_gone_is_not_heard() {
        let (mut probes, _heard) = probes();
        let (steps, _) = mpsc::unbounded_channel();
        let mut other = track("b");
        other.is_fault = true;
        probes.follow(&[other, track("a")], Some(0), &Means::default(), &steps);
        let numbers: Vec<_> =
            probes.all.iter().map(|probe| (probe.track.name.as_str(), probe.number)).collect();
        assert_eq!(numbers, [("b", 3), ("a", 1)]);
        let late = Looked { number: 2, passes: false, outcome: Outcome::Failed("down".to_owned()) };
        assert!(probes.take(late).is_none());
    }

    #[tokio::test]
    async fn news_is_what_changes_and_what_can_not_be_looked_at_is_a_problem_and_no_failure() {
        let (mut probes, _heard) = probes();
        let mut say = |passes, outcome| {
            let news = probes.take(Looked { number: 1, passes, outcome });
            news.map(|(track, news)| (track.name.clone(), news.failed))
        };
        let down = || Outcome::Failed("no carrier".to_owned());
        assert_eq!(say(true, Outcome::Passed), Some(("a".to_owned(), None)));
        assert_eq!(say(true, Outcome::Unknown("no right to it".to_owned())), None);
        assert_eq!(say(false, down()), Some(("a".to_owned(), Some("no carrier".to_owned()))));
        assert_eq!(say(false, Outcome::Unknown("no right to it".to_owned())), None);
        let whats: Vec<_> = probes.problems().map(|problem| problem.what).collect();
        assert_eq!(whats, ["tracker a can't look at file /nowhere/at/all"]);
        let shown = &probes.report()[0];
        assert_eq!((shown.passes, shown.failures_total, shown.unknown_total), (Some(false), 1, 2));
    }

    #[tokio::test]
    async fn a_task_says_what_it_sees_once() {
        let (mut probes, mut heard) = probes();
        for _ in 0..2 {
            let Some(Step::Looked(looked)) = heard.recv().await else { panic!("looked") };
            assert_eq!((looked.passes, &looked.outcome), (true, &Outcome::Passed));
            assert!(probes.take(looked).is_some());
        }
        assert!(heard.try_recv().is_err());
    }
}
