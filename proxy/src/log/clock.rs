//! The local time of log lines. The zone is asked for once in a quarter of an hour, since no zone changes in between; what
//! a line needs is made once a second.

use std::{
    cell::{Cell, RefCell},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use time::{OffsetDateTime, UtcOffset};

use crate::{
    calendar::Civil,
    http::headers::{Sink, put_number},
};

/// Zones change at multiples of this.
const QUARTER: u64 = 15 * 60;

/// The clock of one thread.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// The quarter of an hour, plus one, and the seconds that the zone is ahead of UTC.
    zone: Cell<(u64, i32)>,
    header: RefCell<Stamp>,
    request: RefCell<Stamp>,
}

/// The text of one second.
#[derive(Debug, Default)]
struct Stamp {
    /// Plus one.
    second: u64,
    text: Vec<u8>,
}

impl Clock {
    /// `Nov 22 08:08:47`
    pub(super) fn put_syslog(&self, now: SystemTime, out: &mut impl Sink) {
        self.put_cached(&self.header, now, out, |civil, text| {
            text.put(civil.month_name().as_bytes());
            text.put(b" ");
            put_padded(civil.day, 2, b' ', text);
            text.put(b" ");
            put_time(civil, text);
        });
    }

    /// `22/Nov/2026:08:08:46`
    pub(super) fn put_seconds(&self, at: SystemTime, out: &mut impl Sink) {
        self.put_cached(&self.request, at, out, put_second);
    }

    /// `974`
    pub(super) fn put_millisecond(&self, at: SystemTime, out: &mut impl Sink) {
        put_padded(since_epoch(at).subsec_millis().into(), 3, b'0', out);
    }

    /// `22/Nov/2026:08:08:46.974`
    pub(super) fn put_milliseconds(&self, at: SystemTime, out: &mut impl Sink) {
        self.put_seconds(at, out);
        out.put(b".");
        self.put_millisecond(at, out);
    }

    /// `22/Nov/2026:08:08:46 +0100`
    pub(super) fn put_clf(&self, at: SystemTime, out: &mut impl Sink) {
        self.put_seconds(at, out);
        out.put(b" ");
        self.put_zone(at, b"", out);
    }

    /// `22/Nov/2026:07:08:46 +0000`, in whatever zone.
    pub(super) fn put_gmt(at: SystemTime, out: &mut impl Sink) {
        put_second(&Civil::of(since_epoch(at)), out);
        out.put(b" +0000");
    }

    /// `2026-11-22T08:08:46.974000+01:00`
    pub(super) fn put_iso(&self, at: SystemTime, out: &mut impl Sink) {
        let civil = &self.civil(at);
        for (number, end) in [(civil.year, b'-'), (civil.month, b'-'), (civil.day, b'T')] {
            put_padded(number, 2, b'0', out);
            out.put(&[end]);
        }
        put_time(civil, out);
        out.put(b".");
        put_padded(since_epoch(at).subsec_micros().into(), 6, b'0', out);
        self.put_zone(at, b":", out);
    }

    /// `+0100`, or with something between hours and minutes.
    pub(super) fn put_zone(&self, at: SystemTime, between: &[u8], out: &mut impl Sink) {
        let ahead = self.ahead(since_epoch(at));
        let minutes = u64::from(ahead.unsigned_abs()) / 60;
        out.put(if ahead < 0 { b"-" } else { b"+" });
        put_padded(minutes / 60, 2, b'0', out);
        out.put(between);
        put_padded(minutes % 60, 2, b'0', out);
    }

    fn put_cached(
        &self,
        stamp: &RefCell<Stamp>,
        at: SystemTime,
        out: &mut impl Sink,
        write: impl FnOnce(&Civil, &mut Vec<u8>),
    ) {
        let second = since_epoch(at).as_secs() + 1;
        let mut stamp = stamp.borrow_mut();
        if stamp.second != second {
            stamp.second = second;
            stamp.text.clear();
            write(&self.civil(at), &mut stamp.text);
        }
        out.put(&stamp.text);
    }

    fn civil(&self, at: SystemTime) -> Civil {
        let since = since_epoch(at);
        let ahead = self.ahead(since);
        let shift = Duration::from_secs(ahead.unsigned_abs().into());
        Civil::of(if ahead < 0 { since.saturating_sub(shift) } else { since + shift })
    }

    /// The seconds that the zone is ahead of UTC.
    fn ahead(&self, since: Duration) -> i32 {
        let quarter = since.as_secs() / QUARTER + 1;
        let (known, ahead) = self.zone.get();
        if known == quarter {
            return ahead;
        }
        let moment =
            i64::try_from(since.as_secs()).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
        let offset = moment.and_then(|moment| UtcOffset::local_offset_at(moment).ok());
        let ahead = offset.map_or(0, UtcOffset::whole_seconds);
        self.zone.set((quarter, ahead));
        ahead
    }
}

#[cfg(test)]
impl Clock {
    /// The zone is so many seconds ahead of UTC at that moment.
    pub(super) fn pretend(&self, at: SystemTime, ahead: i32) {
        self.zone.set((since_epoch(at).as_secs() / QUARTER + 1, ahead));
    }
}

fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `22/Nov/2026:08:08:46`
fn put_second(civil: &Civil, out: &mut impl Sink) {
    put_padded(civil.day, 2, b'0', out);
    out.put(b"/");
    out.put(civil.month_name().as_bytes());
    out.put(b"/");
    put_padded(civil.year, 4, b'0', out);
    out.put(b":");
    put_time(civil, out);
}

fn put_time(civil: &Civil, out: &mut impl Sink) {
    for (number, before) in [(civil.hour, &b""[..]), (civil.minute, b":"), (civil.second, b":")] {
        out.put(before);
        put_padded(number, 2, b'0', out);
    }
}

/// At least so many digits.
fn put_padded(number: u64, digits: u32, pad: u8, out: &mut impl Sink) {
    (1..digits).filter(|&place| number < 10_u64.pow(place)).for_each(|_| out.put(&[pad]));
    put_number(number, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(at: SystemTime, ahead: i32) -> Clock {
        let clock = Clock::default();
        clock.pretend(at, ahead);
        clock
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn moments_are_written_in_the_zone_as_syslog_and_haproxy_have_them() {
        // 2026-11-02 23:08:46.074 UTC
        let at = UNIX_EPOCH + Duration::from_micros(1_793_660_926_074_005);
        let cases = [
            (3_600, "Nov  3 00:08:46", "03/Nov/2026:00:08:46.074", "2026-11-03T00:08:46.074005+01:00"),
            (-12_600, "Nov  2 19:38:46", "02/Nov/2026:19:38:46.074", "2026-11-02T19:38:46.074005-03:30"),
            (0, "Nov  2 23:08:46", "02/Nov/2026:23:08:46.074", "2026-11-02T23:08:46.074005+00:00"),
        ];
        for (ahead, syslog, milliseconds, iso) in cases {
            let clock = clock(at, ahead);
            assert_eq!(text(|out| Clock::put_gmt(at, out)), "02/Nov/2026:23:08:46 +0000");
            // The second time from what is kept.
            for _ in 0..2 {
                assert_eq!(text(|out| clock.put_syslog(at, out)), syslog);
                assert_eq!(text(|out| clock.put_milliseconds(at, out)), milliseconds);
                assert_eq!(text(|out| clock.put_iso(at, out)), iso);
            }
        }
    }

    #[test]
    fn each_second_has_its_own_text() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let clock = clock(at(1_793_660_400), 0);
        let texts =
            [1_793_660_400, 1_793_660_401].map(|second| text(|out| clock.put_syslog(at(second), out)));
        assert_eq!(texts, ["Nov  2 23:00:00", "Nov  2 23:00:01"]);
    }

    /// What is kept of a second or of a zone never outlives it, whichever way the clock goes.
    #[test]
    fn clock_that_jumps_by_an_hour_either_way_is_written_as_it_is() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_millis(1_793_660_400_250 + 1000 * seconds);
        let clock = clock(at(0), 0);
        for (seconds, hour) in [(0, "23"), (3600, "00"), (0, "23"), (3599, "23"), (0, "23")] {
            clock.pretend(at(seconds), 0);
            let (text, iso) =
                (text(|out| clock.put_syslog(at(seconds), out)), text(|out| clock.put_iso(at(seconds), out)));
            let minutes = if seconds == 3599 { "59:59" } else { "00:00" };
            assert_eq!(text.split(' ').next_back(), Some(format!("{hour}:{minutes}").as_str()));
            assert!(iso.contains(&format!("T{hour}:{minutes}.250000")), "{iso}");
        }
    }

    #[test]
    fn numbers_are_padded_and_never_cut() {
        let padded = |number, digits, pad| text(|out| put_padded(number, digits, pad, out));
        assert_eq!(padded(7, 2, b'0'), "07");
        assert_eq!(padded(7, 2, b' '), " 7");
        assert_eq!(padded(0, 3, b'0'), "000");
        assert_eq!(padded(974, 3, b'0'), "974");
        assert_eq!(padded(12_026, 4, b'0'), "12026");
    }
}
