//! Base64 (RFC 4648 §4), with padding.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the encoded form of `bytes`.
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at)) & 0x3f;
            out.push(if at <= group.len() { ALPHABET[index as usize] } else { b'=' });
        }
    }
}

/// Appends the decoded form of `text`; padding may be left out. `None` if it is no base64, with bits that stand for
/// nothing as well.
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = match text {
        [rest @ .., b'=', b'='] | [rest @ .., b'='] if text.len().is_multiple_of(4) => rest,
        _ => text,
    };
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for byte in group {
            bits = bits << 6 | sextet(*byte)?;
        }
        let missing = 4 - group.len();
        bits <<= 6 * missing;
        let bytes = bits.to_be_bytes();
        let (kept, dropped) = bytes[1..].split_at(3usize.saturating_sub(missing));
        if missing == 3 || dropped.iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(())
}

fn sextet(byte: u8) -> Option<u32> {
    Some(match byte {
        b'A'..=b'Z' => u32::from(byte - b'A'),
        b'a'..=b'z' => u32::from(byte - b'a') + 26,
        b'0'..=b'9' => u32::from(byte - b'0') + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_the_vectors_of_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in cases {
            let mut out = Vec::new();
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, encoded.as_bytes());
            for text in [encoded, encoded.trim_end_matches('=')] {
                let mut out = Vec::new();
                assert_eq!(decode(text.as_bytes(), &mut out), Some(()), "{text}");
                assert_eq!(out, plain.as_bytes());
            }
        }
    }

    #[test]
    fn refuses_what_is_no_base64() {
        for text in ["Z", "Zg=", "Zh==", "Zm9", "Zm9v=", "Zm9vYg===", "Zm 9v", "Zm-v", "=", "===="] {
            let decoded = decode(text.as_bytes(), &mut Vec::new());
            // `Zm9` is `Zm8` with a bit that stands for nothing.
            assert_eq!(decoded, None, "{text}");
        }
    }
}
