//! How much of a worker's time compression takes, and when that is enough.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// Over which it is measured: the part of it that runs, and as much of the one before as makes it whole.
const PERIOD: Duration = Duration::from_millis(100);

/// The time that compression takes of one thread.
#[derive(Debug)]
pub(super) struct Share {
    percent: Cell<u8>,
    began: Cell<Instant>,
    current: Cell<Duration>,
    previous: Cell<Duration>,
}

impl Share {
    /// Without a limit.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            percent: Cell::new(100),
            began: Cell::new(now),
            current: Cell::default(),
            previous: Cell::default(),
        }
    }

    /// It may be so many percent from now on.
    pub(super) fn limit(&self, percent: u8) {
        self.percent.set(percent);
    }

    /// Is there a limit? Else nothing needs to be measured.
    pub(super) fn is_limited(&self) -> bool {
        self.percent.get() < 100
    }

    /// So much was spent up to `now`.
    pub(super) fn spend(&self, now: Instant, spent: Duration) {
        self.turn(now);
        self.current.set(self.current.get() + spent);
    }

    /// Is it as much as it may be?
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        self.turn(now);
        let left = PERIOD.saturating_sub(now.saturating_duration_since(self.began.get()));
        let before = self.previous.get().as_nanos() * left.as_nanos() / PERIOD.as_nanos();
        let spent = self.current.get().as_nanos() + before;
        self.is_limited() && spent * 100 >= PERIOD.as_nanos() * u128::from(self.percent.get())
    }

    fn turn(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.began.get());
        if elapsed < PERIOD {
            return;
        }
        let current = self.current.take();
        if elapsed < PERIOD * 2 {
            self.previous.set(current);
            self.began.set(self.began.get() + PERIOD);
        } else {
            self.previous.set(Duration::ZERO);
            self.began.set(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_is_that_of_the_last_period() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let share = Share::new(start);
        share.limit(50);
        share.spend(at(30), Duration::from_millis(30));
        assert!(!share.is_spent(at(30)));
        share.spend(at(50), Duration::from_millis(20));
        assert!(share.is_spent(at(50)) && share.is_spent(at(99)));
        // 50 ms before, of which the window still covers nine tenths, then half.
        assert!(!share.is_spent(at(110)));
        share.spend(at(115), Duration::from_millis(5));
        assert!(!share.is_spent(at(115)));
        share.spend(at(120), Duration::from_millis(5));
        assert!(share.is_spent(at(120)) && !share.is_spent(at(121)));
        // What is long past does not count.
        share.spend(at(150), Duration::from_millis(100));
        assert!(share.is_spent(at(150)) && share.is_spent(at(200)) && !share.is_spent(at(360)));
    }

    #[test]
    fn nothing_is_too_much_without_a_limit_and_all_of_it_with_none_allowed() {
        let start = Instant::now();
        let share = Share::new(start);
        share.spend(start, PERIOD * 2);
        assert!(!share.is_limited() && !share.is_spent(start));
        share.limit(0);
        assert!(share.is_limited() && share.is_spent(start + PERIOD * 10));
    }
}
