//! Latencies in buckets whose width grows with the value: each is at most 1.6 % wide, so that a percentile of millions of
//! samples costs a few kilobytes.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// 2^7 values have a bucket of their own; behind that 64 buckets for each power of two.
const EXACT_BITS: u32 = 7;
const HALF: u64 = 1 << (EXACT_BITS - 1);
/// Up to 2^64 - 1 ns.
const BUCKETS: usize = ((64 - EXACT_BITS as usize) + 2) << (EXACT_BITS - 1);

/// See the module.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "BTreeMap<usize, u64>", into = "BTreeMap<usize, u64>")]
pub(crate) struct Histogram {
    counts: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS] }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, time: Duration) {
        self.add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), 1);
    }

    /// `count` samples of so many nanoseconds.
    pub(crate) fn add(&mut self, nanoseconds: u64, count: u64) {
        self.counts[bucket(nanoseconds)] += count;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, more) in self.counts.iter_mut().zip(&other.counts) {
            *mine += more;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What so many of 1,000 samples were not above; `None` where there is none.
    pub(crate) fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let wanted = (self.count() * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_nanos(highest(index)));
            }
        }
        None
    }
}

impl From<BTreeMap<usize, u64>> for Histogram {
    fn from(sparse: BTreeMap<usize, u64>) -> Self {
        let mut histogram = Self::default();
        for (index, count) in sparse {
            if let Some(slot) = histogram.counts.get_mut(index) {
                *slot = count;
            }
        }
        histogram
    }
}

impl From<Histogram> for BTreeMap<usize, u64> {
    fn from(histogram: Histogram) -> Self {
        histogram.counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
    }
}

fn bucket(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(EXACT_BITS);
    usize::try_from(u64::from(shift) * HALF + (value >> shift)).unwrap_or(BUCKETS - 1)
}

/// The highest value of a bucket.
fn highest(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * HALF {
        return index;
    }
    let shift = index / HALF - 1;
    let low = (index - shift * HALF) << shift;
    low + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_ends_at_most_a_64th_above_it() {
        for value in (0..3000).chain([10_000, 1 << 20, 123_456_789, 7 << 40, u64::MAX]) {
            let highest = highest(bucket(value));
            assert!(highest >= value && highest - value <= value / 64, "{value} is in that up to {highest}");
        }
    }

    #[test]
    fn quantiles_of_a_thousand_values_are_those_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(500), None);
        (1..=100).for_each(|value| histogram.add(value, 10));
        let quantile = |per_mille| histogram.quantile(per_mille).map(|time| time.as_nanos());
        assert_eq!(quantile(500), Some(50));
        assert_eq!(quantile(990), Some(99));
        assert_eq!(quantile(999), Some(100));
        assert_eq!(quantile(0), Some(1));
    }

    #[test]
    fn it_survives_json_and_adds_up() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_micros(70));
        histogram.add(1_000_000_000, 3);
        let text = serde_json::to_string(&histogram).unwrap();
        let mut back: Histogram = serde_json::from_str(&text).unwrap();
        assert_eq!(back, histogram);
        back.merge(&histogram);
        assert_eq!(back.count(), 8);
        assert!(text.len() < 40, "{text}");
    }
}
