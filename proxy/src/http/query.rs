//! Parameters of a query, as forms write them: `a=1&b=2`, with `%41` and `+`.

use crate::hex;

/// Names and values in their order, as they were sent.
pub(crate) fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    pairs(query).map(|(name, value)| (name, value.unwrap_or_default()))
}

/// The same, with `None` for what has no `=`.
pub(crate) fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    query.split(|&byte| byte == b'&').filter(|part| !part.is_empty()).map(|part| {
        match memchr::memchr(b'=', part) {
            Some(at) => (&part[..at], Some(&part[at + 1..])),
            None => (part, None),
        }
    })
}

/// The values of the parameters of that name, however it is spelled. What has no `=` has none.
pub(crate) fn values<'q>(query: &'q [u8], name: &[u8]) -> impl Iterator<Item = &'q [u8]> {
    pairs(query).filter(move |(key, _)| is_decoded(key, name)).filter_map(|(_, value)| value)
}

/// Is `text` decoded the same as `plain`? A query has thousands of names: none is copied for that.
pub(crate) fn is_decoded(text: &[u8], plain: &[u8]) -> bool {
    // What is decoded is never longer.
    text.len() >= plain.len() && bytes(text).eq(plain.iter().copied())
}

/// Calls `then` with `text` decoded. Copied only if there is something to decode.
pub(crate) fn with_decoded(text: &[u8], then: impl FnOnce(&[u8]) -> bool) -> bool {
    if memchr::memchr2(b'%', b'+', text).is_none() {
        return then(text);
    }
    then(&bytes(text).collect::<Vec<_>>())
}

/// The bytes that `text` stands for; a `%` without two digits is itself.
pub(crate) fn bytes(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let (byte, after) = match (first, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, behind @ ..]) => match (hex::value(*high), hex::value(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, behind),
                _ => (b'%', after),
            },
            _ => (first, after),
        };
        rest = after;
        Some(byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_however_they_are_spelled() {
        for text in ["a b", "a+b", "%61%20b", "a%20%62"] {
            assert!(is_decoded(text.as_bytes(), b"a b"), "{text}");
            assert!(with_decoded(text.as_bytes(), |plain| plain == b"a b"), "{text}");
        }
        for text in ["a", "a bc", "A b", "%2561 b", "", "a%2+b"] {
            assert!(!is_decoded(text.as_bytes(), b"a b"), "{text}");
        }
        assert!(is_decoded(b"100%", b"100%") && is_decoded(b"%zz%4", b"%zz%4") && is_decoded(b"", b""));
    }
}
