//! Responses.

use super::respond;
use crate::http::{
    body::Framing,
    head::{
        Fields, Malformed, Progress,
        request::Method,
        response::{Head, Hop},
    },
};

#[test]
fn refused_responses() {
    use Malformed as M;
    let table: &[(&str, &str, M)] = &[
        ("H1", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", M::BothFramings),
        ("H2", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", M::TransferEncodingInHttp10),
        ("H3", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", M::TransferEncoding),
        ("H4", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", M::TransferCoding),
        ("H5", "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n", M::TransferEncoding),
        ("H7", "HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", M::ContentLength),
        ("H7", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", M::ContentLength),
        ("H7", "HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\n", M::ContentLength),
        ("H9", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", M::ObsoleteFold),
        ("H10", "HTTP/1.1 200 OK\n\r\n", M::BareLf),
        ("H12", "HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", M::FieldValue),
        ("H13", "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", M::SpaceBeforeColon),
        ("H14", "HTTP/1.1 200 OK\r\nnothing\r\n\r\n", M::NoColon),
        ("H15", "HTTP/1.1 200 OK\r\n A: b\r\n\r\n", M::LeadingSpace),
        ("H16", "\r\nHTTP/1.1 200 OK\r\n\r\n", M::StartLine),
        ("H23", "HTTP/2.0 200 OK\r\n\r\n", M::StartLine),
        ("H23", "HTTP/1.1 2000 OK\r\n\r\n", M::StartLine),
        ("H23", "HTTP/1.1 20 OK\r\n\r\n", M::StartLine),
        ("H23", "HTTP/1.1 099 OK\r\n\r\n", M::StartLine),
        ("H23", "HTTP/1.1  200 OK\r\n\r\n", M::StartLine),
        ("H23", "HTTP/1.1 200\tOK\r\n\r\n", M::StartLine),
        ("H23", "ICY 200 OK\r\n\r\n", M::StartLine),
        ("H33", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", M::SwitchingProtocols),
    ];
    for (row, bytes, expected) in table {
        assert_eq!(respond(bytes.as_bytes(), Method::Get).err(), Some(*expected), "{row}: {bytes:?}");
    }
}

#[test]
fn accepted_responses_reach_the_client_in_canonical_form() {
    let table: &[(&str, Method, &str, &str)] = &[
        (
            "H6",
            Method::Get,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5, 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "H23",
            Method::Get,
            "HTTP/1.0 404\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "H23",
            Method::Get,
            "HTTP/1.1 999 a  b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 999 a  b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "H30",
            Method::Get,
            "HTTP/1.1 200 OK\r\nConnection: X-Foo, close\r\nX-Foo: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\n\
             Proxy-Connection: x\r\nSet-Cookie: a\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "H35",
            Method::Get,
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        (
            "H35",
            Method::Get,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        ),
        (
            "H35",
            Method::Head,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            "H35",
            Method::Head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
        ),
        (
            "H35",
            Method::Get,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ),
    ];
    for (row, method, bytes, expected) in table {
        let (response, head) =
            respond(bytes.as_bytes(), *method).unwrap_or_else(|fault| panic!("{row}: {fault}"));
        assert_eq!(head, *expected, "{row}: {bytes:?}");
        assert_eq!(response.length, bytes.len(), "{row}");
    }
}

#[test]
fn framing_of_a_response_follows_method_status_and_fields() {
    let table: &[(&str, Method, &str, Framing)] = &[
        ("H35", Method::Head, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::None),
        ("H35", Method::Get, "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", Framing::None),
        ("H35", Method::Get, "HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n", Framing::None),
        ("H35", Method::Get, "HTTP/1.1 100 x\r\nContent-Length: 5\r\n\r\n", Framing::None),
        ("H35", Method::Get, "HTTP/1.1 205 x\r\nContent-Length: 5\r\n\r\n", Framing::Length(5)),
        ("H38", Method::Get, "HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose),
        ("H38", Method::Get, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", Framing::UntilClose),
        ("H5", Method::Get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n", Framing::Chunked),
    ];
    for (row, method, bytes, framing) in table {
        assert_eq!(respond(bytes.as_bytes(), *method).unwrap().0.framing, *framing, "{row}: {bytes:?}");
    }
}

#[test]
fn r4_only_persistent_connections_may_be_used_again() {
    for (bytes, persistent) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
    ] {
        assert_eq!(respond(bytes.as_bytes(), Method::Get).unwrap().0.persistent, persistent, "{bytes:?}");
    }
}

#[test]
fn r3_connection_authentication_is_noticed() {
    for (challenge, private) in
        [("Basic realm=\"a\"", false), ("Basic a, NTLM", true), ("Negotiate abc", true)]
    {
        let bytes = format!("HTTP/1.1 401 x\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(respond(bytes.as_bytes(), Method::Get).unwrap().0.private, private, "{challenge}");
    }
}

#[test]
fn h33_switching_protocols_needs_to_have_been_asked_and_both_fields() {
    let check = |bytes: &[u8], upgrade| {
        let mut fields = Fields::default();
        let head = Head::parse(bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
        head.check(Method::Get, upgrade).map(|response| {
            let mut out = Vec::new();
            head.encode(&response, &Hop { framing: Framing::None, close: false }, &mut out);
            String::from_utf8(out).unwrap()
        })
    };
    let fine = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n";
    assert_eq!(
        check(fine, true).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    assert_eq!(check(fine, false), Err(Malformed::SwitchingProtocols));
    assert_eq!(
        check(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", true),
        Err(Malformed::SwitchingProtocols)
    );
    assert_eq!(
        check(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\n\r\n", true),
        Err(Malformed::SwitchingProtocols)
    );
    assert_eq!(
        check(b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", true),
        Err(Malformed::SwitchingProtocols)
    );
}

#[test]
fn close_is_said_to_the_client_but_not_in_interim_responses() {
    let encode = |bytes: &[u8], framing| {
        let mut fields = Fields::default();
        let head = Head::parse(bytes, &mut Progress::default(), &mut fields).unwrap().unwrap();
        let response = head.check(Method::Get, false).unwrap();
        let mut out = Vec::new();
        head.encode(&response, &Hop { framing, close: true }, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(encode(b"HTTP/1.1 100 Continue\r\n\r\n", Framing::None), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(
        encode(b"HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose),
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    );
}
