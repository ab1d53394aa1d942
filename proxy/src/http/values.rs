//! The values of a line that is a list (RFC 9110 §5.6.1): they stand between commas that are not in quotes.

use std::ops::Range;

/// Where each value of a line stands, without the white space around it. An empty line is one empty value, as in HAProxy.
pub(crate) struct Values<'l> {
    line: &'l [u8],
    /// Where the next begins; `None` behind the last.
    next: Option<usize>,
}

impl<'l> Values<'l> {
    pub(crate) fn of(line: &'l [u8]) -> Self {
        Self { line, next: Some(0) }
    }
}

impl Iterator for Values<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.next?;
        let (mut is_quoted, mut is_escaped) = (false, false);
        let comma = self.line[start..].iter().position(|&byte| {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' => return !is_quoted,
                _ => {}
            }
            false
        });
        let end = comma.map_or(self.line.len(), |length| start + length);
        self.next = comma.map(|_| end + 1);
        let value = &self.line[start..end];
        let blank = value.len() - value.trim_ascii_start().len();
        Some(start + blank..start + blank + value.trim_ascii().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_are_of_the_value() {
        for (line, expected) in [
            ("a, b ,c", &["a", "b", "c"][..]),
            ("", &[""]),
            (" a ", &["a"]),
            ("a,,", &["a", "", ""]),
            (r#"a="x,y", b"#, &[r#"a="x,y""#, "b"]),
            (r#""x\",y",b"#, &[r#""x\",y""#, "b"]),
            (r#""x,y"#, &[r#""x,y"#]),
        ] {
            let found: Vec<_> = Values::of(line.as_bytes()).map(|place| &line[place]).collect();
            assert_eq!(found, expected, "{line}");
        }
    }
}
