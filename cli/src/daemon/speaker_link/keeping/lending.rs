//! While another daemon has the speaker, for a try (`lbctl upgrade`): this one keeps its end of the link, and its guard, until it is
//! known which of the two goes on.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    super::{
        Order,
        child::{Child, News},
        loss::Lost,
    },
    Keeper,
};
use crate::speaker::protocol::FromSpeaker;

/// For the speaker to come back from a daemon that has ended.
const TAKE_BACK_LIMIT: Duration = Duration::from_secs(1);

/// What comes of it.
pub(super) enum Lent {
    /// The speaker is this daemon's again.
    Back,
    /// It is the other one's for good, or not wanted any more.
    Given,
    /// This daemon goes on, without it: another one is wanted.
    Lost(Lost),
}

impl Keeper {
    /// To be called when the speaker has another daemon. If it dies there, that is the other one's to see to, and until that
    /// one is in charge, or has failed, its addresses are guarded from here.
    pub(super) async fn lend(&mut self, child: &mut Child) -> Lent {
        if let Some((_, done)) = self.handing_over.take() {
            let _ = done.send(child.pid().ok_or_else(|| "the speaker has ended".to_owned()));
        }
        let (mut wanted, mut is_back, mut has_ended) = (None, false, false);
        let limit = sleep(Duration::MAX);
        tokio::pin!(limit);
        let mut lost = None;
        while self.ending.is_none() && lost.is_none() {
            tokio::select! {
                news = async { if has_ended { pending().await } else { child.news().await } } => match news {
                    News::Said(FromSpeaker::TakenBack) => is_back = true,
                    News::Said(_) => {}
                    News::Ended(_) => has_ended = true,
                },
                // Once the other one is in charge nobody has the other end of this, and it is over.
                order = self.orders.recv() => match order {
                    Some(Order::TakeBack { done }) => {
                        wanted = Some(done);
                        limit.as_mut().reset(Instant::now() + TAKE_BACK_LIMIT);
                    }
                    order => self.take(order, None),
                },
                () = &mut limit => {
                    lost = Some(Lost::Killed("did not come back from the daemon that has ended".to_owned()));
                }
            }
            if is_back && let Some(done) = wanted.take() {
                let _ = done.send(());
                return Lent::Back;
            }
            if has_ended && wanted.is_some() {
                lost = Some(Lost::Ended("died while another daemon had it"));
            }
        }
        let Some(lost) = lost else { return Lent::Given };
        child.kill();
        self.withdraw_all().await;
        if let Some(done) = wanted {
            let _ = done.send(());
        }
        Lent::Lost(lost)
    }

    /// Nobody has the addresses. A speaker that the other daemon had started may have resigned by now, so no next one goes on
    /// with them, whatever the pages say, and by then they are gone.
    async fn withdraw_all(&self) {
        self.page.leave_open();
        if let Some(guard) = &self.guard {
            guard.withdraw_all().await;
        }
    }
}
