//! `lbctl errors`: messages that were refused, as a person and as a program sees them.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::harness::{Daemon, exchange, unused_address, web_server};

/// Sends it, ends, and waits for all that comes.
fn send(daemon: &Daemon, text: &str) -> String {
    let mut stream = TcpStream::connect(daemon.frontend).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(text.as_bytes()).expect("sent");
    stream.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `lbctl errors` prints, from all workers: one that a busy machine lets wait for a second is left out.
fn errors(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut printed = String::new();
    daemon.wait_until("all workers have answered", |daemon| {
        let output = daemon.verb(&[&["errors"], arguments].concat());
        assert_eq!(output.status.code(), Some(0));
        printed = text(&output.stdout);
        !printed.contains("did not answer") && !printed.contains("\"silent_workers\": 1")
    });
    printed
}

#[test]
fn requests_that_were_refused_are_shown_with_the_byte_that_is_wrong() {
    let daemon = Daemon::start("http", web_server(Duration::ZERO));
    let output = daemon.verb(&["errors"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "no message was refused as invalid\n".into())
    );
    let answer = send(&daemon, "GET /\u{1b} HTTP/1.1\r\nHost: a\r\nAuthorization: Basic c2VjcmV0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let screen = errors(&daemon, &["web"]);
    let lines: Vec<_> = screen.lines().collect();
    assert!(lines[0].contains(" s ago: request of 127.0.0.1:"), "{screen}");
    assert!(lines[0].ends_with(" to frontend web: invalid request target"), "{screen}");
    assert!(lines[1].ends_with("Z, byte 5 of 59"), "{screen}");
    assert_eq!(
        lines[2..],
        [
            "  00000  GET /\\x1b HTTP/1.1\\r\\n",
            "              ^",
            "  00017  Host: a\\r\\n",
            "  00026  Authorization: Basic c2VjcmV0\\r\\n",
            "  00057  \\r\\n"
        ]
    );
    let json: serde_json::Value = serde_json::from_str(&errors(&daemon, &["--json"])).expect("JSON");
    let message = &json["messages"][0];
    assert_eq!((&message["kind"], &message["position"]), (&"request".into(), &5.into()));
    assert_eq!(message["backend"], serde_json::Value::Null);
    assert!(message["bytes"].as_str().is_some_and(|bytes| bytes.starts_with("GET /\\x1b HTTP/1.1\\r\\n")));
    let (head, body) =
        exchange(&daemon.socket, b"GET /v1/errors HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert!(body.contains("\"reason\":\"invalid request target\""), "{body}");
}

#[test]
fn responses_are_those_of_their_backend_and_names_that_are_not_there_are_met_with_a_guess() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let server = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut some = [0; 512];
            let _ = stream.read(&mut some);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2x\r\n\r\nok");
        }
    });
    let frontend = unused_address();
    let daemon = Daemon::spawn(
        &format!(
            "[frontend.web]\nbind = \"{frontend}\"\ndefault_backend = \"app\"\n[backend.app]\ncheck = false\n\
             server.web1 = \"{server}\"\n"
        ),
        frontend,
        None,
    );
    let answer = send(&daemon, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    for name in ["app", "web"] {
        let screen = errors(&daemon, &[name]);
        assert!(screen.contains(" s ago: response of app/web1 to 127.0.0.1:"), "{screen}");
        assert!(screen.contains(" (frontend web): invalid Content-Length\n"), "{screen}");
        assert!(
            screen.contains("  00017  Content-Length: 2x\\r\\n\n                          ^\n"),
            "{screen}"
        );
    }
    let output = daemon.verb(&["errors", "wbe"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stderr), "lbctl: there is no frontend or backend `wbe`; did you mean `web`?\n");
}
