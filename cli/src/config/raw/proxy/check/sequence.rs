//! `check.sequence`: what is sent and what is expected, step by step.

use lb_proxy::config::{CheckKind, Pattern, SequenceStep};
use regex::bytes::Regex;

use crate::config::reader::{At, Value};

const EXPECTED: &str = "a list of steps, as in [{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]";
const STEP: &str = "a step, as in { send = \"PING\\r\\n\" } or { expect = \"+PONG\" }";
const KEYS: [&str; 9] = [
    "connect",
    "send",
    "send_hex",
    "expect",
    "expect_hex",
    "expect_regex",
    "expect_not",
    "expect_not_hex",
    "expect_not_regex",
];

/// Bytes of one step, and steps.
const LONGEST: usize = 4096;
const MOST: usize = 100;

/// Compiled size of a regular expression.
const LARGEST_REGEX: usize = 1 << 20;

pub(super) fn read(value: &Value<'_>) -> Option<At<CheckKind>> {
    let steps = value.list(EXPECTED)?;
    if steps.len() > MOST {
        value.mismatch(&format!(
            "at most {MOST} steps, as in [{{ send = \"PING\\r\\n\" }}, {{ expect = \"+PONG\" }}]"
        ));
        return None;
    }
    let steps: Vec<_> =
        steps.iter().enumerate().filter_map(|(index, value)| step(value, index == 0)).collect();
    let says = steps.iter().any(|step| matches!(step, SequenceStep::Send(_)));
    let expects = steps.iter().any(|step| matches!(step, SequenceStep::Expect(_) | SequenceStep::Refuse(_)));
    if says && !expects {
        value.report_at(
            value.span,
            "the sequence expects nothing; end with what the server answers, as in { expect = \"+PONG\" }",
        );
    }
    Some(At::new(CheckKind::Sequence(steps), value.span))
}

fn step(value: &Value<'_>, is_first: bool) -> Option<SequenceStep> {
    let fields = value.fields("a step of `sequence`".into(), STEP)?;
    let given: Vec<_> = KEYS.iter().filter_map(|key| Some((*key, fields.value(key)?))).collect();
    let report = fields.report;
    fields.finish(|_| None);
    let [(key, step)] = given.as_slice() else {
        if let [_, (_, second), ..] = given.as_slice() {
            report.error(second.span, "a step has one key; write a step for each");
        } else if given.is_empty() {
            report.error(value.span, format!("the step says nothing; it is {STEP}"));
        }
        return None;
    };
    let bytes = || match key.ends_with("_hex") {
        true => step.parsed("bytes in hexadecimal, as in \"50494e47\"", hex),
        false => step.parsed("a text, as in \"PING\\r\\n\"", text),
    };
    let pattern = || {
        let bytes = bytes()?.value;
        Some(if key.ends_with("_hex") { Pattern::Binary(bytes) } else { Pattern::Bytes(bytes) })
    };
    Some(match *key {
        "connect" => {
            if !step.boolean()?.value {
                step.report_at(step.span, "a connection is made in any case; leave `connect` out");
            }
            if !is_first {
                step.report_at(step.span, "a check is one connection; `connect` can be its first step alone");
            }
            SequenceStep::Connect
        }
        "send" | "send_hex" => SequenceStep::Send(bytes()?.value),
        "expect" | "expect_hex" => SequenceStep::Expect(pattern()?),
        "expect_regex" => SequenceStep::Expect(Pattern::Regex(regex(step)?)),
        "expect_not_regex" => SequenceStep::Refuse(Pattern::Regex(regex(step)?)),
        _ => SequenceStep::Refuse(pattern()?),
    })
}

/// A regular expression over bytes; reported where it is wrong or too large.
pub(super) fn regex(value: &Value<'_>) -> Option<Regex> {
    let text = value.string("a regular expression, as in \"^OK\"")?;
    match lb_proxy::expression::builder(&text.value).size_limit(LARGEST_REGEX).build() {
        Ok(regex) => Some(regex),
        Err(regex::Error::CompiledTooBig(_)) => {
            value.wrong("is too large a regular expression; use smaller repetitions");
            None
        }
        Err(error) => {
            // The last line says what is wrong, those before it point into the expression.
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            value.wrong(&format!("is no regular expression: {why}"));
            None
        }
    }
}

pub(in crate::config::raw::proxy) fn text(text: &str) -> Result<Vec<u8>, String> {
    match text.len() {
        0 => Err("is empty; leave it out".into()),
        length if length > LONGEST => Err(format!("is longer than {LONGEST} bytes")),
        _ => Ok(text.as_bytes().to_vec()),
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b' ').collect();
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err("is not hexadecimal; write two digits for each byte, as in \"0d0a\"".into());
    }
    if digits.len() > 2 * LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    let byte =
        |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    Ok(digits.chunks(2).filter_map(byte).collect())
}
