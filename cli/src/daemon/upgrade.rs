//! Another program takes this process's place while it serves (`lbctl upgrade`): all of it or nothing.
//!
//! ```text
//! begin ──▶ Ready: the next process accepts ──▶ SpeakerGiven ──▶ Taken: it is in charge ──▶ this one retires
//!   │          │                                   │               │
//!   └──────────┴───── refused: the next process is ended ◀─────────┘ everything as before
//! ```
//! A speaker that was given away comes back when the process that it was given to ends before it is in charge. One that does not (it was
//! replaced there, or has ended) has resigned, or its addresses are taken away, and another one starts as a Backup. A stop that is wanted from Ready on waits for what
//! comes of the upgrade.
//!
//! The listening sockets, the control socket and the speaker go over as they are, so nobody outside notices: no
//! connection is lost, and the election goes on. [`before`] is the other half.

pub(super) mod before;
mod channel;
pub(super) mod earlier;
mod next;
mod output;
pub(super) mod program;
mod retirement;
mod words;

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use lb_vrrp::Moment;
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot};

pub(super) use self::retirement::Retirement;
use self::{
    next::{Next, Orders, Read},
    words::ToNext,
};
use super::{
    Daemon, Identity, detach,
    group::Group,
    hello::KnownSession,
    journal::End,
    neighbours::boot_id,
    orders,
    pid_file::PidFile,
    speaker_link::{Report, SpeakerHandle, TakeBack},
    stop::{self, Patience},
    systemd, wake,
};
use crate::{control::UpgradeReport, process::Process, service};

/// What there is to say of [`TakeBack::Lost`], in the log and to who asked.
const SPEAKER_LOST: &str = "speaker was lost while the new process had it: its addresses are taken away, the other node has \
                            them, and a new speaker starts as a Backup";

/// Why the next process is not in charge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::daemon) enum Refused {
    /// The file is bad: what `lbctl check` prints.
    File(String),
    /// It can't be now, or not at all. One sentence without a full stop.
    Now(String),
}

/// Somebody wants one.
#[derive(Debug)]
pub(super) struct Request {
    /// Name of the user who asked.
    pub(super) by: String,
    /// How long connections may go on in this process.
    pub(super) limit: Duration,
    pub(super) reply: oneshot::Sender<Result<UpgradeReport, Refused>>,
}

/// One that is under way.
#[derive(Debug)]
pub(super) struct Upgrade {
    request: Request,
    begun: Moment,
    next: Option<Next>,
    /// The hello's socket, once this process does not use it any more.
    hello: Option<OwnedFd>,
    /// What was known of the other nodes then.
    session: Option<KnownSession>,
    /// The next process is being given what there is but once: it can't be called off any more.
    is_past_recall: bool,
    /// It has the speaker, and this process what it needs to have it again.
    lent: Option<(SpeakerHandle, mpsc::Receiver<Report>)>,
    /// It was lost there.
    has_lost_speaker: bool,
    /// What to stop is settled when this is over.
    pub(super) stops: Vec<stop::Request>,
}

impl Upgrade {
    pub(super) fn is_past_recall(&self) -> bool {
        self.is_past_recall
    }
}

/// A task of it is done.
#[derive(Debug)]
pub(super) enum Step {
    Ready(Box<Result<Next, Refused>>),
    /// The speaker, if there is one, has another daemon.
    SpeakerGiven(Result<Option<u32>, String>),
    Taken(Box<Result<Next, Refused>>),
    /// The next process is not in charge, because of that, and has ended; what has come of the speaker.
    Back(TakeBack, Refused),
}

impl Daemon {
    pub(super) fn begin_upgrade(&mut self, now: Moment, request: Request) {
        match self.upgrade_orders() {
            Ok(orders) => {
                tracing::info!(by = request.by, program = %orders.program.display(), "another process takes over");
                self.upgrade = Some(Upgrade {
                    request,
                    begun: now,
                    next: None,
                    hello: None,
                    session: None,
                    is_past_recall: false,
                    lent: None,
                    has_lost_speaker: false,
                    stops: Vec::new(),
                });
                let proxy = Arc::clone(&self.proxy);
                self.upgrade_step(async move { Step::Ready(Box::new(Next::start(orders, &proxy).await)) });
            }
            Err(why) => {
                tracing::warn!(by = request.by, "no upgrade: {why}");
                let _ = request.reply.send(Err(Refused::Now(why)));
            }
        }
    }

    fn upgrade_orders(&self) -> Result<Orders, String> {
        if self.upgrade.is_some() {
            return Err("another upgrade is under way".to_owned());
        }
        if self.stop.is_some() {
            return Err("lbctl is about to stop".to_owned());
        }
        if let Some(giving) = &self.giving {
            return Err(giving.refusal());
        }
        if self.reloads.is_under_way() || self.reloads.is_other_turn() {
            return Err("a reload is under way".to_owned());
        }
        if let Some(obstacle) = &self.obstacle {
            return Err(format!("no other process can take the place of this one: {obstacle}"));
        }
        if self.file == Path::new("-") {
            return Err("lbctl runs what it was given on stdin, which can't be read again".to_owned());
        }
        if !self.groups.is_empty() && self.speaker.is_none() {
            return Err(format!("the speaker does not run; {}", service::restart()));
        }
        let control =
            self.socket.share().map_err(|error| format!("can't share the control socket: {error}"))?;
        let mut arguments = self.options.arguments();
        arguments.push("--take-over".into());
        arguments.extend(self.options.detached.then(|| "--detached".into()));
        Ok(Orders {
            before: self.earlier.share().map_err(|error| format!("no descriptors: {error}"))?,
            program: self.program.path()?,
            arguments,
            groups: self.groups.iter().map(|group| group.config.clone()).collect(),
            control,
            launcher: self.launcher.clone(),
            repeats_stderr: self.options.detached && !detach::keeps_stderr(),
            runner: self.runner.share(),
            file: self.file.clone(),
            config: self.config.clone(),
        })
    }

    pub(super) fn handle_upgrade(&mut self, now: Moment, step: Step) {
        let Some(mut upgrade) = self.upgrade.take() else { return };
        match step {
            Step::Ready(ready) => match *ready {
                Ok(mut next) => {
                    upgrade.is_past_recall = true;
                    if let Some(neighbours) = self.neighbours.take() {
                        let (socket, known) = neighbours.let_go();
                        (upgrade.hello, upgrade.session) = (socket, Some(known));
                    }
                    let (ends, speaker) = (next.take_ends(), self.speaker.clone());
                    upgrade.next = Some(next);
                    self.upgrade = Some(upgrade);
                    self.upgrade_step(async move {
                        Step::SpeakerGiven(match (speaker, ends) {
                            (None, _) => Ok(None),
                            (Some(_), None) => Err("the new process wants no speaker".to_owned()),
                            (Some(speaker), Some(ends)) => speaker.hand_over(ends).await.map(Some),
                        })
                    });
                }
                Err(refused) => self.refuse_upgrade(now, upgrade, refused),
            },
            Step::SpeakerGiven(given) => {
                let next = upgrade.next.take();
                match (given, next) {
                    (Ok(speaker), Some(mut next)) => {
                        upgrade.lent = self.speaker.take().zip(self.from_speaker.take());
                        self.earlier.leave_to_next();
                        let groups = self.groups.iter().map(Group::known).collect();
                        let drained = self.drained.clone();
                        let up = Some(self.up.unwrap_or(self.started.wall));
                        let (session, counters) =
                            (upgrade.session.clone(), self.counters.by_name().collect());
                        let (journal, notified) = (self.journal.known(), self.notifiers.pause());
                        let (losses, row_of_losses) =
                            (Box::new(self.losses.clone()), Box::new(self.row_of_losses.clone()));
                        let go = ToNext::Go {
                            speaker,
                            groups,
                            up,
                            drained,
                            session,
                            counters,
                            journal,
                            notified,
                            losses,
                            row_of_losses,
                        };
                        let told = next.go(&go, upgrade.hello.as_ref());
                        self.upgrade = Some(upgrade);
                        self.upgrade_step(async move {
                            Step::Taken(Box::new(match told {
                                Ok(()) => next.taken().await,
                                Err(error) => Err(next.untold(&error).await),
                            }))
                        });
                    }
                    (Err(why), _) => self.refuse_upgrade(now, upgrade, Refused::Now(why)),
                    (Ok(_), None) => {}
                }
            }
            Step::Taken(taken) => match *taken {
                Ok(next) => self.succeed(now, upgrade, next),
                Err(refused) => {
                    let Some(speaker) = upgrade.lent.as_ref().map(|(speaker, _)| speaker.clone()) else {
                        return self.refuse_upgrade(now, upgrade, refused);
                    };
                    self.upgrade = Some(upgrade);
                    self.upgrade_step(async move { Step::Back(speaker.take_back().await, refused) });
                }
            },
            Step::Back(back, refused) => {
                let lent = upgrade.lent.take().filter(|_| back != TakeBack::Gone);
                if let Some((speaker, reports)) = lent {
                    upgrade.has_lost_speaker = back == TakeBack::Lost;
                    if upgrade.has_lost_speaker {
                        tracing::warn!("the {SPEAKER_LOST}");
                    } else {
                        tracing::info!("the speaker is this process's again");
                    }
                    (self.speaker, self.from_speaker) = (Some(speaker), Some(reports));
                    for group in &mut self.groups {
                        group.told = None;
                    }
                }
                self.refuse_upgrade(now, upgrade, refused);
            }
        }
    }

    /// The next process is in charge.
    fn succeed(&mut self, now: Moment, upgrade: Upgrade, mut next: Next) {
        let Read { hash, changes } = next.read();
        let report = UpgradeReport {
            milliseconds: u64::try_from(now.saturating_since(upgrade.begun).as_millis()).unwrap_or(u64::MAX),
            pid: next.pid(),
            version: next.version().to_owned(),
            version_before: env!("CARGO_PKG_VERSION").to_owned(),
            hash,
            hash_before: self.config.hash.clone(),
            changes,
        };
        tracing::info!(
            pid = report.pid,
            version = report.version,
            took_ms = report.milliseconds,
            "succeeded"
        );
        self.journal.end(End::Elsewhere);
        let untold = systemd::tell_main_process(report.pid).is_err().then_some(report.pid);
        for stop in upgrade.stops {
            pass_on(stop, report.pid);
        }
        self.pass_reloads_on(report.pid);
        let _ = upgrade.request.reply.send(Ok(report));
        let (channel, tally) = next.let_go();
        self.retirement = Some(Retirement { channel, limit: upgrade.request.limit, tally, untold });
    }

    /// The next process is ended, and this one goes on.
    fn refuse_upgrade(&mut self, now: Moment, upgrade: Upgrade, refused: Refused) {
        drop(upgrade.next);
        let (Refused::File(why) | Refused::Now(why)) = &refused;
        tracing::error!(by = upgrade.request.by, "no upgrade: {why}; this process goes on");
        self.notifiers.resume();
        self.earlier.listen(&self.steps_in);
        // The other one may have put its number there.
        if let Some(Err(error)) = self.pid_file.as_mut().map(PidFile::restore) {
            tracing::error!("{error}");
        }
        let has_all = self.speaker.is_some() || self.groups.is_empty();
        let outcome = if upgrade.has_lost_speaker {
            Some(format!("The {SPEAKER_LOST}"))
        } else {
            has_all.then(|| "Nothing was changed".to_owned())
        };
        if let Err(error) = self.go_on(now, upgrade.hello, upgrade.session) {
            tracing::error!(%error, "can't start the speaker");
        }
        let _ = upgrade.request.reply.send(Err(match (refused, outcome) {
            (Refused::Now(why), Some(outcome)) => Refused::Now(format!("{why}. {outcome}")),
            (refused, _) => refused,
        }));
        for stop in upgrade.stops {
            self.begin_stop(now, stop);
        }
        self.start_waiting(now);
    }

    /// No other process takes the place of this one after all.
    fn go_on(
        &mut self,
        now: Moment,
        hello: Option<OwnedFd>,
        session: Option<KnownSession>,
    ) -> io::Result<()> {
        let Identity::Node { address, .. } = self.identity else { return Ok(()) };
        if self.neighbours.is_none() {
            self.say_hello(address, hello, session.map(|known| known.under(boot_id())));
        }
        if self.speaker.is_none() && !self.groups.is_empty() {
            tracing::warn!(
                "the speaker was the new process's by then and does not come back: the addresses may move"
            );
            self.start_speaker(None)?;
        }
        self.handle_health(now);
        Ok(())
    }

    fn upgrade_step(&mut self, step: impl Future<Output = Step> + Send + 'static) {
        let steps = self.steps_in.clone();
        self.tasks.spawn(async move {
            let _ = steps.send(wake::Step::Upgrade(step.await));
        });
    }
}

/// A stop that was wanted when another process had everything already: a signal is for that one, and who has asked asks again.
fn pass_on(stop: stop::Request, pid: u32) {
    match stop.reply {
        Some(reply) => {
            // Who asked may have gone away.
            let _ = reply.send(Err(orders::Refused::Now(orders::taken_over_by(pid))));
        }
        None => {
            let signal = match stop.patience {
                Patience::Full => Signal::USR1,
                Patience::Short | Patience::None => Signal::TERM,
            };
            let sent = Process::find(pid).and_then(|process| process.signal(signal));
            tracing::info!(by = stop.by, pid, ?sent, "passed on to the process that has taken over");
        }
    }
}
