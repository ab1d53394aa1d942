//! Medians, ratios and how far they are spread.

use std::fmt;

/// `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// A ratio, and between what the middle half of all rounds was, of three rounds all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Ratio {
    /// Of the medians of both, and of each round by itself: what disturbed a round disturbed both sides of it.
    pub(crate) fn of(mine: &[f64], other: &[f64]) -> Option<Self> {
        let whole = median(mine.iter().copied())? / median(other.iter().copied())?;
        let mut rounds: Vec<f64> = mine.iter().zip(other).map(|(mine, other)| mine / other).collect();
        rounds.sort_unstable_by(f64::total_cmp);
        let last = rounds.len().checked_sub(1)?;
        let outer = rounds.len() / 4;
        let (low, high) = (rounds[outer], rounds[last - outer]);
        whole.is_finite().then_some(Self { median: whole, low: low.min(whole), high: high.max(whole) })
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2} to {:.2})", self.median, self.low, self.high)
    }
}

/// With three digits that count, and commas: `12,345`, `1.25`, `0.043`.
pub(crate) fn short(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), String::new()), |(whole, rest)| (whole, format!(".{rest}")));
    let mut with_commas = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0
            && (whole.len() - index) % 3 == 0
            && digit.is_ascii_digit()
            && !with_commas.ends_with('-')
        {
            with_commas.push(',');
        }
        with_commas.push(digit);
    }
    with_commas + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_it() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_ratio_knows_the_rounds_that_it_is_made_of() {
        let ratio = Ratio::of(&[1.0, 2.0, 3.0], &[2.0, 2.0, 4.0]).unwrap();
        assert_eq!(ratio, Ratio { median: 1.0, low: 0.5, high: 1.0 });
        assert_eq!(ratio.to_string(), "1.00 (0.50 to 1.00)");
        let many = Ratio::of(&[9.0, 1.0, 2.0, 3.0, 4.0], &[1.0; 5]).unwrap();
        assert_eq!((many.low, many.high), (2.0, 4.0), "the lowest and the highest fourth are left out");
        assert_eq!(Ratio::of(&[1.0], &[]), None);
        assert_eq!(Ratio::of(&[1.0], &[0.0]), None);
    }

    #[test]
    fn figures_are_as_long_as_they_are_worth() {
        let texts = [
            (0.0431, "0.043"),
            (1.249, "1.25"),
            (12.34, "12.3"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
        ];
        for (value, text) in texts {
            assert_eq!(short(value), text);
        }
    }
}
