//! Is a server up? The pure half: when to check it, and what its results amount to.
//!
//! ```text
//! Checker::poll_timeout ──> the driver sleeps ──> handle_timeout ──> probe ──> handle_result ──> Verdict
//!        ▲                                                                          │
//!        └──────────────────────────────────────────────────────────────────────────┘
//! ```
//! One counter holds everything, as in HAProxy: 0 ..= rise + fall - 1, up from `rise` on. A success adds one, and one
//! that reaches `rise` fills it; a failure takes one, and one that falls below `rise` empties it. So it takes `fall`
//! failures in a row to go down and `rise` successes in a row to come up. The first result alone decides: a server
//! that fails its first check was never up, one that passes it is.

pub(crate) mod board;
pub(crate) mod probe;
pub(crate) mod routing;
pub(crate) mod slowstart;

use std::time::Duration;

/// The moments between two checks lie this share of the interval (1 / 20) around it, so that the checks of many
/// servers, and of two nodes, do not stay in step.
const JITTER: u32 = 20;

/// The machine behind one server's checks. Times are those of the caller's clock; it may start anywhere.
#[derive(Clone, Debug)]
pub struct Checker {
    interval: Duration,
    rise: u32,
    fall: u32,
    level: u32,
    is_known: bool,
    due: Duration,
    is_probing: bool,
    last: Option<(bool, u32)>,
    random: u64,
}

/// A server's state has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is up.
    Up,
    /// It is down.
    Down,
}

impl Checker {
    /// A checker whose first check is due at `now`. `seed` decides the jitter; `rise` and `fall` count from 1.
    pub fn new(interval: Duration, rise: u32, fall: u32, seed: u64, now: Duration) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Self {
            interval,
            rise,
            fall,
            // One below up and the least above empty: the first result goes all the way.
            level: rise - 1,
            is_known: false,
            due: now,
            is_probing: false,
            last: None,
            random: seed,
        }
    }

    /// When the next check is due; `None` while one is under way, so that two never overlap.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        (!self.is_probing).then_some(self.due)
    }

    /// The time has come: true if a check has to be made now. The one after it is due an interval from now.
    #[must_use]
    pub fn handle_timeout(&mut self, now: Duration) -> bool {
        if self.is_probing || now < self.due {
            return false;
        }
        self.is_probing = true;
        self.due = now + self.jittered_interval();
        true
    }

    /// The check under way has ended. A verdict only when the state changes (or becomes known).
    pub fn handle_result(&mut self, now: Duration, passed: bool) -> Option<Verdict> {
        self.is_probing = false;
        self.due = self.due.max(now);
        let in_a_row = self.last.filter(|&(last, _)| last == passed).map_or(0, |(_, count)| count);
        self.last = Some((passed, in_a_row.saturating_add(1)));
        let was_up = self.is_up();
        if passed {
            self.level += 1;
            if self.level >= self.rise {
                self.level = self.rise + self.fall - 1;
            }
        } else {
            self.level = self.level.saturating_sub(1);
            if self.level < self.rise {
                self.level = 0;
            }
        }
        debug_assert!(self.level < self.rise + self.fall);
        let changed = !self.is_known || was_up != self.is_up();
        self.is_known = true;
        changed.then(|| if self.is_up() { Verdict::Up } else { Verdict::Down })
    }

    /// By all results so far.
    pub fn is_up(&self) -> bool {
        self.level >= self.rise
    }

    /// How many of the last results were the same.
    pub fn in_a_row(&self) -> u32 {
        self.last.map_or(0, |(_, count)| count)
    }

    fn jittered_interval(&mut self) -> Duration {
        let span = self.interval / JITTER * 2;
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let offset = if nanos == 0 { 0 } else { self.next_random() % nanos };
        self.interval - span / 2 + Duration::from_nanos(offset)
    }

    /// SplitMix64: small, and good enough to spread checks.
    fn next_random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict::*, *};

    const SECOND: Duration = Duration::from_secs(1);

    fn results(rise: u32, fall: u32, passed: &[bool]) -> Vec<Option<Verdict>> {
        let mut checker = Checker::new(SECOND, rise, fall, 1, Duration::ZERO);
        passed.iter().map(|&passed| checker.handle_result(Duration::ZERO, passed)).collect()
    }

    #[test]
    fn first_result_alone_decides() {
        assert_eq!(results(3, 5, &[true]), [Some(Up)]);
        assert_eq!(results(3, 5, &[false]), [Some(Down)]);
    }

    #[test]
    fn server_goes_down_after_fall_failures_in_a_row_and_not_before() {
        assert_eq!(
            results(2, 3, &[true, false, false, true, false, false, false, false]),
            [Some(Up), None, None, None, None, None, Some(Down), None]
        );
    }

    #[test]
    fn server_comes_up_after_rise_successes_in_a_row_and_not_before() {
        assert_eq!(
            results(2, 3, &[false, true, false, true, true, true]),
            [Some(Down), None, None, None, Some(Up), None]
        );
    }

    #[test]
    fn first_check_is_due_at_once_and_the_next_an_interval_later() {
        let mut checker = Checker::new(20 * SECOND, 2, 3, 7, 5 * SECOND);
        assert_eq!(checker.poll_timeout(), Some(5 * SECOND));
        assert!(checker.handle_timeout(5 * SECOND));
        checker.handle_result(6 * SECOND, true);
        let due = checker.poll_timeout().unwrap();
        assert!((24 * SECOND..26 * SECOND).contains(&due), "{due:?}");
        assert!(!checker.handle_timeout(23 * SECOND));
    }

    #[test]
    fn checks_never_overlap() {
        let mut checker = Checker::new(SECOND, 2, 3, 7, Duration::ZERO);
        assert!(checker.handle_timeout(Duration::ZERO));
        assert_eq!(checker.poll_timeout(), None);
        assert!(!checker.handle_timeout(10 * SECOND));
        checker.handle_result(10 * SECOND, false);
        assert_eq!(checker.poll_timeout(), Some(10 * SECOND));
    }

    #[test]
    fn results_in_a_row_are_counted() {
        let mut checker = Checker::new(SECOND, 2, 3, 7, Duration::ZERO);
        let counts: Vec<_> = [true, true, false, false, false, true]
            .map(|passed| {
                checker.handle_result(Duration::ZERO, passed);
                checker.in_a_row()
            })
            .to_vec();
        assert_eq!(counts, [1, 2, 1, 2, 3, 1]);
    }
}
