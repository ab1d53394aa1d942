//! How many requests may be sent twice, so that servers in trouble don't get a multiple of their load.

use std::cell::Cell;

/// What a retry costs, in units of which each request brings as many as the budget has percent.
const COST: u32 = 100;

/// Retries that may come at once after a calm.
const RESERVE: u32 = 100;

/// The retry budget of one backend on one worker: a share of its requests, and a reserve.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    percent: u32,
    saved: Cell<u32>,
}

impl RetryBudget {
    /// `percent` of the requests; 0 is none, 100 and more is no limit.
    pub(crate) fn new(percent: u32) -> Self {
        Self { percent, saved: Cell::new(if percent == 0 { 0 } else { RESERVE * COST }) }
    }

    /// What it was made with.
    pub(crate) fn percent(&self) -> u32 {
        self.percent
    }

    /// A request came.
    pub(crate) fn request(&self) {
        self.saved.set((self.saved.get() + self.percent).min(RESERVE * COST));
    }

    /// Takes a retry out of it; false if it is used up.
    pub(crate) fn take(&self) -> bool {
        if self.percent >= 100 {
            return true;
        }
        let left = self.saved.get().checked_sub(COST);
        self.saved.set(left.unwrap_or(self.saved.get()));
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_retries_are_a_fifth_of_requests_beyond_the_reserve() {
        let budget = RetryBudget::new(20);
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 100);
        (0..100).for_each(|_| budget.request());
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 20);
    }

    #[test]
    fn budget_of_all_requests_is_no_limit_and_one_of_none_has_no_reserve() {
        let (all, none) = (RetryBudget::new(100), RetryBudget::new(0));
        (0..1000).for_each(|_| none.request());
        assert_eq!((0..1000).filter(|_| all.take()).count(), 1000);
        assert_eq!((0..1000).filter(|_| none.take()).count(), 0);
    }
}
