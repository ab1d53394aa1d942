//! Speakers that are lost one after the other.

use std::time::Duration;

use lb_vrrp::Moment;
use serde::{Deserialize, Serialize};

/// Those that are lost within this after the one before are of its streak.
pub(in crate::daemon) const PAUSE: Duration = Duration::from_secs(300);

/// So many are a problem of the status. From then on they are no longer told one by one, and nothing that they say is logged twice.
pub(in crate::daemon) const MANY: u64 = 4;

/// See the module.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(in crate::daemon) struct Streak {
    /// The first and the last one.
    lost: Option<(Moment, Moment)>,
    pub(in crate::daemon) count: u64,
}

impl Streak {
    /// One more was lost; is it the first of another streak?
    pub(in crate::daemon) fn take(&mut self, at: Moment) -> bool {
        match &mut self.lost {
            Some((_, last)) if at.saturating_since(*last) < PAUSE => *last = at,
            _ => *self = Self { lost: Some((at, at)), count: 0 },
        }
        self.count += 1;
        self.count == 1
    }

    /// Since when, and how many, if they are many and it goes on.
    pub(in crate::daemon) fn is_long(&self, now: Moment) -> Option<(Moment, u64)> {
        let (first, last) = self.lost?;
        (self.count >= MANY && now.saturating_since(last) < PAUSE).then_some((first, self.count))
    }
}
