//! Where the fault of a head that was refused is. Looked for afterwards, so that reading a head that is fine remembers
//! nothing.

use super::{MAX_FIELDS, MAX_HEAD, MAX_LINE, Malformed, is_field_content, is_token_byte, name::Name};
use crate::http::target;

/// The first byte of `bytes` that is at fault in a request which was refused for `fault`.
pub(crate) fn of_request(bytes: &[u8], fault: Malformed) -> usize {
    Lines::new(bytes).locate(fault, |line| request_line(line, fault))
}

/// The same in a response.
pub(crate) fn of_response(bytes: &[u8], fault: Malformed) -> usize {
    Lines::new(bytes).locate(fault, status_line)
}

/// A head in lines: where each begins, and its text without CRLF.
struct Lines<'b> {
    bytes: &'b [u8],
    start_line: (usize, &'b [u8]),
    /// Whole or not.
    fields: Vec<(usize, &'b [u8])>,
}

impl<'b> Lines<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        let mut at = 0;
        let mut lines = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            match (text, lines.is_empty()) {
                // The end of the head.
                ([], false) => break,
                ([], true) => {}
                _ => lines.push((at, text)),
            }
            at += line.len();
        }
        let mut lines = lines.into_iter();
        let start_line = lines.next().unwrap_or((bytes.len(), b""));
        Self { bytes, start_line, fields: lines.collect() }
    }

    fn locate(&self, fault: Malformed, in_start_line: impl Fn(&[u8]) -> usize) -> usize {
        let end = self.bytes.len();
        let (start, line) = self.start_line;
        let found = match fault {
            Malformed::BareLf => self.bare_lf(),
            Malformed::StartLine | Malformed::Target | Malformed::Version => {
                Some(start + in_start_line(line))
            }
            Malformed::AmbiguousPath => {
                Some(start + line.iter().position(|&byte| byte == b' ').map_or(0, |space| space + 1))
            }
            Malformed::Connect | Malformed::MethodCase | Malformed::SwitchingProtocols => Some(start),
            Malformed::RequestLineTooLong => Some(start + MAX_LINE),
            Malformed::LineTooLong => self.line(|line| line.len() > MAX_LINE).map(|at| at + MAX_LINE),
            Malformed::HeadTooLarge => Some(MAX_HEAD),
            Malformed::TooManyFields => self.fields.get(MAX_FIELDS).map(|(at, _)| *at),
            Malformed::LeadingSpace | Malformed::ObsoleteFold => {
                self.line(|line| matches!(line[0], b' ' | b'\t'))
            }
            Malformed::NoColon | Malformed::SpaceBeforeColon | Malformed::FieldName => {
                self.within(|line| name_end(line).filter(|&at| at == 0 || line.get(at) != Some(&b':')))
            }
            Malformed::FieldValue => {
                self.within(|line| line.iter().position(|&byte| !is_field_content(&[byte])))
            }
            Malformed::NoHost | Malformed::FailedRewrite | Malformed::RewrittenHost => None,
            Malformed::SeveralHosts => self.named(Name::Host).nth(1).map(|(at, ..)| at),
            Malformed::Host | Malformed::HostMismatch => self.value_of(Name::Host),
            Malformed::ContentLength => self.content_length(),
            Malformed::BothFramings => {
                let second = [Name::ContentLength, Name::TransferEncoding].map(|name| self.first(name));
                second.into_iter().flatten().max()
            }
            Malformed::TransferEncodingInHttp10 => self.first(Name::TransferEncoding),
            Malformed::TransferEncoding | Malformed::TransferCoding => {
                let mut all: Vec<_> = self.named(Name::TransferEncoding).map(|(.., value)| value).collect();
                all.truncate(2);
                all.pop()
            }
            Malformed::UnexpectedContent => {
                self.first(Name::ContentLength).or_else(|| self.first(Name::TransferEncoding))
            }
            Malformed::TooManyOptions => self.value_of(Name::Connection),
            Malformed::Expectation => self.value_of(Name::Expect),
            Malformed::WebSocketKey => self.value_of(Name::Upgrade),
        };
        // What is missing is missing at the end; what rules have made too large is nowhere in what came.
        found.unwrap_or(end).min(end)
    }

    fn bare_lf(&self) -> Option<usize> {
        (0..self.bytes.len()).find(|&at| self.bytes[at] == b'\n' && (at == 0 || self.bytes[at - 1] != b'\r'))
    }

    fn line(&self, is_wrong: impl Fn(&[u8]) -> bool) -> Option<usize> {
        self.fields.iter().find(|(_, line)| is_wrong(line)).map(|(at, _)| *at)
    }

    fn within(&self, find: impl Fn(&[u8]) -> Option<usize>) -> Option<usize> {
        self.fields.iter().find_map(|(start, line)| find(line).map(|at| start + at))
    }

    /// Where each line of this field begins, its value, and where that begins.
    fn named(&self, name: Name) -> impl Iterator<Item = (usize, &'b [u8], usize)> {
        self.fields.iter().filter_map(move |&(start, line)| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let value = &line[colon + 1..];
            let space = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(0);
            (Name::of(&line[..colon]) == name).then(|| (start, value, start + colon + 1 + space))
        })
    }

    fn first(&self, name: Name) -> Option<usize> {
        self.named(name).next().map(|(at, ..)| at)
    }

    fn value_of(&self, name: Name) -> Option<usize> {
        self.named(name).next().map(|(.., value)| value)
    }

    /// The first that is no number, else the second.
    fn content_length(&self) -> Option<usize> {
        let all: Vec<_> = self.named(Name::ContentLength).collect();
        let odd = all.iter().find_map(|(_, value, at)| {
            let value = value.trim_ascii();
            let digit = value.iter().position(|byte| !byte.is_ascii_digit());
            digit.or(value.is_empty().then_some(0)).map(|odd| at + odd)
        });
        odd.or_else(|| all.get(1).or(all.first()).map(|(.., at)| *at))
    }
}

/// Where the token at the beginning of a line ends.
fn name_end(line: &[u8]) -> Option<usize> {
    Some(line.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(line.len()))
}

/// What is wrong in a line that should be `METHOD TARGET HTTP/x.y`.
fn request_line(line: &[u8], fault: Malformed) -> usize {
    let method = line.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(line.len());
    if method == 0 || line.get(method) != Some(&b' ') {
        return method;
    }
    let target = &line[method + 1..];
    let space = target.iter().position(|&byte| byte == b' ').unwrap_or(target.len());
    if fault == Malformed::Target {
        let odd = target[..space].iter().position(|byte| !target::is_uri(&[*byte]));
        return method + 1 + odd.unwrap_or(0);
    }
    let version = method + 1 + space + 1;
    if space == 0 || version > line.len() {
        return (method + 1 + space).min(line.len());
    }
    version + differs(&line[version..], b"HTTP/1.1")
}

/// What is wrong in a line that should be `HTTP/1.x NNN reason`.
fn status_line(line: &[u8]) -> usize {
    let version = differs(line, b"HTTP/1.1 ");
    // The minor version may be another, if it is one that is known.
    let is_known = line.starts_with(b"HTTP/1.0 ") || version == b"HTTP/1.1 ".len();
    if !is_known {
        return version;
    }
    let code = &line[b"HTTP/1.1 ".len()..];
    let digits = code.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
    let odd = match code.get(digits) {
        _ if code.first() == Some(&b'0') => 0,
        None => digits,
        Some(b' ') if digits == 3 => code.iter().position(|&byte| !is_field_content(&[byte])).unwrap_or(3),
        Some(_) => digits,
    };
    b"HTTP/1.1 ".len() + odd
}

/// Where `text` is not any more what it should be.
fn differs(text: &[u8], expected: &[u8]) -> usize {
    text.iter().zip(expected).position(|(is, should)| is != should).unwrap_or(text.len().min(expected.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Fields, Progress, request, response};

    /// The fault, and what stands from it to the end of the line.
    fn found(head: &str, is_request: bool) -> (Malformed, String) {
        let (mut progress, mut fields) = (Progress::default(), Fields::default());
        let bytes = head.as_bytes();
        let (fault, at) = if is_request {
            let parsed = request::Head::parse(bytes, &mut progress, &mut fields);
            let fault = parsed.and_then(|head| head.unwrap().check()).unwrap_err();
            (fault, of_request(bytes, fault))
        } else {
            let parsed = response::Head::parse(bytes, &mut progress, &mut fields);
            let checked = parsed.and_then(|head| head.unwrap().check(request::Method::Get, false));
            let fault = checked.unwrap_err();
            (fault, of_response(bytes, fault))
        };
        (fault, head[at..].split_inclusive('\n').next().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_byte_at_fault_in_a_request() {
        for (lines, fault, rest) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", Malformed::BareLf, "\n"),
            ("\r\nGE(T / HTTP/1.1\r\n\r\n", Malformed::StartLine, "(T / HTTP/1.1\r\n"),
            (" GET / HTTP/1.1\r\n\r\n", Malformed::StartLine, " GET / HTTP/1.1\r\n"),
            ("GET\r\n\r\n", Malformed::StartLine, "\r\n"),
            ("GET /\r\n\r\n", Malformed::StartLine, "\r\n"),
            ("GET  / HTTP/1.1\r\n\r\n", Malformed::StartLine, " / HTTP/1.1\r\n"),
            ("GET /a b HTTP/1.1\r\n\r\n", Malformed::StartLine, "b HTTP/1.1\r\n"),
            ("GET / HTTP/1.1 \r\n\r\n", Malformed::StartLine, " \r\n"),
            ("GET / HTTP/2.0\r\n\r\n", Malformed::Version, "2.0\r\n"),
            ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::Target, "#b HTTP/1.1\r\n"),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", Malformed::Connect, "CONNECT a:1 HTTP/1.1\r\n"),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Malformed::LeadingSpace, " Host: a\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", Malformed::ObsoleteFold, "\tb\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", Malformed::NoColon, "\r\n"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Malformed::SpaceBeforeColon, " : a\r\n"),
            ("GET / HTTP/1.1\r\nA: b\r\n: a\r\n\r\n", Malformed::FieldName, ": a\r\n"),
            ("GET / HTTP/1.1\r\nH[st: a\r\n\r\n", Malformed::FieldName, "[st: a\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{1}b\r\n\r\n", Malformed::FieldValue, "\u{1}b\r\n"),
            ("GET / HTTP/1.1\r\nX: a\r\n\r\n", Malformed::NoHost, ""),
            ("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", Malformed::SeveralHosts, "host: b\r\n"),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Malformed::Host, "a/b\r\n"),
            ("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", Malformed::HostMismatch, "a\r\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n", Malformed::ContentLength, "x\r\n"),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                Malformed::ContentLength,
                "2\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Malformed::BothFramings,
                "Transfer-Encoding: chunked\r\n",
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
                Malformed::TransferEncoding,
                "gzip\r\n",
            ),
            (
                "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
                Malformed::TransferEncodingInHttp10,
                "Transfer-Encoding: chunked\r\n",
            ),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", Malformed::Expectation, "x\r\n"),
        ] {
            assert_eq!(found(lines, true), (fault, rest.to_owned()), "{lines:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_wrong_where_it_becomes_so() {
        let at = |head: &str, fault| of_request(head.as_bytes(), fault);
        let line = format!("GET /{} HTTP/1.1\r\n", "a".repeat(MAX_LINE));
        assert_eq!(at(&line, Malformed::RequestLineTooLong), MAX_LINE);
        let field = format!("GET / HTTP/1.1\r\nA: b\r\nC: {}", "d".repeat(MAX_LINE));
        assert_eq!(at(&field, Malformed::LineTooLong), 22 + MAX_LINE);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(at(&many, Malformed::TooManyFields), 16 + 6 * MAX_FIELDS);
        assert_eq!(at("GET /", Malformed::HeadTooLarge), 5);
    }

    #[test]
    fn the_byte_at_fault_in_a_response() {
        for (lines, fault, rest) in [
            ("what?\r\n\r\n", Malformed::StartLine, "what?\r\n"),
            ("HTTP/2 200 OK\r\n\r\n", Malformed::StartLine, "2 200 OK\r\n"),
            ("HTTP/1.1 2x0 OK\r\n\r\n", Malformed::StartLine, "x0 OK\r\n"),
            ("HTTP/1.0 2000 OK\r\n\r\n", Malformed::StartLine, "0 OK\r\n"),
            ("HTTP/1.1 099 OK\r\n\r\n", Malformed::StartLine, "099 OK\r\n"),
            ("HTTP/1.1 20\r\n\r\n", Malformed::StartLine, "\r\n"),
            ("HTTP/1.1 200 O\u{1}K\r\n\r\n", Malformed::StartLine, "\u{1}K\r\n"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Malformed::ContentLength, "-1\r\n"),
            ("HTTP/1.1 101 OK\r\n\r\n", Malformed::SwitchingProtocols, "HTTP/1.1 101 OK\r\n"),
        ] {
            assert_eq!(found(lines, false), (fault, rest.to_owned()), "{lines:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_look_beyond_them() {
        for bytes in [&b""[..], b"\r\n", b"\n", b":", b" ", b"a", b"\r\n\r\n", b"GET / HTTP/1.1\r\n: "] {
            for fault in [
                Malformed::StartLine,
                Malformed::Target,
                Malformed::FieldName,
                Malformed::ContentLength,
                Malformed::LeadingSpace,
                Malformed::TooManyFields,
                Malformed::Host,
            ] {
                assert!(of_request(bytes, fault) <= bytes.len());
                assert!(of_response(bytes, fault) <= bytes.len());
            }
        }
    }
}
