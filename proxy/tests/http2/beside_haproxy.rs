//! The rows of the rules to the installed HAProxy. Where it answers otherwise stands here, and in docs/http2.md who is right.

use std::{collections::BTreeSet, fmt::Write, os::unix::net::UnixStream, path::Path};

use tokio::io::AsyncWriteExt;

use super::{
    client::Client,
    conformance::outcome,
    haproxy::HAProxy,
    peer, rig,
    rules::{Row, Step, Want, rows},
};

const BOOK: &str = include_str!("../../../docs/http2.md");

/// Rule, case and what HAProxy does.
const OTHERWISE: [(&str, &str, &str); 39] = [
    ("3.4", "no preface", "the end"),
    ("3.4", "a preface that is cut short by frames", "the end"),
    ("3.4", "no SETTINGS behind the preface", "the end"),
    ("3.4", "an answer to SETTINGS instead", "the end"),
    ("4.1", "a frame of an unknown kind", "connection PROTOCOL_ERROR"),
    ("5.1", "HEADERS behind the end", "connection PROTOCOL_ERROR"),
    ("5.1", "DATA that was on its way when we ended the stream", "connection PROTOCOL_ERROR"),
    ("5.1.1", "a stream of a smaller number", "connection STREAM_CLOSED"),
    ("5.3.1", "a stream that depends on itself", "connection PROTOCOL_ERROR"),
    ("6.1", "nothing but padding", "connection FRAME_SIZE_ERROR"),
    ("6.3", "PRIORITY of four bytes", "connection FRAME_SIZE_ERROR"),
    ("10.5.1", "CONTINUATION without end", "connection PROTOCOL_ERROR"),
    ("10.5.1", "fields that are far too long", "connection INTERNAL_ERROR"),
    ("10.5.1", "a section that is small only as it is coded", "connection COMPRESSION_ERROR"),
    ("6.9.2", "a window that settings make too large", "taken"),
    ("6.9.1", "more content than the window of a stream", "taken"),
    ("8.1", "trailers without the end", "connection PROTOCOL_ERROR"),
    ("8.1", "a pseudo-header field in trailers", "stream INTERNAL_ERROR"),
    ("8.2.1", "a name in upper case in trailers", "stream INTERNAL_ERROR"),
    ("8.1.1", "no content and Content-Length", "taken"),
    ("8.1.1", "less content than Content-Length, and trailers", "taken"),
    ("8.1.1", "two Content-Length", "taken"),
    ("8.1.1", "a list of Content-Length, and no content", "taken"),
    ("8.2.1", "an empty name", "connection COMPRESSION_ERROR"),
    ("8.2.1", "a value with another control character", "taken"),
    ("8.2.1", "a value that begins with a space", "taken"),
    ("8.2.1", "a value that ends in a tab", "taken"),
    ("8.3.1", "nothing at all", "connection FRAME_SIZE_ERROR"),
    ("8.3.1", "* of another method than OPTIONS", "taken"),
    ("8.3.1", ":method with a space", "taken"),
    ("8.3.1", "another :scheme", "taken"),
    ("8.3.1", "an empty :authority", "taken"),
    ("8.3.1", "Host that is not :authority", "taken"),
    ("8.3.1", "two Host", "taken"),
    ("8.3.1", "neither of the two", "taken"),
    ("8.3.1", ":authority with a user", "taken"),
    ("8.5", "CONNECT", "taken"),
    ("10.5.1", "fields that are longer than a head may be", "stream PROTOCOL_ERROR"),
    ("10.5.1", "a field that is too long", "taken"),
];

/// In words, as the book has it.
fn said(want: Want) -> String {
    let code = |code: u32| {
        let names = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
        ];
        names[usize::try_from(code).unwrap()]
    };
    match want {
        Want::Connection(error) => format!("connection {}", code(error)),
        Want::Stream(_, error) => format!("stream {}", code(error)),
        Want::Nothing => "taken".to_owned(),
        Want::Status(status) => status.to_string(),
    }
}

/// What HAProxy does. Requests that are not refused come to a server that says nothing.
fn theirs(row: &Row, socket: &Path) -> String {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(rig::LONG)).unwrap();
    let mut client = Client::over(stream);
    if !row.is_raw {
        client.begin();
    }
    for step in &row.steps {
        match step {
            Step::Send(bytes) => client.send(bytes),
            Step::Answered(stream) => assert_eq!(client.answer(*stream).status(), "200", "{}", row.what),
        }
    }
    if let Want::Status(_) = row.want {
        return match client.answer(1).status() {
            "504" => said(Want::Nothing),
            status => status.to_owned(),
        };
    }
    let (frames, is_there) = client.so_far();
    match outcome(&frames) {
        Want::Nothing if !is_there => "the end".to_owned(),
        outcome => said(outcome),
    }
}

#[tokio::test]
async fn haproxy_answers_otherwise_where_the_book_says_so() {
    // One that answers what the rows want answered, and leaves no connection before the other side has given it up: who ends its
    // stream with CONNECT has HAProxy end its side towards the server.
    let server = rig::Scripted::start(async |mut stream| {
        while let Some(head) = rig::read_head(&mut stream).await {
            if head.contains(" /index") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
        std::future::pending().await
    })
    .await;
    let mut sections = String::new();
    for (name, limit) in [("h2", "30s"), ("impatient", "100ms")] {
        write!(
            sections,
            "frontend {name}\n  bind unix@FOLDER/{name} proto h2\n  default_backend {name}\n\
             backend {name}\n  timeout server {limit}\n  server s1 {}\n",
            server.address
        )
        .unwrap();
    }
    let haproxy = HAProxy::start(&sections, "impatient").await;
    let [patient, impatient] = ["h2", "impatient"].map(|name| haproxy.socket(name));
    let differences = peer::apart(move || {
        let differs = |row: Row| {
            let socket = if let Want::Status(_) = row.want { &impatient } else { &patient };
            let theirs = theirs(&row, socket);
            (theirs != said(row.want)).then_some((row.rule, row.what, theirs))
        };
        rows().into_iter().filter_map(differs).collect::<Vec<_>>()
    })
    .await;
    let told = OTHERWISE.map(|(rule, what, theirs)| (rule, what, theirs.to_owned()));
    assert_eq!(differences, told);
}

#[test]
fn book_says_who_is_right_where_haproxy_answers_otherwise() {
    let lines: BTreeSet<String> =
        BOOK.lines().filter_map(|line| Some(line.rsplit_once(" | ")?.0.to_owned())).collect();
    for (rule, what, theirs) in OTHERWISE {
        let row = rows().into_iter().find(|row| (row.rule, row.what) == (rule, what)).unwrap();
        let line = format!("| {rule} | {what} | {} | {theirs}", said(row.want));
        assert!(lines.contains(&line), "docs/http2.md lacks: {line} | who is right |");
    }
}
