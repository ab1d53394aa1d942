//! A point in wall-clock time as the control interface carries it: RFC 3339 in UTC with microseconds: the steps
//! of a move are parts of a millisecond apart.
//!
//! Only for people: nothing in the daemon is decided by it (a clock that jumps changes no election).

use std::{fmt, time::Duration, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use time::{
    OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem,
    format_description::well_known::Rfc3339, macros::format_description,
};

const MICROSECONDS: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// See the module.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// Now, by the machine's wall clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Reads RFC 3339; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        OffsetDateTime::parse(text, &Rfc3339).ok().map(|time| Self(time.to_offset(UtcOffset::UTC)))
    }

    /// Seconds since 1970.
    pub fn unix_seconds(self) -> f64 {
        self.0.unix_timestamp_nanos() as f64 / 1e9
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::try_from(self.0 - earlier.0).unwrap_or(Duration::ZERO)
    }

    /// `duration` after this; the year 9999 at the latest.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let duration = time::Duration::try_from(duration).unwrap_or(time::Duration::MAX);
        Self(self.0.saturating_add(duration))
    }

    /// `duration` before this; the year 0 at the earliest.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let duration = time::Duration::try_from(duration).unwrap_or(time::Duration::MAX);
        Self(self.0.saturating_sub(duration))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(OffsetDateTime::from(time))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.format(MICROSECONDS).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.format(MICROSECONDS).map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_rfc_3339_with_microseconds_and_read_back() {
        let time = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_micros(1_790_000_000_250_100));
        assert_eq!(time.to_string(), "2026-09-21T14:13:20.250100Z");
        assert_eq!(Timestamp::parse("2026-09-21T14:13:20.250100Z"), Some(time));
        assert_eq!(Timestamp::parse("2026-09-21T16:13:20.2501+02:00"), Some(time));
    }

    #[test]
    fn time_since_a_later_moment_is_zero() {
        let early = Timestamp::from(SystemTime::UNIX_EPOCH);
        let late = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!(late.saturating_since(early), Duration::from_secs(5));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
        assert_eq!(late.saturating_sub(Duration::from_secs(5)), early);
    }
}
