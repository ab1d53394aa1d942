//! The lab's clock: CLOCK_BOOTTIME, the one that both nodes and the record share.

use lb_vrrp::Moment;
use nix::time::{ClockId, clock_gettime};

/// Now.
#[must_use]
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since Linux 2.6.39");
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Moment::from_nanos(seconds * 1_000_000_000 + nanoseconds)
}
