//! How many requests may be sent twice, so that servers in trouble don't get a multiple of their load.

use std::cell::Cell;

/// One in so many requests.
const SHARE: u32 = 5;

/// Retries that may come at once after a calm.
const RESERVE: u32 = 100;

/// The retry budget of one worker: a fifth of its requests, and a reserve.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// In units of a request.
    saved: Cell<u32>,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { saved: Cell::new(RESERVE * SHARE) }
    }
}

impl RetryBudget {
    /// A request came.
    pub(crate) fn request(&self) {
        self.saved.set((self.saved.get() + 1).min(RESERVE * SHARE));
    }

    /// Takes a retry out of it; false if it is used up.
    pub(crate) fn take(&self) -> bool {
        let left = self.saved.get().checked_sub(SHARE);
        self.saved.set(left.unwrap_or(self.saved.get()));
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r6_retries_are_a_fifth_of_requests_beyond_the_reserve() {
        let budget = RetryBudget::default();
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 100);
        (0..100).for_each(|_| budget.request());
        assert_eq!((0..1000).filter(|_| budget.take()).count(), 20);
    }
}
