//! Moments taken apart, without a library.

use std::time::Duration;

/// From a Thursday on.
pub(crate) const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    /// 1..=12
    pub(crate) month: u64,
    /// 1..=31
    pub(crate) day: u64,
    /// 0 is a Thursday.
    pub(crate) weekday: usize,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
    pub(crate) millisecond: u32,
}

impl Civil {
    /// `since` 1970, in whatever zone.
    pub(crate) fn of(since: Duration) -> Self {
        let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Civil from days, for dates after 1970 (Howard Hinnant): years begin in March, so that a leap day is the last.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month,
            day: of_year - (153 * from_march + 2) / 5 + 1,
            weekday: usize::try_from(days % 7).unwrap_or(0),
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            millisecond: since.subsec_millis(),
        }
    }

    /// `Nov`
    pub(crate) fn month_name(&self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or_default()
    }
}
