//! Bytes of heads, eight at a time as one number. Their texts are short: to choose among vector instructions for each of them
//! takes longer than to look at it.

use memchr::memchr;

use super::is_token_byte;

const WORD: usize = size_of::<u64>();
const ONES: u64 = u64::from_ne_bytes([1; WORD]);
const HIGH: u64 = u64::from_ne_bytes([0x80; WORD]);
const SPACES: u64 = u64::from_ne_bytes([b' '; WORD]);
const DELETES: u64 = u64::from_ne_bytes([0x7f; WORD]);

/// Words in which a byte is looked for before vector instructions are worth it.
const SHORT: usize = 4;

/// The place of the first `wanted`.
#[inline]
pub(crate) fn find(wanted: u8, bytes: &[u8]) -> Option<usize> {
    let all = u64::from_ne_bytes([wanted; WORD]);
    let (words, _) = bytes.as_chunks::<WORD>();
    let mut at = 0;
    for word in words.iter().take(SHORT) {
        // The highest bit of the first byte that becomes zero is set, and no lower one is: what is borrowed goes upwards.
        let hits = zeros(u64::from_le_bytes(*word) ^ all);
        if hits != 0 {
            return Some(at + first(hits));
        }
        at += WORD;
    }
    let rest = &bytes[at..];
    let found =
        if rest.len() < WORD { rest.iter().position(|&byte| byte == wanted) } else { memchr(wanted, rest) };
    found.map(|found| at + found)
}

/// Where the token ends (RFC 9110 §5.6.2) that `bytes` begin with, which may have none.
#[inline]
pub(super) fn token_end(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<WORD>();
    let mut at = 0;
    // Names have nearly always letters and hyphens alone.
    for word in words {
        let others = !letters_and_hyphens(u64::from_le_bytes(*word)) & HIGH;
        if others != 0 {
            at += first(others);
            break;
        }
        at += WORD;
    }
    bytes[at..].iter().position(|&byte| !is_token_byte(byte)).map_or(bytes.len(), |found| at + found)
}

/// The place of the first byte that is no field content (RFC 9110 §5.5): a control byte, and not HTAB.
#[inline]
pub(super) fn first_control(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    let mut at = 0;
    for word in words {
        let hits = controls(u64::from_le_bytes(*word));
        if hits != 0 {
            let found = first(hits);
            if word[found] != b'\t' {
                return Some(at + found);
            }
            if let Some(found) = word.iter().position(is_control) {
                return Some(at + found);
            }
        }
        at += WORD;
    }
    rest.iter().position(is_control).map(|found| at + found)
}

/// Is there no such byte? The last eight overlap those before them.
pub(crate) fn is_field_content(bytes: &[u8]) -> bool {
    let are_fine = |bytes: &[u8]| !bytes.iter().any(is_control);
    let is_word_fine = |bytes: &[u8; WORD]| controls(u64::from_ne_bytes(*bytes)) == 0 || are_fine(bytes);
    let (words, _) = bytes.as_chunks::<WORD>();
    match bytes.last_chunk::<WORD>() {
        Some(last) => words.iter().all(is_word_fine) && is_word_fine(last),
        None => are_fine(bytes),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as iterators have them")]
fn is_control(byte: &u8) -> bool {
    (*byte < b' ' && *byte != b'\t') || *byte == 0x7f
}

/// The highest bit of a byte is set where it is a control byte, and perhaps in bytes above one. HTAB counts as one.
#[inline]
fn controls(word: u64) -> u64 {
    (word.wrapping_sub(SPACES) & !word | zeros(word ^ DELETES)) & HIGH
}

/// The highest bit of a byte is set where it is a letter or a hyphen, and nowhere else.
#[inline]
fn letters_and_hyphens(word: u64) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; WORD])
    }
    // Of seven bits, to which seven are added: nothing is carried from one byte into the next.
    let lower = (word | all(0x20)) & !HIGH;
    let letters = (lower + all(0x80 - b'a')) & !(lower + all(0x7f - b'z'));
    let hyphens = !(((word ^ all(b'-')) & !HIGH) + all(0x7f));
    (letters | hyphens) & !word & HIGH
}

/// It is set where a byte is zero, and perhaps in bytes above one.
#[inline]
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

/// The place of the lowest byte of which the highest bit is set: the first, of a word in little endian.
#[inline]
fn first(hits: u64) -> usize {
    hits.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_content_has_no_control_byte_but_tab_wherever_it_stands() {
        for length in 1..=17 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = [b'a', 0xff, b'\t', b' ', 0x80, b'~'].repeat(3)[..length].to_vec();
                    bytes[at] = byte;
                    let is_control = byte.is_ascii_control() && byte != b'\t';
                    assert_eq!(is_field_content(&bytes), !is_control, "{bytes:?}");
                    assert_eq!(first_control(&bytes), is_control.then_some(at), "{bytes:?}");
                }
            }
        }
        assert!(is_field_content(b""));
        assert_eq!(first_control(b""), None);
        assert_eq!(first_control(b"ab\tc\x00\x7f\r\n"), Some(4));
        assert_eq!(first_control(b"\t\t\t\t\t\t\t\t\t\x1f"), Some(9));
    }

    #[test]
    fn tokens_end_at_the_first_byte_that_is_none_of_a_token() {
        for length in 1..=24 {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = b"-aZ-Az".repeat(4)[..length].to_vec();
                    bytes[at] = byte;
                    let is_of_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                    assert_eq!(token_end(&bytes), if is_of_token { length } else { at }, "{bytes:?}");
                }
            }
        }
        assert_eq!((token_end(b""), token_end(b"x-2-abcdefghijk_l: m")), (0, 17));
    }

    #[test]
    fn bytes_are_found_where_they_stand_first() {
        for length in 0..80 {
            for at in 0..length {
                for other in [0, b'9', b';', 0x80, 0xba, 0xff] {
                    let mut bytes = vec![other; length];
                    assert_eq!(find(b':', &bytes), None);
                    bytes[at] = b':';
                    bytes[length - 1] = b':';
                    assert_eq!(find(b':', &bytes), Some(at), "{bytes:?}");
                }
            }
        }
    }
}
