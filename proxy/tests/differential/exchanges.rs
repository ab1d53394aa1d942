//! The rows H28 to R5 of docs/http1.md that need both sides of an exchange, with HAProxy and with us: what the client gets, what
//! the server reads, and which connections go on. Where the two differ it is on purpose, and stands here.

use std::{fmt::Write, time::Duration};

use lb_proxy::{Config, config::Server};

use crate::{
    rig::Refusing,
    script::{
        Play, Seen,
        Step::{self, Bytes, End, Finish, Head, HeadResponse, Interim, Leave, Request, Response, Send},
        both,
    },
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: &str = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
/// Its content follows.
const EXPECT: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
const CHUNKS: &str =
    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\n\r\n";
const WEBSOCKET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const SWITCHING_ELSEWHERE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: irc\r\n\r\n";
/// A connection that serves whatever comes.
const OTHERS: &[Step] = &[Request, Send(OK), Request, Send(OK), Request, Send(OK)];

type Case = (&'static str, &'static [Step], &'static [&'static [Step]]);

/// Where both do the same.
fn agreed() -> Vec<Case> {
    vec![
        (
            "H28 broken chunks behind good ones",
            &[Send(CHUNKS), Interim, Send("1\r\na\r\nx\r\n"), Response, Leave, Send(GET), Response],
            &[&[Head, Send(CONTINUE), End], OTHERS],
        ),
        (
            "H29 trailers of a request",
            &[
                Send(
                    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\n",
                ),
                Response,
            ],
            &[&[Head, Send(OK)]],
        ),
        (
            "H31 the client is told to go on, and does",
            &[Send(EXPECT), Interim, Send("hello"), Response, Send(SECOND), Response],
            &[&[Head, Send(CONTINUE), Bytes(5), Send(OK), Request, Send(OK)]],
        ),
        (
            "H31 the server does not want it",
            &[Send(EXPECT), Response, End],
            &[&[Head, Send("HTTP/1.1 417 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")]],
        ),
        (
            "H32 an interim response long before the other",
            &[Send(GET), Interim, Response],
            &[&[Request, Send(HINTS), Send(OK)]],
        ),
        (
            "H33 bytes both ways",
            &[Send(WEBSOCKET), Response, Send("ping"), Bytes(4), Finish, End],
            &[&[Request, Send(SWITCHING), Bytes(4), Send("pong"), End]],
        ),
        (
            "H33 bytes that come early",
            &[Send(WEBSOCKET), Send("ping"), Response, Bytes(5), Finish, End],
            &[&[
                Request,
                Send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly",
                ),
                Bytes(4),
                End,
            ]],
        ),
        ("H33 the server does not want it", &[Send(WEBSOCKET), Response, Send(SECOND), Response], &[OTHERS]),
        (
            "H33 the server does not want it, and more came",
            &[Send(WEBSOCKET), Send(SECOND), Response, Response],
            &[OTHERS],
        ),
        (
            "H35 a HEAD, then a GET",
            &[Send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), HeadResponse, Send(GET), Response],
            &[&[Request, Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"), Request, Send(OK)]],
        ),
        (
            "H39 a client that says close",
            &[Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), Response, End],
            &[OTHERS],
        ),
        (
            "H41 a DELETE with content",
            &[
                Send("DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"),
                Response,
                Send(SECOND),
                Response,
            ],
            &[OTHERS],
        ),
        (
            "H42 in order",
            &[
                Send(
                    "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nPOST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
                ),
                Response,
                Response,
                Response,
            ],
            &[&[
                Request,
                Send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"),
                Request,
                Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n2\r\n0\r\n\r\n"),
                Request,
                Send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3"),
            ]],
        ),
        ("H43 a client that has said all", &[Send(GET), Finish, Response, End], &[OTHERS]),
        (
            "H43 a client that ends in its content",
            &[Send(EXPECT), Interim, Send("he"), Interim, Finish, End],
            &[&[Head, Send(CONTINUE), Bytes(2), Send(HINTS), End]],
        ),
        (
            "H43 a client that goes away in its content",
            &[Send(EXPECT), Interim, Send("he"), Interim, Leave, Send(GET), Response],
            &[&[Head, Send(CONTINUE), Bytes(2), Send(HINTS), End], OTHERS],
        ),
        (
            "R2 a fresh connection that dies",
            &[Send(GET), Response, Send(SECOND), Response],
            &[&[Request, Finish], OTHERS],
        ),
        (
            "R2 a fresh connection that is reset",
            &[Send(GET), Response, Send(SECOND), Response],
            &[&[Request, Leave], OTHERS],
        ),
        (
            "R5 a response that breaks",
            &[Send(GET), Response, Leave, Send(SECOND), Response],
            &[&[Request, Send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"), Leave], OTHERS],
        ),
    ]
}

/// Where we are stricter, or do better: what HAProxy's client gets and the connections of the server that its requests come
/// on, and ours.
fn different() -> Vec<(Case, &'static str, &'static str)> {
    vec![
        (
            (
                "H31 the server says nothing, and the client goes on",
                &[Send(EXPECT), Send("hello"), Response, Send(SECOND), Response],
                &[&[Request, Send(OK), Request, Send(OK)], OTHERS],
            ),
            r#"200 "ok", 200 "ok" on 1 1"#,
            r#"200 "ok", 200 "ok" on 1 2"#,
        ),
        (
            (
                "H33 something else than was asked for",
                &[Send(WEBSOCKET), Response, Leave, Send(GET), Response],
                &[&[Request, Send(SWITCHING_ELSEWHERE), End], OTHERS],
            ),
            r#"101 , 200 "ok" on 1 1 2"#,
            r#"502 page, 200 "ok" on 1 1 2"#,
        ),
        (
            (
                "H39 1.0 that would stay",
                &[
                    Send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
                    Response,
                    Send(SECOND),
                    Response,
                ],
                &[OTHERS],
            ),
            r#"200 "ok", 200 "ok" on 1 1"#,
            r#"200 "ok", end on 1"#,
        ),
        (
            (
                "H40 a response before the content",
                &[
                    Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"),
                    Response,
                    Send("hello"),
                    Send(SECOND),
                    Response,
                    Leave,
                    Send(GET),
                    Response,
                ],
                &[&[Head, Send(OK), Head, Send(OK)], OTHERS],
            ),
            r#"200 "ok", 200 "ok", 200 "ok" on 1 1 2"#,
            r#"200 "ok", end, 200 "ok" on 1 2"#,
        ),
        (
            (
                "R2 a used connection that dies",
                &[Send(GET), Response, Send(SECOND), Response],
                &[&[Request, Send(OK), Request, Finish], OTHERS],
            ),
            r#"200 "ok", end on 1 1"#,
            r#"200 "ok", 200 "ok" on 1 1 2"#,
        ),
        (
            (
                "R2 a used connection that dies with a POST",
                &[Send(GET), Response, Send(POST), Response, Leave, Send(SECOND), Response],
                &[&[Request, Send(OK), Request, Finish], OTHERS],
            ),
            r#"200 "ok", end, 200 "ok" on 1 1 2"#,
            r#"200 "ok", 502 page, 200 "ok" on 1 1 2"#,
        ),
    ]
}

/// Those that take as long as `timeout.http_request` or `timeout.http_keep_alive`.
fn slow() -> Vec<Case> {
    vec![
        (
            "H44 a second head that never ends",
            &[Send(GET), Response, Send("GET / HTTP/1.1\r\nHo"), Response, End],
            &[OTHERS],
        ),
        ("H45 a client that has got its answer", &[Send(GET), Response, End], &[OTHERS]),
    ]
}

fn play_of((_, client, server): Case) -> Play {
    Play { client, server }
}

/// What the client got, and the connections of what the server got.
fn outcome(seen: &Seen) -> String {
    let connections: Vec<_> = seen.server.iter().filter_map(|one| one.split(':').next()).collect();
    format!("{} on {}", seen.client.join(", "), connections.join(" "))
}

/// Plays them; a line for each that is not the same with both.
async fn differences(cases: Vec<Case>, lines: &str, change: impl Fn(&mut Config)) -> String {
    let plays: Vec<_> = cases.iter().copied().map(play_of).collect();
    let mut differences = String::new();
    for ((name, ..), [theirs, ours]) in cases.iter().zip(both(&plays, lines, change).await) {
        assert!(!theirs.client.is_empty() && !theirs.server.is_empty(), "{name}: {theirs:?}");
        if theirs != ours {
            writeln!(differences, "{name}\n  haproxy {theirs:?}\n  lbctl   {ours:?}").unwrap();
        }
    }
    differences
}

#[tokio::test]
async fn exchanges_go_as_with_haproxy() {
    let differences = differences(agreed(), "", |_| {}).await;
    assert!(differences.is_empty(), "{differences}");
}

#[tokio::test]
async fn clients_that_are_slow_or_idle_end_as_with_haproxy() {
    let lines = "  timeout http-request 500ms\n  timeout http-keep-alive 500ms\n";
    let differences = differences(slow(), lines, |config| {
        config.frontends[0].timeout.http_request = Duration::from_millis(500);
        config.frontends[0].timeout.http_keep_alive = Duration::from_millis(500);
    });
    let differences = differences.await;
    assert!(differences.is_empty(), "{differences}");
}

#[tokio::test]
async fn request_with_content_leaves_a_server_that_refuses_as_with_haproxy() {
    let dead = Refusing::new();
    let lines = format!("  retries 1\n  option redispatch 1\n  server dead {}\n", dead.address);
    let cases: Vec<Case> = vec![("R1", &[Send(POST), Response, Send(POST), Response], &[OTHERS])];
    let differences = differences(cases, &lines, |config| {
        config.backends[0].servers.insert(0, Server::new("dead", dead.address));
        config.backends[0].retries = 1;
        config.backends[0].redispatch = true;
    });
    let differences = differences.await;
    assert!(differences.is_empty(), "{differences}");
}

#[tokio::test]
async fn where_we_end_exchanges_otherwise_haproxy_still_is_as_it_was() {
    let cases = different();
    let plays: Vec<_> = cases.iter().map(|(case, ..)| play_of(*case)).collect();
    for (((name, ..), their, our), seen) in cases.into_iter().zip(both(&plays, "", |_| {}).await) {
        assert_eq!(seen.each_ref().map(outcome), [their, our], "{name}: HAProxy left, ours right");
    }
}
