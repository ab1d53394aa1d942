//! Durations as people read them: `3 d 4 h`, `2 h 11 m`, `12 s`, `0.4 s`, `1 ms`.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Two units: `3 d 4 h`, `2 h 11 m`, `4 m 10 s`, `12 s`.
pub fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, large_unit, small, small_unit) = match seconds {
        0..MINUTE => return format!("{seconds} s"),
        MINUTE..HOUR => (seconds / MINUTE, "m", seconds % MINUTE, "s"),
        HOUR..DAY => (seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        DAY.. => (seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    };
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// The largest unit alone, for a narrow column: `3 d`.
pub fn short_age(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..MINUTE => format!("{seconds} s"),
        seconds @ MINUTE..HOUR => format!("{} m", seconds / MINUTE),
        seconds @ HOUR..DAY => format!("{} h", seconds / HOUR),
        seconds @ DAY.. => format!("{} d", seconds / DAY),
    }
}

/// With tenths below ten seconds: `0.4 s`.
pub fn fine_age(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{}.{} s", duration.as_secs(), duration.subsec_millis() / 100)
    } else {
        age(duration)
    }
}

/// For how long something took: `<0.1 ms`, `0.4 ms`, `12 ms`, `1.2 s`.
pub fn took(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..100 => "<0.1 ms".to_owned(),
        100..1_000 => format!("0.{} ms", micros / 100),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000.. => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// The same of what was counted in whole milliseconds: `<1 ms`, `12 ms`.
pub fn took_milliseconds(milliseconds: u64) -> String {
    match milliseconds {
        0 => "<1 ms".to_owned(),
        _ => took(Duration::from_millis(milliseconds)),
    }
}

/// With tenths and without its unit: `5.5`.
pub fn milliseconds(duration: Duration) -> String {
    let micros = duration.as_micros();
    format!("{}.{}", micros / 1_000, micros % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_and_short_ages_one() {
        for (seconds, two, one) in [
            (0, "0 s", "0 s"),
            (12, "12 s", "12 s"),
            (60, "1 m", "1 m"),
            (250, "4 m 10 s", "4 m"),
            (7_860, "2 h 11 m", "2 h"),
            (86_400, "1 d", "1 d"),
            (273_600, "3 d 4 h", "3 d"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), two);
            assert_eq!(short_age(Duration::from_secs(seconds)), one);
        }
    }

    #[test]
    fn fine_ages_have_tenths_below_ten_seconds() {
        assert_eq!(fine_age(Duration::from_millis(449)), "0.4 s");
        assert_eq!(fine_age(Duration::from_millis(12_900)), "12 s");
    }

    #[test]
    fn what_took_less_than_a_millisecond_is_not_zero() {
        assert_eq!(took(Duration::from_micros(99)), "<0.1 ms");
        assert_eq!(took_milliseconds(0), "<1 ms");
        assert_eq!(took_milliseconds(8), "8 ms");
        assert_eq!(took(Duration::from_micros(412)), "0.4 ms");
        assert_eq!(took(Duration::from_micros(1_900)), "1 ms");
        assert_eq!(took(Duration::from_millis(1_250)), "1.2 s");
    }

    #[test]
    fn milliseconds_have_tenths() {
        assert_eq!(milliseconds(Duration::ZERO), "0.0");
        assert_eq!(milliseconds(Duration::from_micros(5_580)), "5.5");
        assert_eq!(milliseconds(Duration::from_millis(1_250)), "1250.0");
    }
}
