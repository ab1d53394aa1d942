//! The heads and contents of rows H1 to H45 of docs/http1.md, as bytes, to HAProxy and to us: who is refused, and what the
//! server reads of who is not. Where the two differ it is on purpose, and stands here.

use std::{fmt::Write, time::Duration};

use lb_proxy::Proxy;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{
    haproxy::HAProxy,
    peers::{Recording, http_config},
    rig::*,
    script::settled,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a client's bytes come to: the statuses it gets and the requests that the server reads.
type Outcome = (Vec<u16>, Vec<String>);

/// A request with these lines behind `Host` and this content.
fn request(line: &str, fields: &str, content: &str) -> Vec<u8> {
    format!("{line}\r\nHost: a\r\n{fields}\r\n{content}").into_bytes()
}

fn get(target: &[u8]) -> Vec<u8> {
    [b"GET ", target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat()
}

fn post(fields: &str, content: &str) -> Vec<u8> {
    request("POST / HTTP/1.1", fields, content)
}

fn chunked(content: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked\r\n", content)
}

/// Where both do the same: the row and the client's bytes.
fn agreed() -> Vec<(&'static str, Vec<u8>)> {
    let mut cases = vec![
        ("H7 two lengths", post("Content-Length: 1\r\nContent-Length: 2\r\n", "ab")),
        ("H35 HEAD", request("HEAD / HTTP/1.1", "", "")),
        ("H41 a HEAD with content", request("HEAD / HTTP/1.1", "Content-Length: 1\r\n", "a")),
        ("H3 an unknown coding", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")),
        ("H3 an unknown coding alone", post("Transfer-Encoding: gzip\r\n", "0\r\n\r\n")),
        ("H5 twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("H5 not quite", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
        ("H5 empty", post("Transfer-Encoding:\r\n", "0\r\n\r\n")),
        ("H8 content that looks like a request", post("", "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("H11 a bare CR", request("GET / HTTP/1.1", "A: b\rc\r\n", "")),
        ("H13 a space before the colon", request("GET / HTTP/1.1", "A : b\r\n", "")),
        ("H14 no name", request("GET / HTTP/1.1", ": b\r\n", "")),
        ("H14 no colon", request("GET / HTTP/1.1", "abc\r\n", "")),
        ("H14 no token", request("GET / HTTP/1.1", "a(b: c\r\n", "")),
        ("H15 a folded first line", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_vec()),
        ("H16 an empty line first", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("H18 two hosts", request("GET / HTTP/1.1", "Host: b\r\n", "")),
        ("H20 another host in the target", request("GET http://b/ HTTP/1.1", "", "")),
        ("H21 an authority", get(b"a:80")),
        ("H21 a word", get(b"admin")),
        ("H21 the server itself", request("OPTIONS * HTTP/1.1", "", "")),
        ("H21 a path to connect to", request("CONNECT / HTTP/1.1", "", "")),
        ("H22 a fragment", get(b"/a#b")),
        ("H22 a byte above 127", get(b"/\xe4")),
        ("H22 DEL", get(b"/\x7f")),
        ("H23 no version", b"GET /\r\n\r\n".to_vec()),
        ("H23 two digits", request("GET / HTTP/1.10", "", "")),
        ("H23 small letters", request("GET / http/1.1", "", "")),
        ("H26 no size", chunked("\r\na\r\n0\r\n\r\n")),
        ("H26 a size of 68 bits", chunked("fffffffffffffffff\r\na\r\n0\r\n\r\n")),
        ("H26 no digit", chunked("g\r\na\r\n0\r\n\r\n")),
        ("H27 an extension", chunked("1;a=\"b\"\r\na\r\n0\r\n\r\n")),
        ("H28 more than its size", chunked("1\r\nab\r\n0\r\n\r\n")),
        ("H33 a WebSocket without a key", {
            request("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", "")
        }),
        ("H41 a GET with content", request("GET / HTTP/1.1", "Content-Length: 3\r\n", "abc")),
        ("H42 two at once", [get(b"/1"), get(b"/2")].concat()),
    ];
    for length in ["5, 6", "+5", "-1", "0x5", "", "5 6", "99999999999999999999", "5;", "5.0"] {
        cases.push(("H7 a length that is none", post(&format!("Content-Length: {length}\r\n"), "hello")));
    }
    cases
}

/// Where we are stricter, or another status is the right one: the row, the client's bytes, HAProxy's statuses and ours.
fn stricter() -> Vec<(&'static str, Vec<u8>, u16, u16)> {
    let many: String = (0..101).fold(String::new(), |mut all, n| {
        write!(all, "X{n}: 1\r\n").unwrap();
        all
    });
    vec![
        (
            "H1 both framings",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            200,
            400,
        ),
        (
            "H2 chunks in 1.0",
            request("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            200,
            400,
        ),
        ("H4 gzip within", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 422, 501),
        ("H6 the same length twice", post("Content-Length: 1\r\nContent-Length: 1\r\n", "a"), 200, 400),
        ("H9 a folded line", request("GET / HTTP/1.1", "A: b\r\n c\r\n", ""), 200, 400),
        ("H10 LF alone", b"GET / HTTP/1.1\nHost: a\n\n".to_vec(), 200, 400),
        ("H10 LF in chunks", chunked("1\na\n0\n\n"), 200, 400),
        ("H17 no host", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 200, 400),
        ("H19 an empty host", b"GET / HTTP/1.1\r\nHost: \r\n\r\n".to_vec(), 200, 400),
        ("H19 a host that is none", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_vec(), 200, 400),
        ("H24 two spaces", request("GET  / HTTP/1.1", "", ""), 200, 400),
        ("H24 a tab", request("GET\t/ HTTP/1.1", "", ""), 200, 400),
        ("H31 another expectation", post("Expect: x\r\nContent-Length: 1\r\n", "a"), 200, 417),
        ("H34 connect", b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_vec(), 200, 405),
        ("H41 a GET with content in 1.0", request("GET / HTTP/1.0", "Content-Length: 1\r\n", "a"), 413, 400),
        ("H46 small letters", request("get / HTTP/1.1", "", ""), 200, 400),
        ("H5 an empty member", post("Transfer-Encoding: chunked,\r\n", "0\r\n\r\n"), 200, 400),
        ("H12 NUL", request("GET / HTTP/1.1", "A: b\0c\r\n", ""), 200, 400),
        ("H21 more than the server itself", request("OPTIONS */x HTTP/1.1", "", ""), 200, 400),
        ("H23 a later version", request("GET / HTTP/2.0", "", ""), 200, 505),
        ("H25 a field too many", request("GET / HTTP/1.1", &many, ""), 400, 431),
        ("H25 a long target", get(&[b"/", [b'a'; 20_000].as_slice()].concat()), 400, 414),
        (
            "H25 a long field",
            { request("GET / HTTP/1.1", &format!("A: {}\r\n", "b".repeat(40_000)), "") },
            400,
            431,
        ),
    ]
}

/// What the server gets of these is not the same: the row, the client's bytes, and what we leave out or write otherwise.
fn rewritten() -> Vec<(&'static str, Vec<u8>, &'static str, &'static str)> {
    let websocket =
        "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    vec![
        (
            "H5 capitals",
            post("Transfer-Encoding: ChunKed\r\n", "1\r\na\r\n0\r\n\r\n"),
            "transfer-encoding: ChunKed",
            "transfer-encoding: chunked",
        ),
        ("H33 without Connection", request("GET / HTTP/1.1", websocket, ""), "upgrade: websocket", ""),
        ("H20 absolute", get(b"http://a/x"), "GET http://a/x HTTP/1.1", "GET /x HTTP/1.1"),
        (
            "H30 a field that Connection names",
            request("GET / HTTP/1.1", "Connection: x-a\r\nX-A: 1\r\n", ""),
            "x-a: 1",
            "",
        ),
        ("H39 1.0", request("GET / HTTP/1.0", "", ""), "GET / HTTP/1.0", "GET / HTTP/1.1"),
        (
            "H33 h2c",
            request(
                "GET / HTTP/1.1",
                "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n",
                "",
            ),
            "upgrade: h2c",
            "",
        ),
    ]
}

/// Both, each with a server of its own.
struct Pair {
    haproxy: HAProxy,
    proxy: Proxy,
    theirs: Recording,
    ours: Recording,
}

impl Pair {
    async fn start() -> Self {
        let (theirs, ours) = (Recording::answering(OK).await, Recording::answering(OK).await);
        let sections = format!(
            "listen web\n  bind unix@FOLDER/web\n  timeout http-request 10s\n  server s1 {}\n",
            theirs.server.address
        );
        let haproxy = HAProxy::start(&sections, "web").await;
        let proxy = Proxy::start(http_config(&[ours.server.address])).unwrap();
        Self { haproxy, proxy, theirs, ours }
    }

    /// HAProxy's outcome and ours.
    async fn both(&self, bytes: &[u8]) -> [Outcome; 2] {
        let (their, our) = (self.theirs.requests().len(), self.ours.requests().len());
        let haproxy = UnixStream::connect(self.haproxy.socket("web")).await.unwrap();
        let statuses = [said(haproxy, bytes).await, said(connect(&self.proxy).await, bytes).await];
        let read = [&self.theirs.requests()[their..], &self.ours.requests()[our..]];
        let [theirs, ours] = read.map(|all| all.iter().map(|one| settled(one)).collect());
        let [their, our] = statuses;
        [(their, theirs), (our, ours)]
    }
}

/// The statuses that a client gets who sends `bytes` and no more.
async fn said(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Vec<u16> {
    // Who refuses a head may be gone before all of it is there.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    // The client's side ends behind the first answer, or when none comes: HAProxy reads no second request of a client
    // whose end it sees before.
    let _ = timeout(Duration::from_millis(100), stream.read_buf(&mut answer)).await;
    let _ = stream.shutdown().await;
    let _ = timeout(LONG, stream.read_to_end(&mut answer)).await.expect("it never ends");
    let answer = String::from_utf8_lossy(&answer);
    answer.split("HTTP/1.").skip(1).filter_map(|rest| rest.split(' ').nth(1)?.parse().ok()).collect()
}

#[tokio::test]
async fn what_haproxy_refuses_is_refused_and_what_it_forwards_is_the_same() {
    let pair = Pair::start().await;
    let mut differences = String::new();
    for (case, bytes) in agreed() {
        let [mut theirs, mut ours] = pair.both(&bytes).await;
        // HAProxy may still see the end of the client's side before the second of two requests, and closes then.
        for _ in 0..20 {
            if theirs.0.len() < ours.0.len() {
                [theirs, ours] = pair.both(&bytes).await;
            }
        }
        if theirs.0.is_empty() || theirs != ours {
            writeln!(differences, "{case}\n  haproxy {theirs:?}\n  lbctl   {ours:?}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[tokio::test]
async fn where_we_are_stricter_haproxy_still_is_as_it_was_and_no_server_sees_it() {
    let pair = Pair::start().await;
    for (case, bytes, expected, expected_here) in stricter() {
        let [(theirs, _), (ours, read)] = pair.both(&bytes).await;
        assert_eq!((theirs, ours), (vec![expected], vec![expected_here]), "{case}: HAProxy left, ours right");
        assert_eq!(read, Vec::<String>::new(), "{case}");
    }
}

#[tokio::test]
async fn what_we_write_anew_or_leave_out_haproxy_passes_on() {
    let pair = Pair::start().await;
    for (case, bytes, their_field, our_field) in rewritten() {
        let [theirs, ours] = pair.both(&bytes).await;
        assert_eq!(theirs.0, ours.0, "{case}");
        assert!(theirs.1[0].contains(their_field), "{case}: {}", theirs.1[0]);
        assert!(!ours.1[0].contains(their_field), "{case}: {}", ours.1[0]);
        assert!(ours.1[0].contains(our_field), "{case}: {}", ours.1[0]);
    }
}
