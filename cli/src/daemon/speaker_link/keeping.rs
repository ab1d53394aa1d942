//! The task that keeps a speaker running for as long as the daemon wants one.

mod lending;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lb_vrrp::{GroupConfig, Moment, Past, State};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Loss, Order, Report, SpeakerSettings, TakeBack, Told,
    child::{Child, News},
    fits,
    guard::Guard,
    loss::Lost,
    remarks::Remarks,
    watching::{Life, Patience, Run, Watch},
};
use crate::{
    keeper::{Alive, Page},
    speaker::protocol::{FromSpeaker, LogLevel, ToSpeaker},
};
use lending::Lent;

/// Readiness is repeated at least this often.
const REPEAT: Duration = Duration::from_millis(250);

/// A speaker that is not up by then is killed; waiting for the locks of its predecessor is part of it.
const START_LIMIT: Duration = Duration::from_secs(15);

/// How many transitions of each group the next speaker may be told.
const PASTS: [usize; 2] = [usize::MAX, 2];

/// For the speaker to take the ends of its link to another daemon.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(1);

/// For an orderly end; the lease of the addresses is over by then.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

/// In the log.
const UNREADABLE: &str = "the speaker has said what this daemon can't read; it goes on, but what it says may be missing in lbctl status";

pub(super) struct Keeper {
    settings: SpeakerSettings,
    page: Arc<Page>,
    /// Tells the speaker that this process lives.
    alive: Alive,
    orders: mpsc::UnboundedReceiver<Order>,
    reports: mpsc::Sender<Report>,
    readiness: BTreeMap<String, Told>,
    /// What speakers have said of the groups, by name.
    pasts: BTreeMap<String, Past>,
    patience: Patience,
    /// Takes addresses away that no speaker takes care of; `None` where the kernel refuses the thread.
    guard: Option<Guard>,
    /// When the speaker of this moment was started, or taken over.
    began: Moment,
    /// For how long its groups have run; `None` until they do.
    run: Option<Run>,
    /// It has given addresses up.
    gave_up: bool,
    remarks: Remarks,
    /// Who waits for a speaker to have the last configuration.
    reconfiguring: Vec<oneshot::Sender<()>>,
    /// The speaker's socket was full: it has not got that configuration yet.
    is_untold: bool,
    ending: Option<Ending>,
    /// Another daemon takes the speaker over; since then.
    handing_over: Option<(Moment, oneshot::Sender<Result<u32, String>>)>,
}

/// The daemon wants no speaker any more.
struct Ending {
    reason: String,
    done: Vec<oneshot::Sender<()>>,
}

/// Why a conversation with a speaker ended.
enum Outcome {
    /// It can't run here and said why.
    Fatal,
    /// It ended as asked.
    Stopped,
    /// It belongs to another daemon now.
    HandedOver,
    /// Another one is wanted.
    Lost(Lost),
}

impl Keeper {
    pub(super) fn new(
        settings: SpeakerSettings,
        page: Arc<Page>,
        alive: Alive,
        orders: mpsc::UnboundedReceiver<Order>,
        reports: mpsc::Sender<Report>,
        pasts: BTreeMap<String, Past>,
    ) -> Self {
        let readiness = BTreeMap::new();
        let guard = Guard::start(&settings, Arc::clone(&page));
        if let Err(error) = &guard {
            // The first one for whom there is no room is this one.
            let _ = reports.try_send(Report::Unguarded { why: error.to_string() });
        }
        Self {
            settings,
            page,
            alive,
            orders,
            reports,
            readiness,
            pasts,
            patience: Patience::default(),
            guard: guard.ok(),
            began: Moment::now(),
            run: None,
            gave_up: false,
            remarks: Remarks::default(),
            reconfiguring: Vec::new(),
            is_untold: false,
            ending: None,
            handing_over: None,
        }
    }

    pub(super) async fn keep(mut self, first: Child) {
        let mut child = Some(first);
        if let Some(other) = child.as_mut().filter(|child| child.is_another_program()) {
            tracing::info!("the speaker is of another program: another one is started in its place");
            other.kill();
            child = None;
        }
        // A speaker was lost after the end was asked for; one more is started, to resign.
        let mut resigning = false;
        loop {
            (self.began, self.run, self.gave_up) = (Moment::now(), None, false);
            let outcome = match child.take() {
                Some(child) => self.attend(child).await,
                None => match Child::start(&self.settings, &self.page, &self.configuration()) {
                    Ok(child) => self.attend(child).await,
                    Err(error) => Outcome::Lost(Lost::NotStarted(error.into())),
                },
            };
            let Outcome::Lost(lost) = outcome else { break };
            if self.ending.is_some() {
                if resigning {
                    break;
                }
                tracing::warn!("the speaker {lost} while it was to end; another one resigns");
                resigning = true;
                continue;
            }
            self.remarks.lose(Moment::now());
            let life = self.life();
            let pause = self.patience.pause(life);
            // Of each the daemon tells, who knows how it ended, and gathers what comes often.
            let pause_ms = pause.as_millis();
            tracing::debug!(pause_ms, "the speaker {lost}; another one is started");
            if let Lost::NotStarted(_) = lost {
                // There is no process whose end somebody waits for; nor is a daemon waited for that is behind.
                let (reports, loss) = (self.reports.clone(), Loss::new(Moment::now(), &lost, None));
                tokio::spawn(async move {
                    let _ = reports.send(Report::Lost(loss)).await;
                });
            }
            if pause > Duration::ZERO {
                self.wait_out(pause).await;
            }
        }
        drop(self.alive);
        for done in self.ending.into_iter().flat_map(|ending| ending.done) {
            let _ = done.send(());
        }
    }

    /// Of the speaker that has just ended.
    fn life(&mut self) -> Life {
        Life { ran: self.ran(), gave_up: self.gave_up }
    }

    /// For how long the groups of the speaker have run, as far as it was seen awake.
    fn ran(&mut self) -> Duration {
        let beat = self.page.last_beat();
        self.run.as_mut().map_or(Duration::ZERO, |run| run.look(beat))
    }

    /// Talks with one speaker until it ends.
    async fn attend(&mut self, mut child: Child) -> Outcome {
        let outcome = self.converse(&mut child).await;
        if let Outcome::Lost(_) = outcome {
            for message in child.last_words() {
                let last = match message {
                    FromSpeaker::Fatal { .. } => Some(Outcome::Fatal),
                    FromSpeaker::Stopped => Some(Outcome::Stopped),
                    _ => None,
                };
                self.pass_on(message).await;
                if let Some(last) = last {
                    return last;
                }
            }
        }
        // Whatever happened, it must not touch an address after its replacement has looked at them: the replacement waits
        // for its locks, which the kernel keeps until the last thread of this one is gone.
        if !matches!(outcome, Outcome::HandedOver) {
            child.kill();
            // It may have died between taking a group over and advertising it; the next one may be long in coming.
            self.page.leave_open();
            // What another daemon's page says is nobody's any more, and would be overdue for ever.
            if let Some(guard) = &self.guard {
                guard.keep_own();
            }
        }
        // Whoever was given it knows by the closed end that it is theirs for good.
        let mut process = child.let_go();
        let lost = match &outcome {
            Outcome::Lost(lost) if self.ending.is_none() => {
                Some((self.reports.clone(), Moment::now(), lost.clone()))
            }
            _ => None,
        };
        tokio::spawn(async move {
            let ended = process.ended().await;
            if let Some((reports, at, lost)) = lost {
                // The daemon may be gone.
                let _ = reports.send(Report::Lost(Loss::new(at, &lost, ended))).await;
            }
        });
        if let Some((_, done)) = self.handing_over.take() {
            let _ = done.send(Err("the speaker does not answer".to_owned()));
        }
        outcome
    }

    async fn converse(&mut self, child: &mut Child) -> Outcome {
        let mut watch = Watch::new(&self.settings.groups);
        let mut look = look_every(watch.period());
        let mut period = repeats_every(&self.settings.groups);
        let mut repeat = look_every(period);
        let began = self.began;
        let mut said_anything = false;
        let mut told_to_end = None;
        let (mut unreadable, mut untold): (u64, u64) = (0, 0);
        if let Some(ending) = &self.ending {
            told_to_end = Some(began);
            self.tell_to_end(child, &ending.reason);
        }
        loop {
            tokio::select! {
                biased;
                news = child.news() => match news {
                    News::Ended(how) => return Outcome::Lost(Lost::Ended(how)),
                    News::Unreadable(length) => {
                        unreadable += 1;
                        // The first one, and then ever more seldom.
                        if unreadable.is_power_of_two() {
                            tracing::warn!(unreadable, length, "{UNREADABLE}");
                        }
                        // Never waited for: a daemon that is behind has more to do than to count.
                        if self.reports.try_send(Report::Unreadable { count: untold + 1 }).is_ok() {
                            untold = 0;
                        } else {
                            untold += 1;
                        }
                    }
                    News::Said(message) => {
                        if !std::mem::replace(&mut said_anything, true) {
                            // It holds its mutex now.
                            if let Err(error) = child.watch(&self.page) {
                                tracing::warn!("no thread to watch the speaker: {error}");
                            }
                        }
                        if matches!(message, FromSpeaker::Started) {
                            self.run.get_or_insert_with(|| Run::since(Moment::now()));
                        }
                        if matches!(message, FromSpeaker::Started | FromSpeaker::Reconfigured) {
                            self.reconfigured();
                            watch = Watch::new(&self.settings.groups);
                            look = look_every(watch.period());
                            period = repeats_every(&self.settings.groups);
                            repeat = look_every(period);
                        }
                        if matches!(message, FromSpeaker::HandedOver) {
                            match self.lend(child).await {
                                Lent::Back => self.repeat_readiness(child),
                                Lent::Given => return Outcome::HandedOver,
                                Lent::Lost(lost) => return Outcome::Lost(lost),
                            }
                            continue;
                        }
                        if let FromSpeaker::NotHandedOver { why } = &message
                            && let Some((_, done)) = self.handing_over.take()
                        {
                            let _ = done.send(Err(format!("the speaker can't take another daemon: {why}")));
                        }
                        let fatal = matches!(message, FromSpeaker::Fatal { .. });
                        let stopped = matches!(message, FromSpeaker::Stopped);
                        self.pass_on(message).await;
                        if fatal {
                            return Outcome::Fatal;
                        }
                        if stopped && told_to_end.is_some() {
                            let _ = timeout(SHUTDOWN_LIMIT, child.ended()).await;
                            return Outcome::Stopped;
                        }
                    }
                },
                order = self.orders.recv(), if told_to_end.is_none() => {
                    self.take(order, Some(child));
                    watch = watch.or_slower(Watch::new(&self.settings.groups));
                    // As often as the more impatient configuration wants it, until the speaker goes by the new one.
                    let wanted = repeats_every(&self.settings.groups);
                    if wanted < period {
                        period = wanted;
                        repeat = look_every(period);
                    }
                    if let Some(ending) = &self.ending {
                        told_to_end = Some(Moment::now());
                        self.tell_to_end(child, &ending.reason);
                    }
                }
                _ = repeat.tick() => {
                    if self.is_untold {
                        self.tell_configuration(child);
                    }
                    self.repeat_readiness(child);
                }
                _ = look.tick() => {
                    let now = Moment::now();
                    let beat = self.page.last_beat();
                    self.ran();
                    if self.run.is_some() && watch.is_frozen(now, beat) {
                        let age = now.saturating_since(beat).as_millis();
                        let why = format!("was frozen (last heartbeat {age} ms ago)");
                        return Outcome::Lost(Lost::Killed(why));
                    }
                    if self.run.is_none() && now.saturating_since(began) > START_LIMIT {
                        return Outcome::Lost(Lost::Killed("did not start in time".to_owned()));
                    }
                    let asked = self.handing_over.as_ref().map(|(at, _)| *at);
                    if asked.is_some_and(|at| now.saturating_since(at) > HAND_OVER_LIMIT) {
                        return Outcome::Lost(Lost::Killed("did not take another daemon in time".to_owned()));
                    }
                    if told_to_end.is_some_and(|at| now.saturating_since(at) > SHUTDOWN_LIMIT) {
                        tracing::warn!("the speaker did not end in time and was killed; its addresses end with their lease");
                        return Outcome::Stopped;
                    }
                }
            }
        }
    }

    /// Takes orders while there is no speaker.
    async fn wait_out(&mut self, pause: Duration) {
        let over = sleep(pause);
        tokio::pin!(over);
        while self.ending.is_none() {
            tokio::select! {
                order = self.orders.recv() => self.take(order, None),
                () = &mut over => return,
            }
        }
    }

    fn take(&mut self, order: Option<Order>, child: Option<&Child>) {
        let message = match order {
            Some(Order::Readiness { group, told }) => {
                self.readiness.insert(group.clone(), told.clone());
                self.readiness_of(group, told)
            }
            Some(Order::ExchangesReset { group }) => ToSpeaker::ExchangesReset { group },
            Some(Order::PeerReappeared) => ToSpeaker::PeerReappeared,
            Some(Order::Announce) => ToSpeaker::Announce,
            Some(Order::Reconfigure { groups, done }) => {
                if let Some(guard) = &self.guard {
                    guard.expect(&groups);
                }
                self.settings.groups = groups;
                self.reconfiguring.push(done);
                match child {
                    Some(child) => self.tell_configuration(child),
                    // The next one begins with it.
                    None => self.reconfigured(),
                }
                return;
            }
            Some(Order::HandOver { ends, done }) => {
                let taken =
                    child.ok_or_else(|| "there is no speaker at this moment".to_owned()).and_then(|child| {
                        child
                            .hand_over(&ends.socket, &ends.page)
                            .map_err(|error| format!("can't be told: {error}"))
                    });
                // The other daemon has no guard before it has the speaker.
                let page = ends.page.try_clone().and_then(Page::open);
                if let (Ok(()), Ok(page), Some(guard)) = (&taken, page, &self.guard) {
                    guard.lend(page);
                }
                match taken {
                    Ok(()) => self.handing_over = Some((Moment::now(), done)),
                    Err(why) => drop(done.send(Err(why))),
                }
                return;
            }
            // It was not given away.
            Some(Order::TakeBack { done }) => {
                let _ = done.send(TakeBack::Back);
                return;
            }
            Some(Order::Shutdown { reason, done }) => {
                self.ending.get_or_insert(Ending { reason, done: Vec::new() }).done.push(done);
                return;
            }
            None => {
                let reason = "the daemon ends".to_owned();
                self.ending.get_or_insert(Ending { reason, done: Vec::new() });
                return;
            }
        };
        if let Some(child) = child {
            // A speaker that does not read is found by its heartbeat.
            let _ = child.tell(&message);
        }
    }

    fn configuration(&self) -> ToSpeaker {
        let told = self.readiness.iter().map(|(group, told)| (group.clone(), told.clone()));
        let first: Vec<_> = told.map(|(group, told)| self.readiness_of(group, told)).collect();
        configuration(&self.settings.groups, &self.pasts, &first)
    }

    fn remember(&mut self, message: &FromSpeaker) {
        match message {
            FromSpeaker::Status { groups, .. } => {
                self.guard.iter().for_each(|guard| guard.note(groups));
                self.pasts = groups.iter().map(|group| (group.name.clone(), group.past())).collect();
            }
            FromSpeaker::Transition { group, transition } => {
                self.gave_up |= transition.from == State::Active;
                self.pasts.get_mut(group).into_iter().for_each(|past| past.follow(transition));
            }
            _ => {}
        }
    }

    fn tell_configuration(&mut self, child: &Child) {
        let groups = self.settings.groups.clone();
        self.is_untold = child.tell(&ToSpeaker::Reconfigure { groups }).is_err();
    }

    fn reconfigured(&mut self) {
        self.is_untold = false;
        if let Some(guard) = &self.guard {
            guard.watch(&self.settings.groups);
        }
        for done in self.reconfiguring.drain(..) {
            let _ = done.send(());
        }
    }

    fn tell_to_end(&self, child: &Child, reason: &str) {
        let _ = child.tell(&ToSpeaker::Shutdown { reason: reason.to_owned() });
    }

    fn repeat_readiness(&self, child: &Child) {
        for (group, told) in &self.readiness {
            let _ = child.tell(&self.readiness_of(group.clone(), told.clone()));
        }
    }

    fn readiness_of(&self, group: String, told: Told) -> ToSpeaker {
        let Told { readiness, yields, trusts, sources } = told;
        let lived = self.run.as_ref().map_or(Duration::ZERO, Run::ran);
        let readiness = self.patience.tempered(lived, readiness);
        ToSpeaker::Readiness { group, readiness, said: Some(Moment::now()), yields, trusts, sources }
    }

    async fn pass_on(&mut self, message: FromSpeaker) {
        self.remember(&message);
        match message {
            FromSpeaker::Log { level, text } => match self.remarks.level(Moment::now(), level, &text) {
                LogLevel::Warn => tracing::warn!(target: "lbctl::speaker", "{text}"),
                LogLevel::Info => tracing::info!(target: "lbctl::speaker", "{text}"),
                LogLevel::Debug => tracing::debug!(target: "lbctl::speaker", "{text}"),
            },
            status @ FromSpeaker::Status { .. } => {
                // The daemon is far behind or gone: there will be a newer one.
                let _ = self.reports.try_send(Report::Said(status));
            }
            other => {
                let _ = self.reports.send(Report::Said(other)).await;
            }
        }
    }
}

fn look_every(period: Duration) -> tokio::time::Interval {
    let mut look = interval(period);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look
}

/// Often enough that three may be late before readiness runs out.
fn repeats_every(groups: &[GroupConfig]) -> Duration {
    let shortest = groups.iter().map(|group| group.stall_timeout).min();
    shortest.map_or(REPEAT, |limit| (limit / 4).min(REPEAT))
}

/// For a speaker: with all that the one before has said of the groups, the last of it, or nothing, as there is room.
pub(super) fn configuration(
    groups: &[GroupConfig],
    pasts: &BTreeMap<String, Past>,
    first: &[ToSpeaker],
) -> ToSpeaker {
    // They come with the next readiness, in time, and there are many of them.
    let first = first.iter().map(ToSpeaker::without_sources).collect::<Vec<_>>();
    let with = |most: usize| {
        let mut pasts = pasts.clone();
        pasts.values_mut().for_each(|past| past.shorten(most));
        ToSpeaker::Configure { groups: groups.to_vec(), pasts, first: first.clone() }
    };
    let bare = || ToSpeaker::Configure { groups: groups.to_vec(), pasts: BTreeMap::new(), first: Vec::new() };
    PASTS.into_iter().map(with).find(fits).unwrap_or_else(bare)
}

#[cfg(test)]
mod tests {
    use lb_vrrp::{Moments, Transition};

    use super::*;

    /// What is told of so many groups: of how many, and how many transitions of each.
    fn told(groups: usize, reason: &str) -> (usize, usize) {
        let at = Moment::from_nanos(1);
        let transition = Transition {
            from: State::Initialize,
            to: State::Backup,
            reason: reason.to_owned(),
            detected: at,
            at,
            moments: Moments::default(),
        };
        let past = Past { state: State::Backup, since: at, transitions: vec![transition; 20] };
        let pasts = (0..groups).map(|number| (format!("group {number}"), past.clone())).collect();
        let message = configuration(&[], &pasts, &[]);
        assert!(fits(&message));
        let ToSpeaker::Configure { pasts, .. } = message else { panic!("{message:?}") };
        (pasts.len(), pasts.values().next().map_or(0, |past| past.transitions.len()))
    }

    #[test]
    fn speaker_is_told_of_the_past_as_much_as_there_is_room_for() {
        assert_eq!(told(3, "started"), (3, 20));
        assert_eq!(told(100, "started"), (100, 2));
        assert_eq!(told(100, &"x".repeat(2_000)), (0, 0));
    }
}
