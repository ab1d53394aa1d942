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

/// Numbers that a value begins with, one of several between commas, as HAProxy reads them: `7x` is 7, and what begins
/// with no digit is 0. `is_line`: the line is one value. `any_below`: numbers below 0 are meant as well. `empty`: so is
/// nothing, which is 0.
pub(super) fn of_value(
    (low, high): (u64, Option<u64>),
    is_line: bool,
    any_below: bool,
    empty: bool,
) -> String {
    const END: &str = "(?:[^0-9]|$)";
    let digits = high.map_or_else(|| least(low), |high| between(low, high));
    let mut parts = vec![format!(r"\+?0*(?:{digits}){END}")];
    if low == 0 {
        parts.push(if is_line { "[^-+0-9]" } else { r"[^-+0-9, \t]" }.to_owned());
        parts.push(if any_below { "-".to_owned() } else { "-0*(?:[^0-9]|$)".to_owned() });
        parts.push(r"\+(?:[^0-9]|$)".to_owned());
        if empty {
            parts.push(if is_line { "$" } else { "(?:,|$)" }.to_owned());
        }
    }
    format!("{}(?:{})", begin(is_line), parts.join("|"))
}

/// Numbers below 0, of which `-0` is none.
pub(super) fn below_zero(is_list: bool) -> String {
    format!("{}-0*[1-9]", begin(!is_list))
}

fn begin(is_line: bool) -> &'static str {
    if is_line { "^" } else { r"(?:^|,)[ \t]*" }
}

/// Numbers from `low` to `high`.
pub(super) fn within(low: u64, high: u64) -> String {
    format!("^0*(?:{})$", between(low, high))
}

/// Digits of numbers from `low` to `high`, without zeros before them.
fn between(low: u64, high: u64) -> String {
    let (low, high) = (low.to_string(), high.to_string());
    let mut parts = Vec::new();
    for length in low.len()..=high.len() {
        let from = if length == low.len() {
            low.clone()
        } else {
            format!("1{}", "0".repeat(length.saturating_sub(1)))
        };
        let to = if length == high.len() { high.clone() } else { "9".repeat(length) };
        of_length("", &from, &to, &mut parts);
    }
    parts.join("|")
}

/// Both have as many digits, behind `before`.
fn of_length(before: &str, low: &str, high: &str, parts: &mut Vec<String>) {
    let (Some(from), Some(to)) = (low.bytes().next(), high.bytes().next()) else {
        parts.push(before.to_owned());
        return;
    };
    let (low, high) = (&low[1..], &high[1..]);
    let behind = |digit: u8| format!("{before}{}", char::from(digit));
    if from == to {
        of_length(&behind(from), low, high, parts);
        return;
    }
    let (mut first, mut last) = (from, to);
    if low.bytes().any(|digit| digit != b'0') {
        of_length(&behind(from), low, &"9".repeat(low.len()), parts);
        first += 1;
    }
    if high.bytes().any(|digit| digit != b'9') {
        of_length(&behind(to), &"0".repeat(high.len()), high, parts);
        last -= 1;
    }
    if first <= last {
        parts.push(format!("{before}{}{}", class(first, last), any(low.len())));
    }
}

/// Numbers of `low` and more.
pub(super) fn at_least(low: u64) -> String {
    format!("^0*(?:{})$", least(low))
}

fn least(low: u64) -> String {
    let digits = low.to_string();
    let mut parts = vec![format!("[1-9][0-9]{{{},}}", digits.len())];
    for (at, digit) in digits.bytes().enumerate().filter(|(_, digit)| *digit < b'9') {
        parts.push(format!("{}{}{}", &digits[..at], class(digit + 1, b'9'), any(digits.len() - at - 1)));
    }
    parts.push(digits);
    parts.join("|")
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
    use crate::import::haproxy::regex::compile;

    #[test]
    fn expressions_compare_as_numbers_do() {
        let numbers = [0, 1, 5, 9, 10, 11, 19, 42, 99, 100, 101, 999, 1_000, 1_048_576, 65_535, u64::MAX];
        for limit in numbers {
            let (least, most) = (compile(&at_least(limit)).unwrap(), compile(&at_most(limit)).unwrap());
            for number in numbers.into_iter().chain([limit.saturating_sub(1), limit.saturating_add(1)]) {
                for text in [number.to_string(), format!("00{number}")] {
                    assert_eq!(
                        least.is_match(text.as_bytes()),
                        number >= limit,
                        "{text} >= {limit}: {least}"
                    );
                    assert_eq!(most.is_match(text.as_bytes()), number <= limit, "{text} <= {limit}: {most}");
                }
            }
            for text in ["", "x", "-1", "1x", " 1"] {
                assert!(
                    !least.is_match(text.as_bytes()) && !most.is_match(text.as_bytes()),
                    "{text} and {limit}"
                );
            }
        }
    }

    #[test]
    fn any_value_of_a_list_is_compared_as_the_number_it_begins_with() {
        for (low, high) in [(0, 0), (0, 5), (5, 10), (7, 7), (9, 123), (95, 105), (120, 129), (1, 65_535)] {
            let list =
                |number: u64| [format!("{number}"), format!("x, 00{number}x ,y"), format!("+{number}")];
            let range = compile(&of_value((low, Some(high)), false, false, false)).unwrap();
            for number in (0..200).chain([999, 9_999, 65_534, 65_535, 65_536, 100_000]) {
                for text in list(number).iter().filter(|text| low > 0 || !text.contains('x')) {
                    assert_eq!(
                        range.is_match(text.as_bytes()),
                        (low..=high).contains(&number),
                        "{text} {range}"
                    );
                }
            }
        }
        let from_five = compile(&of_value((5, None), false, false, false)).unwrap();
        let below = compile(&of_value((0, Some(5)), false, true, true)).unwrap();
        for (text, is_from_five, is_below) in [
            ("7, 1", true, true),
            ("3, 99999999", true, true),
            ("7", true, false),
            ("-7", false, true),
            ("abc", false, true),
            ("", false, true),
            ("7,", true, true),
            ("7 8", true, false),
        ] {
            assert_eq!(
                (from_five.is_match(text.as_bytes()), below.is_match(text.as_bytes())),
                (is_from_five, is_below),
                "{text}"
            );
        }
        let zero = compile(&of_value((0, Some(0)), false, false, false)).unwrap();
        for (text, is_zero) in
            [("", false), ("a", true), ("-0", true), ("-1", false), ("1", false), ("0,1", true)]
        {
            assert_eq!(zero.is_match(text.as_bytes()), is_zero, "{text}");
        }
    }
}
