//! How often an Active answers advertisements that lose.
//!
//! RFC 9568 §6.4.3 wants an advertisement for each, so that the other Active goes. A forger could make us send as much as
//! it sends, so there is an allowance: a few in a row, then one in so many milliseconds. What it can't answer at once it
//! does not leave unanswered: one advertisement at the end of that spacing is the answer to all that came in the meantime,
//! so that no dispute lasts longer than that, however many take part.

use std::time::Duration;

use crate::Moment;

/// Answers in a row.
const BURST: u32 = 8;

/// One more in so long. Less than the shortest interval (10 ms), and little beside the 60 ms that a claim grants a peer.
const SPACING: Duration = Duration::from_millis(5);

/// What is left of the allowance of one virtual router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    left: u32,
    /// Since when the allowance has not grown. In the future: when the answer that was put off is due.
    counted: Moment,
}

/// When a losing advertisement is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    AtOnce,
    /// With whatever else came until then.
    PutOff(Moment),
}

impl Answers {
    pub(super) fn new(now: Moment) -> Self {
        Self { left: BURST, counted: now }
    }

    /// When to answer what has just come. It counts.
    pub(super) fn take(&mut self, now: Moment) -> Answer {
        if self.counted > now {
            return Answer::PutOff(self.counted);
        }
        while self.left < BURST && self.counted + SPACING <= now {
            self.left += 1;
            self.counted = self.counted + SPACING;
        }
        if self.left == BURST {
            self.counted = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Answer::AtOnce
            }
            None => {
                self.counted = self.counted + SPACING;
                Answer::PutOff(self.counted)
            }
        }
    }
}
