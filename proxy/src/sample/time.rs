//! Dates as text, without a library: the calendar of RFC 9110 §5.6.7 and RFC 3339.

use std::time::{Duration, SystemTime};

use super::text::ShortText;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment in UTC, taken apart.
struct Utc {
    year: u64,
    /// 1..=12
    month: u64,
    /// 1..=31
    day: u64,
    /// 0 is a Thursday.
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
    millisecond: u32,
}

/// Since 1970; 0 for a clock that is before.
pub(super) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `2026-11-22T08:08:46.974Z`
pub(super) fn iso(now: SystemTime) -> ShortText {
    let Utc { year, month, day, hour, minute, second, millisecond, .. } = Utc::of(now);
    ShortText::display(format_args!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
    ))
}

/// `Sun, 22 Nov 2026 08:08:46 GMT`
pub(super) fn http(now: SystemTime) -> ShortText {
    let Utc { year, month, day, weekday, hour, minute, second, .. } = Utc::of(now);
    let (weekday, month) = (DAYS[weekday], MONTHS[usize::try_from(month - 1).unwrap_or(0)]);
    ShortText::display(format_args!(
        "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
    ))
}

impl Utc {
    fn of(now: SystemTime) -> Self {
        let since = since_epoch(now);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_123, "1994-11-06T08:49:37.123Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_795_335_526_974, "2026-11-22T08:18:46.974Z", "Sun, 22 Nov 2026 08:18:46 GMT"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z", "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z", "Mon, 01 Mar 2100 00:00:00 GMT"),
        ];
        for (milliseconds, expected_iso, expected_http) in cases {
            let now = SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
            assert_eq!(std::str::from_utf8(&iso(now)).unwrap(), expected_iso);
            assert_eq!(std::str::from_utf8(&http(now)).unwrap(), expected_http);
        }
    }
}
