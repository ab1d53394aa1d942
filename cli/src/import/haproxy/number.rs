//! Comparisons of numbers as expressions over their digits: our conditions compare texts.

use super::{
    acl::Test,
    directive::{Fault, shown},
};

/// The ranges of a test: `gt 5`, `10:20`, `7`. No end is no limit.
pub(super) fn ranges(test: &Test) -> Result<Vec<(u64, Option<u64>)>, Fault> {
    if test.patterns.is_empty() {
        return Err(Fault::at(
            &test.word,
            format!("`{}` is compared with no number", shown(&test.word.text)),
        ));
    }
    let mut ranges = Vec::new();
    for pattern in &test.patterns {
        let text = pattern.word.text.as_str();
        let wrong = || {
            Fault::at(
                &pattern.word,
                format!("`{}` is no number of 0 and more, and no range as in 1:5", shown(text)),
            )
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let range = match (test.operator.as_deref(), text.split_once(':')) {
            (None | Some("eq"), Some((low, high))) => {
                let low = if low.is_empty() { 0 } else { number(low)? };
                let high = if high.is_empty() { None } else { Some(number(high)?) };
                Some((low, high))
            }
            (Some(_), Some(_)) => return Err(wrong()),
            (operator, None) => {
                let number = number(text)?;
                match operator {
                    Some("ge") => Some((number, None)),
                    Some("gt") => number.checked_add(1).map(|low| (low, None)),
                    Some("le") => Some((0, Some(number))),
                    Some("lt") => number.checked_sub(1).map(|high| (0, Some(high))),
                    _ => Some((number, Some(number))),
                }
            }
        };
        ranges.extend(range.filter(|(low, high)| high.is_none_or(|high| *low <= high)));
    }
    Ok(ranges)
}

/// Numbers of `low` and more.
pub(super) fn at_least(low: u64) -> String {
    let digits = low.to_string();
    let mut parts = vec![format!("[1-9][0-9]{{{},}}", digits.len())];
    for (at, digit) in digits.bytes().enumerate().filter(|(_, digit)| *digit < b'9') {
        parts.push(format!("{}{}{}", &digits[..at], class(digit + 1, b'9'), any(digits.len() - at - 1)));
    }
    parts.push(digits);
    format!("^0*(?:{})$", parts.join("|"))
}

/// Numbers up to `high`.
pub(super) fn at_most(high: u64) -> String {
    let digits = high.to_string();
    let mut parts = Vec::new();
    if digits.len() > 1 {
        parts.push(format!("[0-9]{{1,{}}}", digits.len() - 1));
    }
    for (at, digit) in digits.bytes().enumerate().filter(|(_, digit)| *digit > b'0') {
        parts.push(format!("{}{}{}", &digits[..at], class(b'0', digit - 1), any(digits.len() - at - 1)));
    }
    parts.push(digits);
    format!("^0*(?:{})$", parts.join("|"))
}

fn class(from: u8, to: u8) -> String {
    if from == to {
        char::from(from).to_string()
    } else {
        format!("[{}-{}]", char::from(from), char::from(to))
    }
}

fn any(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => "[0-9]".into(),
        count => format!("[0-9]{{{count}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_compare_as_numbers_do() {
        let numbers = [0, 1, 5, 9, 10, 11, 19, 42, 99, 100, 101, 999, 1_000, 1_048_576, 65_535, u64::MAX];
        for limit in numbers {
            let (least, most) =
                (regex::Regex::new(&at_least(limit)).unwrap(), regex::Regex::new(&at_most(limit)).unwrap());
            for number in numbers.into_iter().chain([limit.saturating_sub(1), limit.saturating_add(1)]) {
                for text in [number.to_string(), format!("00{number}")] {
                    assert_eq!(least.is_match(&text), number >= limit, "{text} >= {limit}: {least}");
                    assert_eq!(most.is_match(&text), number <= limit, "{text} <= {limit}: {most}");
                }
            }
            for text in ["", "x", "-1", "1x", " 1"] {
                assert!(!least.is_match(text) && !most.is_match(text), "{text} and {limit}");
            }
        }
    }
}
