//! `lbctl trace`: exchanges as they pass, for a person and for a program.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    harness::{Daemon, exchange, get, verb, web_server},
    streaming::Streaming,
};

/// It shows something: then it has begun.
#[track_caller]
fn wait_for_line(trace: &Streaming, daemon: &Daemon) -> String {
    let mut found = None;
    daemon.wait_until("something is shown", |daemon| {
        get(daemon.frontend).expect("served");
        found = trace.lines.recv_timeout(Duration::from_millis(50)).ok();
        found.is_some()
    });
    found.expect("a line")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_exchange_is_shown_from_its_head_to_its_end_and_then_the_trace_is_over() {
    let daemon = Daemon::start("http", web_server(Duration::from_millis(20)));
    let trace =
        Streaming::start(&daemon, "trace", &["web", "--client", "127.0.0.0/8", "--count", "1", "--json"]);
    let mut lines = vec![wait_for_line(&trace, &daemon)];
    let (rest, code) = trace.finish();
    lines.extend(rest);
    assert_eq!(code, Some(0), "{lines:?}");
    let events: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |event: usize, key: &str| events[event][key].clone();
    let kinds: Vec<_> = (0..events.len()).map(|at| of(at, "event")).collect();
    assert_eq!(kinds, ["request", "response", "end", "over"]);
    assert!((1..3).all(|event| of(event, "id") == of(0, "id")), "{lines:?}");
    assert_eq!((of(0, "frontend"), of(0, "decision")), ("web".into(), "default_backend web".into()));
    assert_eq!(of(0, "head"), "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!((of(1, "backend"), of(1, "chosen")), ("web".into(), "roundrobin".into()));
    assert_eq!(of(1, "head"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    assert!(of(1, "times")["response"].as_u64().is_some_and(|time| time >= 20), "{lines:?}");
    assert_eq!((of(2, "status"), of(2, "termination")), (200.into(), "--".into()));
    assert!(of(2, "total").as_u64() >= of(1, "times")["response"].as_u64(), "{lines:?}");
}

#[test]
fn a_trace_without_an_end_is_ended_by_hand_and_reads_well() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let trace = Streaming::start(&daemon, "trace", &[]);
    let first = wait_for_line(&trace, &daemon);
    assert!(first.ends_with(" > web  GET / HTTP/1.1  (default_backend web)"), "{first}");
    let next = |trace: &Streaming| trace.lines.recv_timeout(Duration::from_secs(20)).expect("a line");
    assert_eq!([next(&trace), next(&trace)], ["    Host: test", "    Connection: close"]);
    let answered = next(&trace);
    assert!(answered.contains("  HTTP/1.1 200 OK  (roundrobin; line "), "{answered}");
    assert_eq!(next(&trace), "    Content-Length: 5");
    let over = next(&trace);
    assert!(over.contains(" over  200 --, "), "{over}");
    trace.signal(Signal::SIGINT);
    assert_eq!(trace.finish().1, Some(0));
    daemon.assert_untouched();
}

#[test]
fn traces_are_few_and_one_that_is_killed_makes_room() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let mut traces: Vec<_> = (0..8).map(|_| Streaming::start(&daemon, "trace", &["--json"])).collect();
    for trace in &traces {
        wait_for_line(trace, &daemon);
    }
    let output = daemon.verb(&["trace"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "lbctl: the daemon refuses: 8 traces run already; end one of them (Ctrl-C) first\n"
    );
    drop(traces.pop());
    // Nobody reads the next line that says that it goes on.
    daemon.wait_until("there is room", |daemon| {
        daemon.verb(&["trace", "--seconds", "1"]).status.code() == Some(0)
    });
}

#[test]
fn a_trace_is_no_idle_connection_and_leaves_room_for_others() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let trace = Streaming::start(&daemon, "trace", &["--json"]);
    wait_for_line(&trace, &daemon);
    // More than there may be: the one that has been idle the longest goes, and the trace is older than all of them.
    let idle: Vec<_> = (0..200).map(|_| UnixStream::connect(&daemon.socket).expect("taken")).collect();
    assert_eq!(daemon.verb(&["status", "--json"]).status.code(), Some(0));
    let before = trace.lines.try_iter().count();
    assert!(before < 100);
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["id"].clone();
    let last = wait_for_line(&trace, &daemon);
    assert!(id(&last).as_u64() > Some(0), "{last}");
    drop(idle);
    trace.signal(Signal::SIGINT);
    assert_eq!(trace.finish().1, Some(0));
}

/// One that was stopped by hand (Ctrl-Z), for example.
#[test]
fn a_trace_that_nobody_reads_ends_when_its_time_is_up() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let body = "{\"seconds\": 1}";
    let request =
        format!("POST /v1/trace HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let deaf: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = UnixStream::connect(&daemon.socket).expect("taken");
            stream.write_all(request.as_bytes()).expect("sent");
            // Then it is traced.
            assert_eq!(stream.read(&mut [0; 1]).expect("an answer"), 1);
            stream
        })
        .collect();
    // More than their sockets hold.
    for _ in 0..400 {
        let head =
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\nConnection: close\r\n\r\n", "x".repeat(4_000));
        let mut stream = TcpStream::connect(daemon.frontend).expect("it listens");
        stream.write_all(head.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("served");
        assert!(answer.ends_with("hello"), "{answer}");
    }
    daemon.wait_until("there is room", |daemon| {
        daemon.verb(&["trace", "--seconds", "1"]).status.code() == Some(0)
    });
    drop(deaf);
}

#[test]
fn what_a_client_sends_does_not_command_a_terminal() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    for arguments in [&["--count", "1"][..], &["--count", "1", "--json"]] {
        let trace = Streaming::start(&daemon, "trace", arguments);
        let mut shown = Vec::new();
        daemon.wait_until("it is shown", |daemon| {
            let mut stream = TcpStream::connect(daemon.frontend).expect("it listens");
            // CSI in one byte of Latin-1, and what turns text round.
            let head = "GET / HTTP/1.1\r\nHost: a\r\nX: \u{9b}31m\u{202e}ä\r\nConnection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("sent");
            stream.read_to_string(&mut String::new()).expect("served");
            shown.extend(trace.lines.try_iter());
            !shown.is_empty()
        });
        let (rest, code) = trace.finish();
        shown.extend(rest);
        assert_eq!(code, Some(0));
        let text = shown.join("\n");
        assert!(!text.contains(['\u{9b}', '\u{202e}']), "{text}");
        let expected = if arguments.len() > 2 { "X: \\u009b31m\\u202eä\\r\\n" } else { "    X: ?31m?ä" };
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn what_can_not_be_traced_is_named() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let output = daemon.verb(&["trace", "wbe"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "lbctl: there is no frontend `wbe`; did you mean `web`?\n");
    let output = daemon.verb(&["trace", "statistics-of-another-kind"]);
    assert_eq!(output.status.code(), Some(2));
    let missing = "lbctl: there is no frontend `statistics-of-another-kind`; frontends are `web`\n";
    assert_eq!(text(&output.stderr), missing);
    let output = daemon.verb(&["trace", "--client", "10.0.0.1/8"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        text(&output.stderr).contains("write \"10.0.0.0/8\" for the network"),
        "{}",
        text(&output.stderr)
    );
    let ask = |body: &str| {
        let length = body.len();
        let head = "POST /v1/trace HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        exchange(&daemon.socket, format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())
    };
    for (body, detail) in [
        ("{\"client\": \"x\"}", "\\\"x\\\" is no network"),
        ("{\"seconds\": 0}", "`seconds` is 1 to 3600"),
        ("{\"nothing\": 1}", "unknown field `nothing`"),
    ] {
        let (head, answer) = ask(body);
        assert!(head.starts_with("http/1.1 400 "), "{body}: {head}");
        assert!(answer.contains(detail), "{body}: {answer}");
    }
    let (head, answer) = ask("{\"seconds\": 1}");
    assert!(head.contains("\r\ncontent-type: application/x-ndjson"), "{head}");
    assert!(answer.contains("{\"event\":\"over\",\"why\":\"its time is up\"}"), "{answer}");
    daemon.assert_untouched();
}

/// What `lbctl trace` says of somebody else on the socket who answers `bytes`, and its exit code.
fn told_by(bytes: &'static str) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("control.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a request");
            request.push(byte[0]);
        }
        stream.write_all(bytes.as_bytes()).expect("answered");
    });
    let output = verb(&["trace"], &socket);
    answering.join().expect("it answers");
    (text(&output.stderr), output.status.code())
}

#[test]
fn what_a_trace_can_not_read_is_shown_and_not_taken_for_an_end() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let unread = "lbctl: the answer has ended, and some of it is nothing that this lbctl can read: ";
    for (bytes, expected) in [
        (format!("{ok}Content-Length: 14\r\n\r\nhello\tyou\nmore"), format!("{unread}`hello\\u0009you`\n")),
        (format!("{ok}Content-Length: 9\r\n\r\n{{\"event\":"), format!("{unread}`{{\"event\":`\n")),
        (format!("{ok}Content-Length: 100\r\n\r\n"), "lbctl: the daemon has ended\n".to_owned()),
        (
            format!("{ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            "lbctl: can't read the answer of lbctl: error reading a body from connection: Invalid chunk"
                .to_owned(),
        ),
    ] {
        let (told, code) = told_by(bytes.clone().leak());
        assert_eq!(code, Some(1), "{bytes}");
        assert!(told.starts_with(&expected) && told.lines().count() == 1, "{bytes}\n{told}");
    }
}
