//! A thread that takes the addresses of a group away when nobody has advertised it for 2.5 intervals: its speaker is dead or does
//! not move, the next one is not up yet, and another node claims them after three.
//!
//! It goes by the shared page alone, so it does not depend on the daemon's loop; and it and a new speaker agree there, by one
//! atomic word for each group, which of them is to go on: [`Page::withdraw`], [`Page::take_over`].

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::Duration,
};

use lb_vrrp::{GroupConfig, Moment, VirtualAddress, io::withdraw};

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
    orders: Sender<Vec<Guarded>>,
    guarded: Mutex<Vec<Guarded>>,
}

/// What is watched of a group; its place is that on the page.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Guarded {
    /// The shortest of its members.
    interval: Duration,
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
        privileges::start_guard(&settings.launcher, settings.is_unconfined, move || {
            guard(&page, groups, &received);
        })?;
        Ok(Self { orders, guarded: guarded.into() })
    }

    /// The speaker goes by these.
    pub(super) fn watch(&self, groups: &[GroupConfig]) {
        self.tell(|guarded| *guarded = groups.iter().map(Guarded::of).collect());
    }

    /// The speaker is told these, and goes by them or by those of before for a moment.
    pub(super) fn expect(&self, groups: &[GroupConfig]) {
        self.tell(|guarded| {
            for (known, next) in guarded.iter_mut().zip(groups.iter().map(Guarded::of)) {
                known.interval = known.interval.max(next.interval);
                known.addresses.extend(next.addresses);
            }
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Vec<Guarded>)) {
        let mut guarded = self.guarded.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut guarded);
        // An error means that it could not be what it should be.
        let _ = self.orders.send(guarded.clone());
    }
}

impl Guarded {
    fn of(group: &GroupConfig) -> Self {
        let shortest = group.members.iter().map(|member| member.interval.get()).min();
        let addresses = group.members.iter().flat_map(|member| &member.addresses);
        Self {
            interval: shortest.unwrap_or(Duration::from_secs(1)),
            addresses: addresses.map(|address| address.address).collect(),
        }
    }

    /// `last`: when the group last advertised, if it is Active and no new speaker has taken it over. A speaker whose `beat` is younger
    /// than an interval is awake: it goes by the clock itself.
    fn look(&self, now: Moment, last: Option<Moment>, beat: Moment) -> Look {
        let limit = self.interval * 5 / 2;
        let Some(last) = last else { return Look::Wait(now + limit) };
        let due = (last + limit).max(beat + self.interval);
        if now > due { Look::Overdue { last } } else { Look::Wait(due + Duration::from_micros(10)) }
    }
}

fn guard(page: &Page, mut groups: Vec<Guarded>, orders: &Receiver<Vec<Guarded>>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    // How often in a row, until a speaker has said so to the others.
    let mut rounds = 0;
    loop {
        let now = Moment::now();
        let mut next = now + IDLE;
        let (mut overdue, mut addresses) = (None, Vec::new());
        for (index, group) in groups.iter().enumerate() {
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
            Ok(others) => groups = others,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
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
        Guarded { interval: Duration::from_millis(millis), addresses: Vec::new() }
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

    #[test]
    fn a_group_that_is_not_active_or_taken_over_is_looked_at_in_time_for_its_first_advertisement() {
        assert_eq!(every(10).look(at(1000), None, at(0)), Look::Wait(at(1025)));
    }
}
