//! The rows of docs/http1.md that a response shows, as bytes, through HAProxy and through us: what the client makes of it,
//! whether its connection and the server's serve the next request. Where the two differ it is on purpose, and stands here.

use std::fmt::Write;

use lb_proxy::config::ReuseMode;

use crate::script::{
    Play, Seen,
    Step::{self, Finish, HeadResponse, Leave, Request, Response, Send},
    both,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const FIRST: &str = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: &str = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
const THIRD: &str = "GET /3 HTTP/1.1\r\nHost: a\r\n\r\n";

/// A client that asks for something, and again, and another client.
const GET: &[Step] = &[Send(FIRST), Response, Send(SECOND), Response, Leave, Send(THIRD), Response];
const HEAD: &[Step] = &[
    Send("HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n"),
    HeadResponse,
    Send(SECOND),
    Response,
    Leave,
    Send(THIRD),
    Response,
];
const GET_1_0: &[Step] = &[
    Send("GET /1 HTTP/1.0\r\nHost: a\r\n\r\n"),
    Response,
    Send(SECOND),
    Response,
    Leave,
    Send(THIRD),
    Response,
];

/// A server whose first response is the one of the case.
macro_rules! first {
    ($response:expr) => {
        &[&[Request, Send($response), Request, Send(OK), Request, Send(OK)], OTHERS]
    };
    ($response:expr, end) => {
        &[&[Request, Send($response), Finish], OTHERS]
    };
}
const OTHERS: &[Step] = &[Request, Send(OK), Request, Send(OK), Request, Send(OK)];

type Case = (&'static str, &'static [Step], &'static [&'static [Step]]);

/// With HAProxy's outcome and ours.
type Different = (&'static str, &'static [Step], &'static [&'static [Step]], &'static str, &'static str);

/// Where both do the same.
fn agreed() -> Vec<Case> {
    vec![
        ("an ordinary one", GET, first!(OK)),
        ("H3 an unknown coding", GET, first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", end)),
        (
            "H3 chunked not last",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H4 gzip within",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H5 twice",
            GET,
            first!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            ),
        ),
        (
            "H5 not quite",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H5 capitals",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: ChunKed\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H6 the same length twice",
            GET,
            first!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
        ),
        ("H6 the same length in a list", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok")),
        (
            "H7 two lengths",
            GET,
            first!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 1\r\n\r\nok"),
        ),
        ("H7 a sign", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok")),
        ("H7 less than nothing", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok")),
        ("H7 hexadecimal", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok")),
        ("H7 an empty length", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok")),
        ("H7 too large", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok")),
        ("H11 a bare CR", GET, first!("HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 2\r\n\r\nok")),
        (
            "H13 space before the colon",
            GET,
            first!("HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 2\r\n\r\nok"),
        ),
        ("H14 no name", GET, first!("HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok")),
        ("H14 no colon", GET, first!("HTTP/1.1 200 OK\r\nabc\r\nContent-Length: 2\r\n\r\nok")),
        ("H14 no token", GET, first!("HTTP/1.1 200 OK\r\na(b: c\r\nContent-Length: 2\r\n\r\nok")),
        ("H15 white space first", GET, first!("HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 2\r\n\r\nok")),
        ("H23 no reason", GET, first!("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")),
        ("H23 empty reason", GET, first!("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok")),
        ("H23 status 600", GET, first!("HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok")),
        ("H23 status 999", GET, first!("HTTP/1.1 999 OK\r\nContent-Length: 2\r\n\r\nok")),
        ("H23 small letters", GET, first!("http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
        ("H23 no HTTP", GET, first!("220 mail ESMTP\r\n\r\n")),
        (
            "H27 an extension",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H29 trailers",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n"),
        ),
        (
            "H30 a field that Connection names",
            GET,
            first!("HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok"),
        ),
        (
            "H32 interim responses",
            GET,
            first!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            ),
        ),
        (
            "H33 101 nobody asked",
            GET,
            first!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
        ),
        ("H35 HEAD", HEAD, first!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")),
        ("H35 HEAD chunked", HEAD, first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")),
        ("H35 204", GET, first!("HTTP/1.1 204 No Content\r\n\r\n")),
        ("H35 204 with a length", GET, first!("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n")),
        ("H35 304 with a length", GET, first!("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n")),
        ("H36 content after HEAD", HEAD, first!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")),
        ("H36 content after 204", GET, first!("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok")),
        ("H36 content after 304", GET, first!("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok")),
        (
            "H36 another response",
            GET,
            first!(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            ),
        ),
        (
            "H36 another response after chunks",
            GET,
            first!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            ),
        ),
        ("H38 until the end to 1.0", GET_1_0, first!("HTTP/1.1 200 OK\r\n\r\nok", end)),
        (
            "H39 chunks to 1.0",
            GET_1_0,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "R4 the server says close",
            GET,
            first!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"),
        ),
        ("R4 1.0", GET, first!("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")),
        (
            "R4 1.0 that is kept",
            GET,
            first!("HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok"),
        ),
        ("R5 less than its length", GET, first!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", end)),
        (
            "R5 no last chunk",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", end),
        ),
        ("R2 half a head", GET, first!("HTTP/1.1 200 OK\r\nContent-", end)),
        ("R2 an end without a byte", GET, first!("", end)),
        (
            "H26 no size",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H26 a size of 68 bits",
            GET,
            first!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok\r\n0\r\n\r\n"
            ),
        ),
        (
            "H26 no digit",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\ng\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "H28 more than its size",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n"),
        ),
    ]
}

/// Where we are stricter, or do better: HAProxy's outcome and ours.
fn different() -> Vec<Different> {
    vec![
        (
            "H1 both framings",
            GET,
            first!(
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            ),
            r#"200 "ok", stays, 1 2 2"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H2 chunks in 1.0",
            GET,
            first!("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", end),
            r#"200 "ok", ends, 1 2"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H5 an empty coding",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nok", end),
            r#"200 "ok", ends, 1 2"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H5 an empty member",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H9 a folded line",
            GET,
            first!("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H10 LF alone",
            GET,
            first!("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H10 LF in chunks",
            GET,
            first!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H12 NUL",
            GET,
            first!("HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H12 a control character",
            GET,
            first!("HTTP/1.1 200 OK\r\nA: b\x01c\r\nContent-Length: 2\r\n\r\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H16 an empty line first",
            GET,
            first!("\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H23 four digits",
            GET,
            first!("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
            r#"2000 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H23 a later version",
            GET,
            first!("HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H24 two spaces",
            GET,
            first!("HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok"),
            r#"200 "ok", stays, 1 1 1"#,
            "502 page, stays, 1 2 2",
        ),
        (
            "H32 interim to 1.0",
            GET_1_0,
            first!(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
            ),
            r#"103 200 "ok", ends, 1 1"#,
            r#"200 "ok", ends, 1 1"#,
        ),
        (
            "H38 until the end",
            GET,
            first!("HTTP/1.1 200 OK\r\n\r\nok", end),
            r#"200 "ok", ends, 1 2"#,
            r#"200 "ok", stays, 1 2 2"#,
        ),
        (
            "H38 until the end 1.0",
            GET,
            first!("HTTP/1.0 200 OK\r\n\r\nok", end),
            r#"200 "ok", ends, 1 2"#,
            r#"200 "ok", stays, 1 2 2"#,
        ),
    ]
}

/// The first answer, whether the client's connection served its next request, and which of the server's connections each
/// request that arrived came on.
fn outcome(seen: &Seen) -> String {
    let stays = if seen.client[1] == "end" { "ends" } else { "stays" };
    let connections: Vec<_> = seen.server.iter().filter_map(|one| one.split(':').next()).collect();
    format!("{}, {stays}, {}", seen.client[0], connections.join(" "))
}

/// HAProxy's outcomes and ours. Idle connections are anybody's, so that the third request shows whether there is one.
async fn outcomes(cases: impl Iterator<Item = Case>) -> Vec<(&'static str, [String; 2])> {
    let (names, plays): (Vec<_>, Vec<_>) =
        cases.map(|(name, client, server)| (name, Play { client, server })).unzip();
    let seen = both(&plays, "  http-reuse always\n", |config| {
        config.backends[0].options.pool.reuse = ReuseMode::Always;
    });
    let seen = seen.await;
    for (name, pair) in names.iter().zip(&seen) {
        for seen in pair {
            assert_eq!(seen.client[2], "200 \"ok\"", "{name}: the next client: {seen:?}");
        }
    }
    names.into_iter().zip(seen.iter().map(|pair| pair.each_ref().map(outcome))).collect()
}

#[tokio::test]
async fn what_haproxy_takes_for_a_response_and_what_not_is_the_same_here() {
    let mut differences = String::new();
    for (name, [theirs, ours]) in outcomes(agreed().into_iter()).await {
        if theirs != ours {
            writeln!(differences, "{name}\n  haproxy {theirs}\n  lbctl   {ours}").unwrap();
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[tokio::test]
async fn where_we_are_stricter_with_responses_or_do_better_haproxy_still_is_as_it_was() {
    let cases = different();
    let found = outcomes(cases.iter().map(|(name, client, server, ..)| (*name, *client, *server))).await;
    for ((.., their, our), (name, found)) in cases.iter().zip(found) {
        assert_eq!(found.each_ref().map(String::as_str), [*their, *our], "{name}: HAProxy left, ours right");
    }
}
