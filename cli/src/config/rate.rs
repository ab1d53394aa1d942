//! The text form of a rate: so many in so much time, `100/10s`.

use std::{num::NonZeroU32, ops::RangeInclusive, time::Duration};

use lb_proxy::table::Rate;

use super::text;

/// The shortest window is what Retry-After can say; the longest keeps entries for no more than a day.
const PER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(43_200);

/// What a rate looks like, for messages.
pub(crate) const EXPECTED: &str = "a rate, as in \"100/10s\"";

/// A whole number, `/` and a duration from 1s to 12h.
pub(crate) fn read(text: &str) -> Result<Rate, String> {
    let wrong = "is not a rate; write how many in how much time, as in \"100/10s\"";
    let (count, per) = text.split_once('/').ok_or(wrong)?;
    let count = count.parse::<NonZeroU32>().map_err(|_| wrong)?;
    let per = text::duration(per).map_err(|why| format!("ends in a time that {why}"))?;
    if !PER.contains(&per) {
        let (low, high) = (text::write_duration(*PER.start()), text::write_duration(*PER.end()));
        return Err(format!("is over a time that is not {low}..{high}"));
    }
    Ok(Rate { count, per })
}

/// The form that [`read`] reads back.
pub(crate) fn write(rate: Rate) -> String {
    format!("{}/{}", rate.count, text::write_duration(rate.per))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        let rate = read("100/10s").unwrap();
        assert_eq!((rate.count.get(), rate.per), (100, Duration::from_secs(10)));
        assert_eq!(write(rate), "100/10s");
        assert_eq!(write(read("5/60s").unwrap()), "5/1m");
        for wrong in ["100", "0/10s", "-1/1s", "1/10", "1/500ms", "1/13h", "a/1s", "1/", "1.5/1s", "100 / 1s"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
