//! Requests.

use super::{forward, forward_for};
use crate::http::{
    body::Framing,
    head::{
        Fields, MAX_FIELDS, Malformed, Progress,
        request::{Head, Method},
    },
};

/// The fault of a whole request head.
fn fault(bytes: &[u8]) -> Option<Malformed> {
    forward(bytes).err()
}

#[test]
fn refused_requests_are_refused_with_the_status_of_their_row() {
    use Malformed as M;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n";
    let post = "POST / HTTP/1.1\r\nHost: a\r\n";
    let table: &[(&str, String, M, u16)] = &[
        (
            "H1",
            format!("{post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"),
            M::BothFramings,
            400,
        ),
        (
            "H1",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"),
            M::BothFramings,
            400,
        ),
        (
            "H2",
            "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
            M::TransferEncodingInHttp10,
            400,
        ),
        ("H3", format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n"), M::TransferEncoding, 400),
        ("H3", format!("{post}Transfer-Encoding: gzip\r\n\r\n"), M::TransferEncoding, 400),
        ("H3", format!("{post}Transfer-Encoding: identity\r\n\r\n"), M::TransferEncoding, 400),
        ("H4", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"), M::TransferCoding, 501),
        ("H5", format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n"), M::TransferEncoding, 400),
        (
            "H5",
            format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
            M::TransferEncoding,
            400,
        ),
        (
            "H5",
            format!("{post}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
            M::TransferEncoding,
            400,
        ),
        ("H5", format!("{post}Transfer-Encoding:\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: chunked,\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: ,chunked\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: xchunked\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: chunkedx\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: \"chunked\"\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: chunked;q=1\r\n\r\n"), M::TransferEncoding, 400),
        ("H5", format!("{post}Transfer-Encoding: \u{b}chunked\r\n\r\n"), M::FieldValue, 400),
        ("H6", format!("{post}Content-Length: 5, 5\r\n\r\n"), M::ContentLength, 400),
        ("H6", format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 5, 6\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: +5\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: -1\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 0x5\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length:\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: \r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 5 6\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 5,\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 005\r\n\r\n"), M::ContentLength, 400),
        ("H7", format!("{post}Content-Length: 18446744073709551616\r\n\r\n"), M::ContentLength, 400),
        ("H9", format!("{get}A: b\r\n c\r\n\r\n"), M::ObsoleteFold, 400),
        ("H9", format!("{get}A: b\r\n\tc\r\n\r\n"), M::ObsoleteFold, 400),
        ("H10", "GET / HTTP/1.1\nHost: a\r\n\r\n".into(), M::BareLf, 400),
        ("H10", "GET / HTTP/1.1\r\nHost: a\n\r\n".into(), M::BareLf, 400),
        ("H10", "GET / HTTP/1.1\r\nHost: a\r\n\n".into(), M::BareLf, 400),
        ("H10", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::BareLf, 400),
        ("H11", format!("{get}A: b\rc\r\n\r\n"), M::FieldValue, 400),
        ("H11", format!("{get}A: b\r\r\n\r\n"), M::FieldValue, 400),
        ("H11", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H11", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H12", format!("{get}A: b\0c\r\n\r\n"), M::FieldValue, 400),
        ("H12", format!("{get}A: \u{1}\r\n\r\n"), M::FieldValue, 400),
        ("H12", format!("{get}A: \u{7f}\r\n\r\n"), M::FieldValue, 400),
        ("H13", format!("{get}Content-Length : 5\r\n\r\n"), M::SpaceBeforeColon, 400),
        ("H13", format!("{get}A\t: 5\r\n\r\n"), M::SpaceBeforeColon, 400),
        ("H14", format!("{get}: x\r\n\r\n"), M::FieldName, 400),
        ("H14", format!("{get}A(b): x\r\n\r\n"), M::FieldName, 400),
        ("H14", format!("{get}A b: x\r\n\r\n"), M::FieldName, 400),
        ("H14", format!("{get}\u{e9}: x\r\n\r\n"), M::FieldName, 400),
        ("H14", format!("{get}A\0: x\r\n\r\n"), M::FieldName, 400),
        ("H14", format!("{get}no colon here\r\n\r\n"), M::NoColon, 400),
        ("H15", "GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), M::LeadingSpace, 400),
        ("H15", "GET / HTTP/1.1\r\n\tHost: a\r\n\r\n".into(), M::LeadingSpace, 400),
        ("H16", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H16", " GET / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H17", "GET / HTTP/1.1\r\n\r\n".into(), M::NoHost, 400),
        ("H17", "GET http://a/ HTTP/1.1\r\n\r\n".into(), M::NoHost, 400),
        ("H18", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into(), M::SeveralHosts, 400),
        ("H18", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), M::SeveralHosts, 400),
        ("H18", "GET / HTTP/1.0\r\nHost: a\r\nhost: a\r\n\r\n".into(), M::SeveralHosts, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost:\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: [x]\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: %zz\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: %61\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a!$&'()*+;=~\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: a..\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: .a\r\n\r\n".into(), M::Host, 400),
        ("H19", "GET / HTTP/1.1\r\nHost: .:80\r\n\r\n".into(), M::Host, 400),
        ("H20", "GET http://a%2eb/ HTTP/1.1\r\nHost: a%2eb\r\n\r\n".into(), M::Target, 400),
        ("H46", "delete / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::MethodCase, 400),
        ("H46", "Patch / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::MethodCase, 400),
        ("H19", "GET / HTTP/1.0\r\nHost: a b\r\n\r\n".into(), M::Host, 400),
        ("H20", "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n".into(), M::HostMismatch, 400),
        ("H20", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::HostMismatch, 400),
        ("H20", "GET https://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n".into(), M::HostMismatch, 400),
        ("H20", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H21", "GET * HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H21", "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H21", "CONNECT host HTTP/1.1\r\nHost: host\r\n\r\n".into(), M::Target, 400),
        ("H21", "GET host:80 HTTP/1.1\r\nHost: host\r\n\r\n".into(), M::Target, 400),
        ("H21", "GET admin HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H21", "OPTIONS */x HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H21", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H21", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H22", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H22", "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H22", "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H22", "GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H22", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::Target, 400),
        ("H23", "GET /\r\n\r\n".into(), M::StartLine, 400),
        ("H23", "GET / HTTP/1.10\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H23", "GET / http/1.1\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H23", "GET / HTTP/11\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H23", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), M::Version, 505),
        ("H23", "GET / HTTP/0.9\r\nHost: a\r\n\r\n".into(), M::Version, 505),
        ("H23", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), M::Version, 505),
        ("H24", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H24", "GET / \tHTTP/1.1\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H24", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H24", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n".into(), M::StartLine, 400),
        ("H30", format!("{get}Connection: {}\r\n\r\n", "x,".repeat(101)), M::TooManyOptions, 400),
        ("H31", format!("{post}Content-Length: 1\r\nExpect: 200-ok\r\n\r\n"), M::Expectation, 417),
        ("H33", format!("{get}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"), M::WebSocketKey, 400),
        ("H34", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".into(), M::Connect, 405),
        ("H41", "GET / HTTP/1.0\r\nContent-Length: 1\r\n\r\n".into(), M::UnexpectedContent, 400),
        ("H41", "DELETE / HTTP/1.0\r\nContent-Length: 1\r\n\r\n".into(), M::UnexpectedContent, 400),
    ];
    for (row, bytes, expected, status) in table {
        assert_eq!(fault(bytes.as_bytes()), Some(*expected), "{row}: {bytes:?}");
        assert_eq!(expected.status(), *status, "{row}");
    }
}

#[test]
fn accepted_requests_reach_the_server_in_canonical_form() {
    let ours = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let table: &[(&str, &str, &str)] = &[
        ("H8", "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "H7",
            "POST / HTTP/1.1\r\ncontent-length:0\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "H7",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
        ),
        (
            "H5",
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-ENCODING: \tChunkeD \r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "H12",
            "GET / HTTP/1.1\r\nHost: a\r\nA:\t b\tc \t\r\nEmpty:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\tc\r\nEmpty: \r\n\r\n",
        ),
        ("H16", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ours),
        ("H17", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: 192.0.2.10:8080\r\n\r\n"),
        (
            "H19",
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
        ),
        (
            "H19",
            "GET / HTTP/1.1\r\nHost: a_b.example:\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a_b.example:\r\n\r\n",
        ),
        ("H19", "GET / HTTP/1.1\r\nHost: 1-A.b.\r\n\r\n", "GET / HTTP/1.1\r\nHost: 1-A.b.\r\n\r\n"),
        ("H46", "propFind / HTTP/1.1\r\nHost: a\r\n\r\n", "propFind / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("H20", "GET http://A:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x?y HTTP/1.1\r\nHost: A:80\r\n\r\n"),
        ("H20", "GET HTTP://a HTTP/1.1\r\nHost: a:80\r\n\r\n", ours),
        ("H20", "GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?q HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("H20", "GET http://a/ HTTP/1.0\r\n\r\n", ours),
        ("H21", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("H21", "OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "H22",
            "GET /../%2e//a;b?c=%zz&\"<>|{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /../%2e//a;b?c=%zz&\"<>|{} HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("H23", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", ours),
        (
            "H30",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Foo, keep-alive\r\nX-Foo: 1\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nTE: gzip\r\nTrailer: x\r\nX-Bar: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Bar: 2\r\n\r\n",
        ),
        (
            "H30",
            "POST / HTTP/1.1\r\nConnection: host, content-length, X-Forwarded-For, authorization\r\nConnection: cookie\r\n\
             Host: a\r\nX-Forwarded-For: 1\r\nAuthorization: b\r\nCookie: c\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1\r\nAuthorization: b\r\nCookie: c\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            "H30",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-real-ip, X-SSL-Client-Verify, Client-Cert, X-Hop\r\n\
             X-Real-IP: 1\r\nx-ssl-client-verify: 2\r\nClient-Cert: 3\r\nX-Hop: 4\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Real-IP: 1\r\nx-ssl-client-verify: 2\r\nClient-Cert: 3\r\n\r\n",
        ),
        (
            "H29",
            "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: trailers\r\n\r\n",
        ),
        (
            "H31",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            "H31",
            "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
        ),
        (
            "H33",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nConnection: upgrade\r\n\
             Upgrade: websocket\r\n\r\n",
        ),
        ("H33", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", ours),
        ("H33", "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", ours),
        (
            "H33",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
            ours,
        ),
        ("H33", "GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ours),
        (
            "H41",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
        ),
    ];
    for (row, bytes, expected) in table {
        let (request, head) =
            forward(bytes.as_bytes()).unwrap_or_else(|fault| panic!("{row}: {fault}: {bytes:?}"));
        assert_eq!(head, *expected, "{row}: {bytes:?}");
        assert_eq!(request.length, bytes.len(), "{row}");
    }
}

#[test]
fn h8_request_without_length_has_no_content_and_what_follows_is_not_its() {
    let (request, _) = forward(b"POST / HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\n").unwrap();
    assert_eq!((request.framing, request.length), (Framing::None, 28));
}

#[test]
fn d6_forwardfor_is_appended_last_and_the_clients_own_line_stays() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nA: b\r\n\r\n";
    let (_, head) = forward_for(bytes, Some("198.51.100.7".parse().unwrap())).unwrap();
    assert_eq!(
        head,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nA: b\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n"
    );
    for (address, text) in [("::ffff:198.51.100.7", "198.51.100.7"), ("2001:db8::7", "2001:db8::7")] {
        let (_, head) = forward_for(b"GET / HTTP/1.0\r\n\r\n", Some(address.parse().unwrap())).unwrap();
        assert!(head.ends_with(&format!("X-Forwarded-For: {text}\r\n\r\n")), "{head}");
    }
}

#[test]
fn h39_http_1_0_and_close_are_not_persistent() {
    for (bytes, persistent) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
    ] {
        assert_eq!(forward(bytes.as_bytes()).unwrap().0.persistent, persistent, "{bytes:?}");
    }
}

#[test]
fn r2_methods_that_may_be_sent_twice() {
    let idempotent: Vec<_> = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "POST", "PATCH", "PURGE"]
        .into_iter()
        .filter(|method| {
            let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
            forward(bytes.as_bytes()).unwrap().0.method.is_idempotent()
        })
        .collect();
    assert_eq!(idempotent, ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"]);
    assert!(!Method::Connect.is_idempotent());
}

#[test]
fn h25_limits_are_exact_and_hold_before_the_head_is_whole() {
    let parse = |bytes: &[u8]| {
        let mut fields = Fields::default();
        Head::parse(bytes, &mut Progress::default(), &mut fields).map(|head| head.is_some())
    };
    let line = |length: usize| format!("GET /{} HTTP/1.1", "x".repeat(length - 14));
    assert_eq!(parse(format!("{}\r\nHost: a\r\n\r\n", line(8192)).as_bytes()), Ok(true));
    assert_eq!(
        parse(format!("{}\r\nHost: a\r\n\r\n", line(8193)).as_bytes()),
        Err(Malformed::RequestLineTooLong)
    );
    assert_eq!(parse(&line(8193).as_bytes()[..8193]), Ok(false));
    assert_eq!(parse(format!("{}yz", line(8192)).as_bytes()), Err(Malformed::RequestLineTooLong));

    let field = |length: usize| format!("GET / HTTP/1.1\r\nA:{}\r\n\r\n", "x".repeat(length - 2));
    assert_eq!(parse(field(8192).as_bytes()), Ok(true));
    assert_eq!(parse(field(8193).as_bytes()), Err(Malformed::LineTooLong));

    let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(parse(fields(MAX_FIELDS).as_bytes()), Ok(true));
    assert_eq!(parse(fields(MAX_FIELDS + 1).as_bytes()), Err(Malformed::TooManyFields));
    assert_eq!(parse(fields(10_000).as_bytes()), Err(Malformed::TooManyFields));

    // 16 bytes of request line, 4 lines of 8,187, an empty line: 32,766 + 2.
    let large = |more: usize| {
        let mut head = String::from("GET / HTTP/1.1\r\n");
        for _ in 0..4 {
            head.push_str(&format!("A:{}\r\n", "x".repeat(8183)));
        }
        head.truncate(head.len() - 2);
        head.push_str(&"x".repeat(more));
        head.push_str("\r\n\r\n");
        head
    };
    assert_eq!(large(2).len(), 32_768);
    assert_eq!(parse(large(2).as_bytes()), Ok(true));
    assert_eq!(parse(large(3).as_bytes()), Err(Malformed::HeadTooLarge));
}

#[test]
fn h25_refusals_have_their_own_statuses() {
    assert_eq!(Malformed::RequestLineTooLong.status(), 414);
    assert_eq!(Malformed::LineTooLong.status(), 431);
    assert_eq!(Malformed::HeadTooLarge.status(), 431);
    assert_eq!(Malformed::TooManyFields.status(), 431);
}

#[test]
fn bytes_that_are_no_http_are_refused_at_the_first_byte() {
    for bytes in [&b"\x16\x03\x01"[..], b"\0", b"\xff", b"{"] {
        let mut fields = Fields::default();
        let parsed = Head::parse(bytes, &mut Progress::default(), &mut fields).map(|head| head.is_some());
        assert_eq!(parsed, Err(Malformed::StartLine), "{bytes:?}");
    }
}

#[test]
fn head_split_at_every_byte_means_the_same() {
    let bytes = b"\r\nPOST http://a/x HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n";
    let whole = forward(bytes).unwrap();
    let mut progress = Progress::default();
    let mut length = None;
    for end in 0..=bytes.len() {
        let mut fields = Fields::default();
        if let Some(head) = Head::parse(&bytes[..end], &mut progress, &mut fields).unwrap() {
            assert_eq!(head.check().unwrap(), whole.0);
            let mut out = Vec::new();
            let hop = crate::http::head::request::Hop {
                forwarded_for: None,
                local: "192.0.2.10:8080".parse().unwrap(),
                close: false,
            };
            head.encode(&whole.0, &hop, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), whole.1);
            length = Some(end);
            break;
        }
    }
    assert_eq!(length, Some(bytes.len() - 3));
}
