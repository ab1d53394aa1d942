//! While another daemon has the speaker, for a try (`lbctl upgrade`): this one keeps its end of the link, and its guard, until it is
//! known which of the two goes on.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    super::{
        Order, TakeBack,
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
                // What has come goes before the limit, whatever kept this task from looking at it.
                biased;
                news = async { if has_ended { pending().await } else { child.news().await } } => match news {
                    News::Said(FromSpeaker::TakenBack) => is_back = true,
                    News::Said(_) | News::Unreadable(_) => {}
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
                    is_back = child.last_words().iter().any(|word| matches!(word, FromSpeaker::TakenBack));
                    if !is_back {
                        let why = "did not come back from the daemon that has ended";
                        lost = Some(Lost::Killed(why.to_owned()));
                    }
                }
            }
            // Also if it had come back by then: its end can't be waited for once more.
            if has_ended && wanted.is_some() {
                lost = Some(Lost::Ended("died while another daemon had it"));
            } else if is_back && let Some(done) = wanted.take() {
                let _ = done.send(TakeBack::Back);
                return Lent::Back;
            }
        }
        let Some(lost) = lost else { return Lent::Given };
        child.kill();
        self.withdraw_all().await;
        if let Some(done) = wanted {
            let _ = done.send(TakeBack::Lost);
        }
        Lent::Lost(lost)
    }

    /// Nobody has the addresses. A speaker that the other daemon had started may have resigned by now, so no next one goes on
    /// with them, whatever the pages say, and by then they are gone.
    async fn withdraw_all(&self) {
        self.page.leave_open();
        // The guard does so as well, where there is one, and takes the addresses away.
        for index in 0..self.settings.groups.len() {
            if let Some(last) = self.page.open_advertisement(index) {
                self.page.withdraw(index, last);
            }
        }
        if let Some(guard) = &self.guard {
            guard.withdraw_all().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use lb_vrrp::Moment;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{
        daemon::speaker_link::tests::settings,
        keeper::{Alive, Page, Side},
    };

    #[tokio::test]
    async fn nobody_goes_on_where_a_lent_speaker_was_lost_also_without_a_guard() {
        let page = Arc::new(Page::create().expect("a page"));
        let alive = Alive::hold(Arc::clone(&page), Side::Daemon).expect("held");
        let (_handle, orders) = mpsc::unbounded_channel();
        let (reports, _receiver) = mpsc::channel(1);
        let mut keeper = Keeper::new(settings(), Arc::clone(&page), alive, orders, reports, BTreeMap::new());
        keeper.guard = None;
        // Long from now: by the clock it would be nobody's yet.
        page.set_advertised(0, Some(Moment::now() + Duration::from_secs(3600)));
        page.hand_on();
        assert!(page.is_left(0));
        keeper.withdraw_all().await;
        assert!(!page.is_left(0));
    }
}
