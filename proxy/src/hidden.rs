//! Characters that nobody sees: others choose what stands in names, heads and answers, and people look at it.

use crate::{hex, http::headers::Sink};

/// Does the character show nothing, or change how others are shown (Unicode's categories Cc and Cf)? A log, a
/// page or a terminal that repeats it would not show what was said, or would obey it.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x600..=0x605
                | 0x61c
                | 0x6dd
                | 0x70f
                | 0x890..=0x891
                | 0x8e2
                | 0x180e
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0xfeff
                | 0xfff9..=0xfffb
                | 0x110bd
                | 0x110cd
                | 0x13430..=0x1343f
                | 0x1bca0..=0x1bca3
                | 0x1d173..=0x1d17a
                | 0xe0001
                | 0xe0020..=0xe007f
        )
}

/// Between the quotes of a JSON string (RFC 8259 §7): `\u009b`, beyond U+FFFF two of these.
pub(crate) fn put_json_escape(c: char, out: &mut impl Sink) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.put(b"\\u");
        for byte in unit.to_be_bytes() {
            out.put(&hex::lower(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_a_line_round_or_can_not_be_seen_is_hidden() {
        assert!(
            ['\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}', '\u{ad}', '\u{e0041}', '\x1b']
                .map(is_hidden)
                .iter()
                .all(|hidden| *hidden)
        );
        assert!(!['a', ' ', 'ä', '\u{a0}', '字', '😀'].map(is_hidden).iter().any(|hidden| *hidden));
    }
}
