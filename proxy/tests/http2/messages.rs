//! Of messages (RFC 9113 §8, §10.5.1).

use super::{
    super::frames::*,
    PROTOCOL_ERROR, Row,
    Want::{Nothing, Status, Stream},
    headers, request, row, with,
};

/// §8.
pub(super) fn messages() -> Vec<Row> {
    let malformed = |rule, what, send| row(rule, what, send, Stream(1, PROTOCOL_ERROR));
    let post_of = |fields: &[(&str, &str)]| {
        let block: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
        headers(1, 0, &[POST, &block].concat())
    };
    vec![
        malformed("8.1", "trailers without the end", [post(1), headers(1, 0, &field("x", "y"))].concat()),
        malformed(
            "8.1",
            "a pseudo-header field in trailers",
            [post(1), headers(1, END_STREAM, &field(":path", "/"))].concat(),
        ),
        malformed(
            "8.2.1",
            "a name in upper case in trailers",
            [post(1), headers(1, END_STREAM, &field("X", "y"))].concat(),
        ),
        row(
            "8.1",
            "trailers",
            [post(1), frame(DATA, 0, 1, b"x"), headers(1, END_STREAM, &field("x", "y"))].concat(),
            Nothing,
        ),
        malformed(
            "8.1.1",
            "less content than Content-Length",
            [post_of(&[("content-length", "2")]), frame(DATA, END_STREAM, 1, b"x")].concat(),
        ),
        malformed(
            "8.1.1",
            "more content than Content-Length",
            [post_of(&[("content-length", "2")]), frame(DATA, 0, 1, b"xyz")].concat(),
        ),
        malformed("8.1.1", "no content and Content-Length", with(&[("content-length", "2")])),
        malformed(
            "8.1.1",
            "less content than Content-Length, and trailers",
            [post_of(&[("content-length", "2")]), headers(1, END_STREAM, &field("x", "y"))].concat(),
        ),
        row("8.1.1", "Content-Length of nothing", with(&[("content-length", "0")]), Nothing),
        malformed("8.1.1", "two Content-Length", with(&[("content-length", "0"), ("content-length", "0")])),
        malformed("8.1.1", "a list of Content-Length that differ", post_of(&[("content-length", "1, 2")])),
        malformed("8.1.1", "a list of Content-Length, and no content", with(&[("content-length", "5, 5")])),
        malformed("8.1.1", "Content-Length with a sign", post_of(&[("content-length", "+1")])),
        malformed(
            "8.1.1",
            "Content-Length that is too large",
            post_of(&[("content-length", "18446744073709551616")]),
        ),
        malformed("8.2.1", "a name in upper case", with(&[("X-Name", "y")])),
        malformed("8.2.1", "an empty name", with(&[("", "y")])),
        malformed("8.2.1", "a name with a space", with(&[("x y", "z")])),
        malformed("8.2.1", "a name with a colon", with(&[("x:y", "z")])),
        malformed("8.2.1", "a name with a line's end", with(&[("x\r\ny", "z")])),
        malformed("8.2.1", "a name with a letter beyond ASCII", with(&[("xü", "z")])),
        malformed("8.2.1", "a value with a line's end", with(&[("x", "y\r\nz: 1")])),
        malformed("8.2.1", "a value with LF", with(&[("x", "y\nz: 1")])),
        malformed("8.2.1", "a value with CR", with(&[("x", "y\rz")])),
        malformed("8.2.1", "a value with NUL", with(&[("x", "y\0z")])),
        malformed("8.2.1", "a value with another control character", with(&[("x", "y\x07")])),
        malformed("8.2.1", "a value that begins with a space", with(&[("x", " y")])),
        malformed("8.2.1", "a value that ends in a tab", with(&[("x", "y\t")])),
        row("8.2.1", "a value with a tab and bytes beyond ASCII", with(&[("x", "y\tü")]), Nothing),
        malformed("8.2.2", "Connection", with(&[("connection", "keep-alive")])),
        malformed("8.2.2", "Keep-Alive", with(&[("keep-alive", "1")])),
        malformed("8.2.2", "Proxy-Connection", with(&[("proxy-connection", "keep-alive")])),
        malformed("8.2.2", "Transfer-Encoding", post_of(&[("transfer-encoding", "chunked")])),
        malformed("8.2.2", "Upgrade", with(&[("upgrade", "websocket")])),
        malformed("8.2.2", "TE of something else", with(&[("te", "trailers, deflate")])),
        row("8.2.2", "TE of trailers", with(&[("te", "trailers")]), Nothing),
        malformed("8.3", "an unknown pseudo-header field", with(&[(":x", "y")])),
        malformed("8.3", "a pseudo-header field of responses", with(&[(":status", "200")])),
        malformed(
            "8.3",
            "a pseudo-header field behind others",
            request(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                ("x", "y"),
                (":authority", "a"),
            ]),
        ),
        malformed(
            "8.3.1",
            "no :method",
            request(&[(":scheme", "http"), (":path", "/"), (":authority", "a")]),
        ),
        malformed("8.3.1", "no :scheme", request(&[(":method", "GET"), (":path", "/"), (":authority", "a")])),
        malformed(
            "8.3.1",
            "no :path",
            request(&[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
        ),
        malformed("8.3.1", "nothing at all", request(&[])),
        malformed("8.3.1", ":method twice", with(&[(":method", "GET")])),
        malformed("8.3.1", ":scheme twice", with(&[(":scheme", "http")])),
        malformed("8.3.1", ":path twice", with(&[(":path", "/")])),
        malformed("8.3.1", ":authority twice", with(&[(":authority", "a")])),
        malformed(
            "8.3.1",
            "an empty :path",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            ":path without a slash",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "x"), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            ":path with a space",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/ HTTP/1.1"), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            ":path with a line's end",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/\r\nx: y"), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            ":path in absolute form",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "http://b/"), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            "* of another method than OPTIONS",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "*"), (":authority", "a")]),
        ),
        row(
            "8.3.1",
            "* of OPTIONS",
            request(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "a")]),
            Nothing,
        ),
        malformed(
            "8.3.1",
            ":method with a space",
            request(&[(":method", "GET /"), (":scheme", "http"), (":path", "/"), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            "another :scheme",
            request(&[(":method", "GET"), (":scheme", "ftp"), (":path", "/"), (":authority", "a")]),
        ),
        malformed(
            "8.3.1",
            "an empty :authority",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "")]),
        ),
        malformed("8.3.1", "Host that is not :authority", with(&[("host", "b")])),
        malformed(
            "8.3.1",
            "two Host",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a"), ("host", "a")]),
        ),
        row("8.3.1", "Host that is :authority", with(&[("host", "A")]), Nothing),
        row(
            "8.3.1",
            "Host instead of :authority",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "a")]),
            Nothing,
        ),
        row(
            "8.3.1",
            "neither of the two",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
            Status(400),
        ),
        row(
            "8.3.1",
            ":authority with a user",
            request(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "u@a")]),
            Status(400),
        ),
        row("8.5", "CONNECT", request(&[(":method", "CONNECT"), (":authority", "a:443")]), Status(405)),
        malformed(
            "8.5",
            "CONNECT with :path",
            request(&[(":method", "CONNECT"), (":authority", "a:443"), (":scheme", "http"), (":path", "/")]),
        ),
        malformed("8.5", "CONNECT without :authority", request(&[(":method", "CONNECT")])),
        row(
            "10.5.1",
            "fields that are longer than a head may be",
            with(&[("x", &"y".repeat(8000)), ("x", &"y".repeat(8000))]),
            Nothing,
        ),
        row("10.5.1", "a field that is too long", with(&[("x", &"y".repeat(9000))]), Status(431)),
    ]
}
