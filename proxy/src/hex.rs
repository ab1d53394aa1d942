//! Hexadecimal digits.

/// Those of 0 to 15, in the form of RFC 3986 §2.1.
const UPPER: &[u8; 16] = b"0123456789ABCDEF";
/// Those of 0 to 15, in the form of sums and sizes.
pub(crate) const LOWER: &[u8; 16] = b"0123456789abcdef";

/// `2F`
pub(crate) fn upper(byte: u8) -> [u8; 2] {
    digits(byte, UPPER)
}

/// `2f`
pub(crate) fn lower(byte: u8) -> [u8; 2] {
    digits(byte, LOWER)
}

fn digits(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

/// The value of a digit, small or capital.
pub(crate) fn value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_are_written() {
        assert_eq!((upper(0x2f), lower(0x2f), lower(0xa0)), (*b"2F", *b"2f", *b"a0"));
        for byte in 0..=255 {
            let read = |[high, low]: [u8; 2]| value(high).unwrap() << 4 | value(low).unwrap();
            assert_eq!((read(upper(byte)), read(lower(byte))), (byte, byte));
        }
        assert_eq!((value(b'g'), value(b' '), value(0xff)), (None, None, None));
    }
}
