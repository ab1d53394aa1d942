//! Who is told of what happens, as the file says: each in order, at his own pace, and nobody is waited for.
//!
//! ```text
//! Journal ── a cursor each ──▶ tell: a command that reads the event, a POST of it, a mail ──▶ Progress: status, metrics, log
//! ```
//! One that hangs or fails holds nobody up but himself: not the others, and not the loop. The queue of each is the journal:
//! what has left it before its turn has come is lost for him, and counted. An event whose turn has begun does not come again, not even
//! after an upgrade, since nobody can know how far a command has come.

mod mail;
mod remote;
mod telling;
mod webhook;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle, time::timeout};

use super::{Daemon, journal::Journal};
use crate::{
    config::model::Notify,
    control::{Notifier, NotifierProblem, Problem, Timestamp},
    runner::{NotRun, Runner},
};

/// At the end, for those who have not been told everything.
const FLUSH: Duration = Duration::from_secs(5);

/// How far each is, by name: for the process that takes the place of this one.
pub(super) type Cursors = BTreeMap<String, u64>;

/// See the module.
#[derive(Debug)]
pub(super) struct Notifiers {
    all: Vec<One>,
    /// Of the process before.
    known: Cursors,
    phase: watch::Sender<Phase>,
}

/// What may be told now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    /// Another process may be in charge: nothing begins.
    Paused,
    /// This is the end: what has waited for a better moment waits no more.
    Last,
}

/// Somebody was not told.
#[derive(Debug)]
struct Failure {
    /// In a clause.
    why: String,
    /// He can't have heard anything of it, so that it may be tried again.
    is_unheard: bool,
}

impl Failure {
    fn unheard(why: String) -> Self {
        Self { why, is_unheard: true }
    }

    /// Or nobody knows.
    fn heard(why: String) -> Self {
        Self { why, is_unheard: false }
    }
}

/// What has not begun, since the process that runs commands has just died, has not been heard.
impl From<NotRun> for Failure {
    fn from(NotRun { why, is_later }: NotRun) -> Self {
        Self { why, is_unheard: is_later }
    }
}

#[derive(Debug)]
struct One {
    config: watch::Sender<Notify>,
    progress: Arc<Progress>,
    task: AbortHandle,
}

/// How far one is.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    /// The number of the last event whose turn is over.
    over: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// The number of the last event whose turn has begun, or that was not for him.
    begun: u64,
    told_total: u64,
    failed_total: u64,
    lost_total: u64,
    problem: Option<NotifierProblem>,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Notifiers {
    fn default() -> Self {
        Self { all: Vec::new(), known: Cursors::new(), phase: watch::Sender::new(Phase::Open) }
    }
}

impl Notifiers {
    /// Begins where the process before has come to.
    pub(super) fn go_on(&mut self, known: Cursors) {
        self.known = known;
    }

    /// These are told from now on. One that there was before goes on where he is, in whatever way the file now says.
    pub(super) fn follow(&mut self, wanted: &[Notify], journal: &Arc<Journal>, runner: &Runner) {
        let mut before = std::mem::take(&mut self.all);
        for notify in wanted {
            let at = before.iter().position(|one| one.config.borrow().name == notify.name);
            let one = match at.map(|at| before.swap_remove(at)) {
                Some(one) => {
                    one.config.send_if_modified(|config| {
                        let is_other = config != notify;
                        config.clone_from(notify);
                        is_other
                    });
                    one
                }
                None => self.begin(notify.clone(), journal, runner),
            };
            self.all.push(one);
        }
        for gone in before {
            gone.task.abort();
        }
        self.known.clear();
    }

    fn begin(&self, notify: Notify, journal: &Arc<Journal>, runner: &Runner) -> One {
        let begun = self.known.get(&notify.name).copied().unwrap_or_else(|| journal.newest());
        let progress = Arc::new(Progress::default());
        progress.state().begun = begun;
        progress.over.send_replace(begun);
        let config = watch::Sender::new(notify);
        let told = telling::Told {
            config: config.subscribe(),
            phase: self.phase.subscribe(),
            journal: Arc::clone(journal),
            runner: runner.clone(),
            progress: Arc::clone(&progress),
            attempts: 0,
            not_before: None,
            mailed: None,
            is_last_try: false,
        };
        let task = tokio::spawn(told.all()).abort_handle();
        One { config, progress, task }
    }

    /// Nothing begins any more; how far each has come.
    pub(super) fn pause(&self) -> Cursors {
        self.phase.send_replace(Phase::Paused);
        self.all.iter().map(|one| (one.config.borrow().name.clone(), one.progress.state().begun)).collect()
    }

    /// After all.
    pub(super) fn resume(&self) {
        self.phase.send_replace(Phase::Open);
    }

    /// Returns when no turn is under way.
    pub(super) async fn idle(&self) {
        for one in &self.all {
            let mut over = one.progress.over.subscribe();
            // It can't end: it is kept here.
            let _ = over.wait_for(|over| *over >= one.progress.state().begun).await;
        }
    }

    /// Returns when everybody has been told everything, or is not within a few seconds. Nothing will happen any more.
    pub(super) async fn flush(&self, journal: &Journal) {
        self.phase.send_replace(Phase::Last);
        let newest = journal.newest();
        let all = async {
            for one in &self.all {
                let _ = one.progress.over.subscribe().wait_for(|over| *over >= newest).await;
            }
        };
        if timeout(FLUSH, all).await.is_err() {
            for one in self.all.iter().filter(|one| *one.progress.over.borrow() < newest) {
                tracing::warn!(notify = one.config.borrow().name, "was not told everything: lbctl ends");
            }
        }
    }

    /// For the status.
    pub(super) fn report(&self, journal: &Journal) -> Vec<Notifier> {
        let newest = journal.newest();
        let one = |one: &One| {
            let config = one.config.borrow();
            let State { begun: _, told_total, failed_total, lost_total, problem } =
                one.progress.state().clone();
            Notifier {
                name: config.name.clone(),
                means: config.means.shown(),
                waiting: newest.saturating_sub(*one.progress.over.borrow()),
                told_total,
                failed_total,
                lost_total,
                problem,
            }
        };
        self.all.iter().map(one).collect()
    }

    /// Those who could not be told last.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.all.iter().filter_map(|one| {
            let NotifierProblem { what, since } = one.progress.state().problem.clone()?;
            let config = one.config.borrow();
            Some(Problem {
                what: format!("[notify.{}] is not told what happens", config.name),
                since: Some(since),
                look_at: format!(
                    "{}: {what}. It is tried again, with the next event at the latest",
                    config.means.shown()
                ),
            })
        })
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Daemon {
    /// Tells those whom the file names.
    pub(super) fn follow_notifies(&mut self) {
        self.notifiers.follow(&self.config.notifies, &self.journal, &self.runner);
    }
}

/// So many events, up to the one with this number, are not told any more.
fn failed(progress: &Progress, name: &str, (count, number): (u64, u64), why: &str) {
    progress.state().failed_total += count;
    complain(progress, name, number, why);
}

/// That was not so before, or for another reason.
fn complain(progress: &Progress, name: &str, number: u64, why: &str) {
    let mut state = progress.state();
    let since = state.problem.as_ref().map_or_else(Timestamp::now, |problem| problem.since);
    let before = state.problem.replace(NotifierProblem { what: why.to_owned(), since });
    drop(state);
    if before.is_none_or(|before| before.what != why) {
        tracing::warn!(notify = name, event = number, reason = why, "was not told what happened");
    }
}

fn told(progress: &Progress, name: &str, count: u64) {
    let mut state = progress.state();
    state.told_total += count;
    let before = state.problem.take();
    drop(state);
    if before.is_some() {
        tracing::info!(notify = name, "is told what happens again");
    }
}

#[cfg(test)]
mod tests;
