//! As much of HTTP/1 as both ends of the bench need: they talk to proxies that are no enemies, so this checks little and
//! is fast. Bytes in, facts out.

/// How far the head reaches, with the empty line; `None` while it is not whole.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// The value of a field of `head`.
pub(crate) fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.find_map(|line| {
        let (key, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// What comes behind a head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Body {
    Length(u64),
    Chunked,
}

pub(crate) fn body(head: &[u8]) -> Body {
    if let Some(length) = field(head, "content-length") {
        return Body::Length(number(length));
    }
    if field(head, "transfer-encoding").is_some() { Body::Chunked } else { Body::Length(0) }
}

/// The number that `digits` begins with.
pub(crate) fn number(digits: &[u8]) -> u64 {
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

/// The status of a response.
pub(crate) fn status(head: &[u8]) -> u64 {
    head.get(9..12).map_or(0, number)
}

/// The path of a request.
pub(crate) fn path(head: &[u8]) -> &[u8] {
    head.split(|byte| *byte == b' ').nth(1).unwrap_or_default()
}

/// Does whoever wrote `head` end the connection behind it?
pub(crate) fn closes(head: &[u8]) -> bool {
    field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"))
}

/// Waits for the end of a chunked body whose content never has an empty line: what the origin of the bench sends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChunkedEnd {
    last: [u8; 5],
}

impl ChunkedEnd {
    /// More of the body; is that its end?
    pub(crate) fn take(&mut self, bytes: &[u8]) -> bool {
        let fresh = &bytes[bytes.len().saturating_sub(5)..];
        self.last.copy_within(fresh.len().., 0);
        self.last[5 - fresh.len()..].copy_from_slice(fresh);
        &self.last == b"0\r\n\r\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_says_what_follows_it() {
        let head =
            b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\nConnection: Close\r\nX-Slow: 1\r\n\r\nbody";
        assert_eq!(end_of_head(head), Some(head.len() - 4));
        assert_eq!(end_of_head(&head[..20]), None);
        assert_eq!((status(head), body(head), closes(head)), (200, Body::Length(1_048_576), true));
        assert_eq!(field(head, "x-slow"), Some(&b"1"[..]));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Body::Chunked);
        assert_eq!(body(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"), Body::Length(0));
        assert_eq!(path(b"GET /bytes/10 HTTP/1.1\r\n\r\n"), b"/bytes/10");
    }

    #[test]
    fn the_end_of_chunks_is_found_wherever_it_is_cut() {
        let bytes = b"5\r\nabcde\r\n0\r\n\r\n";
        for cut in 0..bytes.len() {
            let mut end = ChunkedEnd::default();
            assert!(!end.take(&bytes[..cut]));
            assert!(end.take(&bytes[cut..]), "cut at {cut}");
        }
    }
}
