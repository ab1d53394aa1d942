//! `lbctl events`: what happened, what happens, and past an upgrade.

use std::{net::TcpListener, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    harness::{Daemon, exchange, file, unused_address, web_server},
    streaming::Streaming,
};

/// What a line says, without its number and time.
fn said(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let of = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    format!("{} {} {} {}", of("kind"), of("name"), of("from"), of("to"))
}

fn number(line: &str) -> u64 {
    let event: Value = serde_json::from_str(line).expect("JSON");
    event["number"].as_u64().expect("a number")
}

/// A server that can be closed and opened again.
fn daemon_before_a_server() -> (Daemon, TcpListener) {
    let server = TcpListener::bind("127.0.0.1:0").expect("bound");
    let frontend = unused_address();
    let text = file("tcp", frontend, server.local_addr().expect("bound"));
    let daemon = Daemon::spawn(&text, frontend, None);
    daemon.wait_until("the server is up", |daemon| {
        daemon.status_json().is_some_and(|status| status["backends"][0]["servers"][0]["state"] == "up")
    });
    (daemon, server)
}

#[test]
fn what_happens_is_followed_through_an_upgrade_and_nothing_is_told_twice() {
    let (daemon, server) = daemon_before_a_server();
    let address = server.local_addr().expect("bound");
    let events = Streaming::start(&daemon, "events", &["--follow", "--json"]);
    let first = events.next();
    assert!(said(&first).ends_with(" stopped running"), "{first}");
    assert_eq!(number(&first), 1);
    drop(server);
    let down = [events.next(), events.next()];
    let mut kinds = down.each_ref().map(|line| said(line));
    kinds.sort();
    assert_eq!(kinds, ["backend web up down", &*format!("server web/{address} up down")], "{down:?}");
    let reason: Value = serde_json::from_str(&down[0]).expect("JSON");
    assert!(reason["reason"].as_str().is_some_and(|why| why.contains("refused")), "{down:?}");
    let upgraded = daemon.verb(&["upgrade"]);
    assert!(upgraded.status.success(), "{}", daemon.log());
    let server = TcpListener::bind(address).expect("free again");
    let up = [events.next(), events.next()];
    let mut kinds = up.each_ref().map(|line| said(line));
    kinds.sort();
    assert_eq!(kinds, ["backend web down up", &*format!("server web/{address} down up")], "{up:?}");
    let numbers: Vec<_> = down.iter().chain(&up).map(|line| number(line)).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    let status = daemon.status_json().expect("answers");
    let listed = status["events"].as_array().expect("a list").iter().map(|event| event["number"].as_u64());
    assert_eq!(listed.collect::<Vec<_>>(), (1..=5).map(Some).collect::<Vec<_>>());
    assert!(daemon.verb(&["stop", "--now"]).status.success());
    let (rest, code) = events.finish();
    assert_eq!(code, Some(0), "{rest:?}");
    assert!(said(&rest[0]).ends_with(" running stopping"), "{rest:?}");
    assert_eq!(rest[1..], [r#"{"over":"lbctl ends"}"#]);
    drop(server);
}

#[test]
fn last_ones_are_shown_as_lines_and_those_after_a_number_alone() {
    let (daemon, server) = daemon_before_a_server();
    let address = server.local_addr().expect("bound");
    drop(server);
    daemon.wait_until("it is down", |daemon| {
        daemon
            .status_json()
            .is_some_and(|status| status["events"].as_array().is_some_and(|all| all.len() == 3))
    });
    let output = daemon.verb(&["events"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains(": stopped -> running  lbctl "), "{text}");
    assert!(text.contains(&format!("  server web/{address}: up -> down  L4CON ")), "{text}");
    assert!(text.contains("  backend web: up -> down  "), "{text}");
    assert_eq!(lines.len(), 3, "{text}");
    let rest = daemon.verb(&["events", "--after", "2", "--json"]);
    let rest = String::from_utf8_lossy(&rest.stdout).into_owned();
    assert_eq!(rest.lines().map(number).collect::<Vec<_>>(), [3]);
    let request = b"GET /v1/events?last=3 HTTP/1.1\r\nHost: lbctl\r\nConnection: close\r\n\r\n";
    let (head, body) = exchange(&daemon.socket, request);
    assert!(head.starts_with("http/1.1 400 ") && body.contains("after=NUMBER"), "{head} {body}");
}

#[test]
fn a_server_that_was_taken_out_by_hand_is_an_event_and_a_follower_is_ended_by_hand() {
    let server = web_server(Duration::ZERO);
    let daemon = Daemon::start("http", server);
    let events = Streaming::start(&daemon, "events", &["-f", "--after", "1"]);
    assert!(daemon.verb(&["server", &format!("web/{server}"), "maint"]).status.success());
    let line = events.next();
    assert!(line.contains(&format!("  server web/{server}: up -> maintenance  ")), "{line}");
    let line = events.next();
    assert!(line.contains("  backend web: up -> down  "), "{line}");
    events.signal(Signal::SIGINT);
    assert_eq!(events.finish().1, Some(0));
}

#[test]
fn status_has_the_last_hundred_with_their_reasons() {
    let server = web_server(Duration::ZERO);
    let daemon = Daemon::start("http", server);
    let read = || {
        let events = daemon.status_json().and_then(|status| status["events"].as_array().cloned());
        events.unwrap_or_default()
    };
    let newest = |events: &[Value]| events.last().and_then(|event| event["number"].as_u64()).unwrap_or(0);
    // Each order is an event of the server, and mostly one of its backend.
    let mut orders = ["maint", "ready"].into_iter().cycle().take(200);
    while newest(&read()) < 120 {
        let state = orders.next().expect("each of them is an event");
        let ordered = daemon.verb(&["server", &format!("web/{server}"), state]);
        assert!(ordered.status.success(), "{state}: {}", daemon.log());
    }
    let events = read();
    let last = newest(&events);
    let numbers = events.iter().map(|event| event["number"].as_u64());
    assert_eq!(numbers.collect::<Vec<_>>(), (last - 99..=last).map(Some).collect::<Vec<_>>());
    assert!(
        events.iter().all(|event| event["reason"].as_str().is_some_and(|why| !why.is_empty())),
        "{events:#?}"
    );
}
