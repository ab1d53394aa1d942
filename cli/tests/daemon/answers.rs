//! What is answered without a server, and what an operator is told of it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::harness::{Daemon, unused_address, web_server};

/// What `address` answers to a request for `target`, and the client's own address.
fn ask(address: SocketAddr, target: &str) -> (String, SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    (answer, stream.local_addr().expect("an address"))
}

fn screen(daemon: &Daemon) -> String {
    String::from_utf8(daemon.verb(&["status"]).stdout)
        .expect("text")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn a_monitors_question_is_answered_and_never_logged_whatever_the_filter() {
    let frontend = unused_address();
    let text = format!(
        "[defaults]\nlog = \"stderr\"\n[listen.web]\nbind = \"{frontend}\"\nservers = [\"{}\"]\ncheck = false\ndontlognull = false\n\
         monitor_uri = {{ uri = \"/alive\", fail_if = {{ backend = \"web\", usable_below = 2 }} }}\n\
         [frontend.fine]\nbind = \"{}\"\ndefault_backend = \"web\"\nmonitor_uri = \"/alive\"\n",
        web_server(Duration::ZERO),
        SocketAddr::new(frontend.ip(), 8001),
    );
    let daemon = Daemon::spawn_with(&text, frontend, None, |command| {
        command.env("LBCTL_LOG", "trace");
    });
    let (too_few, first) = ask(frontend, "/alive");
    assert!(too_few.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{too_few}");
    let (fine, second) = ask(SocketAddr::new(frontend.ip(), 8001), "/alive");
    assert!(fine.starts_with("HTTP/1.1 200 OK\r\n") && fine.contains("Service ready."), "{fine}");
    // The log is in order: what follows is in it when the question would be.
    let (served, third) = ask(frontend, "/alive?");
    assert!(served.ends_with("\r\n\r\nhello"), "{served}");
    let is_line = |line: &str| line.contains(&third.to_string()) && line.contains("\"GET /alive? HTTP/1.1\"");
    daemon.wait_until("the request is logged", |daemon| daemon.log().lines().any(is_line));
    let log = daemon.log();
    assert!(!log.contains(&first.to_string()) && !log.contains(&second.to_string()), "{log}");
    assert!(!log.contains("GET /alive HTTP"), "{log}");
    let status = daemon.status_json().expect("answers");
    assert_eq!(status["frontends"][0]["counters"]["monitor_requests_total"], 1);
    assert_eq!(status["frontends"][0]["requests_total"], 1);
}

#[test]
fn those_that_are_refused_within_a_second_are_told_though_no_other_follows() {
    let frontend = unused_address();
    let text = format!(
        "[listen.web]\nbind = \"{frontend}\"\nservers = [\"{}\"]\ncheck = false\nretries = 0\n",
        unused_address()
    );
    let mut daemon = Daemon::spawn(&text, frontend, None);
    let told = |log: &str| -> u64 {
        let of_line = |line: &str| -> Option<u64> {
            let (_, more) = line.split_once(" more=")?;
            let more: u64 = more.split(' ').next()?.parse().ok()?;
            Some(more + u64::from(line.contains(" refused frontend=")))
        };
        log.lines().filter(|line| line.contains("no server could be connected to")).filter_map(of_line).sum()
    };
    for _ in 0..5 {
        assert!(ask(frontend, "/").0.starts_with("HTTP/1.1 503 "));
    }
    daemon.wait_until("all are told", |daemon| told(&daemon.log()) == 5);
    assert!(daemon.log().contains("WARN more were refused backend=\"web\" reason="), "{}", daemon.log());
    // And at the end.
    for _ in 0..5 {
        assert!(ask(frontend, "/").0.starts_with("HTTP/1.1 503 "));
    }
    assert_eq!(daemon.verb(&["stop"]).status.code(), Some(0));
    daemon.wait_for_exit();
    assert_eq!(told(&daemon.log()), 10, "{}", daemon.log());
}

#[test]
fn a_connection_without_a_byte_is_logged_only_where_the_file_wants_so() {
    let front = unused_address();
    let logging = SocketAddr::new(front.ip(), 8001);
    let text = format!(
        "[defaults]\nlog = \"stderr\"\n[listen.quiet]\nbind = \"{front}\"\nservers = [\"{0}\"]\ncheck = false\n\
         [frontend.logging]\nbind = \"{logging}\"\ndefault_backend = \"quiet\"\ndontlognull = false\n\
         http_ignore_probes = false\n",
        web_server(Duration::ZERO)
    );
    let daemon = Daemon::spawn_with(&text, front, None, |command| {
        command.env("LBCTL_LOG", "debug");
    });
    let silent = |address| {
        let stream = TcpStream::connect(address).expect("connected");
        let own = stream.local_addr().expect("an address").to_string();
        stream.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut answer = String::new();
        (&stream).read_to_string(&mut answer).expect("ended");
        (own, answer)
    };
    let ((quiet, nothing), (logged, answer)) = (silent(front), silent(logging));
    assert_eq!(nothing, "");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    daemon.wait_until("it is logged", |daemon| daemon.log().contains(&logged));
    assert!(
        daemon.log().lines().any(|line| line.contains(&logged) && line.contains("CR")),
        "{}",
        daemon.log()
    );
    assert!(!daemon.log().contains(&quiet), "{}", daemon.log());
    // Counted in either case.
    daemon.wait_until("both are counted", |daemon| {
        let status = daemon.status_json().expect("answers");
        (0..2).all(|frontend| status["frontends"][frontend]["counters"]["null_connections_total"] == 1)
    });
}

#[test]
fn every_reason_for_503_is_in_the_log_and_on_the_screen() {
    let front = unused_address();
    let at = |port| SocketAddr::new(front.ip(), port);
    // Nobody listens at 127.x.x.x:1 of this test.
    let text = format!(
        "[defaults]\ntimeout = {{ queue = \"200ms\", connect = \"2s\" }}\nretries = 0\n\
         [frontend.nowhere]\nbind = \"{front}\"\n\
         [listen.refusing]\nbind = \"{}\"\ncheck = false\nserver.gone = \"{}\"\n\
         [listen.down]\nbind = \"{}\"\ncheck = {{ interval = \"100ms\", fall = 1 }}\nserver.dead = \"{}\"\n\
         [listen.full]\nbind = \"{}\"\ncheck = false\nserver.slow = {{ address = \"{}\", maxconn = 1 }}\n",
        at(8001),
        at(1),
        at(8002),
        at(1),
        at(8003),
        web_server(Duration::from_secs(60)),
    );
    let daemon = Daemon::spawn(&text, front, None);
    daemon.wait_until("the check has failed", |daemon| screen(daemon).contains("down dead DOWN"));
    let mut occupying = TcpStream::connect(at(8003)).expect("connected");
    occupying.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("written");
    daemon.wait_until("the slot is taken", |daemon| {
        daemon.status_json().is_some_and(|status| status["backends"][2]["servers"][0]["in_flight"] == 1)
    });
    let gone = at(1);
    for (address, name, reason) in [
        (
            front,
            "nowhere",
            "no rule has chosen a backend, and the frontend has no default_backend".to_owned(),
        ),
        (
            at(8001),
            "refusing",
            format!(
                "no server could be connected to, at last gone at {gone}: Connection refused (os error 111)"
            ),
        ),
        (at(8002), "down", "no usable server: dead: L4CON connection refused, ".to_owned()),
        (
            at(8003),
            "full",
            "no slot of a full server became free within 200 ms (timeout.queue): slow has 1 of 1".to_owned(),
        ),
    ] {
        let (answer, _) = ask(address, "/");
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        daemon.wait_until("the reason is on the screen", |daemon| {
            let screen = screen(daemon);
            screen.contains(&format!(" {name} 1 ")) && screen.contains(&format!("s ago {reason}"))
        });
        if name == "down" {
            let is_end = |line: &str| line.contains("no usable server is left");
            daemon.wait_until("its end is in the log", |daemon| daemon.log().lines().any(is_end));
            let log = daemon.log();
            let line = log.lines().find(|line| is_end(line));
            assert!(line.is_some_and(|line| line.contains("ERROR") && line.contains("dead: L4CON")), "{log}");
        }
        let is_reason =
            |line: &str| line.contains("status=503") && line.contains(&reason) && line.contains(name);
        daemon.wait_until("the reason is in the log", |daemon| daemon.log().lines().any(is_reason));
    }
    let screen = screen(&daemon);
    assert!(screen.contains("! backend full is full"), "{screen}");
    assert!(
        screen.contains("! backend refusing can't be reached") && screen.contains(": 1 request got 503: "),
        "{screen}"
    );
    assert_eq!(daemon.verb(&["status"]).status.code(), Some(2));
}
