//! A thread that takes the addresses of a group away when nobody has advertised it for 2.5 intervals: its speaker is dead or does
//! not move, the next one is not up yet, and another node claims them after three.
//!
//! It goes by the shared page alone, so it does not depend on the daemon's loop; and it and a new speaker agree there, by one
//! atomic word for each group, which of them is to go on: [`Page::withdraw`], [`Page::is_left`].

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use lb_vrrp::{GroupConfig, GroupStatus, Moment, VirtualAddress, io::withdraw};
use tokio::{runtime::Runtime, sync::oneshot};

use super::SpeakerSettings;
use crate::{keeper::Page, privileges};

/// What was removed is looked for again after this long: a refresh that the kernel was carrying out when its process was killed
/// may have brought it back. Then after twice that, and so on, [`DOUBLINGS`] times.
const AGAIN: Duration = Duration::from_millis(20);

const DOUBLINGS: u32 = 6;

/// The longest wait.
const IDLE: Duration = Duration::from_secs(1);

/// Ends its thread when it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    orders: Sender<Order>,
    guarded: Mutex<Vec<Guarded>>,
}

#[derive(Debug)]
enum Order {
    /// Watch these.
    Groups(Vec<Guarded>),
    /// The speaker writes to this page as well, for another daemon.
    Lent(Arc<Page>),
    /// It does so no more, and never will.
    Own,
    /// Nobody has what any of the pages says, and nobody goes on with it; from then on as [`Self::Own`].
    All(oneshot::Sender<()>),
}

/// What is watched of a group; its place is that on the page.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Guarded {
    name: String,
    /// Of each member: its interval, and whether it advertises.
    members: Vec<(Duration, bool)>,
    addresses: Vec<IpAddr>,
}

/// What is to be done about a group at a moment.
#[derive(Debug, Eq, PartialEq)]
enum Look {
    /// Nothing before this.
    Wait(Moment),
    /// Its addresses are to go.
    Overdue { last: Moment },
}

impl Guard {
    pub(super) fn start(settings: &SpeakerSettings, page: Arc<Page>) -> io::Result<Self> {
        let (orders, received) = channel();
        let groups: Vec<_> = settings.groups.iter().map(Guarded::of).collect();
        let guarded = groups.clone();
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        privileges::start_guard(&settings.launcher, settings.is_unconfined, runtime, move |runtime| {
            guard(&runtime, vec![page], groups, &received);
        })?;
        Ok(Self { orders, guarded: guarded.into() })
    }

    /// The speaker goes by these.
    pub(super) fn watch(&self, groups: &[GroupConfig]) {
        self.tell(|guarded| {
            let known = std::mem::take(guarded);
            *guarded = groups.iter().map(Guarded::of).collect();
            for group in guarded {
                if let Some(known) = known.iter().find(|known| known.name == group.name) {
                    group.is_as(known);
                }
            }
        });
    }

    /// The speaker is told these, and goes by them or by those of before for a moment.
    pub(super) fn expect(&self, groups: &[GroupConfig]) {
        self.tell(|guarded| {
            for next in groups.iter().map(Guarded::of) {
                let Some(known) = guarded.iter_mut().find(|known| known.name == next.name) else { continue };
                for ((interval, _), (then, _)) in known.members.iter_mut().zip(&next.members) {
                    *interval = (*interval).max(*then);
                }
                known.addresses.extend(next.addresses);
            }
        });
    }

    /// What the speaker says of the groups: by which of their members they advertise.
    pub(super) fn note(&self, groups: &[GroupStatus]) {
        let before = self.guarded().clone();
        let mut now = before.clone();
        for known in &mut now {
            let Some(said) = groups.iter().find(|said| said.name == known.name) else { continue };
            for ((_, speaks), member) in known.members.iter_mut().zip(&said.members) {
                *speaks = member.trouble.is_none();
            }
        }
        if now != before {
            self.tell(|guarded| *guarded = now);
        }
    }

    /// The speaker is another daemon's, for a try: until that one has a guard, this one is it.
    pub(super) fn lend(&self, page: Page) {
        let _ = self.orders.send(Order::Lent(Arc::new(page)));
    }

    /// The speaker has ended; the next one is this daemon's.
    pub(super) fn keep_own(&self) {
        let _ = self.orders.send(Order::Own);
    }

    /// The speaker has ended while it was lent, and so has the other daemon: takes all addresses away now, so that no speaker goes
    /// on with them. Returns when that was tried.
    pub(super) async fn withdraw_all(&self) {
        let (done, ended) = oneshot::channel();
        let _ = self.orders.send(Order::All(done));
        // An error means that the thread has died.
        let _ = ended.await;
    }

    fn guarded(&self) -> MutexGuard<'_, Vec<Guarded>> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut Vec<Guarded>)) {
        let mut guarded = self.guarded();
        change(&mut guarded);
        // An error means that the thread has died.
        let _ = self.orders.send(Order::Groups(guarded.clone()));
    }
}

impl Guarded {
    fn of(group: &GroupConfig) -> Self {
        let addresses = group.members.iter().flat_map(|member| &member.addresses);
        Self {
            name: group.name.clone(),
            members: group.members.iter().map(|member| (member.interval.get(), true)).collect(),
            addresses: addresses.map(|address| address.address).collect(),
        }
    }

    /// What is up, and what is not, is as in another one.
    fn is_as(&mut self, known: &Self) {
        for ((_, speaks), (_, known)) in self.members.iter_mut().zip(&known.members) {
            *speaks = *known;
        }
    }

    /// The shortest of those that advertise: one that is down says nothing, however long.
    fn interval(&self) -> Duration {
        let speaking = self.members.iter().filter(|(_, speaks)| *speaks);
        let shortest = speaking.min().or_else(|| self.members.iter().min());
        shortest.map_or(Duration::from_secs(1), |(interval, _)| *interval)
    }

    /// `last`: when the group last advertised, if it is Active. A speaker whose `beat` is younger than an interval is awake: it goes by
    /// the clock itself.
    fn look(&self, now: Moment, last: Option<Moment>, beat: Moment) -> Look {
        let interval = self.interval();
        let limit = interval * 5 / 2;
        let Some(last) = last else { return Look::Wait(now + limit) };
        let due = (last + limit).max(beat + interval);
        if now > due { Look::Overdue { last } } else { Look::Wait(due + Duration::from_micros(10)) }
    }
}

fn guard(runtime: &Runtime, mut pages: Vec<Arc<Page>>, mut groups: Vec<Guarded>, orders: &Receiver<Order>) {
    // How often in a row, until a speaker has said so to the others.
    let mut rounds = 0;
    loop {
        let now = Moment::now();
        let mut next = now + IDLE;
        let (mut overdue, mut addresses) = (None, Vec::new());
        for (page, index, group) in watched(&pages, &groups) {
            match group.look(now, page.open_advertisement(index), page.last_beat()) {
                Look::Wait(until) => next = next.min(until),
                Look::Overdue { last } if page.withdraw(index, last) => {
                    overdue = Some(last);
                    addresses.extend(&group.addresses);
                }
                // It has moved at this very moment.
                Look::Overdue { .. } => next = now,
            }
        }
        if let Some(last) = overdue {
            next = next.min(now + AGAIN * (1 << rounds.min(DOUBLINGS)));
            let removed = runtime.block_on(withdraw(&addresses));
            if rounds == 0 {
                tell(now.saturating_since(last), removed);
            }
            rounds += 1;
        } else {
            rounds = 0;
        }
        match orders.recv_timeout(next.saturating_since(Moment::now())) {
            Ok(Order::Groups(others)) => groups = others,
            // The one of an earlier try is nobody's any more.
            Ok(Order::Lent(page)) => {
                pages.truncate(1);
                pages.push(page);
            }
            Ok(Order::Own) => pages.truncate(1),
            Ok(Order::All(done)) => {
                let open = watched(&pages, &groups).filter(|(page, index, _)| {
                    page.open_advertisement(*index).is_some_and(|last| page.withdraw(*index, last))
                });
                let addresses: Vec<_> = open.flat_map(|(.., group)| group.addresses.clone()).collect();
                if let Err(error) = runtime.block_on(withdraw(&addresses)) {
                    tracing::warn!("the addresses of a speaker that is gone can't be taken away: {error}");
                }
                pages.truncate(1);
                let _ = done.send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Each group on each page, with its place there.
fn watched<'a>(
    pages: &'a [Arc<Page>],
    groups: &'a [Guarded],
) -> impl Iterator<Item = (&'a Page, usize, &'a Guarded)> {
    pages.iter().flat_map(|page| groups.iter().enumerate().map(move |(index, group)| (&**page, index, group)))
}

fn tell(silent: Duration, removed: io::Result<Vec<VirtualAddress>>) {
    let silent = silent.as_millis();
    match removed {
        Ok(removed) => {
            let removed: Vec<_> = removed.iter().map(|one| one.address.to_string()).collect();
            // The next speaker may have removed them at the same moment.
            let what = if removed.is_empty() {
                "gone".to_owned()
            } else {
                format!("taken away ({})", removed.join(", "))
            };
            tracing::warn!(
                "no speaker has advertised for {silent} ms: its addresses are {what} before another node claims them"
            );
        }
        Err(error) => {
            tracing::warn!(
                "no speaker has advertised for {silent} ms, and its addresses can't be taken away: {error}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    fn every(millis: u64) -> Guarded {
        with(&[(millis, true)])
    }

    fn with(members: &[(u64, bool)]) -> Guarded {
        let members =
            members.iter().map(|(millis, speaks)| (Duration::from_millis(*millis), *speaks)).collect();
        Guarded { name: "default".to_owned(), members, addresses: Vec::new() }
    }

    #[test]
    fn the_interval_is_the_shortest_of_those_that_advertise() {
        for (members, interval) in [
            (&[(100, true), (1000, true)][..], 100),
            (&[(100, false), (1000, true)], 1000),
            (&[(100, true), (1000, false)], 100),
            // Nobody advertises, so nothing is held; and nothing is known yet of those that are new.
            (&[(100, false), (1000, false)], 100),
            (&[], 1000),
        ] {
            assert_eq!(with(members).interval(), Duration::from_millis(interval), "{members:?}");
        }
        let mut next = with(&[(50, true), (1000, true)]);
        next.is_as(&with(&[(100, false), (1000, true)]));
        assert_eq!(next.interval(), Duration::from_secs(1));
    }

    #[test]
    fn addresses_go_two_and_a_half_intervals_after_the_last_advertisement() {
        for (interval, due) in [(10, 1025), (100, 1250), (1000, 3500)] {
            let group = every(interval);
            assert!(
                matches!(group.look(at(due), Some(at(1000)), at(1000)), Look::Wait(until) if until > at(due))
            );
            assert_eq!(group.look(at(due + 1), Some(at(1000)), at(1000)), Look::Overdue { last: at(1000) });
        }
    }

    #[test]
    fn a_speaker_that_is_awake_goes_by_the_clock_itself() {
        let group = every(100);
        assert!(matches!(group.look(at(1300), Some(at(1000)), at(1210)), Look::Wait(_)));
        assert_eq!(group.look(at(1311), Some(at(1000)), at(1210)), Look::Overdue { last: at(1000) });
    }

    /// Without addresses, so that it needs no rights.
    #[test]
    fn a_speaker_that_is_lent_is_guarded_on_the_page_of_the_other_daemon_and_no_more_on_this_one() {
        let [own, lent] = [(); 2].map(|()| Arc::new(Page::create().expect("a page")));
        let last = Moment::from_nanos(1);
        own.set_advertised(0, Some(last));
        lent.go_on(&own);
        own.hand_on();
        let (orders, received) = channel();
        let thread = std::thread::spawn({
            let own = Arc::clone(&own);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                guard(&runtime.expect("a runtime"), vec![own], vec![every(100)], &received);
            }
        });
        orders.send(Order::Lent(Arc::clone(&lent))).expect("it listens");
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while lent.is_left(0) {
            assert!(std::time::Instant::now() < end, "nobody guards it");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(own.is_left(0), "it says nothing any more");
        drop(orders);
        thread.join().expect("it ends");
    }

    #[test]
    fn a_group_that_is_not_active_is_looked_at_in_time_for_its_first_advertisement() {
        assert_eq!(every(10).look(at(1000), None, at(0)), Look::Wait(at(1025)));
    }
}
