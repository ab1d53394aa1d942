//! Dates as text: RFC 9110 §5.6.7 and RFC 3339.

use std::time::{Duration, SystemTime};

use super::text::ShortText;
use crate::calendar::{Civil, DAYS};

/// Since 1970; 0 for a clock that is before.
pub(super) fn since_epoch(now: SystemTime) -> Duration {
    now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `2026-11-22T08:08:46.974Z`
pub(super) fn iso(now: SystemTime) -> ShortText {
    let Civil { year, month, day, hour, minute, second, millisecond, .. } = Civil::of(since_epoch(now));
    ShortText::display(format_args!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"
    ))
}

/// `Sun, 22 Nov 2026 08:08:46 GMT`
pub(super) fn http(now: SystemTime) -> ShortText {
    let civil = Civil::of(since_epoch(now));
    let Civil { year, day, weekday, hour, minute, second, .. } = civil;
    let (weekday, month) = (DAYS[weekday], civil.month_name());
    ShortText::display(format_args!(
        "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
    ))
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
