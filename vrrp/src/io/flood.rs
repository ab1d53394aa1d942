//! Tells a flood of wrong packets from a wrong packet now and then. No clock, no socket.

use std::time::Duration;

use crate::Moment;

/// So many wrong packets ...
const MANY: u32 = 100;

/// ... in so long are a flood.
const WINDOW: Duration = Duration::from_secs(1);

/// A flood is over when so long no sample of it came through.
const QUIET: Duration = Duration::from_secs(10);

/// The state of one socket.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// When the window began, and wrong packets in it.
    window: Option<Moment>,
    wrong: u32,
    /// The kernel filters strictly; the last sample.
    strict: Option<Moment>,
}

impl Flood {
    /// A wrong packet came. True if a flood begins with it.
    pub(super) fn rejected(&mut self, now: Moment) -> bool {
        if let Some(last) = &mut self.strict {
            *last = now;
            return false;
        }
        if self.window.is_none_or(|began| now.saturating_since(began) >= WINDOW) {
            self.window = Some(now);
            self.wrong = 0;
        }
        self.wrong += 1;
        let begins = self.wrong > MANY;
        if begins {
            self.strict = Some(now);
            self.window = None;
        }
        begins
    }

    /// Whether the kernel filters strictly: a wrong packet is a sample.
    pub(super) fn is_on(&self) -> bool {
        self.strict.is_some()
    }

    /// True once, when a flood is over.
    pub(super) fn ends(&mut self, now: Moment) -> bool {
        let over = self.strict.is_some_and(|last| now.saturating_since(last) >= QUIET);
        if over {
            self.strict = None;
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(1_000_000 * milliseconds)
    }

    #[test]
    fn a_hundred_wrong_packets_in_a_second_are_none_and_one_more_is_a_flood() {
        let mut flood = Flood::default();
        assert!((0..100).all(|index| !flood.rejected(at(5 * index))));
        assert!((0..100).all(|index| !flood.rejected(at(1_000 + 5 * index))), "another second");
        assert!(flood.rejected(at(1_500)));
        assert!(flood.is_on() && !flood.rejected(at(1_501)), "it begins once");
    }

    #[test]
    fn a_flood_is_over_ten_seconds_after_the_last_sample() {
        let mut flood = Flood::default();
        let begins = (0..=100).map(|_| flood.rejected(at(0))).filter(|begins| *begins).count();
        assert_eq!(begins, 1);
        flood.rejected(at(5_000));
        assert!(!flood.ends(at(14_999)));
        assert!(flood.ends(at(15_000)));
        assert!(!flood.is_on() && !flood.ends(at(30_000)), "it ends once");
    }
}
