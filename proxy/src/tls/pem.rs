//! PEM (RFC 7468), in which there may be a private key: that is copied nowhere but into memory that is overwritten. The reader of rustls
//! copies each section, also those that nobody has asked for, and overwrites none.

use zeroize::Zeroizing;

/// One of them. What is before the first and between them is no part of any.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Section<'t> {
    /// As in `-----BEGIN label-----`.
    pub(super) label: &'t [u8],
    /// Its lines.
    body: &'t [u8],
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Broken {
    #[error("a section has no line -----END ...-----")]
    NoEnd,
    #[error("a line -----BEGIN ...----- does not end as it should")]
    Begin,
    #[error("a section is not base64")]
    Base64,
}

/// All sections, in their order.
pub(super) fn sections(text: &[u8]) -> impl Iterator<Item = Result<Section<'_>, Broken>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let section = next_section(&mut rest).transpose();
        if matches!(section, Some(Err(_))) {
            rest = &[];
        }
        section
    })
}

/// What the sections with this label have in them.
///
/// # Errors
/// The text is no PEM.
pub(super) fn contents(text: &[u8], label: &[u8]) -> Result<Vec<Vec<u8>>, Broken> {
    let mut found = Vec::new();
    for section in sections(text) {
        let section = section?;
        if section.label == label {
            found.push(std::mem::take(&mut *section.content()?));
        }
    }
    Ok(found)
}

fn next_section<'t>(rest: &mut &'t [u8]) -> Result<Option<Section<'t>>, Broken> {
    let mut label = None;
    let mut body = *rest;
    while !rest.is_empty() {
        let from_line = *rest;
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let line = &rest[..end.unwrap_or(rest.len())];
        *rest = end.map_or(&[], |end| &rest[end + 1..]);
        if let Some(begun) = line.strip_prefix(b"-----BEGIN ") {
            // A list whose end was lost must not go unnoticed because there is another one behind it.
            if label.is_some() {
                return Err(Broken::NoEnd);
            }
            let begun = begun.trim_ascii_end().strip_suffix(b"-----").ok_or(Broken::Begin)?;
            if begun.ends_with(b"-") {
                return Err(Broken::Begin);
            }
            (label, body) = (Some(begun), *rest);
        } else if let (Some(label), Some(ended)) = (label, line.strip_prefix(b"-----END "))
            && ended.strip_prefix(label).is_some_and(|ended| ended.starts_with(b"-----"))
        {
            let length = body.len() - from_line.len();
            return Ok(Some(Section { label, body: &body[..length] }));
        }
    }
    if label.is_some() { Err(Broken::NoEnd) } else { Ok(None) }
}

impl Section<'_> {
    /// Decoded.
    ///
    /// # Errors
    /// It is no base64.
    pub(super) fn content(&self) -> Result<Zeroizing<Vec<u8>>, Broken> {
        // As much as it can be, so that nothing is left behind where it was before.
        let mut content = Zeroizing::new(Vec::with_capacity(self.body.len() / 4 * 3 + 3));
        let (mut bits, mut digits, mut padding) = (0_u32, 0_usize, 0_usize);
        let mut all = -1;
        for byte in self.body.iter().filter(|byte| !byte.is_ascii_whitespace()) {
            if *byte == b'=' {
                padding += 1;
                continue;
            }
            let (value, valid) = digit(*byte);
            all &= valid & if padding > 0 { 0 } else { -1 };
            bits = bits << 6 | u32::from(value);
            digits += 1;
            if digits.is_multiple_of(4) {
                content.extend_from_slice(&bits.to_be_bytes()[1..]);
            }
        }
        let left = digits % 4;
        // What is left out of the padding is borne, as others bear it.
        let is_whole = padding == 0 && left != 1 || (digits + padding).is_multiple_of(4);
        if all == 0 || padding > 2 || !is_whole {
            return Err(Broken::Base64);
        }
        if left > 0 {
            bits <<= 6 * (4 - left);
            content.extend_from_slice(&bits.to_be_bytes()[1..left]);
        }
        Ok(content)
    }
}

/// The value of a character, and -1 if it is one of base64, else 0. No branch and no place in memory depends on it: what others on this
/// machine can measure of these tells nothing of a key.
fn digit(byte: u8) -> (u8, i16) {
    let code = i16::from(byte);
    let within = |from: u8, to: u8| ((i16::from(from) - 1 - code) & (code - i16::from(to) - 1)) >> 8;
    let (upper, lower, number) = (within(b'A', b'Z'), within(b'a', b'z'), within(b'0', b'9'));
    let (plus, slash) = (within(b'+', b'+'), within(b'/', b'/'));
    let value =
        (upper & (code - 65)) | (lower & (code - 71)) | (number & (code + 4)) | (plus & 62) | (slash & 63);
    let valid = upper | lower | number | plus | slash;
    (value.to_le_bytes()[0], valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_with_whatever_is_around_them() {
        let text = b"Subject: x\n-----BEGIN A-----\nZm9v\nYmE=\n-----END A-----\nbetween\r\n-----BEGIN B KEY----- \r\n\
            Zm9vYg==\r\n-----END B KEY-----\r\n-----BEGIN C-----\nZm9vYg\n-----END C-----\n-----BEGIN A-----\n-----END A-----";
        let found: Vec<_> = sections(text)
            .map(|section| {
                let section = section.unwrap();
                (section.label, section.content().unwrap().to_vec())
            })
            .collect();
        let a = (&b"A"[..], b"fooba".to_vec());
        assert_eq!(found, [a, (b"B KEY", b"foob".to_vec()), (b"C", b"foob".to_vec()), (b"A", Vec::new())]);
        assert_eq!(contents(text, b"A").unwrap(), [b"fooba".to_vec(), Vec::new()]);
    }

    #[test]
    fn what_is_broken_is_said() {
        let first = |text: &'static str| {
            sections(text.as_bytes()).next().unwrap().and_then(|section| section.content())
        };
        for (text, why) in [
            ("-----BEGIN A-----\nZm9v\n", Broken::NoEnd),
            ("-----BEGIN A-----\nZm9v\n-----END B-----\n", Broken::NoEnd),
            ("-----BEGIN A-----\nZm9v\n-----BEGIN A-----\nZm9v\n-----END A-----\n", Broken::NoEnd),
            ("-----BEGIN A----\nZm9v\n-----END A-----\n", Broken::Begin),
            ("-----BEGIN A------\nZm9v\n-----END A-----\n", Broken::Begin),
            ("-----BEGIN A-----\nZm9!\n-----END A-----\n", Broken::Base64),
            ("-----BEGIN A-----\nZm9vY\n-----END A-----\n", Broken::Base64),
            ("-----BEGIN A-----\nZm9vYg=\n-----END A-----\n", Broken::Base64),
            ("-----BEGIN A-----\nZg==Zg==\n-----END A-----\n", Broken::Base64),
            ("-----BEGIN A-----\nZ===\n-----END A-----\n", Broken::Base64),
        ] {
            assert_eq!(first(text).unwrap_err(), why, "{text}");
        }
        // Nothing is read behind it.
        assert_eq!(sections(b"-----BEGIN A\n-----BEGIN B-----\n-----END B-----\n").count(), 1);
    }

    #[test]
    fn digits_are_those_of_rfc_4648() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for byte in 0..=255 {
            let expected = alphabet.iter().position(|known| *known == byte);
            let (value, valid) = digit(byte);
            assert_eq!(expected, (valid == -1).then_some(usize::from(value)), "{byte}");
        }
    }
}
