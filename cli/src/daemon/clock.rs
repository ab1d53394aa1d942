//! The daemon's clock: moments for decisions, wall-clock time for people, and the bridge between the two.

use lb_vrrp::Moment;
use nix::time::{ClockId, clock_gettime};

use crate::control::Timestamp;

/// Nanoseconds of CLOCK_BOOTTIME.
pub(super) fn now() -> Moment {
    // The clock exists since Linux 2.6.39; without it there is no daemon to run.
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists");
    let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec()).unwrap_or_default();
    Moment::from_nanos(seconds * 1_000_000_000 + nanoseconds)
}

/// The same instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instants {
    /// For decisions.
    pub(super) moment: Moment,
    /// For people.
    pub(super) wall: Timestamp,
}

impl Instants {
    /// Reads both clocks.
    pub(super) fn now() -> Self {
        Self { moment: now(), wall: Timestamp::now() }
    }

    /// A past moment as wall-clock time.
    pub(super) fn wall_of(&self, moment: Moment) -> Timestamp {
        self.wall.saturating_sub(self.moment.saturating_since(moment))
    }
}
