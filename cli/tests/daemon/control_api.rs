//! What the control interface answers to bad input, and that the daemon serves on.

use std::{
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    time::Duration,
};

use crate::harness::{Daemon, exchange, web_server};

fn daemon() -> Daemon {
    Daemon::start("tcp", web_server(Duration::ZERO))
}

fn problem(body: &str) -> serde_json::Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[test]
fn bad_requests_get_a_problem_and_leave_the_daemon_untouched() {
    let daemon = daemon();
    let large = vec![b'a'; 1 << 20];
    let mut large_request =
        format!("POST /v1/stop HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", large.len()).into_bytes();
    large_request.extend(&large);
    let close = "Host: x\r\nConnection: close\r\n";
    let table: [(&str, Vec<u8>, u16, &str); 8] = [
        (
            "unknown path",
            format!("GET /v1/nothing HTTP/1.1\r\n{close}\r\n").into(),
            404,
            "there is no /v1/nothing",
        ),
        ("outside v1", format!("GET /status HTTP/1.1\r\n{close}\r\n").into(), 404, "/v1/status"),
        (
            "wrong method",
            format!("DELETE /v1/status HTTP/1.1\r\n{close}\r\n").into(),
            405,
            "takes GET, not DELETE",
        ),
        (
            "broken JSON",
            format!("POST /v1/stop HTTP/1.1\r\n{close}Content-Length: 5\r\n\r\n{{now:").into(),
            400,
            "the body is not what was expected",
        ),
        (
            "unknown field",
            format!("POST /v1/stop HTTP/1.1\r\n{close}Content-Length: 9\r\n\r\n{{\"no\": 1}}").into(),
            400,
            "the body is not what was expected",
        ),
        (
            "wrong type",
            format!("POST /v1/stop HTTP/1.1\r\n{close}Content-Length: 10\r\n\r\n{{\"now\": 1}}").into(),
            400,
            "the body is not what was expected",
        ),
        // It is not waited for.
        (
            "body of GET",
            format!("GET /v1/status HTTP/1.1\r\n{close}Content-Length: 50\r\n\r\n").into(),
            413,
            "GET takes no body",
        ),
        ("1 MB body", large_request, 413, "at most 65536 bytes"),
    ];
    for (name, request, status, detail) in table {
        let (head, body) = exchange(&daemon.socket, &request);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{name}: {head}\n{body}");
        assert!(head.contains("content-type: application/problem+json"), "{name}: {head}");
        let problem = problem(&body);
        assert_eq!(problem["status"], status, "{name}");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(detail)), "{name}: {body}");
        daemon.assert_untouched();
    }
    assert_eq!(daemon.counter("control_refused"), 8);
}

#[test]
fn a_wrong_method_names_the_right_ones() {
    let daemon = daemon();
    let (head, _) =
        exchange(&daemon.socket, b"PUT /v1/stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.contains("allow: post"), "{head}");
    let (head, _) =
        exchange(&daemon.socket, b"PUT /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.contains("allow: get, head"), "{head}");
}

#[test]
fn heads_that_are_no_http_or_too_large_are_refused() {
    let daemon = daemon();
    let mut large = b"GET /v1/status HTTP/1.1\r\nX: ".to_vec();
    large.extend(vec![b'a'; 100 << 10]);
    large.extend(b"\r\n\r\n");
    for (request, status) in [(large, "431"), (b"\x16\x03\x01\x02\x00\x01\r\n\r\n".to_vec(), "400")] {
        let (head, _) = exchange(&daemon.socket, &request);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        daemon.assert_untouched();
    }
    assert_eq!(daemon.counter("control_bad_heads"), 2);
}

#[test]
fn two_hundred_idle_connections_and_half_a_head_hold_up_nobody() {
    let daemon = daemon();
    let mut idle: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(&daemon.socket).expect("connected")).collect();
    for stream in idle.iter_mut().step_by(2) {
        // The oldest of them are closed already.
        let _ = stream.write_all(b"GET /v1/status HTT");
    }
    daemon.assert_untouched();
    // The limit on a head closes those that are left.
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    daemon.assert_untouched();
    // Of 200 there is room for 128; the questions of this test take a place as well.
    assert!(daemon.counter("control_crowded_out") >= 72);
    assert!(daemon.counter("control_timeouts") > 0);
}

#[test]
fn an_idle_keep_alive_connection_is_closed_within_seconds() {
    let daemon = daemon();
    let mut stream = UnixStream::connect(&daemon.socket).expect("connected");
    stream.write_all(b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("closed by the daemon");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
}

#[test]
fn version_and_status_are_json_for_curl_too() {
    let daemon = daemon();
    let (head, body) =
        exchange(&daemon.socket, b"GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("lbctl-version: "), "{head}");
    let version: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(version["pid"], daemon.child.id());
    assert_eq!(version["api"][0], "v1");
    let (_, body) =
        exchange(&daemon.socket, b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status["problems"], serde_json::json!([]));
    assert_eq!(status["frontends"][0]["name"], "web");
}

#[test]
fn the_socket_is_for_its_group_and_the_folder_for_all() {
    let daemon = daemon();
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&daemon.socket), 0o660);
    assert_eq!(mode(&daemon.folder.path().join("run")), 0o755);
}

#[test]
fn orders_of_who_has_gone_while_the_daemon_was_stuck_are_not_carried_out() {
    let daemon = daemon();
    let order = |word: &str| {
        let body = format!(r#"{{"frontend": "web", "order": "{word}"}}"#);
        let mut stream = UnixStream::connect(&daemon.socket).expect("connected");
        let head = "POST /v1/frontend HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ";
        stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).expect("sent");
        stream
    };
    daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    drop(order("pause"));
    let mut waits = order("resume");
    daemon.signal(nix::sys::signal::Signal::SIGCONT);
    let mut answer = String::new();
    waits.read_to_string(&mut answer).expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""was_paused":false"#), "{answer}");
    daemon.wait_until("it is told", |daemon| {
        daemon.log().contains("/v1/frontend is not carried out: who asked has gone")
    });
    daemon.assert_untouched();
}
