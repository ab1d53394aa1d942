//! Rule 4: how long a ready node of higher priority waits before it takes the address from a ready Active.

use std::{collections::VecDeque, time::Duration};

use crate::Moment;

/// Moves that are older count no more; also the longest delay.
const WINDOW: Duration = Duration::from_secs(600);

/// The moves of the last ten minutes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Moves(VecDeque<Moment>);

impl Moves {
    /// The address came to this node or left it.
    pub(super) fn record(&mut self, now: Moment) {
        self.0.retain(|at| now.saturating_since(*at) < WINDOW);
        // 2^10 s are more than ten minutes: older moves can't change the delay of any configured second.
        if self.0.len() == 64 {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// `delay`, doubled by each further move within ten minutes, up to ten minutes (or `delay` if that is longer).
    pub(super) fn delay(&self, now: Moment, delay: Duration) -> Duration {
        let recent = self.0.iter().filter(|at| now.saturating_since(**at) < WINDOW).count();
        let doublings = u32::try_from(recent.saturating_sub(1)).unwrap_or(u32::MAX).min(31);
        delay.saturating_mul(1 << doublings).min(WINDOW.max(delay))
    }
}
