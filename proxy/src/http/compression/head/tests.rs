//! The table of decisions: what a client gets of a response's head.

use super::*;
use crate::{
    http::head::{Fields, Progress, request, response},
    rules::UsedFields,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a client gets that takes gzip: the lines of the head that it would not have got without compression, and those that
/// it does not get any more, with a minus. Whether content is coded, in front.
fn changes(method_line: &str, head: &str, policy: &Compression, accepted: Option<Algorithm>) -> String {
    let (mut asked, mut answered) = (Fields::default(), Fields::default());
    let progress = &mut Progress::default();
    let request = request::Head::parse(method_line.as_bytes(), progress, &mut asked).unwrap().unwrap();
    let request = request.check().unwrap();
    let head = format!("{head}\r\n\r\n").replace('|', "\r\n");
    let parsed = response::Head::parse(head.as_bytes(), &mut Progress::default(), &mut answered);
    let parsed = parsed.unwrap().unwrap();
    let response = parsed.check(request.method, false).unwrap();
    let (mut scratch, mut work) = (Vec::new(), Vec::new());
    let mut message = Message::of_response(parsed, &mut scratch);
    let lines = |message: &Message<'_>| -> Vec<String> {
        let line = |field: crate::http::head::Field<'_>| {
            format!("{}: {}", String::from_utf8_lossy(field.name), String::from_utf8_lossy(field.value))
        };
        message.fields().map(line).collect()
    };
    let before = lines(&message);
    let coding = of_response(policy, accepted, &request, &response, &mut message, &mut work).unwrap();
    let after = lines(&message);
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{line}"));
    let new = after.iter().filter(|line| !before.contains(line)).cloned();
    let coding = coding.map_or("plain", Algorithm::name).to_owned();
    std::iter::once(coding).chain(gone).chain(new).collect::<Vec<_>>().join("|")
}

/// A large page with these lines.
fn page(lines: &str) -> String {
    format!("HTTP/1.1 200 OK|Content-Type: text/html|Content-Length: 5000{lines}")
}

#[test]
fn responses_are_compressed_that_are_worth_it_and_may_be() {
    const CODED: &str = "gzip|Vary: Accept-Encoding|Content-Encoding: gzip";
    const PLAIN: &str = "plain";
    let table: &[(&str, String, &str)] = &[
        ("a page", page(""), CODED),
        ("in chunks", "HTTP/1.1 200 OK|Content-Type: text/html|Transfer-Encoding: chunked".into(), CODED),
        ("until close", "HTTP/1.0 200 OK|Content-Type: text/html".into(), CODED),
        // Status
        ("created", page("").replace("200 OK", "201 Created"), CODED),
        ("non-authoritative", page("").replace("200 OK", "203 Non-Authoritative"), CODED),
        ("no content", page("").replace("200 OK", "204 No Content"), PLAIN),
        ("part", page("|Content-Range: bytes 0-4999/9000").replace("200 OK", "206 Partial Content"), PLAIN),
        ("not modified", page("").replace("200 OK", "304 Not Modified"), PLAIN),
        ("not found", page("").replace("200 OK", "404 Not Found"), PLAIN),
        // Size
        ("small", page("").replace("5000", "999"), PLAIN),
        ("just large enough", page("").replace("5000", "1000"), CODED),
        ("empty", page("").replace("5000", "0"), PLAIN),
        // Type
        ("with parameters", page("").replace("html", "HTML; charset=utf-8"), CODED),
        ("json", page("").replace("text/html", "application/json"), CODED),
        ("image", page("").replace("text/html", "image/png"), PLAIN),
        ("multipart", page("").replace("text/html", "multipart/byteranges; boundary=a"), PLAIN),
        ("no type", page("").replace("Content-Type", "X-Type"), PLAIN),
        // Coded already
        ("coded", page("|Content-Encoding: br"), PLAIN),
        ("identity", page("|Content-Encoding: identity"), PLAIN),
        // Forbidden
        ("no-transform", page("|Cache-Control: private|Cache-Control: max-age=60, No-Transform"), PLAIN),
        ("cached", page("|Cache-Control: no-store, x-no-transform"), CODED),
        ("part", page("|Content-Range: bytes 0-8999/9000"), PLAIN),
        // Vary
        ("varies", page("|Vary: Cookie, accept-encoding"), "gzip|Content-Encoding: gzip"),
        ("varies by all", page("|Vary: *"), "gzip|Content-Encoding: gzip"),
        ("varies by others", page("|Vary: Cookie"), CODED),
        // ETag
        (
            "strong",
            page("|ETag: \"a\""),
            "gzip|-ETag: \"a\"|ETag: W/\"a\"|Vary: Accept-Encoding|Content-Encoding: gzip",
        ),
        ("weak", page("|ETag: W/\"a\""), CODED),
        ("no tag", page("|ETag: a"), PLAIN),
        ("half a tag", page("|ETag: \"a"), PLAIN),
        ("a quote", page("|ETag: \""), PLAIN),
        ("two in one", page("|ETag: \"a\", \"b\""), PLAIN),
        ("two tags", page("|ETag: \"a\"|ETag: \"a\""), PLAIN),
        // What is true of the content as it was
        (
            "sums",
            page("|Content-MD5: x|Digest: x|Content-Digest: x|Repr-Digest: x|Accept-Ranges: bytes|Date: x"),
            "gzip|-Content-MD5: x|-Digest: x|-Content-Digest: x|-Repr-Digest: x|-Accept-Ranges: bytes\
             |Vary: Accept-Encoding|Content-Encoding: gzip",
        ),
    ];
    let policy = Compression::default();
    for (name, head, expected) in table {
        assert_eq!(changes(GET, head, &policy, Some(Algorithm::Gzip)), *expected, "{name}: {head}");
    }
}

#[test]
fn response_that_could_be_compressed_says_so_to_those_who_get_it_plain() {
    const VARIES: &str = "plain|Vary: Accept-Encoding";
    let policy = Compression::default();
    let tagged = page("|ETag: \"a\"|Accept-Ranges: bytes");
    assert_eq!(changes(GET, &tagged, &policy, None), VARIES);
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(changes(head, &tagged, &policy, None), VARIES);
    assert_eq!(changes(head, &page("").replace("5000", "5"), &policy, Some(Algorithm::Gzip)), "plain");
    let old = "GET / HTTP/1.0\r\n\r\n";
    assert_eq!(changes(old, &tagged, &policy, Some(Algorithm::Gzip)), VARIES);
    assert_eq!(changes(GET, &page("|Content-Encoding: br"), &policy, None), "plain");
}

#[test]
fn head_is_answered_like_get() {
    let (policy, head) = (Compression::default(), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    let tagged = page("|ETag: \"a\"|Accept-Ranges: bytes");
    let coded =
        "gzip|-ETag: \"a\"|-Accept-Ranges: bytes|ETag: W/\"a\"|Vary: Accept-Encoding|Content-Encoding: gzip";
    for method_line in [GET, head] {
        assert_eq!(changes(method_line, &tagged, &policy, Some(Algorithm::Gzip)), coded);
    }
}

#[test]
fn types_and_size_are_those_of_the_file() {
    let all = Compression { types: vec![MediaRange::Any], minimum_size: 0, ..Compression::default() };
    for (head, expected) in [
        (page("").replace("text/html", "image/png").replace("5000", "1"), "deflate"),
        (page("").replace("Content-Type", "X-Type"), "deflate"),
        (page("").replace("text/html", "multipart/mixed"), "plain"),
        (page("").replace("5000", "0"), "plain"),
    ] {
        let found = changes(GET, &head, &all, Some(Algorithm::Deflate));
        assert_eq!(found.split('|').next(), Some(expected), "{head}");
    }
}

#[test]
fn request_that_forbids_it_is_answered_as_the_server_does_and_keeps_its_offer() {
    for (lines, expected) in [
        ("Cache-Control: no-cache, No-Transform\r\n", (None, true)),
        ("Cache-Control: no-cache\r\nCache-Control: no-transform\r\n", (None, true)),
        ("Cache-Control: no-cache\r\n", (Some(Algorithm::Gzip), false)),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n{lines}\r\n");
        let mut fields = Fields::default();
        let head = request::Head::parse(bytes.as_bytes(), &mut Progress::default(), &mut fields);
        let (head, mut scratch) = (head.unwrap().unwrap(), Vec::new());
        let request = head.check().unwrap();
        let mut message = Message::of_request(head, &request, &UsedFields::default(), &mut scratch).unwrap();
        let policy = Compression { offload: true, ..Compression::default() };
        let accepted = super::super::accept::of_request(&policy, &mut message);
        assert_eq!((accepted, message.first(b"accept-encoding").is_some()), expected, "{lines}");
    }
}
