//! One who is told: event after event, in order.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{Failure, Phase, Progress, complain, failed, told, webhook};
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

/// How often it is tried again to tell an event that nobody has heard, and the longest pause before that.
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
        let batch = self.journal.after(begun, AT_ONCE);
        if batch.newest == begun {
            return false;
        }
        let notify = self.config.borrow_and_update().clone();
        if batch.lost > 0 {
            self.lose(&notify.name, batch.lost);
            return true;
        }
        let wanted: Vec<&Event> = batch.events.iter().filter(|event| notify.wants.has(event)).collect();
        if !wanted.is_empty() && self.waits().await {
            return true;
        }
        self.progress.state().begun = batch.newest;
        for event in wanted {
            match self.tell(&notify, event).await {
                Ok(()) => told(&self.progress, &notify.name, 1),
                Err(Failure { why, is_unheard: true }) if self.attempts < AGAIN => {
                    complain(&self.progress, &notify.name, event.number, &why);
                    // At the end there is not much time.
                    let failures = if *self.phase.borrow() == Phase::Last { 0 } else { self.attempts };
                    self.not_before = Some(Instant::now() + pause(failures));
                    self.attempts += 1;
                    // Its turn has not been: who takes over tells it.
                    self.progress.state().begun = begun;
                    return true;
                }
                Err(Failure { why, .. }) => failed(&self.progress, &notify.name, (1, event.number), &why),
            }
            self.attempts = 0;
        }
        self.progress.over.send_replace(batch.newest);
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

    /// Until the moment for the next attempt, if that is not now; or until something is other than it was.
    async fn waits(&mut self) -> bool {
        let Some(moment) = self.not_before.take().filter(|moment| *moment > Instant::now()) else {
            return false;
        };
        tokio::select! {
            () = sleep_until(moment) => {}
            // An end, or another way to tell it: now. A pause ends the wait as well, and what follows begins at once.
            _ = self.phase.changed() => {}
            _ = self.config.changed() => {}
        }
        true
    }

    /// Why not, in a clause.
    async fn tell(&self, notify: &Notify, event: &Event) -> Result<(), Failure> {
        match &notify.means {
            Means::Command(command) => {
                let input =
                    serde_json::to_string(event).map_err(|error| Failure::heard(error.to_string()))?;
                let order = Order { command: command.clone(), input: input + "\n", limit: notify.timeout };
                let ended = self.runner.run(order).await.map_err(Failure::heard)?;
                verdict(&ended, notify).map_err(Failure::heard)
            }
            Means::Webhook(webhook) => webhook::post(webhook, event, notify.timeout).await,
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
