//! How much of its weight and of its `maxconn` a server gets after it came back.
//!
//! Caches are cold and pools empty right after a start; the full share at once can take a server down again. The share
//! grows linearly over `slowstart`, in [`Share::FULL`] steps that the control side makes ([`step`]); a request sees
//! only the snapshot. Never at the start of the process: nothing says that the servers have just started as well.

use std::time::Duration;

/// A part of the whole, in [`Share::FULL`] parts; the whole by default.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Share(u8);

impl Default for Share {
    fn default() -> Self {
        Self(Self::FULL)
    }
}

impl Share {
    /// The whole; as many steps as HAProxy makes.
    pub(crate) const FULL: u8 = 20;

    /// Of a server that has been up for `up`. At least one part, so that it gets requests at all.
    pub(crate) fn after(up: Duration, slowstart: Duration) -> Self {
        if up >= slowstart {
            return Self::default();
        }
        let parts = up.as_nanos() * u128::from(Self::FULL) / slowstart.as_nanos();
        Self(u8::try_from(parts).unwrap_or(Self::FULL).max(1))
    }

    /// Nothing is missing.
    pub(crate) fn is_full(self) -> bool {
        self.0 == Self::FULL
    }

    /// In percent, rounded down.
    pub(crate) fn percent(self) -> u8 {
        self.0 * (100 / Self::FULL)
    }

    /// In units of 1 / [`Self::FULL`].
    pub(crate) fn of_weight(self, weight: u16) -> u32 {
        u32::from(weight) * u32::from(self.0)
    }

    /// At least 1.
    pub(crate) fn of_maxconn(self, maxconn: u32) -> u32 {
        let part = u64::from(maxconn) * u64::from(self.0) / u64::from(Self::FULL);
        u32::try_from(part).unwrap_or(maxconn).max(1)
    }
}

/// Between two steps.
pub(crate) fn step(slowstart: Duration) -> Duration {
    (slowstart / u32::from(Share::FULL)).max(Duration::from_millis(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_grows_with_the_time_since_a_server_came_up() {
        let slowstart = Duration::from_secs(20);
        let after = |seconds| Share::after(Duration::from_secs(seconds), slowstart);
        assert_eq!(after(0).percent(), 5);
        assert_eq!(after(1).percent(), 5);
        assert_eq!(after(10).percent(), 50);
        assert_eq!(after(19).percent(), 95);
        assert!(after(20).is_full());
        assert!(Share::after(Duration::ZERO, Duration::ZERO).is_full());
        assert_eq!(step(slowstart), Duration::from_secs(1));
    }

    #[test]
    fn share_of_a_limit_is_never_nothing() {
        let little = Share::after(Duration::ZERO, Duration::from_secs(1));
        assert_eq!(little.of_maxconn(100), 5);
        assert_eq!(little.of_maxconn(3), 1);
        assert_eq!(Share::default().of_maxconn(3), 3);
        assert_eq!((little.of_weight(7), Share::default().of_weight(7)), (7, 140));
    }
}
