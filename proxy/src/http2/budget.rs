//! What a client may do that costs us something and gets it nothing: resets, pings, empty frames. HAProxy calls them glitches.
//!
//! Some of it is ordinary: a browser that leaves a page resets all that it had asked for. So each costs a point, points come
//! back with time, and who has none left is disconnected (RFC 9113 §10.5).

/// Points of a connection that behaves.
const FULL: u32 = 1000;

/// Points that come back each tick of the wheel (a tenth of a second).
const BACK: u64 = 5;

/// WINDOW_UPDATE frames that may answer each DATA frame of ours: one for its stream, one for the connection, and as many again.
const UPDATES: u32 = 4;

/// Of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    points: u32,
    /// The tick at which it was as full as it is.
    at: u64,
    /// Updates of windows that are due.
    updates: u32,
}

impl Budget {
    pub(super) fn new(now: u64) -> Self {
        Self { points: FULL, at: now, updates: 100 }
    }

    /// Costs so many points; is that too much?
    pub(super) fn spend(&mut self, points: u32, now: u64) -> bool {
        let back = now.saturating_sub(self.at).saturating_mul(BACK);
        self.at = self.at.max(now);
        self.points = self.points.saturating_add(u32::try_from(back).unwrap_or(FULL)).min(FULL);
        match self.points.checked_sub(points) {
            Some(left) => {
                self.points = left;
                false
            }
            None => true,
        }
    }

    /// A DATA frame was sent.
    pub(super) fn sent_data(&mut self) {
        self.updates = self.updates.saturating_add(UPDATES).min(10_000);
    }

    /// A window was updated: does it cost a point?
    pub(super) fn is_update_idle(&mut self) -> bool {
        match self.updates.checked_sub(1) {
            Some(left) => {
                self.updates = left;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_used_up_and_come_back() {
        let mut budget = Budget::new(7);
        assert!((0..FULL).all(|_| !budget.spend(1, 7)));
        assert!(budget.spend(1, 7));
        assert!(!budget.spend(u32::try_from(BACK).unwrap(), 8));
        assert!(budget.spend(1, 8));
        assert!(!budget.spend(FULL, 8 + u64::from(FULL)));
        assert!(budget.spend(1, 0));
    }

    #[test]
    fn updates_that_answer_data_are_free() {
        let mut budget = Budget::new(0);
        assert!((0..100).all(|_| !budget.is_update_idle()));
        assert!(budget.is_update_idle());
        budget.sent_data();
        assert!((0..UPDATES).all(|_| !budget.is_update_idle()));
        assert!(budget.is_update_idle());
    }
}
