//! How often it is complained of what servers' agents say.

use std::time::Duration;

use tokio::time::Instant;

/// Between two complaints about one agent.
const PAUSE: Duration = Duration::from_secs(60);

/// Bounds what is logged of somebody who says nonsense as fast as they are asked.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Option<Instant>,
    untold: u64,
}

impl Complaints {
    /// May one be told now? Then how many were not, since the last one.
    pub(super) fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            self.untold += 1;
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_one_a_minute_with_the_number_of_those_that_were_not_told() {
        let (start, mut complaints) = (Instant::now(), Complaints::default());
        let told: Vec<_> = [0, 1, 2, 59, 60, 61, 200]
            .map(|second| complaints.tell(start + Duration::from_secs(second)))
            .into_iter()
            .collect();
        assert_eq!(told, [Some(0), None, None, None, Some(3), None, Some(1)]);
    }
}
