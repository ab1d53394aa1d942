//! One who is told: event after event, in order.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Failure, Phase, Progress, complain, failed, mail, told, webhook};
use crate::{
    config::{
        model::{Means, Notify},
        text::write_duration,
    },
    control::Event,
    daemon::journal::{End, Journal},
    runner::{Ended, How, Order, Runner},
};

/// Events that are taken out of the journal at once: while one is told, those behind it may be lost.
const AT_ONCE: usize = 1;

/// Events in a mail.
const GATHERED: usize = 1_000;

/// How often it is tried again to tell an event that nobody has heard, but for a mail, and the longest pause before that.
const AGAIN: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What he is told by.
pub(super) struct Told {
    pub(super) config: watch::Receiver<Notify>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) journal: Arc<Journal>,
    pub(super) runner: Runner,
    pub(super) progress: Arc<Progress>,
    /// In vain, to tell what is next.
    pub(super) attempts: u32,
    /// The next one.
    pub(super) not_before: Option<Instant>,
    /// When something was told last.
    pub(super) mailed: Option<Instant>,
    /// It is the end, and this could not be told then.
    pub(super) is_last_try: bool,
}

impl Told {
    /// Until there is nobody who wants it.
    pub(super) async fn all(mut self) {
        let mut ended = self.journal.subscribe();
        loop {
            if self.phase.wait_for(|phase| *phase != Phase::Paused).await.is_err() {
                return;
            }
            ended.mark_unchanged();
            if self.next().await {
                continue;
            }
            let is_end = *ended.borrow() == Some(End::Elsewhere);
            if is_end || ended.changed().await.is_err() {
                return;
            }
        }
    }

    /// False if there is none.
    async fn next(&mut self) -> bool {
        let begun = self.progress.state().begun;
        let notify = self.config.borrow_and_update().clone();
        let most = match notify.means {
            Means::Command(_) | Means::Webhook(_) => AT_ONCE,
            Means::Mail(_) => GATHERED,
        };
        let batch = self.journal.after(begun, most);
        if batch.newest == begun {
            return false;
        }
        let follow = batch.events.iter().zip(begun + 1..).take_while(|(event, next)| event.number == *next);
        let next: Vec<&Event> = follow.map(|(event, _)| event).collect();
        let Some(last) = next.last().map(|last| last.number) else {
            let before = batch.events.first().map_or(batch.newest, |first| first.number.saturating_sub(1));
            self.lose(&notify.name, before.saturating_sub(begun));
            return true;
        };
        let wanted: Vec<&Event> = next.into_iter().filter(|event| notify.wants.has(event)).collect();
        if !wanted.is_empty() {
            if self.waits(&notify).await {
                return true;
            }
            self.progress.state().begun = last;
            let count = wanted.len() as u64;
            match self.tell(&notify, &wanted).await {
                Ok(()) => told(&self.progress, &notify.name, count),
                Err(Failure { why, is_unheard: true }) if self.is_tried_again(&notify.means) => {
                    complain(&self.progress, &notify.name, last, &why);
                    self.not_before = Some(Instant::now() + pause(self.attempts));
                    self.attempts += 1;
                    // Their turn has not been: who takes over tells them.
                    self.progress.state().begun = begun;
                    return true;
                }
                Err(Failure { why, is_unheard: true }) if *self.phase.borrow() == Phase::Last => {
                    return self.give_up(&notify, begun, &why);
                }
                Err(Failure { why, .. }) => failed(&self.progress, &notify.name, (count, last), &why),
            }
            self.attempts = 0;
            self.mailed = Some(Instant::now());
        }
        self.progress.state().begun = last;
        self.progress.over.send_replace(last);
        true
    }

    /// After one more attempt in vain.
    fn is_tried_again(&mut self, means: &Means) -> bool {
        if *self.phase.borrow() == Phase::Last {
            // There is not much time: once more, after the shortest pause.
            self.attempts = 0;
            return !std::mem::replace(&mut self.is_last_try, true);
        }
        match means {
            // Those behind it are in the same mail, and don't wait for it.
            Means::Mail(_) => true,
            Means::Command(_) | Means::Webhook(_) => self.attempts < AGAIN,
        }
    }

    /// Whom nobody reaches at the end is not waited for with the rest, which `begun` is before.
    fn give_up(&self, notify: &Notify, begun: u64, why: &str) -> bool {
        let rest = self.journal.after(begun, usize::MAX);
        let wanted = rest.events.iter().filter(|event| notify.wants.has(event)).count();
        let mut state = self.progress.state();
        state.failed_total += wanted as u64;
        state.lost_total += rest.lost;
        state.begun = rest.newest;
        drop(state);
        tracing::warn!(
            notify = notify.name,
            events = wanted,
            reason = why,
            "was not told everything: lbctl ends"
        );
        self.progress.over.send_replace(rest.newest);
        true
    }

    /// So many are gone from the journal.
    fn lose(&self, name: &str, lost: u64) {
        let mut state = self.progress.state();
        state.begun += lost;
        state.lost_total += lost;
        self.progress.over.send_replace(state.begun);
        drop(state);
        tracing::warn!(notify = name, lost, "events were lost: they came faster than they were told");
    }

    /// Until the moment for the next attempt or the next mail, if that is not now; or until something is other than it was.
    async fn waits(&mut self, notify: &Notify) -> bool {
        let next_mail = match &notify.means {
            Means::Mail(mail) if *self.phase.borrow() != Phase::Last => {
                self.mailed.map(|at| at + mail.interval)
            }
            Means::Mail(_) | Means::Command(_) | Means::Webhook(_) => None,
        };
        let moment = self.not_before.take().max(next_mail);
        let Some(moment) = moment.filter(|moment| *moment > Instant::now()) else { return false };
        tokio::select! {
            () = sleep_until(moment) => {}
            // An end, or another way to tell it: now. A pause ends the wait as well, and what follows begins at once.
            _ = self.phase.changed() => {}
            _ = self.config.changed() => {}
        }
        true
    }

    /// Why not, in a clause. `events`: one at least; several for a mail only.
    async fn tell(&self, notify: &Notify, events: &[&Event]) -> Result<(), Failure> {
        let Some(event) = events.first() else { return Ok(()) };
        match &notify.means {
            Means::Command(command) => {
                let input =
                    serde_json::to_string(event).map_err(|error| Failure::heard(error.to_string()))?;
                let order = Order { command: command.clone(), input: input + "\n", limit: notify.timeout };
                let ended = self.runner.run(order).await?;
                verdict(&ended, notify).map_err(Failure::heard)
            }
            Means::Webhook(webhook) => webhook::post(webhook, event, notify.timeout).await,
            Means::Mail(mail) => mail::send(mail, events, notify.timeout).await,
        }
    }
}

/// After so many failures: 1, 2, 4 s and so on.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(6)).min(LONGEST_PAUSE)
}

fn verdict(ended: &Ended, notify: &Notify) -> Result<(), String> {
    let what = match ended.how {
        How::Exit(0) => return Ok(()),
        How::Exit(code) => format!("it ended with {code}"),
        How::Signal(signal) => format!("it was ended by signal {signal}"),
        How::TimedOut => format!("it ran for {}, and was ended", write_duration(notify.timeout)),
    };
    Err(match ended.output.as_str() {
        "" => what,
        said => format!("{what}: {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tried_again_for_five_minutes() {
        let pauses: Vec<u64> = (0..AGAIN).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    }
}
