//! What the value of a cookie means to a server that undoes all that some server undoes: quotes and the escapes between
//! them (RFC 2109 §4.1), octal digits behind a backslash, percent-encoding. Servers differ on which of these there are, so
//! whoever compares values looks at this one, too.

use crate::http::query;

/// Is there nothing to undo in `value`?
pub(crate) fn is_plain(value: &[u8]) -> bool {
    quoted(value).is_none() && memchr::memchr2(b'%', b'+', value).is_none()
}

/// Appends what `value` means.
pub(crate) fn plain(value: &[u8], out: &mut Vec<u8>) {
    match quoted(value) {
        None => out.extend(query::bytes(value)),
        Some(inner) if memchr::memchr(b'\\', inner).is_none() => out.extend(query::bytes(inner)),
        Some(inner) => out.extend(query::bytes(&unescaped(inner))),
    }
}

/// What stands between the quotes around `value`, if it has them.
fn quoted(value: &[u8]) -> Option<&[u8]> {
    match value {
        [b'"', inner @ .., b'"'] => Some(inner),
        _ => None,
    }
}

fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let (byte, rest) = match (first, rest) {
            (b'\\', [high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', rest @ ..]) => {
                ((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'), rest)
            }
            (b'\\', [escaped, rest @ ..]) => (*escaped, rest),
            _ => (first, rest),
        };
        plain.push(byte);
        text = rest;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_value_mean_the_same() {
        for value in ["a b", "\"a b\"", "a+b", "a%20b", "\"a%20\\b\"", r#""\141\040b""#, r#""\%20b""#] {
            let mut out = Vec::new();
            plain(value.as_bytes(), &mut out);
            let expected = if value.starts_with("\"\\%") { " b" } else { "a b" };
            assert_eq!(out, expected.as_bytes(), "{value}");
            assert_eq!(is_plain(value.as_bytes()), value == "a b", "{value}");
        }
        for value in ["", "\"", "a\"", "\"a", r"\141", "a=b"] {
            let mut out = Vec::new();
            plain(value.as_bytes(), &mut out);
            assert_eq!(out, value.as_bytes());
            assert!(is_plain(value.as_bytes()), "{value}");
        }
        let mut out = Vec::new();
        plain(br#""\477\\\"\""#, &mut out);
        assert_eq!(out, br#"477\"\"#);
    }
}
