//! Finds out whether passwords are right, on threads of its own.
//!
//! The line is bounded, in all and for each source, and served in turn: whose source has nothing in line is next, however
//! many questions another one has asked. The threads are niced: traffic goes before logins.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::{Known, Outcome, Proof};
use crate::{
    config::{Config, UserList},
    table::{Key, Keys},
};

/// Questions in line.
const MOST: usize = 512;

/// Of one source, of which the first 64 bits of an IPv6 address count.
const MOST_OF_SOURCE: usize = 128;

/// Added to the niceness of the threads: about a tenth of the share of a worker where both want the processor.
const NICENESS: i32 = 10;

/// Hashes passwords and compares.
#[derive(Debug)]
pub(crate) struct Verifier {
    shared: Arc<Shared>,
    keys: Keys,
    /// By list: the index of each user.
    users: Box<[HashMap<Box<[u8]>, usize>]>,
    /// Threads at most.
    threads: usize,
}

/// Credentials of which nothing is known.
pub(crate) struct Question {
    key: Key,
    list: usize,
    /// Whose hash the password is compared with.
    against: usize,
    /// That is a stand-in: no user has this name, and to say so takes as long.
    is_nobody: bool,
    password: Box<[u8]>,
    source: Key,
}

/// An error takes the question out of the line again, for one whose turn comes earlier.
type Answer = oneshot::Sender<Result<Outcome, Busy>>;

/// Why a question is not taken: there are too many in line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Busy {
    /// Of its source.
    Source,
    /// In all.
    All,
}

#[derive(Debug)]
struct Shared {
    lists: Box<[UserList]>,
    state: Mutex<State>,
    /// Something is in line, or it is over.
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    line: VecDeque<Job>,
    /// That of the job that was taken last.
    turn: u64,
    /// What the threads have found out for any worker.
    known: Known,
    threads: usize,
    idle: usize,
    is_over: bool,
}

#[derive(Debug)]
struct Job {
    question: Question,
    turn: u64,
    answer: Answer,
}

/// Not what the password is.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Question").field("list", &self.list).finish_non_exhaustive()
    }
}

impl Question {
    pub(crate) fn key(&self) -> Key {
        self.key
    }
}

impl Verifier {
    /// That of the configuration `before` if it has the same users, so that nobody's password is hashed anew; else one
    /// with half as many threads as there are workers, each of which is started when it is needed.
    pub(crate) fn new(config: &Config, before: Option<&Arc<Self>>) -> Arc<Self> {
        let (lists, workers) = (&config.users, config.threads.get());
        let same = before.filter(|before| before.lists() == lists);
        same.map_or_else(|| Arc::new(Self::with(lists, workers)), Arc::clone)
    }

    fn with(lists: &[UserList], workers: usize) -> Self {
        let index = |list: &UserList| {
            let users = list.users.iter().enumerate();
            users.map(|(index, user)| (user.name.as_bytes().into(), index)).collect()
        };
        Self {
            keys: Keys::new(64),
            users: lists.iter().map(index).collect(),
            threads: (workers / 2).max(1),
            shared: Arc::new(Shared { lists: lists.into(), state: Mutex::default(), more: Condvar::new() }),
        }
    }

    pub(crate) fn lists(&self) -> &[UserList] {
        &self.shared.lists
    }

    /// What credentials are known by; secret, and different in each process.
    pub(crate) fn key(&self, credentials: &[u8]) -> Key {
        self.keys.bytes(credentials)
    }

    pub(super) fn question(
        &self,
        key: Key,
        list: usize,
        user: &[u8],
        password: Box<[u8]>,
        source: IpAddr,
    ) -> Question {
        let index = self.users[list].get(user).copied();
        // The same one whenever the same name is tried.
        let stand_in = || {
            let count = self.users[list].len().max(1) as u64;
            usize::try_from(self.keys.bytes(user).number() % count).unwrap_or(0)
        };
        let source = self.keys.address(source);
        let against = index.unwrap_or_else(stand_in);
        Question { key, list, against, is_nobody: index.is_none(), password, source }
    }

    /// Puts a question in line; drop the receiver to take it out again. An error of the receiver means that the answer will
    /// not come. In a full line the question whose turn comes last makes room, which is the youngest of the source that has
    /// most: a few addresses lock nobody out.
    pub(crate) fn ask(&self, question: Question) -> Result<oneshot::Receiver<Result<Outcome, Busy>>, Busy> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.shared.state();
        if let Some(outcome) = state.known.find(&question.key) {
            let _ = answer.send(Ok(outcome));
            return Ok(answered);
        }
        if state.line.len() >= MOST {
            state.drop_left();
        }
        let waits = |job: &&Job| job.question.source == question.source && !job.answer.is_closed();
        let of_source = state.line.iter().filter(waits);
        let (count, last) = (of_source.clone().count(), of_source.map(|job| job.turn).max());
        if count >= MOST_OF_SOURCE {
            return Err(Busy::Source);
        }
        let turn = last.map_or(state.turn, |last| last + 1);
        if state.line.len() >= MOST {
            state.make_room(turn)?;
        }
        state.line.push_back(Job { question, turn, answer });
        if state.idle == 0 && state.threads < self.threads {
            self.shared.start_thread(&mut state);
        }
        drop(state);
        self.shared.more.notify_one();
        Ok(answered)
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.more.notify_all();
    }
}

impl Shared {
    /// Nothing that can panic is done while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) {
        let shared = Arc::clone(self);
        let name = format!("lbctl-password-{}", state.threads);
        match thread::Builder::new().name(name).spawn(move || shared.serve()) {
            Ok(_) => state.threads += 1,
            Err(error) => tracing::warn!(%error, "no thread for passwords can be started"),
        }
    }

    /// A thread.
    fn serve(self: &Arc<Self>) {
        let _counted = Counted(self);
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!(%error, "passwords are checked without being niced");
        }
        while let Some((job, known)) = self.next() {
            let outcome = known.unwrap_or_else(|| {
                let outcome = self.verify(&job.question);
                self.state().known.learn(Proof { key: job.question.key, outcome });
                outcome
            });
            // Who asked may have left.
            let _ = job.answer.send(Ok(outcome));
        }
    }

    /// The next job, with its outcome if that is known meanwhile. `None` when it is over.
    fn next(&self) -> Option<(Job, Option<Outcome>)> {
        let mut state = self.state();
        loop {
            if state.is_over {
                return None;
            }
            if let Some(job) = state.take() {
                let known = state.known.find(&job.question.key);
                return Some((job, known));
            }
            state.idle += 1;
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn verify(&self, question: &Question) -> Outcome {
        let Some(user) = self.lists[question.list].users.get(question.against) else {
            return Outcome::Refused;
        };
        let is_right = user.hash.verify(&question.password);
        if is_right && !question.is_nobody { Outcome::Granted(question.against) } else { Outcome::Refused }
    }
}

impl State {
    /// Nobody waits any more for some answers.
    fn drop_left(&mut self) {
        self.line.retain(|job| !job.answer.is_closed());
    }

    /// Takes out the one whose turn comes last, of several the youngest, if that is after `turn`.
    fn make_room(&mut self, turn: u64) -> Result<(), Busy> {
        let turns = self.line.iter().map(|job| job.turn).enumerate();
        let last = turns.max_by_key(|(at, turn)| (*turn, *at)).filter(|(_, last)| *last > turn);
        let job = last.and_then(|(at, _)| self.line.remove(at)).ok_or(Busy::All)?;
        // It is its source that asks too much.
        let _ = job.answer.send(Err(Busy::Source));
        Ok(())
    }

    /// The one whose turn it is; of several the oldest.
    fn take(&mut self) -> Option<Job> {
        self.drop_left();
        let (at, turn) =
            self.line.iter().map(|job| job.turn).enumerate().min_by_key(|(at, turn)| (*turn, *at))?;
        self.turn = turn;
        self.line.remove(at)
    }
}

/// A thread that is counted. One that panics is replaced at once if something is in line: whoever asked while it still
/// counted has woken nobody.
struct Counted<'s>(&'s Arc<Shared>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.threads -= 1;
        if !state.is_over && !state.line.is_empty() {
            self.0.start_thread(&mut state);
        }
    }
}

#[cfg(test)]
mod tests;
