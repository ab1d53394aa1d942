//! One who is told: event after event, in order.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Progress, failed, told};
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

/// What he is told by.
pub(super) struct Told {
    pub(super) config: watch::Receiver<Notify>,
    pub(super) open: watch::Receiver<bool>,
    pub(super) journal: Arc<Journal>,
    pub(super) runner: Runner,
    pub(super) progress: Arc<Progress>,
}

impl Told {
    /// Until there is nobody who wants it.
    pub(super) async fn all(mut self) {
        let mut ended = self.journal.subscribe();
        loop {
            if self.open.wait_for(|open| *open).await.is_err() {
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
        {
            let mut state = self.progress.state();
            state.begun = batch.newest;
            state.lost_total += batch.lost;
        }
        if batch.lost > 0 {
            tracing::warn!(
                notify = notify.name,
                lost = batch.lost,
                "events were lost: they came faster than they were told"
            );
        }
        for event in batch.events.iter().filter(|event| notify.wants.has(event)) {
            match self.tell(&notify, event).await {
                Ok(()) => told(&self.progress, &notify.name),
                Err(why) => failed(&self.progress, &notify.name, event.number, &why),
            }
        }
        self.progress.over.send_replace(batch.newest);
        true
    }

    /// Why not, in a clause.
    async fn tell(&self, notify: &Notify, event: &Event) -> Result<(), String> {
        let input = serde_json::to_string(event).map_err(|error| error.to_string())?;
        match &notify.means {
            Means::Command(command) => {
                let order = Order { command: command.clone(), input: input + "\n", limit: notify.timeout };
                verdict(&self.runner.run(order).await?, notify)
            }
        }
    }
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
