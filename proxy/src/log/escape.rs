//! Bytes that may not stand in a line as they are: `#` and two digits instead, as in HAProxy.

use crate::{
    hidden::{is_hidden, put_json_escape},
    sample::numbered,
};

/// For a text between quotes: what is not printable ASCII, `"` and `#`.
pub(super) fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    escape(bytes, out, |byte| !is_printable(byte) || matches!(byte, b'"' | b'#'));
}

/// For a captured header, which stands between braces and bars, or in quotes.
pub(super) fn header(bytes: &[u8], out: &mut Vec<u8>) {
    escape(bytes, out, |byte| !is_printable(byte) || b"\"#{|}".contains(&byte));
}

/// For a captured cookie, which stands between blanks: HAProxy would let it end there.
pub(super) fn word(bytes: &[u8], out: &mut Vec<u8>) {
    escape(bytes, out, |byte| !is_printable(byte) || b" \"#".contains(&byte));
}

/// For words of our own, which are UTF-8: control bytes.
pub(super) fn controls(bytes: &[u8], out: &mut Vec<u8>) {
    escape(bytes, out, |byte| byte < b' ' || byte == 0x7f);
}

/// Between the quotes of a JSON string, at most `room` bytes: what does not fit is left out. What is not UTF-8 becomes
/// U+FFFD.
pub(super) fn json(bytes: &[u8], room: usize, out: &mut Vec<u8>) {
    let end = out.len() + room;
    for chunk in bytes.utf8_chunks() {
        let replacement = (!chunk.invalid().is_empty()).then_some('\u{fffd}');
        for character in chunk.valid().chars().chain(replacement) {
            let start = out.len();
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                hidden if is_hidden(hidden) => put_json_escape(hidden, out),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            if out.len() > end {
                return out.truncate(start);
            }
        }
    }
}

fn is_printable(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte)
}

fn escape(mut bytes: &[u8], out: &mut Vec<u8>, is_unfit: impl Fn(u8) -> bool) {
    while let Some(at) = bytes.iter().position(|&byte| is_unfit(byte)) {
        out.extend_from_slice(&bytes[..at]);
        out.extend_from_slice(&numbered(bytes[at]));
        bytes = &bytes[at + 1..];
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_of_json_stay_texts_and_are_cut_off_between_characters() {
        let json = |bytes: &[u8], room| {
            let mut out = Vec::new();
            super::json(bytes, room, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(json("a\"\\\n\u{7f}ä€".as_bytes(), 99), "a\\\"\\\\\\u000a\\u007fä€");
        assert_eq!(json("\u{9b}31m\u{202e}\u{e0041}".as_bytes(), 99), "\\u009b31m\\u202e\\udb40\\udc41");
        assert_eq!(json(b"\xff\xc3x\xe4", 99), "\u{fffd}\u{fffd}x\u{fffd}");
        assert_eq!(
            (json(b"abc", 2), json(b"a\nb", 6), json("aä".as_bytes(), 2)),
            ("ab".into(), "a".into(), "a".into())
        );
    }

    #[test]
    fn unfit_bytes_are_written_as_haproxy_writes_them() {
        let quoted = |bytes: &[u8]| {
            let mut out = Vec::new();
            super::quoted(bytes, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(quoted(b"GET /a?b=1&c={x|y} HTTP/1.1"), "GET /a?b=1&c={x|y} HTTP/1.1");
        assert_eq!(quoted(b"\"#\x00\n\x1b\x7f\xc3\xa4"), "#22#23#00#0A#1B#7F#C3#A4");
    }
}
