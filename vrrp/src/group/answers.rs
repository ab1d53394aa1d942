//! How often an Active answers advertisements that lose.
//!
//! RFC 9568 §6.4.3 wants an advertisement for each, so that the other Active goes. A forger could make us send as much as
//! it sends, so there is an allowance: a few in a row, then as many as ordinary advertisements. That lasts for every
//! dispute that is one, since another Active sends no more than that; also while it does not hear us.

use std::time::Duration;

use crate::Moment;

/// Answers in a row.
const BURST: u32 = 8;

/// What is left of the allowance of one virtual router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    /// One more in so long.
    spacing: Duration,
    left: u32,
    /// Since when the allowance has not grown.
    counted: Moment,
}

impl Answers {
    /// `interval` is our own.
    pub(super) fn new(now: Moment, interval: Duration) -> Self {
        Self { spacing: interval, left: BURST, counted: now }
    }

    /// Whether to answer; if so it counts.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        while self.left < BURST && self.counted + self.spacing <= now {
            self.left += 1;
            self.counted = self.counted + self.spacing;
        }
        if self.left == BURST {
            self.counted = now;
        }
        let any = self.left > 0;
        self.left = self.left.saturating_sub(1);
        any
    }
}
